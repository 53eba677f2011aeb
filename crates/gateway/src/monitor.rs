//! What a running gateway shows of itself: numbers for metrics, whether it is ready, and the alarms that follow from them.
//!
//! A [`Monitor`] reads what the parts publish anyway. It asks nobody, and waits for nobody but for locks that are held for
//! a moment; the media plane has none of these.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aimg_ari::BreakerState;
use aimg_cluster::BusCounts;
use aimg_core::{Codec, Direction, PbxId, TenantId};
use aimg_media::{Media, MediaStats, ShardStats};
use aimg_rtp::Ledger;
use tokio::sync::watch;

use crate::alarm::{Alarm, AlarmState, Alarms, Subject};
use crate::backlog::{Backlog, BacklogCounts};
use crate::capture::Studio;
use crate::disk::{DiskReport, Disks};
use crate::ears::{Ears, EarsCounts};
use crate::herald::Herald;
use crate::inbox::Routes;
use crate::journal::{JournalCounts, JournalWatch};
use crate::link::{LinkReport, LinkState};
use crate::quota::Quotas;
use crate::scribe::{Board, SpeechCounts};
use crate::tally::{CallTally, Tallies, sum};
use crate::unclaimed::{UnclaimedBook, UnclaimedChannels};

/// A keeper that has answered nothing for so long, while shards wait for it, is behind.
const KEEPER_PATIENCE: Duration = Duration::from_secs(1);

/// Packets from strangers in a second that are no stray ones any more: twenty streams.
const FOREIGN_PER_SECOND_MAX: u64 = 1_000;

/// What the parts of a gateway count, raise and tell. Clones are the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Instruments {
    pub(crate) herald: Herald,
    pub(crate) alarms: Alarms,
    pub(crate) tallies: Tallies,
    /// Channels that are nobody's.
    pub(crate) unclaimed: UnclaimedBook,
    /// Captures that have ended and whose recordings are not finished.
    pub(crate) finishing: Arc<AtomicU64>,
}

impl Instruments {
    /// None has counted anything yet; what happens is told there.
    pub(crate) fn telling(herald: Herald) -> Self {
        Self { alarms: Alarms::telling(herald.clone()), herald, ..Self::default() }
    }
}

/// Shows what a gateway does. Clones are the same one.
#[derive(Clone)]
pub struct Monitor(Arc<Sources>);

struct Sources {
    started: Instant,
    media: Media,
    flows_max: usize,
    routes: Routes,
    journal: JournalWatch,
    instruments: Instruments,
    links: Mutex<BTreeMap<PbxId, LinkWatch>>,
    ari_listener: Option<Arc<aimg_ari::Listener>>,
    disks: Disks,
    quotas: Quotas,
    backlog: Backlog,
    ears: Ears,
    speech: Board,
    worker_deaths: u32,
    looked: Mutex<Vec<LookedShard>>,
}

/// What there is to see of a link.
pub(crate) struct LinkWatch {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) name: String,
    /// Nothing where ARI is alone.
    pub(crate) ami: Option<aimg_ami::Client>,
    pub(crate) ari: aimg_ari::Client,
    pub(crate) report: watch::Receiver<LinkReport>,
    /// What may wait at most: AMI events, ARI notices, inputs of the reducer.
    pub(crate) waiting_max: [usize; 3],
}

/// A shard as it was at the last look.
#[derive(Clone, Copy, Debug, Default)]
struct LookedShard {
    kernel_dropped: u64,
    receive_errors: u64,
    chunks_answered: u64,
    /// Since when the keeper has been waited for without an answer.
    keeper_waited_for: Option<Instant>,
    foreign: u64,
    /// When the packets of strangers were counted, a second ago at least.
    foreign_at: Option<Instant>,
}

