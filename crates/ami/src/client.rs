//! What a program holds of a link to Asterisk: a [`Client`] to ask with, and the [`Events`] to follow.

use std::sync::Arc;
use std::time::Duration;

use aimg_core::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::counters::{Counters, Counts};
use crate::desk::Desk;
use crate::event::event_time;
use crate::link::{Change, Link};
use crate::{Action, ActionError, BridgeSnapshot, CommandError, Config, Error, Event, ListedChannel, Message, queue};

/// Asks Asterisk, while the link is up. Clones share one link, which ends when the last of them is dropped, or the
/// [`Events`] are.
#[derive(Clone)]
pub struct Client {
    desk: watch::Receiver<Option<Desk>>,
    counters: Arc<Counters>,
    closing: Arc<watch::Sender<bool>>,
}

impl Client {
    /// Starts to connect in the background, for ever. Needs a tokio runtime.
    pub fn start(config: Config) -> (Self, Events) {
        let counters = Arc::new(Counters::default());
        let (closing, closed) = watch::channel(false);
        let (desk_tx, desk) = watch::channel(None);
        // One change at a time: a link is built anew only after the consumer has taken the end of the one before and all
        // its events, so that no more than one queue of events exists.
        let (changes_tx, changes) = mpsc::channel(1);
        let link = Link::new(config, Arc::clone(&counters), desk_tx, changes_tx);
        tokio::spawn(link.run(closed));
        let client = Self { desk, counters, closing: Arc::new(closing) };
        (client, Events { changes, live: None })
    }

    /// Sends an action and returns Asterisk's response to it.
    pub async fn send(&self, action: Action) -> Result<Message, ActionError> {
        self.desk(&action)?.send(action).await
    }

    /// Sends an action that starts a list and returns the list's items.
    pub async fn list(&self, action: Action) -> Result<Vec<Message>, ActionError> {
        self.desk(&action)?.list(action).await
    }

    /// Runs a command of Asterisk's console and returns the lines that it puts out. Needs write class `command`. Asterisk
    /// serves nothing else on the connection until it is done, and more than [`crate::Limits`] allows costs the link.
    pub async fn command(&self, command: &str) -> Result<Vec<String>, CommandError> {
        let answer = self.send(Action::command(command)?).await?;
        Ok(answer.all("Output").map(str::to_owned).collect())
    }

    /// Whether actions can be sent.
    pub fn is_up(&self) -> bool {
        self.desk.borrow().is_some()
    }

    /// What was counted since the start.
    pub fn counts(&self) -> Counts {
        self.counters.counts()
    }

    /// Ends the link, for all clones; [`Events`] end once what was received is taken.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    fn desk(&self, action: &Action) -> Result<Desk, ActionError> {
        self.desk.borrow().clone().ok_or(ActionError::NotSent { action: action.name() })
    }
}

/// The link and the calls, as they change.
pub struct Events {
    changes: mpsc::Receiver<Change>,
    /// The events of the link that is, or was last, up.
    live: Option<queue::Receiver>,
}

/// One thing to know.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// The link is up.
    Up(Up),
    /// Something happened in Asterisk.
    Event {
        /// When, by Asterisk's clock; only where manager.conf has `timestampevents = yes`.
        at: Option<Timestamp>,
        /// What.
        event: Event,
    },
    /// The link was lost, or could not be had.
    Down {
        /// Why.
        error: Error,
        /// When it is tried again; never after a refusal with [`Config::give_up_on_refusal`].
        retry_in: Option<Duration>,
    },
}

/// The state of an Asterisk server when the link came up.
///
/// Events were being read before the lists were asked for, and follow after this. So nothing is missing in between, but an
/// event may tell what the lists already show: apply it again without harm. A channel that the lists do not show and no
/// event announces is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Up {
    /// What it is.
    pub server: Server,
    /// All its channels.
    pub channels: Vec<ListedChannel>,
    /// All its bridges.
    pub bridges: Vec<BridgeSnapshot>,
}

/// An Asterisk server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// The version of the protocol, such as `11.0.0`.
    pub ami_version: String,
    /// The version of Asterisk, such as `22.10.1`.
    pub asterisk_version: String,
    /// `systemname` of asterisk.conf, which begins its Uniqueids; usually empty.
    pub system_name: String,
    /// Date and time of its start, in its own local time. Only good to compare: another text is another run of Asterisk.
    pub started_at: String,
}

/// One thing to know, its event as it came.
pub(crate) enum Incoming {
    Message(Message),
    Up(Up),
    Down { error: Error, retry_in: Option<Duration> },
}

impl Events {
    /// The next thing to know; nothing after the client was closed or has given up. May be cancelled without losing
    /// anything.
    pub async fn next(&mut self) -> Option<Notice> {
        Some(match self.incoming().await? {
            Incoming::Message(message) => Notice::Event { at: event_time(&message), event: Event::from(message) },
            Incoming::Up(up) => Notice::Up(up),
            Incoming::Down { error, retry_in } => Notice::Down { error, retry_in },
        })
    }

    /// Events that wait for [`Events::next`].
    pub fn backlog(&self) -> usize {
        self.live.as_ref().map_or(0, queue::Receiver::len)
    }

    /// The same without looking into events.
    pub(crate) async fn incoming(&mut self) -> Option<Incoming> {
        if let Some(live) = &mut self.live {
            if let Some(message) = live.pop().await {
                return Some(Incoming::Message(message));
            }
            self.live = None;
        }
        Some(match self.changes.recv().await? {
            Change::Up(up, events) => {
                self.live = Some(events);
                Incoming::Up(up)
            }
            Change::Down(error, retry_in) => Incoming::Down { error, retry_in },
        })
    }
}
