//! The actions connection: many callers ask, each gets the answer with its own ActionID.
//!
//! One task owns the connection and what waits for answers. Reading never waits for writing: Asterisk answers in order,
//! and gives up on a peer that does not read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::connection::{Connection, OWN_ACTION_ID};
use crate::counters::Counters;
use crate::heartbeat::{Beat, Heartbeat};
use crate::{Action, ActionError, Config, Error, Message};

/// Where actions are handed in, while the link is up.
#[derive(Clone)]
pub(crate) struct Desk {
    requests: mpsc::Sender<Request>,
    /// One permit for each action that may wait for its answer.
    room: Arc<Semaphore>,
    config: Arc<Config>,
}

/// An action and who waits for its answer until when.
struct Request {
    action: Action,
    waiter: Waiter,
    timeout: Duration,
    due_at: Instant,
    /// Given back when the answer is, so that what waits is bounded from here to the answer.
    room: OwnedSemaphorePermit,
}

enum Waiter {
    Response(oneshot::Sender<Result<Message, ActionError>>),
    List { items: Vec<Message>, done: oneshot::Sender<Result<Vec<Message>, ActionError>> },
}

impl Desk {
    /// A desk, and the task's part of it for [`serve`].
    pub(crate) fn new(config: Arc<Config>) -> (Self, Requests) {
        let actions_max = config.actions_max.clamp(1, Semaphore::MAX_PERMITS);
        let (requests, queue) = mpsc::channel(actions_max);
        (Self { requests, room: Arc::new(Semaphore::new(actions_max)), config }, Requests(queue))
    }

    /// Sends an action and waits for its response.
    pub(crate) async fn send(&self, action: Action) -> Result<Message, ActionError> {
        let (done, answer) = oneshot::channel();
        let name = action.name();
        self.hand_in(action, Waiter::Response(done), self.config.action_timeout).await?;
        answer.await.unwrap_or(Err(ActionError::LinkLost { action: name }))
    }

    /// Sends an action and collects the list that it starts.
    pub(crate) async fn list(&self, action: Action) -> Result<Vec<Message>, ActionError> {
        let (done, answer) = oneshot::channel();
        let name = action.name();
        self.hand_in(action, Waiter::List { items: Vec::new(), done }, self.config.list_timeout).await?;
        answer.await.unwrap_or(Err(ActionError::LinkLost { action: name }))
    }

    async fn hand_in(&self, action: Action, waiter: Waiter, limit: Duration) -> Result<(), ActionError> {
        let name = action.name();
        let due_at = Instant::now() + limit;
        let room = timeout(limit, Arc::clone(&self.room).acquire_owned())
            .await
            .map_err(|_| ActionError::Busy { action: name, waiting_max: self.config.actions_max })?
            .expect("nobody closes the semaphore");
        // There is room for whoever has a permit; what fails is that nobody takes requests any more.
        self.requests
            .try_send(Request { action, waiter, timeout: limit, due_at, room })
            .map_err(|_| ActionError::NotSent { action: name })
    }
}

/// What was handed in and not yet taken.
pub(crate) struct Requests(mpsc::Receiver<Request>);

/// Serves the desk until the connection ends, and says why it ended. Whoever still waits is told what is known.
pub(crate) async fn serve(
    connection: Connection,
    mut requests: Requests,
    config: Arc<Config>,
    counters: Arc<Counters>,
) -> Error {
    let mut waiting = Waiting { config: &config, counters: &counters, by_id: BTreeMap::new() };
    let mut outgoing = Outgoing::default();
    let error = exchange(connection, &mut requests.0, &mut waiting, &mut outgoing).await;
    waiting.abandon(outgoing.written);
    requests.0.close();
    while let Ok(request) = requests.0.try_recv() {
        request.waiter.fail(ActionError::NotSent { action: request.action.name() });
    }
    error
}

