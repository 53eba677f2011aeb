//! What a service's refusal means to us: whether it may pass, and what can be done.

use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::error::ErrorKind;

/// What went wrong, before it is known where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: ErrorKind,
    pub(super) what: String,
}

impl Refusal {
    pub(super) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }

    /// Of a message that says what went wrong. Services number such things each in their own way; their words agree more.
    pub(super) fn said(words: &str) -> Self {
        let kind = meant(words).unwrap_or(ErrorKind::Internal);
        Self::new(kind, format!("it says `{words}`: {}", cure(kind)))
    }

    /// Of the WebSocket's end (RFC 6455 section 7.4); nothing where it ended as it should.
    pub(super) fn closed(frame: Option<&CloseFrame>) -> Option<Self> {
        let (code, words) = frame.map_or((1005, ""), |frame| (u16::from(frame.code), frame.reason.as_str()));
        let by_code = match code {
            1000 | 1005 => return None,
            1002 | 1003 | 1007..=1010 => ErrorKind::Invalid,
            1013 | 4029 | 4102 => ErrorKind::Busy,
            4001..=4003 => ErrorKind::Unauthorised,
            1011 | 3000..=4999 => ErrorKind::Internal,
            _ => ErrorKind::BrokenOff,
        };
        let kind = meant(words).unwrap_or(by_code);
        Some(Self::new(kind, format!("it closed the WebSocket ({code} `{words}`): {}", cure(kind))))
    }
}

/// What the words of a service mean, where they are plain.
fn meant(words: &str) -> Option<ErrorKind> {
    let words = words.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    match () {
        () if has(&["too many", "concurren", "rate limit", "quota"]) => Some(ErrorKind::Busy),
        () if has(&["authori", "authenti", "credential", "api key", "forbidden", "insufficient", "funds"]) => {
            Some(ErrorKind::Unauthorised)
        }
        () => None,
    }
}

const fn cure(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Busy => "allow fewer streams at once, or see its quota",
        ErrorKind::Unauthorised => "set the key that it wants, and see what the account may",
        ErrorKind::Invalid => "compare language, model and protocol with what it wants",
        _ => "see its status page, or its log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_whether_they_may_pass() {
        let closed = |code: u16, reason: &str| {
            Refusal::closed(Some(&CloseFrame { code: code.into(), reason: reason.into() })).map(|refusal| refusal.kind)
        };
        assert_eq!((closed(1000, "bye"), Refusal::closed(None)), (None, None));
        for (code, reason, kind) in [
            (1001, "", ErrorKind::BrokenOff),
            (1008, "DATA-0000", ErrorKind::Invalid),
            (1008, "Unauthorized Connection: Too many concurrent sessions", ErrorKind::Busy),
            (1008, "Not authorized", ErrorKind::Unauthorised),
            (1011, "NET-0001", ErrorKind::Internal),
            (1013, "", ErrorKind::Busy),
            (3005, "Session expired", ErrorKind::Internal),
            (4002, "", ErrorKind::Unauthorised),
        ] {
            assert_eq!(closed(code, reason), Some(kind), "{code} {reason}");
        }
        assert_eq!(Refusal::said("it hurts").kind, ErrorKind::Internal);
        assert_eq!(Refusal::said("Invalid API key").kind, ErrorKind::Unauthorised);
    }
}
