//! Secrets of webhooks, and the signatures that are made with them.

use aimg_core::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// What a secret begins with, by which people and scanners recognise what it is.
const PREFIX: &str = "whsec_";
/// Bytes of randomness in a secret.
const RANDOM_BYTES: usize = 32;

/// A text that is no secret of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret of the webhook is none: it must be {PREFIX} and Base64; rotate it")]
pub struct SecretError;

/// A new secret: `whsec_` and the key in Base64.
pub fn make_secret() -> SecretString {
    let key: [u8; RANDOM_BYTES] = rand::random();
    SecretString::from(format!("{PREFIX}{}", BASE64.encode(key)))
}

/// The value of `webhook-signature`: one signature for each secret, so that a receiver may have either.
///
/// Each is the HMAC-SHA256 over `id.timestamp.body`, the time stamp in seconds.
pub fn sign(secrets: &[SecretString], id: &str, at: Timestamp, body: &str) -> Result<String, SecretError> {
    let timestamp = seconds(at);
    let signatures = secrets.iter().map(|secret| {
        let key = secret.expose_secret().strip_prefix(PREFIX).and_then(|text| BASE64.decode(text).ok());
        let mut mac = Hmac::<Sha256>::new_from_slice(&key.ok_or(SecretError)?).expect("a key of HMAC has any length");
        for part in [id, ".", &timestamp, ".", body] {
            mac.update(part.as_bytes());
        }
        Ok(format!("v1,{}", BASE64.encode(mac.finalize().into_bytes())))
    });
    Ok(signatures.collect::<Result<Vec<_>, _>>()?.join(" "))
}

/// The value of `webhook-timestamp`.
pub(crate) fn seconds(at: Timestamp) -> String {
    at.as_micros().div_euclid(1_000_000).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the libraries of Standard Webhooks are tested with.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let (id, at) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", Timestamp::from_micros(1_614_265_330_999_999));
        let signed = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let body = r#"{"test": 2432232314}"#;
        assert_eq!(sign(std::slice::from_ref(&secret), id, at, body).unwrap(), signed);
        let two = sign(&[make_secret(), secret], id, at, body).unwrap();
        let (first, second) = two.split_once(' ').unwrap();
        assert_ne!(first, signed);
        assert_eq!(second, signed);
    }

    #[test]
    fn what_is_no_secret_signs_nothing() {
        for text in ["", "whsec_?", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            let signed = sign(&[SecretString::from(text)], "id", Timestamp::default(), "{}");
            assert_eq!(signed, Err(SecretError), "{text}");
        }
        assert_ne!(make_secret().expose_secret(), make_secret().expose_secret());
    }
}
