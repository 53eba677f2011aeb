//! All calls of one PBX, and the way from an input to the call it belongs to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use aimg_core::{
    CallDirection, CallState, FailReason, Minted, NodeId, PbxId, SessionId, SessionRow, TapMode, TenantId, Timestamp,
    Uniqueid,
};

use crate::bridges::Bridges;
use crate::call::{Call, told};
use crate::gone::Gone;
use crate::outsiders::Outsiders;
use crate::tap::Tap;
use crate::view::{CallSeen, CaptureSeen};
use crate::{CallFacts, ChannelSeen, Command, Input, KnownCall, Outcome, Request, Tenants};

/// How long AMI's Newchannel may come after ARI's StasisStart of the same channel. After that AMI may be dead without anybody
/// knowing it yet, and the call is made on ARI's word alone.
const AMI_LATE_MAX: Duration = Duration::from_millis(500);

/// Between two tries to let a channel out of the hook that is no call.
const STRAY_PAUSE: Duration = Duration::from_secs(5);

/// Channel technologies that are never a person's call: what Asterisk or a gateway makes for its own purposes. `AsyncGoto`
/// and `Surrogate` are not among them: a phone that is sent elsewhere goes on as such a channel, under its own name.
const NOT_CALLS: [&str; 10] = [
    "Snoop",
    "UnicastRTP",
    "MulticastRTP",
    "AudioSocket",
    "WebSocket",
    "Message",
    "CBAnn",
    "CBRec",
    "Announcer",
    "Recorder",
];

/// How the calls of one PBX are treated.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node: part of every id it creates.
    pub node: NodeId,
    /// Whose its calls are, and which of them are captured.
    pub tenants: Tenants,
    /// The PBX.
    pub pbx: PbxId,
    /// Whether Newchannel alone begins a capture. A call that enters the hook is captured in both modes.
    pub tap_mode: TapMode,
    /// Contexts by which calls come in from outside.
    pub inbound_contexts: Vec<String>,
    /// How long a call waits in the hook for its capture. Default 2 s. Longer: fewer clipped beginnings on a slow PBX;
    /// shorter: callers wait less when something is broken.
    pub hook_timeout: Duration,
    /// Captures at once. Each takes two RTP ports of Asterisk, which crashes when it runs out (Asterisk issue 1757).
    pub taps_max: usize,
    /// Drawn at random once a process: makes the session ids of two processes differ.
    pub id_seed: u64,
}

/// The calls and captures of one PBX, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Sessions that are not over.
    pub live: usize,
    /// Channels that wait in the hook.
    pub in_hook: usize,
    /// Captures asked of Asterisk that do not flow in both directions yet.
    pub attaching: usize,
    /// Captures that flow in both directions.
    pub flowing: usize,
    /// Captures that are being taken down or finished.
    pub closing: usize,
}

/// The reducer: all calls of one PBX.
#[derive(Debug)]
pub struct Switchboard {
    pub(crate) config: Config,
    pub(crate) calls: HashMap<SessionId, Call>,
    /// Channels of calls.
    pub(crate) by_channel: HashMap<Uniqueid, SessionId>,
    /// The session that a channel joins of this tenant and with this Linkedid. Where two tenants talk, a Linkedid is that of
    /// a session of each.
    pub(crate) by_linkedid: HashMap<(Uniqueid, TenantId), SessionId>,
    /// Channels that are of no session.
    pub(crate) outsiders: Outsiders,
    pub(crate) bridges: Bridges,
    /// Channels in the hook that AMI has not shown yet (its Newchannel comes over another connection), and when each becomes
    /// a call all the same, or is let go (again) if it cannot.
    strays: BTreeMap<Uniqueid, (ChannelSeen, Timestamp)>,
    gone: Gone,
    /// While AMI is away, a channel in the hook is taken for a call of its own; the next list puts that right.
    ami_up: bool,
    /// While ARI is away, captures wait for it.
    ari_up: bool,
    /// ARI came back before AMI: only AMI tells whether Asterisk was restarted, and so what became of calls that are gone.
    restart_unknown: bool,
    ids_minted: u64,
    stopping: bool,
}

