//! Spools that are damaged when the gateway comes back: what can be read is recorded, and the certificate tells the rest.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aimg_core::{Direction, TapMode};
use aimg_testbed::{Context, Version};

use crate::bench::{Bench, PACKETS_MIN, all_went_well, callee};
use crate::home::Detail;

/// Where the first packets of a spool lie, and how much of it is flipped: a few of them.
const ROTTEN: std::ops::Range<usize> = 5_000..6_000;

fn flip(spool: &Path, rotten: std::ops::Range<usize>) {
    let mut bytes = fs::read(spool).unwrap();
    bytes[rotten].iter_mut().for_each(|b| *b ^= 0xFF);
    fs::write(spool, bytes).unwrap();
}

/// A call whose gateway died and whose caller's spool was damaged then.
fn recorded_after(damage: impl FnOnce(&Path)) -> (Bench, Detail) {
    let bench = Bench::new(Version::V22, TapMode::Ami);
    let gateway = bench.home.serve_linked();
    let mut callee = callee(1);
    let caller = bench.caller(Context::TapAmi, &callee).talks_for(Duration::from_secs(4));
    let mut caller = caller.start().unwrap();
    bench.wait_until_captured(1);
    gateway.kill9();
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    let spools = bench.home.live_spools();
    let spool =
        spools.iter().find(|f| f.to_string_lossy().ends_with("caller.spool")).expect("the caller's spool is there");
    damage(spool);

    let gateway = bench.home.serve_linked();
    let call = bench.home.finished_call();
    bench.wait_until_asterisk_is_empty();
    gateway.terminate().succeeded();
    (bench, call)
}

#[test]
fn rotten_bytes_cost_their_packets_and_no_more() {
    let (bench, call) = recorded_after(|spool| flip(spool, ROTTEN));
    let certificate = &call.recordings[0].certificate;
    let caller = certificate.flow(Direction::Caller);
    assert!(caller.corrupt_bytes as usize >= ROTTEN.len(), "{caller:?}");
    assert!(caller.ledger.received > PACKETS_MIN && caller.ledger.lost > 0, "{caller:?}");
    assert_eq!(caller.ledger.expected, caller.ledger.received + caller.ledger.lost);
    assert!(caller.ledger.lost < 20, "{caller:?}");
    let callee = certificate.flow(Direction::Callee);
    assert_eq!((callee.corrupt_bytes, callee.ledger.lost), (0, 0));
    let told = |r: &String| r.contains("bytes of the caller's spool are damaged");
    assert!(!certificate.complete && certificate.reasons.iter().any(told), "{:?}", certificate.reasons);
    assert_eq!(bench.home.spool_files(), [""; 0]);
}

#[test]
fn a_rotten_header_costs_its_direction_and_the_spool_is_kept() {
    let (bench, call) = recorded_after(|spool| flip(spool, 0..64));
    let certificate = &call.recordings[0].certificate;
    assert_eq!(certificate.caller.ledger.received, 0);
    assert!(certificate.callee.ledger.received > PACKETS_MIN, "{:?}", certificate.callee);
    assert!(!certificate.complete && !certificate.reasons.is_empty());
    let kept = bench.home.spool_files();
    assert!(kept.iter().any(|f| f.contains("/damaged/") && f.contains("caller.spool")), "{kept:?}");
}
