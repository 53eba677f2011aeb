//! A webhook is told of calls on a real Asterisk: signed, in order, and nothing is lost when the gateway is killed between
//! what happens and its telling.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aimg_core::{TapMode, TenantScope, Timestamp, WebhookEvent};
use aimg_store::{NewWebhook, Store};
use aimg_testbed::{Asterisk, Context, Options, Version};
use secrecy::SecretString;
use serde_json::Value;

use crate::bench::{Bench, all_went_well, callee};
use crate::home::Home;
use crate::waiting::eventually;

pub(crate) const SETTINGS: &str = "[webhooks]\nallow_private = '127.0.0.1'\nallow_http = true\ntimeout_ms = 1000\n";
/// What is told of a call whose recording is made, in order.
const OF_A_CALL: [&str; 4] = ["call.detected", "call.answered", "call.ended", "recording.ready"];

/// A message as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    id: String,
    timestamp: i64,
    signature: String,
    pub(crate) body: String,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    pub(crate) fn session(&self) -> Option<String> {
        Some(self.json()["data"]["session"]["id"].as_str()?.to_owned())
    }
}

/// Who is told: a server on loopback that answers 204, or nothing at all.
pub(crate) struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    answers: Arc<AtomicBool>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (received, answers) = (Arc::<Mutex<Vec<Received>>>::default(), Arc::new(AtomicBool::new(true)));
        let (all, answering) = (Arc::clone(&received), Arc::clone(&answers));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (all, answering) = (Arc::clone(&all), Arc::clone(&answering));
                // Whoever breaks off in the middle has not told anything.
                std::thread::spawn(move || serve(connection, &all, &answering));
            }
        });
        Self { address, received, answers }
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// What it was told of calls, by call in the order in which they began, each message once.
    fn calls(&self) -> Vec<(String, Vec<String>)> {
        let mut calls: Vec<(String, Vec<String>)> = Vec::new();
        let mut seen = Vec::new();
        for received in self.received() {
            let Some(session) = received.session().filter(|_| !seen.contains(&received.id)) else { continue };
            seen.push(received.id.clone());
            match calls.iter_mut().find(|(id, _)| *id == session) {
                Some((_, kinds)) => kinds.push(received.kind()),
                None => calls.push((session, vec![received.kind()])),
            }
        }
        calls
    }
}

fn serve(connection: TcpStream, all: &Mutex<Vec<Received>>, answers: &AtomicBool) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end() {
            "" => break,
            line => headers.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let mut pairs = headers.iter().filter_map(|line| line.split_once(": "));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let mut body = vec![0; header("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    all.lock().unwrap().push(Received {
        id: header("webhook-id")?,
        timestamp: header("webhook-timestamp")?.parse().ok()?,
        signature: header("webhook-signature")?,
        body: String::from_utf8(body).ok()?,
    });
    if answers.load(Ordering::Relaxed) {
        (&connection).write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").ok()?;
    } else {
        // Until the other side has had enough.
        let _ = reader.read(&mut [0]);
    }
    Some(())
}

/// Makes a webhook of a tenant that is told everything, and gives its secret.
pub(crate) fn add_webhook(home: &Home, tenant: &str, receiver: &Receiver) -> SecretString {
    let secret = aimg_webhooks::make_secret();
    let url = format!("http://{}/hook", receiver.address);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let key = aimg_store::data_key(None, &home.data("secret.key")).unwrap();
        let store = Store::open_existing(aimg_store::Config::sqlite(home.data("aimg.db")), key).await.unwrap();
        let tenant = store.tenant_by_name(TenantScope::Operator, tenant).await.unwrap().id;
        let events = WebhookEvent::ALL.to_vec();
        let new = NewWebhook { tenant, url, description: String::new(), events, secret: secret.clone() };
        store.add_webhook(TenantScope::Operator, new).await.unwrap();
        store.close().await.unwrap();
    });
    secret
}

/// Waits until it was told all of so many calls.
#[track_caller]
fn told_of_calls(receiver: &Receiver, count: usize) -> Vec<(String, Vec<String>)> {
    eventually(&format!("{count} calls are told"), || {
        let calls = receiver.calls();
        let all = calls.len() == count && calls.iter().all(|(_, kinds)| kinds.len() == OF_A_CALL.len());
        if all { Ok(calls) } else { Err(format!("{calls:?}")) }
    })
}

#[test]
fn calls_are_told_in_order_also_when_the_gateway_is_killed_before_it_could() {
    let asterisk = Asterisk::start(Version::V22, &Options::default()).unwrap();
    let home = Home::with_settings(SETTINGS);
    home.add_pbx(asterisk.access(), TapMode::Hook);
    let mut bench = Bench { home, asterisk };
    let receiver = Receiver::start();
    let secret = add_webhook(&bench.home, "acme", &receiver);
    let gateway = bench.home.serve_linked();
    let mut callee = callee(2);
    let call = || bench.caller(Context::TapHook, &callee).talks_for(Duration::from_secs(1)).start().unwrap();

    all_went_well(&mut call());
    let first = bench.home.finished_call();
    let told = told_of_calls(&receiver, 1);
    assert_eq!(told, [(first.session.id.to_string(), OF_A_CALL.map(str::to_owned).to_vec())]);
    let received = receiver.received();
    for message in &received {
        let at = Timestamp::from_micros(message.timestamp * 1_000_000);
        let signed = aimg_webhooks::sign(std::slice::from_ref(&secret), &message.id, at, &message.body).unwrap();
        assert_eq!(signed, message.signature);
    }
    let ended = received.iter().find(|r| r.kind() == "call.ended").unwrap().json()["data"]["session"].clone();
    assert_eq!(ended["dialled_number"], callee.port().to_string());
    assert_eq!(ended["hangup_cause"], 16);
    let ready = received.iter().find(|r| r.kind() == "recording.ready").unwrap().json()["data"]["recording"].clone();
    assert_eq!((&ready["complete"], ready["bytes"].as_u64()), (&true.into(), Some(first.recordings[0].bytes)));
    assert_eq!(received.iter().filter(|r| r.kind() == "pbx.up").count(), 1, "the PBX is reached");

    // The second call is over and written before anybody could be told of it: the receiver hangs, the gateway is killed.
    receiver.answers.store(false, Ordering::Relaxed);
    let mut second = call();
    [&mut second, &mut callee].into_iter().for_each(all_went_well);
    bench.home.finished_calls(2);
    eventually("the second call is being told", || match receiver.calls().len() {
        2 => Ok(()),
        calls => Err(calls),
    });
    gateway.kill9();
    let untold = receiver.calls()[1].1.clone();
    assert_eq!(untold, OF_A_CALL[..untold.len()], "in order all the same");
    assert!(untold.len() < OF_A_CALL.len(), "it was killed before it could tell all: {untold:?}");
    receiver.answers.store(true, Ordering::Relaxed);
    let gateway = bench.home.serve_linked();
    let told = told_of_calls(&receiver, 2);
    assert_eq!(told[1].1, OF_A_CALL);

    bench.asterisk.kill();
    eventually("that the PBX is down is told", || {
        let last = receiver.received().pop().map(|r| r.json()).unwrap_or_default();
        if last["type"] == "pbx.down" && last["data"]["pbx"]["name"] == "office" { Ok(()) } else { Err(last) }
    });
    assert_eq!(gateway.terminate().code, Some(0));
}
