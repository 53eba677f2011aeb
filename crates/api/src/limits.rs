//! How often somebody may ask: an address, a stranger who wants to log in, an account.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use aimg_accounts::{Principal, Who};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::problem::{Code, Problem};
use crate::server::Desk;
use crate::{Config, caller};

/// Keys that are kept at once of one limit; beyond it those that have not asked lately are forgotten.
const KEYS_MAX: usize = 100_000;
/// Log-ins and the like from one address, a minute. People of one office share an address.
const STRANGER_A_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
/// An address or account may ask so many seconds' worth at once.
const BURST_SECONDS: u32 = 4;

/// The limits of one service.
pub(crate) struct Limits {
    addresses: Keyed<IpAddr>,
    strangers: Keyed<IpAddr>,
    accounts: Keyed<Who>,
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

    /// Counts a request of an account.
    pub(crate) fn account(&self, principal: &Principal) -> Result<(), Problem> {
        self.accounts.check(principal.who, "of this account")
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
