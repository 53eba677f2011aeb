//! The gateway is away: calls that pass the hook connect all the same.

use std::time::Duration;

use aimg_core::TapMode;
use aimg_testbed::{Context, Version};

use crate::bench::{Bench, all_went_well, callee};
use crate::gateway::Gateway;

fn calls_connect(version: Version, goes: impl FnOnce(Gateway)) {
    let bench = Bench::new(version, TapMode::Hook);
    // Asterisk has known the application, and keeps its name when the gateway is gone.
    goes(bench.home.serve_linked());
    let mut callee = callee(1);
    let mut caller = bench.caller(Context::TapHook, &callee).talks_for(Duration::from_secs(1)).start().unwrap();
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    bench.wait_until_asterisk_is_empty();
    assert_eq!(bench.home.all_calls(), []);
}

#[test]
fn calls_connect_after_a_stop_on_22() {
    calls_connect(Version::V22, |gateway| gateway.terminate_without_complaint());
}

#[test]
fn calls_connect_after_a_kill_on_16() {
    calls_connect(Version::V16, Gateway::kill9);
}
