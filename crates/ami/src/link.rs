//! The life of a link: connect, resync, follow until it breaks, wait, and again, for ever.

use std::sync::Arc;
use std::time::Duration;

use aimg_core::Backoff;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::client::Up;
use crate::connection::{Connection, Wanted};
use crate::counters::Counters;
use crate::desk::{self, Desk};
use crate::listener::listen;
use crate::resync::resync;
use crate::{Config, Error, queue};

/// What the consumer is told beside events.
pub(crate) enum Change {
    /// The link is up; its events are in the queue.
    Up(Up, queue::Receiver),
    /// It is down, and tried again after a while or never.
    Down(Error, Option<Duration>),
}

/// The task behind a client.
pub(crate) struct Link {
    config: Arc<Config>,
    counters: Arc<Counters>,
    desk: watch::Sender<Option<Desk>>,
    changes: mpsc::Sender<Change>,
}

impl Link {
    pub(crate) fn new(
        config: Config,
        counters: Arc<Counters>,
        desk: watch::Sender<Option<Desk>>,
        changes: mpsc::Sender<Change>,
    ) -> Self {
        Self { config: Arc::new(config), counters, desk, changes }
    }

    /// Runs until nobody wants it any more.
    pub(crate) async fn run(self, mut closing: watch::Receiver<bool>) {
        tokio::select! {
            () = self.live() => {}
            // An error means that the last client was dropped.
            _ = closing.wait_for(|closing| *closing) => {}
            () = self.changes.closed() => {}
        }
        self.desk.send_replace(None);
    }

    async fn live(&self) {
        let mut backoff = Backoff::new(self.config.reconnect_delay_min, self.config.reconnect_delay_max);
        // Room means that the consumer has taken all of the link before: what it cannot follow is not worth connecting.
        while self.changes.reserve().await.is_ok() {
            let begun_at = Instant::now();
            let error = self.follow().await;
            self.desk.send_replace(None);
            self.counters.failures.add(1);
            if matches!(error, Error::Unreadable { .. }) {
                self.counters.unreadable_streams.add(1);
            }
            if begun_at.elapsed() > self.config.reconnect_delay_max {
                backoff.reset();
            }
            let retry_in = self.retry_in(&error, &mut backoff);
            if self.changes.send(Change::Down(error, retry_in)).await.is_err() {
                return;
            }
            let Some(delay) = retry_in else { return };
            sleep(delay).await;
        }
    }

    fn retry_in(&self, error: &Error, backoff: &mut Backoff) -> Option<Duration> {
        if !error.is_refusal() {
            return Some(backoff.failed(rand::random()));
        }
        // Only upwards: sooner could look like an attack to the server.
        (!self.config.give_up_on_refusal).then(|| self.config.refused_delay.mul_f64(1.0 + rand::random::<f64>() / 4.0))
    }

    /// One link, from the connect to the error that ends it.
    async fn follow(&self) -> Error {
        // Dropping the set ends both tasks, whichever way this function is left.
        let mut tasks = JoinSet::new();
        match self.bring_up(&mut tasks).await {
            Ok((desk, up, events)) => {
                self.counters.links_up.add(1);
                self.desk.send_replace(Some(desk));
                // There is room, or nobody listens any more, which ends `run`.
                let _ = self.changes.send(Change::Up(up, events)).await;
                first_end(&mut tasks).await
            }
            Err(error) => error,
        }
    }

    /// Events first, actions second, lists last: what happens during the lists is in the queue.
    async fn bring_up(&self, tasks: &mut JoinSet<Error>) -> Result<(Desk, Up, queue::Receiver), Error> {
        let config = &self.config;
        let events = Connection::open(config, Wanted::Events, &self.counters).await?;
        let (events_tx, events_rx) = queue::queue(config.events_max, config.events_bytes_max);
        tasks.spawn(listen(events, events_tx, Arc::clone(config), Arc::clone(&self.counters)));

        let actions = tokio::select! {
            actions = Connection::open(config, Wanted::Answers, &self.counters) => actions?,
            error = first_end(tasks) => return Err(error),
        };
        let ami_version = actions.ami_version.clone();
        let (desk, requests) = Desk::new(Arc::clone(config));
        tasks.spawn(desk::serve(actions, requests, Arc::clone(config), Arc::clone(&self.counters)));

        let up = tokio::select! {
            biased;
            // The reason of the end, rather than what the lists suffer from it.
            error = first_end(tasks) => return Err(error),
            up = resync(&desk, ami_version, config) => up?,
        };
        Ok((desk, up, events_rx))
    }
}

/// Waits for the first of the link's tasks to end.
async fn first_end(tasks: &mut JoinSet<Error>) -> Error {
    match tasks.join_next().await {
        Some(Ok(error)) => error,
        Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
        None => unreachable!("the events' task was spawned before anybody waits"),
    }
}
