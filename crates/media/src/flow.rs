//! A flow as its shard holds it: one source, its ledger, its spool.

use std::sync::Arc;
use std::time::Duration;

use aimg_core::{FlowId, Timestamp};
use aimg_rtp::{Arrival, Axis, LedgerBuilder, Packet, PacketError, PayloadType, StreamFacts, Verdict};
use aimg_spool::{FlowMeta, Record};

use crate::batch::Datagram;
use crate::broadcast::{Heard, Voice};
use crate::event::Notices;
use crate::published::{FlowSnapshot, Published};
use crate::source::Source;
use crate::spool_file::{Opened, SpoolFile};
use crate::spool_writer::{NoRoom, SpoolWriter};

/// The RTP of one direction.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) id: FlowId,
    /// Who may send; nobody until the control plane knows.
    pub(crate) source: Option<Source>,
    pub(crate) spool: SpoolWriter,
    pub(crate) notices: Notices,
    /// Where listeners hear it, once somebody has wanted to.
    pub(crate) voice: Option<Voice>,
    payload_type: PayloadType,
    ledger: LedgerBuilder,
    axis: Axis,
    dropped_by_us: u64,
    first_packet_at: Option<Timestamp>,
    last_packet_at: Option<Timestamp>,
    silence_told: bool,
    published: Arc<Published>,
    /// Something has happened since it was last published.
    changed: bool,
}

/// What became of a datagram from the flow's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// It is in the spool; the flow's first one.
    First,
    /// It is in the spool.
    Kept,
    /// It is lost, and it is our fault.
    DroppedByUs,
    /// It is no RTP packet.
    Malformed(PacketError),
    /// It is another kind of RTP.
    WrongPayloadType,
}

/// What is left of a flow that was taken from its shard.
#[derive(Debug)]
pub(crate) struct Remains {
    pub(crate) snapshot: FlowSnapshot,
    pub(crate) facts: StreamFacts,
    pub(crate) file: Arc<SpoolFile>,
}

/// What a flow has seen before it was taken over from another process.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) ledger: LedgerBuilder,
    pub(crate) axis: Axis,
    pub(crate) dropped_by_us: u64,
    pub(crate) first_packet_at: Option<Timestamp>,
    pub(crate) last_packet_at: Option<Timestamp>,
}

impl Flow {
    /// A flow that goes on where another process stopped.
    pub(crate) fn resumed(meta: &FlowMeta, opened: Opened, published: Arc<Published>, history: History) -> Self {
        let History { ledger, axis, dropped_by_us, first_packet_at, last_packet_at } = history;
        Self { ledger, axis, dropped_by_us, first_packet_at, last_packet_at, ..Self::new(meta, opened, published) }
    }

    pub(crate) fn new(meta: &FlowMeta, opened: Opened, published: Arc<Published>) -> Self {
        Self {
            id: meta.flow(),
            source: None,
            spool: SpoolWriter::new(opened),
            notices: Notices::default(),
            voice: None,
            axis: Axis::new(meta.codec),
            payload_type: PayloadType(meta.codec.payload_type()),
            // The RTP clock of what we capture is its sample rate (G.722 would be the exception).
            ledger: LedgerBuilder::new(meta.codec.sample_rate_hz()),
            dropped_by_us: 0,
            first_packet_at: None,
            last_packet_at: None,
            silence_told: false,
            published,
            changed: true,
        }
    }

    pub(crate) const fn first_packet_at(&self) -> Option<Timestamp> {
        self.first_packet_at
    }

    /// Takes a datagram of the flow's source that came `at`.
    pub(crate) fn receive(&mut self, datagram: &Datagram<'_>, at: Timestamp) -> Receipt {
        let packet = match Packet::parse(datagram.bytes) {
            Ok(packet) => packet,
            Err(reason) => return Receipt::Malformed(reason),
        };
        if packet.payload_type != self.payload_type {
            return Receipt::WrongPayloadType;
        }
        self.changed = true;
        self.last_packet_at = Some(at);
        self.silence_told = false;
        let record = Record { arrival: at, kernel_drops: datagram.kernel_drops, packet: datagram.bytes };
        if self.spool.push(&record) == Err(NoRoom) {
            self.dropped_by_us += 1;
            self.ledger.note_dropped_by_us(1);
            self.spool.show_dropped_by_us(self.dropped_by_us);
            self.notices.note_dropped_by_us(self.dropped_by_us);
            return Receipt::DroppedByUs;
        }
        let outcome = self.ledger.observe(Arrival::of(&packet, at, datagram.kernel_drops));
        let position = self.axis.place(outcome, packet.payload.len(), at);
        if let (Some(voice), Some(position), Some(began_at)) = (&self.voice, position, self.axis.began_at()) {
            voice.say(Heard { extended: outcome.extended, position, at, began_at }, packet.payload);
        }
        if self.first_packet_at.is_some() {
            return Receipt::Kept;
        }
        self.first_packet_at = Some(at);
        self.notices.note_started(at);
        Receipt::First
    }

