//! The clients of `fanout`: WebSockets that read as fast as they can and look when each event was sent.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// What the name of each event's queue begins with; its number follows.
pub(crate) const QUEUE: &str = "b";
const SUBSCRIBE: &str = r#"{"type":"subscribe","topics":["calls"]}"#;
const BUFFER_BYTES: usize = 64 << 10;
const TEXT: u8 = 1;
const PING: u8 = 9;

/// When each event was sent, in microseconds since the start; 0 before that.
#[derive(Debug)]
pub(crate) struct Sent {
    start: Instant,
    at_us: Vec<AtomicU64>,
    /// Events before this one are not measured.
    first: usize,
}

impl Sent {
    pub(crate) fn new(events: usize, first: usize) -> Self {
        Self { start: Instant::now(), at_us: (0..events).map(|_| AtomicU64::new(0)).collect(), first }
    }

    /// An event is being sent.
    pub(crate) fn note(&self, event: usize) {
        self.at_us[event].store(self.now_us(), Ordering::Release);
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// What the clients are told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Open so many connections with this token, and subscribe.
    Connect {
        /// How many.
        count: usize,
        /// Who.
        token: String,
    },
}

/// What all clients saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Deliveries by their latency in microseconds; the last place is for all beyond.
    pub(crate) by_us: Vec<u32>,
    /// Events that were measured.
    pub(crate) deliveries: u64,
    /// Of these, those that came.
    pub(crate) last_event: u64,
}

/// Connections that are subscribed, and deliveries, so far: for who waits for them.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) subscribed: AtomicU64,
    pub(crate) delivered: AtomicU64,
}

const SLOWEST_US: usize = 2_000_000;

/// Runs clients on this thread until there are no more orders and `deliveries` have come, or `patience` is over.
pub(crate) fn run(
    gateway: SocketAddr,
    sent: &Arc<Sent>,
    progress: &Arc<Progress>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) -> Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seen = Rc::new(RefCell::new(Seen { by_us: vec![0; SLOWEST_US + 1], ..Seen::default() }));
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        while let Some(Order::Connect { count, token }) = orders.recv().await {
            for _ in 0..count {
                let stream = connect(gateway, &token).await?;
                let client =
                    Client { stream, sent: Arc::clone(sent), progress: Arc::clone(progress), seen: Rc::clone(&seen) };
                tokio::task::spawn_local(async move {
                    if let Err(error) = client.read().await {
                        eprintln!("a client has ended: {error:#}");
                    }
                });
            }
        }
        anyhow::Ok(())
    })?;
    drop(local);
    drop(runtime);
    Ok(Rc::into_inner(seen).context("a client is left")?.into_inner())
}

async fn connect(gateway: SocketAddr, token: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(gateway).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET /api/v1/ws HTTP/1.1\r\nHost: {gateway}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    ensure!(head.starts_with(b"HTTP/1.1 101 "), "no WebSocket: {}", String::from_utf8_lossy(&head));
    stream.write_all(&frame(TEXT, SUBSCRIBE.as_bytes())).await?;
    Ok(stream)
}

/// A short frame of a client, masked with zeros.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
    [&[0x80 | opcode, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

struct Client {
    stream: TcpStream,
    sent: Arc<Sent>,
    progress: Arc<Progress>,
    seen: Rc<RefCell<Seen>>,
}

impl Client {
    async fn read(mut self) -> Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut filled = 0;
        loop {
            let count = self.stream.read(&mut buffer[filled..]).await?;
            ensure!(count > 0, "the gateway has closed the connection");
            filled += count;
            let (mut at, mut pings) = (0, 0);
            let now_us = self.sent.now_us();
            while let Some((opcode, payload, end)) = frame_of(&buffer[at..filled])? {
                match opcode {
                    TEXT => self.text(&buffer[at..at + end][payload..], now_us),
                    PING => pings += 1,
                    other => bail!("a frame of kind {other}: {}", String::from_utf8_lossy(&buffer[at..at + end])),
                }
                at += end;
            }
            buffer.copy_within(at..filled, 0);
            filled -= at;
            for _ in 0..pings {
                self.stream.write_all(&frame(0xa, &[])).await?;
            }
        }
    }

    fn text(&self, text: &[u8], now_us: u64) {
        let Some(event) = event_of(text) else {
            if text.starts_with(br#"{"type":"subscribed""#) {
                self.progress.subscribed.fetch_add(1, Ordering::Relaxed);
            }
            return;
        };
        self.progress.delivered.fetch_add(1, Ordering::Relaxed);
        let mut seen = self.seen.borrow_mut();
        seen.last_event = seen.last_event.max(event as u64);
        if event < self.sent.first {
            return;
        }
        let took_us = now_us.saturating_sub(self.sent.at_us[event].load(Ordering::Acquire));
        let place = usize::try_from(took_us).unwrap_or(SLOWEST_US).min(SLOWEST_US);
        seen.by_us[place] += 1;
        seen.deliveries += 1;
    }
}

/// The number of an event, which is the last thing that its message tells.
fn event_of(text: &[u8]) -> Option<usize> {
    let rest = text.strip_suffix(br#""}}"#)?;
    let digits = rest.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (before, digits) = rest.split_at(rest.len() - digits);
    before.ends_with(format!("\"queue\":\"{QUEUE}").as_bytes()).then_some(())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The frame at the beginning, if it is there as a whole: its kind, where its payload begins, and where it ends.
fn frame_of(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    ensure!(first & 0x80 != 0 && second & 0x80 == 0, "a frame in pieces, or masked");
    let (begin, length) = match (second, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (126 | 127, _) if *second == 126 => return Ok(None),
        (127, _) => bail!("a very long frame"),
        (short, _) => (2, usize::from(*short)),
    };
    let end = begin + length;
    Ok((bytes.len() >= end).then_some((first & 0x0f, begin, end)))
}

/// Waits until a counter has got somewhere.
pub(crate) fn reaches(counter: &AtomicU64, count: u64, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    while counter.load(Ordering::Relaxed) < count {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_where_they_end() {
        let mut bytes = vec![0x81, 2, b'a', b'b', 0x89, 0];
        assert_eq!(frame_of(&bytes).unwrap(), Some((TEXT, 2, 4)));
        assert_eq!(frame_of(&bytes[4..]).unwrap(), Some((PING, 2, 2)));
        assert_eq!(frame_of(&bytes[..3]).unwrap(), None);
        bytes = [vec![0x81, 126, 0, 200], vec![b'x'; 199]].concat();
        assert_eq!(frame_of(&bytes).unwrap(), None);
        assert_eq!(frame_of(&bytes[..3]).unwrap(), None);
        bytes.push(b'x');
        assert_eq!(frame_of(&bytes).unwrap(), Some((TEXT, 4, 204)));
    }

    #[test]
    fn an_event_is_known_by_its_number() {
        let text = br#"{"type":"call","seq":7,"event":"queue_joined","detail":{"queue":"b123"}}"#;
        assert_eq!(event_of(text), Some(123));
        assert_eq!(event_of(br#"{"type":"call","detail":{"queue":"123"}}"#), None);
    }
}
