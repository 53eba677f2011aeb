//! Functions that a program registers for events: a [`Manager`] calls each for what it asked for.
//!
//! Every handler has a task and a bounded queue of its own. So one that is slow misses events, which is counted, and delays
//! neither the reader nor the others; and one that panics has panicked over one event only.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::client::{Events, Incoming, Up};
use crate::{Client, Config, Error, Event, Message};

/// A link to Asterisk that calls functions when something happens. Clones are the same manager.
///
/// ```no_run
/// # async fn example(config: aimg_ami::Config) {
/// use aimg_ami::{Event, Manager};
///
/// let manager = Manager::new(config);
/// manager.on("Newchannel", |event| async move {
///     if let Event::NewChannel(channel) = event {
///         println!("{} begins", channel.name);
///     }
/// });
/// manager.on("Queue*", |event| async move { println!("{event:?}") });
/// manager.on_message("UserEvent", |message| async move { println!("{:?}", message.first("UserEvent")) });
/// manager.run().await;
/// # }
/// ```
///
/// Which events come at all is said by [`Config::event_mask`] and [`Config::event_filters`]. The link is kept up for ever,
/// and ends by [`Manager::close`], or once all managers and the clients that [`Manager::start`] gave are dropped; a handler
/// that holds one keeps it.
#[derive(Clone)]
pub struct Manager {
    config: Arc<Config>,
    registry: Arc<Registry>,
    started: Arc<OnceLock<Started>>,
}

struct Started {
    client: Client,
    /// Its sender is dropped when the last event was given to its handlers.
    ended: watch::Receiver<()>,
}

/// A change of the link.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LinkChange {
    /// It is up, and this is what Asterisk was like.
    Up(Arc<Up>),
    /// It was lost, or could not be had.
    Down {
        /// Why.
        error: Arc<Error>,
        /// When it is tried again; never after a refusal with [`Config::give_up_on_refusal`].
        retry_in: Option<Duration>,
    },
}

/// A registered handler. Dropping this changes nothing.
#[derive(Clone)]
pub struct Handler {
    registry: Weak<Registry>,
    counters: Arc<HandlerCounters>,
}

/// What happened at one handler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerCounts {
    /// Events it has done with, panics included.
    pub handled: u64,
    /// Events it missed because [`Config::handler_events_max`] waited already.
    pub missed: u64,
    /// Events over which it panicked.
    pub panics: u64,
}

#[derive(Default)]
struct HandlerCounters {
    handled: AtomicU64,
    missed: AtomicU64,
    panics: AtomicU64,
}

impl Manager {
    /// A manager that does not connect yet, so that its handlers miss nothing.
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config), registry: Arc::default(), started: Arc::default() }
    }

    /// Calls `handler` for each event named `pattern`, in whatever case: `Hangup` for one, `Queue*` for all that begin so,
    /// `*` for all. One event at a time, in order; what takes long is better spawned. Needs a tokio runtime.
    pub fn on<F, Done>(&self, pattern: &str, handler: F) -> Handler
    where
        F: Fn(Event) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        self.on_message(pattern, move |message| handler(Event::from(&*message)))
    }

    /// The same for all events.
    pub fn on_any<F, Done>(&self, handler: F) -> Handler
    where
        F: Fn(Event) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        self.on("*", handler)
    }

    /// The same with the event as Asterisk sent it; [`crate::event_time`] tells when.
    pub fn on_message<F, Done>(&self, pattern: &str, handler: F) -> Handler
    where
        F: Fn(Arc<Message>) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        let (queue, handler) = self.spawn(handler);
        self.registry.write(|entries| {
            entries.events.push(Entry { wanted: Pattern::new(pattern), queue, handler: handler.counters.clone() })
        });
        handler
    }

    /// Calls `handler` whenever the link comes up or goes down.
    pub fn on_link<F, Done>(&self, handler: F) -> Handler
    where
        F: Fn(LinkChange) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        let (queue, handler) = self.spawn(handler);
        self.registry
            .write(|entries| entries.links.push(Entry { wanted: (), queue, handler: handler.counters.clone() }));
        handler
    }

    /// Begins to connect in the background, the first time, and returns what asks Asterisk. Needs a tokio runtime.
    pub fn start(&self) -> Client {
        self.started().client.clone()
    }

    /// Does the same, and returns once the link has ended for good and every event was given to its handlers.
    pub async fn run(&self) {
        let mut ended = self.started().ended.clone();
        // Nothing is ever sent: the end of the sender is what is waited for.
        let _ = ended.changed().await;
    }

    /// Ends the link. Handlers still get what was received.
    pub fn close(&self) {
        if let Some(started) = self.started.get() {
            started.client.close();
        }
    }

    fn started(&self) -> &Started {
        self.started.get_or_init(|| {
            let (client, events) = Client::start(Config::clone(&self.config));
            let (ending, ended) = watch::channel(());
            let registry = Arc::clone(&self.registry);
            tokio::spawn(async move {
                distribute(events, &registry).await;
                drop(ending);
            });
            Started { client, ended }
        })
    }

    /// The task of a handler, and where its queue begins.
    fn spawn<T, F, Done>(&self, handler: F) -> (mpsc::Sender<T>, Handler)
    where
        T: Send + 'static,
        F: Fn(T) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        let (queue, mut waiting) = mpsc::channel(self.config.handler_events_max.max(1));
        let counters = Arc::new(HandlerCounters::default());
        let registered = Handler { registry: Arc::downgrade(&self.registry), counters: Arc::clone(&counters) };
        tokio::spawn(async move {
            while let Some(told) = waiting.recv().await {
                // Inside of the block, so that a panic before the first await counts as well.
                if !contained(async { handler(told).await }).await {
                    counters.panics.fetch_add(1, Ordering::Relaxed);
                }
                counters.handled.fetch_add(1, Ordering::Relaxed);
            }
        });
        (queue, registered)
    }
}

