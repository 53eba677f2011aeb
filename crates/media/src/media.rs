//! The control plane's handle: opens, expects and closes flows, reads counters.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use aimg_core::{Direction, FlowId, Timestamp};
use aimg_rtp::{Ledger, StreamFacts};
use aimg_spool::FlowMeta;
use socket2::Socket;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::batch::Batch;
use crate::broadcast::{Broadcast, LISTENERS_MAX, Listener, Voice};
use crate::clock::Stamps;
use crate::event::{EVENTS, Outbox};
use crate::flow::{Flow, Remains};
use crate::flow_table::FlowTable;
use crate::keeper::{self, KeeperQueue};
use crate::mailbox::{Mailbox, Message, NotPosted};
use crate::published::Published;
use crate::resume::resume;
use crate::shard::{Shard, Sorter};
use crate::shelver::{self, Shelf};
use crate::spool_file::{NewSpool, SpoolFile};
use crate::stats::{Counters, read};
use crate::wake::Wake;
use crate::{Clock, Config, Error, Events, FlowSnapshot, MediaStats, socket};

/// How long a full mailbox is tried again.
const POST_PATIENCE: Duration = Duration::from_secs(1);

/// A flow to be opened.
#[derive(Clone, Debug)]
pub struct FlowSpec {
    /// Whose flow, which codec.
    pub meta: FlowMeta,
    /// Where its spool is to be; nothing may be there. Directories are made as needed.
    pub spool_path: PathBuf,
    /// Where the end of its spool is while it lasts: a path on tmpfs with nothing there, so that no shard waits for the disk.
    /// Nothing for a spool that is on the disk from the first packet on.
    pub live_path: Option<PathBuf>,
}

/// What there is to know of a flow that was closed. Its spool is whole and on the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Closed {
    /// What came and what is missing.
    pub ledger: Ledger,
    /// What else is known of the stream.
    pub facts: StreamFacts,
    /// When the first packet came.
    pub first_packet_at: Option<Timestamp>,
    /// When the last packet came.
    pub last_packet_at: Option<Timestamp>,
    /// The length of the spool file.
    pub spool_bytes: u64,
}

/// What a process takes over from the one before it.
#[derive(Debug)]
pub struct Inheritance {
    /// The shards' sockets, as [`bind_ports`] made them, in the same order.
    pub sockets: Vec<UdpSocket>,
    /// The clock of the process before, so that the times of its packets and of later ones stay comparable, also when
    /// the system's clock was set in between.
    pub clock: Clock,
    /// Where the shards' receive buffers are: what a killed process had received and not yet spooled is found there.
    pub batch_dir: PathBuf,
    /// The spools of the flows to go on with; empty when there was no process before.
    pub spools: Vec<LeftSpool>,
}

/// A spool that another process was writing to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftSpool {
    /// Where it is.
    pub path: PathBuf,
    /// Where its end is in memory, if it is; see [`FlowSpec::live_path`].
    pub live_path: Option<PathBuf>,
}

/// A flow that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Which one.
    pub flow: FlowId,
    /// When its first packet came.
    pub first_packet_at: Option<Timestamp>,
}

/// Binds the ports of all shards. Whoever holds the sockets may outlive the process that reads them.
pub fn bind_ports(config: &Config) -> Result<Vec<UdpSocket>, Error> {
    config.check()?;
    let port = |number| if config.port == 0 { 0 } else { config.port + number as u16 };
    let bind = |number| socket::bind(SocketAddr::new(config.bind, port(number)), config.recv_buffer_bytes);
    (0..config.shards).map(|number| bind(number).map(UdpSocket::from)).collect()
}

/// See [`Inheritance`]; nothing where nobody outlives this process.
enum Inherited {
    Nothing,
    Of { batch_dir: PathBuf, spools: Vec<LeftSpool> },
}

impl Inherited {
    /// The receive buffers of a shard.
    fn batch(&self, shard: usize) -> Result<Batch, Error> {
        match self {
            Self::Nothing => Ok(Batch::new()?),
            Self::Of { batch_dir, spools } => {
                let path = batch_dir.join(format!("shard-{shard}.batch"));
                Batch::in_file(&path, !spools.is_empty()).map_err(|source| Error::Spool { path, source })
            }
        }
    }

