//! The clients of `fanout`: one thread that reads all sockets as fast as it can and looks when each event was sent.
//!
//! They are no WebSocket library on purpose: what they take of the machine is taken from what is measured.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// What the name of each event's queue begins with; its number follows.
pub(crate) const QUEUE: &str = "b";
/// What a message of an event says before its number, and after it.
const BEFORE_NUMBER: &[u8] = br#""queue":"b"#;
const AFTER_NUMBER: &[u8] = br#""}}"#;
const SUBSCRIBE: &str = r#"{"type":"subscribe","topics":["calls"]}"#;
/// What is read at once, of whichever client.
const BUFFER_BYTES: usize = 256 << 10;
const READY_MAX: usize = 256;
/// How soon clients are read that have just come.
const LOOKS_EVERY_MS: u16 = 20;
const SLOWEST_US: usize = 2_000_000;
const TEXT: u8 = 1;
const PING: u8 = 9;
const PONG: u8 = 10;

/// When each event was sent, in microseconds since the start; 0 before that.
#[derive(Debug)]
pub(crate) struct Sent {
    start: Instant,
    at_us: Vec<AtomicU64>,
    /// Events before this one are not measured.
    first: AtomicU64,
}

impl Sent {
    /// Times of so many events.
    pub(crate) fn new(events: usize) -> Self {
        let at_us = (0..events).map(|_| AtomicU64::new(0)).collect();
        Self { start: Instant::now(), at_us, first: AtomicU64::new(0) }
    }

    /// An event is being sent.
    pub(crate) fn note(&self, event: usize) {
        self.at_us[event].store(self.now_us(), Ordering::Release);
    }

    /// An event was to be sent at this time, and is.
    pub(crate) fn note_due(&self, event: usize, due: Instant) {
        let us = due.saturating_duration_since(self.start).as_micros();
        self.at_us[event].store(u64::try_from(us).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// What all clients saw of the events that are measured.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Deliveries by their latency in microseconds; the last place is for all beyond.
    by_us: Vec<u32>,
    deliveries: u64,
    /// The last event's message: what a client is sent for one.
    pub(crate) message: Vec<u8>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { by_us: vec![0; SLOWEST_US + 1], deliveries: 0, message: Vec::new() }
    }
}

impl Seen {
    /// The latency below which this share of the deliveries is, in milliseconds.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = (self.deliveries as f64 * share).ceil() as u64;
        let mut counted = 0;
        for (us, count) in self.by_us.iter().enumerate() {
            counted += u64::from(*count);
            if counted >= wanted {
                return us as f64 / 1_000.0;
            }
        }
        f64::INFINITY
    }
}

/// How far all clients are.
#[derive(Debug, Default)]
struct Progress {
    subscribed: AtomicU64,
    delivered: AtomicU64,
    seen: Mutex<Seen>,
}

/// Clients, and the thread that reads them; dropped, all are closed.
#[derive(Debug)]
pub(crate) struct Clients {
    sent: Arc<Sent>,
    progress: Arc<Progress>,
    /// Ends the thread when it is dropped.
    sockets: Option<Sender<TcpStream>>,
    thread: Option<JoinHandle<Result<()>>>,
    count: u64,
}

impl Clients {
    /// None yet.
    pub(crate) fn start(sent: &Arc<Sent>) -> Self {
        let (sockets, given) = channel();
        let progress = Arc::<Progress>::default();
        let reader = (Arc::clone(sent), Arc::clone(&progress));
        let thread = std::thread::spawn(move || read_all(&reader.0, &reader.1, &given));
        Self { sent: Arc::clone(sent), progress, sockets: Some(sockets), thread: Some(thread), count: 0 }
    }

    /// One that is subscribed to all calls of whom the token is.
    pub(crate) fn subscribe(&mut self, gateway: SocketAddr, token: &str) -> Result<()> {
        let mut stream = TcpStream::connect(gateway)?;
        let request = format!(
            "GET /api/v1/ws HTTP/1.1\r\nHost: {gateway}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            ensure!(stream.read(&mut byte)? == 1, "no WebSocket: {}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        ensure!(head.starts_with(b"HTTP/1.1 101 "), "no WebSocket: {}", String::from_utf8_lossy(&head));
        stream.write_all(&frame(TEXT, SUBSCRIBE.as_bytes()))?;
        self.add(stream)
    }

    /// One that is connected.
    pub(crate) fn add(&mut self, stream: TcpStream) -> Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        self.count += 1;
        self.sockets.as_ref().context("it runs")?.send(stream).map_err(|_| anyhow!("the clients' thread has ended"))
    }

    /// Waits until every client knows that it is subscribed.
    pub(crate) fn await_subscribed(&mut self, patience: Duration) -> Result<()> {
        self.reaches(|progress| &progress.subscribed, self.count, patience, "clients are subscribed")
    }

    /// What is seen from here on, of events from this one on, is measured.
    pub(crate) fn measure_from(&self, event: usize) {
        *self.seen() = Seen::default();
        self.sent.first.store(event as u64, Ordering::Release);
    }

