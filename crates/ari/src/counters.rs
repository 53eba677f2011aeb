//! What happened on one connection to one PBX, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter, shared by the tasks of a client.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of a client, as read at one moment. Each only grows.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> Counts {
                Counts { $($name: self.$name.value(),)* }
            }
        }
    };
}

counters! {
    /// Requests that were begun.
    requests,
    /// Requests that failed before anything was sent.
    requests_not_sent,
    /// Of those: refused because too many others were waiting already.
    requests_crowded_out,
    /// Of those: refused because the PBX did not answer earlier ones.
    requests_broken_off,
    /// Requests whose outcome is unknown: timed out or cut after sending.
    requests_maybe_done,
    /// Requests that Asterisk answered with an error.
    requests_rejected,
    /// Times the PBX did not answer several requests in a row, or the one that was to see whether it answers again.
    breaker_opened,
    /// Times the event stream came up, resync included.
    streams_up,
    /// Times an attempt failed or a live event stream was lost.
    streams_lost,
    /// Of those: given up by us because the events' consumer was too slow.
    streams_overflowed,
    /// Times another program took the application over.
    streams_replaced,
    /// Events received.
    events,
    /// Of those: of an unknown type, or of a known one with fields missing.
    events_other,
    /// Text messages that were no event at all.
    messages_garbled,
}

/// What happened at a [`Listener`](crate::Listener), as read at one moment. Each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerCounts {
    /// Connections of PBXs that are known here.
    pub accepted: u64,
    /// Connections with a path, user or password that is nobody's.
    pub refused: u64,
    /// Connections closed because too many others were shaking hands.
    pub crowded_out: u64,
    /// Connections that spoke no TLS or no WebSocket, or too slowly, and failed accepts.
    pub failed: u64,
}
