//! The events connection: it reads as fast as Asterisk writes, whatever the consumer does, because Asterisk drops a
//! session that it could not write to for 100 ms. Nothing is asked over it but pings, which make its silence mean life.

use std::sync::Arc;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use crate::connection::{Connection, OWN_ACTION_ID};
use crate::counters::Counters;
use crate::heartbeat::{Beat, Heartbeat};
use crate::{Action, Config, Error, queue};

/// Puts every event into `events` until the connection ends or the queue is full, and says why it ended.
pub(crate) async fn listen(
    mut connection: Connection,
    events: queue::Sender,
    config: Arc<Config>,
    counters: Arc<Counters>,
) -> Error {
    let peer = config.peer();
    let mut heartbeat = Heartbeat::new(config.ping_interval, config.ping_timeout, Instant::now());
    let mut ping = Vec::new();
    Action::ping().encode(OWN_ACTION_ID, &mut ping);
    loop {
        // All that one read has brought, before the clock is looked at.
        loop {
            let message = match connection.reader.message_here() {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(error) => return error,
            };
            if message.first("Event").is_none() {
                continue;
            }
            counters.events.add(1);
            if let Err(full) = events.push(message) {
                counters.overflows.add(1);
                return Error::Overflow { peer, events: full.events, bytes: full.bytes };
            }
        }
        // The consumer takes them while they are in the cache, and their memory serves the next ones.
        yield_now().await;
        tokio::select! {
            filled = connection.reader.fill() => match filled {
                Ok(()) => heartbeat.heard(Instant::now()),
                Err(error) => return error,
            },
            () = sleep_until(heartbeat.due_at()) => match heartbeat.beat(Instant::now()) {
                Beat::Wait => {}
                // Never waits: no more than one ping is on its way, so a socket without room for it is a dead one.
                Beat::Ping => if let Err(source) = connection.writer.write_now(&ping) {
                    return Error::Broken { peer, source };
                },
                Beat::Dead => return Error::Silent { peer, waiting_for: "ping", waited: config.ping_timeout },
            },
        }
    }
}
