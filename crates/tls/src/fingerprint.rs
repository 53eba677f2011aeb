//! Trust in one certificate, whoever signed it.

use std::sync::Arc;

use aimg_core::Fingerprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use sha2::{Digest, Sha256};

/// The fingerprint of a certificate in DER.
pub fn fingerprint(certificate: &[u8]) -> Fingerprint {
    Fingerprint::new(Sha256::digest(certificate).into())
}

/// Another certificate than the one that is trusted.
#[derive(Debug, thiserror::Error)]
#[error("its certificate has the fingerprint {found}")]
pub(crate) struct OtherCertificate {
    pub(crate) found: Fingerprint,
}

/// Accepts one certificate.
#[derive(Debug)]
pub(crate) struct Pinned {
    expected: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    pub(crate) fn new(expected: Fingerprint, provider: Arc<CryptoProvider>) -> Self {
        Self { expected, provider }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = fingerprint(end_entity);
        if found == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        let other = OtherError(Arc::new(OtherCertificate { found }));
        Err(Error::InvalidCertificate(CertificateError::Other(other)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // By the key alone: rustls reads certificates of version 3 only, and `openssl x509 -req` without extensions, as in
        // Asterisk's documentation, makes version 1 (seen with OpenSSL 3.0). For TLS 1.2 rustls has no such way.
        let key = public_key(cert).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let key = SubjectPublicKeyInfoDer::from(key);
        verify_tls13_signature_with_raw_key(message, &key, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The public key of a certificate: its SubjectPublicKeyInfo (RFC 5280, 4.1) in DER.
fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    /// The tag of the version, which version 1 leaves out.
    const VERSION: u8 = 0xA0;
    let certificate = Element::read(certificate)?;
    let mut field = Element::read(Element::read(certificate.body)?.body)?;
    if field.tag == VERSION {
        field = Element::read(field.after)?;
    }
    // From the serial number by signature, issuer and validity to the subject, and what follows.
    for _ in 0..5 {
        field = Element::read(field.after)?;
    }
    Some(field.whole)
}

/// One element of DER.
struct Element<'d> {
    tag: u8,
    /// With tag and length.
    whole: &'d [u8],
    body: &'d [u8],
    after: &'d [u8],
}

impl<'d> Element<'d> {
    fn read(input: &'d [u8]) -> Option<Self> {
        let (&[tag, first], rest) = input.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7F => (usize::from(first), rest),
            // A length of up to four bytes follows.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
                (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        let (body, after) = rest.split_at_checked(length)?;
        Some(Self { tag, whole: &input[..input.len() - after.len()], body, after })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::PublicKeyData;

    use super::*;

    /// The first fields of a certificate's body, from the serial number to the subject, each a small element.
    const FIELDS: [u8; 15] = [2, 1, 7, 0x30, 1, 0, 0x30, 1, 1, 0x30, 1, 2, 0x30, 1, 3];

    #[test]
    fn the_key_is_found_in_certificates_of_version_3_and_1() {
        let made = rcgen::generate_simple_self_signed(["pbx".to_owned()]).unwrap();
        let key = made.signing_key.subject_public_key_info();
        assert_eq!(public_key(made.cert.der()), Some(&key[..]));

        let body = [&FIELDS[..], &key].concat();
        let body_length = u8::try_from(body.len()).unwrap();
        assert!(body_length < 0x80);
        let version_1 = [&[0x30, body_length + 2, 0x30, body_length][..], &body].concat();
        assert_eq!(public_key(&version_1), Some(&key[..]));
        for end in 0..version_1.len() {
            assert_eq!(public_key(&version_1[..end]), None, "cut at {end}");
        }
        for odd in [&[0x30, 0x80][..], &[0x30, 0x85, 0, 0, 0, 0, 1], &[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]] {
            assert_eq!(public_key(odd), None);
        }
    }
}
