//! The certificate of a recording: what was captured, what is missing, and where it was lost.

use std::fmt::Write;

use aimg_core::{CaptureOrder, Codec, Direction, PbxId, SessionId, TenantId, Timestamp, Uniqueid};
use aimg_rtp::{Ledger, StreamFacts};
use serde::{Deserialize, Serialize};

/// The version of certificates that this crate writes.
pub const CERTIFICATE_VERSION: u32 = 1;

/// What a recording holds and what is missing from it. Kept as JSON beside the recording and in the database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// [`CERTIFICATE_VERSION`] of the gateway that wrote it.
    pub version: u32,
    /// Whose call it is.
    pub tenant: TenantId,
    /// Where the call was.
    pub pbx: PbxId,
    /// Which call.
    pub session: SessionId,
    /// The part of the session's capture.
    pub part: u16,
    /// The channel that was tapped: left is what came from it, right what went to it. It is the session's first one, or
    /// another one after that had left. Nothing where the manifest is missing.
    #[serde(default)]
    pub channel: Option<Uniqueid>,
    /// How Asterisk sent the audio.
    pub codec: Codec,
    /// The recording's path, relative to the recordings directory.
    pub recording: String,
    /// SHA-256 of the recording's file, in hexadecimal.
    pub sha256: String,
    /// Length of the recording.
    pub duration_ms: u64,
    /// When the capture was opened.
    pub opened_at: Timestamp,
    /// When the call was answered, if it was.
    pub answered_at: Option<Timestamp>,
    /// When the capture ended; nothing when the gateway died before.
    pub ended_at: Option<Timestamp>,
    /// Whether the call was found alive after a restart of the gateway; what came before is in the part before.
    pub adopted: bool,
    /// When the call changed hands, if the part begins because of that: the channel went into another bridge, or took the
    /// place of one that left.
    #[serde(default)]
    pub moved_at: Option<Timestamp>,
    /// The request by which the part begins, if any: what was said before it was not to be recorded, and is not missing.
    #[serde(default)]
    pub begun_by: Option<CaptureOrder>,
    /// The request by which it ended, if any: what was said after it was not to be recorded, and is not missing.
    #[serde(default)]
    pub ended_by: Option<CaptureOrder>,
    /// The audio from the caller: left.
    pub caller: FlowCertificate,
    /// The audio toward the caller: right.
    pub callee: FlowCertificate,
    /// How much may be missing between the answer, or a later `moved_at`, and the first captured packet, of the worse
    /// direction. An upper bound: it is counted up to the packet's arrival, and the packet holds the 20 ms before that. Nothing when the
    /// call was never answered nor moved, or no packet came.
    pub head_gap_ms: Option<u64>,
    /// Whether nothing at all is missing.
    pub complete: bool,
    /// Why it is not complete: one sentence each.
    pub reasons: Vec<String>,
}

/// What is known of one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowCertificate {
    /// Packets expected, received, and where the others went.
    #[serde(flatten)]
    pub ledger: Ledger,
    /// Jitter, and what the source did to its sequence.
    #[serde(flatten)]
    pub stream: StreamFacts,
    /// When the kernel received the first packet.
    pub first_packet_at: Option<Timestamp>,
    /// When the kernel received the last packet.
    pub last_packet_at: Option<Timestamp>,
    /// How often the source paused and silence was put in its place.
    pub pauses: u64,
    /// Length of that silence.
    pub pauses_ms: u64,
    /// Bytes of the spool that were damaged; the packets in them are counted as lost.
    pub corrupt_bytes: u64,
}

impl FlowCertificate {
    /// Why this direction is not complete: one sentence each.
    pub(crate) fn reasons(&self, direction: Direction) -> Vec<String> {
        let Ledger { expected, received, lost, kernel_dropped, dropped_by_us, .. } = self.ledger;
        let StreamFacts { restarts, strays, .. } = self.stream;
        let corrupt_bytes = self.corrupt_bytes;
        let mut reasons = Vec::new();
        let mut add = |applies: bool, reason: String| {
            if applies {
                reasons.push(reason);
            }
        };
        add(received == 0, format!("no packet of the {direction}'s audio was captured"));
        add(lost > 0, format!("{lost} of {expected} packets of the {direction}'s audio never reached the gateway"));
        add(
            kernel_dropped > 0,
            format!("the gateway's kernel dropped {} of the {direction}'s audio", packets(kernel_dropped)),
        );
        add(
            dropped_by_us > 0,
            format!("the gateway could not keep {} of the {direction}'s audio", packets(dropped_by_us)),
        );
        add(
            corrupt_bytes > 0,
            format!(
                "{corrupt_bytes} bytes of the {direction}'s spool are damaged, and the packets in them are missing"
            ),
        );
        add(
            restarts > 0,
            format!(
                "the source of the {direction}'s audio began to count anew (times: {restarts}), and what was lost there is unknown"
            ),
        );
        add(
            strays > 0,
            format!("left out: {} of the {direction}'s audio, numbered as if from elsewhere", packets(strays)),
        );
        reasons
    }
}

