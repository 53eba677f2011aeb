//! What a refusal of gRPC means to us: whether it may pass, and what can be done.

use std::error::Error as _;

use tonic::{Code, Status};

use crate::error::ErrorKind;

/// Bytes of the server's own words that are told: enough for a sentence.
const WORDS_BYTES_MAX: usize = 300;

/// The sort of failure. One without words of the server is the connection's.
pub(super) fn kind(status: &Status) -> ErrorKind {
    match status.code() {
        Code::Unavailable => ErrorKind::Unreachable,
        Code::ResourceExhausted => ErrorKind::Busy,
        Code::DeadlineExceeded => ErrorKind::TimedOut,
        Code::Aborted | Code::Cancelled => ErrorKind::BrokenOff,
        Code::Unknown if status.source().is_some() => ErrorKind::BrokenOff,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => ErrorKind::Internal,
        Code::Unauthenticated | Code::PermissionDenied => ErrorKind::Unauthorised,
        Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition | Code::OutOfRange => {
            ErrorKind::Invalid
        }
        Code::Unimplemented => ErrorKind::Unsupported,
    }
}

/// What happened and what can be done. `secret`, a text that was to be spoken, is not repeated.
pub(super) fn words(status: &Status, secret: Option<&str>) -> String {
    if let Some(refusal) = aimg_tls::refusal(status) {
        return refusal;
    }
    if let Some(source) = status.source() {
        return format!(
            "{}: see that it serves gRPC there, with TLS or without as RIVA_USE_SSL says",
            innermost(source)
        );
    }
    let mut said = status.message().to_owned();
    if let Some(secret) = secret.map(str::trim).filter(|secret| !secret.is_empty()) {
        said = said.replace(secret, "…");
    }
    said.truncate(said.floor_char_boundary(WORDS_BYTES_MAX));
    let said = if said.is_empty() { "without a word".to_owned() } else { said };
    format!("{:?} ({said}): {}", status.code(), cure(status.code()))
}

/// What is called "transport error" has its reason within.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

const fn cure(code: Code) -> &'static str {
    match code {
        Code::Unavailable => "see that Riva runs and is ready; its models take minutes to load",
        Code::ResourceExhausted => "lower RIVA_MAX_CONCURRENT_REQUESTS to what it has room for",
        Code::DeadlineExceeded => "see how loaded it is, or raise RIVA_REQUEST_TIMEOUT",
        Code::Unauthenticated | Code::PermissionDenied => "set RIVA_AUTH_TOKEN and RIVA_AUTH_METADATA as it wants them",
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => {
            "compare language, model, rate and custom settings with what it has"
        }
        Code::NotFound | Code::AlreadyExists => "name a model or voice that it has",
        Code::Unimplemented => {
            "it is older than this, or serves something else there: check RIVA_ASR_URI and RIVA_TTS_URI"
        }
        Code::Ok | Code::Aborted | Code::Cancelled => "see its log for why",
        Code::Unknown | Code::Internal | Code::DataLoss => "see its log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_says_whether_it_may_pass() {
        for (code, expected, may_pass) in [
            (Code::Cancelled, ErrorKind::BrokenOff, true),
            (Code::Unknown, ErrorKind::Internal, true),
            (Code::InvalidArgument, ErrorKind::Invalid, false),
            (Code::DeadlineExceeded, ErrorKind::TimedOut, true),
            (Code::NotFound, ErrorKind::Invalid, false),
            (Code::AlreadyExists, ErrorKind::Invalid, false),
            (Code::PermissionDenied, ErrorKind::Unauthorised, false),
            (Code::ResourceExhausted, ErrorKind::Busy, true),
            (Code::FailedPrecondition, ErrorKind::Invalid, false),
            (Code::Aborted, ErrorKind::BrokenOff, true),
            (Code::OutOfRange, ErrorKind::Invalid, false),
            (Code::Unimplemented, ErrorKind::Unsupported, false),
            (Code::Internal, ErrorKind::Internal, true),
            (Code::Unavailable, ErrorKind::Unreachable, true),
            (Code::DataLoss, ErrorKind::Internal, true),
            (Code::Unauthenticated, ErrorKind::Unauthorised, false),
        ] {
            let found = kind(&Status::new(code, ""));
            assert_eq!((found, found.may_pass()), (expected, may_pass), "{code:?}");
        }
    }

    #[test]
    fn what_was_to_be_spoken_is_not_repeated() {
        let status = Status::invalid_argument("cannot speak 'call me on 555'");
        assert_eq!(
            words(&status, Some(" call me on 555\n")),
            "InvalidArgument (cannot speak '…'): compare language, model, rate and custom settings with what it has"
        );
        assert!(words(&Status::internal("ü".repeat(500)), None).len() < 350);
        assert_eq!(words(&Status::internal(""), Some("")), "Internal (without a word): see its log");
    }
}