    /// Puts the flows that go on into their shards.
    fn resume(self, config: &Config, shards: &mut [Shard]) -> (Vec<Resumed>, Directory) {
        let (mut resumed, mut directory) = (Vec::new(), Directory::default());
        let Self::Of { spools, .. } = self else { return (resumed, directory) };
        for left in spools {
            let published = Arc::<Published>::default();
            let Ok((flow, route)) = resume(&left, config.flow_bytes_max, Arc::clone(&published)) else { continue };
            let Some(shard) = shards.iter_mut().find(|s| s.sorter.local_port == route.local_port) else { continue };
            let (id, first_packet_at) = (flow.id, flow.first_packet_at());
            if shard.sorter.add(flow, route) {
                directory.flows.insert(id, Entry { shard: shard.sorter.number, published, broadcast: None });
                resumed.push(Resumed { flow: id, first_packet_at });
            }
        }
        (resumed, directory)
    }
}

/// The media plane. Clones are the same one; it stops when the last is dropped, and leaves the spools of flows still
/// open to be recovered.
///
/// `open` and `close` run to their end even when their future is dropped.
#[derive(Clone, Debug)]
pub struct Media(Arc<Plane>);

#[derive(Debug)]
struct Plane {
    config: Config,
    clock: Clock,
    shards: Vec<ShardHandle>,
    directory: Mutex<Directory>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct ShardHandle {
    /// What Asterisk is told to send to.
    address: SocketAddr,
    recv_buffer_bytes: usize,
    mailbox: Mailbox,
    wake: Arc<Wake>,
    counters: Arc<Counters>,
}

/// Which flow is where. Only the control plane looks into it.
#[derive(Debug, Default)]
struct Directory {
    flows: HashMap<FlowId, Entry>,
}

#[derive(Debug)]
struct Entry {
    shard: usize,
    published: Arc<Published>,
    /// Once somebody has wanted to listen.
    broadcast: Option<Arc<Broadcast>>,
}

impl Media {
    /// Binds the ports and starts the threads.
    pub fn start(config: Config) -> Result<(Self, Events), Error> {
        let sockets = bind_ports(&config)?;
        let (media, events, _) = Self::run(config, sockets, Clock::anchored(), Inherited::Nothing)?;
        Ok((media, events))
    }

    /// Starts the threads on sockets that outlive this process, and goes on with the flows of the process before it.
    ///
    /// Flows whose spools cannot be gone on with are left out of the list; their spools are as they were.
    pub fn take_over(config: Config, inheritance: Inheritance) -> Result<(Self, Events, Vec<Resumed>), Error> {
        let Inheritance { sockets, clock, batch_dir, spools } = inheritance;
        Self::run(config, sockets, clock, Inherited::Of { batch_dir, spools })
    }

    fn run(
        config: Config,
        sockets: Vec<UdpSocket>,
        clock: Clock,
        inherited: Inherited,
    ) -> Result<(Self, Events, Vec<Resumed>), Error> {
        config.check()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (outbox, events) = Outbox::new(EVENTS);
        let (keeper, requests) = KeeperQueue::new();
        let (shelf, shelves) = Shelf::new();
        let mut handles = Vec::with_capacity(sockets.len());
        let mut shards = Vec::with_capacity(sockets.len());
        for (number, socket) in sockets.into_iter().enumerate() {
            let local_port = socket.local_addr()?.port();
            let socket = Socket::from(socket);
            let recv_buffer_bytes = socket.recv_buffer_size()?;
            let wake = Arc::new(Wake::new()?);
            let counters = Arc::new(Counters::default());
            let (mailbox, messages) = Mailbox::new(Arc::clone(&wake), Arc::clone(&counters));
            shards.push(Shard {
                socket,
                mailbox: messages,
                wake: Arc::clone(&wake),
                clock,
                stamps: Stamps::new(clock),
                stop: Arc::clone(&stop),
                batch: inherited.batch(number)?,
                sorter: Sorter {
                    number,
                    flows: FlowTable::new(config.flows_max),
                    keeper: keeper.clone(),
                    outbox: outbox.clone(),
                    counters: Arc::clone(&counters),
                    silence: config.silence,
                    local_port,
                    kernel_drops: 0,
                    part: 0,
                },
                recv_buffer_bytes,
            });
            let address = SocketAddr::new(config.advertise, local_port);
            handles.push(ShardHandle { address, recv_buffer_bytes, mailbox, wake, counters });
        }
        let mailboxes: Arc<[_]> = handles.iter().map(|h| h.mailbox.clone()).collect();
        // Before the shards read their sockets: a packet of a flow that is not there yet would be a stranger's.
        let (resumed, directory) = inherited.resume(&config, &mut shards);
        // From here on a failure ends the threads already started: dropping the plane stops them.
        let directory = Mutex::new(directory);
        let mut plane = Plane { config, clock, shards: handles, directory, stop, threads: Vec::new() };
        // The keeper ends by itself, when the last shard has.
        Builder::new().name("media-keeper".into()).spawn({
            let mailboxes = Arc::clone(&mailboxes);
            move || keeper::run(&requests, &shelf, &mailboxes)
        })?;
        Builder::new().name("media-shelver".into()).spawn(move || shelver::run(&shelves, &mailboxes))?;
        for shard in shards {
            let name = format!("media-{}", shard.sorter.number);
            plane.threads.push(Builder::new().name(name).spawn(move || shard.run())?);
        }
        Ok((Self(Arc::new(plane)), events, resumed))
    }

