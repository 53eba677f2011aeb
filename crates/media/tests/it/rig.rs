//! What the tests stand on: a media plane in a directory of its own, senders, and what their spools hold.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aimg_core::{Codec, Direction, FlowId, SessionId};
use aimg_media::{
    Clock, Closed, Config, Event, Events, FlowSpec, Inheritance, LeftSpool, Media, MediaStats, Resumed, bind_ports,
};
use aimg_rtp::{Arrival, Ledger, LedgerBuilder, Packet};
use aimg_spool::{Damage, FlowMeta, Reader};
use tempfile::TempDir;

/// How long anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Packets sent before the receiver must have taken them: less than any socket's buffer, and than half a chunk.
const BURST: usize = 64;

pub(crate) struct Rig {
    pub(crate) media: Media,
    pub(crate) events: Events,
    directory: TempDir,
    /// Where the ends of spools are, if in memory.
    memory: Option<TempDir>,
}

pub(crate) fn small() -> Config {
    Config { chunk_bytes: 64 << 10, flows_max: 64, ..Config::default() }
}

pub(crate) fn flow_id(session: u32, direction: Direction) -> FlowId {
    FlowId { session: session_id(session), part: 0, direction }
}

fn session_id(n: u32) -> SessionId {
    format!("0198c1de-1111-7000-8000-{n:012x}").parse().unwrap()
}

impl Rig {
    pub(crate) fn new(config: Config) -> Self {
        let (media, events) = Media::start(config).unwrap();
        Self { media, events, directory: tempfile::tempdir().unwrap(), memory: None }
    }

    /// One that keeps the ends of its spools in memory.
    pub(crate) fn in_memory(config: Config, directory: TempDir) -> Self {
        Self { directory, memory: Some(memory()), ..Self::new(config) }
    }

    /// One whose sockets and directory outlive it; see [`Rig::dies`].
    pub(crate) fn with_heirs(config: Config) -> (Self, Vec<UdpSocket>) {
        let sockets = bind_ports(&config).unwrap();
        let dirs = (tempfile::tempdir().unwrap(), Some(memory()));
        let rig = Self::heir(config, &sockets, dirs, vec![]).0;
        (rig, sockets)
    }

    fn heir(
        config: Config,
        sockets: &[UdpSocket],
        (directory, memory): (TempDir, Option<TempDir>),
        spools: Vec<LeftSpool>,
    ) -> (Self, Vec<Resumed>) {
        let sockets = sockets.iter().map(|s| s.try_clone().unwrap()).collect();
        let inheritance =
            Inheritance { sockets, clock: Clock::anchored(), batch_dir: directory.path().to_owned(), spools };
        let (media, events, resumed) = Media::take_over(config, inheritance).unwrap();
        (Self { media, events, directory, memory }, resumed)
    }

    /// The end of a process in the middle of everything, `meanwhile`, and its successor, which takes over these flows.
    pub(crate) fn dies(
        self,
        config: Config,
        sockets: &[UdpSocket],
        flows: &[FlowId],
        meanwhile: impl FnOnce(),
    ) -> (Self, Vec<Resumed>) {
        let left = |id: &FlowId| LeftSpool { path: self.spool_path(*id), live_path: self.live_path(*id) };
        let spools = flows.iter().map(left).collect();
        let Self { media, events, directory, memory } = self;
        drop((media, events));
        meanwhile();
        Self::heir(config, sockets, (directory, memory), spools)
    }

    pub(crate) fn spec(&self, id: FlowId) -> FlowSpec {
        let meta = FlowMeta {
            tenant: "0198c1de-2222-7000-8000-000000000000".parse().unwrap(),
            session: id.session,
            part: id.part,
            direction: id.direction,
            codec: Codec::Ulaw,
            opened_at: self.media.clock().now(),
            pbx: "0198c1de-3333-7000-8000-000000000000".parse().unwrap(),
        };
        FlowSpec { meta, spool_path: self.spool_path(id), live_path: self.live_path(id) }
    }

    pub(crate) fn spool_path(&self, id: FlowId) -> PathBuf {
        self.directory.path().join("tenant").join(format!("{id}.spool"))
    }

    /// Where the end of a spool is in memory.
    pub(crate) fn live_path(&self, id: FlowId) -> Option<PathBuf> {
        self.memory.as_ref().map(|memory| memory.path().join(format!("{id}.live")))
    }