/// Audio that may wait for a recogniser before somebody is told, in seconds.
const SPEECH_BEHIND_S_MAX: u64 = 30;

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Since the start of this process.
    pub uptime: Duration,
    /// Workers that died before this one, under the same parent.
    pub worker_deaths: u32,
    /// The shards.
    pub media: MediaStats,
    /// Flows of one shard at most.
    pub flows_max: u64,
    /// The open flows, by class.
    pub flows: BTreeMap<FlowClass, OpenFlows>,
    /// The way to the store.
    pub journal: JournalObservation,
    /// Every PBX that is followed.
    pub links: Vec<LinkObservation>,
    /// What happened to calls, by tenant and PBX; of no tenant is what waits at the link of a PBX that several share.
    pub calls: BTreeMap<(Option<TenantId>, PbxId), CallTally>,
    /// Channels of shared PBXs that are nobody's.
    pub unclaimed_channels: BTreeMap<PbxId, UnclaimedChannels>,
    /// News of flows that no link waited for.
    pub unclaimed_news: u64,
    /// Orders for captures that had ended by themselves.
    pub unclaimed_orders: u64,
    /// Captures that have ended and whose recordings are not finished.
    pub finishing: u64,
    /// Tries to finish a recording that failed.
    pub recordings_failed: u64,
    /// Flows of the worker before that could not be gone on with.
    pub flows_left_behind: u64,
    /// Recordings that the disk did not take: they wait to be tried again.
    pub backlog: BacklogCounts,
    /// Those who listen to calls.
    pub ears: EarsCounts,
    /// How text is made of calls.
    pub speech: SpeechCounts,
    /// The disks that the gateway writes to.
    pub disks: DiskReport,
    /// What happened where PBXs arrive that open ARI's event stream to us, if they may.
    pub ari_listener: Option<aimg_ari::ListenerCounts>,
    /// Every alarm that was ever raised.
    pub alarms: Vec<AlarmState>,
    /// What was told to those who listen.
    pub bus: BusCounts,
}

/// What open flows are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowClass {
    /// Whose.
    pub tenant: TenantId,
    /// Of which PBX.
    pub pbx: PbxId,
    /// Which side of the call.
    pub direction: Direction,
    /// How it is encoded.
    pub codec: Codec,
}

/// The open flows of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlows {
    /// How many.
    pub flows: u64,
    /// Of these: those of which a packet has come.
    pub started: u64,
    /// The sum of their ledgers.
    pub ledger: Ledger,
    /// Bytes in their spools.
    pub spool_bytes: u64,
}

/// The way to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalObservation {
    /// What happened so far.
    pub counts: JournalCounts,
    /// Changes that wait.
    pub waiting: u64,
    /// Changes that may wait.
    pub waiting_max: u64,
    /// Whether the store could not be written at the last try.
    pub is_away: bool,
}

/// One PBX.
#[derive(Clone, Debug)]
pub struct LinkObservation {
    /// Whose; nothing where several tenants share it.
    pub tenant: Option<TenantId>,
    /// Which.
    pub pbx: PbxId,
    /// Its name.
    pub name: String,
    /// The Manager Interface; nothing where ARI is alone.
    pub ami: Option<LinkState>,
    /// The REST Interface.
    pub ari: LinkState,
    /// What AMI has counted, where there is one.
    pub ami_counts: Option<aimg_ami::Counts>,
    /// What ARI has counted.
    pub ari_counts: aimg_ari::Counts,
    /// Whether requests are sent.
    pub breaker: BreakerState,
    /// What may wait at most: AMI events, ARI notices, inputs of the reducer.
    pub waiting_max: [u64; 3],
}

/// Why a gateway is not, or not wholly, ready for calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impediment {
    /// No call at all can be captured, or none be entered into the store.
    pub is_fatal: bool,
    /// What stands in the way: `ami`, `ari`, `disk` or `store`.
    pub what: &'static str,
    /// The PBX, where it is one.
    pub pbx: Option<(PbxId, String)>,
    /// One sentence.
    pub reason: String,
}

impl Monitor {
    pub(crate) fn new(
        studio: &Studio,
        flows_max: usize,
        ari_listener: Option<Arc<aimg_ari::Listener>>,
        worker_deaths: u32,
    ) -> Self {
        let instruments = studio.instruments.clone();
        if worker_deaths > 0 {
            let why = format!("it is worker {} of this parent", worker_deaths + 1);
            instruments.alarms.happened(Alarm::WorkerRestarted, Subject::GATEWAY, None, &why);
        }
        Self(Arc::new(Sources {
            started: Instant::now(),
            flows_max,
            routes: studio.routes.clone(),
            journal: studio.journal.watch(),
            instruments,
            links: Mutex::default(),
            ari_listener,
            disks: studio.disks.clone(),
            quotas: studio.quotas.quotas.clone(),
            backlog: studio.backlog.clone(),
            ears: studio.ears.clone(),
            speech: studio.scribe.board(),
            worker_deaths,
            looked: Mutex::new(vec![LookedShard::default(); studio.media.stats().shards.len()]),
            media: studio.media.clone(),
        }))
    }

