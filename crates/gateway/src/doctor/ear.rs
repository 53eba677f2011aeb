//! A UDP port that hears everybody, with a ledger for each source: unlike a shard, which throws away what it does not
//! expect, it can tell from where packets came instead.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aimg_core::{Codec, Timestamp};
use aimg_media::Clock;
use aimg_rtp::{Arrival, Ledger, LedgerBuilder, Packet, PayloadType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Sources that are remembered; packets of further ones are not looked at.
const SOURCES_MAX: usize = 256;

/// The longest packet that is heard whole.
const DATAGRAM_BYTES: usize = 2_048;

/// What came from one source.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// The packets of the encoding that was asked for.
    pub(super) ledger: Ledger,
    /// Their jitter in milliseconds.
    pub(super) jitter_ms: f64,
    /// From the first to the last of them.
    pub(super) lasted: Duration,
    /// The longest time between two of them.
    pub(super) pause_max: Duration,
    /// The payload type of packets with another encoding, if there were any.
    pub(super) other_payload_type: Option<u8>,
}

#[derive(Debug)]
struct Track {
    ledger: LedgerBuilder,
    first_at: Option<Timestamp>,
    last_at: Timestamp,
    pause_max: Duration,
    other_payload_type: Option<u8>,
}

#[derive(Debug)]
struct Tracks {
    codec: Codec,
    by_source: BTreeMap<SocketAddr, Track>,
}

/// An open port. It closes when this is dropped.
#[derive(Debug)]
pub(super) struct Ear {
    tracks: Arc<Mutex<Tracks>>,
    task: JoinHandle<()>,
}

impl Ear {
    /// Listens on a socket for RTP in an encoding.
    pub(super) fn open(socket: std::net::UdpSocket, codec: Codec) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // What came while nobody listened.
        let mut datagram = [0; DATAGRAM_BYTES];
        while socket.recv_from(&mut datagram).is_ok() {}
        let socket = UdpSocket::from_std(socket)?;
        let tracks = Arc::new(Mutex::new(Tracks { codec, by_source: BTreeMap::new() }));
        let task = tokio::spawn(listen(socket, Arc::clone(&tracks)));
        Ok(Self { tracks, task })
    }

    /// What a source sent so far.
    pub(super) fn heard(&self, source: SocketAddr) -> Option<Heard> {
        let tracks = self.tracks.lock().unwrap_or_else(PoisonError::into_inner);
        tracks.by_source.get(&source).map(Track::heard)
    }

    /// Everybody who sent RTP so far.
    pub(super) fn sources(&self) -> Vec<SocketAddr> {
        self.tracks.lock().unwrap_or_else(PoisonError::into_inner).by_source.keys().copied().collect()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(socket: UdpSocket, tracks: Arc<Mutex<Tracks>>) {
    let clock = Clock::anchored();
    let mut datagram = [0; DATAGRAM_BYTES];
    loop {
        let Ok((length, source)) = socket.recv_from(&mut datagram).await else { return };
        tracks.lock().unwrap_or_else(PoisonError::into_inner).take(source, &datagram[..length], clock.now());
    }
}

impl Tracks {
    fn take(&mut self, source: SocketAddr, datagram: &[u8], at: Timestamp) {
        let Ok(packet) = Packet::parse(datagram) else { return };
        if self.by_source.len() >= SOURCES_MAX && !self.by_source.contains_key(&source) {
            return;
        }
        let codec = self.codec;
        let track = self.by_source.entry(source).or_insert_with(|| Track {
            ledger: LedgerBuilder::new(codec.sample_rate_hz()),
            first_at: None,
            last_at: at,
            pause_max: Duration::ZERO,
            other_payload_type: None,
        });
        if packet.payload_type != PayloadType(codec.payload_type()) {
            track.other_payload_type = Some(packet.payload_type.0);
            return;
        }
        if track.first_at.is_some() {
            track.pause_max = track.pause_max.max(at.since(track.last_at));
        }
        track.first_at.get_or_insert(at);
        track.last_at = at;
        track.ledger.observe(Arrival::of(&packet, at, 0));
    }
}

impl Track {
    fn heard(&self) -> Heard {
        Heard {
            ledger: self.ledger.ledger(),
            jitter_ms: self.ledger.facts().jitter_ms,
            lasted: self.first_at.map_or(Duration::ZERO, |first| self.last_at.since(first)),
            pause_max: self.pause_max,
            other_payload_type: self.other_payload_type,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(payload_type: u8, seq: u8) -> [u8; 14] {
        [0x80, payload_type, 0, seq, 0, 0, 0, 0, 0, 0, 0, 9, 0xff, 0xff]
    }

    #[test]
    fn each_source_has_a_ledger_of_its_own() {
        let mut tracks = Tracks { codec: Codec::Ulaw, by_source: BTreeMap::new() };
        let [one, two, three]: [SocketAddr; 3] = [7, 8, 9].map(|port| ([127, 0, 0, 1], port).into());
        for seq in [0, 1, 3] {
            tracks.take(one, &packet(0, seq), Timestamp::from_micros(i64::from(seq) * 20_000));
        }
        tracks.take(two, &packet(8, 0), Timestamp::default());
        tracks.take(three, b"not RTP", Timestamp::default());
        let heard = tracks.by_source[&one].heard();
        assert_eq!((heard.ledger.received, heard.ledger.lost), (3, 1));
        assert_eq!((heard.lasted, heard.pause_max), (Duration::from_millis(60), Duration::from_millis(40)));
        let other = tracks.by_source[&two].heard();
        assert_eq!((other.ledger.received, other.other_payload_type), (0, Some(8)));
        assert!(!tracks.by_source.contains_key(&three));
    }

    #[test]
    fn sources_are_bounded() {
        let mut tracks = Tracks { codec: Codec::Ulaw, by_source: BTreeMap::new() };
        for port in 1..1_000 {
            tracks.take(([127, 0, 0, 1], port).into(), &packet(0, 0), Timestamp::default());
        }
        assert_eq!(tracks.by_source.len(), SOURCES_MAX);
    }
}
