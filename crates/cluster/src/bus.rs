//! All streams of a node, and the beat that wakes those who listen.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use aimg_core::{TenantId, TenantScope};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::stream::Stream;
use crate::{Notice, Subscription};

/// Between two times that listeners are woken. What is published after a pause is told at once; of what comes thick and fast,
/// so much is told together. A thousand listeners are woken 250 times a second at most, whatever is published.
pub const BEAT: Duration = Duration::from_millis(4);

/// What is remembered. At worst the history of the installation and that of every tenant are full: each takes its bytes, and
/// about as much again for the form in which notices were sent.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Notices of a tenant. Default 4,096: four seconds of a thousand a second, hours of an office.
    pub tenant_notices_max: usize,
    /// Their bytes. Default 2 MiB.
    pub tenant_bytes_max: usize,
    /// Notices of the installation. Default 16,384.
    pub all_notices_max: usize,
    /// Their bytes. Default 8 MiB.
    pub all_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tenant_notices_max: 4_096, tenant_bytes_max: 2 << 20, all_notices_max: 16_384, all_bytes_max: 8 << 20 }
    }
}

/// What a bus has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusCounts {
    /// Notices that were published.
    pub published: u64,
    /// Who listens at this moment.
    pub subscriptions: u64,
    /// Notices that listeners missed because they fell too far behind.
    pub missed: u64,
    /// Times that somebody came back and what it had missed was forgotten.
    pub resyncs: u64,
    /// Notices that are remembered, by all streams.
    pub kept: u64,
    /// About how many bytes they take.
    pub kept_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    published: AtomicU64,
    pub(crate) subscriptions: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) resyncs: AtomicU64,
}

/// What clones of a bus share.
#[derive(Debug)]
pub(crate) struct Shared {
    epoch: Uuid,
    limits: Limits,
    all: Arc<Stream>,
    by_tenant: RwLock<HashMap<TenantId, Arc<Stream>>>,
    /// Streams with notices that nobody was woken for.
    wait_for_beat: Mutex<Vec<Arc<Stream>>>,
    wake: Arc<Notify>,
    pub(crate) counters: Counters,
}

/// The bus of a node. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Bus(Arc<Shared>);

impl Bus {
    /// A bus, and the task that wakes its listeners, which ends with it. Within a tokio runtime.
    pub fn start(limits: Limits) -> Self {
        let bus = Self::silent(limits);
        tokio::spawn(beat(Arc::downgrade(&bus.0), Arc::clone(&bus.0.wake)));
        bus
    }

    /// A bus that wakes nobody: for who only publishes, or takes without waiting.
    pub fn silent(limits: Limits) -> Self {
        Self(Arc::new(Shared {
            epoch: Uuid::now_v7(),
            all: Arc::new(Stream::new(limits.all_notices_max, limits.all_bytes_max)),
            limits,
            by_tenant: RwLock::default(),
            wait_for_beat: Mutex::default(),
            wake: Arc::default(),
            counters: Counters::default(),
        }))
    }

    /// This bus and no other: numbers of another one mean nothing here.
    pub fn epoch(&self) -> Uuid {
        self.0.epoch
    }

    /// Tells everybody who listens to the notice's tenant, or to the installation. Never waits for any of them.
    pub fn publish(&self, notice: Notice) {
        let (bytes, notice) = (notice.bytes(), Arc::new(notice));
        self.0.counters.published.fetch_add(1, Ordering::Relaxed);
        if let Some(tenant) = notice.tenant {
            self.put(&self.stream(tenant), Arc::clone(&notice), bytes);
        }
        self.put(&self.0.all, notice, bytes);
        self.0.wake.notify_one();
    }

    /// Listens from here on: to a tenant's notices, or to all there are.
    pub fn subscribe(&self, scope: TenantScope) -> Subscription {
        let stream = match scope {
            TenantScope::Tenant(tenant) => self.stream(tenant),
            TenantScope::Operator => Arc::clone(&self.0.all),
        };
        Subscription::new(Arc::clone(&self.0), stream)
    }

