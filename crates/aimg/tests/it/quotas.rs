//! A tenant over its quota: its next calls are heard by nobody else than who talks, it is told so once, and its neighbour on the
//! same PBX notices nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use aimg_core::{CallEventKind, QuotaKind, TapMode, TenantId, TenantScope};
use aimg_store::SessionDetail;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::bench::{all_went_well, callee};
use crate::client::{Client, Listener, PASSWORD, Told};
use crate::home::Home;
use crate::sharing::{RULES, Sharing};
use crate::waiting::eventually;
use crate::webhooks::{Receiver, SETTINGS, add_webhook};

/// Two calls are over before the first one is.
const LONG: Duration = Duration::from_secs(7);
const SHORT: Duration = Duration::from_secs(1);

/// Who runs the installation hears what one tenant is told.
async fn listens_for(root: &Client, tenant: TenantId) -> Listener {
    let mut listener = root.listens().await;
    let topics = json!({ "type": "subscribe", "topics": ["notifications"], "tenant": tenant.to_string() });
    assert_eq!(listener.asks(topics).await["type"], "subscribed");
    listener
}

/// How often a tenant was told that its quota is used up.
fn quotas(told: &Told) -> usize {
    told.notices().filter(|notice| notice["type"] == "quota").count()
}

/// How many recordings a call has, and how often it was denied.
fn capture(call: &SessionDetail) -> (usize, usize) {
    let denied = CallEventKind::QuotaExceeded { quota: QuotaKind::ConcurrentSessions };
    assert!(call.session.row.answered_at.is_some() && call.legs.len() == 2, "it is seen: {call:?}");
    (call.recordings.len(), call.events.iter().filter(|event| event.kind == denied).count())
}

#[test]
fn calls_beyond_a_quota_are_seen_and_the_other_tenants_are_captured() {
    let sharing = Sharing::with(Home::with_settings(SETTINGS), TapMode::Hook, &RULES);
    let home = &sharing.bench.home;
    let mut create = home.aimg(&["createsuperuser", "--name", "root"]);
    create.env("AIMG_SUPERUSER_PASSWORD", PASSWORD);
    home.run(create).succeeded();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let gateway = home.serve();
    runtime.block_on(async {
        let root = Client::log_in(gateway.http(), "root").await;
        let path = format!("/tenants/{}/quota", sharing.acme);
        let (status, answer) = root.ask(Method::PUT, &path, Some(json!({ "concurrent_sessions": 1 }))).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    });
    // A gateway reads quotas every few seconds, and when it starts.
    gateway.terminate().succeeded();
    let gateway = home.serve_linked();
    let receivers = ["acme", "rival"].map(|tenant| {
        let receiver = Receiver::start();
        add_webhook(home, tenant, &receiver);
        receiver
    });
    let root = runtime.block_on(Client::log_in(gateway.http(), "root"));
    let listeners = [sharing.acme, sharing.rival].map(|tenant| runtime.block_on(listens_for(&root, tenant)));

    let mut phone = callee(5);
    let call = |endpoint: &str, talk| sharing.caller(endpoint, &phone).talks_for(talk).start().unwrap();
    let mut first = call("acme", LONG);
    sharing.bench.wait_until_captured(1);
    let mut beyond = [call("acme", SHORT), call("acme", SHORT), call("rival", SHORT)];
    beyond.iter_mut().for_each(all_went_well);
    assert!(first.is_running(), "they were calls at the same time");
    all_went_well(&mut first);
    home.finished_calls(4);
    // There is room again.
    all_went_well(&mut call("acme", SHORT));
    all_went_well(&mut phone);
    home.finished_calls(5);

    let [acme, rival] = [sharing.acme, sharing.rival].map(|tenant| sharing.calls(TenantScope::Tenant(tenant)));
    assert_eq!(acme.iter().rev().map(capture).collect::<Vec<_>>(), [(1, 0), (0, 1), (0, 1), (1, 0)]);
    assert_eq!(rival.iter().map(capture).collect::<Vec<_>>(), [(1, 0)]);

    // Each is told of its recordings; one of them, before, of its quota.
    for ((calls, expected), (listener, receiver)) in
        [(&acme, 1), (&rival, 0)].into_iter().zip(listeners.iter().zip(&receivers))
    {
        let recorded: BTreeSet<_> = calls
            .iter()
            .filter(|call| !call.recordings.is_empty())
            .map(|call| call.session.row.id.to_string())
            .collect();
        let ready = |told: &Told| {
            let ready = told.notices().filter(|notice| notice["event"] == "recording_ready");
            ready.filter_map(|notice| notice["session"].as_str().map(str::to_owned)).collect::<BTreeSet<_>>()
        };
        runtime.block_on(listener.until("recordings are told of", |told| ready(told) == recorded));
        let told = listener.told();
        assert_eq!(quotas(&told), expected, "{:?}", told.texts);
        if let Some(quota) = told.notices().find(|notice| notice["type"] == "quota") {
            assert_eq!(
                (&quota["quota"], &quota["max"], &quota["used"]),
                (&json!("concurrent_sessions"), &json!(1), &json!(1))
            );
        }
        let received = eventually("the webhook is told of recordings", || {
            let received = receiver.received();
            let ready = received.iter().filter(|r| r.body.contains("\"recording.ready\"")).filter_map(|r| r.session());
            if ready.collect::<BTreeSet<_>>() == recorded { Ok(received) } else { Err(format!("{received:?}")) }
        });
        let exceeded = received.iter().filter(|r| r.body.contains("\"quota.exceeded\"")).count();
        assert_eq!(exceeded, expected, "{received:?}");
    }
    gateway.terminate_with_complaints_of(&["quota_sessions"]);
}
