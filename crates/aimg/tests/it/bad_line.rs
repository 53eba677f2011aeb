//! A bad network between Asterisk and the gateway, with calls over it: what a flow's certificate and its channel of the
//! recording have to say when this became of its packets.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::time::Duration;

use aimg_audio::g711::ULAW_SILENCE;
use aimg_core::{Direction, TapMode};
use aimg_recording::FlowCertificate;
use aimg_testbed::{BadNetwork, Callee, Caller, Context, Faults, Flow, Options, Sipp, Version};

use crate::bench::Bench;
use crate::gateway::Gateway;
use crate::home::Recording;
use crate::stereo::{SAMPLES_PER_MS, Stereo};
use crate::waiting::eventually;

/// Bytes of an RTP header as Asterisk sends it.
const RTP_HEADER_BYTES: usize = 12;

/// Samples of a packet.
pub(crate) const PACKET_SAMPLES: usize = 160;

/// A packet that fills a gap further behind the newest than this was late, as the certificate has it.
const LATE_BEHIND: usize = 16;

/// From the carrier's hands to the clock of the gateway's kernel.
const HANDED_OVER_US_MAX: i64 = 20_000;

/// Samples by which a direction's place in a recording may be wrong: it is that of its least delayed packet.
const PLACE_WRONG_MAX: usize = 100 * SAMPLES_PER_MS;

/// An Asterisk and a gateway, each in a namespace, with a bad network between them.
#[derive(Debug)]
pub(crate) struct BadLine {
    // In this order: the gateway ends, then Asterisk, then what is between them.
    pub(crate) gateway: Gateway,
    pub(crate) bench: Bench,
    pub(crate) network: BadNetwork,
}

impl BadLine {
    pub(crate) fn new(version: Version, tap: TapMode) -> Self {
        let network = BadNetwork::start().unwrap();
        let options = Options { namespace: Some(network.pbx().clone()), ..Options::default() };
        let bench = Bench::with(version, tap, &options);
        let gateway = bench.home.serve_linked_inside(network.gateway());
        Self { gateway, bench, network }
    }

    /// Keeps account of the audio from here on; see [`BadNetwork::watch`].
    pub(crate) fn watch(&self, seed: u64, faults: &[Faults]) {
        let audio = self.gateway.audio();
        assert_eq!(audio.ip(), &self.network.gateway().address());
        self.network.watch(audio, seed, faults);
    }

    /// Waits until so many packets of each of so many flows were sent.
    #[track_caller]
    pub(crate) fn wait_until_sent(&self, flows: usize, packets: usize) {
        eventually(&format!("{packets} packets of {flows} flows were sent"), || {
            let sent: Vec<usize> = self.network.flows().unwrap().iter().map(|f| f.sent.len()).collect();
            if sent.len() == flows && sent.iter().all(|&s| s >= packets) { Ok(()) } else { Err(format!("{sent:?}")) }
        });
    }

    /// A callee for so many calls, on Asterisk's side.
    pub(crate) fn callee(&self, calls: u16) -> Sipp {
        Callee::new().calls(calls).inside(self.network.pbx()).start().unwrap()
    }

    /// A caller on Asterisk's side, to be told what to do.
    pub(crate) fn caller(&self, context: Context, callee: &Sipp) -> Caller {
        self.bench.caller(context, callee).inside(self.network.pbx())
    }
}

/// Fails unless certificate and recording say of both directions what became of their packets, which is returned.
#[track_caller]
pub(crate) fn is_what_arrived<'a>(
    bench: &Bench,
    recording: &Recording,
    flows: &'a [Flow],
) -> [(Direction, &'a Flow); 2] {
    let certificate = &recording.certificate;
    let stereo = Stereo::read(&bench.home.recording_path(recording));
    let began = Direction::BOTH.map(|d| certificate.flow(d).first_packet_at.unwrap());
    let sides = [(Direction::Caller, &stereo.left), (Direction::Callee, &stereo.right)];
    let found = sides.map(|(direction, channel)| {
        let words = certificate.flow(direction);
        let (flow, begins) = flow_of(flows, words, channel);
        let truth = Truth::of(flow);
        truth.is_in(words, &format!("the {direction}'s flow with {:?}", flow.faults));
        let first = words.first_packet_at.unwrap();
        let expected = first.micros_since(*began.iter().min().unwrap()).unsigned_abs() as usize / 125;
        assert!(
            begins.abs_diff(expected) <= PLACE_WRONG_MAX,
            "{begins} samples before the {direction}'s, not {expected}"
        );
        let says = format!("packets of the {direction}'s audio never reached the gateway");
        assert_eq!(certificate.reasons.iter().any(|r| r.contains(&says)), truth.lost > 0, "{:?}", certificate.reasons);
        (direction, flow)
    });
    assert_ne!(found[0].1.source, found[1].1.source, "each direction is a flow of its own");
    found
}

/// What a ledger has to say of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Truth {
    /// From the first to the last packet that arrived: what was lost before and after no receiver can count.
    pub(crate) expected: u64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) late: u64,
    pub(crate) reordered: u64,
    pub(crate) duplicate: u64,
}

