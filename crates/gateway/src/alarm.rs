//! What a person should know of at once: a closed list of alarms, raised and cleared, each told to the log once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aimg_core::{PbxId, SessionId, TenantId};
use tracing::field::display;

use crate::herald::Herald;

/// How long an alarm about something that happened stays up after it happened last.
pub const HAPPENED_STAYS: Duration = Duration::from_secs(60);

/// Sessions that one alarm names at once. Beyond it they are counted only: the log would not be read.
const SESSIONS_MAX: usize = 1_000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Calls are captured; look into it when there is time. A warning in the log.
    Warning,
    /// Audio is or will be missing. An error in the log.
    Critical,
}

impl Severity {
    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

macro_rules! alarms {
    ($($(#[$doc:meta])* $alarm:ident = $name:literal, $severity:ident, $says:literal, $cure:literal;)*) => {
        /// Every alarm there is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Alarm {
            $($(#[$doc])* $alarm,)*
        }

        impl Alarm {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$alarm,)*];

            /// Its stable name: the field `alarm` of log lines, the label `alarm` of metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$alarm => $name,)* }
            }

            /// How bad it is.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$alarm => Severity::$severity,)* }
            }

            /// What it says, for people.
            pub const fn says(self) -> &'static str {
                match self { $(Self::$alarm => $says,)* }
            }

            /// What to do about it.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$alarm => $cure,)* }
            }
        }
    };
}

