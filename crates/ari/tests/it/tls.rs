//! Requests and events over TLS, and refusals that tell the cure.

use std::io::Write as _;
use std::sync::Arc;

use aimg_ari::{Client, Config, Error, Http, Notice, request};
use aimg_core::{Tls, Trust};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::fake::{DEADLINE, FakePbx, Push};

/// An authority of the test's own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: NamedTempFile,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(params.self_signed(&key).unwrap().pem().as_bytes()).unwrap();
        Self { issuer: Issuer::new(params, key), file }
    }

    fn trusted(&self) -> Tls {
        Trust::CaFile(self.file.path().to_owned()).into()
    }

    fn sign(&self, name: &str, until_year: i32) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(until_year, 1, 1);
        (params.signed_by(&key, &self.issuer).unwrap().der().clone(), key)
    }
}

/// Listens with TLS and passes everything on to a fake.
async fn front(fake: &FakePbx, (certificate, key): (CertificateDer<'static>, KeyPair)) -> u16 {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, behind) = (listener.local_addr().unwrap().port(), fake.port);
    tokio::spawn(async move {
        while let Ok((outside, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(outside).await else { return };
                let mut inside = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                let _ = copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    port
}

/// Answers whatever it is told as a plain HTTP server does that does not understand it.
async fn plain() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 2048];
            let _ = stream.read(&mut hello).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    port
}

fn config(port: u16, tls: Tls) -> Config {
    let url = format!("https://127.0.0.1:{port}/ari");
    let mut config = Config::new(&url, "me", "hunter2".into(), "aimg").unwrap();
    config.tls = tls;
    config
}

async fn ping(port: u16, tls: Tls) -> Result<(), Error> {
    Http::new(&config(port, tls))?.call(request::asterisk::ping()).await
}

#[tokio::test]
async fn requests_and_events_pass() {
    let (fake, authority) = (FakePbx::start().await, Authority::new("ours"));
    let leaf = authority.sign("127.0.0.1", 4000);
    let pinned = Trust::Fingerprint(aimg_tls::fingerprint(&leaf.0)).into();
    let port = front(&fake, leaf).await;
    let elsewhere = front(&fake, authority.sign("pbx.example", 4000)).await;
    let named = Tls { name: Some("pbx.example".to_owned()), ..authority.trusted() };
    for (port, tls) in [(port, authority.trusted()), (port, pinned), (elsewhere, named)] {
        let (client, mut events) = Client::start(config(port, tls)).unwrap();
        let subscriber = fake.subscriber().await;
        let first = timeout(DEADLINE, events.next()).await.unwrap();
        assert!(matches!(first, Some(Notice::Up { .. })), "{first:?}");
        subscriber.push.send(Push::Text(r#"{"type":"ApplicationRegistered","application":"aimg"}"#.into())).unwrap();
        let second = timeout(DEADLINE, events.next()).await.unwrap();
        assert!(matches!(second, Some(Notice::Event(_))), "{second:?}");
        client.http().call(request::asterisk::ping()).await.unwrap();
    }
}

#[tokio::test]
async fn refusals_tell_the_cure_and_send_nothing() {
    let (fake, authority) = (FakePbx::start().await, Authority::new("ours"));
    let good = front(&fake, authority.sign("127.0.0.1", 4000)).await;
    let expired = front(&fake, authority.sign("127.0.0.1", 2000)).await;
    let misnamed = front(&fake, authority.sign("pbx.example", 4000)).await;
    let other = aimg_tls::fingerprint(b"another certificate");
    for (port, tls, cure) in [
        (good, Authority::new("another").trusted(), "name the CA's file"),
        (good, Authority::new("ours").trusted(), "another key"),
        (good, Trust::Fingerprint(other).into(), "another certificate than the trusted one"),
        (expired, authority.trusted(), "renew it"),
        (misnamed, authority.trusted(), "not for 127.0.0.1"),
        (good, Tls { name: Some("pbx.example".to_owned()), ..authority.trusted() }, "not for pbx.example"),
        (plain().await, authority.trusted(), "is it the port of TLS?"),
    ] {
        let error = ping(port, tls.clone()).await.unwrap_err();
        assert!(matches!(error, Error::NotSent { .. }), "{cure}: {error:?}");
        assert!(error.to_string().contains(cure), "{cure}: {error}");
        let (_client, mut events) = Client::start(config(port, tls)).unwrap();
        match timeout(DEADLINE, events.next()).await.unwrap() {
            Some(Notice::Down { error, .. }) => assert!(error.to_string().contains(cure), "{cure}: {error}"),
            first => panic!("{cure}: {first:?}"),
        }
    }
    assert_eq!((fake.requests("GET"), fake.sockets()), (0, 0));
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_read_is_told_at_once() {
    let error = ping(1, Trust::CaFile("/nowhere/ca.pem".into()).into()).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains("cannot read the CA file /nowhere/ca.pem"), "{error}");
}
