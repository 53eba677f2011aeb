//! What happened to the calls of each PBX since the gateway was started, in numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aimg_core::{CallEventKind, Codec, Direction, PbxId, TenantId};
use aimg_recording::{Certificate, Finished, FlowCertificate};
use aimg_rtp::{Ledger, StreamFacts};
use aimg_session::CallCounts;

/// Upper bounds of the histograms' buckets, in milliseconds; beyond the last one is a bucket of its own.
pub const BUCKETS_MS: [u64; 12] = [5, 10, 15, 20, 25, 40, 60, 100, 250, 500, 1_000, 2_500];

/// Why a recording is not complete. One recording can have several reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No packet of a direction came.
    NoPacket,
    /// Packets never reached the gateway.
    LostBeforeUs,
    /// Our kernel dropped packets.
    KernelDropped,
    /// We could not keep packets.
    DroppedByUs,
    /// Parts of the spool were damaged.
    Damaged,
    /// A source began to count anew, and what it lost there is unknown.
    Restarted,
    /// Packets were numbered as if from elsewhere.
    Stray,
    /// The capture ended before the call did.
    EndedEarly,
    /// The capture began in the middle of the call.
    BegunLate,
    /// A reason that is none of the others.
    Other,
}

impl Missing {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NoPacket,
        Self::LostBeforeUs,
        Self::KernelDropped,
        Self::DroppedByUs,
        Self::Damaged,
        Self::Restarted,
        Self::Stray,
        Self::EndedEarly,
        Self::BegunLate,
        Self::Other,
    ];

    /// The word for it in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoPacket => "no_packet",
            Self::LostBeforeUs => "lost_before_us",
            Self::KernelDropped => "kernel_dropped",
            Self::DroppedByUs => "dropped_by_us",
            Self::Damaged => "damaged",
            Self::Restarted => "restarted",
            Self::Stray => "stray",
            Self::EndedEarly => "ended_early",
            Self::BegunLate => "begun_late",
            Self::Other => "other",
        }
    }

    /// What is missing from a recording; nothing where it is complete.
    fn of(certificate: &Certificate) -> Vec<Self> {
        if certificate.complete {
            return Vec::new();
        }
        let flows = [&certificate.caller, &certificate.callee];
        let any = |test: fn(&FlowCertificate) -> bool| flows.into_iter().any(test);
        let mut missing: Vec<Self> = [
            (Self::NoPacket, any(|f| f.ledger.received == 0)),
            (Self::LostBeforeUs, any(|f| f.ledger.lost > 0)),
            (Self::KernelDropped, any(|f| f.ledger.kernel_dropped > 0)),
            (Self::DroppedByUs, any(|f| f.ledger.dropped_by_us > 0)),
            (Self::Damaged, any(|f| f.corrupt_bytes > 0)),
            (Self::Restarted, any(|f| f.stream.restarts > 0)),
            (Self::Stray, any(|f| f.stream.strays > 0)),
            (Self::EndedEarly, certificate.ended_at.is_none()),
            (Self::BegunLate, certificate.adopted),
        ]
        .into_iter()
        .filter_map(|(missing, applies)| applies.then_some(missing))
        .collect();
        if missing.is_empty() {
            missing.push(Self::Other);
        }
        missing
    }
}

/// Times, sorted into buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many fell into each bucket of [`BUCKETS_MS`], and, last, beyond them.
    pub buckets: [u64; BUCKETS_MS.len() + 1],
    /// The sum of all times.
    pub sum_ms: u64,
}

impl Histogram {
    fn add(&mut self, ms: u64) {
        let bucket = BUCKETS_MS.iter().position(|bound| ms <= *bound).unwrap_or(BUCKETS_MS.len());
        self.buckets[bucket] += 1;
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }
}

/// What happened to the calls of one PBX.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallTally {
    /// Calls and captures, as of half a second ago.
    pub calls: CallCounts,
    /// What waited then: AMI events, ARI notices, inputs of the reducer.
    pub waiting: [u64; 3],
    /// Events of calls, by name; [`CallEventKind::State`] by its state.
    pub events: BTreeMap<&'static str, u64>,
    /// Recordings from which nothing is missing.
    pub recordings_complete: u64,
    /// Recordings from which something is missing.
    pub recordings_incomplete: u64,
    /// For each reason the recordings that it holds for, in the order of [`Missing::ALL`].
    pub missing: [u64; Missing::ALL.len()],
    /// Milliseconds of finished recordings.
    pub recorded_ms: u64,
    /// Bytes of finished recordings.
    pub recorded_bytes: u64,
    /// What the certificates of finished recordings tell of their flows, by direction and codec.
    pub flows: BTreeMap<(Direction, Codec), FlowTally>,
    /// From the answer to the first captured packet.
    pub head_gap: Histogram,
    /// From the opening of a capture to the first packet of both directions.
    pub attach: Histogram,
}

/// What the certificates tell of the flows of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowTally {
    /// The sum of their ledgers.
    pub ledger: Ledger,
    /// How often another SSRC took over.
    pub ssrc_changes: u64,
    /// How often a source started to count anew.
    pub restarts: u64,
    /// Packets that came out of order.
    pub reordered: u64,
    /// Packets whose number belongs nowhere.
    pub strays: u64,
    /// Bytes of spools that were damaged.
    pub corrupt_bytes: u64,
}