alarms! {
    /// Packets were in hand and could not be kept.
    DroppedByUs = "dropped_by_us", Critical, "audio of a call was dropped by us",
        "Look for `keeper_behind` and `spool_stuck` at the same time: the spool's disk is too slow or full. Otherwise it is a \
         defect: report it with the log.";
    /// The kernel dropped packets because a shard's receive buffer was full.
    KernelDropped = "kernel_dropped", Critical, "the kernel dropped audio: a shard's receive buffer was full",
        "Raise `net.core.rmem_max` and `media.recv_buffer_bytes`; give the machine more CPU, or the gateway more shards.";
    /// A shard's receive calls fail.
    ReceiveFailed = "receive_failed", Critical, "a shard cannot receive",
        "Look at the network of this machine; restart the gateway.";
    /// The keeper does not answer the shards' requests for spool space.
    KeeperBehind = "keeper_behind", Critical, "the spool's disk is too slow: packets will be dropped",
        "Look at the load and the health of the spool's disk; it should be local and not shared.";
    /// The spool of a flow cannot grow.
    SpoolStuck = "spool_stuck", Critical, "the spool of a call cannot grow",
        "The reason is in the log line; most often the spool's disk is full.";
    /// Far more packets from strangers than stray ones.
    ForeignFlood = "foreign_flood", Warning, "a shard receives many packets from strangers",
        "Find out who sends to the shard's port; close it to all but the PBXs with a firewall.";
    /// The spool's disk, or another one, has little room left.
    DiskLow = "disk_low", Critical, "no capture begins: a disk has too little room",
        "Make room: remove old recordings, or move them elsewhere. What is kept free is `disk.reserve_bytes`.";
    /// AMI of a PBX is lost, or could not be had.
    AmiDown = "ami_down", Critical, "AMI is down",
        "New calls are not seen. The reason is in the log line; `aimg doctor` says what to change.";
    /// ARI of a PBX is lost, or could not be had.
    AriDown = "ari_down", Critical, "ARI is down",
        "New calls cannot be captured. The reason is in the log line; `aimg doctor` says what to change.";
    /// Another program took our ARI application over.
    AriReplaced = "ari_replaced", Critical, "another program took the ARI application: no more calls of this PBX can be captured",
        "Give each program an ARI application of its own, then restart the gateway.";
    /// The PBX runs without a module that captures need.
    ModuleMissing = "module_missing", Critical, "calls on this PBX cannot be captured: a module is missing",
        "Load the module that the log line names; `aimg doctor` gives the lines for modules.conf.";
    /// The PBX did not answer several requests in a row; requests are held back.
    BreakerOpen = "breaker_open", Critical, "the PBX does not answer ARI requests",
        "Look at the PBX: it is overloaded, frozen, or the network is broken.";
    /// Events of a PBX were given up because we did not keep up with them.
    EventsOverflowed = "events_overflowed", Warning, "events of a PBX came faster than they could be taken; its state is read anew",
        "Give the machine more CPU; look for a storm of events on the PBX.";
    /// The row of a PBX is damaged.
    PbxUnusable = "pbx_unusable", Critical, "this PBX cannot be followed until it is changed",
        "The reason is in the log line: correct it with `aimg pbx set`.";
    /// The capture of a call failed.
    CaptureFailed = "capture_failed", Critical, "a call could not be captured",
        "The reason is in the log line and among the session's events.";
    /// A call waited in the hook and went on before its capture was ready.
    HookTimedOut = "hook_timed_out", Warning, "a call went on before its capture was ready",
        "The PBX answers slowly: look at its load, or raise `hook.timeout_ms`.";
    /// The hook was given an argument that names no tenant, or another one than the channel's.
    HookRefused = "hook_refused", Warning, "a call named a wrong tenant in the hook, and was not captured",
        "Correct the argument of `Stasis(<app>,tap,…)` in the PBX's dialplan, or its rules: `aimg pbx rules` and `aimg pbx match`.";
    /// Asterisk stopped to send audio of a running call.
    FlowSilent = "flow_silent", Warning, "no more audio comes for a call that goes on",
        "Look at the network between the PBX and the gateway, and at Asterisk's log about the channels of the session.";
    /// A recording could not be finished.
    RecordingUnfinished = "recording_unfinished", Critical, "a recording could not be finished, its spool is kept",
        "The reason is in the log line. What was captured is in the spool; the next start of the gateway tries again.";
    /// The store cannot be written.
    StoreUnwritable = "store_unwritable", Warning, "the store cannot be written, rows are kept and tried again",
        "Look for who locks the database, and at its disk.";
    /// Rows were lost because the store was away too long.
    JournalOverflowed = "journal_overflowed", Critical, "the store has been away too long: rows about calls are being lost",
        "As for `store_unwritable`. The recordings and their certificates are on disk all the same.";
    /// The store refused a row for good.
    RowRefused = "row_refused", Warning, "a row was refused by the store",
        "Somebody removed a tenant or PBX with live calls; otherwise it is a defect: report it with the log.";
    /// A tenant has as many captured sessions as it may have.
    QuotaSessions = "quota_sessions", Warning, "a tenant has reached its bound of sessions at once: more are seen and not captured",
        "Give the tenant a larger quota, or find out why it has so many calls.";
    /// A tenant's recordings take as much as they may.
    QuotaStorage = "quota_storage", Warning, "a tenant has reached its bound of storage: its calls are seen and not captured",
        "Give the tenant a larger quota, or remove recordings: `recordings.retention_days` does it by itself.";
    /// A tenant's recordings take nearly as much as they may.
    QuotaStorageNear = "quota_storage_near", Warning, "a tenant has used 90 % of its storage",
        "As for `quota_storage`, before it comes to that.";
    /// A recogniser does not keep up with calls, or does not answer.
    SpeechBehind = "speech_behind", Warning, "the text of calls is far behind what is said",
        "No audio is lost, the text comes later. Look at `aimg speech`; give the recogniser more room, or tenants a second one \
         (`speech.recogniser_second`).";
    /// The process that did the work died, and another one took over.
    WorkerRestarted = "worker_restarted", Critical, "the worker died; another one took over",
        "Audio was not lost, but a worker should not die: report it with the log.";
}

/// What an alarm is about. Nothing in it grows with the number of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Whose PBX, or whose call there; nothing where it is about a PBX that several tenants share.
    pub tenant: Option<TenantId>,
    /// Which PBX.
    pub pbx: Option<PbxId>,
    /// Which shard, from 0.
    pub shard: Option<usize>,
    /// Which directory: `spool`, `recordings` or `database`.
    pub place: Option<&'static str>,
}

impl Subject {
    /// The gateway as a whole.
    pub const GATEWAY: Self = Self { tenant: None, pbx: None, shard: None, place: None };

    /// A PBX of this tenant, or one that several share.
    pub(crate) const fn pbx(tenant: Option<TenantId>, pbx: PbxId) -> Self {
        Self { tenant, pbx: Some(pbx), ..Self::GATEWAY }
    }

    /// A shard.
    pub(crate) const fn shard(shard: usize) -> Self {
        Self { shard: Some(shard), ..Self::GATEWAY }
    }
}

/// An alarm of one subject, as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmState {
    /// Which alarm.
    pub alarm: Alarm,
    /// About what.
    pub subject: Subject,
    /// Whether it is up.
    pub active: bool,
    /// How often it was raised since the start.
    pub raised: u64,
}

