//! Events between the socket's reader, which never waits, and the consumer: bounded in number and in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::Message;

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// Events in it.
    pub(crate) events: usize,
    /// Bytes they take.
    pub(crate) bytes: usize,
}

/// The reader's end.
pub(crate) struct Sender {
    events: mpsc::Sender<Message>,
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// The consumer's end.
pub(crate) struct Receiver {
    events: mpsc::Receiver<Message>,
    bytes: Arc<AtomicUsize>,
}

/// A queue of at most `events_max` events that take at most `bytes_max` bytes together.
pub(crate) fn queue(events_max: usize, bytes_max: usize) -> (Sender, Receiver) {
    let (tx, rx) = mpsc::channel(events_max.max(1));
    let bytes = Arc::new(AtomicUsize::new(0));
    (Sender { events: tx, bytes: Arc::clone(&bytes), bytes_max }, Receiver { events: rx, bytes })
}

impl Sender {
    /// Adds an event, or leaves the queue as it is when there is no room. What nobody will receive is dropped.
    pub(crate) fn push(&self, event: Message) -> Result<(), Full> {
        let size = event.bytes();
        // The only writer that adds is this one, so between the check and the addition the sum can only shrink.
        let bytes = self.bytes.load(Ordering::Relaxed);
        let full = || Full { events: self.events.max_capacity() - self.events.capacity(), bytes };
        if bytes + size > self.bytes_max {
            return Err(full());
        }
        self.bytes.fetch_add(size, Ordering::Relaxed);
        match self.events.try_send(event) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.bytes.fetch_sub(size, Ordering::Relaxed);
                Err(full())
            }
        }
    }
}

impl Receiver {
    /// Events in it.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// The next event; nothing once the reader has ended and all its events were taken.
    pub(crate) async fn pop(&mut self) -> Option<Message> {
        let event = self.events.recv().await?;
        self.bytes.fetch_sub(event.bytes(), Ordering::Relaxed);
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::tests::message;

    #[tokio::test]
    async fn both_bounds_hold_and_room_comes_back() {
        let event = message("Event: A\r\n");
        let size = event.bytes();
        for (events_max, bytes_max) in [(3, usize::MAX), (100, 3 * size + 1)] {
            let (tx, mut rx) = queue(events_max, bytes_max);
            for _ in 0..3 {
                tx.push(event.clone()).unwrap();
            }
            assert_eq!(tx.push(event.clone()), Err(Full { events: 3, bytes: 3 * size }));
            assert_eq!(rx.pop().await, Some(event.clone()));
            tx.push(event.clone()).unwrap();
            drop(tx);
            for _ in 0..3 {
                assert!(rx.pop().await.is_some());
            }
            assert_eq!(rx.pop().await, None);
        }
    }
}
