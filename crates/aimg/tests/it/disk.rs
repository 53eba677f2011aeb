//! The disk of spool and recordings hangs, is full, or fails in the middle of calls: calls do not notice, and what was
//! captured is recorded, at once or when the disk can be used again.

use std::thread::sleep;
use std::time::{Duration, Instant};

use aimg_core::{CallEventKind, SessionRow, TapMode};
use aimg_testbed::{Context, Disk, Sipp, Version};

use crate::bench::{Bench, all_went_well, callee};
use crate::home::Detail;
use crate::waiting::eventually;
use crate::wire::{Wire, sent_to};

const CANNOT_CREATE: i32 = 73;
const DISK_BYTES: u64 = 64 << 20;
/// What two calls of a few seconds write is far less.
const RESERVE_BYTES: u64 = 16 << 20;
const TALK: Duration = Duration::from_secs(5);

struct Stage {
    bench: Bench,
    callee: Sipp,
    // Dropped last.
    disk: Disk,
}

impl Stage {
    fn new(calls: u16) -> Self {
        let disk = Disk::new(DISK_BYTES).unwrap();
        let bench = Bench::new(Version::V22, TapMode::Hook);
        bench.home.captures_to(&disk, RESERVE_BYTES);
        Self { bench, callee: callee(calls), disk }
    }

    fn call(&self, calls: u16, talk: Duration) -> Sipp {
        self.bench.caller(Context::TapHook, &self.callee).calls(calls).talks_for(talk).start().unwrap()
    }

    /// Waits until a call's story tells it.
    fn told(&self, call: &SessionRow, kind: impl Fn(&CallEventKind) -> bool) -> Detail {
        eventually("it is told of the call", || {
            let detail = self.bench.home.session(call.id);
            if detail.has(&kind) { Ok(detail) } else { Err(format!("{:?}", detail.events)) }
        })
    }

    /// The only call that is not over.
    fn live_call(&self) -> SessionRow {
        self.bench.home.live_calls().try_into().map(|[call]: [SessionRow; 1]| call).unwrap()
    }
}

fn recorded(kind: &CallEventKind) -> bool {
    matches!(kind, CallEventKind::RecordingReady { .. })
}

fn kept_for_later(kind: &CallEventKind) -> bool {
    matches!(kind, CallEventKind::RecordingFailed { reason, .. } if reason.contains("tried again"))
}

fn refused(kind: &CallEventKind) -> bool {
    matches!(kind, CallEventKind::TapFailed { reason } if reason.contains("no new capture for want of room"))
}

#[test]
fn a_full_disk_refuses_new_captures_and_costs_those_that_run_nothing() {
    let mut stage = Stage::new(3);
    let gateway = stage.bench.home.serve_linked();
    let wire = Wire::tap(&stage.bench.asterisk);
    let mut runs = stage.call(1, TALK);
    stage.bench.wait_until_captured(1);
    let running = stage.live_call();

    stage.disk.fill().unwrap();
    gateway.wait_for_log("no capture begins");
    let mut comes = stage.call(1, Duration::from_secs(1));
    all_went_well(&mut comes);
    let coming = stage.bench.home.all_calls().into_iter().find(|c| c.id != running.id).unwrap();
    let coming = stage.told(&coming, refused);
    assert!(coming.recordings.is_empty() && coming.session.answered_at.is_some(), "{coming:?}");
    all_went_well(&mut runs);
    stage.told(&running, kept_for_later);

    stage.disk.make_room().unwrap();
    gateway.wait_for_log("has room: captures begin");
    let late = stage.told(&running, recorded);
    let mut again = stage.call(1, Duration::from_secs(1));
    [&mut again, &mut stage.callee].into_iter().for_each(all_went_well);
    let again = stage.bench.home.all_calls().swap_remove(0);
    let again = stage.told(&again, recorded);
    stage.bench.wait_until_asterisk_is_empty();
    let streams = wire.streams();
    for call in [late, again] {
        assert!(call.recordings[0].complete, "{:?}", call.recordings[0].certificate.reasons);
        stage.bench.is_all_that_was_sent(&call.recordings[0], &sent_to(&streams, gateway.audio()));
    }
    assert!(stage.bench.home.live_spools().is_empty());
    gateway.terminate().succeeded();
}

#[test]
fn a_disk_that_hangs_is_not_noticed_by_calls_and_costs_no_packet() {
    const FROZEN: Duration = Duration::from_secs(4);
    let mut stage = Stage::new(4);
    let gateway = stage.bench.home.serve_linked();
    let wire = Wire::tap(&stage.bench.asterisk);
    let mut run = stage.call(3, TALK + FROZEN);
    stage.bench.wait_until_captured(3);
    let running: Vec<_> = stage.bench.home.live_calls();
    let begin = Instant::now();
    stage.disk.freeze().unwrap();
    // It waits for its capture in vain, as long as a call may, and goes on.
    let mut comes = stage.call(1, Duration::from_secs(1));
    all_went_well(&mut comes);
    sleep(FROZEN.saturating_sub(begin.elapsed()));
    stage.disk.thaw().unwrap();
    [&mut run, &mut stage.callee].into_iter().for_each(all_went_well);
    let calls: Vec<_> = running.iter().map(|call| stage.told(call, recorded)).collect();
    stage.bench.wait_until_asterisk_is_empty();
    let streams = wire.streams();
    for call in calls {
        assert!(call.recordings[0].complete, "{:?}", call.recordings[0].certificate.reasons);
        stage.bench.is_all_that_was_sent(&call.recordings[0], &sent_to(&streams, gateway.audio()));
    }
    gateway.terminate().succeeded();
}

#[test]
fn what_a_disk_that_fails_did_not_take_is_recorded_by_the_next_run() {
    let mut stage = Stage::new(1);
    let gateway = stage.bench.home.serve_linked();
    let wire = Wire::tap(&stage.bench.asterisk);
    let mut caller = stage.call(1, TALK);
    stage.bench.wait_until_captured(1);
    let call = stage.live_call();
    stage.disk.break_down().unwrap();
    [&mut caller, &mut stage.callee].into_iter().for_each(all_went_well);
    stage.told(&call, kept_for_later);
    let audio = gateway.audio();
    gateway.terminate().succeeded();
    assert_eq!(stage.bench.home.live_spools().len(), 2, "both directions are in memory");
    let mut serve = stage.bench.home.aimg(&["serve"]);
    serve.env("AIMG_LOG", "warn");
    stage.bench.home.run(serve).failed_with(CANNOT_CREATE, &["spool cannot be written to", "Read-only file system"]);

    stage.disk.mend().unwrap();
    let gateway = stage.bench.home.serve_linked();
    let call = stage.told(&call, recorded);
    stage.bench.is_all_that_was_sent(&call.recordings[0], &sent_to(&wire.streams(), audio));
    let reasons = &call.recordings[0].certificate.reasons;
    assert!(reasons.iter().all(|r| r.contains("the capture ended before the call did")), "{reasons:?}");
    gateway.terminate().succeeded();
}