/// The alarms of a node. Clones are the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarms {
    entries: Arc<Mutex<BTreeMap<(Alarm, Subject), Entry>>>,
    herald: Herald,
}

/// One alarm of one subject.
#[derive(Debug, Default)]
struct Entry {
    raised: u64,
    /// Why it is up, while a state holds it up.
    holds: Option<String>,
    /// What happened lately, by session, and when last.
    happened: HashMap<Option<SessionId>, Instant>,
}

impl Entry {
    fn is_active(&self) -> bool {
        self.holds.is_some() || !self.happened.is_empty()
    }
}

impl Alarms {
    /// None yet; they are told there too.
    pub(crate) fn telling(herald: Herald) -> Self {
        Self { entries: Arc::default(), herald }
    }

    /// Sets an alarm about a state: up with a reason, or down. Told to the log when it is raised, when its reason changes,
    /// and when it is cleared.
    pub(crate) fn set(&self, alarm: Alarm, subject: Subject, why: Option<String>) {
        let mut alarms = self.lock();
        let Some(why) = why else {
            let Some(entry) = alarms.get_mut(&(alarm, subject)) else { return };
            if entry.holds.take().is_some() && !entry.is_active() {
                self.cleared(alarm, subject);
            }
            return;
        };
        let entry = alarms.entry((alarm, subject)).or_default();
        if entry.holds.as_ref() == Some(&why) {
            return;
        }
        entry.raised += u64::from(entry.holds.is_none());
        log_raised(alarm, subject, None, &why);
        self.herald.alarm(alarm, subject, Some(&why));
        entry.holds = Some(why);
    }

    /// Raises an alarm about something that happened; it is cleared by [`Alarms::tick`] when it has not happened again for
    /// a while. For one session it is told to the log once in that time.
    pub(crate) fn happened(&self, alarm: Alarm, subject: Subject, session: Option<SessionId>, why: &str) {
        self.happened_at(Instant::now(), alarm, subject, session, why);
    }

    fn happened_at(&self, now: Instant, alarm: Alarm, subject: Subject, session: Option<SessionId>, why: &str) {
        let mut alarms = self.lock();
        let entry = alarms.entry((alarm, subject)).or_default();
        if let Some(last) = entry.happened.get_mut(&session) {
            *last = now;
            return;
        }
        if !entry.is_active() {
            self.herald.alarm(alarm, subject, Some(why));
        }
        entry.raised += 1;
        if entry.happened.len() < SESSIONS_MAX {
            entry.happened.insert(session, now);
            log_raised(alarm, subject, session, why);
        }
    }

    /// Clears what has not happened for a while before `now`.
    pub(crate) fn tick(&self, now: Instant) {
        for ((alarm, subject), entry) in self.lock().iter_mut() {
            let was_active = entry.is_active();
            entry.happened.retain(|_, last| now.saturating_duration_since(*last) < HAPPENED_STAYS);
            if was_active && !entry.is_active() {
                self.cleared(*alarm, *subject);
            }
        }
    }

    /// Forgets a PBX that is followed no more.
    pub(crate) fn forget(&self, pbx: PbxId) {
        self.lock().retain(|(alarm, subject), entry| {
            let gone = subject.pbx == Some(pbx);
            if gone && entry.is_active() {
                self.cleared(*alarm, *subject);
            }
            !gone
        });
    }

    /// Every alarm that was ever raised, as it stands.
    pub(crate) fn states(&self) -> Vec<AlarmState> {
        let state = |(&(alarm, subject), entry): (&(Alarm, Subject), &Entry)| AlarmState {
            alarm,
            subject,
            active: entry.is_active(),
            raised: entry.raised,
        };
        self.lock().iter().map(state).collect()
    }

