//! Who can read along between us and a PBX, and whether a PBX that is to connect to us can.

use std::net::IpAddr;

use aimg_core::{AriLink, Tls};
use aimg_store::Pbx;

use super::ami;
use super::finding::{Area, Failure, Finding};
use crate::AriListen;

/// Looks at the row alone: the connections themselves tell whether a certificate is good.
pub(super) fn examine(pbx: &Pbx, listen: Option<&AriListen>) -> Vec<Finding> {
    let here = is_here(&pbx.host);
    let mut found = vec![ami_of(pbx, here), ari_of(pbx, here)];
    if pbx.ari_link == AriLink::Accept {
        found.push(accepting(pbx, here, listen));
    }
    found
}

fn ami_of(pbx: &Pbx, here: bool) -> Finding {
    match &pbx.ami_tls {
        Some(tls) => Finding::ok(Area::Ami, format!("AMI goes over TLS; {}", trusted(tls))),
        None if here => Finding::ok(Area::Ami, "AMI goes without TLS, within this machine"),
        None => {
            let lines =
                ["tlsenable = yes", "tlsbindaddr = 0.0.0.0:5039", "tlscertfile = /etc/asterisk/keys/asterisk.pem"];
            Finding::warning(Area::Ami, "AMI goes without TLS: who is on the way reads every call's numbers")
                .cured_by("manager.conf, section [general]", lines)
                .then(format!("{} && aimg pbx set {} --ami-tls …", ami::RELOAD, pbx.name))
        }
    }
}

fn ari_of(pbx: &Pbx, here: bool) -> Finding {
    if pbx.ari_url.starts_with("https:") {
        return Finding::ok(Area::Ari, format!("ARI goes over TLS; {}", trusted(&pbx.ari_tls)));
    }
    if here {
        return Finding::ok(Area::Ari, "ARI goes without TLS, within this machine");
    }
    let lines = ["tlsenable = yes", "tlsbindaddr = 0.0.0.0:8089", "tlscertfile = /etc/asterisk/keys/asterisk.pem"];
    Finding::warning(Area::Ari, "ARI goes without TLS: who is on the way reads its password")
        .cured_by("http.conf, section [general]", lines)
        .then(format!("aimg pbx set {} --ari-url https://{}:8089/ari", pbx.name, pbx.host))
}

fn accepting(pbx: &Pbx, here: bool, listen: Option<&AriListen>) -> Finding {
    match listen {
        None => {
            let what = "Asterisk is to open ARI's event stream, and aimg listens nowhere";
            Finding::problem(Area::Ari, Failure::Unavailable, what)
                .cured_by("aimg.toml, section [ari]", ["listen = \"0.0.0.0:8770\""])
        }
        Some(AriListen { address, .. }) if !here && address.ip().is_loopback() => {
            let what =
                format!("Asterisk is to open ARI's event stream, and {address} is not reached from {}", pbx.host);
            Finding::problem(Area::Ari, Failure::Unavailable, what)
                .cured_by("aimg.toml, section [ari]", [format!("listen = \"0.0.0.0:{}\"", address.port())])
        }
        Some(AriListen { address, tls: None }) if !here => {
            let what = format!("Asterisk opens ARI's event stream to {address} without TLS: its password can be read");
            Finding::warning(Area::Ari, what)
                .cured_by("aimg.toml, section [ari]", ["tls_certificate = \"…\"", "tls_key = \"…\""])
        }
        Some(AriListen { address, .. }) => {
            Finding::ok(Area::Ari, format!("Asterisk opens ARI's event stream to {address}; `aimg pbx show` tells how"))
        }
    }
}

fn trusted(tls: &Tls) -> String {
    let name = tls.name.as_ref().map(|name| format!(" for the name {name}")).unwrap_or_default();
    format!("the certificate{name} is trusted by {}", tls.trust)
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use aimg_core::{Codec, PbxId, TapMode, TenantId, Timestamp, Trust};
    use uuid::Uuid;

    use super::super::finding::Level;
    use super::*;

    fn pbx(host: &str) -> Pbx {
        Pbx {
            id: PbxId::from_uuid(Uuid::nil()),
            tenant: Some(TenantId::from_uuid(Uuid::nil())),
            name: "office".into(),
            host: host.into(),
            ami_port: 5038,
            ami_tls: None,
            ami_user: "aimg".into(),
            ari_url: format!("http://{host}:8088/ari"),
            ari_tls: Tls::default(),
            ari_link: AriLink::Connect,
            ari_user: "aimg".into(),
            ari_app: "aimg".into(),
            tap_mode: TapMode::Ami,
            codec: Codec::Ulaw,
            inbound_contexts: vec![],
            enabled: true,
            created_at: Timestamp::default(),
            changed_at: Timestamp::default(),
            version: 1,
        }
    }

    #[test]
    fn what_can_be_read_on_the_way_is_told() {
        let (near, far) = (pbx("127.0.0.1"), pbx("10.0.0.5"));
        let tls = Pbx {
            ami_tls: Some(Trust::CaPem(String::new()).into()),
            ari_url: "https://10.0.0.5:8089/ari".into(),
            ..far.clone()
        };
        let accepts = |pbx: &Pbx| Pbx { ari_link: AriLink::Accept, ..pbx.clone() };
        let at = |address: &str, tls| Some(AriListen { address: address.parse().unwrap(), tls });
        let files = Some(["cert.pem".into(), "key.pem".into()]);
        use Level::{Ok, Problem, Warning};
        for (pbx, listen, expected) in [
            (near.clone(), None, &[Ok, Ok][..]),
            (pbx("localhost"), None, &[Ok, Ok]),
            (far.clone(), None, &[Warning, Warning]),
            (tls.clone(), None, &[Ok, Ok]),
            (accepts(&near), None, &[Ok, Ok, Problem]),
            (accepts(&near), at("127.0.0.1:8770", None), &[Ok, Ok, Ok]),
            (accepts(&tls), at("127.0.0.1:8770", files.clone()), &[Ok, Ok, Problem]),
            (accepts(&tls), at("0.0.0.0:8770", None), &[Ok, Ok, Warning]),
            (accepts(&tls), at("0.0.0.0:8770", files), &[Ok, Ok, Ok]),
        ] {
            let found = examine(&pbx, listen.as_ref());
            assert_eq!(found.iter().map(|f| f.level).collect::<Vec<_>>(), expected, "{listen:?} {found:#?}");
            assert!(found.iter().all(|f| (f.level == Ok) == f.cure.is_none()), "{found:#?}");
        }
    }
}
