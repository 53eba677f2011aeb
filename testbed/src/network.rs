//! A bad network: two network namespaces, and between them a program that carries their frames, harms those that a test
//! chooses, and keeps account of what it did.
//!
//! The kernel's own emulator (netem) is not on every machine; TAP devices are. Addresses and ports stay as they are.

mod faults;
mod frame;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use aimg_core::Timestamp;
use tempfile::TempDir;

use crate::namespace::Held;
use crate::pcap::parse_frame;
use crate::{Error, Namespace};
use faults::{Dice, Fate};
use frame::Segment;

pub use faults::Faults;

/// Asterisk's address and the gateway's (TEST-NET-1, RFC 5737), in namespaces of ours alone.
const PBX: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// More than any frame.
const FRAME_BYTES_MAX: usize = 1 << 16;

/// How long a carrier waits for a frame before it looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What happens to the TCP of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tcp {
    /// It is carried.
    #[default]
    Carried,
    /// Nothing arrives, and nobody is told.
    Swallowed,
    /// Each segment breaks its connection at both ends, and new ones are refused.
    Reset,
}

/// What became of a flow's packets.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Who sent it.
    pub source: SocketAddrV4,
    /// What was done to it, until the network was [calm](BadNetwork::calm).
    pub faults: Faults,
    /// Its packets in the order in which they were sent: when they came by, and their payloads.
    pub sent: Vec<(Timestamp, Vec<u8>)>,
    /// What arrived, in this order: when it was handed over, and which of the packets sent it is.
    pub arrived: Vec<(Timestamp, usize)>,
}

/// Frames of a way, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that were handed over, once for each time.
    pub carried: u64,
    /// Packets of flows that were lost, as their [`Faults`] ask for.
    pub lost: u64,
    /// Packets of flows that were handed over twice.
    pub doubled: u64,
    /// TCP segments that were swallowed or answered with a reset, and all frames while the network was cut.
    pub cut: u64,
}

/// Two namespaces, and what is between them. All of it ends when this is dropped, or with the process.
#[derive(Debug)]
pub struct BadNetwork {
    shared: Arc<Mutex<Shared>>,
    carriers: Vec<JoinHandle<()>>,
    pbx: Held,
    gateway: Held,
    _dir: TempDir,
}

/// From whom to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToGateway,
    ToPbx,
}

/// What the test orders, and the account of what was done.
#[derive(Debug, Default)]
struct Shared {
    ends: bool,
    cut: bool,
    tcp: BTreeMap<u16, Tcp>,
    watched: Option<Watched>,
    counts: [Counts; 2],
}

/// The flows to one address.
#[derive(Debug)]
struct Watched {
    destination: SocketAddrV4,
    seed: u64,
    faults: Vec<Faults>,
    calm: bool,
    flows: Vec<(Flow, Dice)>,
}

impl BadNetwork {
    /// Makes both namespaces; everything between them is carried at once and unharmed.
    pub fn start() -> Result<Self, Error> {
        let dir = tempfile::Builder::new().prefix("aimg-network-").tempdir();
        let dir = dir.map_err(Error::io("cannot make a directory for a network"))?;
        let pbx = Held::start(dir.path(), "pbx", PBX, GATEWAY)?;
        let gateway = Held::start(dir.path(), "gateway", GATEWAY, PBX)?;
        let mut network = Self { shared: Arc::default(), carriers: Vec::new(), pbx, gateway, _dir: dir };
        network.carry(Way::ToGateway)?;
        network.carry(Way::ToPbx)?;
        Ok(network)
    }

    /// Where Asterisk and its phones are.
    pub fn pbx(&self) -> &Namespace {
        &self.pbx.way_in
    }

    /// Where the gateway is.
    pub fn gateway(&self) -> &Namespace {
        &self.gateway.way_in
    }