impl Switchboard {
    /// A switchboard without calls.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            calls: HashMap::new(),
            by_channel: HashMap::new(),
            by_linkedid: HashMap::new(),
            outsiders: Outsiders::default(),
            bridges: Bridges::default(),
            strays: BTreeMap::new(),
            gone: Gone::default(),
            ami_up: false,
            ari_up: false,
            restart_unknown: false,
            ids_minted: 0,
            stopping: false,
        }
    }

    /// How many calls and captures there are, by their tenants; of no tenant are channels in the hook of which nobody knows
    /// yet whose they are. Takes time in proportion to the calls.
    pub fn counts(&self) -> BTreeMap<Option<TenantId>, CallCounts> {
        let served = self.config.tenants.served().into_iter().map(Some);
        let mut all: BTreeMap<_, CallCounts> = served.map(|tenant| (tenant, CallCounts::default())).collect();
        let strays_of = if let Tenants::Dedicated { tenant, .. } = self.config.tenants { Some(tenant) } else { None };
        all.entry(strays_of).or_default().in_hook = self.strays.len();
        for call in self.calls.values() {
            let counts = all.entry(Some(call.record.tenant)).or_default();
            counts.live += usize::from(!call.record.state.is_over());
            counts.in_hook += call.hooks_waiting();
            for tap in call.taps() {
                match (tap.is_closing(), tap.is_flowing()) {
                    (true, _) => counts.closing += 1,
                    (false, true) => counts.flowing += 1,
                    (false, false) => counts.attaching += 1,
                }
            }
        }
        all
    }

    /// Sessions that are not over, or whose capture is still being taken down.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether nothing is left to do.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.strays.is_empty()
    }

    /// Whether no capture and no hook is left, after [`Input::Stop`].
    pub fn is_quiet(&self) -> bool {
        self.strays.is_empty() && self.calls.values().all(Call::is_quiet)
    }

    /// Whether a channel is, or was, of a session that is not over.
    pub fn knows(&self, channel: &Uniqueid) -> bool {
        self.by_channel.contains_key(channel)
    }

    /// A session that is not over, as somebody who is to act upon it sees it.
    pub fn call(&self, session: SessionId) -> Option<CallSeen> {
        let call = self.calls.get(&session).filter(|call| !call.record.state.is_over())?;
        let mut seen = call.seen(&self.bridges);
        // Whoever acts upon a call does so within its tenant.
        seen.company.retain(|channel| self.tenant_of(channel).is_none_or(|tenant| tenant == call.record.tenant));
        Some(seen)
    }

    /// Where the capture of a session stands that is not over.
    pub fn capture(&self, session: SessionId) -> Option<CaptureSeen> {
        let call = self.calls.get(&session).filter(|call| !call.record.state.is_over())?;
        Some(call.capture_seen())
    }

    /// The session that a channel is, or was, of.
    pub fn session_of(&self, channel: &Uniqueid) -> Option<SessionId> {
        self.by_channel.get(channel).copied()
    }

    /// When [`Input::Tick`] is wanted next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let strays = self.strays.values().map(|(_, until)| *until);
        self.calls.values().filter_map(Call::deadline).chain(strays).chain(self.outsiders.deadline()).min()
    }

    /// Takes in one thing that happened at `now` and says what to do.
    pub fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Command> {
        let mut out = Vec::new();
        match input {
            Input::Known(calls) => calls.into_iter().for_each(|known| self.know(known)),
            Input::AmiUp { channels, restarted } => self.resync(now, channels, restarted, &mut out),
            Input::AmiDown => self.ami_lost(now, &mut out),
            Input::ChannelNew(seen) => self.channel_new(now, &seen, false, &mut out),
            Input::ChannelStateChanged { channel, state } => {
                self.with_channel(&channel, |call| call.channel_state(now, &channel, state, &mut out));
                self.follow_channel(now, &channel, &mut out);
            }
            Input::ChannelRenamed { channel, name } => {
                self.with_channel(&channel, |call| call.renamed(&channel, &name, &mut out));
            }
            Input::BridgeEntered(entered) => self.bridge_entered(now, &entered, &mut out),
            Input::BridgeLeft { bridge, channel } => {
                if self.bridges.left(&bridge, &channel) {
                    self.with_channel(&channel, |call| call.leaves(now, &channel));
                }
            }
            Input::PickedUp { target, by } => self.picked_up(now, &target, &by, &mut out),
            Input::Told { channel, kind } => {
                let kind = self.without_strangers(&channel, kind);
                self.with_channel(&channel, |call| call.tell(now, kind, &mut out));
            }
            Input::ChannelGone { channel, cause } => self.channel_gone(now, &channel, cause, &mut out),
            Input::PbxDown(reason) => self.calls.values_mut().for_each(|c| c.lost(now, reason, &mut out)),
            Input::AriUp { minted } => self.ari_back(now, &minted, &mut out),
            Input::AriDown => self.ari_up = false,
            Input::HookEntered(seen) => self.hook_entered(now, seen, &mut out),
            Input::HookLeft(channel) => {
                self.strays.remove(&channel);
                self.with_channel(&channel, |call| call.hook_left(&channel));
            }
            // Its creation was given up, by this process or one before, and executed all the same.
            Input::TapEntered(id) if id.node == self.config.node && !self.owns(&id) => {
                out.push(Command::Ask(Request::Remove { id }));
            }
            Input::TapEntered(id) => {
                self.with_session(id.session, |c| c.tap_step(now, id.part, &mut out, |t, out| t.entered(id.what, out)));
            }
            Input::TapGone(id) => {
                self.with_session(id.session, |c| c.tap_step(now, id.part, &mut out, |t, _| t.gone(id.what)));
            }
            Input::Reply { to, outcome } => self.reply(now, to, &outcome, &mut out),
            Input::CaptureOpened { session, part, result } => self.with_session(session, |c| {
                c.tap_step(now, part, &mut out, |t, out| t.capture_opened(now, result, out));
            }),
            Input::FlowExpecting { flow, result } => self.with_session(flow.session, |c| {
                c.tap_step(now, flow.part, &mut out, |t, out| t.expecting(flow.direction, result, out));
            }),
            Input::FlowStarted { flow, first_packet_at } => self.with_session(flow.session, |c| {
                c.flow_started(now, flow.part, flow.direction, first_packet_at, &mut out);
            }),
            Input::CaptureClosed { session, part, result } => {
                self.with_session(session, |c| c.capture_closed(now, part, result, &mut out));
            }
            Input::CaptureDenied { session, part, quota } => {
                self.with_session(session, |c| c.capture_denied(now, part, quota, &mut out));
            }
            Input::CaptureOrdered { session, order } => {
                let mut begins = false;
                self.with_session(session, |c| begins = c.ordered(now, order, &mut out));
                if begins {
                    self.begin_capture(now, session, &mut out);
                }
            }
            Input::Tenants(tenants) => self.config.tenants = tenants,
            Input::Stop => {
                self.stopping = true;
                self.calls.values_mut().for_each(|c| c.stop_capture(now, false, None, &mut out));
            }
            Input::Tick => self.tick(now, &mut out),
        }
        self.forget_done_calls();
        out
    }

    fn channel_new(&mut self, now: Timestamp, seen: &ChannelSeen, found: bool, out: &mut Vec<Command>) {
        let uniqueid = Uniqueid::new(&seen.uniqueid);
        if uniqueid.is_minted() || is_no_call(&seen.name) || self.gone.contains(&uniqueid) {
            return;
        }
        if let Some(call) = self.call_of(&uniqueid) {
            if call.has_leg(&uniqueid) {
                call.channel_state(now, &uniqueid, seen.state, out);
                self.linked(now, &uniqueid, &Uniqueid::new(&seen.linkedid), out);
                return;
            }
            call.leg_joined(now, seen, out);
        } else if !self.outsiders.contains(&uniqueid) {
            self.put(now, seen, found, out);
        }
        if let Some((seen, _)) = self.strays.remove(&uniqueid) {
            self.hook_entered(now, seen, out);
        }
    }

    /// A channel is of this session, and so is whoever comes with it as the oldest of their call.
    pub(crate) fn belongs(&mut self, channel: &Uniqueid, session: SessionId) {
        let Some(call) = self.calls.get(&session) else { return };
        self.by_linkedid.insert((channel.clone(), call.record.tenant), session);
        self.by_channel.insert(channel.clone(), session);
        self.outsiders.claimed(channel);
    }

    pub(crate) fn call_new(
        &mut self,
        now: Timestamp,
        seen: &ChannelSeen,
        tenant: TenantId,
        found: bool,
        out: &mut Vec<Command>,
    ) {
        let uniqueid = Uniqueid::new(&seen.uniqueid);
        let inbound = self.config.inbound_contexts.contains(&seen.context);
        let direction = if inbound { CallDirection::Inbound } else { CallDirection::Outbound };
        let facts = CallFacts { context: &seen.context, dialled: &seen.exten, direction };
        let record = SessionRow {
            id: self.mint_session(now),
            tenant,
            pbx: self.config.pbx,
            node: self.config.node.clone(),
            uniqueid: uniqueid.clone(),
            linkedid: self.linkedid_for(seen),
            state: CallState::Detected,
            call_direction: direction,
            caller_number: told(&seen.caller_number),
            dialled_number: told(&seen.exten),
            context: told(&seen.context),
            started_at: now,
            answered_at: None,
            ended_at: None,
            hangup_cause: None,
            captured: self.config.tenants.rule(tenant).is_some_and(|rule| rule.wants(&facts)),
        };
        let id = record.id;
        // Others of the tenant come with it, be it that of another tenant's channel.
        let linkedid = self.linkedid_of(seen);
        if !linkedid.is_empty() {
            self.by_linkedid.insert((Uniqueid::new(linkedid), tenant), id);
        }
        let mut call = Call::detected(record, 0, found, self.config.hook_timeout);
        call.announce(now, out);
        call.leg_joined(now, seen, out);
        self.calls.insert(id, call);
        self.belongs(&uniqueid, id);
        if self.config.tap_mode == TapMode::Ami {
            self.begin_capture(now, id, out);
        }
    }

    pub(crate) fn begin_capture(&mut self, now: Timestamp, session: SessionId, out: &mut Vec<Command>) {
        if self.stopping || !self.ari_up {
            return;
        }
        let holds_ports = |tap: &&Tap| !(tap.is_closing() && tap.has_left_asterisk());
        let taps = self.calls.values().flat_map(Call::taps).filter(holds_ports).count();
        let taps_max = self.config.taps_max;
        let Some(call) = self.calls.get_mut(&session) else { return };
        if call.record.captured && !call.has_active_tap() && taps >= taps_max {
            call.capture_refused(now, format!("{taps} captures are running on this PBX, no more are allowed"), out);
        } else {
            call.begin_capture(now, &self.bridges, out);
        }
    }

    fn hook_entered(&mut self, now: Timestamp, seen: ChannelSeen, out: &mut Vec<Command>) {
        let channel = Uniqueid::new(&seen.uniqueid);
        let Some(session) = self.by_channel.get(&channel).copied() else {
            if self.gone.contains(&channel) {
                return;
            }
            match self.ami_up && !self.outsiders.contains(&channel) {
                true => drop(self.strays.insert(channel, (seen, now + AMI_LATE_MAX.min(self.config.hook_timeout)))),
                false => self.on_aris_word(now, seen, out),
            }
            return;
        };
        if self.tenant_of(&channel).is_some_and(|tenant| self.config.tenants.contradicts(&seen, tenant)) {
            return self.refuse_hook(now, &seen, session, out);
        }
        self.with_session(session, |call| call.hook_entered(now, &channel, out));
        self.begin_capture(now, session, out);
        self.with_session(session, |call| call.release_unless_attaching(now, out));
    }

    fn reply(&mut self, now: Timestamp, to: Request, outcome: &Outcome, out: &mut Vec<Command>) {
        match to {
            Request::Bridge { id } | Request::Snoop { id, .. } | Request::ExternalMedia { id, .. } => self
                .with_session(id.session, |c| {
                    c.tap_step(now, id.part, out, |t, out| t.created(id.what, outcome, out));
                }),
            Request::Join { bridge, .. } => self.with_session(bridge.session, |c| {
                c.tap_step(now, bridge.part, out, |t, _| t.joined(bridge.what.direction(), outcome));
            }),
            Request::Remove { id } => self.with_session(id.session, |c| {
                c.tap_step(now, id.part, out, |t, _| {
                    t.removed(now, id.what, outcome);
                    crate::tap::TapStep::Quiet
                });
            }),
            Request::Look { channel } => self.looked(now, &channel, outcome, out),
            Request::Continue { channel } if self.strays.contains_key(&channel) => {
                if matches!(outcome, Outcome::Done { .. } | Outcome::Gone) {
                    self.strays.remove(&channel);
                }
            }
            Request::Continue { channel } => self.with_channel(&channel, |c| c.continued(now, &channel, outcome)),
        }
    }

    /// A capture broke while AMI is away: ARI knows whether the call is over.
    fn looked(&mut self, now: Timestamp, channel: &Uniqueid, outcome: &Outcome, out: &mut Vec<Command>) {
        if *outcome == Outcome::Gone {
            if !self.restart_unknown {
                self.channel_gone(now, channel, 0, out);
            }
            return;
        }
        let Some(session) = self.by_channel.get(channel).copied() else { return };
        let mut again = false;
        self.with_session(session, |call| again = call.tap_failed(now, channel, out));
        if again {
            self.begin_capture(now, session, out);
        }
    }

    fn channel_gone(&mut self, now: Timestamp, channel: &Uniqueid, cause: u16, out: &mut Vec<Command>) {
        self.gone.insert(channel.clone());
        self.strays.remove(channel);
        self.outsiders.gone(channel, out);
        self.bridges.gone(channel);
        self.with_channel(channel, |call| call.leg_left(now, channel, cause, out));
        self.follow_channel(now, channel, out);
    }

    /// AMI is away: who waits in the hook is captured on ARI's word alone.
    fn ami_lost(&mut self, now: Timestamp, out: &mut Vec<Command>) {
        self.ami_up = false;
        for (seen, _) in std::mem::take(&mut self.strays).into_values() {
            self.on_aris_word(now, seen, out);
        }
    }

    /// A channel in the hook that AMI does not show: a call of its own, until AMI's next list puts that right.
    fn on_aris_word(&mut self, now: Timestamp, seen: ChannelSeen, out: &mut Vec<Command>) {
        let channel = Uniqueid::new(&seen.uniqueid);
        match self.outsiders.contains(&channel) {
            true => self.put(now, &seen, false, out),
            false => self.channel_new(now, &seen, false, out),
        }
        if self.by_channel.contains_key(&channel) {
            self.hook_entered(now, seen, out);
        } else {
            out.push(Command::Ask(Request::Continue { channel: channel.clone() }));
            self.strays.insert(channel, (seen, now + STRAY_PAUSE));
        }
    }

    /// AMI is back with the list of all channels.
    fn resync(&mut self, now: Timestamp, mut channels: Vec<ChannelSeen>, restarted: bool, out: &mut Vec<Command>) {
        self.ami_up = true;
        self.restart_unknown = false;
        if restarted {
            self.calls.values_mut().for_each(|c| c.lost(now, FailReason::PbxRestarted, out));
            self.forget_done_calls();
            self.gone.clear();
            self.outsiders.retain(|_| false, out);
        }
        self.bridges.clear();
        channels.retain(|c| !Uniqueid::new(&c.uniqueid).is_minted() && !is_no_call(&c.name));
        // The first channel of a call before its other legs.
        channels.sort_by_key(|c| (c.uniqueid != c.linkedid, c.uniqueid.clone()));
        // Legs that joined meanwhile, before those that left are missed: a call lives as long as any of them.
        for seen in &channels {
            if self.knows_linkedid(&seen.linkedid) {
                self.channel_new(now, seen, true, out);
            }
        }
        let live: BTreeSet<Uniqueid> = channels.iter().map(|c| Uniqueid::new(&c.uniqueid)).collect();
        self.outsiders.retain(|channel| live.contains(channel), out);
        for call in self.calls.values_mut().filter(|c| !c.record.state.is_over()) {
            let vanished = call.live_legs().filter(|l| !live.contains(*l)).cloned().collect::<Vec<_>>();
            vanished.iter().for_each(|leg| self.gone.insert(leg.clone()));
            if call.live_legs().count() == vanished.len() {
                call.lost(now, FailReason::GoneWhileAway, out);
            } else {
                vanished.iter().for_each(|leg| call.leg_left(now, leg, 0, out));
            }
        }
        let returned = self.calls.values_mut().filter(|c| !c.record.state.is_over());
        let returned: Vec<_> = returned.filter_map(|c| c.has_returned(now, out).then_some(c.record.id)).collect();
        returned.into_iter().for_each(|session| self.begin_capture(now, session, out));
        for seen in &channels {
            self.channel_new(now, seen, true, out);
            if let Some(bridge) = &seen.bridge {
                let channel = Uniqueid::new(&seen.uniqueid);
                self.bridges.entered(bridge, true, &channel);
                self.with_channel(&channel, |call| call.enters(now, &channel, bridge, false, out));
            }
        }
        for session in self.calls.keys().copied().collect::<Vec<_>>() {
            self.follow(now, session, out);
        }
    }

    /// Takes in a session of an earlier run.
    fn know(&mut self, known: KnownCall) {
        let id = known.record.id;
        // A channel that was its first may be a leg of another session by now, which then counts.
        for channel in [&known.record.uniqueid, &known.record.linkedid] {
            self.by_linkedid.entry((channel.clone(), known.record.tenant)).or_insert(id);
        }
        self.by_channel.entry(known.record.uniqueid.clone()).or_insert(id);
        for leg in known.legs.iter().filter(|l| l.left_at.is_none()) {
            self.by_linkedid.insert((leg.uniqueid.clone(), known.record.tenant), id);
            self.by_channel.insert(leg.uniqueid.clone(), id);
        }
        self.calls.insert(id, Call::returning(known, self.config.hook_timeout));
    }

    /// ARI is back with the list of all objects that a gateway made: what no tap of ours answers for is an orphan.
    fn compare_minted(&mut self, now: Timestamp, minted: &[Minted], out: &mut Vec<Command>) {
        for call in self.calls.values_mut() {
            for part in call.taps().iter().map(|t| t.part).collect::<Vec<_>>() {
                call.tap_step(now, part, out, |tap, _| tap.compare(minted));
            }
        }
        for id in minted.iter().filter(|id| id.node == self.config.node && !self.owns(id)) {
            out.push(Command::Ask(Request::Remove { id: id.clone() }));
        }
    }

    /// Whether a tap answers for an object of ours.
    fn owns(&self, id: &Minted) -> bool {
        self.calls.get(&id.session).is_some_and(|c| c.taps().iter().any(|t| t.owns(id)))
    }

    /// ARI is back: what broke meanwhile is captured anew, and what could not begin begins.
    fn ari_back(&mut self, now: Timestamp, minted: &[Minted], out: &mut Vec<Command>) {
        self.ari_up = true;
        self.restart_unknown |= !self.ami_up;
        self.compare_minted(now, minted, out);
        let by_hook = self.config.tap_mode == TapMode::Hook;
        let untapped = self.calls.values().filter(|c| !c.has_active_tap() && (!by_hook || c.was_tapped()));
        for session in untapped.map(|c| c.record.id).collect::<Vec<_>>() {
            let (mut waits, ami_up) = (true, self.ami_up);
            self.with_session(session, |call| waits = call.tries_anew(now, ami_up));
            if waits {
                self.begin_capture(now, session, out);
            }
        }
    }

    fn tick(&mut self, now: Timestamp, out: &mut Vec<Command>) {
        self.outsiders.tick(now, out);
        for (_, (seen, _)) in self.strays.extract_if(.., |_, (_, until)| *until <= now).collect::<Vec<_>>() {
            self.on_aris_word(now, seen, out);
        }
        let sessions: Vec<SessionId> = self.calls.keys().copied().collect();
        for session in sessions {
            let (mut again, ami_up) = (false, self.ami_up);
            self.with_session(session, |call| again = call.tick(now, ami_up, out));
            self.follow(now, session, out);
            if again {
                self.begin_capture(now, session, out);
            }
        }
    }

    fn call_of(&mut self, channel: &Uniqueid) -> Option<&mut Call> {
        self.calls.get_mut(self.by_channel.get(channel)?)
    }

    pub(crate) fn with_channel(&mut self, channel: &Uniqueid, then: impl FnOnce(&mut Call)) {
        if let Some(call) = self.call_of(channel) {
            then(call);
        }
    }

    pub(crate) fn with_session(&mut self, session: SessionId, then: impl FnOnce(&mut Call)) {
        if let Some(call) = self.calls.get_mut(&session) {
            then(call);
        }
    }

    fn forget_done_calls(&mut self) {
        let before = self.calls.len();
        self.calls.retain(|_, c| !c.is_done());
        if self.calls.len() != before {
            self.by_channel.retain(|_, session| self.calls.contains_key(session));
            self.by_linkedid.retain(|_, session| self.calls.contains_key(session));
        }
    }

    /// A version 7 UUID made of the time, the process's seed and a counter.
    fn mint_session(&mut self, now: Timestamp) -> SessionId {
        self.ids_minted += 1;
        let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&scramble(self.config.id_seed.wrapping_add(self.ids_minted)).to_le_bytes());
        bytes[8..].copy_from_slice(&scramble(self.config.id_seed ^ self.ids_minted).to_le_bytes()[..2]);
        SessionId::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid())
    }
}

/// SplitMix64's finaliser: neighbouring numbers become unlike ones.
fn scramble(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn is_no_call(name: &str) -> bool {
    name.split_once('/').is_some_and(|(tech, _)| NOT_CALLS.contains(&tech))
}
