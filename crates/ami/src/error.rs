//! What can go wrong, by what the caller can do about it.

use std::io;
use std::time::Duration;

/// Why a byte stream cannot be read as AMI any further; the connection it came from is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The first line is not Asterisk's banner.
    #[error(
        "expected `Asterisk Call Manager/<version>` but got `{line}`: is this port Asterisk's AMI (manager.conf, 5038)?"
    )]
    NotAsterisk {
        /// How that line begins.
        line: String,
    },
    /// A line beyond [`crate::Limits::line_bytes_max`].
    #[error("a line is longer than {bytes_max} bytes")]
    LineTooLong {
        /// The limit in bytes.
        bytes_max: usize,
    },
    /// More lines in one message than [`crate::Limits::headers_max`].
    #[error("a message has more than {headers_max} headers")]
    TooManyHeaders {
        /// The limit.
        headers_max: usize,
    },
    /// A message beyond [`crate::Limits::message_bytes_max`].
    #[error("a message is longer than {bytes_max} bytes")]
    MessageTooLong {
        /// The limit in bytes.
        bytes_max: usize,
    },
}

/// An action that Asterisk could not be given as it was meant. Values are not part of the message: they may be secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAction {
    /// A key that is empty or would not be read back as this key.
    #[error("header name `{}` is empty or has a colon, a blank or a control character in it", key.escape_debug())]
    Key {
        /// The key.
        key: String,
    },
    /// A value that would end its line, and so could smuggle in another header or action.
    #[error("the value of `{key}` has a CR, LF or NUL in it")]
    Value {
        /// Its key.
        key: String,
    },
    /// A header that the client itself sets.
    #[error("`{key}` is set by the client: leave it out")]
    Reserved {
        /// The key.
        key: String,
    },
    /// A line that Asterisk would throw away.
    #[error("the line of `{key}` is longer than the {bytes_max} bytes that Asterisk takes")]
    LineTooLong {
        /// Its key.
        key: String,
        /// The limit in bytes, line ending included.
        bytes_max: usize,
    },
    /// A variable that Asterisk would cut at its comma, or at an `=` in its name.
    #[error("the variable `{name}` has a comma in its value, or a comma or `=` in its name: set it by Setvar instead")]
    Variable {
        /// Its name.
        name: String,
    },
    /// More headers than Asterisk keeps.
    #[error("the action has more than the {headers_max} headers that Asterisk takes")]
    TooManyHeaders {
        /// The limit, `Action` and `ActionID` included.
        headers_max: usize,
    },
}

