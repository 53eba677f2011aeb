//! Where Asterisk connects to us (`type=outbound_websocket` in ari.conf, Asterisk 20.15, 21.10, 22.5, 23.0 and later).
//!
//! One port serves every PBX: each has a path, a user and a password of its own. Who does not know them is told nothing and
//! costs one bounded handshake. Of two connections to one path the newer counts: Asterisk makes it when the older is dead.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use crate::config::{ConfigError, MESSAGE_BYTES_MAX};
use crate::counters::{Counter, ListenerCounts};
use crate::http::Http;
use crate::socket::Wire;

/// How long a handshake may take, TLS included.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);

/// Handshakes at once; more connections are closed. Many times what PBXs need that all come back together.
const HANDSHAKES_MAX: usize = 256;

/// After an accept that failed, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How one PBX is known when it connects to us.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// The path of `uri` in websocket_client.conf, such as `/ari/pbx1`; of one PBX alone.
    pub path: String,
    /// Its `username`.
    pub user: String,
    /// Its `password`.
    pub password: SecretString,
}

/// A port where PBXs arrive. Ends when it is dropped; connections that were made live on.
#[derive(Debug)]
pub struct Listener {
    doors: Arc<Doors>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Doors {
    by_path: Mutex<HashMap<String, Arc<Door>>>,
    handshakes: Semaphore,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: Counter,
    refused: Counter,
    crowded_out: Counter,
    failed: Counter,
}

#[derive(Debug)]
struct Door {
    /// Marked sensitive: `Debug` does not show it.
    authorization: HeaderValue,
    newest: Mutex<Option<WebSocketStream<Box<dyn Wire>>>>,
    arrived: Notify,
}

impl Listener {
    /// Listens, within a tokio runtime; with TLS where a configuration is given.
    pub async fn bind(address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let doors = Arc::new(Doors {
            by_path: Mutex::default(),
            handshakes: Semaphore::new(HANDSHAKES_MAX),
            counters: Counters::default(),
        });
        let accepting = tokio::spawn(accept(listener, tls.map(TlsAcceptor::from), doors.clone()));
        Ok(Self { doors, address, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happened so far, counted.
    pub fn counts(&self) -> ListenerCounts {
        let Counters { accepted, refused, crowded_out, failed } = &self.doors.counters;
        ListenerCounts {
            accepted: accepted.value(),
            refused: refused.value(),
            crowded_out: crowded_out.value(),
            failed: failed.value(),
        }
    }

    /// Lets a PBX in, for as long as the arrivals are held.
    pub(crate) fn open(&self, entrance: &Entrance, http: &Http) -> Result<Arrivals, ConfigError> {
        let taken = || ConfigError::BadEntrance { path: entrance.path.clone() };
        if !entrance.path.starts_with('/') || entrance.path.contains(['?', '#']) {
            return Err(taken());
        }
        let authorization = http.basic_auth(&entrance.user, &entrance.password).ok_or_else(taken)?;
        let door = Arc::new(Door { authorization, newest: Mutex::default(), arrived: Notify::new() });
        let mut by_path = lock(&self.doors.by_path);
        if by_path.contains_key(&entrance.path) {
            return Err(taken());
        }
        by_path.insert(entrance.path.clone(), door.clone());
        drop(by_path);
        Ok(Arrivals { doors: self.doors.clone(), path: entrance.path.clone(), door })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The connections that one PBX makes. The door closes on drop.
#[derive(Debug)]
pub(crate) struct Arrivals {
    doors: Arc<Doors>,
    path: String,
    door: Arc<Door>,
}

impl Arrivals {
    /// The newest connection that was not taken yet.
    pub(crate) async fn next(&self) -> WebSocketStream<Box<dyn Wire>> {
        loop {
            let arrived = self.door.arrived.notified();
            if let Some(newest) = lock(&self.door.newest).take() {
                return newest;
            }
            arrived.await;
        }
    }

    /// Waits until there is one, and leaves it.
    pub(crate) async fn arrived(&self) {
        loop {
            let arrived = self.door.arrived.notified();
            if lock(&self.door.newest).is_some() {
                return;
            }
            arrived.await;
        }
    }

    /// For messages.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        lock(&self.doors.by_path).remove(&self.path);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds one can panic halfway through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, doors: Arc<Doors>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            doors.counters.failed.add();
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (tls, doors) = (tls.clone(), doors.clone());
        tokio::spawn(async move {
            let Ok(_place) = doors.handshakes.try_acquire() else {
                doors.counters.crowded_out.add();
                return;
            };
            match timeout(HANDSHAKE_TIME_MAX, enter(stream, tls, &doors)).await {
                Ok(Ok(())) => doors.counters.accepted.add(),
                Ok(Err(Stay::Unknown)) => doors.counters.refused.add(),
                Ok(Err(Stay::Failed)) | Err(_) => doors.counters.failed.add(),
            }
        });
    }
}

/// Why somebody was not let in.
enum Stay {
    /// Path, user or password are nobody's.
    Unknown,
    /// It spoke no TLS, or no WebSocket.
    Failed,
}

async fn enter(stream: TcpStream, tls: Option<TlsAcceptor>, doors: &Doors) -> Result<(), Stay> {
    stream.set_nodelay(true).map_err(|_| Stay::Failed)?;
    let wire: Box<dyn Wire> = match tls {
        Some(tls) => Box::new(tls.accept(stream).await.map_err(|_| Stay::Failed)?),
        None => Box::new(stream),
    };
    let mut known = None;
    let mut stay = Stay::Failed;
    #[allow(clippy::result_large_err)] // the WebSocket library's own signature
    let look = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let Some(door) = doors.door(request) else {
            stay = Stay::Unknown;
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = StatusCode::UNAUTHORIZED;
            return Err(refusal);
        };
        if request.headers().contains_key(SEC_WEBSOCKET_PROTOCOL) {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("ari"));
        }
        known = Some(door);
        Ok(response)
    };
    let limits =
        WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
    let accepted = accept_hdr_async_with_config(wire, look, Some(limits)).await;
    let (Ok(socket), Some(door)) = (accepted, known) else { return Err(stay) };
    // What it replaces is closed by being dropped, after the lock is free.
    let _older = lock(&door.newest).replace(socket);
    door.arrived.notify_waiters();
    Ok(())
}

impl Doors {
    /// The door of a request that knows everything; whether a path exists is not told to others.
    fn door(&self, request: &Request) -> Option<Arc<Door>> {
        let door = lock(&self.by_path).get(request.uri().path()).cloned()?;
        let given = request.headers().get(AUTHORIZATION)?;
        equal(given.as_bytes(), door.authorization.as_bytes()).then_some(door)
    }
}

/// In a time that does not tell how much of it is right.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}