impl Truth {
    pub(crate) fn of(flow: &Flow) -> Self {
        assert!(
            flow.sent.windows(2).all(|pair| sequence(&pair[1].1) == sequence(&pair[0].1).wrapping_add(1)),
            "Asterisk sends in order and leaves nothing out"
        );
        let (mut seen, mut highest) = (BTreeSet::new(), 0);
        let [mut late, mut reordered, mut duplicate] = [0; 3];
        for &(_, packet) in &flow.arrived {
            match seen.insert(packet) {
                false => duplicate += 1,
                true if seen.len() == 1 || packet > highest => {}
                true if highest - packet > LATE_BEHIND => late += 1,
                true => reordered += 1,
            }
            highest = highest.max(packet);
        }
        let expected = (highest - seen.first().expect("some arrived") + 1) as u64;
        let received = seen.len() as u64;
        Self { expected, received, lost: expected - received, late, reordered, duplicate }
    }

    #[track_caller]
    fn is_in(self, words: &FlowCertificate, what: &str) {
        let ledger = words.ledger;
        let said = Self {
            expected: ledger.expected,
            received: ledger.received,
            lost: ledger.lost,
            late: ledger.late,
            reordered: words.stream.reordered,
            duplicate: ledger.duplicate,
        };
        assert_eq!(said, self, "what the certificate says, and the truth, of {what}");
        assert_eq!((ledger.kernel_dropped, ledger.dropped_by_us), (0, 0), "{what}");
        assert_eq!((words.stream.restarts, words.stream.strays, words.corrupt_bytes), (0, 0, 0), "{what}");
    }
}

fn sequence(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

/// The flow that began when a certificate says and of which a channel holds what arrived, and the samples before it.
#[track_caller]
fn flow_of<'a>(flows: &'a [Flow], words: &FlowCertificate, channel: &[u8]) -> (&'a Flow, usize) {
    let first = words.first_packet_at.unwrap();
    let apart_us = |f: &Flow| f.arrived.first().map(|(at, _)| at.micros_since(first).abs());
    let near = |f: &&Flow| apart_us(f).is_some_and(|us| us <= HANDED_OVER_US_MAX);
    let near: Vec<&Flow> = flows.iter().filter(near).collect();
    let found = near.iter().find_map(|f| Some((*f, place_in(f, channel, words)?)));
    found.unwrap_or_else(|| {
        let sources: Vec<(SocketAddrV4, Truth)> = near.iter().map(|f| (f.source, Truth::of(f))).collect();
        panic!("the channel is none of these: {sources:?}: {words:?}")
    })
}

/// Where in a channel a flow begins, when from there on each of its packets that arrived is in its place, byte for byte,
/// with silence for each that was lost, and nothing but silence before and after.
fn place_in(flow: &Flow, channel: &[u8], words: &FlowCertificate) -> Option<usize> {
    // A source that paused is allowed its pauses, and no more.
    let pauses_ms = words.pauses_ms as usize;
    // Begun milliseconds are not told.
    let paused = if words.pauses > 0 { (pauses_ms + 1) * SAMPLES_PER_MS } else { 0 };
    assert!(
        paused <= stumbled(flow) + 20 * SAMPLES_PER_MS,
        "silence for {pauses_ms} ms, though the source did not pause"
    );
    let arrived: BTreeSet<usize> = flow.arrived.iter().map(|(_, packet)| *packet).collect();
    let (first, last) = (*arrived.first()?, *arrived.last()?);
    let silence = [ULAW_SILENCE; PACKET_SAMPLES];
    let begins_here = |begin: usize| {
        let (mut at, mut left) = (begin, paused);
        for packet in first..=last {
            let audio = if arrived.contains(&packet) { &flow.sent[packet].1[RTP_HEADER_BYTES..] } else { &silence[..] };
            while channel.get(at..)?.get(..audio.len())? != audio {
                left = left.checked_sub(1)?;
                if channel[at] != ULAW_SILENCE {
                    return None;
                }
                at += 1;
            }
            at += audio.len();
        }
        channel[at..].iter().all(|&b| b == ULAW_SILENCE).then_some(begin)
    };
    let silent = channel.iter().take_while(|&&b| b == ULAW_SILENCE).count();
    (0..=silent).find_map(begins_here)
}

/// Samples by which a source strayed from a packet every 20 ms.
fn stumbled(flow: &Flow) -> usize {
    let lates = flow.sent.iter().zip(0i64..).map(|((at, _), n)| at.micros_since(flow.sent[0].0) - n * 20_000);
    let (least, most) = lates.fold((0, 0), |(least, most), late| (late.min(least), late.max(most)));
    (most - least).unsigned_abs() as usize / 125
}

/// What a network may do, all of it: each is one flow's.
pub(crate) fn all_faults() -> [Faults; 6] {
    let ms = Duration::from_millis;
    let rough = Faults { delay: ms(30), jitter: ms(80), stragglers: 0.03, straggle: ms(500), ..Faults::default() };
    [
        Faults::losing(0.01),
        Faults::losing(0.1),
        Faults::losing(0.3),
        rough,
        Faults { doubled: 0.2, ..Faults::default() },
        Faults { lost: 0.05, doubled: 0.05, ..rough },
    ]
}
