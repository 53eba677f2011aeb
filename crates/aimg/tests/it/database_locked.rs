//! Another program holds SQLite's write lock: a start says so, and a running gateway writes its rows down afterwards.

use std::time::Duration;

use aimg_core::TapMode;
use aimg_testbed::{Context, Version};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};
use tokio::runtime::Runtime;

use crate::bench::{Bench, all_went_well, callee};
use crate::home::Home;
use crate::wire::{Wire, sent_to};

const TRY_AGAIN: i32 = 75;

/// A program that writes, until it is told to end.
pub(crate) struct Locker {
    runtime: Runtime,
    database: DatabaseConnection,
}

impl Locker {
    pub(crate) fn holds(home: &Home) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("sqlite://{}", home.data("aimg.db").display());
        let database = runtime.block_on(async {
            let database = Database::connect(ConnectOptions::new(url).max_connections(1).to_owned()).await.unwrap();
            database.execute_unprepared("BEGIN IMMEDIATE").await.unwrap();
            database
        });
        Self { runtime, database }
    }

    pub(crate) fn lets_go(self) {
        self.runtime.block_on(async { self.database.close().await.unwrap() });
    }
}

#[test]
fn a_start_says_that_it_is_locked() {
    let home = Home::new();
    home.run(home.aimg(&["tenant", "add", "acme"])).succeeded();
    let locker = Locker::holds(&home);
    home.run(home.aimg(&["tenant", "add", "other"])).failed_with(TRY_AGAIN, &["locked by another program"]);
    locker.lets_go();
    home.run(home.aimg(&["tenant", "add", "other"])).succeeded();
}

#[test]
fn calls_go_on_and_their_rows_are_written_afterwards() {
    let bench = Bench::new(Version::V22, TapMode::Hook);
    let gateway = bench.home.serve_linked();
    let wire = Wire::tap(&bench.asterisk);
    let locker = Locker::holds(&bench.home);
    let mut callee = callee(2);
    // Longer than the store waits for a lock: what is to be written has been refused, and waits.
    let caller = bench.caller(Context::TapHook, &callee).calls(2).talks_for(Duration::from_secs(6));
    let mut caller = caller.start().unwrap();
    gateway.wait_for_log("the store cannot be written");
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    bench.wait_until_asterisk_is_empty();
    assert_eq!(bench.home.all_calls(), [], "nothing can be written yet");

    locker.lets_go();
    let calls = bench.home.finished_calls(2);
    let streams = wire.streams();
    for call in calls {
        assert!(call.recordings[0].complete, "{:?}", call.recordings[0].certificate.reasons);
        assert!(call.events.is_sorted_by_key(|e| e.at) && call.legs.len() == 2, "{call:?}");
        bench.is_all_that_was_sent(&call.recordings[0], &sent_to(&streams, gateway.audio()));
    }
    let ended = gateway.terminate().succeeded();
    for nothing in ["rows.overflowed=0", "rows.refused=0"] {
        assert!(ended.stderr.contains(nothing), "{}", ended.stderr);
    }
}
