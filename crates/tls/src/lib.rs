//! TLS to Asterisk: from what is trusted ([`Tls`]) to rustls's configuration, and from its refusals to words with a cure.
//!
//! The provider is aws-lc-rs throughout. Left to others: sockets and handshakes.

mod fingerprint;
mod named;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use aimg_core::{Tls, Trust};
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::fingerprint::Pinned;
use crate::named::Named;

pub use fingerprint::fingerprint;
pub use words::refusal;

/// Trust that cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The CA file is absent, unreadable or no PEM.
    #[error("cannot read the CA file {path}: {reason}; it must be PEM, with -----BEGIN CERTIFICATE-----")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// One clause.
        reason: String,
    },
    /// The CA's text is no PEM.
    #[error(
        "cannot read the authorities that were given: {reason}; they must be PEM, with -----BEGIN CERTIFICATE-----"
    )]
    CaPem {
        /// One clause.
        reason: String,
    },
    /// What the certificate shall be for is neither a name nor an address.
    #[error("`{0}` is no name that a certificate can have: give a host name or an IP address")]
    Name(String),
    /// Our own certificate or key is absent, unreadable, no PEM, or they do not belong together.
    #[error("cannot use {path} for TLS: {reason}; certificate and key must be PEM and belong together")]
    OwnFile {
        /// The file.
        path: PathBuf,
        /// One clause.
        reason: String,
    },
    /// The operating system trusts nobody.
    #[error("this machine has no CA certificates: install the package ca-certificates, or name a CA file")]
    NoSystemRoots,
    /// The crypto provider lacks what TLS needs; a defect of the build.
    #[error("TLS cannot be set up: {0}")]
    Provider(#[from] rustls::Error),
}

/// What a connection to Asterisk needs: TLS 1.2 or 1.3, no client certificate. Reads the CA file, or the operating system's
/// certificates, once.
pub fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let roots = match &tls.trust {
        Trust::System => system_roots()?,
        Trust::CaFile(path) => {
            let unusable = |reason| Error::CaFile { path: path.clone(), reason };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|e| unusable(e.to_string()))?;
            roots(certificates).map_err(unusable)?
        }
        Trust::CaPem(text) => {
            roots(CertificateDer::pem_slice_iter(text.as_bytes())).map_err(|reason| Error::CaPem { reason })?
        }
        Trust::Fingerprint(expected) => {
            let pinned = Arc::new(Pinned::new(*expected, provider));
            return Ok(Arc::new(verified_by(builder, pinned)));
        }
    };
    let config = match &tls.name {
        Some(name) => verified_by(builder, Arc::new(Named::new(name, roots, provider)?)),
        None => builder.with_root_certificates(roots).with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// What a port needs where Asterisk connects to us with TLS: 1.2 or 1.3, no client certificate. Both files are PEM, the
/// certificate's with those of the authorities between it and the root.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, Error> {
    let unusable = |path: &Path, reason: String| Error::OwnFile { path: path.to_owned(), reason };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|e| unusable(certificate, e.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| unusable(key, e.to_string()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| unusable(certificate, e.to_string()))?;
    Ok(Arc::new(config))
}

/// rustls calls a verifier of our own dangerous. Each of ours is as strict as it says, and has the handshake prove that the
/// other end has the certificate's key.
fn verified_by(
    builder: rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> ClientConfig {
    builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
}

fn system_roots() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    // One rotten file among the system's certificates must not cost the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(Error::NoSystemRoots) } else { Ok(roots) }
}

fn roots<E: std::fmt::Display>(
    certificates: impl Iterator<Item = Result<CertificateDer<'static>, E>>,
) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    }
    if roots.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn ca_files_are_read() {
        let made = rcgen::generate_simple_self_signed(["pbx".to_owned()]).unwrap().cert.pem();
        for (text, good) in [
            (made.clone(), true),
            (format!("{made}{made}"), true),
            (String::new(), false),
            ("no certificate".to_owned(), false),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(), false),
        ] {
            let file = file(&text);
            for trust in [Trust::CaFile(file.path().to_owned()), Trust::CaPem(text.clone())] {
                let outcome = client_config(&trust.into());
                assert_eq!(outcome.is_ok(), good, "{text}: {:?}", outcome.err());
            }
        }
        let absent = client_config(&Trust::CaFile("/nowhere/ca.pem".into()).into()).unwrap_err();
        assert!(absent.to_string().starts_with("cannot read the CA file /nowhere/ca.pem: "), "{absent}");
    }

    #[test]
    fn own_certificates_need_their_key() {
        let made = || rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
        let (ours, other) = (made(), made());
        let certificate = file(&ours.cert.pem());
        for (key, good) in [
            (ours.signing_key.serialize_pem(), true),
            (other.signing_key.serialize_pem(), false),
            (ours.cert.pem(), false),
            (String::new(), false),
        ] {
            let key = file(&key);
            let outcome = server_config(certificate.path(), key.path());
            assert_eq!(outcome.is_ok(), good, "{:?}", outcome.err());
        }
        assert!(server_config(Path::new("/nowhere/cert.pem"), certificate.path()).is_err());
    }
}
