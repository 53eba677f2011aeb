//! Whether the other side is still there: Asterisk sends no keepalive, so a silent connection is pinged.

use std::time::Duration;

use tokio::time::Instant;

/// Watches one connection.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    heard_at: Instant,
    pinged_at: Option<Instant>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Nothing until [`Heartbeat::due_at`].
    Wait,
    /// Send a ping.
    Ping,
    /// Give the connection up.
    Dead,
}

impl Heartbeat {
    /// Pings after `interval` of silence; the connection is dead when `timeout` later still nothing came.
    pub(crate) fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        Self { interval, timeout, heard_at: now, pinged_at: None }
    }

    /// Something came: whatever it is, the other side lives.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.pinged_at = None;
    }

    /// When to ask [`Heartbeat::beat`] next.
    pub(crate) fn due_at(&self) -> Instant {
        match self.pinged_at {
            Some(at) => at + self.timeout,
            None => self.heard_at + self.interval,
        }
    }

    /// What is to be done at `now`.
    pub(crate) fn beat(&mut self, now: Instant) -> Beat {
        if now < self.due_at() {
            return Beat::Wait;
        }
        if self.pinged_at.is_some() {
            return Beat::Dead;
        }
        self.pinged_at = Some(now);
        Beat::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_pinged_once_and_then_is_death() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut h = Heartbeat::new(Duration::from_secs(10), Duration::from_secs(5), start);
        assert_eq!((h.beat(at(9)), h.due_at()), (Beat::Wait, at(10)));
        assert_eq!((h.beat(at(10)), h.due_at()), (Beat::Ping, at(15)));
        assert_eq!(h.beat(at(14)), Beat::Wait);
        h.heard(at(14));
        assert_eq!((h.beat(at(15)), h.due_at()), (Beat::Wait, at(24)));
        assert_eq!(h.beat(at(24)), Beat::Ping);
        assert_eq!(h.beat(at(29)), Beat::Dead);
    }
}
