//! The link: how it comes up, what breaks it, and that it comes back.

use std::time::Duration;

use aimg_ami::{Auth, Client, Error, Event, EventFilter, FrameError, Limits, Notice, probe};
use tokio::net::TcpListener;

use crate::fake_asterisk::{FakeAsterisk, down, event, next, up, within};

fn uniqueid(event: &Event) -> &str {
    match event {
        Event::NewChannel(channel) => channel.uniqueid.as_str(),
        other => panic!("no Newchannel but {other:?}"),
    }
}

#[tokio::test]
async fn what_happens_during_the_lists_follows_them() {
    for auth in [Auth::Md5, Auth::Plain] {
        let server = FakeAsterisk::bind().await;
        let mut config = server.config();
        config.auth = auth;
        let (client, mut events) = Client::start(config);

        let (mut event_session, _) = server.logged_in().await;
        event_session.send("Event: Newchannel\r\nUniqueid: 2\r\nTimestamp: 1763900000.000001\r\n\r\n").await;
        let (mut action_session, _) = server.logged_in().await;
        assert!(!client.is_up());
        action_session.answer_resync(&["Uniqueid: 1\r\nDuration: 00:00:07\r\n", "Uniqueid: 2\r\n"]).await;
        event_session.send("Event: Newchannel\r\nUniqueid: 3\r\n\r\n").await;

        let up = up(&mut events).await;
        assert_eq!(up.server.ami_version, "11.0.0");
        assert_eq!(up.server.asterisk_version, "22.10.1");
        assert_eq!(up.server.system_name, "pbx");
        assert_eq!(up.server.started_at, "2026-01-31 12:00:00");
        assert_eq!(up.channels.iter().map(|c| c.channel.uniqueid.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(up.channels[0].age, Some(Duration::from_secs(7)));
        assert_eq!(up.bridges[0].id, "b-1");
        assert!(client.is_up());
        match next(&mut events).await {
            Notice::Event { at, event } => {
                assert_eq!((uniqueid(&event), at.map(|t| t.as_micros())), ("2", Some(1_763_900_000_000_001)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(uniqueid(&event(&mut events).await), "3");
        assert_eq!((client.counts().events, client.counts().links_up), (2, 1));
    }
}

#[tokio::test]
async fn a_cut_in_the_middle_of_an_event_is_followed_by_another_link() {
    let server = FakeAsterisk::bind().await;
    let (client, mut events) = Client::start(server.config());
    for round in 1..=3 {
        let (mut event_session, _actions) = server.link().await;
        event_session.send("Event: Newchannel\r\nUniqueid: 1\r\n\r\nEvent: Hangup\r\nUniqu").await;
        up(&mut events).await;
        assert_eq!(uniqueid(&event(&mut events).await), "1");
        drop(event_session);
        let error = down(&mut events).await;
        assert!(matches!(error, Error::Closed { .. }), "{error}");
        assert_eq!((client.counts().links_up, client.counts().failures), (round, round));
    }
}

#[tokio::test]
async fn losing_either_connection_ends_the_link() {
    let server = FakeAsterisk::bind().await;
    let (_client, mut events) = Client::start(server.config());
    for lose_actions in [true, false] {
        let (mut event_session, mut action_session) = server.link().await;
        up(&mut events).await;
        let survivor = if lose_actions {
            drop(action_session);
            &mut event_session
        } else {
            drop(event_session);
            &mut action_session
        };
        assert!(matches!(down(&mut events).await, Error::Closed { .. }));
        assert!(survivor.try_action().await.is_none(), "the other connection is closed as well");
    }
}

#[tokio::test]
async fn a_shutdown_is_told_before_the_end() {
    let server = FakeAsterisk::bind().await;
    let (_client, mut events) = Client::start(server.config());
    let (mut event_session, action_session) = server.link().await;
    up(&mut events).await;
    event_session.send("Event: Shutdown\r\nShutdown: Cleanly\r\nRestart: True\r\n\r\n").await;
    drop((event_session, action_session));
    assert_eq!(event(&mut events).await, Event::Shutdown { restart: true });
    assert!(matches!(down(&mut events).await, Error::Closed { .. }));
    let _link = server.link().await;
    up(&mut events).await;
}

#[tokio::test]
async fn what_cannot_be_read_ends_the_link() {
    let server = FakeAsterisk::bind().await;
    let mut config = server.config();
    config.limits = Limits { line_bytes_max: 500, headers_max: 10, message_bytes_max: 1000 };
    let (client, mut events) = Client::start(config);
    let cases = [
        (format!("Event: {}\r\n", "x".repeat(501)), FrameError::LineTooLong { bytes_max: 500 }),
        (format!("Event: {}", "x".repeat(501)), FrameError::LineTooLong { bytes_max: 500 }),
        ("X: y\r\n".repeat(11), FrameError::TooManyHeaders { headers_max: 10 }),
        (format!("X: {}\r\n", "y".repeat(400)).repeat(3), FrameError::MessageTooLong { bytes_max: 1000 }),
    ];
    for (text, expected) in cases {
        let (mut event_session, _actions) = server.link().await;
        up(&mut events).await;
        event_session.send(&text).await;
        match down(&mut events).await {
            Error::Unreadable { source, .. } => assert_eq!(source, expected),
            other => panic!("{other}"),
        }
    }
    assert_eq!(client.counts().unreadable_streams, 4);

    // Junk between the lines is no reason to part.
    let (mut event_session, _actions) = server.link().await;
    up(&mut events).await;
    event_session.send("\r\n\r\njunk\r\n\u{0}\r\n\r\nEvent: Newchannel\r\nmore junk\r\nUniqueid: 1\r\n\r\n").await;
    assert_eq!(uniqueid(&event(&mut events).await), "1");
    assert_eq!(client.counts().skipped_lines, 3);
}

#[tokio::test]
async fn a_port_that_is_not_ami_is_named() {
    let server = FakeAsterisk::bind().await;
    let (_client, mut events) = Client::start(server.config());
    server.accept().await.send("SSH-2.0-OpenSSH_9.2\r\n").await;
    let error = down(&mut events).await.to_string();
    assert!(error.contains("SSH-2.0-OpenSSH_9.2") && error.contains("5038"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_told_and_tried_again() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = FakeAsterisk::bind().await.config();
    config.port = unused.local_addr().unwrap().port();
    drop(unused);
    let (client, mut events) = Client::start(config);
    for _ in 0..3 {
        let error = down(&mut events).await;
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    }
    assert!(client.counts().failures >= 3);
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let server = FakeAsterisk::bind().await;
    let mut config = server.config();
    config.login_timeout = Duration::from_millis(50);
    let (_client, mut events) = Client::start(config);
    let _mute = server.accept().await;
    let error = down(&mut events).await;
    assert!(matches!(error, Error::Silent { waiting_for: "login", .. }), "{error}");
    assert!(error.to_string().contains("a port of TLS"), "{error}");
}

#[tokio::test]
async fn a_ping_that_is_not_answered_ends_the_link() {
    // Only one of the connections falls silent; the other goes on answering.
    for silent_events in [true, false] {
        let server = FakeAsterisk::bind().await;
        let mut config = server.config();
        config.ping_interval = Duration::from_millis(20);
        config.ping_timeout = Duration::from_secs(1);
        let (_client, mut events) = Client::start(config);
        let (event_session, action_session) = server.link().await;
        up(&mut events).await;
        let (mut silent, mut answering) =
            if silent_events { (event_session, action_session) } else { (action_session, event_session) };
        let mut pongs = 0;
        let error = loop {
            tokio::select! {
                error = down(&mut events) => break error,
                Some(ping) = answering.try_action() => {
                    assert_eq!(ping.name(), "Ping");
                    answering.respond(&ping, "Success", "Ping: Pong\r\nTimestamp: 1763900000.000001\r\n").await;
                    pongs += 1;
                }
            }
        };
        assert!(matches!(error, Error::Silent { waiting_for: "ping", .. }), "{error}");
        while let Some(action) = silent.try_action().await {
            assert_eq!(action.name(), "Ping");
        }
        assert!(pongs >= 2, "the answered connection lives on");
    }
}

#[tokio::test]
async fn a_refused_login_names_the_user_and_the_cure() {
    for auth in [Auth::Md5, Auth::Plain] {
        let server = FakeAsterisk::bind().await;
        let mut config = server.config();
        config.auth = auth;
        let (client, mut events) = Client::start(config);
        for _ in 0..2 {
            let mut session = server.accept().await;
            session.send("Asterisk Call Manager/11.0.0\r\n").await;
            let mut action = session.action().await;
            if auth == Auth::Md5 {
                session.respond(&action, "Success", "Challenge: 1\r\n").await;
                action = session.action().await;
            }
            session.respond(&action, "Error", "Message: Authentication failed\r\n").await;
            drop(session);
            let error = down(&mut events).await;
            assert!(error.is_refusal(), "{error}");
            let sentence = error.to_string();
            for part in ["127.0.0.1:", "`aimg`", "Authentication failed", "manager.conf", "permit", "secret", "write"] {
                assert!(sentence.contains(part), "{part} in {sentence}");
            }
        }
        assert_eq!(client.counts().failures, 2);
    }
}

#[tokio::test]
async fn a_refusal_can_end_the_client() {
    let server = FakeAsterisk::bind().await;
    let mut config = server.config();
    config.give_up_on_refusal = true;
    let (_client, mut events) = Client::start(config);
    let (_event_session, _) = server.logged_in().await;
    let (mut actions, _) = server.logged_in().await;
    loop {
        let action = actions.action().await;
        if action.name() == "CoreShowChannels" {
            actions.respond(&action, "Error", "Message: Permission denied\r\n").await;
            break;
        }
        actions.respond(&action, "Success", "").await;
    }
    match next(&mut events).await {
        Notice::Down { error: Error::Refused { action, reason, .. }, retry_in: None } => {
            assert_eq!((action, reason.as_str()), ("CoreShowChannels", "Permission denied"));
        }
        other => panic!("{other:?}"),
    }
    assert!(within(events.next()).await.is_none());
}

#[tokio::test]
async fn a_flood_that_nobody_takes_costs_the_link_and_not_memory() {
    let server = FakeAsterisk::bind().await;
    let mut config = server.config();
    config.events_max = 100;
    let (client, mut events) = Client::start(config);
    let (mut event_session, _actions) = server.link().await;
    up(&mut events).await;

    let flood: String = (1..=101).map(|n| format!("Event: Newchannel\r\nUniqueid: {n}\r\n\r\n")).collect();
    event_session.send(&flood).await;
    assert!(event_session.try_action().await.is_none(), "the client leaves while nobody takes the events");

    // What was received before is told in order, then why it ended, then the whole state.
    for n in 1..=100 {
        assert_eq!(uniqueid(&event(&mut events).await), n.to_string());
    }
    let error = down(&mut events).await;
    assert!(matches!(error, Error::Overflow { events: 100, .. }), "{error}");
    let _link = server.link().await;
    up(&mut events).await;
    assert_eq!((client.counts().overflows, client.counts().links_up), (1, 2));
}

#[tokio::test]
async fn the_link_ends_with_those_who_want_it() {
    enum End {
        Close,
        DropClients,
        DropEvents,
    }
    for end in [End::Close, End::DropClients, End::DropEvents] {
        let server = FakeAsterisk::bind().await;
        let (client, mut events) = Client::start(server.config());
        let (mut event_session, mut action_session) = server.link().await;
        up(&mut events).await;
        match end {
            End::Close => {
                client.close();
                assert!(within(events.next()).await.is_none());
                assert!(!client.is_up());
            }
            End::DropClients => {
                drop(client);
                assert!(within(events.next()).await.is_none());
            }
            End::DropEvents => drop(events),
        }
        assert!(event_session.try_action().await.is_none());
        assert!(action_session.try_action().await.is_none());
    }
}

#[tokio::test]
async fn a_probe_looks_once() {
    let server = FakeAsterisk::bind().await;
    let looked = tokio::spawn(probe(server.config()));
    let (mut session, mask) = server.logged_in().await;
    assert_eq!(mask, "off");
    session.answer_resync(&["Uniqueid: 1\r\n"]).await;
    let up = within(looked).await.unwrap().unwrap();
    assert_eq!((up.server.asterisk_version.as_str(), up.channels.len()), ("22.10.1", 1));
    assert!(session.try_action().await.is_none());
}

#[tokio::test]
async fn filters_are_set_before_events_begin() {
    let server = FakeAsterisk::bind().await;
    let mut config = server.config();
    config.event_filters = vec![EventFilter::only_events(["Hangup"]), EventFilter::except("Channel: Snoop/")];
    let (_client, mut events) = Client::start(config);
    let (mut event_session, mask) = server.logged_in().await;
    assert_eq!(mask, "off");
    for expected in ["^Event: (Hangup)[[:cntrl:]]", "!Channel: Snoop/"] {
        let filter = event_session.action().await;
        assert_eq!((filter.name(), filter.value("Operation"), filter.value("Filter")), ("Filter", "Add", expected));
        event_session.respond(&filter, "Success", "Message: Filter added successfully\r\n").await;
    }
    let begin = event_session.action().await;
    assert_eq!((begin.name(), begin.value("EventMask")), ("Events", "call,system"));
    event_session.respond(&begin, "Success", "Events: On\r\n").await;
    let (mut actions, _) = server.logged_in().await;
    actions.answer_resync(&[]).await;
    up(&mut events).await;
}

#[tokio::test]
async fn a_filter_that_asterisk_refuses_is_told() {
    let server = FakeAsterisk::bind().await;
    let mut config = server.config();
    config.event_filters = vec![EventFilter::only("(")];
    let (_client, mut events) = Client::start(config);
    let (mut event_session, _) = server.logged_in().await;
    let filter = event_session.action().await;
    event_session.respond(&filter, "Error", "Message: Filter did not compile\r\n").await;
    let error = down(&mut events).await.to_string();
    assert!(error.contains("refused Filter") && error.contains("did not compile"), "{error}");
}
