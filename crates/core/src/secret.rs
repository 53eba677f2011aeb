//! Secrets at rest: XChaCha20-Poly1305 with a key derived from the installation's secret.
//!
//! The associated data names the tenant and the column, so that a sealed value moved to another row does not open.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use secrecy::SecretString;
use sha2::Sha256;

/// Bytes of the nonce in front of a sealed value.
const NONCE_BYTES: usize = 24;

/// Why a sealed value does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Sealed with another key, for another row, or damaged.
    #[error(
        "the stored secret does not open with this SECRET_KEY or key file; set the one it was stored with, or store the secret again"
    )]
    WrongKey,
}

/// The key that seals secrets in the database.
pub struct DataKey {
    cipher: XChaCha20Poly1305,
    token_key: [u8; 32],
}

impl DataKey {
    /// Derives the key from SECRET_KEY or the key file's contents (HKDF-SHA256).
    pub fn derive(secret: &[u8]) -> Self {
        let source = Hkdf::<Sha256>::new(Some(b"aimg"), secret);
        let derive = |purpose: &[u8]| {
            let mut key = [0u8; 32];
            source.expand(purpose, &mut key).expect("32 bytes are within HKDF's limit");
            key
        };
        let cipher = XChaCha20Poly1305::new((&derive(b"secrets at rest v1")).into());
        Self { cipher, token_key: derive(b"access tokens v1") }
    }

    /// The key that signs access tokens: from the same secret, and of no use for what is sealed.
    pub fn token_key(&self) -> &[u8; 32] {
        &self.token_key
    }

    /// Seals `plain`; `nonce` must be random and never used twice. `context` names the tenant and the column.
    pub fn seal(&self, plain: &str, nonce: [u8; NONCE_BYTES], context: &str) -> Vec<u8> {
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: plain.as_bytes(), aad: context.as_bytes() })
            .expect("a short text fits into one message");
        [&nonce[..], &sealed].concat()
    }

    /// Opens what [`DataKey::seal`] sealed for the same context.
    pub fn open(&self, sealed: &[u8], context: &str) -> Result<SecretString, SecretError> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SecretError::WrongKey)?;
        let plain = self
            .cipher
            .decrypt(&XNonce::from(*nonce), Payload { msg: body, aad: context.as_bytes() })
            .map_err(|_| SecretError::WrongKey)?;
        String::from_utf8(plain).map(SecretString::from).map_err(|_| SecretError::WrongKey)
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn opens_only_with_the_same_key_and_context() {
        let key = DataKey::derive(b"installation secret");
        let sealed = key.seal("amp111", [7; NONCE_BYTES], "pbx/1/ami_secret");
        assert_eq!(key.open(&sealed, "pbx/1/ami_secret").unwrap().expose_secret(), "amp111");
        assert!(key.open(&sealed, "pbx/2/ami_secret").is_err());
        assert!(DataKey::derive(b"another").open(&sealed, "pbx/1/ami_secret").is_err());
        assert!(key.open(&sealed[..10], "pbx/1/ami_secret").is_err());
        assert!(!sealed.windows(6).any(|w| w == b"amp111"));
    }
}
