//! A real Asterisk with one installation of `aimg` beside it.

use std::time::Duration;

use aimg_core::{Direction, TapMode};
use aimg_recording::FlowCertificate;
use aimg_testbed::{Asterisk, Callee, Caller, Context, Options, Sipp, Version};

use crate::home::{Home, Recording};
use crate::stereo::{SAMPLE_US, Stereo};
use crate::waiting::eventually;
use crate::wire::{Stream, stream_of};

/// A direction's place in a recording is that of its least delayed packet: its first one may have come so much later.
const DELAY_US_MAX: i64 = 100_000;

/// Packets of a second.
pub(crate) const PACKETS_MIN: u64 = 50;

/// Both of them, strangers to each other but for the PBX's row.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) home: Home,
    pub(crate) asterisk: Asterisk,
}

impl Bench {
    pub(crate) fn new(version: Version, tap: TapMode) -> Self {
        Self::with(version, tap, &Options::default())
    }

    pub(crate) fn with(version: Version, tap: TapMode, options: &Options) -> Self {
        let asterisk = Asterisk::start(version, options).unwrap();
        let home = Home::new();
        home.add_pbx(asterisk.access(), tap);
        Self { home, asterisk }
    }

    /// A caller, to be told what to do.
    pub(crate) fn caller(&self, context: Context, callee: &Sipp) -> Caller {
        Caller::new(self.asterisk.access().sip_port, context, callee.port())
    }

    /// Waits until more than [`PACKETS_MIN`] of each direction of so many calls are captured.
    #[track_caller]
    pub(crate) fn wait_until_captured(&self, calls: usize) {
        eventually(&format!("{calls} calls are being captured"), || {
            let packets = self.home.live_packets();
            let enough = packets.len() == 2 * calls && packets.iter().all(|&p| p > PACKETS_MIN);
            if enough { Ok(()) } else { Err(format!("{packets:?}")) }
        });
    }

    /// Waits until Asterisk has no channel and no bridge.
    #[track_caller]
    pub(crate) fn wait_until_asterisk_is_empty(&self) {
        eventually("Asterisk has no channel and no bridge left", || {
            let (channels, bridges) = (self.asterisk.channels().unwrap(), self.asterisk.bridges().unwrap());
            if channels.is_empty() && bridges.is_empty() { Ok(()) } else { Err(format!("{channels:?} {bridges:?}")) }
        });
    }

    /// Fails unless a recording is, byte for byte, all that Asterisk sent.
    #[track_caller]
    pub(crate) fn is_all_that_was_sent(&self, recording: &Recording, sent: &[&Stream]) {
        for (direction, stream) in self.streams_of(recording, sent) {
            let flow = recording.certificate.flow(direction);
            let (received, sent) = (flow.ledger.received as usize, stream.packets.len());
            let after: Vec<_> = stream.packets[received..].iter().map(|p| p.at.to_string()).collect();
            assert_eq!(received, sent, "of the {direction}'s, sent at {after:?}: {:?}", recording.certificate);
        }
    }

    /// The streams whose beginning a recording's channels are, byte for byte, as its certificate counts them.
    #[track_caller]
    pub(crate) fn streams_of<'a>(&self, recording: &Recording, sent: &[&'a Stream]) -> [(Direction, &'a Stream); 2] {
        let path = self.home.recording_path(recording);
        assert_eq!(path.metadata().unwrap().len(), recording.bytes);
        let stereo = Stereo::read(&path);
        let sides = [(Direction::Caller, &stereo.left), (Direction::Callee, &stereo.right)];
        let streams = sides.map(|(direction, channel)| {
            let flow = recording.certificate.flow(direction);
            let (stream, silence) = stream_of(sent, flow, channel);
            let silence_us = silence as i64 * SAMPLE_US;
            let expected_us = silence_beside(flow, recording.certificate.flow(other(direction)));
            let wrong_us = (silence_us - expected_us).abs();
            assert!(wrong_us <= DELAY_US_MAX, "{silence_us} µs of silence, not {expected_us}, in the {direction}'s");
            (direction, stream)
        });
        assert_ne!(streams[0].1.source, streams[1].1.source, "each direction is a stream of its own");
        streams
    }
}

/// Microseconds of silence in a flow's channel, where the other one began earlier, went on longer, or the source paused.
fn silence_beside(flow: &FlowCertificate, other: &FlowCertificate) -> i64 {
    let [began, other_began] = [flow, other].map(|f| f.first_packet_at.unwrap());
    let [ended, other_ended] = [flow, other].map(|f| f.last_packet_at.unwrap());
    let pauses_us = flow.pauses_ms.cast_signed() * 1_000;
    began.micros_since(other_began).max(0) + other_ended.micros_since(ended).max(0) + pauses_us
}

const fn other(direction: Direction) -> Direction {
    match direction {
        Direction::Caller => Direction::Callee,
        Direction::Callee => Direction::Caller,
    }
}

/// How long a SIPp's calls may take, their talk included.
pub(crate) const CALLS_TIME_MAX: Duration = Duration::from_secs(60);

/// Waits until a SIPp is through and fails unless all its calls went as planned.
#[track_caller]
pub(crate) fn all_went_well(sipp: &mut Sipp) {
    sipp.wait(CALLS_TIME_MAX).unwrap().require_success().unwrap();
}

/// A callee for so many calls.
pub(crate) fn callee(calls: u16) -> Sipp {
    Callee::new().calls(calls).start().unwrap()
}
