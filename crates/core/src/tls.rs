//! How the other end of a TLS connection is known to be the right one.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What makes a PBX's certificate good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// It names the host connected to, and an authority that this machine's operating system trusts has signed it.
    #[default]
    SystemRoots,
    /// It names the host connected to, and an authority of this PEM file has signed it.
    CaFile(PathBuf),
    /// It is exactly this certificate, whoever signed it, whatever it names and however old it is: for the self-signed one
    /// that Asterisk's documentation makes.
    Fingerprint(Fingerprint),
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

#[cfg(test)]
mod tests {
    use super::*;

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
