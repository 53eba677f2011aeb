//! Another program takes the ARI application over in the middle of a call.

use std::time::Duration;

use aimg_ari::{Client, Config, Notice};
use aimg_core::TapMode;
use aimg_testbed::{Access, Context, Version};
use tokio::runtime::Runtime;

use crate::bench::{Bench, all_went_well, callee};
use crate::wire::{Wire, sent_to};

/// PBX unavailable, as `aimg --help` says.
const UNAVAILABLE: i32 = 69;

/// Another program that registers the same application, until it is dropped.
struct Rival {
    _client: Client,
    _runtime: Runtime,
}

impl Rival {
    fn registers(access: &Access) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = Config::new(&access.ari_url(), &access.user, access.secret.clone().into(), &access.app).unwrap();
        let client = runtime.block_on(async {
            let (client, mut events) = Client::start(config).unwrap();
            assert!(matches!(events.next().await, Some(Notice::Up { .. })));
            // It listens on, or its queue would fill up and end the connection.
            tokio::spawn(async move { while events.next().await.is_some() {} });
            client
        });
        Self { _client: client, _runtime: runtime }
    }
}

#[test]
fn the_gateway_finishes_its_recordings_says_so_and_ends() {
    let bench = Bench::new(Version::V22, TapMode::Ami);
    let gateway = bench.home.serve_linked();
    let wire = Wire::tap(&bench.asterisk);
    let mut callee = callee(1);
    let caller = bench.caller(Context::TapAmi, &callee).talks_for(Duration::from_secs(5));
    let mut caller = caller.start().unwrap();
    bench.wait_until_captured(1);
    let audio = gateway.audio();
    let _rival = Rival::registers(bench.asterisk.access());
    let words = ["another program took over ARI application `aimg`", "an application name of its own"];
    gateway.ends_by_itself().failed_with(UNAVAILABLE, &words);
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    bench.wait_until_asterisk_is_empty();

    let [call] = &bench.home.live_calls()[..] else { panic!("the next run is to look for the call") };
    let call = bench.home.session(call.id);
    let [recording] = &call.recordings[..] else { panic!("one recording: {:?}", call.recordings) };
    assert!(!recording.complete);
    assert!(recording.certificate.reasons[0].contains("the capture ended before the call did"));
    bench.is_all_that_was_sent(recording, &sent_to(&wire.streams(), audio));
    assert_eq!(bench.home.spool_files(), [""; 0]);
}