    /// What happened so far.
    pub fn counts(&self) -> BusCounts {
        let Counters { published, subscriptions, missed, resyncs } = &self.0.counters;
        let [published, subscriptions, missed, resyncs] =
            [published, subscriptions, missed, resyncs].map(|count| count.load(Ordering::Relaxed));
        let by_tenant = self.0.by_tenant.read().unwrap_or_else(PoisonError::into_inner);
        let sizes = by_tenant.values().chain([&self.0.all]).map(|stream| stream.history().size());
        let (kept, kept_bytes) = sizes.fold((0, 0), |(n, bytes), size| (n + size.0, bytes + size.1));
        BusCounts { published, subscriptions, missed, resyncs, kept: kept as u64, kept_bytes: kept_bytes as u64 }
    }

    fn put(&self, stream: &Arc<Stream>, notice: Arc<Notice>, bytes: usize) {
        stream.history().push(notice, bytes);
        if !stream.waits_for_beat.swap(true, Ordering::AcqRel) {
            self.0.wait_for_beat.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(stream));
        }
    }

    /// The stream of a tenant, which begins with its first notice or its first listener.
    fn stream(&self, tenant: TenantId) -> Arc<Stream> {
        let known = self.0.by_tenant.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned();
        known.unwrap_or_else(|| {
            let Limits { tenant_notices_max, tenant_bytes_max, .. } = self.0.limits;
            let mut streams = self.0.by_tenant.write().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Stream::new(tenant_notices_max, tenant_bytes_max));
            Arc::clone(streams.entry(tenant).or_insert_with(new))
        })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

async fn beat(bus: Weak<Shared>, wake: Arc<Notify>) {
    loop {
        wake.notified().await;
        let Some(shared) = bus.upgrade() else { return };
        let streams = std::mem::take(&mut *shared.wait_for_beat.lock().unwrap_or_else(PoisonError::into_inner));
        drop(shared);
        for stream in streams {
            // Before the number is read: what comes after it waits for the next beat.
            stream.waits_for_beat.store(false, Ordering::Release);
            let last = stream.history().last();
            stream.head.send_replace(last);
        }
        tokio::time::sleep(BEAT).await;
    }
}

#[cfg(test)]
mod tests {
    use aimg_core::{CallEventKind, Timestamp};

    use super::*;
    use crate::{Gone, News, TAKEN_MAX};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn tenant(n: u128) -> TenantId {
        TenantId::from_uuid(Uuid::from_u128(n))
    }

    fn notice(of: Option<TenantId>) -> Notice {
        let news = News::Call { event: CallEventKind::HookEntered, call: None };
        Notice { tenant: of, pbx: None, session: None, at: Timestamp::default(), news }
    }