    /// Everything at this moment. Costs time in proportion to the open flows.
    pub fn observe(&self) -> Observation {
        let sources = &*self.0;
        let [unclaimed_news, unclaimed_orders] = sources.instruments.tallies.unclaimed();
        Observation {
            uptime: self.uptime(),
            worker_deaths: sources.worker_deaths,
            media: sources.media.stats(),
            flows_max: sources.flows_max as u64,
            flows: sources.flows(),
            journal: sources.journal.observe(),
            links: self.links(),
            calls: sources.instruments.tallies.all(),
            unclaimed_channels: sources.instruments.unclaimed.all(),
            unclaimed_news,
            unclaimed_orders,
            finishing: sources.instruments.finishing.load(Ordering::Relaxed),
            recordings_failed: sources.instruments.tallies.recordings_failed(),
            flows_left_behind: sources.instruments.tallies.flows_left_behind(),
            backlog: sources.backlog.counts(),
            ears: sources.ears.counts(),
            speech: sources.speech.counts(),
            disks: sources.disks.report(),
            ari_listener: sources.ari_listener.as_ref().map(|listener| listener.counts()),
            alarms: self.alarms(),
            bus: sources.instruments.herald.bus().counts(),
        }
    }

    /// How many sessions of a tenant are captured on this node.
    pub fn captured_sessions(&self, tenant: TenantId) -> usize {
        self.0.quotas.captured(tenant)
    }

    /// Since the start of this process.
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Channels of shared PBXs that are nobody's, at this moment.
    pub fn unclaimed_channels(&self) -> BTreeMap<PbxId, UnclaimedChannels> {
        self.0.instruments.unclaimed.all()
    }

    /// Every PBX that is followed.
    pub fn links(&self) -> Vec<LinkObservation> {
        self.0.links().iter().map(|(pbx, link)| link.observe(*pbx)).collect()
    }

    /// Every alarm that was ever raised.
    pub fn alarms(&self) -> Vec<AlarmState> {
        self.0.instruments.alarms.states()
    }

    /// What stands between this gateway and the next call, if anything.
    pub fn impediments(&self) -> Vec<Impediment> {
        let links = self.0.links();
        let mut found = Vec::new();
        for (pbx, link) in links.iter() {
            let report = link.report.borrow();
            let ami = link.ami.as_ref().map(|_| ("ami", &report.ami));
            for (what, state) in ami.into_iter().chain([("ari", &report.ari)]) {
                if let Some(reason) = state.why_not() {
                    let pbx = Some((*pbx, link.name.clone()));
                    found.push(Impediment { is_fatal: false, what, pbx, reason });
                }
            }
        }
        // One PBX that works is a reason to go on; without any the gateway is of no use.
        let is_impeded = |pbx: &PbxId| found.iter().any(|i| i.pbx.as_ref().is_some_and(|(id, _)| id == pbx));
        if !links.is_empty() && links.keys().all(is_impeded) {
            found.iter_mut().for_each(|i| i.is_fatal = true);
        }
        if !self.0.disks.have_room() {
            let reason = "a disk has too little room: no capture begins".to_owned();
            found.push(Impediment { is_fatal: true, what: "disk", pbx: None, reason });
        }
        if self.0.journal.observe().is_away {
            let reason = "the store cannot be written, rows are kept and tried again".to_owned();
            found.push(Impediment { is_fatal: true, what: "store", pbx: None, reason });
        }
        found
    }

    pub(crate) fn add_link(&self, pbx: PbxId, link: LinkWatch) {
        self.0.links().insert(pbx, link);
    }

    /// Leaves only the links of which this is true.
    pub(crate) fn retain_links(&self, is_running: impl Fn(PbxId) -> bool) {
        self.0.links().retain(|pbx, _| is_running(*pbx));
    }

