//! A model of one Asterisk and one media plane: it executes the reducer's commands and tells what happened, in any order
//! that the protocols allow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use aimg_core::{
    CallEvent, CallEventKind, CallState, Direction, FlowId, Minted, MintedWhat, PbxId, SessionId, SessionRow, TapMode,
    TenantId, Timestamp, Uniqueid,
};
use aimg_session::{CaptureRule, ChannelSeen, ChannelState, Command, Config, Input, Outcome, Request, Switchboard};

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

pub(crate) fn config(tap_mode: TapMode, rule: &str) -> Config {
    Config {
        node: "n1".parse().unwrap(),
        tenant: TenantId::from_uuid(uuid::Uuid::from_u128(1)),
        pbx: PbxId::from_uuid(uuid::Uuid::from_u128(2)),
        tap_mode,
        rule: rule.parse::<CaptureRule>().unwrap(),
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
    pub(crate) channels: BTreeMap<Uniqueid, ChannelSeen>,
    pub(crate) in_hook: BTreeSet<Uniqueid>,
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
    expecting: BTreeSet<FlowId>,
    /// Captures that were ended, and whether because their call was.
    pub(crate) ended: Vec<(u16, bool)>,
    pub(crate) events: Vec<CallEvent>,
    pub(crate) sessions: BTreeMap<SessionId, SessionRow>,
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
            channels: BTreeMap::new(),
            in_hook: BTreeSet::new(),
            ami: VecDeque::new(),
            ari: VecDeque::new(),
            loose: Vec::new(),
            requests: Vec::new(),
            late: Vec::new(),
            open: BTreeSet::new(),
            begun: Vec::new(),
            expecting: BTreeSet::new(),
            ended: Vec::new(),
            events: Vec::new(),
            sessions: BTreeMap::new(),
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
            Command::BeginCapture { session, part, adopted } => {
                assert!(self.open.insert((session.id, part)), "a part is begun once");
                let ours = ([127, 0, 0, 1], 4_000).into();
                let result = if self.choice.fails() { Err("spool is full".to_owned()) } else { Ok([ours; 2]) };
                if result.is_err() {
                    self.open.remove(&(session.id, part));
                }
                self.loose.push(Input::CaptureOpened { session: session.id, part, result });
                self.begun.push((*session, part, adopted));
            }
            Command::ExpectFlow { flow, .. } => {
                self.expecting.insert(flow);
                self.loose.push(Input::FlowExpecting { flow, result: Ok(()) });
            }
            // The opening may have failed without the reducer knowing it yet.
            Command::CaptureAnswered { session, part, .. } => {
                assert!(self.begun.iter().any(|(r, p, _)| (r.id, *p) == (session, part)));
            }
            Command::EndCapture { session, part, call_over, .. } => {
                self.ended.push((part, call_over));
                assert!(self.open.remove(&(session, part)), "a capture is ended once, and only when it was begun");
                self.loose.push(Input::CaptureClosed { session, part, result: Ok(true) });
            }
            Command::SaveSession(record) => {
                let _ = self.sessions.insert(record.id, *record);
            }
            Command::SaveLeg(_) => {}
            Command::Emit(event) => self.events.push(event),
        }
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
        if self.channels.remove(&channel).is_none() {
            return;
        }
        if self.in_hook.remove(&channel) {
            self.ari.push_back(Input::HookLeft(channel.clone()));
        }
        let spies = self.snoop_targets.iter().filter(|(_, t)| **t == channel).map(|(id, _)| id.clone());
        for snoop in spies.collect::<Vec<_>>() {
            self.object_dies(&snoop);
        }
        self.ami.push_back(Input::ChannelGone { channel, cause: 16 });
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
        let channels = self.channels.values().cloned().collect();
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

pub(crate) const BOTH: [Direction; 2] = Direction::BOTH;