    /// An open flow and the one who may send to it.
    pub(crate) async fn flow(&self, id: FlowId) -> Sender {
        let address = self.media.open(self.spec(id)).await.unwrap();
        let sender = Sender::to(address);
        self.media.expect(id, sender.address()).await.unwrap();
        sender
    }

    /// Closes a flow and reads its spool; checks that the spool gives the same ledger as the live one.
    pub(crate) async fn close(&self, id: FlowId) -> (Closed, Vec<Vec<u8>>) {
        let closed = self.media.close(id).await.unwrap();
        let file = std::fs::read(self.spool_path(id)).unwrap();
        assert_eq!(file.len() as u64, closed.spool_bytes);
        let mut reader = Reader::new(&file).unwrap();
        assert_eq!(reader.header().meta.flow(), id);
        let mut replayed = LedgerBuilder::new(8_000);
        replayed.note_dropped_by_us(reader.counters().dropped_by_us);
        let mut packets = Vec::new();
        let mut arrivals = Vec::new();
        for record in reader.by_ref() {
            let packet = Packet::parse(record.packet).unwrap();
            replayed.observe(Arrival::of(&packet, record.arrival, record.kernel_drops));
            packets.push(record.packet.to_vec());
            arrivals.push(record.arrival);
        }
        assert_eq!(reader.damage(), Damage::default());
        assert_eq!((replayed.ledger(), replayed.facts()), (closed.ledger, closed.facts));
        assert_eq!(arrivals.first().copied(), closed.first_packet_at);
        (closed, packets)
    }

    /// Sends packets no faster than they are received and the keeper makes chunks for them.
    pub(crate) async fn send_all(&self, sender: &Sender, packets: &[Vec<u8>]) {
        for burst in packets.chunks(BURST) {
            let target = self.received() + burst.len() as u64;
            burst.iter().for_each(|packet| sender.send(packet));
            self.until(|stats| received(stats) >= target).await;
            self.until(|stats| stats.shards.iter().all(|s| s.chunks_answered == s.chunks_asked)).await;
        }
    }

    pub(crate) fn received(&self) -> u64 {
        received(&self.media.stats())
    }

    /// Waits until the counters say so.
    pub(crate) async fn until(&self, reached: impl Fn(&MediaStats) -> bool) {
        let begin = Instant::now();
        while !reached(&self.media.stats()) {
            assert!(begin.elapsed() < DEADLINE, "{:?}", self.media.stats());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits for the next event.
    pub(crate) async fn event(&mut self) -> Event {
        tokio::time::timeout(DEADLINE, self.events.next()).await.unwrap().unwrap()
    }
}

/// A directory on tmpfs.
fn memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn received(stats: &MediaStats) -> u64 {
    stats.shards.iter().map(|shard| shard.packets).sum()
}

/// Plays Asterisk.
pub(crate) struct Sender {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Sender {
    pub(crate) fn to(to: SocketAddr) -> Self {
        let any = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        Self { socket: UdpSocket::bind(any).unwrap(), to }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub(crate) fn send(&self, packet: &[u8]) {
        self.socket.send_to(packet, self.to).unwrap();
    }
}

/// A µ-law packet of 20 ms that names its flow in every sample.
pub(crate) fn packet(ssrc: u32, seq: u16) -> Vec<u8> {
    let mut bytes = vec![0x80, 0];
    bytes.extend(seq.to_be_bytes());
    bytes.extend((u32::from(seq) * 160).to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend((0..160u32).map(|i| (ssrc * 31 + u32::from(seq) * 7 + i) as u8));
    bytes
}

pub(crate) fn packets(ssrc: u32, seqs: impl IntoIterator<Item = u16>) -> Vec<Vec<u8>> {
    seqs.into_iter().map(|seq| packet(ssrc, seq)).collect()
}

/// A ledger without any loss.
pub(crate) fn whole(received: u64) -> Ledger {
    Ledger { expected: received, received, ..Ledger::default() }
}

/// Whether two lists of packets are the same, in few words when they are not.
pub(crate) fn assert_same(got: &[Vec<u8>], sent: &[Vec<u8>]) {
    let first_difference = got.iter().zip(sent).position(|(a, b)| a != b);
    assert!(got == sent, "got {}, sent {}, first difference at {first_difference:?}", got.len(), sent.len());
}