fn packets(count: u64) -> String {
    if count == 1 { "1 packet".to_owned() } else { format!("{count} packets") }
}

/// The time from `since` to the first captured packet of the direction that came later, rounded up.
pub(crate) fn head_gap_ms(since: Option<Timestamp>, flows: [&FlowCertificate; 2]) -> Option<u64> {
    let since = since?;
    let gaps = flows.into_iter().filter_map(|flow| flow.first_packet_at).map(|first| first.since(since));
    gaps.max().map(|gap| u64::try_from(gap.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX))
}

impl Certificate {
    /// The certificate of a direction.
    pub const fn flow(&self, direction: Direction) -> &FlowCertificate {
        match direction {
            Direction::Caller => &self.caller,
            Direction::Callee => &self.callee,
        }
    }

    /// A few lines that a person understands.
    pub fn in_words(&self) -> String {
        let mut words = String::new();
        self.write_words(&mut words).expect("a String takes any text");
        words
    }

    fn write_words(&self, w: &mut String) -> std::fmt::Result {
        let seconds = self.duration_ms as f64 / 1_000.0;
        let codec = self.codec;
        match self.complete {
            true => writeln!(w, "Complete: nothing that Asterisk sent is missing ({seconds:.1} s of {codec}).")?,
            false => writeln!(w, "Not complete ({seconds:.1} s of {codec}):")?,
        }
        for reason in &self.reasons {
            writeln!(w, "  - {reason}")?;
        }
        for (direction, side) in [(Direction::Caller, "left"), (Direction::Callee, "right")] {
            self.flow(direction).write_words(w, direction, side)?;
        }
        if let Some(channel) = &self.channel {
            writeln!(w, "Captured at channel {channel}: left is what came from it, right what went to it.")?;
        }
        if let Some(order) = self.begun_by {
            writeln!(w, "Recording was {order} by request at {}.", self.opened_at)?;
        }
        if let (Some(order), Some(at)) = (self.ended_by, self.ended_at) {
            writeln!(w, "Recording was {order} by request at {at}.")?;
        }
        match self.head_gap_ms {
            _ if self.moved_at > self.answered_at => Ok(()),
            None if self.begun_by.is_some() => Ok(()),
            None if self.answered_at.is_none() => writeln!(w, "The call was not answered."),
            None => writeln!(w, "The call was answered, and no packet came."),
            Some(0) => writeln!(w, "The capture began before the call was answered."),
            // It is among the reasons.
            Some(_) => Ok(()),
        }
    }
}

