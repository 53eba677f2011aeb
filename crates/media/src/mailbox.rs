//! What others tell a shard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use aimg_core::FlowId;
use tokio::sync::oneshot;

use crate::Error;
use crate::broadcast::Voice;
use crate::flow::Flow;
use crate::mapping::Mapping;
use crate::spool_file::SpoolFile;
use crate::stats::{Counters, add};
use crate::wake::Wake;

/// Messages that may wait for a shard.
pub const MAILBOX_MESSAGES: usize = 1_024;

/// A message.
#[derive(Debug)]
pub(crate) enum Message {
    /// Take a flow.
    Open { flow: Box<Flow>, reply: oneshot::Sender<Result<(), Error>> },
    /// Let a source send to a flow.
    Expect { flow: FlowId, source: SocketAddr, reply: oneshot::Sender<Result<(), Error>> },
    /// Let a flow be heard.
    Hear { flow: FlowId, voice: Voice, reply: oneshot::Sender<Result<(), Error>> },
    /// Take what is in the socket, then give up a flow.
    Close { flow: FlowId, reply: oneshot::Sender<Result<Box<Flow>, Error>> },
    /// The next chunk of a flow's file.
    Chunk { flow: FlowId, file: Arc<SpoolFile>, chunk: Mapping },
    /// There is no next chunk for now.
    ChunkRefused { flow: FlowId, file: Arc<SpoolFile>, reason: String },
    /// The disk does not take full chunks of a flow for now; they stay in memory.
    NotShelved { flow: FlowId, file: Arc<SpoolFile>, reason: String },
}

/// The senders' end.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    sender: SyncSender<Message>,
    wake: Arc<Wake>,
    counters: Arc<Counters>,
}

/// Why a message was not taken.
#[derive(Debug)]
pub(crate) enum NotPosted {
    /// The mailbox is full; here is the message.
    Full(Message),
    /// The shard has ended.
    Gone,
}

impl Mailbox {
    pub(crate) fn new(wake: Arc<Wake>, counters: Arc<Counters>) -> (Self, Receiver<Message>) {
        let (sender, receiver) = sync_channel(MAILBOX_MESSAGES);
        (Self { sender, wake, counters }, receiver)
    }

    /// Posts without waiting.
    pub(crate) fn try_post(&self, message: Message) -> Result<(), NotPosted> {
        match self.sender.try_send(message) {
            Ok(()) => {
                self.wake.wake();
                Ok(())
            }
            Err(TrySendError::Full(message)) => {
                add(&self.counters.mailbox_full, 1);
                Err(NotPosted::Full(message))
            }
            Err(TrySendError::Disconnected(_)) => Err(NotPosted::Gone),
        }
    }

    /// Posts, waiting for room: for threads that may. To a shard that has ended nothing needs to be told.
    pub(crate) fn post(&self, message: Message) {
        if self.sender.send(message).is_ok() {
            self.wake.wake();
        }
    }
}
