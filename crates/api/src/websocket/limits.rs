//! How many connections there may be, what they counted, and why they ended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aimg_accounts::{Principal, Who};

use crate::connections::count;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client closed it.
    Left,
    /// The network did.
    Cut,
    /// The client does not read what it asked for.
    Slow,
    /// The client says nothing, not even to a ping.
    Silent,
    /// Nobody said in time who it is, or it is nobody who is let in (any more).
    NotAuthenticated,
    /// The account has too many connections.
    TooMany,
    /// The client says too much.
    Talkative,
    /// A message that is too large.
    Oversized,
    /// A message that is no text.
    NoText,
    /// The gateway stops.
    Stopped,
}

impl End {
    pub(crate) const ALL: [Self; 10] = [
        Self::Left,
        Self::Cut,
        Self::Slow,
        Self::Silent,
        Self::NotAuthenticated,
        Self::TooMany,
        Self::Talkative,
        Self::Oversized,
        Self::NoText,
        Self::Stopped,
    ];

    /// The word for it in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Cut => "cut",
            Self::Slow => "slow",
            Self::Silent => "silent",
            Self::NotAuthenticated => "not_authenticated",
            Self::TooMany => "too_many",
            Self::Talkative => "talkative",
            Self::Oversized => "oversized",
            Self::NoText => "no_text",
            Self::Stopped => "stopped",
        }
    }

    /// The close code (RFC 6455, section 7.4; from 4000 on they are our own) and what it says. Nothing for one to whom nothing
    /// can be said.
    pub(crate) const fn close(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Left | Self::Cut => None,
            Self::Slow => Some((1013, "too slow: messages were missed again and again")),
            Self::Silent => Some((4408, "no answer to pings")),
            Self::NotAuthenticated => Some((4401, "authenticate with an access token or an API key that is good")),
            Self::TooMany => Some((4429, "too many connections of this account")),
            Self::Talkative => Some((1008, "too many messages")),
            Self::Oversized => Some((1009, "the message is too large")),
            Self::NoText => Some((1003, "messages are text")),
            Self::Stopped => Some((1001, "the gateway stops; connect again and resume")),
        }
    }
}

/// All WebSockets of a service.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    by_account: Mutex<HashMap<Who, usize>>,
    open: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) lagged: AtomicU64,
    ended: [AtomicU64; End::ALL.len()],
}

/// What WebSockets have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SocketCounts {
    /// Connections that are open.
    pub(crate) open: u64,
    /// Requests for one that were refused.
    pub(crate) refused: u64,
    /// Messages of clients.
    pub(crate) received: u64,
    /// Messages to clients.
    pub(crate) sent: u64,
    /// Times that a client was skipped ahead.
    pub(crate) lagged: u64,
    /// Connections that ended, in the order of [`End::ALL`].
    pub(crate) ended: [u64; End::ALL.len()],
}

impl Sockets {
    pub(crate) fn counts(&self) -> SocketCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SocketCounts {
            open: read(&self.open),
            refused: read(&self.refused),
            received: read(&self.received),
            sent: read(&self.sent),
            lagged: read(&self.lagged),
            ended: std::array::from_fn(|n| read(&self.ended[n])),
        }
    }

    /// A place for a connection, unless all are taken.
    pub(crate) fn enter(self: &Arc<Self>, sockets_max: usize) -> Option<Place> {
        let is_room = |open: u64| (open < sockets_max as u64).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_room).ok()?;
        Some(Place { sockets: Arc::clone(self), account: None })
    }

    pub(crate) fn ended(&self, end: End) {
        count(&self.ended[end as usize]);
    }
}

/// The place of a connection, which goes with it.
#[derive(Debug)]
pub(crate) struct Place {
    sockets: Arc<Sockets>,
    account: Option<Who>,
}

impl Place {
    /// Takes one of the places of an account, unless all are taken.
    pub(crate) fn of(&mut self, principal: &Principal, account_sockets_max: usize) -> Result<(), End> {
        let mut accounts = self.sockets.by_account.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = accounts.entry(principal.who).or_default();
        if *taken >= account_sockets_max {
            return Err(End::TooMany);
        }
        *taken += 1;
        self.account = Some(principal.who);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sockets.open.fetch_sub(1, Ordering::Relaxed);
        let Some(account) = self.account else { return };
        let mut accounts = self.sockets.by_account.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = accounts.get_mut(&account) {
            *taken -= 1;
            if *taken == 0 {
                accounts.remove(&account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_as_they_are_listed() {
        assert!(End::ALL.iter().enumerate().all(|(n, end)| *end as usize == n));
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let sockets = Arc::<Sockets>::default();
        let first = sockets.enter(2);
        let second = sockets.enter(2);
        assert!(first.is_some() && second.is_some() && sockets.enter(2).is_none());
        drop(first);
        assert!(sockets.enter(2).is_some());
        assert_eq!(sockets.counts().open, 1);
    }
}
