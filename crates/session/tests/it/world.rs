//! A model of one Asterisk and one media plane: it executes the reducer's commands and tells what happened, in any order
//! that the protocols allow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use aimg_core::{
    CallEvent, CallEventKind, CallState, CaptureOrder, Direction, FlowId, LegRow, Minted, MintedWhat, PbxId, QuotaKind,
    SessionId, SessionRow, TapMode, TenantId, Timestamp, Uniqueid,
};
use aimg_session::{
    CaptureRule, ChannelSeen, ChannelState, Command, Config, Entered, Input, Outcome, Request, Switchboard, Tenants,
    Unclaimed,
};

/// Which of the waiting inputs comes next, and which requests fail.
pub(crate) trait Choice {
    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize;
    /// Whether the next request fails.
    fn fails(&mut self) -> bool;
}

/// Everything in the order in which it was caused, nothing fails.
pub(crate) struct InOrder;

impl Choice for InOrder {
    fn below(&mut self, _: usize) -> usize {
        0
    }
    fn fails(&mut self) -> bool {
        false
    }
}

pub(crate) fn tenant(n: u128) -> TenantId {
    TenantId::from_uuid(uuid::Uuid::from_u128(n))
}

pub(crate) fn config(tap_mode: TapMode, rule: &str) -> Config {
    Config {
        node: "n1".parse().unwrap(),
        tenants: Tenants::Dedicated { tenant: tenant(1), rule: rule.parse::<CaptureRule>().unwrap() },
        pbx: PbxId::from_uuid(uuid::Uuid::from_u128(2)),
        tap_mode,
        inbound_contexts: vec!["from-trunk".into()],
        hook_timeout: Duration::from_secs(2),
        taps_max: 100,
        id_seed: 42,
    }
}

pub(crate) struct World<C> {
    pub(crate) board: Switchboard,
    pub(crate) choice: C,
    pub(crate) now: Timestamp,
    /// What exists in Asterisk.
    pub(crate) objects: BTreeSet<String>,
    snoop_targets: BTreeMap<String, Uniqueid>,
    /// Snoops whose channel went into another bridge, and those that were made while such a one was there: they hear no more.
    deaf: BTreeSet<String>,
    pub(crate) channels: BTreeMap<Uniqueid, ChannelSeen>,
    pub(crate) in_hook: BTreeSet<Uniqueid>,
    /// Live legs as they are stored.
    pub(crate) legs: BTreeSet<(Uniqueid, SessionId)>,
    /// Legs as they were stored, each time.
    pub(crate) rows: Vec<LegRow>,
    bridges_made: usize,
    /// Each queue keeps its order; between queues any order is possible.
    ami: VecDeque<Input>,
    ari: VecDeque<Input>,
    loose: Vec<Input>,
    requests: Vec<Request>,
    /// Creations that were given up without an answer and are executed all the same: Asterisk was frozen.
    late: Vec<Request>,
    /// Captures that were begun and not ended.
    pub(crate) open: BTreeSet<(SessionId, u16)>,
    pub(crate) begun: Vec<(SessionRow, u16, bool)>,
    /// When the call changed hands, for each capture that was begun.
    pub(crate) moved_at: Vec<Option<Timestamp>>,
    /// The channel of each capture.
    pub(crate) tapped: BTreeMap<(SessionId, u16), Uniqueid>,
    expecting: BTreeSet<FlowId>,
    /// Captures that were ended, and whether because their call was.
    pub(crate) ended: Vec<(u16, bool)>,
    pub(crate) events: Vec<CallEvent>,
    pub(crate) unclaimed: Vec<Unclaimed>,
    pub(crate) sessions: BTreeMap<SessionId, SessionRow>,
    /// Sessions of which a person asked that nothing be recorded.
    held: BTreeSet<SessionId>,
    /// Sessions that may be captured at once.
    pub(crate) quota: Option<usize>,
    /// Those that are, until they end.
    pub(crate) admitted: BTreeSet<SessionId>,
    /// Those that were denied their capture, last.
    pub(crate) denied: BTreeSet<SessionId>,
}

