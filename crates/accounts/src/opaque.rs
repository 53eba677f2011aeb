//! Secrets that we make and only know the hash of: refresh tokens and API keys.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Bytes of randomness. Nobody guesses 256 bits, so a plain hash is enough to keep them.
const RANDOM_BYTES: usize = 32;

/// A new secret with `prefix`, by which people and scanners recognise what it is.
pub(crate) fn make(prefix: &str) -> SecretString {
    let random: [u8; RANDOM_BYTES] = rand::random();
    let hex: String = random.iter().map(|b| format!("{b:02x}")).collect();
    SecretString::from(format!("{prefix}{hex}"))
}

/// What is kept of a secret.
pub(crate) fn hash(secret: &SecretString) -> [u8; 32] {
    Sha256::digest(secret.expose_secret()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_recognised_and_never_the_same() {
        let (one, two) = (make("aimg_"), make("aimg_"));
        assert!(one.expose_secret().starts_with("aimg_") && one.expose_secret().len() == 5 + 64);
        assert_ne!(hash(&one), hash(&two));
        assert_eq!(hash(&one), hash(&one.clone()));
    }
}
