//! A shard: one thread, one socket, the flows assigned to it.
//!
//! A turn of its loop: sleep until the socket, the mailbox or the tick has something; read the mailbox; take a bounded
//! number of batches from the socket; do what is due every tick. Nothing in a turn waits.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use aimg_core::Timestamp;
use aimg_spool::Route;
use socket2::Socket;

use crate::batch::{BATCH_PACKETS, Batch, Datagram};
use crate::clock::Stamps;
use crate::event::Outbox;
use crate::flow::{Flow, Receipt};
use crate::flow_table::{FlowTable, Refusal};
use crate::keeper::{ChunkRequest, KeeperQueue};
use crate::mailbox::{MAILBOX_MESSAGES, Message};
use crate::stats::{Counters, add};
use crate::wake::Wake;
use crate::{Clock, Error};

/// The rhythm of all telephony audio.
const TICK: Duration = Duration::from_millis(20);

/// Batches before the mailbox and the tick have their turn again.
const TURN_BATCHES: usize = 16;

/// The least that the kernel charges the receive buffer for a packet, its own structures included.
const CHARGED_BYTES_MIN: usize = 512;

/// A shard, to be run on a thread of its own.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) socket: Socket,
    pub(crate) mailbox: Receiver<Message>,
    pub(crate) wake: Arc<Wake>,
    pub(crate) clock: Clock,
    /// Takes the kernel's stamps over to it.
    pub(crate) stamps: Stamps,
    /// Set to end the shard.
    pub(crate) stop: Arc<AtomicBool>,
    /// Its receive buffers.
    pub(crate) batch: Batch,
    pub(crate) sorter: Sorter,
    /// The bytes of the socket's receive buffer.
    pub(crate) recv_buffer_bytes: usize,
}

/// The flows of a shard, and what it takes to give each packet to its own.
#[derive(Debug)]
pub(crate) struct Sorter {
    /// The shard's number, from 0.
    pub(crate) number: usize,
    pub(crate) flows: FlowTable,
    pub(crate) keeper: KeeperQueue,
    pub(crate) outbox: Outbox,
    pub(crate) counters: Arc<Counters>,
    pub(crate) silence: Duration,
    /// The socket's port.
    pub(crate) local_port: u16,
    /// The socket's drop counter as the last packet carried it.
    pub(crate) kernel_drops: u32,
}

impl Shard {
    /// Runs until it is stopped.
    pub(crate) fn run(mut self) {
        self.take_left();
        let mut next_tick = self.clock.now();
        while !self.stop.load(Ordering::Acquire) {
            // Without flows there is nothing to do at a tick.
            let longest = (self.sorter.flows.len() > 0).then(|| next_tick.since(self.clock.now()));
            self.wake.sleep(self.socket.as_fd(), longest);
            self.read_mailbox();
            self.receive(TURN_BATCHES);
            let now = self.clock.now();
            if now >= next_tick {
                self.sorter.tick(now);
                next_tick = now + TICK;
            }
        }
    }

    fn read_mailbox(&mut self) {
        for _ in 0..MAILBOX_MESSAGES {
            let Ok(message) = self.mailbox.try_recv() else { return };
            self.handle(message);
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Open { flow, reply } => {
                let id = flow.id;
                let done = self.sorter.flows.insert(flow).map_err(|_| Error::FlowExists { flow: id });
                self.sorter.count_flows();
                // Who no longer waits for the answer finds the flow open.
                let _ = reply.send(done);
            }
            Message::Expect { flow, source, reply } => {
                let route = Route { source, local_port: self.sorter.local_port };
                let done = self.sorter.flows.expect(flow, route).map_err(|refusal| match refusal {
                    Refusal::Unknown => Error::UnknownFlow { flow },
                    Refusal::Taken { owner } => Error::SourceTaken { flow, source_address: source, owner },
                });
                let _ = reply.send(done);
            }
            Message::Close { flow, reply } => {
                // Whatever was in the socket when the message came is the flow's.
                self.receive(self.recv_buffer_bytes / CHARGED_BYTES_MIN / BATCH_PACKETS + 1);
                let taken = self.sorter.flows.remove(flow).ok_or(Error::UnknownFlow { flow });
                self.sorter.count_flows();
                let _ = reply.send(taken);
            }
            // An answer may be late for its flow, and another flow of the same name may have come meanwhile.
            Message::Chunk { flow, file, chunk } => {
                if let Some(flow) = self.sorter.flows.of_id(flow)
                    && Arc::ptr_eq(flow.spool.file(), &file)
                {
                    flow.spool.supply(chunk);
                }
                add(&self.sorter.counters.chunks_answered, 1);
            }
            Message::ChunkRefused { flow, file, reason } => {
                if let Some(flow) = self.sorter.flows.of_id(flow)
                    && Arc::ptr_eq(flow.spool.file(), &file)
                {
                    flow.spool.refuse(self.clock.now());
                    flow.notices.note_stuck(reason);
                }
                add(&self.sorter.counters.chunks_answered, 1);
            }
            Message::NotShelved { flow, file, reason } => {
                if let Some(flow) = self.sorter.flows.of_id(flow)
                    && Arc::ptr_eq(flow.spool.file(), &file)
                {
                    flow.notices.note_stuck(reason);
                }
            }
        }
    }

