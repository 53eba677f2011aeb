//! `aimg pbx add` and `aimg pbx set`: from the command line to a PBX's row.

use std::path::PathBuf;

use aimg_core::{Fingerprint, TenantScope, Tls, Trust};
use aimg_store::{NewPbx, Pbx, PbxChange, Store};
use anyhow::Context;

use secrecy::SecretString;

use super::secret::secret;
use crate::cli::{PbxAdd, PbxLinks, PbxSet};
use crate::exit::Usage;

/// AMI's usual ports, without and with TLS.
const AMI_PORTS: [u16; 2] = [5038, 5039];
const AMI_SECRET: [&str; 2] = ["AMI secret", "AIMG_AMI_SECRET"];
const ARI_PASSWORD: [&str; 2] = ["ARI password", "AIMG_ARI_PASSWORD"];

/// Adds the row.
pub(super) async fn add(store: &Store, pbx: PbxAdd) -> anyhow::Result<Pbx> {
    let tenant = match &pbx.tenant {
        Some(name) => Some(store.tenant_by_name(TenantScope::Operator, name).await?.id),
        None => None,
    };
    let links = pbx.links;
    let ami_tls = ami_tls(None, &links)?;
    let ari_tls = ari_tls(None, &links)?;
    let ari_url = pbx.ari_url.unwrap_or_else(|| match ari_tls {
        Some(_) => format!("https://{}:8089/ari", pbx.host),
        None => format!("http://{}:8088/ari", pbx.host),
    });
    encrypted_if(ari_tls.is_some(), &ari_url)?;
    let ami_port = pbx.ami_port.unwrap_or(AMI_PORTS[usize::from(ami_tls.is_some())]);
    warn_of_port(ami_port, ami_tls.as_ref());
    let ami_secret = secret(pbx.ami_secret, AMI_SECRET)?;
    let ari_password = secret(pbx.ari_password, ARI_PASSWORD)?;
    // A wrong address is told here and not by a gateway that starts tomorrow.
    aimg_ari::Config::new(&ari_url, &pbx.ari_user, ari_password.clone(), &pbx.ari_app)?;
    let new = NewPbx {
        tenant,
        name: pbx.name,
        host: pbx.host,
        ami_port,
        ami_tls,
        ami_user: pbx.ami_user,
        ami_secret,
        ari_url,
        ari_tls: ari_tls.unwrap_or_default(),
        ari_link: links.ari_link.unwrap_or_default(),
        ari_user: pbx.ari_user,
        ari_password,
        ari_app: pbx.ari_app,
        tap_mode: pbx.tap,
        codec: pbx.codec,
        inbound_contexts: pbx.inbound_contexts,
    };
    Ok(store.add_pbx(TenantScope::Operator, new).await?)
}

/// Changes the row.
pub(super) async fn set(store: &Store, set: PbxSet) -> anyhow::Result<Pbx> {
    let before = store.pbx_by_name(TenantScope::Operator, &set.name).await?;
    let ami_tls = if set.no_ami_tls { None } else { ami_tls(before.ami_tls.clone(), &set.links)? };
    // The port goes along where it was the usual one.
    let usual = |tls: &Option<Tls>| AMI_PORTS[usize::from(tls.is_some())];
    let follows = (before.ami_port == usual(&before.ami_tls)).then(|| usual(&ami_tls));
    let ami_port = set.ami_port.or(follows).unwrap_or(before.ami_port);
    warn_of_port(ami_port, ami_tls.as_ref());
    let ari_url = set.ari_url.unwrap_or(before.ari_url);
    let ari_tls = if set.ari_system_ca { Some(Tls::default()) } else { ari_tls(Some(before.ari_tls), &set.links)? };
    let links = &set.links;
    let about_tls = links.ari_ca_file.is_some() || links.ari_fingerprint.is_some() || links.ari_tls_name.is_some();
    encrypted_if(about_tls, &ari_url)?;
    let (ari_user, ari_app) = (set.ari_user.unwrap_or(before.ari_user), set.ari_app.unwrap_or(before.ari_app));
    aimg_ari::Config::new(&ari_url, &ari_user, SecretString::default(), &ari_app)?;
    let change = PbxChange {
        host: set.host,
        ami_port: Some(ami_port),
        ami_tls: Some(ami_tls),
        ami_user: set.ami_user,
        ami_secret: set.new_ami_secret.then(|| new_secret(AMI_SECRET)).transpose()?,
        ari_url: Some(ari_url),
        ari_tls,
        ari_link: set.links.ari_link,
        ari_user: Some(ari_user),
        ari_password: set.new_ari_password.then(|| new_secret(ARI_PASSWORD)).transpose()?,
        ari_app: Some(ari_app),
        tap_mode: set.tap,
        codec: set.codec,
        inbound_contexts: set.inbound_contexts,
        enabled: set.enabled,
    };
    Ok(store.change_pbx(TenantScope::Operator, before.id, None, change).await?)
}

