//! What a receiver gets can be verified as `docs/webhooks.md` says, by the very programs that stand there.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;

use crate::fixture::{OPERATOR, PATIENT, announce, dispatcher, impatient, sqlite, tenant, webhook};
use crate::receiver::{Manner, Received, Receiver};

const DOCUMENT: &str = include_str!("../../../../docs/webhooks.md");

/// The program of the document in a language.
fn program(language: &str) -> &'static str {
    let (_, rest) = DOCUMENT.split_once(&format!("```{language}\n")).expect("the document has a program");
    rest.split_once("```").unwrap().0
}

/// Whether Python verifies a message with a secret, by the document's program.
fn verifies(secret: &str, received: &Received, body: &str) -> bool {
    let main = "import json, sys\ngiven = json.load(sys.stdin)\n\
        try:\n    verify(given['secret'], given['headers'], given['body'].encode())\n\
        except ValueError as error:\n    sys.exit(str(error))\n";
    let mut python = Command::new("python3");
    python.args(["-c", &format!("{}\n{main}", program("python"))]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = python.spawn().expect("python3 is there");
    let given = json!({ "secret": secret, "headers": received.headers, "body": body });
    child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() || said.trim() == "the signature is wrong", "{said}");
    ended.status.success()
}

/// The same by Node, where it is there: it is no part of the test environment.
fn verifies_in_node(secret: &str, received: &Received, body: &str) -> Option<bool> {
    let main = "const given = JSON.parse(process.env.GIVEN);\n\
        try { verify(given.secret, given.headers, Buffer.from(given.body)); } catch { process.exit(3); }\n";
    let given = json!({ "secret": secret, "headers": received.headers, "body": body });
    let mut node = Command::new("node");
    node.args(["--input-type=module", "-e", &format!("{}\n{main}", program("js"))]).env("GIVEN", given.to_string());
    let code = node.status().ok()?.code();
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
    Some(code == Some(0))
}

#[tokio::test]
async fn receivers_verify_what_they_get_before_and_after_the_secret_is_changed() {
    let (_dir, _, store) = sqlite().await;
    let acme = tenant(&store, "acme").await;
    let receiver = Receiver::start(Manner::Status(204)).await;
    let (id, first) = webhook(&store, acme, receiver.url()).await;
    let _dispatcher = dispatcher(&store, impatient(), PATIENT);
    announce(&store, acme, 0..1).await;
    let one = receiver.wait_for(1).await.remove(0);
    assert_eq!(one.headers["content-type"], "application/json");
    assert!(one.headers["user-agent"].starts_with("aimg/"));
    assert_eq!(one.id(), "pbx-up-0");
    let first = first.expose_secret();
    let second = aimg_webhooks::make_secret();
    assert!(verifies(first, &one, &one.body));
    assert!(!verifies(second.expose_secret(), &one, &one.body), "another secret");
    assert!(!verifies(first, &one, &one.body.replace("pbx.up", "pbx.down")), "another body");
    if let Some(verifies) = verifies_in_node(first, &one, &one.body) {
        assert!(verifies);
        assert_eq!(verifies_in_node(second.expose_secret(), &one, &one.body), Some(false));
    }

    let in_a_day = aimg_webhooks::now() + Duration::from_secs(86_400);
    store.rotate_webhook_secret(OPERATOR, id, None, second.clone(), in_a_day).await.unwrap();
    announce(&store, acme, 1..2).await;
    let two = receiver.wait_for(2).await.remove(1);
    for secret in [first, second.expose_secret()] {
        assert!(verifies(secret, &two, &two.body), "{:?}", two.headers);
    }
    store.rotate_webhook_secret(OPERATOR, id, None, second.clone(), aimg_webhooks::now()).await.unwrap();
    announce(&store, acme, 2..3).await;
    let three = receiver.wait_for(3).await.remove(2);
    assert!(!verifies(first, &three, &three.body), "its time is over");
    assert!(verifies(second.expose_secret(), &three, &three.body));
}