    /// Opens a flow and its spool, and returns the address that Asterisk must send to. Nothing is received for it
    /// before [`Media::expect`]. The two directions of a session share a shard.
    pub async fn open(&self, spec: FlowSpec) -> Result<SocketAddr, Error> {
        let plane = Arc::clone(&self.0);
        tokio::spawn(async move { plane.open(spec).await }).await.map_err(|_| Error::Stopped)?
    }

    /// Lets `source`, and nobody else, send to the flow. It is in the shard's table when this returns. A flow has one
    /// source; another one replaces it.
    pub async fn expect(&self, flow: FlowId, source: SocketAddr) -> Result<(), Error> {
        let shard = self.0.shard_of(flow)?;
        self.0.ask(shard, |reply| Message::Expect { flow, source, reply }).await
    }

    /// Takes what is still in the socket, closes the flow, cuts the spool to its length and puts it on the disk.
    pub async fn close(&self, flow: FlowId) -> Result<Closed, Error> {
        let plane = Arc::clone(&self.0);
        tokio::spawn(async move { plane.close(flow).await }).await.map_err(|_| Error::Stopped)?
    }

    /// Hears an open flow from here on, until it is closed.
    pub async fn listen(&self, flow: FlowId) -> Result<Listener, Error> {
        let (shard, listener, voice) = self.0.directory().join(flow)?;
        if let Some(voice) = voice {
            self.0.ask(shard, |reply| Message::Hear { flow, voice, reply }).await?;
        }
        Ok(listener)
    }

    /// Where an open flow stands, as of at most [`crate::SNAPSHOT_AGE_MAX`] ago.
    pub fn flow(&self, flow: FlowId) -> Option<FlowSnapshot> {
        self.0.directory().flows.get(&flow).map(|entry| entry.published.snapshot())
    }

    /// All open flows, each as of its shard's last tick.
    pub fn flows(&self) -> Vec<(FlowId, FlowSnapshot)> {
        self.0.directory().flows.iter().map(|(flow, entry)| (*flow, entry.published.snapshot())).collect()
    }

    /// The counters.
    pub fn stats(&self) -> MediaStats {
        let of = |h: &ShardHandle| h.counters.snapshot(h.address, h.recv_buffer_bytes as u64);
        MediaStats { shards: self.0.shards.iter().map(of).collect() }
    }

    /// The clock that packets are stamped by. Who compares other events with packets must use it too.
    pub fn clock(&self) -> Clock {
        self.0.clock
    }
}

impl Plane {
    async fn open(&self, spec: FlowSpec) -> Result<SocketAddr, Error> {
        let id = spec.meta.flow();
        let published = Arc::<Published>::default();
        let shard = self.directory().assign(id, &published, self.shards.len(), self.config.flows_max)?;
        let opened = self.open_on(shard, spec, published).await;
        if opened.is_err() {
            self.directory().flows.remove(&id);
        }
        opened.map(|()| self.shards[shard].address)
    }

