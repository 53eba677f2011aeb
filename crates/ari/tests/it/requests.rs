//! Requests that fail, by what the caller is told about it.

use std::time::Duration;

use aimg_ari::{BreakerState, BridgeId, Client, Error, Events, HangupReason, Http, Notice, request};
use aimg_core::Uniqueid;
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::fake::{Answer, DEADLINE, FakePbx, Gate, until};

const INFO: &str = "GET /ari/asterisk/info";

async fn info(fake: &FakePbx, answer: &Answer) -> Result<(), Error> {
    fake.answer(INFO, answer.clone());
    let mut config = fake.config();
    if matches!(answer, Answer::Hang) {
        config.request_timeout = Duration::from_millis(200);
    }
    config.reply_bytes_max = 10_000;
    Http::new(&config).unwrap().call(request::asterisk::info()).await.map(|_| ())
}

async fn up(fake: &FakePbx) -> (Client, Events) {
    let (client, mut events) = Client::start(fake.config()).unwrap();
    let first = timeout(DEADLINE, events.next()).await.unwrap();
    assert!(matches!(first, Some(Notice::Up { .. })), "{first:?}");
    (client, events)
}

#[tokio::test]
async fn each_fault_has_its_error() {
    let fake = FakePbx::start().await;
    for (answer, expected) in [
        (Answer::Json(200, r#"{"system":{"version":"22.10.1"}}"#.into()), "ok"),
        (Answer::Json(200, "{".into()), "Answer"),
        (Answer::Json(200, format!("{{\"x\":\"{}\"}}", "y".repeat(10_000))), "Answer"),
        (Answer::Hang, "MaybeDone"),
        (Answer::Cut, "MaybeDone"),
        (Answer::Json(401, "{}".into()), "Denied"),
        (Answer::Json(503, "".into()), "Unavailable"),
        (Answer::Json(500, "{}".into()), "Server"),
    ] {
        let outcome = info(&fake, &answer).await.map_or_else(|e| format!("{e:?}"), |()| "ok".to_owned());
        assert!(outcome.starts_with(expected), "{answer:?}: {outcome}");
        assert!(!outcome.contains("hunter2"), "{outcome}");
    }
}

#[tokio::test]
async fn a_closed_port_means_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ari", listener.local_addr().unwrap());
    drop(listener);
    let config = aimg_ari::Config::new(&url, "me", "hunter2".into(), "aimg").unwrap();
    let error = Http::new(&config).unwrap().call(request::asterisk::info()).await.unwrap_err();
    assert!(matches!(error, Error::NotSent { .. }), "{error:?}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn nothing_is_sent_twice() {
    let fake = FakePbx::start().await;
    let http = Http::new(&fake.config()).unwrap();
    fake.answer("POST /ari/bridges/b", Answer::Cut);
    let create = || http.call(request::bridges::create(&BridgeId::new("b")));
    assert!(matches!(create().await, Err(Error::MaybeDone { .. })));
    // On a connection that was used before, too.
    http.call(request::asterisk::ping()).await.unwrap();
    assert!(matches!(create().await, Err(Error::MaybeDone { .. })));
    assert_eq!(fake.requests("POST /ari/bridges/b"), 2);
    assert_eq!(http.counts().requests_maybe_done, 2);
}

#[tokio::test]
async fn ids_that_would_leave_their_path_are_refused() {
    let fake = FakePbx::start().await;
    let http = Http::new(&fake.config()).unwrap();
    for id in [".", ".."] {
        let outcome = http.call(request::channels::hangup(&Uniqueid::new(id), HangupReason::Normal)).await;
        assert!(matches!(outcome, Err(Error::BadRequest { .. })), "{outcome:?}");
    }
    assert_eq!(fake.connections(), 0);
}

#[tokio::test]
async fn requests_under_way_and_waiting_are_bounded() {
    let fake = FakePbx::start().await;
    let gate = Gate::closed();
    fake.answer(INFO, Answer::Gated(gate.clone(), "{}".into()));
    let mut config = fake.config();
    config.requests_max = 2;
    config.requests_waiting_max = 1;
    let http = Http::new(&config).unwrap();
    let call = |http: Http| tokio::spawn(async move { http.call(request::asterisk::info()).await });
    let under_way = [call(http.clone()), call(http.clone())];
    until("two requests under way", || fake.requests(INFO) == 2).await;
    let waiting = call(http.clone());
    until("the third request", || http.counts().requests == 3).await;

    let crowded_out = http.call(request::asterisk::info()).await.unwrap_err();
    assert!(matches!(crowded_out, Error::NotSent { .. }), "{crowded_out:?}");
    assert_eq!((http.counts().requests_crowded_out, fake.requests(INFO)), (1, 2));

    gate.open();
    for request in under_way.into_iter().chain([waiting]) {
        request.await.unwrap().unwrap();
    }
    assert_eq!(fake.requests(INFO), 3);
}

#[tokio::test]
async fn a_turn_that_does_not_come_means_not_sent() {
    let fake = FakePbx::start().await;
    let mut config = fake.config();
    config.requests_max = 0;
    config.request_timeout = Duration::from_millis(50);
    let http = Http::new(&config).unwrap();
    let error = http.call(request::asterisk::info()).await.unwrap_err();
    assert!(matches!(error, Error::NotSent { .. }), "{error:?}");
    assert_eq!(fake.connections(), 0);
}

const HANGUP: &str = "DELETE /ari/channels/1.2";

async fn hangup(http: &Http) -> Result<(), Error> {
    http.call(request::channels::hangup(&Uniqueid::new("1.2"), HangupReason::Normal)).await
}

#[tokio::test]
async fn a_silent_pbx_is_left_alone() {
    let fake = FakePbx::start().await;
    fake.answer(HANGUP, Answer::Cut);
    let mut config = fake.config();
    config.connections_warm = 0;
    config.breaker_failures = 2;
    config.breaker_delay_min = Duration::from_secs(3_600);
    config.breaker_delay_max = Duration::from_secs(3_600);
    let (client, mut events) = Client::start(config).unwrap();
    let subscriber = fake.subscriber().await;
    assert!(matches!(timeout(DEADLINE, events.next()).await.unwrap(), Some(Notice::Up { .. })));
    let http = client.http();
    for _ in 0..2 {
        assert!(matches!(hangup(http).await, Err(Error::MaybeDone { .. })));
    }
    let error = hangup(http).await.unwrap_err();
    assert!(matches!(error, Error::NotSent { .. }), "{error:?}");
    assert!(error.to_string().contains("did not answer the last requests"), "{error}");
    assert!(matches!(http.breaker(), BreakerState::Open { .. }));
    assert_eq!((http.counts().breaker_opened, http.counts().requests_broken_off), (1, 1));
    assert_eq!(fake.requests(HANGUP), 2);

    // An event stream that opens is a sign of life.
    subscriber.push.send(crate::fake::Push::Cut).unwrap();
    fake.subscriber().await;
    until("the breaker's end", || http.breaker() == BreakerState::Closed).await;
}

#[tokio::test]
async fn a_silent_pbx_is_asked_again() {
    let fake = FakePbx::start().await;
    fake.answer(HANGUP, Answer::Cut);
    let mut config = fake.config();
    config.breaker_failures = 1;
    config.breaker_delay_min = Duration::from_millis(1);
    config.breaker_delay_max = Duration::from_millis(2);
    let http = Http::new(&config).unwrap();
    let fail_until_opened_again = async {
        while http.counts().breaker_opened < 3 {
            hangup(&http).await.unwrap_err();
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, fail_until_opened_again).await.unwrap();
    fake.answer(HANGUP, Answer::Json(204, String::new()));
    let succeed = async {
        while hangup(&http).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, succeed).await.unwrap();
    assert_eq!(http.breaker(), BreakerState::Closed);
}

#[tokio::test]
async fn a_probe_that_is_given_up_leaves_the_next_one_free() {
    let fake = FakePbx::start().await;
    fake.answer(HANGUP, Answer::Cut);
    let mut config = fake.config();
    config.breaker_failures = 1;
    config.breaker_delay_min = Duration::ZERO;
    let http = Http::new(&config).unwrap();
    hangup(&http).await.unwrap_err();
    fake.answer(HANGUP, Answer::Hang);
    let probe = tokio::spawn({
        let http = http.clone();
        async move { hangup(&http).await }
    });
    until("the probe", || fake.requests(HANGUP) == 2).await;
    assert_eq!(http.breaker(), BreakerState::HalfOpen);
    assert!(matches!(hangup(&http).await, Err(Error::NotSent { .. })));
    probe.abort();
    assert!(probe.await.unwrap_err().is_cancelled());
    fake.answer(HANGUP, Answer::Json(204, String::new()));
    hangup(&http).await.unwrap();
}

#[tokio::test]
async fn what_is_gone_needs_no_deleting() {
    let fake = FakePbx::start().await;
    let (client, _events) = up(&fake).await;
    client.hangup(&Uniqueid::new("1.2"), HangupReason::Normal).await.unwrap();
    client.destroy_bridge(&BridgeId::new("b")).await.unwrap();
    assert!(client.channel(&Uniqueid::new("1.2")).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_tap_finds_its_connections_open() {
    let fake = FakePbx::start().await;
    let (client, _events) = up(&fake).await;
    let id = Uniqueid::new("1.2");
    // The pool may still be filling at the first rounds.
    let rounds = async {
        loop {
            let before = fake.connections();
            join_all((0..6).map(|_| client.channel(&id))).await;
            if fake.connections() == before {
                return;
            }
        }
    };
    timeout(DEADLINE, rounds).await.expect("each round opened connections");
}

#[tokio::test]
async fn a_probe_tells_what_is_missing() {
    let fake = FakePbx::start().await;
    let running = |name: &str| Answer::Json(200, format!(r#"{{"name":"{name}","status":"Running"}}"#));
    fake.answer(INFO, Answer::Json(200, r#"{"system":{"version":"22.10.1"},"config":{"name":"pbx1"}}"#.into()));
    for module in [
        "res_rtp_multicast.so",
        "chan_rtp.so",
        "res_rtp_asterisk.so",
        "res_stasis_snoop.so",
        "app_stasis.so",
        "res_ari_channels.so",
        "res_ari_bridges.so",
        "res_ari_events.so",
        "res_http_websocket.so",
    ] {
        fake.answer(&format!("GET /ari/asterisk/modules/{module}"), running(module));
    }
    let found = aimg_ari::probe(&fake.config()).await.unwrap();
    assert_eq!((found.version.as_str(), found.system_name.as_str(), found.app_registered), ("22.10.1", "pbx1", false));

    fake.answer("GET /ari/applications/aimg", Answer::Json(200, r#"{"name":"aimg"}"#.into()));
    assert!(aimg_ari::probe(&fake.config()).await.unwrap().app_registered);

    let write = "DELETE /ari/bridges/aimg-probe";
    fake.answer(write, Answer::Json(403, r#"{"message":"Write access denied"}"#.into()));
    let error = aimg_ari::probe(&fake.config()).await.unwrap_err();
    assert!(matches!(error, Error::Denied { status: 403, .. }), "{error:?}");

    let chan_rtp = "GET /ari/asterisk/modules/chan_rtp.so";
    for missing in [
        Answer::Json(404, r#"{"message":"Module could not be found in running modules"}"#.into()),
        Answer::Json(200, r#"{"name":"chan_rtp.so","status":"Not Running"}"#.into()),
    ] {
        fake.answer(chan_rtp, missing);
        let error = aimg_ari::probe(&fake.config()).await.unwrap_err();
        assert!(matches!(error, Error::ModuleMissing { module: "chan_rtp.so", .. }), "{error:?}");
        assert!(error.to_string().contains("`load = chan_rtp.so` to its modules.conf"), "{error}");
    }
}