    /// Raises and clears the alarms that follow from counters.
    pub(crate) fn look(&self, now: Instant) {
        let sources = &*self.0;
        let alarms = &sources.instruments.alarms;
        let mut looked = sources.looked.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, (shard, before)) in sources.media.stats().shards.iter().zip(looked.iter_mut()).enumerate() {
            before.look(shard, Subject::shard(number), now, alarms);
        }
        drop(looked);
        let DiskReport { spool, recordings, reserve_bytes, refused: _ } = sources.disks.report();
        for (place, room) in [("spool", spool), ("recordings", recordings)] {
            let subject = Subject { place: Some(place), ..Subject::GATEWAY };
            let why = room.is_low.then(|| room.below(reserve_bytes));
            alarms.set(Alarm::DiskLow, subject, why);
        }
        for (pbx, link) in sources.links().iter() {
            let is_closed = link.ari.breaker() == BreakerState::Closed;
            let why = (!is_closed).then(|| "requests are held back until one is answered".to_owned());
            alarms.set(Alarm::BreakerOpen, Subject::pbx(link.tenant, *pbx), why);
        }
        let behind_s = sources.speech.counts().behind_ms_max / 1_000;
        let why = (behind_s > SPEECH_BEHIND_S_MAX).then(|| {
            // In steps, so that it is not told every second.
            format!(
                "more than {} s of a call's audio wait for a recogniser",
                behind_s / SPEECH_BEHIND_S_MAX * SPEECH_BEHIND_S_MAX
            )
        });
        alarms.set(Alarm::SpeechBehind, Subject::GATEWAY, why);
        alarms.tick(now);
    }
}

impl Sources {
    fn flows(&self) -> BTreeMap<FlowClass, OpenFlows> {
        let mut classes = BTreeMap::<FlowClass, OpenFlows>::new();
        let of_session = self.routes.classes();
        for (flow, snapshot) in self.media.flows() {
            // One that is being opened or finished at this moment is of no class.
            let Some(class) = of_session.get(&flow.session) else { continue };
            let class =
                FlowClass { tenant: class.tenant, pbx: class.pbx, direction: flow.direction, codec: class.codec };
            let open = classes.entry(class).or_default();
            open.flows += 1;
            open.started += u64::from(snapshot.first_packet_at.is_some());
            open.ledger = sum(open.ledger, snapshot.ledger);
            open.spool_bytes += snapshot.spool_bytes;
        }
        classes
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<PbxId, LinkWatch>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LinkWatch {
    fn observe(&self, pbx: PbxId) -> LinkObservation {
        let report = self.report.borrow();
        LinkObservation {
            tenant: self.tenant,
            pbx,
            name: self.name.clone(),
            ami: self.ami.is_some().then(|| report.ami.clone()),
            ari: report.ari.clone(),
            ami_counts: self.ami.as_ref().map(aimg_ami::Client::counts),
            ari_counts: self.ari.counts(),
            breaker: self.ari.breaker(),
            waiting_max: self.waiting_max.map(|max| max as u64),
        }
    }
}

impl LookedShard {
    fn look(&mut self, shard: &ShardStats, subject: Subject, now: Instant, alarms: &Alarms) {
        let more = shard.kernel_dropped.saturating_sub(self.kernel_dropped);
        if more > 0 {
            alarms.happened(Alarm::KernelDropped, subject, None, &format!("{more} packet(s)"));
        }
        if shard.receive_errors > self.receive_errors {
            alarms.happened(Alarm::ReceiveFailed, subject, None, "a system call failed");
        }
        let waiting = shard.chunks_asked.saturating_sub(shard.chunks_answered);
        if waiting == 0 || shard.chunks_answered != self.chunks_answered {
            self.keeper_waited_for = None;
        }
        let since = (waiting > 0).then(|| *self.keeper_waited_for.get_or_insert(now));
        let is_behind = since.is_some_and(|since| now.saturating_duration_since(since) >= KEEPER_PATIENCE);
        let why = is_behind.then(|| "requests for spool space have waited for more than a second".to_owned());
        alarms.set(Alarm::KeeperBehind, subject, why);
        let foreign_at = *self.foreign_at.get_or_insert(now);
        if now.saturating_duration_since(foreign_at) >= Duration::from_secs(1) {
            let per_second = shard.foreign.saturating_sub(self.foreign);
            if per_second > FOREIGN_PER_SECOND_MAX {
                alarms.happened(Alarm::ForeignFlood, subject, None, &format!("{per_second} in a second"));
            }
            (self.foreign, self.foreign_at) = (shard.foreign, Some(now));
        }
        self.kernel_dropped = shard.kernel_dropped;
        self.receive_errors = shard.receive_errors;
        self.chunks_answered = shard.chunks_answered;
    }
}
