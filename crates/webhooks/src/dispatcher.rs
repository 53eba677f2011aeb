//! Works off what is to be told.
//!
//! One task looks at the store: when something was left there by this program, when a message has left a place free, and
//! every second in case that another node has left something. It takes a few messages of each webhook that has some due, and
//! each is sent by a task of its own. There is room for so many at once in all, of one tenant, and of one webhook; a webhook
//! whose last message did not arrive has room for one. So receivers that hang fill their own places only.
//!
//! A message is taken under a claim for a while (`store`). Whatever dies in between, it is taken again when that is over, by
//! whichever node comes first: nothing is lost, and a receiver may see a message twice, under the same `webhook-id`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aimg_core::{TenantId, Timestamp, WebhookId};
use aimg_store::{Attempt, DueWebhook, Next, PendingDelivery, Settled, Store, WebhookBacklog};
use rand::seq::SliceRandom;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::clock::now;
use crate::courier::{Answer, Courier, Failure, Message};
use crate::schedule::Schedule;

/// How often the store is looked at where nobody has rung.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How soon it is looked at again when a message has left a place free: several leave together.
const LOOK_SOON: Duration = Duration::from_millis(20);
/// How often it is counted what waits.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// How often old deliveries are removed.
const PURGE_EVERY: Duration = Duration::from_secs(600);
/// Rows of one removal, so that nobody waits long for the table.
const PURGED_AT_ONCE: u64 = 1_000;
/// Such removals in a row.
const PURGES_MAX: u32 = 100;
/// Between two tries to write what came of a message while the store is away.
const SETTLE_PAUSE: Duration = Duration::from_millis(500);
/// How long a stop waits for messages under way.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// A webhook is disabled only over a message that was tried so often, not over the first one after a long silence.
const DISABLING_ATTEMPTS: u32 = 5;
/// The receiver wants to hear nothing any more.
const GONE: u16 = 410;

/// The settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Messages under way at once. Each holds its body (some KB) and a connection. Default 256.
    pub sending_max: usize,
    /// Of them, those of one tenant. Default 16.
    pub sending_of_tenant_max: usize,
    /// Of them, those to one webhook. Default 4.
    pub sending_to_webhook_max: usize,
    /// For how long a message is taken: longer than a request may last. Default 25 s.
    pub lease: Duration,
    /// When a message is tried again.
    pub schedule: Schedule,
    /// A webhook that nothing has reached for so long is disabled. Default 5 days.
    pub disable_after: Duration,
    /// Deliveries older than this are removed, whatever became of them. Default 14 days.
    pub retention: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sending_max: 256,
            sending_of_tenant_max: 16,
            sending_to_webhook_max: 4,
            lease: Duration::from_secs(25),
            schedule: Schedule::default(),
            disable_after: Duration::from_secs(5 * 24 * 3_600),
            retention: Duration::from_secs(14 * 24 * 3_600),
        }
    }
}

/// What a dispatcher has done, and what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observation {
    /// Messages that arrived.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Messages that are not tried any more.
    pub gave_up: u64,
    /// Webhooks that were disabled because nothing reached them.
    pub disabled: u64,
    /// Messages under way.
    pub sending: u64,
    /// So many may be.
    pub sending_max: u64,
    /// Messages of all nodes that wait for their next attempt, or are under way.
    pub pending: u64,
    /// How old the oldest of them is.
    pub oldest_age: Duration,
}

#[derive(Debug, Default)]
struct Counters {
    delivered: AtomicU64,
    failed: AtomicU64,
    gave_up: AtomicU64,
    disabled: AtomicU64,
    sending: AtomicU64,
    backlog: Mutex<WebhookBacklog>,
}

/// Looks at a dispatcher.
#[derive(Clone, Debug)]
pub struct Watch {
    counters: Arc<Counters>,
    sending_max: usize,
}

impl Watch {
    /// What it has done, and what waits.
    pub fn observe(&self) -> Observation {
        let Counters { delivered, failed, gave_up, disabled, sending, backlog } = &*self.counters;
        let [delivered, failed, gave_up, disabled, sending] =
            [delivered, failed, gave_up, disabled, sending].map(|counter| counter.load(Ordering::Relaxed));
        let WebhookBacklog { pending, oldest_at } = *backlog.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest_age = oldest_at.map_or(Duration::ZERO, |at| now().since(at));
        let sending_max = self.sending_max as u64;
        Observation { delivered, failed, gave_up, disabled, sending, sending_max, pending, oldest_age }
    }
}

