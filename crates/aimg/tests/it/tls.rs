//! Both interfaces over TLS: trusted by an authority, by a name, by a fingerprint, or not at all.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use aimg_core::Fingerprint;
use aimg_testbed::{Asterisk, Context, Options, Version};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

use crate::bench::{Bench, all_went_well, callee};
use crate::home::Home;

/// The exit code of a PBX that is not trusted.
const REFUSED: i32 = 77;
const USAGE: i32 = 64;

/// The name that Asterisk's certificate is for. It is no name of the address at which it is reached.
const NAME: &str = "pbx.example";

/// Asterisk's certificate with its key, the authority that signed it, and another one.
struct Certificates {
    pem: String,
    fingerprint: Fingerprint,
    ca_file: PathBuf,
    other_ca_file: PathBuf,
    _dir: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (issuer, ca_pem) = authority("ours");
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([NAME.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let [ca_file, other_ca_file] = ["ca.pem", "other.pem"].map(|name| dir.path().join(name));
        fs::write(&ca_file, ca_pem).unwrap();
        fs::write(&other_ca_file, authority("theirs").1).unwrap();
        Self {
            pem: format!("{}{}", certificate.pem(), key.serialize_pem()),
            fingerprint: aimg_tls::fingerprint(certificate.der()),
            ca_file,
            other_ca_file,
            _dir: dir,
        }
    }
}

fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

fn asterisk(certificates: &Certificates) -> Asterisk {
    let on = |port: &str| {
        format!(
            "[general](+)\ntlsenable = yes\ntlsbindaddr = 127.0.0.1:{{{{{port}}}}}\n\
             tlscertfile = /mnt/etc/pbx.pem\ntlsprivatekey = /mnt/etc/pbx.pem\n"
        )
    };
    let additions = vec![
        ("manager.conf".to_owned(), on("ami_tls_port")),
        ("http.conf".to_owned(), on("http_tls_port")),
        ("pbx.pem".to_owned(), certificates.pem.clone()),
    ];
    Asterisk::start(Version::V22, &Options { additions, ..Options::default() }).unwrap()
}

impl Bench {
    /// Has a PBX's row changed.
    fn set(&self, arguments: &[&str]) {
        self.home.run(self.home.aimg(&[&["pbx", "set", "office"], arguments].concat())).succeeded();
    }

    /// Fails unless `pbx test` does, with this code and these words, when the row is this.
    fn told(&self, arguments: &[&str], code: i32, words: &[&str]) {
        self.set(arguments);
        self.home.run(self.home.aimg(&["pbx", "test", "office"])).failed_with(code, words);
    }

    /// One call, captured from its beginning to its end.
    fn captures_a_call(&self, calls: usize) {
        let mut callee = callee(1);
        let mut caller = self.caller(Context::TapHook, &callee).talks_for(Duration::from_secs(1)).start().unwrap();
        [&mut caller, &mut callee].into_iter().for_each(all_went_well);
        let finished = self.home.finished_calls(calls);
        let certificate = &finished[0].recordings[0].certificate;
        assert!(certificate.complete, "{:?}", certificate.reasons);
    }
}

#[test]
fn calls_are_captured_over_tls_and_strangers_refused() {
    let certificates = Certificates::new();
    let bench = Bench { asterisk: asterisk(&certificates), home: Home::new() };
    let (home, access) = (&bench.home, bench.asterisk.access());
    let (ami_port, http_port) = (bench.asterisk.ami_tls_port().to_string(), bench.asterisk.http_tls_port());
    let ari_url = format!("https://127.0.0.1:{http_port}/ari");
    let [ca, other_ca] = [&certificates.ca_file, &certificates.other_ca_file].map(|file| file.to_str().unwrap());
    let fingerprint = certificates.fingerprint.to_string();
    home.run(home.aimg(&["tenant", "add", "acme"])).succeeded();
    let mut add = home.aimg(&["pbx", "add", "office", "--tenant", "acme", "--host", "127.0.0.1", "--tap", "hook"]);
    add.args(["--ami-user", &access.user, "--ami-port", &ami_port, "--ami-ca-file", ca, "--ami-tls-name", NAME])
        .args(["--ari-user", &access.user, "--ari-url", &ari_url, "--ari-ca-file", ca, "--ari-tls-name", NAME])
        .env("AIMG_AMI_SECRET", &access.secret)
        .env("AIMG_ARI_PASSWORD", &access.secret);
    home.run(add).succeeded();
    // What is trusted was read: the file is needed no more.
    fs::remove_file(ca).unwrap();
    let tested = home.run(home.aimg(&["pbx", "test", "office"])).succeeded().stdout;
    assert_eq!(
        tested.matches("over TLS, trusted by the authorities that were given, for the name pbx.example").count(),
        2
    );

    let gateway = home.serve_linked();
    bench.captures_a_call(1);
    // The running gateway links anew, by the row as it is then.
    let links = gateway.links_made();
    bench.set(&["--ami-fingerprint", &fingerprint, "--ari-fingerprint", &fingerprint]);
    gateway.wait_until_linked(links, 1);
    bench.captures_a_call(2);
    gateway.terminate_without_complaint();
    let shown = home.run(home.aimg(&["pbx", "show", "office", "--json"])).succeeded().stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["ami_tls"]["trust"]["fingerprint"], fingerprint.as_str());
    let doctor = home.run(home.aimg(&["doctor"])).succeeded().stdout;
    assert_eq!(doctor.matches("goes over TLS; the certificate is trusted by its fingerprint").count(), 2, "{doctor}");

    let other = "00".repeat(32);
    bench.told(&["--ami-fingerprint", &other], REFUSED, &["if that is meant, trust", &fingerprint]);
    bench.told(&["--ami-ca-file", other_ca], REFUSED, &["no TLS with Asterisk", "name the CA's file"]);
    home.serve().ends_by_itself().failed_with(REFUSED, &["no PBX can be used", "name the CA's file"]);
    let plain = access.ami_port.to_string();
    bench.told(&["--ami-port", &plain], REFUSED, &["is it the port of TLS?"]);
    bench.set(&["--no-ami-tls"]);
    bench.told(&["--ari-ca-file", other_ca], 69, &["name the CA's file"]);
    let http = access.ari_url();
    home.run(home.aimg(&["pbx", "set", "office", "--ari-url", &http, "--ari-ca-file", other_ca]))
        .failed_with(USAGE, &["is without TLS", "--ari-url https://"]);
    home.run(home.aimg(&["pbx", "set", "office", "--ami-ca-file", "/nowhere/ca.pem"]))
        .failed_with(USAGE, &["cannot read the CA file /nowhere/ca.pem", "-----BEGIN CERTIFICATE-----"]);
    bench.set(&["--ari-url", &http]);
    home.run(home.aimg(&["pbx", "test", "office"])).succeeded();
}
