//! What shards count.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use aimg_rtp::PacketError;
use serde::Serialize;

/// The counters of all shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MediaStats {
    /// One entry a shard.
    pub shards: Vec<ShardStats>,
}

/// The counters of one shard since its start. Each datagram counts as received; those that are no flow's packet count
/// under one reason more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShardStats {
    /// Where it receives.
    pub address: SocketAddr,
    /// What the kernel gave for SO_RCVBUF, in bytes of its own accounting (about twice what fits of payload).
    pub recv_buffer_bytes: u64,
    /// Flows open.
    pub flows: u64,
    /// Datagrams received.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// System calls that brought at least one.
    pub batches: u64,
    /// From a source that no flow expects.
    pub foreign: u64,
    /// Of a flow's source, but no RTP: by reason, in the order of [`PacketError::ALL`].
    pub malformed: [u64; PacketError::ALL.len()],
    /// Longer than the receive buffer, so cut off by the kernel.
    pub truncated: u64,
    /// RTP of a flow's source with another payload type than the flow's codec has.
    pub wrong_payload_type: u64,
    /// Dropped by the kernel because the receive buffer was full (SO_RXQ_OVFL), as far as a later packet told.
    pub kernel_dropped: u64,
    /// Packets of flows that found no room in their spool.
    pub dropped_by_us: u64,
    /// Failed receive calls.
    pub receive_errors: u64,
    /// Spool chunks asked of the keeper.
    pub chunks_asked: u64,
    /// Those that it has made, or could not make. Behind `chunks_asked` for long means that the disk is too slow.
    pub chunks_answered: u64,
    /// Times the shard's mailbox was full.
    pub mailbox_full: u64,
    /// Times the keeper's queue was full.
    pub keeper_full: u64,
    /// Times the event queue was full.
    pub events_full: u64,
}

/// The live counters. A shard adds to its own; everybody may read.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) flows: AtomicU64,
    pub(crate) packets: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) foreign: AtomicU64,
    pub(crate) malformed: [AtomicU64; PacketError::ALL.len()],
    pub(crate) truncated: AtomicU64,
    pub(crate) wrong_payload_type: AtomicU64,
    pub(crate) kernel_dropped: AtomicU64,
    pub(crate) dropped_by_us: AtomicU64,
    pub(crate) receive_errors: AtomicU64,
    pub(crate) chunks_asked: AtomicU64,
    pub(crate) chunks_answered: AtomicU64,
    pub(crate) mailbox_full: AtomicU64,
    pub(crate) keeper_full: AtomicU64,
    pub(crate) events_full: AtomicU64,
}

impl Counters {
    pub(crate) fn snapshot(&self, address: SocketAddr, recv_buffer_bytes: u64) -> ShardStats {
        ShardStats {
            address,
            recv_buffer_bytes,
            flows: read(&self.flows),
            packets: read(&self.packets),
            bytes: read(&self.bytes),
            batches: read(&self.batches),
            foreign: read(&self.foreign),
            malformed: self.malformed.each_ref().map(read),
            truncated: read(&self.truncated),
            wrong_payload_type: read(&self.wrong_payload_type),
            kernel_dropped: read(&self.kernel_dropped),
            dropped_by_us: read(&self.dropped_by_us),
            receive_errors: read(&self.receive_errors),
            chunks_asked: read(&self.chunks_asked),
            chunks_answered: read(&self.chunks_answered),
            mailbox_full: read(&self.mailbox_full),
            keeper_full: read(&self.keeper_full),
            events_full: read(&self.events_full),
        }
    }
}

/// Adds to a counter. Who sees the sum sees all that the shard counted before.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Release);
}

/// Reads a counter.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Acquire)
}