    /// Whether this very packet is in the spool.
    pub(crate) fn has(&self, datagram: &Datagram<'_>) -> bool {
        let Ok(packet) = Packet::parse(datagram.bytes) else { return false };
        let arrival = Arrival::of(&packet, Timestamp::default(), datagram.kernel_drops);
        self.first_packet_at.is_some() && self.ledger.clone().observe(arrival).verdict == Verdict::Duplicate
    }

    /// What is due every few ticks: shows where the flow stands, and notices silence. A zero `silence` is never reached.
    pub(crate) fn tick(&mut self, now: Timestamp, silence: Duration) {
        if let Some(last) = self.last_packet_at
            && !self.silence_told
            && !silence.is_zero()
            && now.since(last) >= silence
        {
            self.silence_told = true;
            self.notices.note_silent(last);
        }
        if self.changed {
            self.changed = false;
            self.spool.show_committed();
            self.published.publish(&self.snapshot());
        }
    }

    /// Gives up the mappings and tells what is to be done with the file.
    pub(crate) fn finish(self) -> Remains {
        let snapshot = self.snapshot();
        let facts = self.ledger.facts();
        Remains { snapshot, facts, file: self.spool.finish() }
    }

    fn snapshot(&self) -> FlowSnapshot {
        FlowSnapshot {
            ledger: self.ledger.ledger(),
            first_packet_at: self.first_packet_at,
            last_packet_at: self.last_packet_at,
            began_at: self.axis.began_at(),
            spool_bytes: self.spool.used_bytes(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::event::{Event, Outbox};
    use crate::spool_file::tests::new_spool;

    pub(crate) fn flow(directory: &Path) -> Flow {
        let new = new_spool(directory, 1 << 20);
        let meta = new.meta.clone();
        Flow::new(&meta, SpoolFile::create(new).unwrap(), Arc::default())
    }

    fn rtp(payload_type: u8, seq: u16, payload_bytes: usize) -> Vec<u8> {
        let mut bytes = vec![0x80, payload_type, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        bytes[2..4].copy_from_slice(&seq.to_be_bytes());
        bytes.resize(12 + payload_bytes, 0xff);
        bytes
    }

    fn datagram(bytes: &[u8]) -> Datagram<'_> {
        Datagram { bytes, source: None, stamp_us: None, kernel_drops: 0, truncated: false }
    }

    fn at(us: i64) -> Timestamp {
        Timestamp::from_micros(us)
    }

    #[test]
    fn each_datagram_has_one_receipt() {
        let directory = tempfile::tempdir().unwrap();
        let mut flow = flow(directory.path());
        for (bytes, receipt) in [
            (rtp(8, 1, 160), Receipt::WrongPayloadType),
            (b"short".to_vec(), Receipt::Malformed(PacketError::Short)),
            (rtp(0, 1, 160), Receipt::First),
            (rtp(0, 2, 160), Receipt::Kept),
        ] {
            assert_eq!(flow.receive(&datagram(&bytes), at(9)), receipt);
        }
        assert_eq!(flow.snapshot().ledger.received, 2);
        assert_eq!(flow.snapshot().first_packet_at, Some(at(9)));
    }

    #[test]
    fn without_a_chunk_packets_are_ours_to_answer_for() {
        let directory = tempfile::tempdir().unwrap();
        let mut flow = flow(directory.path());
        let receipts: Vec<_> = (0..100).map(|seq| flow.receive(&datagram(&rtp(0, seq, 160)), at(9))).collect();
        let kept = receipts.iter().take_while(|r| **r != Receipt::DroppedByUs).count() as u64;
        assert!(receipts[kept as usize..].iter().all(|r| *r == Receipt::DroppedByUs));

        flow.tick(at(10), Duration::ZERO);
        let snapshot = flow.published.snapshot();
        assert_eq!((snapshot.ledger.received, snapshot.ledger.dropped_by_us), (kept, 100 - kept));
        assert_eq!(snapshot.ledger.expected, 100);
        let file = std::fs::read(flow.finish().file.path()).unwrap();
        assert_eq!(aimg_spool::LiveCounters::decode(&file).dropped_by_us, 100 - kept);
    }

    #[tokio::test]
    async fn silence_is_told_once_for_each() {
        let directory = tempfile::tempdir().unwrap();
        let mut flow = flow(directory.path());
        let (outbox, mut events) = Outbox::new(100);
        let silence = Duration::from_micros(100);
        flow.tick(at(1_000), silence);
        for (packet_at, ticks) in [(1_000, [1_050, 1_100, 1_200]), (2_000, [2_099, 2_101, 3_000])] {
            flow.receive(&datagram(&rtp(0, 1, 160)), at(packet_at));
            for now in ticks {
                flow.tick(at(now), silence);
                assert!(flow.notices.offer(flow.id, at(now), &outbox));
            }
        }
        drop(outbox);
        let mut silent = Vec::new();
        while let Some(event) = events.next().await {
            if let Event::Silent { last_packet_at, .. } = event {
                silent.push(last_packet_at);
            }
        }
        assert_eq!(silent, [at(1_000), at(2_000)]);
    }
}
