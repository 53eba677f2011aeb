//! What the demo ends with.

use std::path::PathBuf;

use aimg_rtp::Ledger;
use serde::{Deserialize, Serialize};

/// The ledgers of both directions.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Ledgers {
    pub(super) caller: Ledger,
    pub(super) callee: Ledger,
}

/// The part of a capture certificate by which completeness is judged.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Certificate {
    /// The audio from the caller.
    pub caller: Ledger,
    /// The audio toward the caller.
    pub callee: Ledger,
    /// From the answer to the first captured packet of the later direction; nothing when the call was not answered.
    pub head_gap_ms: Option<u64>,
    /// Whether nothing at all is missing.
    pub complete: bool,
}

/// One captured call. As JSON it is `session`, `recording` and `certificate`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The session's id.
    pub session: String,
    /// The stereo file.
    pub recording: PathBuf,
    /// How complete it is.
    pub certificate: Certificate,
    /// The whole session as `aimg session show` tells it to people; the recording and its certificate come last.
    #[serde(skip)]
    pub words: String,
    /// All that the gateway kept.
    #[serde(skip)]
    pub dir: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_what_programs_rely_on() {
        // A certificate has more in it than is told.
        let certificate = serde_json::json!({
            "version": 1,
            "caller": {
                "expected": 9, "received": 2, "lost": 3, "late": 4, "duplicate": 5, "kernel_dropped": 6,
                "dropped_by_us": 7, "jitter_ms": 0.5,
            },
            "callee": {
                "expected": 1, "received": 1, "lost": 0, "late": 0, "duplicate": 0, "kernel_dropped": 0,
                "dropped_by_us": 0, "jitter_ms": 0.5,
            },
            "head_gap_ms": 0,
            "complete": false,
            "reasons": ["3 lost"],
        });
        let report = Report {
            session: "s".to_owned(),
            recording: "/r.wav".into(),
            certificate: serde_json::from_value(certificate).unwrap(),
            words: "not told".to_owned(),
            dir: "/not-told".into(),
        };
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            concat!(
                r#"{"session":"s","recording":"/r.wav","certificate":{"#,
                r#""caller":{"expected":9,"received":2,"lost":3,"late":4,"duplicate":5,"kernel_dropped":6,"dropped_by_us":7},"#,
                r#""callee":{"expected":1,"received":1,"lost":0,"late":0,"duplicate":0,"kernel_dropped":0,"dropped_by_us":0},"#,
                r#""head_gap_ms":0,"complete":false}}"#
            )
        );
    }
}
