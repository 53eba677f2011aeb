//! A shard: one thread, one socket, the flows assigned to it.
//!
//! A turn of its loop: sleep until the socket, the mailbox or the tick has something; read the mailbox; take a bounded
//! number of batches from the socket; do what is due every tick. Nothing in a turn waits.
//!
//! A shard with much to do is not woken by each packet: it lets them gather in the socket for a millisecond. That costs
//! it, and whoever sends to it on this machine, far less than a wake-up a packet, and takes nothing from their stamps,
//! which the kernel makes when they arrive.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use aimg_core::Timestamp;
use aimg_spool::Route;
use socket2::Socket;

use crate::batch::{BATCH_PACKETS, Batch, Datagram};
use crate::clock::{Reading, Stamps};
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

/// A flow is looked after every so many ticks, whether packets came or not; a tick looks after as many flows as the
/// others.
const PARTS: usize = 5;

/// The oldest that what is shown of a flow can be, on a machine that gives the shard its time.
pub const SNAPSHOT_AGE_MAX: Duration = Duration::from_millis(TICK.as_millis() as u64 * PARTS as u64);

/// A shard with so many packets in a tick lets them gather: ten or more in a millisecond.
const GATHER_PACKETS_MIN: u64 = 200;

/// How long they gather.
const GATHER: Duration = Duration::from_millis(1);

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
    /// The part of the flows that the last tick has looked after.
    pub(crate) part: usize,
}

impl Shard {
    /// Runs until it is stopped.
    pub(crate) fn run(mut self) {
        self.take_left();
        let mut next_tick = self.clock.now();
        let (mut busy, mut packets_in_tick, mut drained) = (false, 0, true);
        while !self.stop.load(Ordering::Acquire) {
            if busy && drained {
                self.wake.sleep(None, Some(GATHER));
            } else {
                // Without flows there is nothing to do at a tick.
                let longest = (self.sorter.flows.len() > 0).then(|| next_tick.since(self.clock.now()));
                self.wake.sleep(Some(self.socket.as_fd()), longest);
            }
            self.read_mailbox();
            let packets = self.receive(TURN_BATCHES);
            drained = packets < (TURN_BATCHES * BATCH_PACKETS) as u64;
            packets_in_tick += packets;
            let now = self.clock.now();
            if now >= next_tick {
                self.sorter.tick(now);
                next_tick = now + TICK;
                busy = packets_in_tick >= GATHER_PACKETS_MIN;
                packets_in_tick = 0;
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
            Message::Hear { flow, voice, reply } => {
                let found = self.sorter.flows.of_id(flow).ok_or(Error::UnknownFlow { flow });
                let _ = reply.send(found.map(|flow| flow.voice = Some(voice)));
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

    /// Takes what the socket has, up to so many batches, and returns how many packets that were.
    fn receive(&mut self, batches_max: usize) -> u64 {
        let Self { batch, sorter, stamps, socket, .. } = self;
        let mut packets = 0;
        for _ in 0..batches_max {
            let Ok(received) = batch.receive(socket.as_fd()) else {
                add(&sorter.counters.receive_errors, 1);
                break;
            };
            if received > 0 {
                sorter.sort_batch(batch, received, stamps.read());
            }
            packets += received as u64;
            if received < BATCH_PACKETS {
                break;
            }
        }
        packets
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

    /// Sorts the packets of a batch that was received a moment before `reading`.
    fn sort_batch(&mut self, batch: &mut Batch, received: usize, reading: Reading) {
        // All lookups first: the processor waits for the memory of many at once.
        let mut slots = [None; BATCH_PACKETS];
        for (i, slot) in slots[..received].iter_mut().enumerate() {
            *slot = batch.source(i).and_then(|source| self.flows.slot_of(source));
        }
        let mut bytes = 0;
        for (i, slot) in slots[..received].iter().enumerate() {
            let datagram = batch.datagram(i);
            bytes += datagram.bytes.len() as u64;
            self.note_kernel_drops(datagram.kernel_drops);
            self.sort(&datagram, *slot, reading.arrival(datagram.stamp_us), reading.now);
            batch.note_done(i + 1);
        }
        add(&self.counters.batches, 1);
        add(&self.counters.packets, received as u64);
        add(&self.counters.bytes, bytes);
    }

    /// Gives a datagram to the flow of its source, or counts why not.
    fn sort(&mut self, datagram: &Datagram<'_>, slot: Option<usize>, at: Timestamp, now: Timestamp) {
        let counters = &self.counters;
        let Some(flow) = slot.and_then(|slot| self.flows.at(slot)) else {
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
        let slot = datagram.source.and_then(|source| self.flows.slot_of(source));
        let known = slot.and_then(|slot| self.flows.at(slot)).is_some_and(|flow| flow.has(datagram));
        if !known {
            self.sort(datagram, slot, at, now);
        }
    }

    /// Looks after the next part of the flows: each tick costs a part of what all of them cost.
    fn tick(&mut self, now: Timestamp) {
        self.part = (self.part + 1) % PARTS;
        for flow in self.flows.part_mut(self.part, PARTS) {
            flow.tick(now, self.silence);
            ask_for_chunk(flow, now, self.number, &self.keeper, &self.counters);
            offer_notices(flow, now, &self.outbox, &self.counters);
        }
    }
}

/// Offers the flow's events; what finds no room is offered again when the flow is looked after.
fn offer_notices(flow: &mut Flow, now: Timestamp, outbox: &Outbox, counters: &Counters) {
    if !flow.notices.offer(flow.id, now, outbox) {
        add(&counters.events_full, 1);
    }
}

/// Asks for the flow's next chunk if it wants one; tried again with the flow's next packet when the keeper has no room.
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
