//! Quotas of tenants, as far as they decide about captures: whether another session may be captured, and who is told when
//! a tenant has come to a bound.
//!
//! The bounds and what recordings take are read from the store every few seconds; how many sessions are captured on this
//! node is known here, across its PBXs. While the store is away, what was last read holds. A tenant's count is its own, so
//! one that is beyond its bounds takes nothing from another.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aimg_cluster::QuotaNews;
use aimg_core::{QuotaKind, SessionId, TenantId, WebhookEvent};
use aimg_media::Clock;
use aimg_store::{Announcement, Change, Quota, Store};
use serde_json::json;

use crate::alarm::{Alarm, Alarms, Subject};
use crate::herald::Herald;
use crate::journal::Journal;
use crate::monitor::Instruments;

/// How often the store is asked.
const FOLLOW_EVERY: Duration = Duration::from_secs(5);
/// A tenant is beyond its bound of sessions until so long after the last one that was denied. So it is told of once, and
/// not with every call that ends while the next one begins.
const DENIED_STAYS: Duration = Duration::from_secs(60);
/// Percent of its storage from which on a tenant is warned.
const STORAGE_NEAR_PERCENT: u64 = 90;

/// What is known of each tenant. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quotas(Arc<Mutex<HashMap<TenantId, Tenant>>>);

#[derive(Debug, Default)]
struct Tenant {
    quota: Option<Quota>,
    /// The sessions that are captured on this node, until they end.
    captured: HashSet<SessionId>,
    /// When a session was last denied, until that is over.
    denied_at: Option<Instant>,
    /// It has no storage left, and it was told.
    is_full: bool,
}

/// The place of a captured session in its tenant's quota, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    quotas: Quotas,
    tenant: TenantId,
    session: SessionId,
}

/// A bound that does not let a session be captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) quota: QuotaKind,
    /// To be told, where it is the first one since the tenant was within its bounds.
    pub(crate) news: Option<Reached>,
}

/// A bound that a tenant has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    tenant: TenantId,
    quota: QuotaKind,
    max: u64,
    used: u64,
}

impl Quotas {
    /// A place for a session whose capture is to begin.
    pub(crate) fn admit(&self, now: Instant, tenant: TenantId, session: SessionId) -> Result<Slot, Denied> {
        let mut tenants = self.lock();
        let entry = tenants.entry(tenant).or_default();
        if let Some(Quota { bounds, stored_bytes, .. }) = entry.quota {
            if bounds.storage_bytes.is_some_and(|max| stored_bytes >= max) {
                return Err(Denied { quota: QuotaKind::StorageBytes, news: None });
            }
            let used = entry.captured.len() as u64;
            if let Some(max) = bounds.concurrent_sessions.map(u64::from).filter(|max| used >= *max) {
                let quota = QuotaKind::ConcurrentSessions;
                let is_first = entry.denied_at.replace(now).is_none();
                return Err(Denied { quota, news: is_first.then_some(Reached { tenant, quota, max, used }) });
            }
        }
        entry.captured.insert(session);
        drop(tenants);
        Ok(self.slot(tenant, session))
    }

    /// The place of a session whose capture goes on from an earlier process, whatever the bound.
    pub(crate) fn keep(&self, tenant: TenantId, session: SessionId) -> Slot {
        self.lock().entry(tenant).or_default().captured.insert(session);
        self.slot(tenant, session)
    }

    /// How many sessions of a tenant are captured on this node.
    pub(crate) fn captured(&self, tenant: TenantId) -> usize {
        self.lock().get(&tenant).map_or(0, |entry| entry.captured.len())
    }

    fn slot(&self, tenant: TenantId, session: SessionId) -> Slot {
        Slot { quotas: self.clone(), tenant, session }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Tenant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(entry) = self.quotas.lock().get_mut(&self.tenant) {
            entry.captured.remove(&self.session);
        }
    }
}

/// Reads the quotas, and tells of bounds that were reached and are kept again.
#[derive(Clone, Debug)]
pub(crate) struct QuotaKeeper {
    pub(crate) quotas: Quotas,
    alarms: Alarms,
    herald: Herald,
    journal: Journal,
    clock: Clock,
}

impl QuotaKeeper {
    /// One that knows of no quota yet, and tells there.
    pub(crate) fn new(instruments: &Instruments, journal: Journal, clock: Clock) -> Self {
        let (alarms, herald) = (instruments.alarms.clone(), instruments.herald.clone());
        Self { quotas: Quotas::default(), alarms, herald, journal, clock }
    }

