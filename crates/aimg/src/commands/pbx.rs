//! `aimg pbx …`.

use std::io::{self, BufRead, IsTerminal};

use aimg_core::TenantScope;
use aimg_store::NewPbx;
use anyhow::Context;
use secrecy::SecretString;
use serde::Serialize;

use super::open_store;
use crate::cli::{Pbx, PbxAdd};
use crate::exit::Usage;
use crate::output::{Output, table};
use crate::settings::Settings;

pub(crate) async fn run(settings: &Settings, output: Output, command: Pbx) -> anyhow::Result<()> {
    match command {
        Pbx::Add(pbx) => add(settings, output, *pbx).await,
        Pbx::List => list(settings, output).await,
        Pbx::Test { name } => test(settings, output, &name).await,
    }
}

async fn add(settings: &Settings, output: Output, pbx: PbxAdd) -> anyhow::Result<()> {
    let store = open_store(settings).await?;
    let tenant = store.tenant_by_name(TenantScope::Operator, &pbx.tenant).await?;
    let ari_url = pbx.ari_url.unwrap_or_else(|| format!("http://{}:8088/ari", pbx.host));
    let ami_secret = secret(pbx.ami_secret, "AMI secret", "AIMG_AMI_SECRET")?;
    let ari_password = secret(pbx.ari_password, "ARI password", "AIMG_ARI_PASSWORD")?;
    // A wrong address is told here and not by a gateway that starts tomorrow.
    aimg_ari::Config::new(&ari_url, &pbx.ari_user, ari_password.clone(), &pbx.ari_app)?;
    let new = NewPbx {
        tenant: tenant.id,
        name: pbx.name,
        host: pbx.host,
        ami_port: pbx.ami_port,
        ami_user: pbx.ami_user,
        ami_secret,
        ari_url,
        ari_user: pbx.ari_user,
        ari_password,
        ari_app: pbx.ari_app,
        tap_mode: pbx.tap,
        codec: pbx.codec,
        inbound_contexts: pbx.inbound_contexts,
    };
    let added = store.add_pbx(TenantScope::Operator, new).await?;
    output.print(&added, |p| format!("PBX {} added, tapped by {}; next: aimg pbx test {}", p.name, p.tap_mode, p.name))
}

/// The secret as given, else typed at the terminal or on a line of a pipe.
fn secret(given: Option<SecretString>, what: &str, variable: &str) -> anyhow::Result<SecretString> {
    if let Some(secret) = given {
        return Ok(secret);
    }
    let line = if io::stdin().is_terminal() {
        rpassword::prompt_password(format!("{what}: ")).context("the terminal")?
    } else {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).context("standard input")?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    if line.is_empty() {
        return Err(
            Usage(format!("the {what} is missing: set {variable}, or write it on a line of standard input")).into()
        );
    }
    Ok(SecretString::from(line))
}

async fn list(settings: &Settings, output: Output) -> anyhow::Result<()> {
    let store = open_store(settings).await?;
    let tenants = store.tenants(TenantScope::Operator).await?;
    let pbxs = store.pbxs(TenantScope::Operator).await?;
    output.print(&pbxs, |pbxs| {
        let rows = pbxs.iter().map(|p| {
            let tenant = tenants.iter().find(|t| t.id == p.tenant).map_or_else(String::new, |t| t.name.clone());
            let ami = format!("{}:{}", p.host, p.ami_port);
            [
                p.name.clone(),
                tenant,
                ami,
                p.ari_url.clone(),
                p.ari_app.clone(),
                p.tap_mode.to_string(),
                p.codec.to_string(),
            ]
        });
        table(["PBX", "TENANT", "AMI", "ARI", "APP", "TAP", "CODEC"], rows)
    })
}

/// What `pbx test` found.
#[derive(Debug, Serialize)]
struct Tested {
    pbx: String,
    asterisk: String,
    ami: String,
    ari: String,
    app: String,
    app_registered: bool,
    modules: Vec<&'static str>,
}

async fn test(settings: &Settings, output: Output, name: &str) -> anyhow::Result<()> {
    let store = open_store(settings).await?;
    let pbx = store.pbx_by_name(TenantScope::Operator, name).await?;
    let secrets = store.pbx_secrets(TenantScope::Operator, pbx.id).await?;
    let ami = aimg_ami::probe(aimg_gateway::ami_config(&pbx, &secrets)).await?;
    let ari = aimg_ari::probe(&aimg_gateway::ari_config(&pbx, &secrets)?).await?;
    let tested = Tested {
        pbx: pbx.name,
        asterisk: ari.version,
        ami: ami.server.ami_version,
        ari: pbx.ari_url,
        app: pbx.ari_app,
        app_registered: ari.app_registered,
        modules: ari.modules.to_vec(),
    };
    output.print(&tested, |t| {
        let app = if t.app_registered {
            "registered: by a running aimg, or by another program, which would lose it"
        } else {
            "free"
        };
        format!(
            "PBX {} can be captured\n  Asterisk {}, AMI {}\n  ARI at {}, application `{}` is {app}\n  modules: {}",
            t.pbx,
            t.asterisk,
            t.ami,
            t.ari,
            t.app,
            t.modules.join(", ")
        )
    })
}