    async fn open_on(&self, shard: usize, spec: FlowSpec, published: Arc<Published>) -> Result<(), Error> {
        let FlowSpec { meta, spool_path: path, live_path } = spec;
        let new = NewSpool {
            path: path.clone(),
            live_path: live_path.clone(),
            meta: meta.clone(),
            chunk_bytes: self.config.chunk_bytes,
            bytes_max: self.config.flow_bytes_max,
            kernel_drops: read(&self.shards[shard].counters.kernel_dropped),
        };
        let opened = blocking(move || SpoolFile::create(new))
            .await?
            .map_err(|source| Error::Spool { path: path.clone(), source })?;
        let flow = Box::new(Flow::new(&meta, opened, published));
        let taken = self.ask(shard, |reply| Message::Open { flow, reply }).await;
        if taken.is_err() {
            // Nothing was received for it.
            let _ = blocking(move || {
                [Some(path), live_path].into_iter().flatten().for_each(|p| drop(std::fs::remove_file(p)))
            })
            .await;
        }
        taken
    }

    async fn close(&self, flow: FlowId) -> Result<Closed, Error> {
        let shard = self.shard_of(flow)?;
        let taken = self.ask(shard, |reply| Message::Close { flow, reply }).await?;
        self.directory().flows.remove(&flow);
        blocking(move || {
            let Remains { snapshot, facts, file } = taken.finish();
            let FlowSnapshot { ledger, first_packet_at, last_packet_at, began_at: _, spool_bytes } = snapshot;
            file.close(spool_bytes).map_err(|source| Error::Spool { path: file.path().to_owned(), source })?;
            Ok(Closed { ledger, facts, first_packet_at, last_packet_at, spool_bytes })
        })
        .await?
    }

    /// Posts a message with room for the answer, and waits for it.
    async fn ask<T>(
        &self,
        shard: usize,
        message: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Message,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + POST_PATIENCE;
        let mut message = message(reply);
        while let Err(not_posted) = self.shards[shard].mailbox.try_post(message) {
            let NotPosted::Full(back) = not_posted else { return Err(Error::Stopped) };
            if Instant::now() >= deadline {
                return Err(Error::Busy { shard });
            }
            message = back;
            sleep(Duration::from_millis(1)).await;
        }
        answer.await.map_err(|_| Error::Stopped)?
    }

    fn shard_of(&self, flow: FlowId) -> Result<usize, Error> {
        self.directory().flows.get(&flow).map(|entry| entry.shard).ok_or(Error::UnknownFlow { flow })
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.shards.iter().for_each(|shard| shard.wake.wake());
        for thread in self.threads.drain(..) {
            // A shard that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

impl Directory {
    /// Chooses a shard for a flow and enters it.
    fn assign(
        &mut self,
        flow: FlowId,
        published: &Arc<Published>,
        shards: usize,
        flows_max: usize,
    ) -> Result<usize, Error> {
        if self.flows.contains_key(&flow) {
            return Err(Error::FlowExists { flow });
        }
        let mut loads = vec![0; shards];
        self.flows.values().for_each(|entry| loads[entry.shard] += 1);
        let least = (0..shards).min_by_key(|shard| loads[*shard]).unwrap_or(0);
        let sibling = Direction::BOTH
            .into_iter()
            .find_map(|direction| self.flows.get(&FlowId { direction, ..flow }))
            .map(|entry| entry.shard);
        let shard = sibling.unwrap_or(least);
        if loads[shard] >= flows_max {
            return Err(Error::FlowsFull { flows_max });
        }
        self.flows.insert(flow, Entry { shard, published: Arc::clone(published), broadcast: None });
        Ok(shard)
    }

    /// Another listener of a flow; with the voice that the shard needs to be told of, unless it knows it.
    fn join(&mut self, flow: FlowId) -> Result<(usize, Listener, Option<Voice>), Error> {
        let entry = self.flows.get_mut(&flow).ok_or(Error::UnknownFlow { flow })?;
        let full = Error::ListenersFull { flow, listeners_max: LISTENERS_MAX };
        // One that has ended while its flow is open never reached the shard.
        if let Some(broadcast) = entry.broadcast.as_ref().filter(|broadcast| !broadcast.has_ended()) {
            return Ok((entry.shard, Listener::join(broadcast).ok_or(full)?, None));
        }
        let broadcast = Arc::<Broadcast>::default();
        let listener = Listener::join(&broadcast).ok_or(full)?;
        entry.broadcast = Some(Arc::clone(&broadcast));
        Ok((entry.shard, listener, Some(Voice::of(broadcast))))
    }
}

/// Runs file work on a thread that may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    spawn_blocking(work).await.map_err(|_| Error::Stopped)
}
