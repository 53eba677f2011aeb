//! Every operation of the document tried by schemathesis: no 5xx, and no answer that the document does not describe.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use aimg_core::Role;
use tokio::process::Command;

use crate::fixture::Service;
use crate::world::{World, token_of};

/// What it looks for. The others ask for more than a document can promise, or are the isolation matrix's.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance";
/// Cases that are made up for each operation, besides those at the edges of its parameters.
const EXAMPLES: &str = "12";
/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// The program, from PyPI: `scripts/test` installs it.
fn program() -> PathBuf {
    let cache = std::env::var_os("AIMG_CACHE").map(PathBuf::from);
    let home = || std::env::home_dir().expect("there is a home").join(".cache/aimg");
    let program = cache.unwrap_or_else(home).join("schemathesis/bin/st");
    assert!(program.exists(), "{} is missing: scripts/test installs it", program.display());
    program
}

/// With the ids of things that are there, so that more is answered than 404.
#[tokio::test(flavor = "multi_thread")]
async fn things_that_are_there_are_answered_as_the_document_says() {
    let service = Service::start().await;
    let world = World::of(&service, 0).await;
    let token = token_of(&service, None, Role::SuperAdmin).await;
    let mut pinned = String::new();
    for path in paths().filter(|path| path.contains('{')) {
        let segments: Vec<&str> = path.split('/').collect();
        let holes = segments.windows(2).filter(|pair| pair[1].starts_with('{'));
        let values: Vec<String> = holes
            .map(|pair| {
                let value = world.fill(&format!("/{}/{}", pair[0], pair[1]));
                format!("\"path.{}\" = {:?}", pair[1].trim_matches(['{', '}']), value.rsplit('/').next().unwrap())
            })
            .collect();
        write!(pinned, "\n[[operations]]\ninclude-path = {path:?}\nparameters = {{ {} }}\n", values.join(", "))
            .unwrap();
    }
    // What is removed is not there for the next case.
    run(&service, &token, &pinned, &["--exclude-method", "DELETE"]).await;
    service.end().await;
}

/// With ids that are made up, as a tenant's admin.
#[tokio::test(flavor = "multi_thread")]
async fn things_that_are_not_there_are_answered_as_the_document_says() {
    let service = Service::start().await;
    let token = token_of(&service, Some(service.tenants[0]), Role::TenantAdmin).await;
    run(&service, &token, "", &[]).await;
    service.end().await;
}

fn paths() -> impl Iterator<Item = String> {
    let document: serde_json::Value = serde_json::from_str(&aimg_api::openapi_json()).unwrap();
    document["paths"].as_object().unwrap().keys().cloned().collect::<Vec<_>>().into_iter()
}

async fn run(service: &Service, token: &str, pinned: &str, arguments: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("schemathesis.toml");
    // 503 is how a PBX that is away, or a part that is not set up, is told; it is in the document.
    let settings = format!(
        "headers = {{ Authorization = \"Bearer {token}\" }}\n\
         [checks.not_a_server_error]\nexpected-statuses = [\"2xx\", \"3xx\", \"4xx\", 503]\n{pinned}"
    );
    std::fs::write(&config, settings).unwrap();
    let output = Command::new(program())
        .args(["--config-file".as_ref(), config.as_os_str()])
        .args(["run", &service.url("/api/v1/openapi.json"), "--no-color", "--checks", CHECKS])
        .args(["--phases", "coverage,fuzzing", "--max-examples", EXAMPLES, "--generation-deterministic"])
        .args(["--workers", "2", "--request-timeout", "30", "--warnings", "off"])
        .args(arguments)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends").unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("generated, "), "something was tried: {told}");
}
