//! What a connection to one PBX's ARI needs to know, checked before anything is connected.

use std::time::Duration;

use aimg_core::Tls;
use secrecy::SecretString;
use url::Url;

/// The longest application name we accept, bytes. Asterisk's own bound is the 4,096 bytes of a request line.
const APP_BYTES_MAX: usize = 64;

/// The largest message of an event stream unless told otherwise; always where Asterisk connects to us, because who it is
/// is known only after the limits are set.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// How to reach the ARI of one PBX, and how much to ask of it.
///
/// [`Config::new`] checks the four values that have no default; the rest may be changed in place.
#[derive(Clone, Debug)]
pub struct Config {
    /// `http://host:port/ari` or `https://…`, without a trailing slash.
    pub(crate) base_url: Url,
    /// The section of ari.conf with `type=user`.
    pub(crate) user: String,
    /// Its password.
    pub(crate) password: SecretString,
    /// The Stasis application: one program a name.
    pub(crate) app: String,
    /// What makes the PBX's certificate good, where the address is https. Default: what the operating system trusts.
    pub tls: Tls,
    /// Whether the application gets the events of every channel, bridge and endpoint. Default false: events of what is in
    /// the application, which is what a tap needs; true costs Asterisk and us a message for every change of every call.
    pub subscribe_all: bool,
    /// How long a TCP connection may take to open. Default 2 s; keep it below `request_timeout`, or a host that does not
    /// answer is reported as "maybe done" instead of "not sent".
    pub connect_timeout: Duration,
    /// How long a request may take, opening the connection included; also how long it may wait for its turn. Default 5 s;
    /// Asterisk 16 answers channel commands after up to 200 ms (issue #362).
    pub request_timeout: Duration,
    /// Requests under way at once. Default 64; each takes one of http.conf's `sessionlimit` (100 by default, shared with
    /// every other HTTP user of that Asterisk and with WebSockets): raise it there before raising this.
    pub requests_max: usize,
    /// Requests that may wait for their turn beyond that; one more fails as not sent. Default 1,024.
    pub requests_waiting_max: usize,
    /// After so many requests in a row without connection or answer, requests are refused as not sent, but for one at a time
    /// that sees whether the PBX answers again. Default 8, more than one tap asks at once; 0 turns it off.
    pub breaker_failures: u32,
    /// How long requests are refused at first, half of it at least. Default 500 ms.
    pub breaker_delay_min: Duration,
    /// How long requests are refused at most between two tries. Default 15 s.
    pub breaker_delay_max: Duration,
    /// Connections kept open while the stream is up, so that the parallel requests of a tap find them ready. Default 6, the
    /// objects of one tap; costs one small request each every 5 s. 0 turns it off.
    pub connections_warm: usize,
    /// The largest reply read, bytes. Default 16 MiB, which is some 15,000 channels in one list.
    pub reply_bytes_max: usize,
    /// Events that may wait for their consumer. Default 8,192, some 12 MiB of typical events; beyond it the connection is
    /// dropped and resynchronised. The worst case in memory is this times `message_bytes_max`.
    pub events_max: usize,
    /// The largest WebSocket message read, bytes. Default 256 KiB, and always that with [`crate::Client::accept`]; a larger one
    /// costs the connection.
    pub message_bytes_max: usize,
    /// How often a silent event stream is probed with a ping. Default 5 s.
    pub ping_interval: Duration,
    /// How long the answer to a ping may take. Default 5 s: a dead PBX is noticed within 10 s.
    pub ping_timeout: Duration,
    /// The first delay between connection attempts is between zero and this. Default 250 ms.
    pub backoff_base: Duration,
    /// The longest delay between connection attempts. Default 5 s: so late we may be after a long outage.
    pub backoff_max: Duration,
}

/// A value that cannot be used, which one, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not a URL at all.
    #[error(
        "ARI address `{url}` is not a URL ({reason}): write it as http://10.0.0.5:8088/ari or https://10.0.0.5:8089/ari"
    )]
    NotUrl {
        /// The value.
        url: String,
        /// What the parser says.
        reason: String,
    },
    /// A scheme that we do not speak.
    #[error("ARI address `{url}` is neither http nor https: write it as http://host:8088/ari or https://host:8089/ari")]
    NotHttp {
        /// The value.
        url: String,
    },
    /// A URL with parts that do not belong there.
    #[error("ARI address of host `{host}` must be http://host:port/ari or https://host:port/ari: {reason}")]
    BadUrl {
        /// The host part (the rest may hold a password).
        host: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A user name that basic authentication cannot carry.
    #[error(
        "ARI user `{user}` must not be empty and must not contain `:` or control characters: take the name of a section with type=user in ari.conf"
    )]
    BadUser {
        /// The value.
        user: String,
    },
    /// A path where Asterisk cannot arrive.
    #[error(
        "`{path}` cannot be where Asterisk connects to: it must begin with `/`, hold no `?` or `#`, belong to one PBX alone, and its user no `:`"
    )]
    BadEntrance {
        /// The value.
        path: String,
    },
    /// An application name that Asterisk or its dialplan would split.
    #[error("ARI application `{app}` must be 1 to 64 of A-Z, a-z, 0-9, `-`, `_` and `.`")]
    BadApp {
        /// The value.
        app: String,
    },
}

