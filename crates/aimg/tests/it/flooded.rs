//! Strangers send to the port for audio, ten times as much as Asterisk: nothing of the calls is missing.

use std::net::{SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aimg_core::TapMode;
use aimg_testbed::{Context, Version};

use crate::bench::{Bench, CALLS_TIME_MAX, all_went_well, callee};
use crate::wire::{Wire, sent_to};

const CALLS: u16 = 5;
const TALK: Duration = Duration::from_secs(4);
/// Ten times the 50 packets a second of each direction.
const FLOOD_PER_SECOND: u64 = 10 * 2 * CALLS as u64 * 50;
const BURST_EVERY: Duration = Duration::from_millis(10);
const BURST: u64 = FLOOD_PER_SECOND / 100;

/// From several addresses: what looks like audio of other sources and with other payload types, garbage, and nothing.
fn flood(to: SocketAddrV4, stop: &AtomicBool) -> u64 {
    let strangers: Vec<UdpSocket> = (0..4).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let rtp = |payload_type: u8| [&[0x80, payload_type, 0, 1, 0, 0, 0, 160, 9, 9, 9, 9][..], &[0x55; 160]].concat();
    let packets = [rtp(0), rtp(8), rtp(101), vec![0xFF; 172], vec![0x80; 3], Vec::new()];
    let (begin, mut sent) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            let n = sent as usize;
            strangers[n % strangers.len()].send_to(&packets[n % packets.len()], to).unwrap();
            sent += 1;
        }
        thread::sleep((BURST_EVERY * (sent / BURST) as u32).saturating_sub(begin.elapsed()));
    }
    sent
}

#[test]
fn nothing_of_the_calls_is_missing() {
    let bench = Bench::new(Version::V22, TapMode::Hook);
    let gateway = bench.home.serve_linked();
    let wire = Wire::tap(&bench.asterisk);
    let mut callee = callee(CALLS);
    let stop = AtomicBool::new(false);
    let mut callers = bench.caller(Context::TapHook, &callee).calls(CALLS).talks_for(TALK).start().unwrap();
    let flooded = thread::scope(|scope| {
        let flood = scope.spawn(|| flood(gateway.audio(), &stop));
        // How the calls went is asked when the flood has stopped: the scope would wait for it after a panic too.
        let ended = callers.wait(CALLS_TIME_MAX);
        stop.store(true, Ordering::Relaxed);
        ended.map(|_| flood.join().unwrap())
    });
    let flooded = flooded.unwrap();
    [&mut callers, &mut callee].into_iter().for_each(all_went_well);
    let calls = bench.home.finished_calls(CALLS.into());
    bench.wait_until_asterisk_is_empty();
    let streams = wire.streams();
    let sent = sent_to(&streams, gateway.audio());
    gateway.terminate_with_complaints_of(&["foreign_flood"]);
    for call in &calls {
        let [recording] = &call.recordings[..] else { panic!("one recording: {call:?}") };
        assert!(recording.complete, "{:?}", recording.certificate.reasons);
        bench.is_all_that_was_sent(recording, &sent);
    }
    let real: usize = sent.iter().map(|s| s.packets.len()).sum();
    assert!(flooded >= 10 * real as u64, "{flooded} packets of strangers beside {real} of Asterisk");
}
