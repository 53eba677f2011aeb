//! Writes rows to the store, in batches, without ever making a call wait.
//!
//! The queue is bounded. While the store is away, rows wait in it and are written afterwards; what finds no room is counted
//! and reported: the recordings are on disk all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aimg_core::TenantScope;
use aimg_store::{Change, Store};
use tokio::sync::{mpsc, oneshot};

use crate::alarm::{Alarm, Alarms, Subject};
use crate::monitor::JournalObservation;

/// Changes that may wait for the store: some 20 MB, ten minutes of a hundred calls a minute.
pub(crate) const JOURNAL_CHANGES_MAX: usize = 65_536;
/// Changes of one transaction.
const BATCH_CHANGES_MAX: usize = 512;
/// Between two tries while the store is away.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// A change, and who waits for it to be written.
#[derive(Debug)]
struct Entry {
    /// Nothing where somebody only waits.
    change: Option<Change>,
    written: Option<oneshot::Sender<()>>,
}

/// What happened to rows on their way to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalCounts {
    /// Changes that the store has.
    pub written: u64,
    /// Changes that found no room in the queue.
    pub overflowed: u64,
    /// Changes that the store refused for good.
    pub refused: u64,
    /// Transactions that had to be tried again.
    pub retried: u64,
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    overflowed: AtomicU64,
    refused: AtomicU64,
    retried: AtomicU64,
    is_away: AtomicBool,
}

/// Looks at a journal without keeping it.
#[derive(Clone, Debug)]
pub(crate) struct JournalWatch {
    entries: mpsc::WeakSender<Entry>,
    counters: Arc<Counters>,
}

impl JournalWatch {
    pub(crate) fn observe(&self) -> JournalObservation {
        let waiting = self.entries.upgrade().map_or(0, |entries| entries.max_capacity() - entries.capacity());
        JournalObservation {
            counts: self.counters.counts(),
            waiting: waiting as u64,
            waiting_max: JOURNAL_CHANGES_MAX as u64,
            is_away: self.counters.is_away.load(Ordering::Relaxed),
        }
    }
}

impl Counters {
    fn counts(&self) -> JournalCounts {
        let Self { written, overflowed, refused, retried, is_away: _ } = self;
        let [written, overflowed, refused, retried] =
            [written, overflowed, refused, retried].map(|counter| counter.load(Ordering::Relaxed));
        JournalCounts { written, overflowed, refused, retried }
    }
}

/// The way to the store's writer. Cheap to clone; the writer ends when the last clone is gone and everything is written.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    entries: mpsc::Sender<Entry>,
    counters: Arc<Counters>,
    alarms: Alarms,
}

impl Journal {
    pub(crate) fn start(store: Store, alarms: Alarms) -> (Self, tokio::task::JoinHandle<()>) {
        let (entries, received) = mpsc::channel(JOURNAL_CHANGES_MAX);
        let counters = Arc::new(Counters::default());
        let writer = tokio::spawn(write_all(store, received, Arc::clone(&counters), alarms.clone()));
        (Self { entries, counters, alarms }, writer)
    }

    /// Leaves a change to be written; never waits.
    pub(crate) fn push(&self, change: Change) {
        if self.entries.try_send(Entry { change: Some(change), written: None }).is_err() {
            self.counters.overflowed.fetch_add(1, Ordering::Relaxed);
            let why = format!("{JOURNAL_CHANGES_MAX} rows are waiting");
            self.alarms.happened(Alarm::JournalOverflowed, Subject::GATEWAY, None, &why);
        }
    }

    /// Returns when a change is written, or refused for good.
    pub(crate) async fn write(&self, change: Change) {
        let (written, done) = oneshot::channel();
        if self.entries.send(Entry { change: Some(change), written: Some(written) }).await.is_ok() {
            let _ = done.await;
        }
    }

    /// Returns when everything that was pushed before is written.
    pub(crate) async fn flush(&self) {
        let (written, done) = oneshot::channel();
        if self.entries.send(Entry { change: None, written: Some(written) }).await.is_ok() {
            let _ = done.await;
        }
    }

    pub(crate) fn counts(&self) -> JournalCounts {
        self.counters.counts()
    }

    pub(crate) fn watch(&self) -> JournalWatch {
        JournalWatch { entries: self.entries.downgrade(), counters: Arc::clone(&self.counters) }
    }
}

