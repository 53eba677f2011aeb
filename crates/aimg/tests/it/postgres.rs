//! On PostgreSQL: all that is known of calls is written there, if need be after the server was away.

use std::time::Duration;

use aimg_core::TapMode;
use aimg_testbed::{Asterisk, Context, Options, Postgres, Version};

use crate::bench::{Bench, all_went_well, callee};
use crate::home::Home;
use crate::waiting::eventually;

#[test]
fn calls_go_on_while_the_server_is_away_and_are_written_afterwards() {
    let mut server = Postgres::start().unwrap();
    let url = server.make_database("calls").unwrap();
    let asterisk = Asterisk::start(Version::V22, &Options::default()).unwrap();
    let home = Home::with_settings(&format!("database.url = '{url}'"));
    home.add_pbx(asterisk.access(), TapMode::Hook);
    let bench = Bench { home, asterisk };
    let gateway = bench.home.serve_linked();

    // One call lives when the server goes; another one begins, talks and ends while it is away.
    let mut callee = callee(2);
    let caller = |seconds| bench.caller(Context::TapHook, &callee).talks_for(Duration::from_secs(seconds)).start();
    let mut first = caller(6).unwrap();
    bench.wait_until_captured(1);
    server.crash();
    let mut second = caller(1).unwrap();
    all_went_well(&mut second);
    let unseen = bench.home.run(bench.home.aimg(&["calls"]));
    unseen.failed_with(75, &["the database server is away", "127.0.0.1"]);
    server.resume().unwrap();
    [&mut first, &mut callee].into_iter().for_each(all_went_well);

    let calls = bench.home.finished_calls(2);
    for call in &calls {
        let [recording] = &call.recordings[..] else { panic!("one recording: {call:?}") };
        assert!(recording.complete, "{:?}", recording.certificate);
    }
    let log = eventually("the gateway has said that rows wait", || {
        let log = gateway.log();
        if log.contains("rows are kept") { Ok(log) } else { Err(log) }
    });
    assert!(!log.contains("are being lost"), "{log}");
    gateway.terminate().succeeded();
    assert!(!bench.home.data("aimg.db").exists(), "there is one database");
}