impl Config {
    /// Checks the address (`http://host:port/ari` or `https://host:port/ari`), the user of ari.conf and the application's name.
    pub fn new(base_url: &str, user: &str, password: SecretString, app: &str) -> Result<Self, ConfigError> {
        if user.is_empty() || user.contains(':') || user.chars().any(char::is_control) {
            return Err(ConfigError::BadUser { user: user.to_owned() });
        }
        let app_fits = (1..=APP_BYTES_MAX).contains(&app.len())
            && app.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !app_fits {
            return Err(ConfigError::BadApp { app: app.to_owned() });
        }
        Ok(Self {
            base_url: checked_url(base_url)?,
            user: user.to_owned(),
            password,
            app: app.to_owned(),
            tls: Tls::default(),
            subscribe_all: false,
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            requests_max: 64,
            requests_waiting_max: 1024,
            breaker_failures: 8,
            breaker_delay_min: Duration::from_millis(500),
            breaker_delay_max: Duration::from_secs(15),
            connections_warm: 6,
            reply_bytes_max: 16 << 20,
            events_max: 8192,
            message_bytes_max: MESSAGE_BYTES_MAX,
            ping_interval: Duration::from_secs(5),
            ping_timeout: Duration::from_secs(5),
            backoff_base: Duration::from_millis(250),
            backoff_max: Duration::from_secs(5),
        })
    }

    /// The Stasis application.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// Whether the connections are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.base_url.scheme() == "https"
    }

    /// `host:port` of the PBX, for messages.
    pub fn host(&self) -> String {
        let port = self.base_url.port_or_known_default().unwrap_or(80);
        format!("{}:{port}", self.base_url.host_str().unwrap_or_default())
    }
}

fn checked_url(text: &str) -> Result<Url, ConfigError> {
    let mut url =
        Url::parse(text).map_err(|e| ConfigError::NotUrl { url: without_credentials(text), reason: e.to_string() })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ConfigError::NotHttp { url: without_credentials(text) });
    }
    let host = url.host_str().unwrap_or_default().to_owned();
    let bad = |reason| Err(ConfigError::BadUrl { host: host.clone(), reason });
    if !url.username().is_empty() || url.password().is_some() {
        return bad("user and password have settings of their own, take them out of the address");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return bad("take out what follows `?` or `#`");
    }
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with("/ari") {
        return bad("its path must end in /ari, after the prefix of http.conf if there is one");
    }
    url.set_path(&path);
    Ok(url)
}

/// What is before an `@` may be a password; it is not shown.
fn without_credentials(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, after)) => {
            let scheme = before.split_once("://").map(|(scheme, _)| format!("{scheme}://")).unwrap_or_default();
            format!("{scheme}…@{after}")
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str, user: &str, app: &str) -> Result<Config, ConfigError> {
        Config::new(url, user, "secret".into(), app)
    }

    #[test]
    fn addresses_are_checked_and_normalised() {
        for (text, expected) in [
            ("http://10.0.0.5:8088/ari", Some("http://10.0.0.5:8088/ari")),
            ("http://pbx/ari/", Some("http://pbx/ari")),
            ("http://pbx:8088/asterisk/ari", Some("http://pbx:8088/asterisk/ari")),
            ("http://[::1]:8088/ari", Some("http://[::1]:8088/ari")),
            ("https://pbx:8089/ari", Some("https://pbx:8089/ari")),
            ("https://pbx/ari", Some("https://pbx/ari")),
            ("wss://pbx:8089/ari", None),
            ("ws://pbx:8088/ari", None),
            ("pbx:8088/ari", None),
            ("", None),
            ("http://", None),
            ("http://pbx:8088", None),
            ("http://pbx:8088/ari/events", None),
            ("http://pbx:99999/ari", None),
            ("http://me:hunter2@pbx/ari", None),
            ("http://pbx/ari?app=x", None),
        ] {
            let got = config(text, "me", "app").ok().map(|c| c.base_url.to_string());
            assert_eq!(got.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn errors_tell_no_password() {
        for text in ["http://me:hunter2@pbx/ari", "https://me:hunter2@pbx/ari", "http://me:hunter2@pbx:99999/ari"] {
            let error = config(text, "me", "app").unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", config("http://pbx/ari", "me", "app")).contains("secret\""));
    }

    #[test]
    fn users_and_applications_are_checked() {
        for (user, app, ok) in [
            ("me", "aimg", true),
            ("me", "aimg-tap_1.x", true),
            ("", "aimg", false),
            ("a:b", "aimg", false),
            ("me", "", false),
            ("me", "a,b", false),
            ("me", "a b", false),
            ("me", "é", false),
        ] {
            assert_eq!(config("http://pbx/ari", user, app).is_ok(), ok, "{user} {app}");
        }
    }

    #[test]
    fn host_always_names_the_port() {
        assert_eq!(config("http://pbx/ari", "me", "app").unwrap().host(), "pbx:80");
        assert_eq!(config("https://pbx/ari", "me", "app").unwrap().host(), "pbx:443");
        assert_eq!(config("http://[::1]:8088/ari", "me", "app").unwrap().host(), "[::1]:8088");
    }
}
