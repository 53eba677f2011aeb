//! `aimg pbx …`.

use aimg_core::{AriLink, TenantId, TenantScope, Tls};
use aimg_store::{Pbx as Row, Tenant};
use serde::Serialize;

use super::{open_store, pbx_row, pbx_rules};
use crate::cli::Pbx;
use crate::output::{Output, table};
use crate::settings::Settings;

/// What stands for the tenant of a PBX that several share.
const SHARED: &str = "(shared)";

pub(crate) async fn run(settings: &Settings, output: Output, command: Pbx) -> anyhow::Result<()> {
    match command {
        Pbx::Add(pbx) => {
            let added = pbx_row::add(&open_store(settings).await?, *pbx).await?;
            output.print(&added, |p| {
                let next = if p.tenant.is_none() { "rules" } else { "test" };
                format!("PBX {} added, tapped by {}; next: aimg pbx {next} {}", p.name, p.tap_mode, p.name)
            })
        }
        Pbx::Set(set) => {
            let changed = pbx_row::set(&open_store(settings).await?, *set).await?;
            output.print(&changed, |p| format!("PBX {} changed; next: aimg pbx test {}", p.name, p.name))
        }
        Pbx::List => list(settings, output).await,
        Pbx::Show { name } => show(settings, output, &name).await,
        Pbx::Test { name } => test(settings, output, &name).await,
        Pbx::Rules { name, command } => pbx_rules::run(settings, output, &name, command).await,
        Pbx::Match(asked) => pbx_rules::matched(settings, output, *asked).await,
    }
}

async fn list(settings: &Settings, output: Output) -> anyhow::Result<()> {
    let store = open_store(settings).await?;
    let tenants = store.tenants(TenantScope::Operator).await?;
    let pbxs = store.pbxs(TenantScope::Operator).await?;
    output.print(&pbxs, |pbxs| {
        let rows = pbxs.iter().map(|p| {
            let tenant = p.tenant.map_or_else(|| SHARED.to_owned(), |id| name_of(&tenants, id));
            let ami = ami_at(p);
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

/// The name of a tenant; nothing where it is gone meanwhile.
pub(super) fn name_of(tenants: &[Tenant], id: TenantId) -> String {
    tenants.iter().find(|t| t.id == id).map_or_else(String::new, |t| t.name.clone())
}

fn ami_at(pbx: &Row) -> String {
    format!("{}:{}{}", pbx.host, pbx.ami_port, if pbx.ami_tls.is_some() { " TLS" } else { "" })
}

async fn show(settings: &Settings, output: Output, name: &str) -> anyhow::Result<()> {
    let store = open_store(settings).await?;
    let pbx = store.pbx_by_name(TenantScope::Operator, name).await?;
    let tenants = store.tenants(TenantScope::Operator).await?;
    let tenant = pbx.tenant.map_or_else(|| SHARED.to_owned(), |id| name_of(&tenants, id));
    output.print(&pbx, |pbx| {
        let row = |what: &str, is: String| [what.to_owned(), is];
        let rows = [
            row("tenant", tenant),
            row("followed", if pbx.enabled { "yes" } else { "no" }.to_owned()),
            row("AMI", format!("{} as {}", ami_at(pbx), pbx.ami_user)),
            row("AMI's certificate", pbx.ami_tls.as_ref().map_or_else(|| "none: without TLS".to_owned(), trusted)),
            row("ARI", format!("{} as {}, application {}", pbx.ari_url, pbx.ari_user, pbx.ari_app)),
            row("ARI's certificate", ari_certificate(pbx)),
            row("ARI's events", events_come(pbx)),
            row("tap", format!("by {}, {}", pbx.tap_mode, pbx.codec)),
            row("inbound contexts", pbx.inbound_contexts.join(", ")),
        ];
        let lines = if pbx.ari_link == AriLink::Accept { outbound_lines(settings, pbx) } else { String::new() };
        format!("{}{lines}", table(["PBX", &pbx.name], rows))
    })
}

fn trusted(tls: &Tls) -> String {
    let name = tls.name.as_ref().map(|name| format!(", for the name {name}")).unwrap_or_default();
    format!("trusted by {}{name}", tls.trust)
}

fn ari_certificate(pbx: &Row) -> String {
    if pbx.ari_url.starts_with("https:") { trusted(&pbx.ari_tls) } else { "none: without TLS".to_owned() }
}

fn events_come(pbx: &Row) -> String {
    match pbx.ari_link {
        AriLink::Connect => "we connect".to_owned(),
        AriLink::Accept => "Asterisk connects to us".to_owned(),
    }
}

/// What Asterisk's configuration needs to connect to us.
fn outbound_lines(settings: &Settings, pbx: &Row) -> String {
    let listen = settings.ari_listen.as_ref();
    let at = match listen.map(|listen| listen.address) {
        Some(address) if address.ip().is_unspecified() => format!("<this machine>:{}", address.port()),
        Some(address) => address.to_string(),
        None => "<ari.listen is not set>".to_owned(),
    };
    let tls = listen.is_some_and(|listen| listen.tls.is_some());
    let more = if tls { "\ntls_enabled = yes\nca_list_file = <the CA of our certificate>" } else { "" };
    let Row { name, ari_user, ari_app, .. } = pbx;
    let scheme = if tls { "wss" } else { "ws" };
    format!(
        "

; websocket_client.conf
[aimg]
type = websocket_client
connection_type = persistent
uri = {scheme}://{at}/ari/{name}
protocols = ari
username = {ari_user}
password = <the ARI password>{more}

; ari.conf
[aimg-outbound]
type = outbound_websocket
websocket_client_id = aimg
apps = {ari_app}
local_ari_user = {ari_user}"
    )
}

/// What `pbx test` found.
#[derive(Debug, Serialize)]
struct Tested {
    pbx: String,
    asterisk: String,
    ami: String,
    ami_certificate: Option<String>,
    ari: String,
    ari_certificate: Option<String>,
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
        ami_certificate: pbx.ami_tls.as_ref().map(trusted),
        ari_certificate: pbx.ari_url.starts_with("https:").then(|| trusted(&pbx.ari_tls)),
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
        let over =
            |certificate: &Option<String>| certificate.as_ref().map(|c| format!(" over TLS, {c}")).unwrap_or_default();
        format!(
            "PBX {} can be captured\n  Asterisk {}, AMI {}{}\n  ARI at {}{}, application `{}` is {app}\n  modules: {}",
            t.pbx,
            t.asterisk,
            t.ami,
            over(&t.ami_certificate),
            t.ari,
            over(&t.ari_certificate),
            t.app,
            t.modules.join(", ")
        )
    })
}