async fn exchange(
    mut connection: Connection,
    requests: &mut mpsc::Receiver<Request>,
    waiting: &mut Waiting<'_>,
    outgoing: &mut Outgoing,
) -> Error {
    let config = waiting.config;
    let mut heartbeat = Heartbeat::new(config.ping_interval, config.ping_timeout, Instant::now());
    let mut next_id = OWN_ACTION_ID + 1;
    loop {
        let wake_at = waiting.due_at().map_or(heartbeat.due_at(), |due| due.min(heartbeat.due_at()));
        tokio::select! {
            message = connection.reader.message() => match message {
                Ok(message) => {
                    heartbeat.heard(Instant::now());
                    waiting.answer(message);
                }
                Err(error) => return error,
            },
            count = connection.writer.advance(&outgoing.bytes), if outgoing.is_pending() => match count {
                Ok(count) => outgoing.wrote(count),
                Err(source) => return Error::Broken { peer: config.peer(), source },
            },
            Some(request) = requests.recv() => {
                outgoing.add(&request.action, next_id);
                waiting.add(next_id, request, outgoing.end());
                next_id += 1;
            }
            () = sleep_until(wake_at) => {
                let now = Instant::now();
                waiting.expire(now);
                match heartbeat.beat(now) {
                    Beat::Wait => {}
                    Beat::Ping => outgoing.add(&Action::ping(), OWN_ACTION_ID),
                    Beat::Dead => {
                        let waited = config.ping_timeout;
                        return Error::Silent { peer: config.peer(), waiting_for: "ping", waited };
                    }
                }
            }
        }
    }
}

/// Bytes on their way to the socket.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    /// Bytes that the socket, or TLS before it, has taken since the connection began.
    written: u64,
    /// Some of them may still be with TLS.
    flush_due: bool,
}

impl Outgoing {
    fn add(&mut self, action: &Action, action_id: u64) {
        action.encode(action_id, &mut self.bytes);
    }

    /// Whether there is something to write or to flush.
    fn is_pending(&self) -> bool {
        self.flush_due || !self.bytes.is_empty()
    }

    /// So many bytes were taken; none when all were flushed.
    fn wrote(&mut self, count: usize) {
        self.bytes.drain(..count);
        self.written += count as u64;
        self.flush_due = count > 0;
    }

    /// What `written` will be when all is written.
    fn end(&self) -> u64 {
        self.written + self.bytes.len() as u64
    }
}

/// Who waits for which answer.
struct Waiting<'c> {
    config: &'c Config,
    counters: &'c Counters,
    by_id: BTreeMap<u64, Pending>,
}

struct Pending {
    action: &'static str,
    waiter: Waiter,
    timeout: Duration,
    due_at: Instant,
    /// The action is whole at Asterisk's side of the socket once this many bytes are written.
    end: u64,
    _room: OwnedSemaphorePermit,
}

impl Waiting<'_> {
    fn add(&mut self, id: u64, request: Request, end: u64) {
        self.counters.actions.add(1);
        let Request { action, waiter, timeout, due_at, room } = request;
        self.by_id.insert(id, Pending { action: action.name(), waiter, timeout, due_at, end, _room: room });
    }

    fn due_at(&self) -> Option<Instant> {
        self.by_id.values().map(|pending| pending.due_at).min()
    }

    fn expire(&mut self, now: Instant) {
        for (_, late) in self.by_id.extract_if(.., |_, pending| pending.due_at <= now) {
            self.counters.action_timeouts.add(1);
            late.waiter.fail(ActionError::TimedOut { action: late.action, waited: late.timeout });
        }
    }

    /// The connection is gone after `written` bytes.
    fn abandon(&mut self, written: u64) {
        for (_, pending) in std::mem::take(&mut self.by_id) {
            let action = pending.action;
            let whole = pending.end <= written;
            let error = if whole { ActionError::LinkLost { action } } else { ActionError::NotSent { action } };
            pending.waiter.fail(error);
        }
    }

    /// Gives a message to who waits for it.
    fn answer(&mut self, message: Message) {
        let id = message.first("ActionID").and_then(|id| id.parse().ok());
        match id.and_then(|id| self.by_id.remove_entry(&id)) {
            Some((id, pending)) => {
                if let Some(pending) = pending.take(message, self.config.list_items_max) {
                    self.by_id.insert(id, pending);
                }
            }
            // Pongs, and FullyBooted, which comes after the login whatever the mask of events is.
            None if id == Some(OWN_ACTION_ID) || message.first("Event") == Some("FullyBooted") => {}
            None => self.counters.stray_messages.add(1),
        }
    }
}

