//! How often somebody may ask: an address, a stranger who wants to log in, an account, all of a tenant.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aimg_accounts::{Principal, Who};
use aimg_core::TenantId;
use aimg_store::Store;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::watch;

use crate::problem::{Code, Problem};
use crate::server::Desk;
use crate::{Config, caller};

/// Keys that are kept at once of one limit; beyond it those that have not asked lately are forgotten.
const KEYS_MAX: usize = 100_000;
/// Log-ins and the like from one address, a minute. People of one office share an address.
const STRANGER_A_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
/// How often the tenants' quotas are read.
const QUOTAS_EVERY: Duration = Duration::from_secs(5);
/// An address or account may ask so many seconds' worth at once.
const BURST_SECONDS: u32 = 4;

/// The limits of one service.
pub(crate) struct Limits {
    addresses: Keyed<IpAddr>,
    strangers: Keyed<IpAddr>,
    accounts: Keyed<Who>,
    tenants: Mutex<HashMap<TenantId, TenantLimit>>,
}

/// What a tenant's quota allows.
struct TenantLimit {
    requests_per_minute: u32,
    limiter: DefaultDirectRateLimiter,
}

impl Limits {
    pub(crate) fn new(config: &Config) -> Self {
        let a_second = |count: NonZeroU32| {
            Quota::per_second(count).allow_burst(count.saturating_mul(BURST_SECONDS.try_into().expect("not zero")))
        };
        Self {
            addresses: Keyed::new(a_second(config.address_requests_a_second)),
            strangers: Keyed::new(Quota::per_minute(STRANGER_A_MINUTE)),
            accounts: Keyed::new(a_second(config.account_requests_a_second)),
            tenants: Mutex::default(),
        }
    }

    /// Counts a request of an address.
    pub(crate) fn address(&self, address: IpAddr) -> Result<(), Problem> {
        self.addresses.check(network(address), "from this address")
    }

    /// Counts an attempt to log in, or to show a refresh token.
    pub(crate) fn stranger(&self, address: IpAddr) -> Result<(), Problem> {
        self.strangers.check(network(address), "to log in from this address")
    }

    /// Counts a request of an account, and of its tenant.
    pub(crate) fn account(&self, principal: &Principal) -> Result<(), Problem> {
        self.accounts.check(principal.who, "of this account")?;
        principal.tenant.map_or(Ok(()), |tenant| self.tenant(tenant))
    }

    fn tenant(&self, tenant: TenantId) -> Result<(), Problem> {
        let tenants = self.tenants();
        let Some(limit) = tenants.get(&tenant) else { return Ok(()) };
        limit.limiter.check().map_err(|not_until| {
            let why = format!("the tenant's quota is {} requests a minute", limit.requests_per_minute);
            Problem::new(Code::QuotaExceeded, why).retry_after(not_until.wait_time_from(DefaultClock::default().now()))
        })
    }

    /// Reads the tenants' quotas. While the database is away, those that were last read hold.
    pub(crate) async fn follow_quotas(&self, store: &Store) {
        match store.bounded_quotas().await {
            Ok(quotas) => {
                let bounds = quotas.iter().filter_map(|q| Some((q.tenant, q.bounds.requests_per_minute?)));
                self.set_tenants(bounds);
            }
            Err(error) => tracing::debug!(%error, "the quotas could not be read: those that were last read hold"),
        }
    }

    /// A bound that is as it was goes on counting.
    fn set_tenants(&self, bounds: impl Iterator<Item = (TenantId, u32)>) {
        let mut tenants = self.tenants();
        let mut before = std::mem::take(&mut *tenants);
        for (tenant, requests_per_minute) in bounds {
            let same = before.remove(&tenant).filter(|limit| limit.requests_per_minute == requests_per_minute);
            let limit = same.unwrap_or_else(|| {
                let quota = Quota::per_minute(NonZeroU32::new(requests_per_minute).unwrap_or(NonZeroU32::MIN));
                TenantLimit { requests_per_minute, limiter: RateLimiter::direct(quota) }
            });
            tenants.insert(tenant, limit);
        }
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<TenantId, TenantLimit>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the tenants' quotas until the service stops.
pub(crate) async fn follow_quotas(limits: Arc<Limits>, store: Store, mut stopped: watch::Receiver<bool>) {
    let mut every = tokio::time::interval(QUOTAS_EVERY);
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            _ = every.tick() => limits.follow_quotas(&store).await,
        }
    }
}

struct Keyed<K: Hash + Eq + Clone>(DefaultKeyedRateLimiter<K>, DefaultClock);

impl<K: Hash + Eq + Clone> Keyed<K> {
    fn new(quota: Quota) -> Self {
        Self(RateLimiter::keyed(quota), DefaultClock::default())
    }

    fn check(&self, key: K, whose: &str) -> Result<(), Problem> {
        if self.0.len() >= KEYS_MAX {
            self.0.retain_recent();
        }
        self.0.check_key(&key).map_err(|not_until| {
            let wait: Duration = not_until.wait_time_from(self.1.now());
            Problem::new(Code::TooManyRequests, format!("too many requests {whose}")).retry_after(wait)
        })
    }
}

/// Whom an address belongs to: of IPv6, everybody has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

/// Where a client without an account is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl FromRequestParts<Desk> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Problem> {
        Ok(Self(caller::address(desk, caller::peer(&parts.extensions), &parts.headers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_beyond_its_requests_takes_none_of_anothers() {
        let limits = Limits::new(&Config::default());
        let [own, other, free] = [1, 2, 3].map(|n| TenantId::from_uuid(uuid::Uuid::from_u128(n)));
        limits.set_tenants([(own, 2), (other, 2)].into_iter());
        let asks = |tenant| limits.tenant(tenant).map_err(|problem| problem.code());
        assert_eq!([asks(own), asks(own), asks(own)], [Ok(()), Ok(()), Err(Code::QuotaExceeded)]);
        limits.set_tenants([(own, 2), (other, 2)].into_iter());
        assert_eq!(asks(own), Err(Code::QuotaExceeded), "what is read again is no new minute");
        assert_eq!([asks(other), asks(other)], [Ok(()), Ok(())]);
        assert!((0..100).all(|_| asks(free).is_ok()), "without a quota there is no bound");
        limits.set_tenants([(own, 3)].into_iter());
        assert_eq!(asks(own), Ok(()), "another bound counts anew");
        assert!((0..100).all(|_| asks(other).is_ok()), "the bound was taken away");
    }
}
