//! What happens to calls is told over the WebSocket as it happens, in the order in which it is kept, and also while nothing
//! can be kept.

use std::net::TcpStream;
use std::time::Duration;

use aimg_core::TapMode;
use aimg_testbed::{Context, Version};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::{IntoClientRequest, client};
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use crate::api::Api;
use crate::bench::{Bench, all_went_well, callee};
use crate::database_locked::Locker;
use crate::waiting::PATIENCE;

pub(crate) struct Listener(WebSocket<TcpStream>);

impl Listener {
    /// Of somebody who is logged in.
    pub(crate) fn connect(api: &Api) -> Self {
        let mut request = format!("ws://{}/api/v1/ws", api.address()).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", api.token()).parse().unwrap());
        let stream = TcpStream::connect(api.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut listener = Self(client(request, stream).unwrap().0);
        assert_eq!(listener.next()["type"], "welcome");
        listener
    }

    /// Has something done, which must be; what Asterisk did.
    #[track_caller]
    pub(crate) fn done(&mut self, mut order: Value) -> Value {
        order["id"] = json!("an order");
        self.0.send(Message::text(order.to_string())).unwrap();
        let mut answer = self.next();
        assert_eq!((&answer["type"], &answer["id"]), (&json!("done"), &order["id"]), "{order}: {answer}");
        answer["outcome"].take()
    }

    /// Of these topics.
    pub(crate) fn subscribed(api: &Api, topics: &[&str]) -> Self {
        let mut listener = Self::connect(api);
        let subscribe = json!({ "type": "subscribe", "topics": topics });
        listener.0.send(Message::text(subscribe.to_string())).unwrap();
        assert_eq!(listener.next()["type"], "subscribed");
        listener
    }

    /// The next message.
    pub(crate) fn next(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// The notices of a call, up to the event of this name or the change to this state.
    fn until(&mut self, last: &str) -> Vec<Value> {
        let mut notices = Vec::new();
        loop {
            let notice = self.next();
            let (is_last, is_state) = (notice["event"] == last, notice["detail"]["state"] == last);
            notices.push(notice);
            if is_last || is_state {
                return notices;
            }
        }
    }
}

/// The states of a call as its snapshots tell them.
fn states(notices: &[Value]) -> Vec<&str> {
    notices.iter().filter_map(|notice| notice["call"]["state"].as_str()).collect()
}

#[test]
fn a_call_is_told_as_it_happens() {
    let mut bench = Bench::new(Version::V22, TapMode::Hook);
    Api::add_superuser(&bench.home);
    let gateway = bench.home.serve_linked();
    let api = Api::log_in(gateway.http());
    let mut calls = Listener::subscribed(&api, &["calls"]);
    let mut notifications = Listener::subscribed(&api, &["notifications", "system"]);
    let mut callee = callee(2);
    let caller = |talk| bench.caller(Context::TapHook, &callee).talks_for(talk).start().unwrap();

    let mut first = caller(Duration::from_secs(1));
    let notices = calls.until("recording_ready");
    all_went_well(&mut first);
    let kept = bench.home.finished_call();
    let told: Vec<_> = notices.iter().map(|notice| notice["event"].as_str().unwrap()).collect();
    let stored: Vec<_> = kept.events.iter().map(|event| event.kind.name()).collect();
    assert_eq!(told, stored, "all that is kept is told, in its order");
    assert!(notices.is_sorted_by_key(|notice| notice["seq"].as_u64()), "{notices:?}");
    for notice in &notices {
        assert_eq!(notice["session"], kept.session.id.to_string());
        assert_eq!(notice["tenant"], kept.session.tenant.to_string());
    }
    assert_eq!(states(&notices), ["detected", "ringing", "answered", "capturing", "ended"]);
    let snapshot = &notices.iter().rfind(|notice| notice["call"].is_object()).unwrap()["call"];
    assert_eq!(snapshot["dialled_number"].as_str(), kept.session.dialled_number.as_deref());
    assert_eq!(snapshot["ended_at"], kept.session.ended_at.unwrap().to_string());
    let notified = notifications.next();
    assert_eq!((&notified["event"], &notified["session"]), (&json!("recording_ready"), &notices[0]["session"]));

    // Nothing can be written: what happens is told all the same.
    let locker = Locker::holds(&bench.home);
    let mut second = caller(Duration::from_secs(1));
    let notices = calls.until("ended");
    [&mut second, &mut callee].into_iter().for_each(all_went_well);
    assert_eq!(states(&notices), ["detected", "ringing", "answered", "capturing", "ended"]);
    assert_eq!(bench.home.all_calls().len(), 1, "of the second one nothing is kept yet");
    locker.lets_go();
    bench.home.finished_calls(2);
    assert_eq!(calls.until("recording_ready").last().unwrap()["session"], notices[0]["session"]);

    // A PBX that goes away is told too.
    bench.asterisk.kill();
    let down = loop {
        let notice = notifications.next();
        if notice["type"] == "link" {
            break notice;
        }
    };
    assert_eq!((&down["name"], &down["up"]), (&json!("office"), &json!(false)));
    assert!(down["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{down}");
}