impl FlowCertificate {
    fn write_words(&self, w: &mut String, direction: Direction, side: &str) -> std::fmt::Result {
        let Ledger { expected, received, lost, late, duplicate, kernel_dropped, dropped_by_us } = self.ledger;
        write!(w, "{direction} ({side}): {received} of {expected} packets")?;
        for (count, what) in [
            (lost, "lost before the gateway"),
            (kernel_dropped, "dropped by its kernel"),
            (dropped_by_us, "dropped by the gateway"),
            (self.stream.reordered, "out of order"),
            (late, "late"),
            (duplicate, "duplicate"),
        ] {
            if count > 0 {
                write!(w, ", {count} {what}")?;
            }
        }
        write!(w, ", jitter {:.1} ms", self.stream.jitter_ms)?;
        if self.pauses > 0 {
            write!(w, ", {} pauses of {:.1} s together", self.pauses, self.pauses_ms as f64 / 1_000.0)?;
        }
        if let (Some(first), Some(last)) = (self.first_packet_at, self.last_packet_at) {
            write!(w, "; first {first}, last {last}")?;
        }
        writeln!(w)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWERED: Timestamp = Timestamp::from_micros(1_769_860_800_000_000);

    fn flow(received: u64, lost: u64, first_packet_us: i64) -> FlowCertificate {
        FlowCertificate {
            ledger: Ledger { expected: received + lost, received, lost, ..Ledger::default() },
            stream: StreamFacts { jitter_ms: 0.25, ..StreamFacts::default() },
            first_packet_at: Some(Timestamp::from_micros(ANSWERED.as_micros() + first_packet_us)),
            last_packet_at: Some(Timestamp::from_micros(ANSWERED.as_micros() + 20_000_000)),
            ..FlowCertificate::default()
        }
    }

    fn certificate(caller: FlowCertificate, callee: FlowCertificate) -> Certificate {
        let id = "0198c1de-1111-7000-8000-000000000000";
        let reasons = [caller.reasons(Direction::Caller), callee.reasons(Direction::Callee)].concat();
        Certificate {
            version: CERTIFICATE_VERSION,
            tenant: id.parse().unwrap(),
            pbx: id.parse().unwrap(),
            session: id.parse().unwrap(),
            part: 0,
            channel: Some(Uniqueid::new("1.1")),
            codec: Codec::Ulaw,
            recording: format!("{id}/2026/01/31/{id}.wav"),
            sha256: "00".repeat(32),
            duration_ms: 20_060,
            opened_at: ANSWERED,
            answered_at: Some(ANSWERED),
            ended_at: Some(ANSWERED),
            adopted: false,
            moved_at: None,
            begun_by: None,
            ended_by: None,
            head_gap_ms: head_gap_ms(Some(ANSWERED), [&caller, &callee]),
            complete: reasons.is_empty(),
            caller,
            callee,
            reasons,
        }
    }

    #[test]
    fn the_head_gap_is_that_of_the_later_direction_rounded_up() {
        for (caller_us, callee_us, expected_ms) in
            [(-5, -1, 0), (0, 0, 0), (1, -1, 1), (10_000, 24_001, 25), (24_000, 3, 24)]
        {
            let flows = [&flow(1, 0, caller_us), &flow(1, 0, callee_us)];
            assert_eq!(head_gap_ms(Some(ANSWERED), flows), Some(expected_ms), "{caller_us} {callee_us}");
            assert_eq!(head_gap_ms(None, flows), None);
        }
        let nothing = FlowCertificate::default();
        assert_eq!(head_gap_ms(Some(ANSWERED), [&nothing, &nothing]), None);
        assert_eq!(head_gap_ms(Some(ANSWERED), [&nothing, &flow(1, 0, 2_000)]), Some(2));
    }

    #[test]
    fn the_ledger_is_at_the_top_of_a_flow_in_json() {
        let certificate = certificate(flow(10, 2, 0), flow(12, 0, 0));
        let json = serde_json::to_value(&certificate).unwrap();
        for field in [
            "expected",
            "received",
            "lost",
            "late",
            "duplicate",
            "kernel_dropped",
            "dropped_by_us",
            "first_packet_at",
            "last_packet_at",
            "reordered",
            "jitter_ms",
            "pauses",
            "pauses_ms",
            "corrupt_bytes",
        ] {
            assert!(json["caller"][field].is_number(), "{field}");
        }
        assert_eq!(serde_json::from_value::<Certificate>(json).unwrap(), certificate);
    }

    #[test]
    fn words_for_people() {
        let complete = certificate(flow(1_003, 0, -5), flow(1_003, 0, -5)).in_words();
        assert_eq!(
            complete.lines().collect::<Vec<_>>(),
            [
                "Complete: nothing that Asterisk sent is missing (20.1 s of ulaw).",
                "caller (left): 1003 of 1003 packets, jitter 0.2 ms; first 2026-01-31T11:59:59.999Z, last 2026-01-31T12:00:20.000Z",
                "callee (right): 1003 of 1003 packets, jitter 0.2 ms; first 2026-01-31T11:59:59.999Z, last 2026-01-31T12:00:20.000Z",
                "Captured at channel 1.1: left is what came from it, right what went to it.",
                "The capture began before the call was answered.",
            ]
        );
        let paused = Certificate {
            begun_by: Some(CaptureOrder::Resume),
            ended_by: Some(CaptureOrder::Pause),
            head_gap_ms: None,
            ..certificate(flow(1_003, 0, -5), flow(1_003, 0, -5))
        };
        assert_eq!(
            paused.in_words().lines().skip(4).collect::<Vec<_>>(),
            [
                "Recording was resumed by request at 2026-01-31T12:00:00.000Z.",
                "Recording was paused by request at 2026-01-31T12:00:00.000Z.",
            ]
        );
        let lossy = certificate(flow(1_000, 3, -5), flow(1_003, 0, 14_500)).in_words();
        for line in [
            "Not complete (20.1 s of ulaw):",
            "  - 3 of 1003 packets of the caller's audio never reached the gateway",
            "caller (left): 1000 of 1003 packets, 3 lost before the gateway, jitter 0.2 ms;",
        ] {
            assert!(lossy.contains(line), "{line} in\n{lossy}");
        }
    }

    #[test]
    fn each_defect_has_its_sentence() {
        let spoiled = FlowCertificate {
            ledger: Ledger { lost: 1, kernel_dropped: 2, dropped_by_us: 3, ..Ledger::default() },
            stream: StreamFacts { restarts: 4, strays: 5, ..StreamFacts::default() },
            corrupt_bytes: 6,
            ..FlowCertificate::default()
        };
        assert_eq!(spoiled.reasons(Direction::Callee).len(), 7);
        // Out of order, twice, or under another SSRC: all of it is in the recording.
        let rough = FlowCertificate {
            ledger: Ledger { received: 9, expected: 9, late: 1, duplicate: 1, ..Ledger::default() },
            stream: StreamFacts { ssrc_changes: 1, jitter_ms: 90.0, ..StreamFacts::default() },
            pauses: 1,
            ..FlowCertificate::default()
        };
        assert_eq!(rough.reasons(Direction::Callee), [""; 0]);
    }
}