    /// Keeps account from here on of the UDP packets to `destination`. The n-th stream that is sent there has the n-th of
    /// these faults, over and over.
    pub fn watch(&self, destination: SocketAddrV4, seed: u64, faults: &[Faults]) {
        let faults = faults.to_vec();
        self.shared().watched = Some(Watched { destination, seed, faults, calm: false, flows: Vec::new() });
    }

    /// Does no more harm to any flow.
    pub fn calm(&self) {
        if let Some(watched) = &mut self.shared().watched {
            watched.calm = true;
        }
    }

    /// What happens from here on to the TCP of a port, whichever side has it.
    pub fn tcp(&self, port: u16, fate: Tcp) {
        self.shared().tcp.insert(port, fate);
    }

    /// Cuts the network wholly, both ways, or mends it.
    pub fn cut(&self, cut: bool) {
        self.shared().cut = cut;
    }

    /// What was done so far to the frames toward the gateway, and to those toward Asterisk.
    pub fn counts(&self) -> [Counts; 2] {
        self.shared().counts
    }

    /// The flows that were watched, in the order in which they began. Fails when the kernel has lost frames of its own
    /// accord: then this is no truth to compare with.
    pub fn flows(&self) -> Result<Vec<Flow>, Error> {
        for namespace in [self.pbx(), self.gateway()] {
            match namespace.overflowed()? {
                0 => {}
                frames => return Err(Error::Overflowed { frames }),
            }
        }
        let shared = self.shared();
        Ok(shared.watched.iter().flat_map(|w| &w.flows).map(|(flow, _)| flow.clone()).collect())
    }

