//! How a Riva server is reached, and what it is asked for when nobody says otherwise.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, ErrorKind};

/// The port where Riva listens when nobody says otherwise.
const PORT: u16 = 50_051;

/// Everything that can be set. The environment variables are the original's.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What errors call it.
    pub name: String,
    /// Where it recognises (RIVA_ASR_URI).
    pub asr: Address,
    /// Where it speaks (RIVA_TTS_URI); unset: where it recognises.
    pub tts: Option<Address>,
    /// Whether to use TLS (RIVA_USE_SSL). An address with `https://` and any of the three files say so too.
    pub tls: bool,
    /// Our certificate for mutual TLS, PEM (RIVA_SSL_CERT).
    pub certificate: Option<PathBuf>,
    /// Its key, PEM (RIVA_SSL_KEY).
    pub key: Option<PathBuf>,
    /// Who is trusted instead of whom the operating system trusts, PEM (RIVA_SSL_ROOT_CERTS).
    pub authorities: Option<PathBuf>,
    /// Sent as `authorization: Bearer …` (RIVA_AUTH_TOKEN).
    pub token: Option<SecretString>,
    /// Sent with every request (RIVA_AUTH_METADATA), as `function-id` for NVIDIA's hosted service.
    pub metadata: Pairs,
    /// The language of streams that name none, as BCP 47 (RIVA_DEFAULT_LANGUAGE).
    pub language: String,
    /// The rate that is preferred where there is a choice, and of speech (RIVA_DEFAULT_SAMPLE_RATE), in Hz.
    pub sample_rate_hz: u32,
    /// The most readings of one utterance (RIVA_MAX_ALTERNATIVES).
    pub alternatives_max: u8,
    /// Whether profanity is masked (RIVA_ENABLE_PROFANITY_FILTER).
    pub profanity_filter: bool,
    /// Whether speakers are told apart in streams that ask for it (RIVA_ENABLE_SPEAKER_DIARIZATION).
    pub speakers: bool,
    /// Whether words get times (RIVA_ENABLE_WORD_TIMESTAMPS). Without them a stream that takes over is less exact.
    pub word_times: bool,
    /// Whether text is punctuated (RIVA_ENABLE_AUTOMATIC_PUNCTUATION).
    pub punctuation: bool,
    /// How long connecting may take (RIVA_CONNECTION_TIMEOUT).
    pub connect_timeout: Duration,
    /// How long an answer may take (RIVA_REQUEST_TIMEOUT): to a request, and to the end of a stream's audio.
    pub request_timeout: Duration,
    /// Samples of one message of a stream (RIVA_STREAMING_CHUNK_SIZE); unset: 100 ms.
    pub chunk_samples: Option<usize>,
    /// Streams and requests at once (RIVA_MAX_CONCURRENT_REQUESTS): so many to recognise, and so many to speak.
    pub requests_max: usize,
    /// The most audio that is recognised in one request, in bytes (TRANSCRIPTION_MAX_AUDIO_SIZE).
    pub audio_bytes_max: usize,
    /// The model for a language, where Riva is not to choose.
    pub models: Pairs,
    /// For every stream, by Riva's names; see [`StreamOptions::custom`](crate::StreamOptions::custom).
    pub custom: Pairs,
    /// Whether audio of 8 kHz is sent as µ-law: half the bytes, and nothing lost where a phone sent µ-law.
    pub ulaw: bool,
    /// The voice of texts that name none (RIVA_TTS_VOICE); unset: Riva's own choice.
    pub voice: Option<String>,
}

impl Settings {
    /// The original's defaults for the server at `asr`.
    pub fn new(asr: Address) -> Self {
        Self {
            name: "riva".to_owned(),
            asr,
            tts: None,
            tls: false,
            certificate: None,
            key: None,
            authorities: None,
            token: None,
            metadata: Pairs::default(),
            language: "en-US".to_owned(),
            sample_rate_hz: 16_000,
            alternatives_max: 3,
            profanity_filter: true,
            speakers: true,
            word_times: true,
            punctuation: true,
            connect_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(300),
            chunk_samples: None,
            requests_max: 10,
            audio_bytes_max: 50 << 20,
            models: Pairs::default(),
            custom: Pairs::default(),
            ulaw: false,
            voice: None,
        }
    }

    /// Whether this address is reached by TLS.
    pub(super) fn uses_tls(&self, address: &Address) -> bool {
        self.tls || address.tls || [&self.certificate, &self.key, &self.authorities].iter().any(|file| file.is_some())
    }