    /// Follows the store until it is aborted.
    pub(crate) async fn follow(self, store: Store) {
        let mut every = tokio::time::interval(FOLLOW_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            self.read(&store).await;
        }
    }

    /// Reads the quotas once. That the store is away the journal tells.
    pub(crate) async fn read(&self, store: &Store) {
        match store.bounded_quotas().await {
            Ok(quotas) => self.take(Instant::now(), quotas),
            Err(error) => tracing::debug!(%error, "the quotas could not be read: those that were last read hold"),
        }
    }

    /// Says that a session was denied.
    pub(crate) fn tell(&self, reached: Reached) {
        let Reached { tenant, quota, max, used } = reached;
        let alarm = match quota {
            QuotaKind::ConcurrentSessions => Alarm::QuotaSessions,
            QuotaKind::StorageBytes => Alarm::QuotaStorage,
        };
        self.alarms.set(alarm, of(tenant), Some(format!("{used} of {max} {quota} are used")));
        self.herald.quota(tenant, QuotaNews { quota: quota.name(), max, used });
        let at = self.clock.now();
        self.journal.push(Change::Announcement(Box::new(Announcement {
            tenant,
            event: WebhookEvent::QuotaExceeded,
            id: format!("quota-{quota}-{}", at.as_micros()),
            at,
            session: None,
            data: json!({ "quota": quota, "max": max, "used": used }),
        })));
    }

    fn take(&self, now: Instant, quotas: Vec<Quota>) {
        let mut quotas: HashMap<TenantId, Quota> = quotas.into_iter().map(|quota| (quota.tenant, quota)).collect();
        let mut tenants = self.quotas.lock();
        for tenant in quotas.keys() {
            tenants.entry(*tenant).or_default();
        }
        let mut reached = Vec::new();
        for (tenant, entry) in tenants.iter_mut() {
            entry.quota = quotas.remove(tenant);
            reached.extend(self.look(now, *tenant, entry));
        }
        tenants.retain(|_, entry| entry.quota.is_some() || !entry.captured.is_empty());
        drop(tenants);
        reached.into_iter().for_each(|reached| self.tell(reached));
    }

    /// Looks whether a tenant is within its bounds.
    fn look(&self, now: Instant, tenant: TenantId, entry: &mut Tenant) -> Option<Reached> {
        let bounds = entry.quota.map(|quota| quota.bounds).unwrap_or_default();
        let over = |at: &mut Instant| bounds.concurrent_sessions.is_none() || now.duration_since(*at) >= DENIED_STAYS;
        if entry.denied_at.take_if(over).is_some() {
            self.alarms.set(Alarm::QuotaSessions, of(tenant), None);
        }
        let (max, used) = (bounds.storage_bytes, entry.quota.map_or(0, |quota| quota.stored_bytes));
        let is_full = max.is_some_and(|max| used >= max);
        let was_full = std::mem::replace(&mut entry.is_full, is_full);
        let near = max.filter(|max| !is_full && used >= max / 100 * STORAGE_NEAR_PERCENT);
        let why = near.map(|max| format!("{used} of {max} bytes are used"));
        self.alarms.set(Alarm::QuotaStorageNear, of(tenant), why);
        if !is_full {
            self.alarms.set(Alarm::QuotaStorage, of(tenant), None);
        }
        let quota = QuotaKind::StorageBytes;
        max.filter(|_| is_full && !was_full).map(|max| Reached { tenant, quota, max, used })
    }
}

fn of(tenant: TenantId) -> Subject {
    Subject { tenant: Some(tenant), ..Subject::GATEWAY }
}

#[cfg(test)]
mod tests {
    use aimg_store::QuotaBounds;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::fixture::{OPERATOR, store};

    fn session(n: u128) -> SessionId {
        SessionId::from_uuid(Uuid::from_u128(n))
    }

    fn tenant(n: u128) -> TenantId {
        TenantId::from_uuid(Uuid::from_u128(n))
    }

    fn quota(tenant: TenantId, sessions: Option<u32>, storage: Option<u64>, stored_bytes: u64) -> Quota {
        let bounds = QuotaBounds { concurrent_sessions: sessions, storage_bytes: storage, requests_per_minute: None };
        Quota { tenant, bounds, version: 1, changed_at: None, recordings: 0, stored_bytes }
    }

    /// One that writes what it tells into a store.
    async fn keeper(dir: &std::path::Path) -> (QuotaKeeper, Store, TenantId) {
        let (store, row) = store(dir).await;
        let instruments = Instruments::default();
        let (journal, _) = Journal::start(store.clone(), instruments.alarms.clone());
        (QuotaKeeper::new(&instruments, journal, Clock::anchored()), store, row.tenant)
    }