    /// Waits until so many events were delivered, measured or not; what was seen of those that are.
    pub(crate) fn await_delivered(&mut self, deliveries: u64, patience: Duration) -> Result<Seen> {
        self.reaches(|progress| &progress.delivered, deliveries, patience, "deliveries came")?;
        self.progress.delivered.store(0, Ordering::Release);
        Ok(std::mem::take(&mut *self.seen()))
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.progress.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reaches(
        &mut self,
        counter: impl Fn(&Progress) -> &AtomicU64,
        count: u64,
        patience: Duration,
        what: &str,
    ) -> Result<()> {
        let until = Instant::now() + patience;
        while counter(&self.progress).load(Ordering::Acquire) < count {
            if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
                let ended = self.thread.take().context("it runs")?.join();
                ended.map_err(|_| anyhow!("the clients' thread broke off"))?.context("a client has ended")?;
                bail!("the clients' thread has ended");
            }
            ensure!(Instant::now() < until, "{} of {count} {what}", counter(&self.progress).load(Ordering::Acquire));
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        drop(self.sockets.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Client {
    stream: TcpStream,
    /// The beginning of a frame whose end has not come.
    rest: Vec<u8>,
}

fn read_all(sent: &Sent, progress: &Progress, given: &Receiver<TcpStream>) -> Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut clients: Vec<Client> = Vec::new();
    let mut ready = [EpollEvent::empty(); READY_MAX];
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        loop {
            match given.try_recv() {
                Ok(stream) => {
                    epoll.add(stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, clients.len() as u64))?;
                    clients.push(Client { stream, rest: Vec::new() });
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => break,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return Ok(()),
            }
        }
        let count = epoll.wait(&mut ready, EpollTimeout::from(LOOKS_EVERY_MS))?;
        let mut seen = progress.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for event in &ready[..count] {
            let client = &mut clients[usize::try_from(event.data())?];
            client.read(&mut buffer, sent, progress, &mut seen)?;
        }
    }
}

impl Client {
    fn read(&mut self, buffer: &mut [u8], sent: &Sent, progress: &Progress, seen: &mut Seen) -> Result<()> {
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        let read = match self.stream.read(&mut buffer[kept..]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            read => read?,
        };
        ensure!(read > 0, "the gateway has closed the connection");
        let bytes = &buffer[..kept + read];
        let (now_us, first) = (sent.now_us(), sent.first.load(Ordering::Acquire));
        let (mut at, mut delivered) = (0, 0);
        while let Some((opcode, begin, end)) = frame_of(&bytes[at..])? {
            let payload = &bytes[at + begin..at + end];
            match opcode {
                TEXT => match event_of(payload) {
                    Some(event) => {
                        delivered += 1;
                        if event as u64 >= first {
                            let at_us = sent.at_us.get(event).context("no such event")?.load(Ordering::Acquire);
                            let took_us = usize::try_from(now_us.saturating_sub(at_us)).unwrap_or(SLOWEST_US);
                            seen.by_us[took_us.min(SLOWEST_US)] += 1;
                            seen.deliveries += 1;
                            if seen.message.is_empty() {
                                seen.message = payload.to_vec();
                            }
                        }
                    }
                    None if payload.starts_with(br#"{"type":"subscribed""#) => {
                        progress.subscribed.fetch_add(1, Ordering::Release);
                    }
                    None if payload.starts_with(br#"{"type":"lagged""#) => bail!("a client was skipped ahead"),
                    None => {}
                },
                PING => self.stream.write_all(&frame(PONG, &[]))?,
                other => bail!("a frame of kind {other}: {}", String::from_utf8_lossy(payload)),
            }
            at += end;
        }
        self.rest.clear();
        self.rest.extend_from_slice(&bytes[at..]);
        progress.delivered.fetch_add(delivered, Ordering::Release);
        Ok(())
    }
}

/// A frame as a server sends it, of an event's message with another number.
pub(crate) fn frame_like(message: &[u8], event: usize) -> Result<Vec<u8>> {
    let (before, _) = numbered(message).context("no event's message")?;
    let payload = [before, event.to_string().as_bytes(), AFTER_NUMBER].concat();
    let mut frame = vec![0x80 | TEXT];
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(length),
        _ => {
            frame.push(126);
            frame.extend(u16::try_from(payload.len())?.to_be_bytes());
        }
    }
    frame.extend(payload);
    Ok(frame)
}

/// A short frame of a client, masked with zeros.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
    [&[0x80 | opcode, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// The number of an event, which is the last thing that its message tells.
fn event_of(text: &[u8]) -> Option<usize> {
    let (_, digits) = numbered(text)?;
    digits.iter().try_fold(0_usize, |n, digit| n.checked_mul(10)?.checked_add(usize::from(digit - b'0')))
}

/// An event's message up to its number, and the number.
fn numbered(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = text.strip_suffix(AFTER_NUMBER)?;
    let digits = rest.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (before, digits) = rest.split_at(rest.len() - digits);
    (before.ends_with(BEFORE_NUMBER) && !digits.is_empty()).then_some((before, digits))
}

/// The frame at the beginning, if it is there as a whole: its kind, where its payload begins, and where it ends.
fn frame_of(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    ensure!(first & 0x80 != 0 && second & 0x80 == 0, "a frame in pieces, or masked");
    let (begin, length) = match (second, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (126, _) => return Ok(None),
        (127, _) => bail!("a very long frame"),
        (short, _) => (2, usize::from(*short)),
    };
    let end = begin + length;
    Ok((bytes.len() >= end).then_some((first & 0x0f, begin, end)))
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
        for not in [&br#"{"type":"call","detail":{"queue":"123"}}"#[..], br#"{"type":"call","detail":{"queue":"b"}}"#] {
            assert_eq!(event_of(not), None);
        }
        for (event, long) in [(4_711, 0), (0, 200)] {
            let message = [format!("{{\"x\":\"{}\",", "x".repeat(long)).as_bytes(), &text[1..]].concat();
            let frame = frame_like(&message, event).unwrap();
            let (opcode, begin, end) = frame_of(&frame).unwrap().unwrap();
            assert_eq!((opcode, end, event_of(&frame[begin..end])), (TEXT, frame.len(), Some(event)));
        }
    }
}
