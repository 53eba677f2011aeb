//! The receiving side of `capture`, in a process of its own that can be stopped while its socket is filled.
//!
//! It prints its port, and then, for every line it is told, one JSON line of what it has received. Both kinds have one
//! thread of a known name that does the receiving.

use std::io::{BufRead, IoSliceMut, stdin};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aimg_core::{Codec, Direction, SessionId};
use aimg_media::{Config, FlowSpec, Media};
use aimg_spool::FlowMeta;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, setsockopt, sockopt};
use serde::{Deserialize, Serialize};

use crate::generator::source;

/// What a shard takes with one system call.
const BATCH_PACKETS: usize = 64;
const DATAGRAM_BYTES: usize = 2_048;

/// The receive buffer of both kinds, in bytes.
const RECV_BUFFER_BYTES: usize = 32 << 20;

/// What receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Nothing but recvmmsg into buffers: no source address, no arrival time, no drop counter.
    Bare,
    /// A shard of the product: receive, ledger, spool.
    Shard,
}

impl Kind {
    /// The name of the thread that receives.
    pub(crate) const fn thread(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Shard => "media-0",
        }
    }
}

/// How to receive.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub(crate) struct Role {
    /// What receives.
    #[arg(long, value_enum)]
    pub(crate) kind: Kind,
    /// How many flows are open.
    #[arg(long)]
    pub(crate) flows: usize,
    /// The port of all their sources.
    #[arg(long)]
    pub(crate) source_port: u16,
    /// Bytes of a spool chunk.
    #[arg(long)]
    pub(crate) chunk_bytes: u32,
}

/// What was received, and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Received {
    /// Packets the receiving thread has taken.
    pub(crate) packets: u64,
    /// Those of them that are not in a spool; 0 where nothing is kept.
    pub(crate) not_kept: u64,
    /// What the kernel had no room for, as far as it is known.
    pub(crate) kernel_dropped: u64,
}

/// Receives until standard input ends.
pub(crate) fn run(role: Role) -> Result<()> {
    match role.kind {
        Kind::Bare => {
            let (address, packets) = bare()?;
            answer(address, || Received { packets: packets.load(Ordering::Acquire), ..Received::default() })
        }
        Kind::Shard => {
            // In the build's directory: where spools are, there must be a real disk.
            let directory = tempfile::tempdir_in(std::env::current_exe()?.parent().context("no directory")?)?;
            let runtime = tokio::runtime::Runtime::new()?;
            let (media, address) = runtime.block_on(shard(role, directory.path()))?;
            answer(address, || {
                let shard = &media.stats().shards[0];
                let refused = [shard.foreign, shard.truncated, shard.wrong_payload_type, shard.dropped_by_us];
                let not_kept = refused.iter().chain(&shard.malformed).sum();
                Received { packets: shard.packets, not_kept, kernel_dropped: shard.kernel_dropped }
            })
        }
    }
}

fn answer(address: SocketAddr, received: impl Fn() -> Received) -> Result<()> {
    println!("{}", address.port());
    for line in stdin().lock().lines() {
        line?;
        println!("{}", serde_json::to_string(&received())?);
    }
    Ok(())
}

fn bare() -> Result<(SocketAddr, Arc<AtomicU64>)> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    if setsockopt(&socket, sockopt::RcvBufForce, &RECV_BUFFER_BYTES).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &RECV_BUFFER_BYTES)?;
    }
    let packets = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&packets);
    std::thread::Builder::new().name(Kind::Bare.thread().into()).spawn(move || receive_all(&socket, &counter))?;
    Ok((address, packets))
}

/// Sleeps until there is something, takes it, and counts it.
fn receive_all(socket: &UdpSocket, counter: &AtomicU64) -> Result<()> {
    let mut buffers = vec![[0; DATAGRAM_BYTES]; BATCH_PACKETS];
    let mut headers = MultiHeaders::<()>::preallocate(BATCH_PACKETS, None);
    loop {
        let mut slices: [_; BATCH_PACKETS] = {
            let mut free = buffers.iter_mut();
            std::array::from_fn(|_| [IoSliceMut::new(free.next().map_or(&mut [][..], |buffer| &mut buffer[..]))])
        };
        match recvmmsg(socket.as_raw_fd(), &mut headers, &mut slices, MsgFlags::MSG_WAITFORONE, None) {
            Ok(received) => {
                counter.fetch_add(received.count() as u64, Ordering::Release);
            }
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

async fn shard(role: Role, directory: &Path) -> Result<(Media, SocketAddr)> {
    let config = Config {
        flows_max: role.flows,
        chunk_bytes: role.chunk_bytes,
        recv_buffer_bytes: RECV_BUFFER_BYTES,
        ..Config::default()
    };
    let (media, _events) = Media::start(config)?;
    let mut address = None;
    for index in 0..role.flows {
        let meta = FlowMeta {
            tenant: "0198c1de-2222-7000-8000-000000000000".parse()?,
            session: session(index / 2)?,
            part: 0,
            direction: Direction::BOTH[index % 2],
            codec: Codec::Ulaw,
            opened_at: media.clock().now(),
            pbx: "0198c1de-3333-7000-8000-000000000000".parse()?,
        };
        let flow = meta.flow();
        let spool_path = directory.join(format!("{flow}.spool"));
        address = Some(media.open(FlowSpec { meta, spool_path, live_path: None }).await?);
        media.expect(flow, source(index, role.source_port)).await?;
    }
    Ok((media, address.context("a shard needs a flow")?))
}

/// The id of session `number`.
pub(crate) fn session(number: usize) -> Result<SessionId> {
    Ok(format!("0198c1de-1111-7000-8000-{number:012x}").parse()?)
}
