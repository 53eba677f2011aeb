//! Functions that are called for events.

use std::sync::Arc;

use aimg_ami::{Event, Handler, HandlerCounts, LinkChange, Manager};
use tokio::sync::{Semaphore, mpsc};

use crate::fake_asterisk::{FakeAsterisk, within};

/// What a handler was called with, in words.
fn told() -> (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>) {
    mpsc::unbounded_channel()
}

async fn next(told: &mut mpsc::UnboundedReceiver<String>) -> String {
    within(told.recv()).await.expect("the handler is still there")
}

/// Waits until a handler has done so many events; its count follows what it sends.
async fn handled(handler: &Handler, count: u64) -> HandlerCounts {
    within(async {
        while handler.counts().handled < count {
            tokio::task::yield_now().await;
        }
        handler.counts()
    })
    .await
}

#[tokio::test]
async fn each_handler_gets_what_it_asked_for_in_order() {
    let server = FakeAsterisk::bind().await;
    let manager = Manager::new(server.config());
    let (typed_tx, mut typed) = told();
    let (any_tx, mut any) = told();
    let (queue_tx, mut queue) = told();
    let (raw_tx, mut raw) = told();
    manager.on("newchannel", move |event| {
        let typed_tx = typed_tx.clone();
        async move {
            let Event::NewChannel(channel) = event else { panic!("no Newchannel but {event:?}") };
            typed_tx.send(channel.uniqueid.as_str().to_owned()).unwrap();
        }
    });
    manager.on_any(move |event| {
        any_tx.send(format!("{event:?}").split(['(', '{']).next().unwrap().to_owned()).unwrap();
        async {}
    });
    manager.on("Queue*", move |event| {
        queue_tx.send(format!("{event:?}").split('(').next().unwrap().to_owned()).unwrap();
        async {}
    });
    manager.on_message("Odd", move |message| {
        raw_tx.send(message.first("X").unwrap().to_owned()).unwrap();
        async {}
    });
    manager.start();
    let (mut events, _actions) = server.link().await;
    events
        .send(
            "Event: Newchannel\r\nUniqueid: 1\r\n\r\nEvent: Odd\r\nX: y\r\n\r\n\
             Event: QueueCallerJoin\r\nUniqueid: 1\r\nQueue: q\r\n\r\nEvent: Newchannel\r\nUniqueid: 2\r\n\r\n",
        )
        .await;
    for expected in ["1", "2"] {
        assert_eq!(next(&mut typed).await, expected);
    }
    for expected in ["NewChannel", "Other", "QueueCallerJoin", "NewChannel"] {
        assert_eq!(next(&mut any).await, expected);
    }
    assert_eq!(next(&mut queue).await, "QueueCallerJoin");
    assert_eq!(next(&mut raw).await, "y");
}

#[tokio::test]
async fn a_slow_handler_misses_events_and_delays_nobody() {
    let server = FakeAsterisk::bind().await;
    let mut config = server.config();
    config.handler_events_max = 3;
    let manager = Manager::new(config);
    let (slow_tx, mut slow_told) = told();
    let gate = Arc::new(Semaphore::new(0));
    let behind = Arc::clone(&gate);
    let slow = manager.on("Newchannel", move |_| {
        let (slow_tx, gate) = (slow_tx.clone(), Arc::clone(&behind));
        async move {
            slow_tx.send(String::new()).unwrap();
            gate.acquire().await.unwrap().forget();
        }
    });
    let (quick_tx, mut quick_told) = told();
    let quick = manager.on("Newchannel", move |_| {
        quick_tx.send(String::new()).unwrap();
        async {}
    });
    let client = manager.start();
    let (mut events, mut actions) = server.link().await;
    // One is in the slow handler's hands, three wait, the others are missed.
    for n in 0..10 {
        events.send("Event: Newchannel\r\nUniqueid: 1\r\n\r\n").await;
        next(&mut quick_told).await;
        if n == 0 {
            next(&mut slow_told).await;
        }
    }
    assert_eq!(handled(&quick, 10).await.missed, 0);
    assert_eq!((slow.counts().handled, slow.counts().missed), (0, 6));

    // Actions go through meanwhile.
    let server = async {
        let action = actions.action().await;
        actions.respond(&action, "Success", "").await;
    };
    let (answer, ()) = tokio::join!(client.send(aimg_ami::Action::ping()), server);
    answer.unwrap();

    gate.add_permits(10);
    let done = handled(&slow, 4).await;
    assert_eq!((done.handled, done.missed, done.panics), (4, 6, 0));
}