/// Why there is no link, or no longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No TCP connection: nobody listens, no such host, no route.
    #[error(
        "cannot connect to Asterisk at {peer}: {source}; check host, port, and `enabled`, `bindaddr` in manager.conf"
    )]
    Unreachable {
        /// `host:port`.
        peer: String,
        /// What the system said.
        source: io::Error,
    },
    /// TLS is configured, and what answers is not trusted, cannot be judged, or does not speak it.
    #[error("no TLS with Asterisk at {peer}: {reason}")]
    Untrusted {
        /// `host:port`.
        peer: String,
        /// Why, and what to do about it.
        reason: String,
    },
    /// The TCP connection, the handshake of TLS, the login or a ping was not answered in time.
    #[error(
        "Asterisk at {peer} did not answer a {waiting_for} within {} ms{}", waited.as_millis(), silence_cure(waiting_for)
    )]
    Silent {
        /// `host:port`.
        peer: String,
        /// What was not answered: `connect`, `TLS handshake`, `login` or `ping`.
        waiting_for: &'static str,
        /// How long we waited.
        waited: Duration,
    },
    /// Asterisk knows us not, or does not let us do what the gateway needs.
    #[error(
        "Asterisk at {peer} refused {action} of user `{user}`: {reason}; check in manager.conf that [{user}] exists, its secret, \
         its deny and permit addresses, read = call,system and write = system,call,reporting, and allowmultiplelogin = yes"
    )]
    Refused {
        /// `host:port`.
        peer: String,
        /// The user of manager.conf.
        user: String,
        /// The action it refused.
        action: &'static str,
        /// What Asterisk said.
        reason: String,
    },
    /// The end of the stream: Asterisk stopped, kicked us, or could not write to us for its `writetimeout`.
    #[error("Asterisk at {peer} closed the connection")]
    Closed {
        /// `host:port`.
        peer: String,
    },
    /// Reading or writing failed.
    #[error("the connection to Asterisk at {peer} broke: {source}")]
    Broken {
        /// `host:port`.
        peer: String,
        /// What the system said.
        source: io::Error,
    },
    /// What came is not AMI, or is past the configured limits.
    #[error("what came from {peer} cannot be read: {source}")]
    Unreadable {
        /// `host:port`.
        peer: String,
        /// Why.
        source: FrameError,
    },
    /// Nobody took the events as fast as they came; the link was given up so that a resync makes up for what is missing.
    #[error(
        "{events} events ({bytes} bytes) from {peer} waited to be handled, which is the bound; the link is built anew"
    )]
    Overflow {
        /// `host:port`.
        peer: String,
        /// Events that waited.
        events: usize,
        /// Bytes they took.
        bytes: usize,
    },
    /// The list of channels or bridges after connecting could not be had.
    #[error("no resync with Asterisk at {peer}: {source}")]
    Resync {
        /// `host:port`.
        peer: String,
        /// Why.
        source: ActionError,
    },
    /// The configured user, event mask or filter cannot be sent.
    #[error("the AMI user, event mask or filter cannot be sent: {0}")]
    Login(#[from] InvalidAction),
}

impl Error {
    /// Whether Asterisk said no, or we say no to it: trying again soon is of no use, somebody must change a configuration or
    /// a certificate.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Login(_) | Self::Untrusted { .. })
    }
}

/// A port of TLS waits for the other side to begin, so whoever comes without hears nothing.
fn silence_cure(waiting_for: &str) -> &'static str {
    if waiting_for == "login" { "; is it a port of TLS, and none configured here?" } else { "" }
}

/// How an action failed. *Not sent* and *rejected* mean that nothing was done; *maybe done* leaves it open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActionError {
    /// Surely not sent: there is no link, or it was lost before the action's last byte was written.
    #[error("{action} was not sent: the AMI link is down")]
    NotSent {
        /// The action's name.
        action: &'static str,
    },
    /// Surely not sent: too many others wait for their answers.
    #[error("{action} was not sent: {waiting_max} actions wait for Asterisk's answer")]
    Busy {
        /// The action's name.
        action: &'static str,
        /// [`crate::Config::actions_max`].
        waiting_max: usize,
    },
    /// Asterisk answered `Response: Error`.
    #[error("Asterisk rejected {action}: {reason}")]
    Rejected {
        /// The action's name.
        action: &'static str,
        /// What it said.
        reason: String,
    },
    /// Maybe done: no answer in time.
    #[error("{action} may have been done: no answer within {} ms", waited.as_millis())]
    TimedOut {
        /// The action's name.
        action: &'static str,
        /// How long we waited.
        waited: Duration,
    },
    /// Maybe done: the link was lost before the answer came.
    #[error("{action} may have been done: the AMI link was lost before its answer came")]
    LinkLost {
        /// The action's name.
        action: &'static str,
    },
    /// Done, but its list is past [`crate::Config::list_items_max`], was cut short by Asterisk, or is none.
    #[error("the list of {action} cannot be had: {reason}")]
    NoList {
        /// The action's name.
        action: &'static str,
        /// Why.
        reason: String,
    },
}

impl ActionError {
    /// Whether Asterisk may have done it, so that it must not simply be tried again.
    pub fn maybe_done(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::LinkLost { .. } | Self::NoList { .. })
    }
}

/// How a command of Asterisk's console failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It cannot be sent as it was meant.
    #[error("the command cannot be sent: {0}")]
    Invalid(#[from] InvalidAction),
    /// It could not be asked, or Asterisk rejected it.
    #[error(transparent)]
    Failed(#[from] ActionError),
}
