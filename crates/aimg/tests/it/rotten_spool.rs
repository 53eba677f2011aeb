//! Spools that are damaged when the gateway comes back: what can be read is recorded, and the certificate tells the rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aimg_core::{Direction, TapMode};
use aimg_testbed::{Context, Version};

use crate::bench::{Bench, PACKETS_MIN, all_went_well, callee};
use crate::home::Detail;
use crate::operator::Scrape;

/// Where the first packets of a spool lie, and how much of it is flipped: a few of them.
const ROTTEN: std::ops::Range<usize> = 5_000..6_000;

fn flip(spool: &Path, rotten: std::ops::Range<usize>) {
    let mut bytes = fs::read(spool).unwrap();
    bytes[rotten].iter_mut().for_each(|b| *b ^= 0xFF);
    fs::write(spool, bytes).unwrap();
}

fn spool_of_the_caller(bench: &Bench) -> PathBuf {
    let is_it = |f: &PathBuf| f.to_string_lossy().ends_with("caller.spool");
    bench.home.live_spools().into_iter().find(is_it).expect("the caller's spool is there")
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
    damage(&spool_of_the_caller(&bench));

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

#[test]
fn a_worker_that_cannot_go_on_with_a_spool_counts_it_and_captures_another_part() {
    let bench = Bench::new(Version::V22, TapMode::Ami);
    let gateway = bench.home.serve_linked();
    let mut callee = callee(1);
    let caller = bench.caller(Context::TapAmi, &callee).talks_for(Duration::from_secs(8));
    let mut caller = caller.start().unwrap();
    bench.wait_until_captured(1);
    // So that no successor starts while the spool is being damaged.
    bench.home.write_settings("debug = \"a mistake\"");
    let links = gateway.links_made();
    gateway.kill9_worker_alone();
    gateway.wait_for_log("the worker ended (exit status: 64)");
    flip(&spool_of_the_caller(&bench), ROTTEN);
    bench.home.write_settings("");
    gateway.wait_until_linked(links, 1);
    let left_behind = Scrape::of(gateway.http()).value("aimg_flow_left_behind_total", &[]);
    assert!(caller.is_running(), "the call is over too early");
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    let call = bench.home.finished_call();
    bench.wait_until_asterisk_is_empty();
    gateway.terminate().succeeded();

    assert_eq!(left_behind, Some(1.0));
    let [before, after] = &call.recordings[..] else { panic!("two parts: {:?}", call.recordings) };
    assert!(before.certificate.caller.corrupt_bytes > 0 && before.certificate.callee.corrupt_bytes == 0);
    assert!(before.certificate.callee.ledger.received > PACKETS_MIN, "{:?}", before.certificate);
    assert!(after.certificate.adopted, "{:?}", after.certificate);
    assert!(after.certificate.caller.ledger.received > PACKETS_MIN, "{:?}", after.certificate);
}
