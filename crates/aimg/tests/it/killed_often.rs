//! The worker, or parent and worker, are killed 50 times at random moments, with calls coming and going all along: what was
//! received is in the recordings, always, and no call notices.

use std::ops::RangeInclusive;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use aimg_core::{Direction, TapMode, Timestamp};
use aimg_testbed::{Context, Version};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::bench::{Bench, PACKETS_MIN, all_went_well, callee};
use crate::home::{Detail, Recording};
use crate::stereo::Stereo;
use crate::waiting::eventually;
use crate::wire::{Stream, Wire, sent_to, stream_of};

const DEATHS: usize = 50;
/// With two more in a row a successor would give its captures up, rather than die of them, too.
const WORKER_DEATHS_MAX: usize = 3;
/// How long a gateway lives, counted from its start or from when it is linked.
const LIFE_MS: RangeInclusive<u64> = 0..=500;

/// By AMI, and as many by hook. Together they last a little longer than the killing.
const CALLS_EACH: u16 = 36;
const CALLS_PER_SECOND: u16 = 1;
const TALK: Duration = Duration::from_secs(4);

/// What is on its way from Asterisk's socket to the page cache when both processes die: a shard takes packets as they come,
/// but on a busy machine it has to wait for its turn.
const IN_FLIGHT: Duration = Duration::from_millis(100);
/// From the first packet of one direction until the control plane knows that both flow. A capture whose worker dies before
/// is begun anew.
const SET_UP: Duration = Duration::from_millis(500);

/// The seed that a failure printed, to see it again as far as the machine allows.
const SEED_VARIABLE: &str = "AIMG_TEST_SEED";

/// A time without a gateway that is linked.
#[derive(Debug)]
struct Outage {
    from: Timestamp,
    until: Option<Timestamp>,
    /// The parent died, too, and with it the sockets.
    whole: bool,
}

impl Outage {
    /// Whether the first packet that is missing of a stream can be missing by this.
    fn explains(&self, began: Timestamp, missing: Timestamp) -> bool {
        let in_it = missing + IN_FLIGHT >= self.from && self.until.is_none_or(|until| missing <= until);
        in_it && (self.whole || began + SET_UP >= self.from)
    }
}

fn now() -> Timestamp {
    Timestamp::default() + SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

#[test]
fn what_was_received_is_recorded_and_no_call_notices() {
    let seed = std::env::var(SEED_VARIABLE).map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("{SEED_VARIABLE}={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let bench = Bench::new(Version::V22, TapMode::Ami);
    let mut gateway = bench.home.serve_linked();
    let wire = Wire::tap(&bench.asterisk);
    let mut callee = callee(2 * CALLS_EACH);
    let mut callers = [Context::TapAmi, Context::TapHook].map(|context| {
        let caller = bench.caller(context, &callee).calls(CALLS_EACH).calls_per_second(CALLS_PER_SECOND);
        caller.talks_for(TALK).start().unwrap()
    });
    eventually("the first calls are being captured", || {
        let packets = bench.home.live_packets();
        if packets.iter().any(|&p| p > PACKETS_MIN) { Ok(()) } else { Err(format!("{packets:?}")) }
    });

    let (mut outages, mut audio) = (Vec::<Outage>::new(), vec![gateway.audio()]);
    let (mut worker_deaths, mut links) = (0, [0; 2]);
    for _ in 0..DEATHS {
        sleep(Duration::from_millis(random.random_range(LIFE_MS)));
        let whole = worker_deaths == WORKER_DEATHS_MAX || random.random_ratio(1, 5);
        match outages.last_mut().filter(|outage| outage.until.is_none()) {
            Some(outage) => outage.whole |= whole,
            None => outages.push(Outage { from: now(), until: None, whole }),
        }
        if whole {
            gateway.kill9_with_worker();
            gateway = bench.home.serve();
            audio.push(gateway.audio());
            (worker_deaths, links) = (0, [0; 2]);
        } else {
            links = gateway.links_made();
            gateway.kill9_worker_alone();
            worker_deaths += 1;
        }
        // The others die while they start.
        if random.random_ratio(2, 3) {
            gateway.wait_until_linked(links, 1);
            outages.last_mut().unwrap().until = Some(now());
        }
    }
    gateway.wait_until_linked(links, 1);
    callers.iter_mut().chain([&mut callee]).for_each(all_went_well);
    bench.wait_until_asterisk_is_empty();
    eventually("every call is over", || {
        let calls = bench.home.live_calls();
        if calls.is_empty() { Ok(()) } else { Err(format!("{calls:?}")) }
    });
    eventually("every recording is finished", || {
        let files = bench.home.spool_files();
        if files.is_empty() { Ok(()) } else { Err(format!("{files:?}")) }
    });
    let streams = wire.streams();
    assert_eq!(gateway.terminate().code, Some(0));

    let sent: Vec<&Stream> = audio.iter().flat_map(|audio| sent_to(&streams, *audio)).collect();
    let calls: Vec<Detail> = bench.home.all_calls().iter().map(|call| bench.home.session(call.id)).collect();
    assert!(calls.len() >= usize::from(2 * CALLS_EACH), "{} sessions", calls.len());
    let recorded: Vec<_> = calls.iter().flat_map(|c| &c.recordings).flat_map(|r| held_by(&bench, r, &sent)).collect();
    let mut whole = 0;
    for stream in &sent {
        let held = recorded.iter().filter(|(s, _)| std::ptr::eq(*s, *stream)).map(|(_, packets)| *packets);
        let held = held.max().unwrap_or(0);
        let Some(missing) = stream.packets.get(held) else {
            whole += 1;
            continue;
        };
        let explained = outages.iter().any(|o| o.explains(stream.packets[0].at, missing.at));
        let (began, packets) = (stream.packets[0].at, stream.packets.len());
        assert!(
            explained,
            "from {} on packets {held} to {packets} are in no recording, the first is of {began}: {outages:?}",
            missing.at
        );
    }
    println!("{} sessions, {} streams, {whole} of them whole, {} outages", calls.len(), sent.len(), outages.len());
    assert!(whole > sent.len() / 10, "{whole} streams of {} are whole", sent.len());
}

/// The streams whose beginnings a recording holds, byte for byte, and how many packets of each.
fn held_by<'a>(bench: &Bench, recording: &Recording, sent: &[&'a Stream]) -> Vec<(&'a Stream, usize)> {
    let stereo = Stereo::read(&bench.home.recording_path(recording));
    let sides = [(Direction::Caller, &stereo.left), (Direction::Callee, &stereo.right)];
    let sides = sides.map(|(direction, channel)| (recording.certificate.flow(direction), channel));
    let held = sides.into_iter().filter(|(flow, _)| flow.ledger.received > 0);
    held.map(|(flow, channel)| (stream_of(sent, flow, channel).0, flow.ledger.received as usize)).collect()
}
