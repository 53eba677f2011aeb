//! What can go wrong, by what the caller can do about it.

use std::fmt;

use crate::config::ConfigError;
use crate::request::Method;

/// A request without what it carries: method and path. The query is left out, it may hold what nobody should log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine {
    /// The method.
    pub method: Method,
    /// The percent-encoded path below the base URL, such as `/channels/1763900000.12`.
    pub path: String,
}

impl fmt::Display for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// A failed request, a lost event stream, or a configuration that cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Surely not done: nothing was sent. It may be tried again as it is.
    #[error("{request} was not sent to {host}: {reason}")]
    NotSent {
        /// The request.
        request: RequestLine,
        /// `host:port`.
        host: String,
        /// One clause.
        reason: String,
    },
    /// Sent, and no answer came: Asterisk may have done it. Look the object up by its id before trying again, or delete it:
    /// deleting what is gone is success.
    #[error("{request} was sent to {host} but its outcome is unknown: {reason}")]
    MaybeDone {
        /// The request.
        request: RequestLine,
        /// `host:port`.
        host: String,
        /// One clause.
        reason: String,
    },
    /// The channel, bridge or other object is gone or never was. For a delete that is success.
    #[error("{request}: {message}")]
    NotFound {
        /// The request.
        request: RequestLine,
        /// Asterisk's words.
        message: String,
    },
    /// The object's state forbids it: an id already taken, a channel being recorded.
    #[error("{request} conflicts with the object's state: {message}")]
    Conflict {
        /// The request.
        request: RequestLine,
        /// Asterisk's words.
        message: String,
    },
    /// The channel or bridge is in no Stasis application: not yet, or no longer. Wait for StasisStart.
    #[error("{request} needs the object to be in Stasis, wait for its StasisStart: {message}")]
    NotInStasis {
        /// The request.
        request: RequestLine,
        /// Asterisk's words.
        message: String,
    },
    /// The object's kind or state, or the parameters' combination, forbids it (403 with a reason, 412, 422).
    #[error("{request} cannot be done: {message}")]
    Unprocessable {
        /// The request.
        request: RequestLine,
        /// Asterisk's words.
        message: String,
    },
    /// The request itself is wrong.
    #[error("{request} is not valid: {message}")]
    BadRequest {
        /// The request.
        request: RequestLine,
        /// Asterisk's words, or ours.
        message: String,
    },
    /// User, password or rights are not enough (401; 403 of a read-only user or an ACL).
    #[error(
        "{host} denied {request} to ARI user `{user}` ({status}): check [{user}] in its ari.conf (type=user, password, read_only=no, permit/deny)"
    )]
    Denied {
        /// The request.
        request: RequestLine,
        /// `host:port`.
        host: String,
        /// The user.
        user: String,
        /// 401 or 403.
        status: u16,
    },
    /// Asterisk is starting or stopping. Try again soon.
    #[error("{host} is not ready for {request} (503): {message}")]
    Unavailable {
        /// The request.
        request: RequestLine,
        /// `host:port`.
        host: String,
        /// Asterisk's words.
        message: String,
    },
    /// Something answers there, but ARI's resource is missing.
    #[error(
        "{host} does not serve {request} ({status}): check the address, `enabled=yes` in ari.conf and http.conf, and that the res_ari modules are loaded"
    )]
    NotServed {
        /// The request.
        request: RequestLine,
        /// `host:port`.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// Asterisk failed while doing it (5xx).
    #[error("{request} failed inside Asterisk ({status}): {message}")]
    Server {
        /// The request.
        request: RequestLine,
        /// The HTTP status.
        status: u16,
        /// Asterisk's words, and what to check where we know it.
        message: String,
    },
    /// Done, as far as Asterisk is concerned, but its answer is not what was expected.
    #[error("the answer to {request} is not understood: {reason}")]
    Answer {
        /// The request.
        request: RequestLine,
        /// One clause.
        reason: String,
    },
    /// The event stream is cut; the client connects again by itself.
    #[error("the event stream from {host} is lost: {reason}")]
    StreamLost {
        /// `host:port`.
        host: String,
        /// One clause.
        reason: String,
    },
    /// The consumer of events fell behind; the connection was dropped and the state is read anew.
    #[error("more than {events_max} events from {host} were waiting: dropped the connection to read the state anew")]
    StreamOverflow {
        /// `host:port`.
        host: String,
        /// The bound of the queue.
        events_max: usize,
    },
    /// Another program connected with the same application name. The client does not fight back.
    #[error(
        "another program took over ARI application `{app}` on {host}: give each program an application name of its own, then reclaim it or restart"
    )]
    Replaced {
        /// `host:port`.
        host: String,
        /// The application.
        app: String,
    },
    /// Asterisk runs without a module that taps need.
    #[error(
        "{host} runs without {module}: add `load = {module}` to its modules.conf ({package}) and run `asterisk -rx 'module load {module}'`"
    )]
    ModuleMissing {
        /// `host:port`.
        host: String,
        /// The module's file name.
        module: &'static str,
        /// Where it comes from.
        package: &'static str,
    },
    /// What is to be trusted cannot be read.
    #[error("TLS to {host} cannot be set up: {source}")]
    Tls {
        /// `host:port`.
        host: String,
        /// Why, with the cure.
        source: aimg_tls::Error,
    },
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Error {
    /// Whether the object of a request is gone or never was.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}
