//! What shards tell the control plane.
//!
//! A shard never waits for a reader of events. An event that finds no room stays with its flow and is offered again when
//! the flow is next looked after; until then later ones of its kind merge into it. A flow that is closed meanwhile answers `close` with
//! all that its events would have told.

use aimg_core::{FlowId, Timestamp};
use tokio::sync::mpsc;

/// Events that may wait for their reader.
pub const EVENTS: usize = 4_096;

/// The least time between two alarms of one flow.
const ALARM_INTERVAL_US: i64 = 1_000_000;

/// Something happened to a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The first packet is here, and in the spool.
    Started {
        /// The flow.
        flow: FlowId,
        /// When the kernel received it.
        first_packet_at: Timestamp,
    },
    /// Packets came that could not be kept: an alarm, at most once a second for each flow.
    DroppedByUs {
        /// The flow.
        flow: FlowId,
        /// Packets dropped since the flow was opened.
        dropped_by_us: u64,
    },
    /// The spool cannot grow; it is tried again every second. Packets are dropped once the chunk in use is full.
    SpoolStuck {
        /// The flow.
        flow: FlowId,
        /// The system's reason.
        reason: String,
    },
    /// No packet has come for the time set. Once for each silence.
    Silent {
        /// The flow.
        flow: FlowId,
        /// When the last one came.
        last_packet_at: Timestamp,
    },
}

/// The control plane's end of the queue.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// Waits for the next event; nothing once the media plane has stopped.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

/// A shard's end of the queue.
#[derive(Clone, Debug)]
pub(crate) struct Outbox(mpsc::Sender<Event>);

impl Outbox {
    pub(crate) fn new(events_max: usize) -> (Self, Events) {
        let (sender, receiver) = mpsc::channel(events_max);
        (Self(sender), Events(receiver))
    }

    /// Whether the event is off our hands: queued, or nobody listens any more.
    fn take(&self, event: Event) -> bool {
        !matches!(self.0.try_send(event), Err(mpsc::error::TrySendError::Full(_)))
    }
}

/// What a flow has to tell and has not told yet.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    started: Option<Timestamp>,
    dropped_by_us: Option<u64>,
    stuck: Option<String>,
    silent: Option<Timestamp>,
    dropped_told_at: Option<Timestamp>,
    stuck_told_at: Option<Timestamp>,
}

impl Notices {
    pub(crate) const fn note_started(&mut self, at: Timestamp) {
        self.started = Some(at);
    }

    pub(crate) const fn note_dropped_by_us(&mut self, total: u64) {
        self.dropped_by_us = Some(total);
    }

    pub(crate) fn note_stuck(&mut self, reason: String) {
        self.stuck = Some(reason);
    }

    pub(crate) const fn note_silent(&mut self, last_packet_at: Timestamp) {
        self.silent = Some(last_packet_at);
    }

    /// Offers what is due. False when the queue had no room for something.
    pub(crate) fn offer(&mut self, flow: FlowId, now: Timestamp, outbox: &Outbox) -> bool {
        if let Some(first_packet_at) = self.started {
            if !outbox.take(Event::Started { flow, first_packet_at }) {
                return false;
            }
            self.started = None;
        }
        if let Some(dropped_by_us) = self.dropped_by_us
            && due(self.dropped_told_at, now)
        {
            if !outbox.take(Event::DroppedByUs { flow, dropped_by_us }) {
                return false;
            }
            self.dropped_by_us = None;
            self.dropped_told_at = Some(now);
        }
        if let Some(reason) = &self.stuck
            && due(self.stuck_told_at, now)
        {
            if !outbox.take(Event::SpoolStuck { flow, reason: reason.clone() }) {
                return false;
            }
            self.stuck = None;
            self.stuck_told_at = Some(now);
        }
        if let Some(last_packet_at) = self.silent {
            if !outbox.take(Event::Silent { flow, last_packet_at }) {
                return false;
            }
            self.silent = None;
        }
        true
    }
}

fn due(told_at: Option<Timestamp>, now: Timestamp) -> bool {
    told_at.is_none_or(|at| now.micros_since(at) >= ALARM_INTERVAL_US)
}

#[cfg(test)]
mod tests {
    use aimg_core::{Direction, SessionId};

    use super::*;

    fn flow() -> FlowId {
        let session: SessionId = "0198c1de-1111-7000-8000-000000000000".parse().unwrap();
        FlowId { session, part: 0, direction: Direction::Caller }
    }

    fn at(us: i64) -> Timestamp {
        Timestamp::from_micros(us)
    }

    #[test]
    fn what_finds_no_room_is_offered_again() {
        let (outbox, mut events) = Outbox::new(1);
        let mut notices = Notices::default();
        notices.note_started(at(5));
        notices.note_dropped_by_us(1);
        assert!(!notices.offer(flow(), at(10), &outbox));
        assert_eq!(events.0.try_recv().unwrap(), Event::Started { flow: flow(), first_packet_at: at(5) });
        notices.note_dropped_by_us(7);
        assert!(notices.offer(flow(), at(20), &outbox));
        assert_eq!(events.0.try_recv().unwrap(), Event::DroppedByUs { flow: flow(), dropped_by_us: 7 });
        assert!(notices.offer(flow(), at(30), &outbox));
        assert!(events.0.try_recv().is_err());
    }

    #[test]
    fn alarms_come_once_a_second() {
        let (outbox, mut events) = Outbox::new(100);
        let mut notices = Notices::default();
        for tick in 0..=50 {
            notices.note_dropped_by_us(tick);
            assert!(notices.offer(flow(), at(tick.cast_signed() * 20_000), &outbox));
        }
        let mut told = Vec::new();
        while let Ok(Event::DroppedByUs { dropped_by_us, .. }) = events.0.try_recv() {
            told.push(dropped_by_us);
        }
        assert_eq!(told, [0, 50]);
    }

    #[test]
    fn without_a_reader_nothing_is_kept() {
        let (outbox, events) = Outbox::new(1);
        drop(events);
        let mut notices = Notices::default();
        notices.note_stuck("disk full".into());
        notices.note_silent(at(1));
        assert!(notices.offer(flow(), at(2), &outbox));
    }
}