impl<C: Choice> World<C> {
    pub(crate) fn new(config: Config, choice: C) -> Self {
        let mut board = Switchboard::new(config);
        board.handle(Timestamp::default(), Input::AmiUp { channels: vec![], restarted: false });
        board.handle(Timestamp::default(), Input::AriUp { minted: vec![] });
        Self {
            board,
            choice,
            now: Timestamp::from_micros(1_800_000_000_000_000),
            objects: BTreeSet::new(),
            snoop_targets: BTreeMap::new(),
            deaf: BTreeSet::new(),
            channels: BTreeMap::new(),
            in_hook: BTreeSet::new(),
            legs: BTreeSet::new(),
            rows: Vec::new(),
            bridges_made: 0,
            ami: VecDeque::new(),
            ari: VecDeque::new(),
            loose: Vec::new(),
            requests: Vec::new(),
            late: Vec::new(),
            open: BTreeSet::new(),
            begun: Vec::new(),
            moved_at: Vec::new(),
            tapped: BTreeMap::new(),
            expecting: BTreeSet::new(),
            ended: Vec::new(),
            events: Vec::new(),
            unclaimed: Vec::new(),
            sessions: BTreeMap::new(),
            held: BTreeSet::new(),
            quota: None,
            admitted: BTreeSet::new(),
            denied: BTreeSet::new(),
        }
    }