    fn carry(&mut self, way: Way) -> Result<(), Error> {
        let (from, to) = match way {
            Way::ToGateway => (&self.pbx.frames, &self.gateway.frames),
            Way::ToPbx => (&self.gateway.frames, &self.pbx.frames),
        };
        let clone = |socket: &UnixDatagram| socket.try_clone().map_err(Error::io("cannot share a socket for frames"));
        let carrier = Carrier {
            way,
            from: clone(from)?,
            to: clone(to)?,
            shared: Arc::clone(&self.shared),
            held: BinaryHeap::new(),
            order: 0,
        };
        self.carriers.push(thread::spawn(move || carrier.run()));
        Ok(())
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Drop for BadNetwork {
    fn drop(&mut self) {
        self.shared().ends = true;
        for carrier in self.carriers.drain(..) {
            let _ = carrier.join();
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("nobody panics while it holds this")
}

/// A frame that is under way: earliest first, and those of one moment in their order.
type UnderWay = Reverse<(Instant, u64, Vec<u8>, Option<(usize, usize)>)>;

/// Carries the frames of one way.
struct Carrier {
    way: Way,
    from: UnixDatagram,
    to: UnixDatagram,
    shared: Arc<Mutex<Shared>>,
    held: BinaryHeap<UnderWay>,
    order: u64,
}

impl Carrier {
    fn run(mut self) {
        let mut frame = vec![0; FRAME_BYTES_MAX];
        while !lock(&self.shared).ends {
            self.hand_over_due();
            let until_due =
                self.held.peek().map_or(LOOK_EVERY, |Reverse((due, ..))| due.saturating_duration_since(Instant::now()));
            // Zero would be for ever.
            let wait = until_due.clamp(Duration::from_micros(1), LOOK_EVERY);
            if self.from.set_read_timeout(Some(wait)).is_err() {
                return;
            }
            match self.from.recv(&mut frame) {
                Ok(bytes) => self.take(&frame[..bytes]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                // socat is gone, and the namespace with it.
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, frame: &[u8]) {
        let now = Instant::now();
        let mut shared = lock(&self.shared);
        let counts = self.way as usize;
        if shared.cut {
            shared.counts[counts].cut += 1;
            shared.book_cut(self.way, frame);
            return;
        }
        match shared.tcp_fate(frame) {
            Tcp::Carried => {}
            Tcp::Swallowed => {
                shared.counts[counts].cut += 1;
                return;
            }
            Tcp::Reset => {
                shared.counts[counts].cut += 1;
                drop(shared);
                if let Some(segment) = Segment::parse(frame) {
                    let _ = segment.abort().map(|abort| self.to.send(&abort));
                    // Back the way it came: the socket of frames is both ways.
                    let _ = segment.refusal().map(|refusal| self.from.send(&refusal));
                }
                return;
            }
        }
        let (fate, booked) = match self.way {
            Way::ToGateway => shared.judge(frame),
            Way::ToPbx => (Fate::UNHARMED, None),
        };
        shared.counts[counts].lost += u64::from(fate.copies == 0);
        shared.counts[counts].doubled += u64::from(fate.copies == 2);
        drop(shared);
        for _ in 0..fate.copies {
            self.order += 1;
            self.held.push(Reverse((now + fate.delay, self.order, frame.to_vec(), booked)));
        }
        self.hand_over_due();
    }

    fn hand_over_due(&mut self) {
        while self.held.peek().is_some_and(|Reverse((due, ..))| *due <= Instant::now()) {
            let Some(Reverse((_, _, frame, booked))) = self.held.pop() else { return };
            // Booked before: who asks when the gateway has it finds it here.
            let mut shared = lock(&self.shared);
            shared.counts[self.way as usize].carried += 1;
            if let (Some((flow, packet)), Some(watched)) = (booked, &mut shared.watched)
                && let Some((flow, _)) = watched.flows.get_mut(flow)
            {
                flow.arrived.push((now(), packet));
            }
            drop(shared);
            if self.to.send(&frame).is_err() {
                return;
            }
        }
    }
}

impl Shared {
    fn tcp_fate(&self, frame: &[u8]) -> Tcp {
        let Some(segment) = Segment::parse(frame) else { return Tcp::Carried };
        segment.ports().iter().find_map(|port| self.tcp.get(port)).copied().unwrap_or_default()
    }

    /// What becomes of a frame, and for a packet of a watched flow which one it is.
    fn judge(&mut self, frame: &[u8]) -> (Fate, Option<(usize, usize)>) {
        let Some((flow, packet)) = self.watched.as_mut().and_then(|w| w.book(frame)) else {
            return (Fate::UNHARMED, None);
        };
        let watched = self.watched.as_mut().expect("a packet was booked there");
        let (account, dice) = &mut watched.flows[flow];
        let fate = if watched.calm { Fate::UNHARMED } else { dice.decide(&account.faults) };
        (fate, Some((flow, packet)))
    }

    /// A packet of a watched flow that is lost because the network is cut was sent all the same.
    fn book_cut(&mut self, way: Way, frame: &[u8]) {
        if let (Way::ToGateway, Some(watched)) = (way, &mut self.watched) {
            watched.book(frame);
        }
    }
}

impl Watched {
    /// Takes a packet of a flow into the account: the flow's number, and the packet's.
    fn book(&mut self, frame: &[u8]) -> Option<(usize, usize)> {
        let packet = parse_frame(now(), frame)?;
        if packet.destination != self.destination {
            return None;
        }
        let is_of = |flow: &Flow| flow.source == packet.source && ssrc(&flow.sent[0].1) == ssrc(&packet.payload);
        let number = self.flows.iter().position(|(flow, _)| is_of(flow)).unwrap_or_else(|| {
            let number = self.flows.len();
            let faults = self.faults.get(number % self.faults.len().max(1)).copied().unwrap_or_default();
            let flow = Flow { source: packet.source, faults, sent: Vec::new(), arrived: Vec::new() };
            self.flows.push((flow, Dice::new(self.seed, number)));
            number
        });
        let (flow, _) = &mut self.flows[number];
        flow.sent.push((packet.at, packet.payload));
        Some((number, flow.sent.len() - 1))
    }
}

/// The SSRC where the payload is RTP: Asterisk gives a port that is free again to another stream.
fn ssrc(payload: &[u8]) -> Option<&[u8]> {
    payload.get(8..12)
}

fn now() -> Timestamp {
    Timestamp::default() + SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