impl Handler {
    /// What has happened at it.
    pub fn counts(&self) -> HandlerCounts {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let HandlerCounters { handled, missed, panics } = &*self.counters;
        HandlerCounts { handled: value(handled), missed: value(missed), panics: value(panics) }
    }

    /// Gives it no more events, for good; it is still called for those that wait.
    pub fn remove(&self) {
        let Some(registry) = self.registry.upgrade() else { return };
        let other = |counters: &Arc<HandlerCounters>| !Arc::ptr_eq(counters, &self.counters);
        registry.write(|entries| {
            entries.events.retain(|entry| other(&entry.handler));
            entries.links.retain(|entry| other(&entry.handler));
        });
    }
}

/// Who wants what.
#[derive(Default)]
struct Registry(RwLock<Entries>);

#[derive(Default)]
struct Entries {
    events: Vec<Entry<Pattern, Arc<Message>>>,
    links: Vec<Entry<(), LinkChange>>,
}

struct Entry<W, T> {
    wanted: W,
    queue: mpsc::Sender<T>,
    handler: Arc<HandlerCounters>,
}

impl Registry {
    // A panic cannot leave the lists half changed, so a poisoned lock is as good as any.
    fn write(&self, change: impl FnOnce(&mut Entries)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn read(&self, look: impl FnOnce(&Entries)) {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner));
    }

    fn tell_event(&self, message: Message) {
        let message = Arc::new(message);
        let name = message.first("Event").unwrap_or_default();
        self.read(|entries| {
            let wanting = entries.events.iter().filter(|entry| entry.wanted.fits(name));
            wanting.for_each(|entry| entry.tell(Arc::clone(&message)));
        });
    }

    fn tell_link(&self, change: &LinkChange) {
        self.read(|entries| entries.links.iter().for_each(|entry| entry.tell(change.clone())));
    }
}

impl<W, T> Entry<W, T> {
    fn tell(&self, told: T) {
        // Its task ends after this sender only, so what fails is that there is no room.
        if self.queue.try_send(told).is_err() {
            self.handler.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Names of events.
enum Pattern {
    Name(String),
    Prefix(String),
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        match pattern.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Name(pattern.to_owned()),
        }
    }

    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own.eq_ignore_ascii_case(name),
            Self::Prefix(own) => name.get(..own.len()).is_some_and(|head| head.eq_ignore_ascii_case(own)),
        }
    }
}

/// Gives everything to who wants it, until the link has ended for good.
async fn distribute(mut events: Events, registry: &Registry) {
    while let Some(incoming) = events.incoming().await {
        match incoming {
            Incoming::Message(message) => registry.tell_event(message),
            Incoming::Up(up) => registry.tell_link(&LinkChange::Up(Arc::new(up))),
            Incoming::Down { error, retry_in } => {
                registry.tell_link(&LinkChange::Down { error: Arc::new(error), retry_in });
            }
        }
    }
}

/// Whether the future came to its end without a panic.
async fn contained(future: impl Future<Output = ()>) -> bool {
    let mut future = pin!(future);
    // After a panic the future is not polled again, so nobody sees what it may have left half done.
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(|()| true),
        Err(_) => Poll::Ready(false),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names() {
        for (pattern, name, fits) in [
            ("Hangup", "Hangup", true),
            ("hangup", "Hangup", true),
            ("Hangup", "HangupRequest", false),
            ("Hangup*", "HangupRequest", true),
            ("queue*", "QueueCallerJoin", true),
            ("Queue*", "Que", false),
            ("*", "Anything", true),
            ("*", "", true),
            ("é*", "e", false),
        ] {
            assert_eq!(Pattern::new(pattern).fits(name), fits, "{pattern} {name}");
        }
    }
}
