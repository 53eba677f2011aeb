//! A flow's ledger for readers of other threads, without a lock on the shard's side.
//!
//! The shard alone writes. A reader takes all values of one moment or tries again: a sequence lock, whose version is
//! odd while the shard writes.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

use aimg_core::Timestamp;
use aimg_rtp::Ledger;
use serde::Serialize;

/// A flow as its shard has last shown it, every [`crate::SNAPSHOT_AGE_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlowSnapshot {
    /// What came and what is missing.
    pub ledger: Ledger,
    /// When the first packet came.
    pub first_packet_at: Option<Timestamp>,
    /// When the last packet came.
    pub last_packet_at: Option<Timestamp>,
    /// When its first sample was spoken; see [`aimg_rtp::Axis::began_at`].
    pub began_at: Option<Timestamp>,
    /// Bytes of the spool file that hold something.
    pub spool_bytes: u64,
}

/// The shared cell.
#[derive(Debug, Default)]
pub(crate) struct Published {
    version: AtomicU64,
    counts: [AtomicU64; 8],
    /// First and last packet, and the beginning; 0 stands for none.
    times_us: [AtomicI64; 3],
}

impl Published {
    /// Shows `snapshot`. Only the flow's shard may call it.
    pub(crate) fn publish(&self, snapshot: &FlowSnapshot) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        let Ledger { expected, received, lost, late, duplicate, kernel_dropped, dropped_by_us } = snapshot.ledger;
        let counts = [expected, received, lost, late, duplicate, kernel_dropped, dropped_by_us, snapshot.spool_bytes];
        for (cell, value) in self.counts.iter().zip(counts) {
            cell.store(value, Ordering::Relaxed);
        }
        for (cell, time) in
            self.times_us.iter().zip([snapshot.first_packet_at, snapshot.last_packet_at, snapshot.began_at])
        {
            cell.store(time.map_or(0, Timestamp::as_micros), Ordering::Relaxed);
        }
        self.version.store(version + 2, Ordering::Release);
    }

    /// The latest snapshot.
    pub(crate) fn snapshot(&self) -> FlowSnapshot {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let counts = self.counts.each_ref().map(|cell| cell.load(Ordering::Relaxed));
            let times = self.times_us.each_ref().map(|cell| cell.load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version {
                return snapshot_of(counts, times.map(|us| (us != 0).then_some(Timestamp::from_micros(us))));
            }
            std::hint::spin_loop();
        }
    }
}

const fn snapshot_of(counts: [u64; 8], times: [Option<Timestamp>; 3]) -> FlowSnapshot {
    let [expected, received, lost, late, duplicate, kernel_dropped, dropped_by_us, spool_bytes] = counts;
    let [first_packet_at, last_packet_at, began_at] = times;
    let ledger = Ledger { expected, received, lost, late, duplicate, kernel_dropped, dropped_by_us };
    FlowSnapshot { ledger, first_packet_at, last_packet_at, began_at, spool_bytes }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn snapshot(n: u64) -> FlowSnapshot {
        let at = (n > 0).then_some(Timestamp::from_micros(n.cast_signed()));
        snapshot_of([n; 8], [at; 3])
    }

    #[test]
    fn a_reader_never_sees_half_a_snapshot() {
        let published = Arc::new(Published::default());
        assert_eq!(published.snapshot(), FlowSnapshot::default());
        let writer = std::thread::spawn({
            let published = Arc::clone(&published);
            move || (1..=200_000).for_each(|n| published.publish(&snapshot(n)))
        });
        let mut last = 0;
        while last < 200_000 {
            let seen = published.snapshot();
            assert_eq!(seen, snapshot(seen.spool_bytes));
            assert!(seen.spool_bytes >= last);
            last = seen.spool_bytes;
        }
        writer.join().unwrap();
    }
}