    pub(super) fn error(&self, kind: ErrorKind, what: impl Into<String>) -> Error {
        Error { provider: self.name.clone(), kind, what: what.into() }
    }
}

/// A text that is no address and no list of pairs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No address.
    #[error("no address of a Riva server: give host:port, with https:// in front for TLS")]
    Address,
    /// No list of pairs.
    #[error("no list of name=value, separated by commas")]
    Pairs,
}

/// Where a server is: `host:port`, with `https://` (or `grpcs://`) in front for TLS. Without a port it is Riva's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    host: String,
    port: u16,
    tls: bool,
}

impl Address {
    /// What a certificate has to be for.
    pub(super) fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl FromStr for Address {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (tls, rest) = match text.trim().split_once("://") {
            Some(("http" | "grpc", rest)) => (false, rest),
            Some(("https" | "grpcs", rest)) => (true, rest),
            Some(_) => return Err(Unreadable::Address),
            None => (false, text.trim()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // The colons of an IPv6 address are within its brackets.
        let after_host = rest.find(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match rest[after_host..].find(':') {
            Some(colon) => {
                let (host, port) = rest.split_at(after_host + colon);
                (host, port[1..].parse().map_err(|_| Unreadable::Address)?)
            }
            None => (rest, PORT),
        };
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let good = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(is_name),
        };
        if !good || port == 0 {
            return Err(Unreadable::Address);
        }
        Ok(Self { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Names with values, which may be secret: `name=value,name=value`, or with colons, as NVIDIA's own programs have them.
#[derive(Clone, Default)]
pub struct Pairs(BTreeMap<String, SecretString>);

impl Pairs {
    /// The value of a name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(ExposeSecret::expose_secret)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose_secret()))
    }
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl FromStr for Pairs {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pair = |text: &str| {
            let (name, value) = text.split_at_checked(text.find(['=', ':'])?)?;
            let name = name.trim();
            (!name.is_empty()).then(|| (name.to_owned(), SecretString::from(value[1..].trim())))
        };
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(pair).collect::<Option<_>>().map(Self).ok_or(Unreadable::Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, shown, tls) in [
            ("localhost:50051", "localhost:50051", false),
            ("riva", "riva:50051", false),
            (" http://10.0.0.5:1/ ", "10.0.0.5:1", false),
            ("grpc://riva:9000", "riva:9000", false),
            ("https://grpc.example.com:443", "grpc.example.com:443", true),
            ("grpcs://riva", "riva:50051", true),
            ("[::1]:50052", "[::1]:50052", false),
            ("[::1]", "[::1]:50051", false),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.tls), (shown, tls), "{text}");
        }
        for text in ["", ":50051", "riva:", "riva:0", "riva:70000", "ftp://riva", "a b:1", "[riva]:1", "riva:1/path"] {
            assert_eq!(text.parse::<Address>(), Err(Unreadable::Address), "{text}");
        }
        assert_eq!("[::1]:1".parse::<Address>().unwrap().host(), "::1");
    }

    #[test]
    fn pairs_are_read_and_not_shown() {
        let pairs: Pairs = "function-id=12ab, authorization: Bearer a=b,".parse().unwrap();
        let read: Vec<_> = pairs.iter().collect();
        assert_eq!(read, [("authorization", "Bearer a=b"), ("function-id", "12ab")]);
        assert_eq!(pairs.value("function-id"), Some("12ab"));
        assert!(!format!("{pairs:?}").contains("12ab"));
        assert!("".parse::<Pairs>().unwrap().iter().next().is_none());
        for text in ["function-id", "=x", "a=b,c"] {
            assert!(text.parse::<Pairs>().is_err(), "{text}");
        }
    }

    #[test]
    fn tls_is_used_where_anything_speaks_for_it() {
        let plain = || Settings::new("riva:1".parse().unwrap());
        assert!(!plain().uses_tls(&plain().asr));
        assert!(plain().uses_tls(&"https://riva:1".parse().unwrap()));
        for speaks in [
            Settings { tls: true, ..plain() },
            Settings { authorities: Some("ca.pem".into()), ..plain() },
            Settings { certificate: Some("cert.pem".into()), ..plain() },
        ] {
            assert!(speaks.uses_tls(&speaks.asr));
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = Settings { token: Some("geheim".into()), ..Settings::new("riva:1".parse().unwrap()) };
        assert!(!format!("{settings:?}").contains("geheim"));
    }
}