async fn write_all(store: Store, mut received: mpsc::Receiver<Entry>, counters: Arc<Counters>, alarms: Alarms) {
    let mut batch = Vec::with_capacity(BATCH_CHANGES_MAX);
    while received.recv_many(&mut batch, BATCH_CHANGES_MAX).await > 0 {
        let (changes, waiting): (Vec<_>, Vec<_>) = batch.drain(..).map(|e: Entry| (e.change, e.written)).unzip();
        let changes: Vec<Change> = changes.into_iter().flatten().collect();
        if !write_batch(&store, &changes, &counters, &alarms).await {
            // One of them is refused: each for itself, so that the others are written.
            for change in &changes {
                write_batch(&store, std::slice::from_ref(change), &counters, &alarms).await;
            }
        }
        for waits in waiting.into_iter().flatten() {
            let _ = waits.send(());
        }
    }
}

/// False when a change of several is refused; that of one is reported and given up.
async fn write_batch(store: &Store, changes: &[Change], counters: &Counters, alarms: &Alarms) -> bool {
    loop {
        match store.apply(TenantScope::Operator, changes).await {
            Ok(()) => {
                counters.written.fetch_add(changes.len() as u64, Ordering::Relaxed);
                counters.is_away.store(false, Ordering::Relaxed);
                alarms.set(Alarm::StoreUnwritable, Subject::GATEWAY, None);
                return true;
            }
            Err(error) if is_final(&error) => {
                if let [change] = changes {
                    counters.refused.fetch_add(1, Ordering::Relaxed);
                    let subject = Subject { tenant: Some(change.tenant()), ..Subject::GATEWAY };
                    alarms.happened(Alarm::RowRefused, subject, change.session(), &error.to_string());
                }
                return false;
            }
            Err(error) => {
                counters.retried.fetch_add(1, Ordering::Relaxed);
                counters.is_away.store(true, Ordering::Relaxed);
                alarms.set(Alarm::StoreUnwritable, Subject::GATEWAY, Some(error.to_string()));
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Whether trying again cannot help.
fn is_final(error: &aimg_store::Error) -> bool {
    matches!(error, aimg_store::Error::NotFound { .. } | aimg_store::Error::Conflict { .. })
}

#[cfg(test)]
mod tests {
    use aimg_core::{CallEvent, CallEventKind, DataKey, SessionId, SessionRow, Timestamp};
    use sea_orm::{ConnectOptions, ConnectionTrait, Database};

    use super::*;
    use crate::fixture::{OPERATOR, store};

    fn event(row: &SessionRow, session: SessionId) -> Change {
        let kind = CallEventKind::HookEntered;
        Change::Event(CallEvent { tenant: row.tenant, pbx: row.pbx, session, at: Timestamp::from_micros(2), kind })
    }

    #[tokio::test]
    async fn a_refused_row_costs_no_other_row() {
        let dir = tempfile::tempdir().unwrap();
        let (store, row) = store(dir.path()).await;
        let (journal, writer) = Journal::start(store.clone(), Alarms::default());
        let nobody: SessionId = "0198c1de-1111-7000-8000-00000000000f".parse().unwrap();
        journal.push(Change::Session(Box::new(row.clone())));
        journal.push(event(&row, nobody));
        journal.write(event(&row, row.id)).await;
        let detail = store.session(OPERATOR, row.id).await.unwrap();
        assert_eq!(detail.events.len(), 1);
        assert_eq!(journal.counts(), JournalCounts { written: 2, refused: 1, ..JournalCounts::default() });
        drop(journal);
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn rows_wait_while_the_store_is_locked() {
        let dir = tempfile::tempdir().unwrap();
        let (store, row) = store(dir.path()).await;
        drop(store);
        let config = aimg_store::Config {
            patience: Duration::from_millis(50),
            ..aimg_store::Config::sqlite(dir.path().join("aimg.db"))
        };
        let store = Store::open(config, DataKey::derive(b"key")).await.unwrap();
        let other = format!("sqlite://{}", dir.path().join("aimg.db").display());
        let other = Database::connect(ConnectOptions::new(other).max_connections(1).to_owned()).await.unwrap();
        other.execute_unprepared("BEGIN IMMEDIATE").await.unwrap();
        let (journal, writer) = Journal::start(store.clone(), Alarms::default());
        journal.push(Change::Session(Box::new(row.clone())));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while journal.counts().retried == 0 {
            assert!(tokio::time::Instant::now() < deadline, "the writer never met the lock");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        other.execute_unprepared("ROLLBACK").await.unwrap();
        drop(journal);
        writer.await.unwrap();
        assert_eq!(store.session(OPERATOR, row.id).await.unwrap().session.row, row);
    }
}