    fn is_up(keeper: &QuotaKeeper, alarm: Alarm, tenant: TenantId) -> bool {
        keeper.alarms.states().iter().any(|s| s.alarm == alarm && s.subject == of(tenant) && s.active)
    }

    #[tokio::test]
    async fn a_bound_that_is_reached_is_told_once_until_it_is_kept_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let (keeper, _, own) = keeper(dir.path()).await;
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let bounds = || vec![quota(own, Some(1), None, 0)];
        keeper.take(at(0), bounds());
        let first = keeper.quotas.admit(at(0), own, session(1)).unwrap();
        let denied = |s, n| keeper.quotas.admit(at(s), own, session(n)).unwrap_err();
        let news = denied(0, 2).news.unwrap();
        assert_eq!((news.max, news.used, news.quota), (1, 1, QuotaKind::ConcurrentSessions));
        keeper.tell(news);
        assert_eq!(denied(1, 3).news, None);
        keeper.take(at(59), bounds());
        assert!(is_up(&keeper, Alarm::QuotaSessions, own));
        assert_eq!(denied(60, 4).news, None);
        keeper.take(at(119), bounds());
        assert!(is_up(&keeper, Alarm::QuotaSessions, own), "the last denial is younger");
        drop(first);
        let second = keeper.quotas.admit(at(119), own, session(5)).unwrap();
        keeper.take(at(120), bounds());
        assert!(!is_up(&keeper, Alarm::QuotaSessions, own));
        assert!(denied(121, 6).news.is_some());
        keeper.take(at(122), Vec::new());
        keeper.quotas.admit(at(122), own, session(6)).unwrap();
        drop(second);
    }

    #[tokio::test]
    async fn storage_warns_then_denies_and_is_free_again() {
        let dir = tempfile::tempdir().unwrap();
        let (keeper, store, own) = keeper(dir.path()).await;
        let now = Instant::now();
        let kept = keeper.quotas.admit(now, own, session(1)).unwrap();
        for (used, near, full) in
            [(899, false, false), (900, true, false), (1_000, false, true), (2_000, false, true), (10, false, false)]
        {
            keeper.take(now, vec![quota(own, None, Some(1_000), used)]);
            let up = [Alarm::QuotaStorageNear, Alarm::QuotaStorage].map(|alarm| is_up(&keeper, alarm, own));
            assert_eq!(up, [near, full], "{used}");
            let denied = keeper.quotas.admit(now, own, session(2)).err().map(|denied| denied.quota);
            assert_eq!(denied, full.then_some(QuotaKind::StorageBytes), "{used}");
        }
        assert_eq!(keeper.quotas.captured(own), 1);
        drop(kept);
        assert_eq!(keeper.quotas.captured(own), 0);

        // From the store, where a tenant without a bound is none of those that are read.
        let bounds = QuotaBounds { storage_bytes: Some(0), ..QuotaBounds::default() };
        store.set_quota(OPERATOR, own, bounds, None).await.unwrap();
        keeper.read(&store).await;
        assert!(keeper.quotas.admit(now, own, session(2)).is_err());
        assert!(keeper.quotas.admit(now, tenant(404), session(3)).is_ok());
    }

    proptest! {
        #[test]
        fn a_tenant_beyond_its_bound_takes_nothing_from_another(
            acts in prop::collection::vec((0..3u128, 0..6u128, any::<bool>()), 1..80),
            bounds in prop::array::uniform3(prop::option::of(0..4u32)),
        ) {
            let (quotas, now) = (Quotas::default(), Instant::now());
            for (n, bound) in (0..).zip(bounds) {
                quotas.lock().entry(tenant(n)).or_default().quota = Some(quota(tenant(n), bound, None, 0));
            }
            let mut held: HashMap<(u128, u128), Slot> = HashMap::new();
            for (of, which, begins) in acts {
                let others = |held: &HashMap<(u128, u128), Slot>| held.keys().filter(|(t, _)| *t == of).count();
                if !begins {
                    held.remove(&(of, which));
                } else if !held.contains_key(&(of, which)) {
                    let before = others(&held);
                    let admitted = quotas.admit(now, tenant(of), session(of * 10 + which));
                    let bound = bounds[usize::try_from(of).unwrap()];
                    prop_assert_eq!(admitted.is_ok(), bound.is_none_or(|bound| before < bound as usize));
                    held.extend(admitted.ok().map(|slot| ((of, which), slot)));
                }
                prop_assert_eq!(quotas.captured(tenant(of)), others(&held));
            }
        }
    }
}