    /// Takes what an earlier process had in hand when it was killed.
    fn take_left(&mut self) {
        let Self { batch, sorter, stamps, .. } = self;
        let reading = stamps.read();
        batch.left(|datagram| sorter.sort_left(&datagram, reading.arrival(datagram.stamp_us), reading.now));
    }

    /// Takes what the socket has, up to so many batches.
    fn receive(&mut self, batches_max: usize) {
        let Self { batch, sorter, stamps, socket, .. } = self;
        for _ in 0..batches_max {
            let (mut bytes, mut read) = (0, None);
            let received = batch.receive(socket.as_fd(), |datagram| {
                // Once a batch, after its packets were received.
                let reading = *read.get_or_insert_with(|| stamps.read());
                bytes += datagram.bytes.len() as u64;
                sorter.note_kernel_drops(datagram.kernel_drops);
                sorter.sort(&datagram, reading.arrival(datagram.stamp_us), reading.now);
            });
            let counters = &sorter.counters;
            let Ok(received) = received else {
                add(&counters.receive_errors, 1);
                return;
            };
            if received == 0 {
                return;
            }
            add(&counters.batches, 1);
            add(&counters.packets, received as u64);
            add(&counters.bytes, bytes);
            if received < BATCH_PACKETS {
                return;
            }
        }
    }
}

impl Sorter {
    /// Adds a flow that goes on; false when there is no room, or its source is another's.
    pub(crate) fn add(&mut self, flow: Flow, route: Route) -> bool {
        let id = flow.id;
        if self.flows.insert(Box::new(flow)).is_err() {
            return false;
        }
        let expected = self.flows.expect(id, route).is_ok();
        if !expected {
            self.flows.remove(id);
        }
        self.count_flows();
        expected
    }

    fn count_flows(&self) {
        self.counters.flows.store(self.flows.len() as u64, Ordering::Relaxed);
    }

    fn note_kernel_drops(&mut self, kernel_drops: u32) {
        let more = kernel_drops.wrapping_sub(self.kernel_drops);
        if more > 0 {
            add(&self.counters.kernel_dropped, u64::from(more));
            self.kernel_drops = kernel_drops;
        }
    }

    /// Gives a datagram to the flow of its source, or counts why not.
    fn sort(&mut self, datagram: &Datagram<'_>, at: Timestamp, now: Timestamp) {
        let counters = &self.counters;
        let Some(flow) = datagram.source.and_then(|source| self.flows.of_source(source)) else {
            return add(&counters.foreign, 1);
        };
        if datagram.truncated {
            return add(&counters.truncated, 1);
        }
        match flow.receive(datagram, at) {
            Receipt::Kept => {}
            Receipt::First => offer_notices(flow, now, &self.outbox, counters),
            Receipt::DroppedByUs => add(&counters.dropped_by_us, 1),
            Receipt::Malformed(reason) => add(&counters.malformed[reason.index()], 1),
            Receipt::WrongPayloadType => add(&counters.wrong_payload_type, 1),
        }
        ask_for_chunk(flow, now, self.number, &self.keeper, counters);
    }

    /// As [`Sorter::sort`], for what may be in its spool already.
    fn sort_left(&mut self, datagram: &Datagram<'_>, at: Timestamp, now: Timestamp) {
        let known = datagram.source.and_then(|source| self.flows.of_source(source)).is_some_and(|f| f.has(datagram));
        if !known {
            self.sort(datagram, at, now);
        }
    }

    fn tick(&mut self, now: Timestamp) {
        for flow in self.flows.iter_mut() {
            flow.tick(now, self.silence);
            ask_for_chunk(flow, now, self.number, &self.keeper, &self.counters);
            offer_notices(flow, now, &self.outbox, &self.counters);
        }
    }
}

/// Offers the flow's events; what finds no room is offered again on the next tick.
fn offer_notices(flow: &mut Flow, now: Timestamp, outbox: &Outbox, counters: &Counters) {
    if !flow.notices.offer(flow.id, now, outbox) {
        add(&counters.events_full, 1);
    }
}

/// Asks for the flow's next chunk if it wants one; tried again on the next tick when the keeper has no room.
fn ask_for_chunk(flow: &mut Flow, now: Timestamp, shard: usize, keeper: &KeeperQueue, counters: &Counters) {
    if !flow.spool.wants_chunk(now) {
        return;
    }
    let retired = flow.spool.take_retired();
    let file = Arc::clone(flow.spool.file());
    let request = ChunkRequest { flow: flow.id, file, shard, full_chunks: flow.spool.full_chunks(), retired };
    match keeper.ask(request) {
        Ok(()) => {
            flow.spool.asked();
            add(&counters.chunks_asked, 1);
        }
        Err(request) => {
            flow.spool.keep_retired(request.retired);
            add(&counters.keeper_full, 1);
        }
    }
}
