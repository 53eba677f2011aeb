//! How the other end of a TLS connection is known to be the right one.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What makes a PBX's certificate good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Who vouches for it.
    pub trust: Trust,
    /// The name or address that it must be for; nothing for the host connected to. A fingerprint needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Who vouches for a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// An authority that this machine's operating system trusts.
    #[default]
    System,
    /// An authority of this PEM file.
    CaFile(PathBuf),
    /// An authority of this PEM text.
    CaPem(String),
    /// Nobody: it is exactly this certificate, whoever signed it, whatever it names and however old it is. For the
    /// self-signed one that Asterisk's documentation makes.
    Fingerprint(Fingerprint),
}

impl From<Trust> for Tls {
    fn from(trust: Trust) -> Self {
        Self { trust, name: None }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("this machine's authorities"),
            Self::CaFile(path) => write!(f, "the authorities of {}", path.display()),
            Self::CaPem(_) => f.write_str("the authorities that were given"),
            Self::Fingerprint(fingerprint) => write!(f, "its fingerprint {fingerprint}"),
        }
    }
}

/// The SHA-256 of a certificate in DER, as `openssl x509 -fingerprint -sha256` prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Wraps the hash.
    pub const fn new(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A text that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a certificate's fingerprint must be 32 bytes in hex, as `openssl x509 -noout -fingerprint -sha256 -in cert.pem` prints them after the `=`"
)]
pub struct ParseFingerprintError;

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    /// Reads 64 hex digits of either case, with or without colons between the bytes.
    fn from_str(text: &str) -> Result<Self, ParseFingerprintError> {
        let mut digits = text.trim().chars().filter(|c| *c != ':').map(|c| c.to_digit(16).ok_or(ParseFingerprintError));
        let mut digit = || digits.next().unwrap_or(Err(ParseFingerprintError));
        let mut sha256 = [0; 32];
        for byte in &mut sha256 {
            let (high, low) = (digit()?, digit()?);
            *byte = u8::try_from(high * 16 + low).map_err(|_| ParseFingerprintError)?;
        }
        if digits.next().is_some() { Err(ParseFingerprintError) } else { Ok(Self(sha256)) }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let colon = if i == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_trusted_is_kept_as_json() {
        let pinned = Trust::Fingerprint(Fingerprint::new([0xAB; 32]));
        let named = Tls { trust: Trust::CaPem("PEM".to_owned()), name: Some("pbx.example".to_owned()) };
        let hex = vec!["AB"; 32].join(":");
        for (tls, json) in [
            (Tls::default(), r#"{"trust":"system"}"#.to_owned()),
            (named, r#"{"trust":{"ca_pem":"PEM"},"name":"pbx.example"}"#.to_owned()),
            (pinned.into(), format!(r#"{{"trust":{{"fingerprint":"{hex}"}}}}"#)),
        ] {
            assert_eq!(serde_json::to_string(&tls).unwrap(), json);
            assert_eq!(serde_json::from_str::<Tls>(&json).unwrap(), tls);
        }
        assert!(serde_json::from_str::<Tls>(r#"{"trust":{"fingerprint":"AB"}}"#).is_err());
    }

    #[test]
    fn fingerprints_are_read_as_openssl_prints_them() {
        let hex: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
        let colons: Vec<String> = (0..32).map(|byte| format!("{byte:02X}")).collect();
        let expected = Fingerprint::new(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        for text in [&hex, &colons.join(":"), &format!(" {hex}\n")] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        assert_eq!(expected.to_string(), colons.join(":"));
        for text in ["", "00", &hex[1..], &format!("{hex}0"), &format!("{hex}00"), &hex.replace("0a", "0g"), "é"] {
            assert_eq!(text.parse::<Fingerprint>(), Err(ParseFingerprintError), "{text}");
        }
    }
}
