//! 200 calls a second for ten seconds, on an Asterisk that may be asked for a few captures at a time only.
//!
//! The calls are Local channels: a small machine has no time for so many phones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aimg_ari::{Arrival, Client, Config, DialplanPlace, Originate};
use aimg_core::{SessionRow, TapMode, TenantScope, Timestamp, Uniqueid};
use aimg_store::{SessionFilter, SessionPlace, Store};
use aimg_testbed::{Access, Options, Version};

use crate::bench::Bench;
use crate::gateway::Gateway;
use crate::home::Home;
use crate::waiting::eventually;

const CALLS: usize = 2_000;
const CALLS_PER_SECOND: u32 = 200;
const TAPS_MAX: &str = "10";
/// Of the worker, all its sessions and queues included.
const MEMORY_KIB_MAX: u64 = 200 << 10;

/// How long a call waits in the hook at most, by default.
const HOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// What letting it go takes on a machine that has no time.
const LET_GO: Duration = Duration::from_secs(1);

/// What the log says of a call that is captured, and of one that is not.
const ASKED: &str = "asked of Asterisk";
const REFUSED: &str = "no more are allowed";

/// Every second call passes the hook.
const DIALPLAN: &str = "
[storm]
exten => 0,1,Wait(0.3)
exten => 1,1,Stasis({{app}},tap)
 same => n,Wait(0.3)
";

/// Asks for all of them; how long that took.
fn call_all(access: &Access) -> Duration {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = Config::new(&access.ari_url(), &access.user, access.secret.clone().into(), "storm").unwrap();
    runtime.block_on(async {
        let (client, mut events) = Client::start(config).unwrap();
        tokio::spawn(async move { while events.next().await.is_some() {} });
        let mut pace = tokio::time::interval(Duration::from_secs(1) / CALLS_PER_SECOND);
        let begin = Instant::now();
        let mut asked = Vec::new();
        for n in 0..CALLS {
            pace.tick().await;
            let client = client.clone();
            asked.push(tokio::spawn(async move { client.originate(&call(n)).await }));
        }
        for asked in asked {
            asked.await.unwrap().unwrap();
        }
        begin.elapsed()
    })
}

fn id(n: usize) -> Uniqueid {
    Uniqueid::new(format!("storm-{n}"))
}

fn call(n: usize) -> Originate {
    // Nobody answers, so that it goes nowhere.
    let nowhere = DialplanPlace { context: "storm".into(), exten: "0".into(), priority: 1 };
    Originate::new(id(n), format!("Local/{}@storm/n", n % 2), Arrival::Dialplan(nowhere))
}

/// More than one list gives: page by page.
fn all_calls(home: &Home) -> Vec<SessionRow> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open_read_only(aimg_store::Config::sqlite(home.data("aimg.db"))).await.unwrap();
        let (mut calls, mut after) = (Vec::new(), None);
        loop {
            let page = SessionFilter { after, ..SessionFilter::default() };
            let page = store.sessions(TenantScope::Operator, page).await.unwrap();
            let Some(last) = page.last() else { return calls };
            after = Some(SessionPlace { started_at: last.row.started_at, id: last.row.id });
            calls.extend(page.into_iter().map(|session| session.row));
        }
    })
}

#[test]
fn every_call_has_its_session_and_none_waits_too_long() {
    let additions = vec![("extensions.conf".to_owned(), DIALPLAN.to_owned())];
    let bench = Bench::with(Version::V22, TapMode::Ami, &Options { additions, ..Options::default() });
    let gateway = bench.home.serve_linked_with(&[("AIMG_TAPS_MAX", TAPS_MAX)]);
    let took = call_all(bench.asterisk.access());

    let calls = eventually("all calls are over", || {
        let calls = all_calls(&bench.home);
        let over = calls.iter().filter(|c| c.state.is_over()).count();
        if over == CALLS { Ok(calls) } else { Err(format!("{over} of {} are over", calls.len())) }
    });
    bench.wait_until_asterisk_is_empty();
    eventually("every recording is finished", || {
        let files = bench.home.spool_files();
        if files.is_empty() { Ok(()) } else { Err(format!("{files:?}")) }
    });
    let sessions: BTreeSet<Uniqueid> = calls.iter().map(|c| c.uniqueid.clone()).collect();
    assert!(sessions.into_iter().eq((0..CALLS).map(id).collect::<BTreeSet<_>>()), "one session a call");

    let memory_kib = gateway.memory_peak_kib();
    let log = tells(gateway);
    let says = |lines: &[(Timestamp, String)], words: &str| lines.iter().any(|(_, line)| line.contains(words));
    let with = |words: &str| log.values().filter(|lines| says(lines, words)).count();
    let (captured, refused) = (with(ASKED), with(REFUSED));
    println!("{CALLS} calls in {took:?}: {captured} captured, {refused} refused; {memory_kib} KiB");
    // A call that was refused may be captured all the same, when it enters the hook.
    let told = log.values().filter(|lines| says(lines, ASKED) || says(lines, REFUSED)).count();
    assert_eq!(told, CALLS, "each is captured, or it is told that it is not");
    assert!(captured > 0 && refused > 0, "{captured} captured, {refused} refused");
    assert!(memory_kib < MEMORY_KIB_MAX, "{memory_kib} KiB");
    let waits: Vec<Duration> = log.values().filter_map(|lines| wait_in_hook(lines)).collect();
    assert_eq!(waits.len(), CALLS / 2);
    let longest = waits.iter().max().unwrap();
    println!("longest wait in the hook: {longest:?}");
    assert!(*longest < HOOK_TIMEOUT + LET_GO, "{longest:?}");
}

/// What the log of a gateway, which is stopped, tells of each session, and when.
fn tells(gateway: Gateway) -> BTreeMap<String, Vec<(Timestamp, String)>> {
    let log = gateway.terminate().succeeded().stderr;
    for nothing in ["rows.overflowed=0", "rows.refused=0"] {
        assert!(log.contains(nothing), "{nothing} is not told");
    }
    let mut sessions = BTreeMap::<_, Vec<_>>::new();
    for line in log.lines() {
        let Some((_, session)) = line.split_once(" session.id=") else { continue };
        let session = session.split(' ').next().unwrap().to_owned();
        let at = line.split(' ').next().unwrap().parse().unwrap();
        sessions.entry(session).or_default().push((at, line.to_owned()));
    }
    sessions
}

fn wait_in_hook(lines: &[(Timestamp, String)]) -> Option<Duration> {
    let at = |event: &str| lines.iter().find(|(_, line)| line.contains(event)).map(|(at, _)| *at);
    Some(at(r#"event="hook_released""#)?.since(at(r#"event="hook_entered""#)?))
}