    pub(crate) fn give(&mut self, input: Input) {
        for command in self.board.handle(self.now, input) {
            self.execute(command);
        }
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Ask(request) => self.requests.push(request),
            Command::BeginCapture { session, part, channel, adopted, moved_at, .. } => {
                let admitted = self.admitted.contains(&session.id);
                if !admitted && self.quota.is_some_and(|max| self.admitted.len() >= max) {
                    let quota = QuotaKind::ConcurrentSessions;
                    self.loose.push(Input::CaptureDenied { session: session.id, part, quota });
                    self.denied.insert(session.id);
                    return;
                }
                self.admitted.insert(session.id);
                self.denied.remove(&session.id);
                // One that is still being opened can only be ended afterwards.
                let opening = |open| {
                    let is_it = |input: &Input| matches!(input, Input::CaptureOpened { session, part, .. } if (*session, *part) == open);
                    self.loose.iter().any(is_it)
                };
                let others = self.open.iter().filter(|open| open.0 == session.id && !opening(**open)).count();
                assert_eq!(others, 0, "one capture of a session at a time");
                assert!(!self.held.contains(&session.id), "what is paused is not recorded");
                assert!(self.open.insert((session.id, part)), "a part is begun once");
                self.tapped.insert((session.id, part), channel);
                let ours = ([127, 0, 0, 1], 4_000).into();
                let result = if self.choice.fails() { Err("spool is full".to_owned()) } else { Ok([ours; 2]) };
                if result.is_err() {
                    self.open.remove(&(session.id, part));
                }
                self.loose.push(Input::CaptureOpened { session: session.id, part, result });
                self.begun.push((*session, part, adopted));
                self.moved_at.push(moved_at);
            }
            Command::ExpectFlow { flow, .. } => {
                self.expecting.insert(flow);
                self.loose.push(Input::FlowExpecting { flow, result: Ok(()) });
            }
            // The opening may have failed without the reducer knowing it yet.
            Command::CaptureAnswered { session, part, .. } => {
                let begun = self.begun.iter().any(|(r, p, _)| (r.id, *p) == (session, part));
                assert!(begun || self.denied.contains(&session));
            }
            Command::EndCapture { session, part, call_over, .. } => {
                self.ended.push((part, call_over));
                assert!(self.open.remove(&(session, part)), "a capture is ended once, and only when it was begun");
                self.loose.push(Input::CaptureClosed { session, part, result: Ok(true) });
            }
            Command::SaveSession(record) => {
                if let Some(before) = self.sessions.get(&record.id) {
                    assert_eq!(
                        (before.tenant, before.pbx),
                        (record.tenant, record.pbx),
                        "whose call it is never changes"
                    );
                }
                if record.state.is_over() {
                    self.admitted.remove(&record.id);
                }
                let _ = self.sessions.insert(record.id, *record);
            }
            Command::SaveLeg(leg) => {
                self.rows.push(leg.clone());
                let entry = (leg.uniqueid.clone(), leg.session);
                if leg.left_at.is_some() {
                    self.legs.remove(&entry);
                } else {
                    self.legs.insert(entry);
                    let of = self.legs.iter().filter(|(channel, _)| *channel == leg.uniqueid).count();
                    assert_eq!(of, 1, "channel {} is a leg of one session", leg.uniqueid);
                }
            }
            Command::Emit(event) => self.events.push(event),
            Command::Unclaimed(unclaimed) => self.unclaimed.push(unclaimed),
        }
    }

    /// A person gives an order about the recording of the `n`th session.
    pub(crate) fn order(&mut self, n: usize, order: CaptureOrder) {
        let Some(session) = self.sessions.keys().nth(n % self.sessions.len().max(1)).copied() else { return };
        let over = self.board.call(session).is_none();
        if order.records() || over {
            self.held.remove(&session);
        } else {
            self.held.insert(session);
        }
        self.give(Input::CaptureOrdered { session, order });
    }

    /// A channel appears in Asterisk.
    pub(crate) fn channel(&mut self, uniqueid: &str, linkedid: &str, context: &str) {
        let seen = ChannelSeen {
            uniqueid: uniqueid.into(),
            linkedid: linkedid.into(),
            name: format!("PJSIP/phone-{uniqueid}"),
            context: context.into(),
            exten: "100".into(),
            ..ChannelSeen::default()
        };
        self.channels.insert(Uniqueid::new(uniqueid), seen.clone());
        self.ami.push_back(Input::ChannelNew(seen));
    }

    pub(crate) fn state(&mut self, uniqueid: &str, state: ChannelState) {
        let channel = Uniqueid::new(uniqueid);
        if let Some(seen) = self.channels.get_mut(&channel) {
            seen.state = state;
            self.ami.push_back(Input::ChannelStateChanged { channel, state });
        }
    }

    /// Puts two channels that are up into a bridge of their own, as transfers and taking out of a car park do.
    pub(crate) fn bridge(&mut self, first: &str, second: &str, swapped: Option<&str>) {
        let members = [first, second].map(Uniqueid::new);
        let up = |c: &Uniqueid| self.channels.get(c).is_some_and(|c| c.state == ChannelState::Up);
        if first == second || !members.iter().all(up) {
            return;
        }
        self.bridges_made += 1;
        let bridge = format!("b{}", self.bridges_made);
        let oldest = members.iter().map(|c| self.channels[c].linkedid.clone()).min_by_key(|id| age(id)).unwrap();
        for (channel, linkedid) in members.iter().zip([None, Some(&oldest)]) {
            if let Some(left) = self.channels.get_mut(channel).unwrap().bridge.replace(bridge.clone()) {
                self.ami.push_back(Input::BridgeLeft { bridge: left, channel: channel.clone() });
                let spies = self.snoop_targets.iter().filter(|(_, target)| *target == channel);
                self.deaf.extend(spies.map(|(snoop, _)| snoop.clone()));
            }
            // Who was there first has its own Linkedid still; that it changes when the other one comes is told by nobody.
            let linkedid = linkedid.unwrap_or(&self.channels[channel].linkedid);
            self.ami.push_back(Input::BridgeEntered(Entered {
                bridge: bridge.clone(),
                joins_calls: true,
                channel: channel.clone(),
                linkedid: Uniqueid::new(linkedid),
                swapped: swapped.filter(|_| *channel == members[1]).map(Uniqueid::new),
            }));
        }
        for channel in &members {
            self.channels.get_mut(channel).unwrap().linkedid.clone_from(&oldest);
        }
    }

    /// Asterisk puts what a channel is into another one, under a new id, and the old one is gone.
    pub(crate) fn masquerade(&mut self, uniqueid: &str, into: &str) {
        let Some(seen) = self.channels.get(&Uniqueid::new(uniqueid)).cloned() else { return };
        let made = ChannelSeen {
            uniqueid: into.to_owned(),
            name: format!("AsyncGoto/{}", seen.name),
            bridge: None,
            argument: String::new(),
            ..seen.clone()
        };
        self.channels.insert(Uniqueid::new(into), made.clone());
        self.ami.push_back(Input::ChannelNew(made));
        self.ami.push_back(Input::ChannelRenamed { channel: Uniqueid::new(into), name: seen.name });
        self.hangup(uniqueid);
    }

    /// A phone takes the call of a channel that rings.
    pub(crate) fn pick_up(&mut self, target: &str, by: &str) {
        let [channel, taker] = [target, by].map(Uniqueid::new);
        let rings = self.channels.get(&channel).is_some_and(|c| c.state == ChannelState::Ringing);
        if rings && target != by && self.channels.contains_key(&taker) {
            let (call, _) = target.split_once('.').unwrap();
            let caller = format!("{call}.1");
            self.state(by, ChannelState::Up);
            self.ami.push_back(Input::PickedUp { target: channel, by: taker });
            self.hangup(target);
            self.state(&caller, ChannelState::Up);
            self.bridge(by, &caller, None);
        }
    }

    pub(crate) fn enter_hook(&mut self, uniqueid: &str) {
        let channel = Uniqueid::new(uniqueid);
        if let Some(seen) = self.channels.get(&channel) {
            // ARI does not tell the Linkedid.
            self.ari.push_back(Input::HookEntered(ChannelSeen { linkedid: String::new(), ..seen.clone() }));
            self.in_hook.insert(channel);
        }
    }

    pub(crate) fn hangup(&mut self, uniqueid: &str) {
        let channel = Uniqueid::new(uniqueid);
        let Some(removed) = self.channels.remove(&channel) else { return };
        if self.in_hook.remove(&channel) {
            self.ari.push_back(Input::HookLeft(channel.clone()));
        }
        let spies = self.snoop_targets.iter().filter(|(_, t)| **t == channel).map(|(id, _)| id.clone());
        for snoop in spies.collect::<Vec<_>>() {
            self.object_dies(&snoop);
        }
        if let Some(bridge) = removed.bridge {
            self.ami.push_back(Input::BridgeLeft { bridge, channel: channel.clone() });
        }
        self.ami.push_back(Input::ChannelGone { channel, cause: 16 });
    }

    /// The same while AMI is away: its Hangup never comes.
    pub(crate) fn hangup_unseen(&mut self, uniqueid: &str) {
        self.hangup(uniqueid);
        self.ami.clear();
    }

    pub(crate) fn object_dies(&mut self, id: &str) {
        if self.objects.remove(id) {
            self.snoop_targets.remove(id);
            self.ari.push_back(Input::TapGone(Minted::parse(id).unwrap()));
        }
    }

    /// ARI's events are lost for a moment; requests work all the time. What happened in between is in no event.
    pub(crate) fn ari_blinks(&mut self) {
        self.give(Input::AriDown);
        self.ari.clear();
        let minted = self.objects.iter().filter_map(|o| Minted::parse(o)).collect();
        self.give(Input::AriUp { minted });
        for channel in self.in_hook.clone() {
            let seen = ChannelSeen { linkedid: String::new(), ..self.channels[&channel].clone() };
            self.give(Input::HookEntered(seen));
        }
    }

    /// AMI is lost for a moment, after everything that it had to tell.
    pub(crate) fn ami_blinks(&mut self) {
        while let Some(input) = self.ami.pop_front() {
            self.give(input);
        }
        self.give(Input::AmiDown);
        // What the hook was given, ARI alone tells.
        let listed = |seen: &ChannelSeen| ChannelSeen { argument: String::new(), ..seen.clone() };
        let channels = self.channels.values().map(listed).collect();
        self.give(Input::AmiUp { channels, restarted: false });
    }

    /// Lets one thing happen that is waiting to. False when nothing is.
    pub(crate) fn step(&mut self) -> bool {
        let mut ready: Vec<usize> = Vec::new();
        let waiting = [&self.requests, &self.late].map(Vec::len);
        for (queue, waiting) in
            [self.ami.len(), self.ari.len(), self.loose.len()].into_iter().chain(waiting).enumerate()
        {
            if waiting > 0 {
                ready.push(queue);
            }
        }
        if ready.is_empty() {
            return false;
        }
        let input = match ready[self.choice.below(ready.len())] {
            0 => self.ami.pop_front(),
            1 => self.ari.pop_front(),
            2 => {
                let at = self.choice.below(self.loose.len());
                Some(self.loose.remove(at))
            }
            3 => {
                let at = self.choice.below(self.requests.len());
                let request = self.requests.remove(at);
                self.serve(request);
                None
            }
            _ => {
                let request = self.late.remove(0);
                let _ = self.execute_request(&request);
                None
            }
        };
        self.now = self.now + Duration::from_millis(1);
        if let Some(input) = input {
            self.give(input);
        }
        true
    }

    /// Asterisk executes a request; the reply travels by itself.
    fn serve(&mut self, request: Request) {
        if self.choice.fails() {
            let (executed, lost) = (self.choice.below(2) == 0, self.choice.below(2) == 0);
            let outcome =
                if executed || lost { Outcome::Unknown("time-out".into()) } else { Outcome::Refused("no".into()) };
            let creates =
                matches!(request, Request::Bridge { .. } | Request::Snoop { .. } | Request::ExternalMedia { .. });
            if executed && creates && self.choice.below(2) == 0 {
                self.late.push(request.clone());
            } else if executed {
                let _ = self.execute_request(&request);
            }
            self.loose.push(Input::Reply { to: request, outcome });
            return;
        }
        let outcome = self.execute_request(&request);
        self.loose.push(Input::Reply { to: request, outcome });
    }

    fn execute_request(&mut self, request: &Request) -> Outcome {
        match request {
            Request::Snoop { target, .. } if !self.channels.contains_key(target) => Outcome::Gone,
            Request::Bridge { id } | Request::Snoop { id, .. } | Request::ExternalMedia { id, .. } => {
                assert!(self.objects.insert(id.to_string()), "an id is used once");
                if let Request::Snoop { target, .. } = request {
                    if self.snoop_targets.iter().any(|(snoop, of)| of == target && self.deaf.contains(snoop)) {
                        self.deaf.insert(id.to_string());
                    }
                    self.snoop_targets.insert(id.to_string(), target.clone());
                }
                if !id.what.is_bridge() {
                    self.ari.push_back(Input::TapEntered(id.clone()));
                }
                match id.what {
                    MintedWhat::Media(_) => Outcome::Done { rtp_source: Some(([127, 0, 0, 1], 10_000).into()) },
                    _ => Outcome::DONE,
                }
            }
            Request::Join { bridge, channels } => {
                if ![bridge, &channels[0], &channels[1]].iter().all(|id| self.objects.contains(&id.to_string())) {
                    return Outcome::Gone;
                }
                let flow = FlowId { session: bridge.session, part: bridge.part, direction: bridge.what.direction() };
                assert!(self.expecting.contains(&flow), "no audio before the shard expects it");
                self.loose.push(Input::FlowStarted { flow, first_packet_at: self.now });
                Outcome::DONE
            }
            Request::Remove { id } => {
                let there = self.objects.contains(&id.to_string());
                self.object_dies(&id.to_string());
                if there { Outcome::DONE } else { Outcome::Gone }
            }
            Request::Look { channel } if self.channels.contains_key(channel) => Outcome::DONE,
            Request::Look { .. } => Outcome::Gone,
            Request::Continue { channel } => {
                if self.in_hook.remove(channel) {
                    self.ari.push_back(Input::HookLeft(channel.clone()));
                    Outcome::DONE
                } else {
                    Outcome::Gone
                }
            }
        }
    }

    /// Time passes, and Asterisk is frozen for none of it.
    pub(crate) fn wait(&mut self, time: Duration) {
        for request in std::mem::take(&mut self.late) {
            let _ = self.execute_request(&request);
        }
        self.now = self.now + time;
        self.give(Input::Tick);
    }

    /// Everything that waits happens; deadlines pass while they are at most `ahead` away.
    pub(crate) fn settle(&mut self, ahead: Duration) {
        let until = self.now + ahead;
        loop {
            while self.step() {}
            match self.board.next_deadline() {
                Some(at) if at <= until => {
                    self.now = self.now.max(at);
                    self.give(Input::Tick);
                }
                _ => return,
            }
        }
    }

    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.events.iter().map(|e| e.kind.name()).collect()
    }

    pub(crate) fn states(&self) -> Vec<CallState> {
        let state = |e: &CallEvent| match e.kind {
            CallEventKind::State { state } => Some(state),
            _ => None,
        };
        self.events.iter().filter_map(state).collect()
    }

    pub(crate) fn tap_id(&self, part: u16, what: MintedWhat) -> Minted {
        let session = *self.sessions.keys().next().unwrap();
        Minted { node: "n1".parse().unwrap(), session, part, what }
    }

    /// Every live channel is a leg of one session, those of a bridge of the same one. By AMI that session, unless its
    /// captures failed, is captured once, at a channel that lives.
    pub(crate) fn assert_conversations_are_captured(&self, tap_mode: TapMode) {
        let mut bridges = BTreeMap::<&String, Vec<SessionId>>::new();
        for (channel, seen) in &self.channels {
            let sessions: Vec<_> = self.legs.iter().filter(|(c, _)| c == channel).map(|(_, s)| *s).collect();
            let [session] = sessions[..] else { panic!("{channel} is a leg of {sessions:?}") };
            if let Some(bridge) = &seen.bridge {
                bridges.entry(bridge).or_default().push(session);
            }
        }
        for session in &self.held {
            assert!(!self.open.iter().any(|(open, _)| open == session), "{session} is paused and recorded");
        }
        for (bridge, sessions) in bridges.into_iter().filter(|(_, sessions)| sessions.len() > 1) {
            assert!(sessions.windows(2).all(|s| s[0] == s[1]), "bridge {bridge} holds {sessions:?}");
            let failed = |e: &CallEvent| e.session == sessions[0] && e.kind.name() == "tap_failed";
            let wanted = !self.held.contains(&sessions[0]) && !self.denied.contains(&sessions[0]);
            if tap_mode == TapMode::Ami && !self.events.iter().any(failed) && wanted {
                let open: Vec<_> = self.open.iter().filter(|(session, _)| *session == sessions[0]).collect();
                let [capture] = open[..] else { panic!("bridge {bridge} is captured by {open:?}") };
                assert!(self.channels.contains_key(&self.tapped[capture]), "the tapped channel is gone");
                let heard = BOTH.map(|direction| Minted {
                    node: "n1".parse().unwrap(),
                    session: capture.0,
                    part: capture.1,
                    what: MintedWhat::Snoop(direction),
                });
                assert!(!heard.iter().any(|snoop| self.deaf.contains(&snoop.to_string())), "{capture:?} is deaf");
            }
        }
    }

    pub(crate) fn assert_nothing_left(&self) {
        assert!(self.board.is_empty(), "the switchboard still holds {} calls", self.board.len());
        assert!(self.objects.is_empty(), "left in Asterisk: {:?}", self.objects);
        assert!(self.open.is_empty(), "flows left open: {:?}", self.open);
        assert!(self.in_hook.is_empty(), "channels left in the hook: {:?}", self.in_hook);
        for record in self.sessions.values() {
            assert!(record.state.is_over(), "session {} is {}", record.id, record.state);
        }
    }
}

/// Of `call.leg`: the smaller, the older.
fn age(uniqueid: &str) -> (u32, u32) {
    let (call, leg) = uniqueid.split_once('.').unwrap();
    (call.parse().unwrap(), leg.parse().unwrap())
}

pub(crate) const BOTH: [Direction; 2] = Direction::BOTH;
