//! TLS, mutual TLS, tokens and metadata.

use std::fs;
use std::path::PathBuf;

use aimg_speech::riva::{Recogniser, Settings, Voice};
use aimg_speech::{Error, ErrorKind, SpeechToText, TextToSpeech};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;
use tempfile::TempDir;

use crate::fixture::{RivaServer, audio, hear, options};

/// An authority, what it has signed for the server, and what it has signed for us.
struct Papers {
    dir: TempDir,
}

impl Papers {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // What has the name of its issuer is taken for its own issuer.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let papers = Self { dir };
        fs::write(papers.path("authority"), authority.pem()).unwrap();
        for name in ["localhost", "gateway"] {
            let key = KeyPair::generate().unwrap();
            let signed = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
            fs::write(papers.path(name), signed.pem()).unwrap();
            fs::write(papers.path(&format!("{name}-key")), key.serialize_pem()).unwrap();
        }
        papers
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name).with_extension("pem")
    }

    fn settings(&self, host: &str, port: u16) -> Settings {
        let mut settings = Settings::new(format!("{host}:{port}").parse().unwrap());
        settings.authorities = Some(self.path("authority"));
        settings
    }
}

async fn refusal(settings: Settings) -> Error {
    Recogniser::new(settings).unwrap().check().await.unwrap_err()
}

#[tokio::test]
async fn tls_holds_to_who_is_trusted() {
    let (papers, others) = (Papers::new(), Papers::new());
    let server =
        json!({ "certificate": papers.path("localhost"), "key": papers.path("localhost-key"), "words": ["one"] });
    let server = RivaServer::start(server).await;
    let recogniser = Recogniser::new(papers.settings("https://localhost", server.port)).unwrap();
    let (heard, error) =
        hear(recogniser.open(&options(8_000)).await.unwrap(), &audio(8_000, 700, &[(0, 100, 4_000)])).await;
    assert_eq!((heard.last().unwrap().text.as_str(), error), ("one", None));

    for (settings, words) in [
        (others.settings("localhost", server.port), "CA"),
        (papers.settings("127.0.0.1", server.port), "its certificate is for"),
        (Settings { authorities: None, tls: true, ..papers.settings("localhost", server.port) }, "nobody trusted here"),
        (Settings { authorities: None, ..papers.settings("localhost", server.port) }, "RIVA_USE_SSL"),
    ] {
        let error = refusal(settings).await;
        assert!(matches!(error.kind, ErrorKind::Unreachable | ErrorKind::BrokenOff), "{error}");
        assert!(error.what.contains(words), "{error}");
    }
}

#[tokio::test]
async fn mutual_tls_shows_our_certificate() {
    let papers = Papers::new();
    let server = RivaServer::start(json!({
        "certificate": papers.path("localhost"),
        "key": papers.path("localhost-key"),
        "client_authorities": papers.path("authority"),
    }))
    .await;
    let mut settings = papers.settings("localhost", server.port);
    let error = refusal(settings.clone()).await;
    assert!(error.kind.may_pass(), "{error}");
    (settings.certificate, settings.key) = (Some(papers.path("gateway")), Some(papers.path("gateway-key")));
    assert!(Recogniser::new(settings).unwrap().check().await.is_ok());
}

#[tokio::test]
async fn tokens_and_metadata_go_with_every_request() {
    let mut server = RivaServer::start(json!({ "token": "Bearer geheim" })).await;
    let mut settings = server.settings();
    for token in [None, Some("falsch".into())] {
        settings.token = token;
        let error = refusal(settings.clone()).await;
        assert_eq!(error.kind, ErrorKind::Unauthorised);
        assert!(error.what.contains("RIVA_AUTH_TOKEN") && !error.what.contains("falsch"), "{error}");
        let stream = Recogniser::new(settings.clone()).unwrap().open(&options(8_000)).await.unwrap();
        assert_eq!(hear(stream, &[0; 800]).await.1.unwrap().kind, ErrorKind::Unauthorised);
    }
    settings.token = Some("geheim".into());
    settings.metadata = "Function-Id=12ab".parse().unwrap();
    let recogniser = Recogniser::new(settings.clone()).unwrap();
    assert!(recogniser.check().await.is_ok());
    assert!(Voice::new(settings).unwrap().check().await.is_ok());
    assert_eq!(hear(recogniser.open(&options(8_000)).await.unwrap(), &[0; 800]).await, (Vec::new(), None));
    assert_eq!(server.record().await["metadata"]["function-id"], "12ab");
}