fn ami_tls(before: Option<Tls>, links: &PbxLinks) -> anyhow::Result<Option<Tls>> {
    let PbxLinks { ami_ca_file, ami_fingerprint, ami_tls_name, .. } = links;
    let tls = changed(before, ami_ca_file.as_ref(), *ami_fingerprint, ami_tls_name.as_ref())?;
    Ok(if links.ami_tls { tls.or_else(|| Some(Tls::default())) } else { tls })
}

fn ari_tls(before: Option<Tls>, links: &PbxLinks) -> anyhow::Result<Option<Tls>> {
    let PbxLinks { ari_ca_file, ari_fingerprint, ari_tls_name, .. } = links;
    changed(before, ari_ca_file.as_ref(), *ari_fingerprint, ari_tls_name.as_ref())
}

/// What is trusted after the command line; a file is read, and its text kept.
fn changed(
    before: Option<Tls>,
    ca_file: Option<&PathBuf>,
    fingerprint: Option<Fingerprint>,
    name: Option<&String>,
) -> anyhow::Result<Option<Tls>> {
    if let Some(fingerprint) = fingerprint {
        return Ok(Some(Trust::Fingerprint(fingerprint).into()));
    }
    if ca_file.is_none() && name.is_none() {
        return Ok(before);
    }
    let mut tls = before.unwrap_or_default();
    if let Some(path) = ca_file {
        // Said of the file, while it is known which.
        aimg_tls::client_config(&Trust::CaFile(path.clone()).into())?;
        tls.trust = Trust::CaPem(std::fs::read_to_string(path).with_context(|| path.display().to_string())?);
    }
    if let Some(name) = name {
        if matches!(tls.trust, Trust::Fingerprint(_)) {
            return Err(Usage(format!(
                "a certificate that is trusted by its fingerprint needs no name: leave {name} out, or give a CA file"
            ))
            .into());
        }
        tls.name = Some(name.clone());
    }
    aimg_tls::client_config(&tls)?;
    Ok(Some(tls))
}

fn encrypted_if(wanted: bool, ari_url: &str) -> anyhow::Result<()> {
    if wanted && !ari_url.starts_with("https:") {
        let why = format!(
            "ARI's address {ari_url} is without TLS: give --ari-url https://…:8089/ari, or leave the certificate out"
        );
        return Err(Usage(why).into());
    }
    Ok(())
}

/// A port can be any; these two are most often a mistake.
fn warn_of_port(port: u16, tls: Option<&Tls>) {
    let [without, with] = AMI_PORTS;
    match tls {
        Some(_) if port == without => {
            eprintln!(
                "aimg: AMI's port {port} is usually the one without TLS; with TLS it is {with} (tlsbindaddr in manager.conf)"
            );
        }
        None if port == with => {
            eprintln!("aimg: AMI's port {port} is usually the one of TLS: add --ami-tls, or take {without}");
        }
        _ => {}
    }
}

/// As for [`secret`], but the environment is asked here: there it is an argument of its own.
fn new_secret([what, variable]: [&str; 2]) -> anyhow::Result<SecretString> {
    let given = std::env::var(variable).ok().filter(|secret| !secret.is_empty()).map(SecretString::from);
    secret(given, [what, variable])
}
