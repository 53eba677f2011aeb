//! TLS to the fake Asterisk, with certificates made here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aimg_ami::{Action, Client, Error, Tls, Trust};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use crate::fake_asterisk::{FakeAsterisk, down, event, up, within};

/// A certificate with its key, and who signed it.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) key: KeyPair,
    pub(crate) der: Vec<u8>,
    pub(crate) ca_pem: String,
}

impl Certificate {
    /// Signed by an authority of its own, for these names, until the beginning of a year.
    pub(crate) fn new(names: &[&str], until_year: i32) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, format!("the authority of {}", names.join(", ")));
        let authority_key = KeyPair::generate().unwrap();
        let ca_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(authority, authority_key);

        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_after = date_time_ymd(until_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().to_vec(), key, ca_pem }
    }

    pub(crate) fn good() -> Self {
        Self::new(&["127.0.0.1"], 4000)
    }

    pub(crate) fn trusted_by_fingerprint(&self) -> Tls {
        Trust::Fingerprint(aimg_tls::fingerprint(&self.der)).into()
    }

    /// Trusts its authority, whose file is put into `dir`.
    pub(crate) fn trusted_by_authority(&self, dir: &Path) -> Tls {
        let path = dir.join("ca.pem");
        std::fs::write(&path, &self.ca_pem).unwrap();
        Trust::CaFile(path).into()
    }

    fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone().into()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

#[tokio::test]
async fn a_link_over_tls_does_all_that_a_link_does() {
    let dir = tempfile::tempdir().unwrap();
    let good = Certificate::good();
    // By its fingerprint a certificate is good whatever it says.
    let odd = Certificate::new(&["elsewhere"], 2001);
    for (certificate, tls) in [(&good, good.trusted_by_authority(dir.path())), (&odd, odd.trusted_by_fingerprint())] {
        let server = FakeAsterisk::bind_tls(certificate.acceptor()).await;
        let mut config = server.config();
        config.tls = Some(tls);
        config.ping_interval = Duration::from_millis(20);
        let (client, mut events) = Client::start(config);
        for _ in 0..2 {
            let (mut event_session, mut actions) = server.link().await;
            up(&mut events).await;
            event_session.send("Event: Shutdown\r\nRestart: True\r\n\r\n").await;
            event(&mut events).await;
            // As long as an action can be, so that TLS may have to keep some of it.
            let value = "x".repeat(900);
            let asking = {
                let client = client.clone();
                let action = Action::setvar(None, "V", &value).unwrap();
                tokio::spawn(async move { client.send(action).await })
            };
            let mut pings = 0;
            let mut answered = false;
            while pings < 2 || !answered {
                let ping = tokio::select! {
                    Some(ping) = event_session.try_action() => {
                        assert_eq!(ping.name(), "Ping");
                        pings += 1;
                        event_session.respond(&ping, "Success", "Ping: Pong\r\n").await;
                        continue;
                    }
                    Some(action) = actions.try_action() => action,
                };
                answered |= ping.name() == "Setvar";
                assert!(ping.name() == "Ping" || ping.value("Value") == value);
                actions.respond(&ping, "Success", "").await;
            }
            within(asking).await.unwrap().unwrap();
            drop((event_session, actions));
            assert!(matches!(down(&mut events).await, Error::Closed { .. }));
        }
    }
}

#[tokio::test]
async fn what_is_not_trusted_is_told_with_its_cure() {
    let dir = tempfile::tempdir().unwrap();
    let (good, other) = (Certificate::good(), Certificate::new(&["other.example"], 4000));
    let (elsewhere, old) = (Certificate::new(&["pbx.example"], 4000), Certificate::new(&["127.0.0.1"], 2001));
    let named = |name: &str, certificate: &Certificate| {
        let dir = dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        certificate.trusted_by_authority(&dir)
    };
    let cases = [
        (&good, named("other", &other), "nobody trusted here has signed its certificate: name the CA's file"),
        (&elsewhere, named("elsewhere", &elsewhere), "not for 127.0.0.1: connect by a name that it has"),
        (&old, named("old", &old), "its certificate has expired: renew it"),
        (&good, other.trusted_by_fingerprint(), "if that is meant, trust "),
        (&good, Trust::CaFile("/nowhere/ca.pem".into()).into(), "cannot read the CA file /nowhere/ca.pem"),
    ];
    for (certificate, tls, cure) in cases {
        let server = FakeAsterisk::bind_tls(certificate.acceptor()).await;
        let mut config = server.config();
        config.tls = Some(tls);
        let (_client, mut events) = Client::start(config);
        let refused = async {
            let error = down(&mut events).await;
            assert!(error.is_refusal() && matches!(error, Error::Untrusted { .. }), "{error}");
            assert!(error.to_string().contains(cure), "{error}");
        };
        tokio::select! {
            () = refused => {}
            () = server.refuse_handshakes() => {}
        }
    }
}

#[tokio::test]
async fn a_port_without_tls_is_told() {
    let server = FakeAsterisk::bind().await;
    let mut config = server.config();
    config.tls = Some(Certificate::good().trusted_by_fingerprint());
    let (_client, mut events) = Client::start(config);
    let mut session = server.accept().await;
    session.send("Asterisk Call Manager/11.0.0\r\n").await;
    let error = down(&mut events).await;
    assert!(error.to_string().contains("is it the port of TLS?"), "{error}");
}