impl Pending {
    /// Takes a message that bears this action's id; gives itself back when more must come.
    fn take(self, message: Message, items_max: usize) -> Option<Self> {
        match message.first("Response") {
            Some("Error") => {
                self.waiter.fail(ActionError::Rejected { action: self.action, reason: reason(&message) });
                None
            }
            Some(_) => self.respond(message),
            None => self.collect(message, items_max),
        }
    }

    fn respond(self, message: Message) -> Option<Self> {
        match self.waiter {
            Waiter::Response(done) => drop(done.send(Ok(message))),
            Waiter::List { .. } if message.first("EventList").is_some() => return Some(self),
            Waiter::List { .. } => self.no_list("Asterisk answered without a list".to_owned()),
        }
        None
    }

    fn collect(mut self, message: Message, items_max: usize) -> Option<Self> {
        // An event of an action that was not asked as a list: its response is still to come.
        let Waiter::List { items, .. } = &mut self.waiter else { return Some(self) };
        match message.first("EventList") {
            None if items.len() < items_max => {
                items.push(message);
                return Some(self);
            }
            None => self.no_list(format!("it has more than {items_max} items")),
            Some("Complete") => self.waiter.complete(),
            Some(end) => {
                let reason = format!("Asterisk ended it as `{end}`");
                self.no_list(reason);
            }
        }
        None
    }

    fn no_list(self, reason: String) {
        self.waiter.fail(ActionError::NoList { action: self.action, reason });
    }
}

/// Why Asterisk rejected an action. The reason of a `Command` is in its first line of output.
fn reason(message: &Message) -> String {
    let output = message.all("Output").find(|line| !line.trim().is_empty());
    output.or_else(|| message.first("Message")).unwrap_or("no reason given").to_owned()
}

impl Waiter {
    /// Hands the collected list over.
    fn complete(self) {
        if let Self::List { items, done } = self {
            drop(done.send(Ok(items)));
        }
    }

    /// Tells the waiter; one that has gone away needs no answer.
    fn fail(self, error: ActionError) {
        match self {
            Self::Response(done) => drop(done.send(Err(error))),
            Self::List { done, .. } => drop(done.send(Err(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn what_was_not_wholly_written_was_surely_not_sent() {
        let (config, counters) = (Config::new("h", "u", SecretString::from("s")), Counters::default());
        let room = Arc::new(Semaphore::new(2));
        let mut outgoing = Outgoing::default();
        let mut waiting = Waiting { config: &config, counters: &counters, by_id: BTreeMap::new() };
        let mut hand_in = |id| {
            let (done, answer) = oneshot::channel();
            let request = Request {
                action: Action::ping(),
                waiter: Waiter::Response(done),
                timeout: Duration::ZERO,
                due_at: Instant::now(),
                room: Arc::clone(&room).try_acquire_owned().unwrap(),
            };
            outgoing.add(&request.action, id);
            waiting.add(id, request, outgoing.end());
            answer
        };
        let (first, second) = (hand_in(1), hand_in(2));
        outgoing.wrote(outgoing.bytes.len() - 1);
        waiting.abandon(outgoing.written);
        let outcome = |mut answer: oneshot::Receiver<Result<Message, _>>| answer.try_recv().unwrap().unwrap_err();
        assert!(matches!(outcome(first), ActionError::LinkLost { action: "Ping" }));
        assert!(matches!(outcome(second), ActionError::NotSent { action: "Ping" }));
    }
}
