//! An AMI server that does what a test tells it to: for faults that a real Asterisk cannot be made to show.

use std::future::Future;
use std::time::Duration;

use aimg_ami::{Config, Events, Notice, Up};
use secrecy::SecretString;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the fake takes for the challenge 840415273 and the secret `secret`.
const KEY: &str = "81c3ab5534a432bec402f6d988ee45b4";

/// A bound for what should happen at once, on a machine with other things to do.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for what must happen.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("it should have happened by now")
}

pub(crate) async fn next(events: &mut Events) -> Notice {
    within(events.next()).await.expect("the client was not closed")
}

pub(crate) async fn up(events: &mut Events) -> Up {
    match next(events).await {
        Notice::Up(up) => up,
        other => panic!("not up but {other:?}"),
    }
}

pub(crate) async fn event(events: &mut Events) -> aimg_ami::Event {
    match next(events).await {
        Notice::Event { event, .. } => event,
        other => panic!("no event but {other:?}"),
    }
}

pub(crate) async fn down(events: &mut Events) -> aimg_ami::Error {
    match next(events).await {
        Notice::Down { error, .. } => error,
        other => panic!("not down but {other:?}"),
    }
}

pub(crate) struct FakeAsterisk {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl FakeAsterisk {
    pub(crate) async fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port"), tls: None }
    }

    pub(crate) async fn bind_tls(acceptor: TlsAcceptor) -> Self {
        Self { tls: Some(acceptor), ..Self::bind().await }
    }

    /// Settings that log in here and come back quickly.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new("127.0.0.1", "aimg", SecretString::from("secret"));
        config.port = self.listener.local_addr().expect("it is bound").port();
        config.reconnect_delay_min = Duration::from_millis(1);
        config.reconnect_delay_max = Duration::from_millis(20);
        config.refused_delay = Duration::from_millis(1);
        config
    }

    pub(crate) async fn accept(&self) -> Session {
        let (stream, _) = within(self.listener.accept()).await.expect("it listens");
        Session(BufReader::new(match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(within(tls.accept(stream)).await.expect("the client trusts us")),
        }))
    }

    /// Accepts connections whose handshake fails, for ever.
    pub(crate) async fn refuse_handshakes(&self) {
        let tls = self.tls.as_ref().expect("it is bound with TLS");
        loop {
            let (stream, _) = self.listener.accept().await.expect("it listens");
            assert!(tls.accept(stream).await.is_err(), "the client must not trust us");
        }
    }

    /// Accepts a connection and lets it log in; returns it with its mask of events.
    pub(crate) async fn logged_in(&self) -> (Session, String) {
        let mut session = self.accept().await;
        session.send("Asterisk Call Manager/11.0.0\r\n").await;
        let mut action = session.action().await;
        if action.name() == "Challenge" {
            assert_eq!(action.value("AuthType"), "MD5");
            session.respond(&action, "Success", "Challenge: 840415273\r\n").await;
            action = session.action().await;
            assert_eq!((action.value("AuthType"), action.value("Key")), ("MD5", KEY));
        } else {
            assert_eq!(action.value("Secret"), "secret");
        }
        assert_eq!((action.name(), action.value("Username")), ("Login", "aimg"));
        session.respond(&action, "Success", "Message: Authentication accepted\r\n").await;
        (session, action.value("Events").to_owned())
    }

    /// Accepts a whole link whose server has no channels.
    pub(crate) async fn link(&self) -> (Session, Session) {
        let (events, mask) = self.logged_in().await;
        assert_eq!(mask, "call,system");
        let (mut actions, mask) = self.logged_in().await;
        assert_eq!(mask, "off");
        actions.answer_resync(&[]).await;
        (events, actions)
    }
}

/// One connection, seen from the server.
pub(crate) struct Session(BufReader<Box<dyn Socket>>);

/// A socket with TLS or without.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// An action as it came.
pub(crate) struct Received(Vec<(String, String)>);

impl Received {
    pub(crate) fn name(&self) -> &str {
        self.value("Action")
    }

    pub(crate) fn value(&self, key: &str) -> &str {
        self.0.iter().find(|(k, _)| k == key).map_or("", |(_, value)| value)
    }
}

impl Session {
    /// Sends, if the client is still there; that it has gone shows in [`Session::try_action`].
    pub(crate) async fn send(&mut self, text: &str) {
        let _ = self.0.write_all(text.as_bytes()).await;
        let _ = self.0.flush().await;
    }

    /// The next action, or nothing once the client has gone.
    pub(crate) async fn try_action(&mut self) -> Option<Received> {
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if within(self.0.read_line(&mut line)).await.unwrap_or(0) == 0 {
                return None;
            }
            let line = line.strip_suffix("\r\n").expect("the client ends lines as it should");
            match line.split_once(": ") {
                Some((key, value)) => headers.push((key.to_owned(), value.to_owned())),
                None => return Some(Received(headers)),
            }
        }
    }

    pub(crate) async fn action(&mut self) -> Received {
        self.try_action().await.expect("the client is still there")
    }

    pub(crate) async fn respond(&mut self, action: &Received, response: &str, more: &str) {
        let id = action.value("ActionID");
        self.send(&format!("Response: {response}\r\nActionID: {id}\r\n{more}\r\n")).await;
    }

    pub(crate) async fn list(&mut self, action: &Received, items: &[&str]) {
        let id = action.value("ActionID");
        self.respond(action, "Success", "EventList: start\r\nMessage: will follow\r\n").await;
        for item in items {
            self.send(&format!("Event: Item\r\nActionID: {id}\r\n{item}\r\n")).await;
        }
        self.send(&format!("Event: ListComplete\r\nActionID: {id}\r\nEventList: Complete\r\n\r\n")).await;
    }

    pub(crate) async fn answer_resync(&mut self, channels: &[&str]) {
        let mut answered = 0;
        while answered < 4 {
            let action = self.action().await;
            answered += 1;
            match action.name() {
                // A slow test machine lets pings come in between.
                "Ping" => answered -= 1,
                "CoreSettings" => {
                    self.respond(&action, "Success", "AsteriskVersion: 22.10.1\r\nSystemName: pbx\r\n").await
                }
                "CoreStatus" => {
                    let started = "CoreStartupDate: 2026-01-31\r\nCoreStartupTime: 12:00:00\r\n";
                    self.respond(&action, "Success", started).await;
                }
                "CoreShowChannels" => self.list(&action, channels).await,
                "BridgeList" => self.list(&action, &["BridgeUniqueid: b-1\r\n"]).await,
                other => panic!("{other} is no part of a resync"),
            }
        }
    }
}
