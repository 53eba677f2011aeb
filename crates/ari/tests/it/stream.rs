//! The event stream under faults.

use std::time::Duration;

use aimg_ari::{Client, Config, Error, Event, EventKind, Events, Notice};
use tokio::time::{sleep, timeout};

use crate::fake::{Answer, DEADLINE, FakePbx, Gate, Push, Subscriber, until};

const CHANNEL: &str = r#"{"id":"1.2","name":"PJSIP/a-1","state":"Ring"}"#;

async fn next(events: &mut Events) -> Notice {
    timeout(DEADLINE, events.next()).await.expect("no notice came").expect("the stream ended")
}

async fn next_event(events: &mut Events) -> Event {
    match next(events).await {
        Notice::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

async fn next_error(events: &mut Events) -> Error {
    match next(events).await {
        Notice::Down { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

async fn next_up(events: &mut Events) -> usize {
    match next(events).await {
        Notice::Up { channels, .. } => channels.len(),
        other => panic!("{other:?}"),
    }
}

async fn up(fake: &FakePbx, config: Config) -> (Client, Events, Subscriber) {
    let (client, mut events) = Client::start(config).unwrap();
    let subscriber = fake.subscriber().await;
    next_up(&mut events).await;
    (client, events, subscriber)
}

fn push(subscriber: &Subscriber, push: Push) {
    subscriber.push.send(push).unwrap();
}

fn varset(value: usize) -> Push {
    Push::Text(format!(r#"{{"type":"ChannelVarset","variable":"N","value":"{value}","application":"aimg"}}"#))
}

fn value(event: &Event) -> usize {
    match &event.kind {
        EventKind::ChannelVarset { value, .. } => value.parse().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn comes_up_with_the_state_and_passes_events_on() {
    let fake = FakePbx::start().await;
    fake.answer("GET /ari/channels", Answer::Json(200, format!("[{CHANNEL}]")));
    let (client, mut events) = Client::start(fake.config()).unwrap();
    let subscriber = fake.subscriber().await;
    assert_eq!(subscriber.target, "/ari/events?app=aimg");
    assert_eq!(subscriber.authorization, "Basic bWU6aHVudGVyMg==");
    assert_eq!(subscriber.protocol, "ari");
    assert_eq!(next_up(&mut events).await, 1);
    for n in 0..3 {
        push(&subscriber, varset(n));
        assert_eq!(value(&next_event(&mut events).await), n);
    }
    assert_eq!((client.counts().events, client.counts().streams_up), (3, 1));
}

#[tokio::test]
async fn subscribes_again_to_everything_where_asked() {
    let fake = FakePbx::start().await;
    fake.answer("POST /ari/applications/aimg/subscription", Answer::Json(200, r#"{"name":"aimg"}"#.into()));
    let mut config = fake.config();
    config.subscribe_all = true;
    let (_client, _events, subscriber) = up(&fake, config).await;
    assert_eq!(subscriber.target, "/ari/events?app=aimg&subscribeAll=true");
    let expected = "POST /ari/applications/aimg/subscription?eventSource=channel%3A%2Cbridge%3A%2Cendpoint%3A";
    assert_eq!(fake.requests(expected), 1);
}

#[tokio::test]
async fn events_that_arrive_before_the_state_follow_it() {
    let fake = FakePbx::start().await;
    let gate = Gate::closed();
    fake.answer("GET /ari/channels", Answer::Gated(gate.clone(), format!("[{CHANNEL}]")));
    let (client, mut events) = Client::start(fake.config()).unwrap();
    let subscriber = fake.subscriber().await;
    push(&subscriber, varset(0));
    until("the event's arrival", || client.counts().events == 1).await;
    gate.open();
    assert_eq!(next_up(&mut events).await, 1);
    assert_eq!(value(&next_event(&mut events).await), 0);
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_a_loss() {
    let fake = FakePbx::start().await;
    fake.answer("GET /ari/channels", Answer::Cut);
    let (_client, mut events) = Client::start(fake.config()).unwrap();
    assert!(matches!(next_error(&mut events).await, Error::MaybeDone { .. }));
}

#[tokio::test]
async fn reads_the_state_anew_after_each_loss() {
    let fake = FakePbx::start().await;
    let (client, mut events, mut subscriber) = up(&fake, fake.config()).await;
    for (loss, reason) in [
        (Push::Cut, ""),
        (Push::Close(1000), "closed it (1000)"),
        (Push::Close(1011), "websocket_write_timeout"),
        (Push::Text("x".repeat(300 << 10)), "too large"),
    ] {
        push(&subscriber, loss);
        let error = next_error(&mut events).await;
        assert!(matches!(error, Error::StreamLost { .. }) && error.to_string().contains(reason), "{error}");
        fake.answer("GET /ari/channels", Answer::Json(200, format!("[{CHANNEL}]")));
        subscriber = fake.subscriber().await;
        assert_eq!(next_up(&mut events).await, 1);
    }
    assert_eq!((client.counts().streams_up, client.counts().streams_lost), (5, 4));
}

#[tokio::test]
async fn a_silent_pbx_is_given_up() {
    let fake = FakePbx::start().await;
    let mut config = fake.config();
    config.ping_interval = Duration::from_millis(20);
    config.ping_timeout = Duration::from_secs(1);
    let (client, mut events, subscriber) = up(&fake, config).await;
    // A silent stream that answers pings stays: its events still arrive.
    until("three pings", || fake.pings() >= 3).await;
    push(&subscriber, varset(1));
    push(&subscriber, Push::Freeze);
    assert_eq!(value(&next_event(&mut events).await), 1);
    assert_eq!(client.counts().streams_lost, 0);

    let error = next_error(&mut events).await;
    assert!(error.to_string().contains("no answer to a ping"), "{error}");
    fake.subscriber().await;
    next_up(&mut events).await;
}

#[tokio::test]
async fn a_pbx_that_refuses_is_tried_until_it_does_not() {
    let fake = FakePbx::start().await;
    fake.refuse_socket(Some(401));
    let (_client, mut events) = Client::start(fake.config()).unwrap();
    let error = next_error(&mut events).await;
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("check [me] in its ari.conf"), "{error}");
    fake.refuse_socket(Some(503));
    while !matches!(next_error(&mut events).await, Error::Unavailable { .. }) {}
    fake.refuse_socket(None);
    loop {
        match next(&mut events).await {
            Notice::Up { .. } => break,
            Notice::Down { error: Error::Unavailable { .. }, .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn garbage_does_not_stop_the_stream() {
    let fake = FakePbx::start().await;
    let (client, mut events, subscriber) = up(&fake, fake.config()).await;
    for garbage in ["", "{", "[]", "null", "\u{0}"] {
        push(&subscriber, Push::Text(garbage.to_owned()));
    }
    push(&subscriber, Push::Text(r#"{"type":"FromTheFuture","application":"aimg"}"#.to_owned()));
    push(&subscriber, varset(3));
    assert!(matches!(next_event(&mut events).await.kind, EventKind::Other(_)));
    assert_eq!(value(&next_event(&mut events).await), 3);
    let counts = client.counts();
    assert_eq!((counts.messages_garbled, counts.events, counts.events_other), (5, 2, 1));
}

#[tokio::test]
async fn a_replaced_application_is_not_fought_for() {
    let fake = FakePbx::start().await;
    let (client, mut events, subscriber) = up(&fake, fake.config()).await;
    // A reclaim of what we have means nothing, neither now nor later.
    client.reclaim();
    push(&subscriber, Push::Text(r#"{"type":"ApplicationReplaced","application":"aimg"}"#.to_owned()));
    let Notice::Replaced { error } = next(&mut events).await else { panic!("not replaced") };
    assert!(error.to_string().contains("give each program an application name of its own"), "{error}");
    // Many times the longest back-off.
    sleep(Duration::from_millis(200)).await;
    assert_eq!(fake.sockets(), 1);
    // Requests still work.
    client.channels().await.unwrap();

    client.reclaim();
    fake.subscriber().await;
    next_up(&mut events).await;
    assert_eq!(client.counts().streams_replaced, 1);
}

#[tokio::test]
async fn a_consumer_that_falls_behind_gets_the_state_anew() {
    let fake = FakePbx::start().await;
    let mut config = fake.config();
    config.events_max = 10;
    let (client, mut events, subscriber) = up(&fake, config).await;
    for n in 0..100 {
        push(&subscriber, varset(n));
    }
    until("the overflow", || client.counts().streams_overflowed == 1).await;
    // Everything that had room, in order, then why there is no more, then the state.
    for n in 0..10 {
        assert_eq!(value(&next_event(&mut events).await), n);
    }
    let error = next_error(&mut events).await;
    assert!(matches!(error, Error::StreamOverflow { events_max: 10, .. }), "{error:?}");
    let subscriber = fake.subscriber().await;
    next_up(&mut events).await;
    push(&subscriber, varset(5));
    assert_eq!(value(&next_event(&mut events).await), 5);
    assert_eq!(client.counts().streams_overflowed, 1);
}

#[tokio::test]
async fn ends_with_its_last_client_or_its_consumer() {
    let fake = FakePbx::start().await;
    let (client, mut events, _subscriber) = up(&fake, fake.config()).await;
    drop(client.clone());
    drop(client);
    assert!(timeout(DEADLINE, events.next()).await.unwrap().is_none());

    let (_client, events, subscriber) = up(&fake, fake.config()).await;
    drop(events);
    timeout(DEADLINE, subscriber.push.closed()).await.expect("the connection stayed");
}
