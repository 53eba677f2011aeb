//! Actions and lists: every caller gets its own answer, or is told what is known.

use std::time::Duration;

use aimg_ami::{Action, ActionError, Client, Config, Events};

use crate::fake_asterisk::{FakeAsterisk, Session, down, up, within};

/// A link that is up.
async fn linked(change: impl FnOnce(&mut Config)) -> (Client, Events, Session, Session) {
    let server = FakeAsterisk::bind().await;
    let mut config = server.config();
    change(&mut config);
    let (client, mut events) = Client::start(config);
    let (event_session, action_session) = server.link().await;
    up(&mut events).await;
    (client, events, event_session, action_session)
}

fn getvar(variable: &str) -> Action {
    Action::getvar(None, variable).expect("the tests' names are on one line")
}

#[tokio::test]
async fn answers_find_who_asked_in_whatever_order_they_come() {
    let (client, _events, _event_session, mut actions) = linked(|_| {}).await;
    let server = async {
        let mut asked = Vec::new();
        for _ in 0..3 {
            asked.push(actions.action().await);
        }
        for action in asked.iter().rev() {
            actions.respond(action, "Success", &format!("Value: {}!\r\n", action.value("Variable"))).await;
        }
    };
    let (a, b, c, ()) =
        tokio::join!(client.send(getvar("a")), client.send(getvar("b")), client.send(getvar("c")), server);
    for (answer, expected) in [(a, "a!"), (b, "b!"), (c, "c!")] {
        assert_eq!(answer.unwrap().first("Value"), Some(expected));
    }
    assert_eq!(client.counts().actions, 4 + 3);
}

#[tokio::test]
async fn a_rejection_says_why() {
    let (client, _events, _event_session, mut actions) = linked(|_| {}).await;
    let server = async {
        let action = actions.action().await;
        actions.respond(&action, "Error", "Message: No such channel\r\n").await;
    };
    let (answer, ()) = tokio::join!(client.send(getvar("a")), server);
    let error = answer.unwrap_err();
    assert!(!error.maybe_done());
    assert_eq!(error.to_string(), "Asterisk rejected Getvar: No such channel");
}

#[tokio::test]
async fn no_answer_in_time_leaves_it_open() {
    let (client, _events, _event_session, mut actions) =
        linked(|config| config.action_timeout = Duration::from_millis(300)).await;
    let error = client.send(getvar("a")).await.unwrap_err();
    assert!(matches!(error, ActionError::TimedOut { action: "Getvar", .. }) && error.maybe_done(), "{error}");

    // The answer that comes too late is nobody's, least of all the next action's.
    let late = actions.action().await;
    actions.respond(&late, "Success", "Value: late\r\n").await;
    let server = async {
        let action = actions.action().await;
        actions.respond(&action, "Success", "Value: b\r\n").await;
    };
    let (answer, ()) = tokio::join!(client.send(getvar("b")), server);
    assert_eq!(answer.unwrap().first("Value"), Some("b"));
    assert_eq!((client.counts().action_timeouts, client.counts().stray_messages), (1, 1));
}

#[tokio::test]
async fn a_lost_link_tells_what_was_sent_and_what_was_not() {
    let (client, mut events, _event_session, mut actions) = linked(|_| {}).await;
    let server = async {
        actions.action().await;
        drop(actions);
    };
    let (answer, ()) = tokio::join!(client.send(getvar("a")), server);
    let error = answer.unwrap_err();
    assert!(matches!(error, ActionError::LinkLost { .. }) && error.maybe_done(), "{error}");
    down(&mut events).await;

    let error = client.send(getvar("b")).await.unwrap_err();
    assert!(matches!(error, ActionError::NotSent { .. }) && !error.maybe_done(), "{error}");
}

#[tokio::test]
async fn more_than_may_wait_wait_for_room() {
    let (client, _events, _event_session, mut actions) = linked(|config| config.actions_max = 2).await;
    let asking: Vec<_> = (0..50)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.send(getvar(&n.to_string())).await })
        })
        .collect();
    for _ in 0..50 {
        let action = actions.action().await;
        actions.respond(&action, "Success", &format!("Value: {}\r\n", action.value("Variable"))).await;
    }
    for (n, asked) in asking.into_iter().enumerate() {
        assert_eq!(within(asked).await.unwrap().unwrap().first("Value"), Some(n.to_string().as_str()));
    }
}

