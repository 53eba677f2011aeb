//! Many calls at once, half of them given up in the middle of set-up: nothing stays behind, and nothing of the others is
//! missing.

use std::thread;
use std::time::Duration;

use aimg_core::{CallState, SessionRow, TapMode};
use aimg_testbed::{Callee, Caller, Context, Sipp, Version};

use crate::bench::{Bench, all_went_well, callee};
use crate::wire::{Wire, sent_to};

const COMPLETED: u16 = 10;
const TALK: Duration = Duration::from_secs(3);

/// When callers give up, after the last sign of progress, in milliseconds: before the session, in the hook, while the
/// capture is being attached, in its first moments, and while it rings. Two callers each.
const GIVE_UP_MS: [u64; 5] = [1, 8, 25, 120, 400];
const GIVEN_UP: u16 = 2 * GIVE_UP_MS.len() as u16;
/// Whom the others call rings longer than any of them waits.
const RINGS: Duration = Duration::from_secs(20);

fn nothing_stays_behind(version: Version, tap: TapMode, context: Context) {
    let bench = Bench::new(version, tap);
    let gateway = bench.home.serve_linked();
    let wire = Wire::tap(&bench.asterisk);
    let mut answers = callee(COMPLETED);
    let rings = Callee::new().calls(GIVEN_UP).rings_for(RINGS).start().unwrap();
    let talking = bench.caller(context, &answers).calls(COMPLETED).talks_for(TALK);
    let giving_up =
        GIVE_UP_MS.map(|ms| bench.caller(context, &rings).calls(2).cancels_after(Duration::from_millis(ms)));
    let mut callers = at_once([talking].into_iter().chain(giving_up));
    callers.iter_mut().chain([&mut answers]).for_each(all_went_well);

    let answered = |c: &SessionRow| c.answered_at.is_some();
    let total = usize::from(COMPLETED + GIVEN_UP);
    let calls = bench.home.finished_calls(total);
    bench.wait_until_asterisk_is_empty();
    assert_eq!(bench.home.live_calls(), []);
    assert_eq!(bench.home.spool_files(), [""; 0]);
    let streams = wire.streams();
    let sent = sent_to(&streams, gateway.audio());
    gateway.terminate_without_complaint();

    assert!(calls.iter().all(|c| c.session.state == CallState::Ended));
    let completed: Vec<_> = calls.iter().filter(|c| answered(&c.session)).collect();
    assert_eq!(completed.len(), usize::from(COMPLETED));
    for call in completed {
        let recording = &call.recordings[0];
        bench.is_all_that_was_sent(recording, &sent);
        let certificate = &recording.certificate;
        assert_eq!((certificate.complete, certificate.head_gap_ms), (true, Some(0)), "{:?}", certificate.reasons);
    }
}

/// Starts all of these callers at the same time.
fn at_once(callers: impl Iterator<Item = Caller>) -> Vec<Sipp> {
    thread::scope(|scope| {
        let starts: Vec<_> = callers.map(|caller| scope.spawn(move || caller.start().unwrap())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    })
}

#[test]
fn nothing_stays_behind_by_hook_on_22() {
    nothing_stays_behind(Version::V22, TapMode::Hook, Context::TapHook);
}

#[test]
fn nothing_stays_behind_by_hook_on_16() {
    nothing_stays_behind(Version::V16, TapMode::Hook, Context::TapHook);
}