/// A running dispatcher. Dropping it ends it at once.
#[derive(Debug)]
pub struct Dispatcher {
    watch: Watch,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Dispatcher {
    /// Begins to work off what is in the store.
    pub fn start(config: Config, store: Store, courier: Courier) -> Self {
        let (stop, stopped) = watch::channel(false);
        let watch = Watch { counters: Arc::default(), sending_max: config.sending_max };
        let rounds = Rounds {
            post: Post { store, courier, config: Arc::new(config), counters: Arc::clone(&watch.counters) },
            sending: JoinSet::new(),
            places: Places::default(),
            is_away: false,
        };
        Self { watch, stop, task: tokio::spawn(rounds.run(stopped)) }
    }

    /// Shows what it does, for as long as somebody looks.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Takes no more messages, and returns when those under way have arrived or a short time is over. What has not is tried
    /// again at the next start.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let _ = (&mut self.task).await;
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whose messages are under way.
#[derive(Debug, Default)]
struct Places {
    of_webhook: HashMap<WebhookId, (TenantId, usize)>,
}

impl Places {
    fn taken(&self) -> usize {
        self.of_webhook.values().map(|(_, taken)| taken).sum()
    }

    /// How many more messages to this webhook may be under way.
    fn free(&self, due: DueWebhook, config: &Config) -> usize {
        let of_tenant = self.of_webhook.values().filter(|(tenant, _)| *tenant == due.tenant);
        let of_tenant: usize = of_tenant.map(|(_, taken)| taken).sum();
        let of_webhook = self.of_webhook.get(&due.id).map_or(0, |(_, taken)| *taken);
        let of_webhook_max = if due.is_failing { 1 } else { config.sending_to_webhook_max };
        let free = [
            config.sending_max.saturating_sub(self.taken()),
            config.sending_of_tenant_max.saturating_sub(of_tenant),
            of_webhook_max.saturating_sub(of_webhook),
        ];
        free.into_iter().min().unwrap_or(0)
    }

    fn take(&mut self, due: DueWebhook, count: usize) {
        self.of_webhook.entry(due.id).or_insert((due.tenant, 0)).1 += count;
    }

    fn leave(&mut self, webhook: WebhookId) {
        if let Some((_, taken)) = self.of_webhook.get_mut(&webhook) {
            *taken -= 1;
            if *taken == 0 {
                self.of_webhook.remove(&webhook);
            }
        }
    }
}

/// The task that looks at the store.
struct Rounds {
    post: Post,
    /// One a message; it gives the webhook that has a place free then.
    sending: JoinSet<WebhookId>,
    places: Places,
    /// Nobody is told twice that the store is away.
    is_away: bool,
}

impl Rounds {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let [mut count, mut purge] = [COUNT_EVERY, PURGE_EVERY].map(interval);
        purge.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look_at = Instant::now();
        loop {
            tokio::select! {
                () = stopped(&mut stop) => break,
                () = sleep_until(look_at) => {
                    self.look().await;
                    look_at = Instant::now() + LOOK_EVERY;
                }
                () = self.post.store.has_deliveries() => look_at = look_at.min(Instant::now()),
                Some(sent) = self.sending.join_next() => {
                    self.left(sent);
                    look_at = look_at.min(Instant::now() + LOOK_SOON);
                }
                _ = count.tick() => self.count().await,
                _ = purge.tick() => self.purge().await,
            }
        }
        let all_sent = async { while self.sending.join_next().await.is_some() {} };
        let _ = timeout(STOP_PATIENCE, all_sent).await;
    }

    /// Takes what is due and has room.
    async fn look(&mut self) {
        let due = self.post.store.due_webhooks(now()).await;
        let mut due = self.told(due).unwrap_or_default();
        // When there is not room for all, none is always the last.
        due.shuffle(&mut rand::rng());
        for due in due {
            let room = self.places.free(due, &self.post.config);
            if room == 0 {
                continue;
            }
            let lease = self.post.config.lease;
            let taken = self.post.store.take_deliveries(due.id, now(), lease, room as u64).await;
            let Some(order) = self.told(taken).flatten() else { continue };
            self.places.take(due, order.deliveries.len());
            let secrets: Arc<[SecretString]> = order.secrets.into();
            for delivery in order.deliveries {
                let (post, url, secrets) = (self.post.clone(), order.url.clone(), Arc::clone(&secrets));
                self.post.counters.sending.fetch_add(1, Ordering::Relaxed);
                self.sending.spawn(async move {
                    let until = Instant::now() + post.config.lease;
                    post.deliver(&url, &secrets, &delivery, until).await;
                    delivery.webhook
                });
            }
        }
    }

    fn left(&mut self, sent: Result<WebhookId, tokio::task::JoinError>) {
        self.post.counters.sending.fetch_sub(1, Ordering::Relaxed);
        match sent {
            Ok(webhook) => self.places.leave(webhook),
            // Its place stays taken; it is a defect, and told as one.
            Err(error) => tracing::error!(%error, "a message of a webhook was not sent to its end"),
        }
    }

    async fn count(&mut self) {
        let counted = self.post.store.webhook_backlog().await;
        if let Some(backlog) = self.told(counted) {
            *self.post.counters.backlog.lock().unwrap_or_else(PoisonError::into_inner) = backlog;
        }
    }

    async fn purge(&mut self) {
        let retention_us = i64::try_from(self.post.config.retention.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(now().as_micros().saturating_sub(retention_us));
        for _ in 0..PURGES_MAX {
            let removed = self.post.store.purge_deliveries(before, PURGED_AT_ONCE).await;
            if self.told(removed).is_none_or(|removed| removed < PURGED_AT_ONCE) {
                break;
            }
        }
    }

    /// Tells the log that the store is away, once, and that it is back.
    fn told<T>(&mut self, result: aimg_store::Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.is_away = false;
                Some(value)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_away, true) {
                    tracing::warn!(%error, "webhooks wait: what is to be told cannot be read from the store");
                }
                None
            }
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// What sending a message takes.
#[derive(Clone)]
struct Post {
    store: Store,
    courier: Courier,
    config: Arc<Config>,
    counters: Arc<Counters>,
}

impl Post {
    /// Sends a message and writes what came of it, until its claim is over.
    async fn deliver(&self, url: &str, secrets: &[SecretString], delivery: &PendingDelivery, until: Instant) {
        let message = Message { url, secrets, id: &delivery.event_id, body: &delivery.body };
        let outcome = self.courier.send(message).await;
        let attempt = judge(&outcome, delivery.attempt, &self.config.schedule, now(), rand::random());
        let count = match attempt.next {
            Next::Delivered => &self.counters.delivered,
            Next::Again(_) | Next::GiveUp => &self.counters.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.counters.gave_up.fetch_add(u64::from(attempt.next == Next::GiveUp), Ordering::Relaxed);
        tracing::debug!(webhook.id = %delivery.webhook, delivery.id = %delivery.id, attempt = delivery.attempt,
            status = attempt.status, error = attempt.error, "a webhook was told");
        let Some(Settled::Done { failing_since }) = self.settle(delivery, &attempt, until).await else { return };
        let is_gone = attempt.status == Some(GONE);
        let fails_for = failing_since.map_or(Duration::ZERO, |since| attempt.at.since(since));
        let is_hopeless = fails_for >= self.config.disable_after && delivery.attempt >= DISABLING_ATTEMPTS;
        if let Some(since) = failing_since.filter(|_| is_gone || is_hopeless) {
            let reason = match is_gone {
                true => "the receiver answered 410 Gone: it wants to hear nothing any more".to_owned(),
                false => format!("no message has arrived since {since}"),
            };
            self.disable(delivery.webhook, &reason).await;
        }
    }

    async fn settle(&self, delivery: &PendingDelivery, attempt: &Attempt, until: Instant) -> Option<Settled> {
        loop {
            match self.store.settle_delivery(delivery, attempt).await {
                Ok(settled) => return Some(settled),
                Err(error) if Instant::now() + SETTLE_PAUSE >= until => {
                    tracing::warn!(%error, delivery.id = %delivery.id, "what became of a message could not be written: it is sent again");
                    return None;
                }
                Err(_) => tokio::time::sleep(SETTLE_PAUSE).await,
            }
        }
    }

    async fn disable(&self, webhook: WebhookId, reason: &str) {
        match self.store.disable_webhook(webhook, reason).await {
            Ok(true) => {
                self.counters.disabled.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(webhook.id = %webhook, reason, "a webhook is disabled");
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(webhook.id = %webhook, %error, "a webhook could not be disabled"),
        }
    }
}

/// What an attempt's outcome means for the message.
fn judge(outcome: &Result<Answer, Failure>, attempt: u32, schedule: &Schedule, now: Timestamp, random: f64) -> Attempt {
    let (status, error, wish) = match outcome {
        Ok(answer) if answer.is_taken() => {
            return Attempt { at: now, status: Some(answer.status), error: None, next: Next::Delivered };
        }
        Ok(answer) => (Some(answer.status), refusal(answer.status), answer.retry_after),
        Err(failure) => (None, failure.to_string(), None),
    };
    let next = match schedule.pause_after(attempt, random).filter(|_| status != Some(GONE)) {
        // A receiver may ask for more time than it is given, not for less.
        Some(pause) => Next::Again(now + pause.max(wish.unwrap_or_default())),
        None => Next::GiveUp,
    };
    Attempt { at: now, status, error: Some(error), next }
}

fn refusal(status: u16) -> String {
    match status {
        300..400 => format!("it answered {status}, and redirects are not followed: give the address itself"),
        _ => format!("it answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after_s: Option<u64>) -> Result<Answer, Failure> {
        let retry_after = retry_after_s.map(Duration::from_secs);
        Ok(Answer { status, body: String::new(), retry_after, took: Duration::ZERO })
    }

    #[test]
    fn answers_are_judged() {
        let now = Timestamp::from_micros(0);
        let again = |seconds| Next::Again(now + Duration::from_secs(seconds));
        for (status, retry_after_s, attempt, next) in [
            (200, None, 1, Next::Delivered),
            (204, Some(9), 1, Next::Delivered),
            (302, None, 1, again(5)),
            (404, None, 1, again(5)),
            (410, None, 1, Next::GiveUp),
            (429, Some(60), 1, again(60)),
            (429, Some(1), 2, again(30)),
            (500, None, 2, again(30)),
            (500, None, 14, Next::GiveUp),
        ] {
            let judged = judge(&answer(status, retry_after_s), attempt, &Schedule::default(), now, 0.5);
            assert_eq!((judged.next, judged.status), (next, Some(status)), "{status}");
        }
        let failure = Err(Failure::Http(aimg_outbound::Error::TimedOut));
        let judged = judge(&failure, 1, &Schedule::default(), now, 0.5);
        assert_eq!((judged.next, judged.status, judged.error.as_deref()), (again(5), None, Some("no answer in time")));
    }

    #[test]
    fn places_are_bounded_in_all_of_a_tenant_and_of_a_webhook() {
        let id = |n| uuid::Uuid::from_u128(n);
        let due = |webhook, tenant, is_failing| DueWebhook {
            id: WebhookId::from_uuid(id(webhook)),
            tenant: TenantId::from_uuid(id(tenant)),
            is_failing,
        };
        let config =
            Config { sending_max: 10, sending_of_tenant_max: 6, sending_to_webhook_max: 4, ..Config::default() };
        let mut places = Places::default();
        assert_eq!(places.free(due(1, 1, true), &config), 1, "one that fails is tried with one");
        places.take(due(1, 1, false), 4);
        assert_eq!(places.free(due(1, 1, false), &config), 0);
        assert_eq!(places.free(due(1, 1, true), &config), 0);
        assert_eq!(places.free(due(2, 1, false), &config), 2, "of the tenant's six");
        places.take(due(2, 1, false), 2);
        assert_eq!(places.free(due(3, 1, false), &config), 0);
        assert_eq!(places.free(due(4, 2, false), &config), 4, "another tenant has its own");
        places.take(due(4, 2, false), 4);
        assert_eq!(places.free(due(5, 3, false), &config), 0, "all ten are taken");
        places.leave(due(1, 1, false).id);
        assert_eq!(places.free(due(5, 3, false), &config), 1);
        for _ in 0..3 {
            places.leave(due(1, 1, false).id);
        }
        assert!(!places.of_webhook.contains_key(&due(1, 1, false).id), "nothing is kept of who has none");
    }
}