    fn taken(subscription: &mut Subscription) -> Vec<u64> {
        let mut into = Vec::new();
        assert_eq!(subscription.take(|_| true, &mut into), 0);
        into.iter().map(|published| published.seq).collect()
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let bus = Bus::start(Limits::default());
        let mut mine = bus.subscribe(TenantScope::Tenant(tenant(1)));
        let waits = tokio::spawn(async move {
            let mut told = Vec::new();
            while told.len() < 3 {
                mine.ready().await;
                told.extend(taken(&mut mine));
            }
            assert_eq!(told, [1, 2, 3]);
        });
        for n in 0..3 {
            bus.publish(notice(Some(tenant(1))));
            // The next one may be told together with this one, which is what the beat is for.
            let mut look = bus.subscribe(TenantScope::Operator);
            assert!(look.resume_after(n).is_ok());
            tokio::time::timeout(PATIENCE, look.ready()).await.unwrap();
        }
        tokio::time::timeout(PATIENCE, waits).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_beat_ends_with_the_bus() {
        let bus = Bus::silent(Limits::default());
        let task = tokio::spawn(beat(Arc::downgrade(&bus.0), Arc::clone(&bus.0.wake)));
        bus.publish(notice(None));
        drop(bus);
        tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
    }

    #[test]
    fn what_is_of_the_installation_reaches_no_tenant() {
        let bus = Bus::silent(Limits::default());
        let (mut all, mut one) = (bus.subscribe(TenantScope::Operator), bus.subscribe(TenantScope::Tenant(tenant(1))));
        bus.publish(notice(None));
        bus.publish(notice(Some(tenant(2))));
        assert_eq!((taken(&mut all), taken(&mut one)), (vec![1, 2], vec![]));
    }

    #[test]
    fn who_falls_behind_skips_to_the_newest_and_who_comes_back_too_late_is_told() {
        let limits = Limits { tenant_notices_max: 4, ..Limits::default() };
        let bus = Bus::silent(limits);
        let mut mine = bus.subscribe(TenantScope::Tenant(tenant(1)));
        for _ in 0..5 {
            bus.publish(notice(Some(tenant(1))));
        }
        let mut into = Vec::new();
        assert_eq!(mine.take(|_| true, &mut into), 5, "all five are missed, although four are there");
        assert_eq!((into.len(), mine.seq()), (0, 5));
        assert_eq!(mine.resume_after(0), Err(Gone { last: 5 }), "the first is forgotten");
        assert_eq!(mine.resume_after(6), Err(Gone { last: 5 }), "no such number was given yet");
        assert_eq!(mine.resume_after(1), Ok(4));
        assert_eq!(taken(&mut mine), [2, 3, 4, 5]);
        let BusCounts { published, missed, resyncs, subscriptions, kept, .. } = bus.counts();
        assert_eq!([published, missed, resyncs, subscriptions, kept], [5, 5, 2, 1, 9]);
        drop(mine);
        assert_eq!(bus.counts().subscriptions, 0);
    }

    #[test]
    fn history_is_bounded_by_bytes_too() {
        let each = notice(None).bytes();
        let bus = Bus::silent(Limits { all_bytes_max: 3 * each, ..Limits::default() });
        let mut all = bus.subscribe(TenantScope::Operator);
        (0..10).for_each(|_| bus.publish(notice(None)));
        assert_eq!((bus.counts().kept, bus.counts().kept_bytes), (3, 3 * each as u64));
        assert_eq!(all.resume_after(7), Ok(3));
        assert_eq!(all.resume_after(6), Err(Gone { last: 10 }));
    }

    #[test]
    fn much_is_taken_in_pieces_and_what_is_not_wanted_is_passed_over() {
        let bus = Bus::silent(Limits::default());
        let mut all = bus.subscribe(TenantScope::Operator);
        for n in 0..TAKEN_MAX as u128 + 1 {
            bus.publish(notice((n % 2 == 1).then(|| tenant(1))));
        }
        let mut into = Vec::new();
        all.take(|notice| notice.tenant.is_some(), &mut into);
        assert_eq!((into.len(), into[0].seq, all.seq()), (TAKEN_MAX / 2, 2, TAKEN_MAX as u64));
        all.take(|notice| notice.tenant.is_some(), &mut into);
        assert_eq!((into.len(), all.seq()), (TAKEN_MAX / 2, TAKEN_MAX as u64 + 1));
    }

    #[test]
    fn the_form_is_made_once() {
        let bus = Bus::silent(Limits::default());
        let mut listeners = [(); 3].map(|()| bus.subscribe(TenantScope::Operator));
        bus.publish(notice(None));
        let made = AtomicU64::new(0);
        for listener in &mut listeners {
            let mut into = Vec::new();
            listener.take(|_| true, &mut into);
            let form = into[0].form(|published| {
                made.fetch_add(1, Ordering::Relaxed);
                format!("number {}", published.seq).into()
            });
            assert_eq!(&form[..], b"number 1");
        }
        assert_eq!(made.into_inner(), 1);
    }
}
