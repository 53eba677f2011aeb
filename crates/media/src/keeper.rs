//! The thread that does the file work of running flows, so that no shard waits for a disk.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use aimg_core::FlowId;

use crate::mailbox::{Mailbox, Message};
use crate::mapping::Mapping;
use crate::shelver::{Shelf, ShelveRequest};
use crate::spool_file::SpoolFile;

/// Requests that may wait for the keeper. A flow has at most one.
pub const KEEPER_REQUESTS: usize = 4_096;

/// A flow needs its next chunk.
#[derive(Debug)]
pub(crate) struct ChunkRequest {
    pub(crate) flow: FlowId,
    pub(crate) file: Arc<SpoolFile>,
    /// The number of the shard that asks.
    pub(crate) shard: usize,
    /// How many of its chunks are full, from the first on.
    pub(crate) full_chunks: u64,
    /// A full chunk to unmap: that, too, is a system call.
    pub(crate) retired: Option<Mapping>,
}

/// A shard's way to the keeper.
#[derive(Clone, Debug)]
pub(crate) struct KeeperQueue(SyncSender<ChunkRequest>);

impl KeeperQueue {
    pub(crate) fn new() -> (Self, Receiver<ChunkRequest>) {
        let (sender, receiver) = sync_channel(KEEPER_REQUESTS);
        (Self(sender), receiver)
    }

    /// Asks; gives the request back when the queue is full. A keeper that is gone answers nobody, at the end of the
    /// program.
    pub(crate) fn ask(&self, request: ChunkRequest) -> Result<(), ChunkRequest> {
        match self.0.try_send(request) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
            Err(TrySendError::Full(request)) => Err(request),
        }
    }
}

/// Serves requests until all shards are gone. Every request is answered; the keeper waits for a shard's mailbox, never
/// the other way round.
pub(crate) fn run(requests: &Receiver<ChunkRequest>, shelf: &Shelf, shards: &[Mailbox]) {
    while let Ok(ChunkRequest { flow, file, shard, full_chunks, retired }) = requests.recv() {
        drop(retired);
        shelf.ask(ShelveRequest { flow, file: Arc::clone(&file), shard, full_chunks });
        let answer = match file.grow() {
            Ok(chunk) => Message::Chunk { flow, file, chunk },
            Err(e) => Message::ChunkRefused { flow, file, reason: e.to_string() },
        };
        shards[shard].post(answer);
    }
}