#[tokio::test]
async fn a_panic_is_of_one_handler_and_one_event() {
    let server = FakeAsterisk::bind().await;
    let manager = Manager::new(server.config());
    let at_once = manager.on("Newchannel", |event| {
        if format!("{event:?}").contains("\"1\"") {
            panic!("the test's own panic");
        }
        async {}
    });
    let later = manager.on("Newchannel", |event| async move {
        tokio::task::yield_now().await;
        assert!(!format!("{event:?}").contains("\"2\""), "the test's own panic");
    });
    manager.start();
    let (mut events, _actions) = server.link().await;
    for id in 1..=3 {
        events.send(&format!("Event: Newchannel\r\nUniqueid: {id}\r\n\r\n")).await;
    }
    for handler in [at_once, later] {
        let counts = handled(&handler, 3).await;
        assert_eq!((counts.handled, counts.panics, counts.missed), (3, 1, 0));
    }
}

#[tokio::test]
async fn handlers_come_and_go_while_the_link_is_up() {
    let server = FakeAsterisk::bind().await;
    let manager = Manager::new(server.config());
    manager.start();
    let (mut events, _actions) = server.link().await;
    let (first_tx, mut first_told) = told();
    let first = manager.on_any(move |_| {
        first_tx.send(String::new()).unwrap();
        async {}
    });
    events.send("Event: A\r\n\r\n").await;
    next(&mut first_told).await;
    first.remove();
    let (second_tx, mut second_told) = told();
    manager.on_any(move |_| {
        second_tx.send(String::new()).unwrap();
        async {}
    });
    events.send("Event: B\r\n\r\n").await;
    next(&mut second_told).await;
    assert!(within(first_told.recv()).await.is_none(), "its task has ended");
    assert_eq!(first.counts().handled, 1);
}

#[tokio::test]
async fn changes_of_the_link_are_told_and_its_end_ends_the_run() {
    let server = FakeAsterisk::bind().await;
    let manager = Manager::new(server.config());
    let (link_tx, mut link) = told();
    manager.on_link(move |change| {
        let words = match change {
            LinkChange::Up(up) => format!("up {}", up.server.asterisk_version),
            LinkChange::Down { error, .. } => error.to_string(),
            _ => String::new(),
        };
        link_tx.send(words).unwrap();
        async {}
    });
    let running = tokio::spawn({
        let manager = manager.clone();
        async move { manager.run().await }
    });
    let ends = server.link().await;
    assert_eq!(next(&mut link).await, "up 22.10.1");
    drop(ends);
    assert!(next(&mut link).await.ends_with("closed the connection"));
    let _link = server.link().await;
    assert_eq!(next(&mut link).await, "up 22.10.1");
    manager.close();
    within(running).await.unwrap();
}

#[tokio::test]
async fn a_manager_that_nobody_holds_ends_its_link() {
    let server = FakeAsterisk::bind().await;
    let manager = Manager::new(server.config());
    let (told_tx, mut told_rx) = told();
    manager.on_any(move |_| {
        told_tx.send(String::new()).unwrap();
        async {}
    });
    let client = manager.start();
    let (mut events, _actions) = server.link().await;
    events.send("Event: A\r\n\r\n").await;
    next(&mut told_rx).await;
    drop((manager, client));
    assert!(events.try_action().await.is_none());
    assert!(within(told_rx.recv()).await.is_none(), "the handler's task has ended");
}
