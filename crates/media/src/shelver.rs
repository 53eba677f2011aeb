//! The thread that moves full chunks from memory to the disk. It alone waits when the disk is slow, full or frozen.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use aimg_core::FlowId;

use crate::mailbox::{Mailbox, Message};
use crate::spool_file::SpoolFile;

/// Requests that may wait for the shelver. What finds no room is done with the flow's next one, or when it is closed.
const REQUESTS: usize = 4_096;
/// A chunk that the disk did not take is tried again so much later.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Chunks of a flow are full.
#[derive(Clone, Debug)]
pub(crate) struct ShelveRequest {
    pub(crate) flow: FlowId,
    pub(crate) file: Arc<SpoolFile>,
    /// The number of the flow's shard.
    pub(crate) shard: usize,
    /// All chunks before this one.
    pub(crate) full_chunks: u64,
}

/// The way to the shelver.
#[derive(Clone, Debug)]
pub(crate) struct Shelf(SyncSender<ShelveRequest>);

impl Shelf {
    pub(crate) fn new() -> (Self, Receiver<ShelveRequest>) {
        let (sender, receiver) = sync_channel(REQUESTS);
        (Self(sender), receiver)
    }

    pub(crate) fn ask(&self, request: ShelveRequest) {
        let _ = self.0.try_send(request);
    }
}

/// Serves requests until the keeper is gone. What the disk refuses is told to the flow's shard, and tried again until the
/// flow is closed.
pub(crate) fn run(requests: &Receiver<ShelveRequest>, shards: &[Mailbox]) {
    let mut refused: Vec<ShelveRequest> = Vec::new();
    let mut retry_at = Instant::now();
    loop {
        let request = if refused.is_empty() {
            requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            requests.recv_timeout(retry_at.saturating_duration_since(Instant::now()))
        };
        match request {
            Ok(request) => {
                // It stands for all earlier ones of its flow.
                refused.retain(|r| !Arc::ptr_eq(&r.file, &request.file));
                refused.extend(shelve(request, shards));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if Instant::now() >= retry_at {
            refused = refused.into_iter().filter(|r| !r.file.is_closed()).filter_map(|r| shelve(r, shards)).collect();
            retry_at = Instant::now() + RETRY_PAUSE;
        }
    }
}

/// Gives the request back when the disk refused.
fn shelve(request: ShelveRequest, shards: &[Mailbox]) -> Option<ShelveRequest> {
    let error = request.file.shelve(request.full_chunks).err()?;
    let ShelveRequest { flow, ref file, shard, .. } = request;
    shards[shard].post(Message::NotShelved { flow, file: Arc::clone(file), reason: error.to_string() });
    Some(request)
}
