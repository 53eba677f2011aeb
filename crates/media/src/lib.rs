//! The media plane: RTP from the network into the spool, without ever waiting for the rest of the program.
//!
//! A *shard* is one thread, one UDP port and the flows assigned to it. It finds a packet's flow by the source address,
//! which the control plane told it beforehand, books the packet in the flow's ledger and copies it into the flow's
//! mapped spool chunk, all within the receive loop. A shard takes no lock, allocates nothing per packet, and waits for
//! nobody: what it needs from outside comes through its mailbox. The *keeper* thread makes its chunks, in memory where that
//! is set up ([`FlowSpec::live_path`]); the *shelver* thread moves full ones to the disk, and may wait for it. [`Media`] is the handle for the control plane.
//!
//! What becomes of a spool is `recording`'s; which flows exist, and when, and what listeners make of what they hear
//! ([`Media::listen`]), is `gateway`'s. No RTP is sent yet.
//!
//! ```text
//!  Media ──mailbox──► shard ──asks for chunks──► keeper ──mailbox──► shard
//!    ▲                  ├──► spool chunk (mapped)
//!    │                  ├──► broadcast, where somebody listens
//!    └──── Events ◄─────┴──► counters, published ledgers
//! ```
//!
//! A process that is killed loses no packet that the kernel has: its successor takes over the sockets, which a parent of
//! both holds, what was received and not yet spooled, and the flows ([`Media::take_over`]).
//!
//! Every queue has a bound: the mailbox ([`MAILBOX_MESSAGES`]), the keeper's requests ([`KEEPER_REQUESTS`]) and the
//! events ([`EVENTS`]). A shard that meets a full queue keeps what it wanted to send and tries again a few ticks later.
//!
//! The only crate with `unsafe`: in `batch` (recvmmsg), `socket` (options), `wake` (eventfd, poll) and `mapping` (mmap, fallocate).

mod batch;
mod broadcast;
mod clock;
mod config;
mod error;
mod event;
mod flow;
mod flow_table;
mod keeper;
mod live;
mod mailbox;
mod mapping;
mod media;
mod published;
mod resume;
mod shard;
mod shelver;
mod socket;
mod source;
mod spool_file;
mod spool_writer;
mod stats;
mod wake;

pub use broadcast::{BROADCAST_BYTES, Heard, LISTENERS_MAX, Listener, Sound};
pub use clock::Clock;
pub use config::Config;
pub use error::Error;
pub use event::{EVENTS, Event, Events};
pub use keeper::KEEPER_REQUESTS;
pub use live::{bring_home, live_dir};
pub use mailbox::MAILBOX_MESSAGES;
pub use media::{Closed, FlowSpec, Inheritance, LeftSpool, Media, Resumed, bind_ports};
pub use published::FlowSnapshot;
pub use shard::SNAPSHOT_AGE_MAX;

pub use socket::inherited_sockets;
pub use stats::{MediaStats, ShardStats};
