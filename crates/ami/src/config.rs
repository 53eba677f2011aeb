//! What a client needs to know; every time and bound with its default and what it trades.

use std::time::Duration;

use aimg_tls::Tls;
use secrecy::SecretString;

use crate::{EventFilter, Limits};

/// How to log in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// By answering a challenge: the secret does not cross the network.
    #[default]
    Md5,
    /// With the secret in the clear.
    Plain,
}

/// The settings of a [`crate::Client`].
///
/// In the worst case a client holds [`Config::events_bytes_max`] of events, [`Config::actions_max`] answers (or lists of
/// [`Config::list_items_max`]), and two read buffers; a [`crate::Manager`] also [`Config::handler_events_max`] events for each
/// handler that is slow, of which those that several wait for are held once.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name or address of the Asterisk server.
    pub host: String,
    /// Its AMI port. Default 5038, which is without TLS; with TLS it is usually 5039 (`tlsbindaddr` in manager.conf).
    pub port: u16,
    /// TLS from the first byte, and what makes Asterisk's certificate good. Default none: secret and events are readable
    /// on the way, so it should be none only on loopback or in a network of one's own.
    pub tls: Option<Tls>,
    /// The user of manager.conf.
    pub user: String,
    /// The user's secret.
    pub secret: SecretString,
    /// How to log in. Default [`Auth::Md5`].
    pub auth: Auth,
    /// The classes of events wanted. Default `call,system`: all that sessions need. `dialplan` adds Newexten and VarSet,
    /// several times as many events as all others together.
    pub event_mask: String,
    /// Which of these events Asterisk sends. Default none, so all. Each one that Asterisk leaves out costs neither side
    /// anything more; filters need write class `system`.
    pub event_filters: Vec<EventFilter>,
    /// How long a TCP connection may take, and again the handshake of TLS. Default 5 s: longer than two lost SYNs.
    pub connect_timeout: Duration,
    /// How long banner and login may take together. Default 10 s; Asterisk itself waits 1 s before it refuses.
    pub login_timeout: Duration,
    /// How long an action may take, its time in our queue included. Default 10 s. An action that Asterisk answers only
    /// when something has happened (an Originate without `Async: true`) holds up all others and must not be sent.
    pub action_timeout: Duration,
    /// How long a list may take to be complete. Default 30 s.
    pub list_timeout: Duration,
    /// After how much silence a connection is pinged. Default 10 s: with the time-out it bounds how long a dead link goes
    /// unnoticed; shorter costs one small message a connection.
    pub ping_interval: Duration,
    /// How long after a ping a silent connection is given up. Default 5 s: shorter takes a busy Asterisk for a dead one.
    pub ping_timeout: Duration,
    /// The longest wait after the first failure; doubled by each further one. Default 500 ms.
    pub reconnect_delay_min: Duration,
    /// The longest wait at all. Default 5 s: so late we may be after a long outage, and calls that
    /// begin meanwhile are not seen; a try costs one connection. A link that lived longer than this ends the row of failures.
    pub reconnect_delay_max: Duration,
    /// The shortest wait after a refusal, which mends itself only when somebody changes a configuration; a quarter of it
    /// is added at random. Default 60 s. Where fail2ban watches Asterisk with its usual rule (5 failures in 10 minutes),
    /// exempt the gateway or set 150 s.
    pub refused_delay: Duration,
    /// Whether a refusal ends the client. Default no: it goes on trying.
    pub give_up_on_refusal: bool,
    /// How many events may wait to be handled; one more and the link is built anew, with a resync. Default 65,536:
    /// several seconds of a very busy server.
    pub events_max: usize,
    /// How many bytes these may take. Default 64 MiB.
    pub events_bytes_max: usize,
    /// How many events may wait for one handler of a [`crate::Manager`]; it misses what comes meanwhile, and that is
    /// counted. Default 4,096: a second of a very busy server.
    pub handler_events_max: usize,
    /// How many actions may wait for an answer; more wait for room. Default 256.
    pub actions_max: usize,
    /// How many items a list may have. Default 65,536: far more channels than an Asterisk carries.
    pub list_items_max: usize,
    /// What one message may be like.
    pub limits: Limits,
}

impl Config {
    /// The defaults for a server and a user.
    pub fn new(host: impl Into<String>, user: impl Into<String>, secret: SecretString) -> Self {
        Self {
            host: host.into(),
            port: 5038,
            tls: None,
            user: user.into(),
            secret,
            auth: Auth::default(),
            event_mask: "call,system".to_owned(),
            event_filters: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            login_timeout: Duration::from_secs(10),
            action_timeout: Duration::from_secs(10),
            list_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(5),
            reconnect_delay_min: Duration::from_millis(500),
            reconnect_delay_max: Duration::from_secs(5),
            refused_delay: Duration::from_secs(60),
            give_up_on_refusal: false,
            events_max: 65_536,
            events_bytes_max: 64 * 1024 * 1024,
            handler_events_max: 4_096,
            actions_max: 256,
            list_items_max: 65_536,
            limits: Limits::default(),
        }
    }

    /// `host:port`, for people.
    pub fn peer(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_not_shown() {
        let config = Config::new("::1", "aimg", SecretString::from("amp111"));
        assert!(!format!("{config:?}").contains("amp111"));
        assert_eq!(config.peer(), "[::1]:5038");
    }
}