#[tokio::test]
async fn no_room_in_time_is_surely_not_sent() {
    let (client, _events, _event_session, mut actions) = linked(|config| {
        config.actions_max = 1;
        config.action_timeout = Duration::from_millis(300);
        config.list_timeout = Duration::from_secs(60);
    })
    .await;
    let listing = client.clone();
    let _list = tokio::spawn(async move { listing.list(Action::bridge_list()).await });
    // Once its action is here it has taken the only place, until its answer comes.
    actions.action().await;
    let error = within(client.send(getvar("a"))).await.unwrap_err();
    assert!(matches!(error, ActionError::Busy { waiting_max: 1, .. }) && !error.maybe_done(), "{error}");
}

#[tokio::test]
async fn a_list_is_its_items_and_nothing_else() {
    let (client, _events, _event_session, mut actions) = linked(|_| {}).await;
    let server = async {
        let action = actions.action().await;
        let id = action.value("ActionID");
        actions.respond(&action, "Success", "EventList: start\r\n").await;
        actions.send(&format!("Event: Item\r\nActionID: {id}\r\nN: 1\r\n\r\n")).await;
        actions.send("Event: FullyBooted\r\n\r\nEvent: Item\r\nActionID: 999\r\nN: 9\r\n\r\n").await;
        actions.send(&format!("Event: Item\r\nActionID: {id}\r\nN: 2\r\n\r\n")).await;
        actions.send(&format!("Event: Done\r\nEventList: Complete\r\nActionID: {id}\r\n\r\n")).await;
    };
    let (list, ()) = tokio::join!(client.list(Action::bridge_list()), server);
    let list = list.unwrap();
    assert_eq!(list.iter().map(|m| m.first("N")).collect::<Vec<_>>(), [Some("1"), Some("2")]);
    assert_eq!(client.counts().stray_messages, 1);
}

#[tokio::test]
async fn lists_are_bounded_in_length_and_time() {
    let (client, _events, _event_session, mut actions) = linked(|config| {
        config.list_items_max = 3;
        config.list_timeout = Duration::from_millis(300);
    })
    .await;
    let cases = [
        ("N: 1\r\n".to_owned(), 4, true, "more than 3 items"),
        ("N: 1\r\n".to_owned(), 3, false, "no answer within 300 ms"),
        ("EventList: cancelled\r\n".to_owned(), 1, false, "ended it as `cancelled`"),
    ];
    for (item, times, complete, expected) in cases {
        let server = async {
            let action = actions.action().await;
            let id = action.value("ActionID");
            actions.respond(&action, "Success", "EventList: start\r\n").await;
            for _ in 0..times {
                actions.send(&format!("Event: Item\r\nActionID: {id}\r\n{item}\r\n")).await;
            }
            if complete {
                actions.send(&format!("Event: Done\r\nActionID: {id}\r\nEventList: Complete\r\n\r\n")).await;
            }
        };
        let (list, ()) = tokio::join!(client.list(Action::bridge_list()), server);
        let error = list.unwrap_err();
        assert!(error.to_string().contains(expected) && error.maybe_done(), "{error}");
    }
    let server = async {
        let action = actions.action().await;
        actions.respond(&action, "Success", "").await;
    };
    let (list, ()) = tokio::join!(client.list(Action::ping()), server);
    assert!(list.unwrap_err().to_string().contains("without a list"));
}

#[tokio::test]
async fn a_command_gives_its_lines() {
    let (client, _events, _event_session, mut actions) = linked(|_| {}).await;
    let server = async {
        let action = actions.action().await;
        assert_eq!((action.name(), action.value("Command")), ("Command", "core show uptime"));
        actions
            .respond(&action, "Success", "Message: Command output follows\r\nOutput: a: 1\r\nOutput:\r\nOutput: b\r\n")
            .await;
    };
    let (lines, ()) = tokio::join!(client.command("core show uptime"), server);
    assert_eq!(lines.unwrap(), ["a: 1", "", "b"]);

    let server = async {
        let action = actions.action().await;
        let output = "Message: Command output follows\r\nOutput: No such command 'x'\r\n";
        actions.respond(&action, "Error", output).await;
    };
    let (rejected, ()) = tokio::join!(client.command("x"), server);
    assert_eq!(rejected.unwrap_err().to_string(), "Asterisk rejected Command: No such command 'x'");
    let invalid = client.command("a\r\nAction: Originate").await.unwrap_err();
    assert!(invalid.to_string().starts_with("the command cannot be sent: "), "{invalid}");
}