    fn cleared(&self, alarm: Alarm, subject: Subject) {
        log_cleared(alarm, subject);
        self.herald.alarm(alarm, subject, None);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Alarm, Subject), Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_raised(alarm: Alarm, subject: Subject, session: Option<SessionId>, reason: &str) {
    let Subject { tenant, pbx, shard, place } = subject;
    // Ids as in every other line: a text would stand between quotes.
    let (tenant, pbx, session) = (tenant.map(display), pbx.map(display), session.map(display));
    macro_rules! say {
        ($say:ident) => {
            tracing::$say!(
                alarm = alarm.name(),
                tenant.id = tenant,
                pbx.id = pbx,
                session.id = session,
                shard,
                place,
                reason,
                "{}",
                alarm.says()
            )
        };
    }
    match alarm.severity() {
        Severity::Warning => say!(warn),
        Severity::Critical => say!(error),
    }
}

fn log_cleared(alarm: Alarm, subject: Subject) {
    let Subject { tenant, pbx, shard, place } = subject;
    let (tenant, pbx) = (tenant.map(display), pbx.map(display));
    tracing::info!(
        alarm = alarm.name(),
        tenant.id = tenant,
        pbx.id = pbx,
        shard,
        place,
        cleared = true,
        "over: {}",
        alarm.says()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: Subject = Subject::shard(0);

    fn session(n: u8) -> Option<SessionId> {
        Some(format!("0198c1de-1111-7000-8000-0000000000{n:02x}").parse().unwrap())
    }

    fn of(alarms: &Alarms, alarm: Alarm) -> (bool, u64) {
        alarms.states().iter().find(|s| s.alarm == alarm).map_or((false, 0), |s| (s.active, s.raised))
    }

    #[test]
    fn names_are_unique_and_fit_for_labels() {
        let mut names: Vec<_> = Alarm::ALL.iter().map(|a| a.name()).collect();
        assert!(names.iter().all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')), "{names:?}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Alarm::ALL.len());
    }

    #[test]
    fn a_state_is_raised_once_and_cleared_once() {
        let alarms = Alarms::default();
        alarms.set(Alarm::AmiDown, Subject::GATEWAY, None);
        assert_eq!(alarms.states(), [], "what was never up is not cleared");
        for why in ["refused", "refused", "no route"] {
            alarms.set(Alarm::AmiDown, Subject::GATEWAY, Some(why.to_owned()));
            assert_eq!(of(&alarms, Alarm::AmiDown), (true, 1), "{why}");
        }
        alarms.tick(Instant::now() + 2 * HAPPENED_STAYS);
        assert_eq!(of(&alarms, Alarm::AmiDown), (true, 1), "a state does not pass with time");
        alarms.set(Alarm::AmiDown, Subject::GATEWAY, None);
        assert_eq!(of(&alarms, Alarm::AmiDown), (false, 1));
        alarms.set(Alarm::AmiDown, Subject::GATEWAY, Some("again".to_owned()));
        assert_eq!(of(&alarms, Alarm::AmiDown), (true, 2));
    }

    #[test]
    fn what_happened_is_raised_once_a_session_and_passes() {
        let (alarms, start) = (Alarms::default(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        for (second, who) in [(0, 1), (1, 1), (30, 2)] {
            alarms.happened_at(at(second), Alarm::DroppedByUs, SHARD, session(who), "x");
        }
        assert_eq!(of(&alarms, Alarm::DroppedByUs), (true, 2));
        alarms.tick(at(62));
        assert_eq!(of(&alarms, Alarm::DroppedByUs), (true, 2), "the second session's is younger");
        alarms.tick(at(91));
        assert_eq!(of(&alarms, Alarm::DroppedByUs), (false, 2));
        alarms.happened_at(at(100), Alarm::DroppedByUs, SHARD, session(1), "x");
        assert_eq!(of(&alarms, Alarm::DroppedByUs), (true, 3));
    }

    #[test]
    fn beyond_the_bound_sessions_are_counted_only() {
        let (alarms, now) = (Alarms::default(), Instant::now());
        for n in 0..=SESSIONS_MAX {
            let session = SessionId::from_uuid(uuid::Uuid::from_u128(n as u128));
            alarms.happened_at(now, Alarm::FlowSilent, SHARD, Some(session), "x");
        }
        assert_eq!(of(&alarms, Alarm::FlowSilent), (true, SESSIONS_MAX as u64 + 1));
        assert_eq!(alarms.lock()[&(Alarm::FlowSilent, SHARD)].happened.len(), SESSIONS_MAX);
    }

    #[test]
    fn a_pbx_that_is_gone_leaves_nothing() {
        let alarms = Alarms::default();
        let id = "0198c1de-1111-7000-8000-000000000001";
        let (tenant, pbx) = (id.parse().unwrap(), id.parse().unwrap());
        alarms.set(Alarm::AriDown, Subject::pbx(Some(tenant), pbx), Some("x".to_owned()));
        alarms.set(Alarm::StoreUnwritable, Subject::GATEWAY, Some("x".to_owned()));
        alarms.forget(pbx);
        assert_eq!(alarms.states().iter().map(|s| s.alarm).collect::<Vec<_>>(), [Alarm::StoreUnwritable]);
    }
}
