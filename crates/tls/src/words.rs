//! Why a handshake failed, and what to do about it.

use std::error::Error as StdError;
use std::io;

use rustls::{CertificateError, Error, OtherError};

use crate::fingerprint::OtherCertificate;

/// One clause about a failed handshake, with the cure; nothing when TLS is not what failed. Takes any error and looks
/// through its causes, those inside of IO errors included.
pub fn refusal(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<Error>() {
            return Some(words(tls));
        }
        cause = match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(reason) => certificate(reason),
        Error::InvalidMessage(_) => "it does not speak TLS on this port: is it the port of TLS?".to_owned(),
        Error::AlertReceived(alert) => format!("it ended the handshake of TLS ({alert:?}): see its log"),
        Error::PeerIncompatible(_) => format!("it speaks neither TLS 1.2 nor 1.3 as we do: {error}"),
        other => format!("TLS failed: {other}"),
    }
}

fn certificate(reason: &CertificateError) -> String {
    const BY_FINGERPRINT: &str = "trust the certificate by its fingerprint";
    match reason {
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "its certificate is for {}, not for {}: connect by a name that it has, or {BY_FINGERPRINT}",
            if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") },
            expected.to_str()
        ),
        CertificateError::NotValidForName => {
            format!("its certificate is for another name: connect by a name that it has, or {BY_FINGERPRINT}")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: renew it there".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: compare the clocks of both machines".to_owned()
        }
        CertificateError::UnknownIssuer => {
            format!("nobody trusted here has signed its certificate: name the CA's file, or {BY_FINGERPRINT}")
        }
        CertificateError::BadSignature => {
            format!(
                "the CA trusted here has the right name and another key: name the CA's present file, or {BY_FINGERPRINT}"
            )
        }
        CertificateError::Other(other) => other_reason(other)
            .unwrap_or_else(|| format!("its certificate cannot be used ({other}): renew it, or {BY_FINGERPRINT}")),
        other => format!("its certificate cannot be used ({other}): renew it, or {BY_FINGERPRINT}"),
    }
}

fn other_reason(other: &OtherError) -> Option<String> {
    let found = other.0.downcast_ref::<OtherCertificate>()?.found;
    Some(format!("another certificate than the trusted one answers there: if that is meant, trust {found}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aimg_core::Fingerprint;
    use rustls::InvalidMessage;
    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn refusals_tell_the_cure() {
        let name = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("10.0.0.5").unwrap(),
            presented: vec!["DnsName(\"pbx\")".to_owned()],
        };
        let pinned = OtherCertificate { found: Fingerprint::new([0xAB; 32]) };
        for (error, cure) in [
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), "name the CA's file"),
            (Error::InvalidCertificate(CertificateError::BadSignature), "present file"),
            (Error::InvalidCertificate(CertificateError::Expired), "renew it"),
            (Error::InvalidCertificate(CertificateError::NotValidYet), "clocks"),
            (Error::InvalidCertificate(name), "not for 10.0.0.5: connect by a name"),
            (Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(pinned)))), "trust AB:AB:"),
            (Error::InvalidCertificate(CertificateError::BadEncoding), "renew it"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "is it the port of TLS?"),
        ] {
            let io = io::Error::new(io::ErrorKind::InvalidData, error);
            let words = refusal(&io).unwrap();
            assert!(words.contains(cure), "{words}");
        }
        assert_eq!(refusal(&io::Error::from(io::ErrorKind::ConnectionRefused)), None);
    }
}