impl CallTally {
    fn add_event(&mut self, kind: &CallEventKind) {
        let name = match kind {
            CallEventKind::State { state } => state.name(),
            CallEventKind::HookReleased { ready: false } => "hook_timed_out",
            other => other.name(),
        };
        *self.events.entry(name).or_default() += 1;
    }

    fn add_recording(&mut self, certificate: &Certificate, bytes: u64) {
        let missing = Missing::of(certificate);
        *(if missing.is_empty() { &mut self.recordings_complete } else { &mut self.recordings_incomplete }) += 1;
        missing.iter().for_each(|why| self.missing[*why as usize] += 1);
        self.recorded_ms += certificate.duration_ms;
        self.recorded_bytes += bytes;
        for direction in Direction::BOTH {
            let flow = certificate.flow(direction);
            let tally = self.flows.entry((direction, certificate.codec)).or_default();
            tally.ledger = sum(tally.ledger, flow.ledger);
            let StreamFacts { ssrc_changes, restarts, reordered, strays, jitter_ms: _ } = flow.stream;
            tally.ssrc_changes += ssrc_changes;
            tally.restarts += restarts;
            tally.reordered += reordered;
            tally.strays += strays;
            tally.corrupt_bytes += flow.corrupt_bytes;
        }
        if let Some(gap_ms) = certificate.head_gap_ms {
            self.head_gap.add(gap_ms);
        }
        if let (Some(caller), Some(callee), false) =
            (certificate.caller.first_packet_at, certificate.callee.first_packet_at, certificate.adopted)
        {
            let took = caller.max(callee).since(certificate.opened_at);
            self.attach.add(u64::try_from(took.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX));
        }
    }
}

/// Two ledgers added up.
pub(crate) fn sum(a: Ledger, b: Ledger) -> Ledger {
    let Ledger { expected, received, lost, late, duplicate, kernel_dropped, dropped_by_us } = b;
    Ledger {
        expected: a.expected + expected,
        received: a.received + received,
        lost: a.lost + lost,
        late: a.late + late,
        duplicate: a.duplicate + duplicate,
        kernel_dropped: a.kernel_dropped + kernel_dropped,
        dropped_by_us: a.dropped_by_us + dropped_by_us,
    }
}

/// The tallies of all PBXs that had a call since the start. Clones are the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tallies(Arc<Tables>);

#[derive(Debug, Default)]
struct Tables {
    by_pbx: Mutex<BTreeMap<(Option<TenantId>, PbxId), CallTally>>,
    unclaimed_news: AtomicU64,
    unclaimed_orders: AtomicU64,
    /// Of some of them nobody knows whose they were.
    recordings_failed: AtomicU64,
    flows_left_behind: AtomicU64,
}

impl Tallies {
    pub(crate) fn event(&self, tenant: Option<TenantId>, pbx: PbxId, kind: &CallEventKind) {
        self.with(tenant, pbx, |tally| tally.add_event(kind));
    }

    pub(crate) fn recording(&self, finished: &Finished) {
        let certificate = &finished.certificate;
        self.with(Some(certificate.tenant), certificate.pbx, |tally| tally.add_recording(certificate, finished.bytes));
    }

    /// Counts a try to finish a recording that failed.
    pub(crate) fn recording_failed(&self) {
        self.0.recordings_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Tries to finish a recording that failed.
    pub(crate) fn recordings_failed(&self) -> u64 {
        self.0.recordings_failed.load(Ordering::Relaxed)
    }

    /// Counts flows of the process before that could not be gone on with.
    pub(crate) fn leave_flows_behind(&self, count: usize) {
        self.0.flows_left_behind.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Flows of the process before that could not be gone on with.
    pub(crate) fn flows_left_behind(&self) -> u64 {
        self.0.flows_left_behind.load(Ordering::Relaxed)
    }

    /// Shows the calls of a link, by tenant, and what waits there.
    pub(crate) fn show(
        &self,
        owner: Option<TenantId>,
        pbx: PbxId,
        calls: &BTreeMap<Option<TenantId>, CallCounts>,
        waiting: [usize; 3],
    ) {
        let mut tallies = self.lock();
        tallies.entry((owner, pbx)).or_default().waiting = waiting.map(|count| count as u64);
        for tenant in calls.keys() {
            tallies.entry((*tenant, pbx)).or_default();
        }
        for ((tenant, _), tally) in tallies.iter_mut().filter(|((_, of), _)| *of == pbx) {
            tally.calls = calls.get(tenant).copied().unwrap_or_default();
        }
    }

    /// Counts news of a flow that no link waits for.
    pub(crate) fn unclaimed_news(&self) {
        self.0.unclaimed_news.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an order for a capture that has ended by itself.
    pub(crate) fn unclaimed_order(&self) {
        self.0.unclaimed_orders.fetch_add(1, Ordering::Relaxed);
    }

    /// News of flows that no link waited for, and orders for captures that had ended by themselves.
    pub(crate) fn unclaimed(&self) -> [u64; 2] {
        [&self.0.unclaimed_news, &self.0.unclaimed_orders].map(|count| count.load(Ordering::Relaxed))
    }

    /// All of them, at this moment.
    pub(crate) fn all(&self) -> BTreeMap<(Option<TenantId>, PbxId), CallTally> {
        self.lock().clone()
    }

    fn with(&self, tenant: Option<TenantId>, pbx: PbxId, change: impl FnOnce(&mut CallTally)) {
        change(self.lock().entry((tenant, pbx)).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Option<TenantId>, PbxId), CallTally>> {
        self.0.by_pbx.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
