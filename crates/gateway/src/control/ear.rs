//! Hearing what Asterisk tells while a command is being done.

use std::sync::Arc;
use std::time::Duration;

use aimg_ami::Event;
use aimg_ari::EventKind;
use aimg_core::Uniqueid;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Events that may wait for one command; what is beyond is not heard, and the command may then time out.
pub(crate) const HEARD_MAX: usize = 1_024;

/// What is told to those who wait.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// An event of AMI.
    Ami(Arc<Event>),
    /// An event of ARI.
    Ari(Arc<EventKind>),
    /// ARI is back: nobody knows what happened meanwhile to what commands have made.
    AriBack,
    /// The link ends.
    End,
}

impl Heard {
    /// A channel that is gone, and its Q.850 cause.
    pub(super) fn gone(&self) -> Option<(&Uniqueid, u16)> {
        match self {
            Self::Ami(event) => match &**event {
                Event::Hangup(hangup) => Some((&hangup.channel.uniqueid, hangup.cause)),
                _ => None,
            },
            Self::Ari(kind) => match &**kind {
                EventKind::ChannelDestroyed { channel, cause, .. } => Some((&channel.id, *cause)),
                _ => None,
            },
            Self::AriBack | Self::End => None,
        }
    }

    /// Whether this channel is gone or out of its bridge: what was done to it there is over.
    pub(super) fn is_parting_of(&self, channel: &Uniqueid) -> bool {
        let left = |event: &Event| matches!(event, Event::BridgeLeave(member) if member.channel.uniqueid == *channel);
        self.gone().is_some_and(|(gone, _)| gone == channel) || matches!(self, Self::Ami(event) if left(event))
    }

    /// A channel that is in our Stasis application from here on.
    pub(super) fn entered(&self) -> Option<&Uniqueid> {
        match self {
            Self::Ari(kind) => match &**kind {
                EventKind::StasisStart { channel, .. } => Some(&channel.id),
                _ => None,
            },
            _ => None,
        }
    }

    /// A channel that left it, or is gone.
    pub(super) fn left(&self) -> Option<&Uniqueid> {
        match self {
            Self::Ari(kind) => match &**kind {
                EventKind::StasisEnd { channel } | EventKind::ChannelDestroyed { channel, .. } => Some(&channel.id),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether nobody knows from here on what there is in Asterisk.
    pub(super) const fn is_break(&self) -> bool {
        matches!(self, Self::AriBack | Self::End)
    }
}

/// One who listens.
pub(super) struct Ear(pub(super) broadcast::Receiver<Heard>);

impl Ear {
    /// Waits for what `find` makes something of; nothing when it does not come in time.
    pub(super) async fn wait<T>(&mut self, time_max: Duration, find: impl FnMut(&Heard) -> Option<T>) -> Option<T> {
        tokio::time::timeout(time_max, self.hear(find)).await.ok().flatten()
    }

    /// The same for as long as the link lasts.
    pub(super) async fn hear<T>(&mut self, mut find: impl FnMut(&Heard) -> Option<T>) -> Option<T> {
        loop {
            match self.0.recv().await {
                Ok(heard) => {
                    if let Some(found) = find(&heard) {
                        return Some(found);
                    }
                }
                Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "a command did not hear all that was told"),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
