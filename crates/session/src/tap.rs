//! One part of a session's capture: six objects in Asterisk, two flows here.
//!
//! What can go wrong: the call hangs up between any two requests, Asterisk's event comes before its reply, a reply never
//! comes, an object dies by itself. Each object therefore has its own state, and a tap is closed only when each of them is
//! known to be gone. An object whose creation is under way is never deleted before the reply: the deletion could overtake
//! the creation and leave the object behind. Where no reply came, as from a frozen Asterisk, that can happen all the same:
//! such an object is deleted twice.

use std::net::SocketAddr;
use std::time::Duration;

use aimg_core::{CaptureOrder, Direction, FlowId, Minted, MintedWhat, NodeId, SessionId, Timestamp, Uniqueid};

use crate::{Command, Outcome, Request};

/// How long an attach may take before it is rolled back.
const ATTACH_TIME_MAX: Duration = Duration::from_secs(5);
/// How often a deletion is tried again; after that the object is left to the clean-up at the next connection. Together longer
/// than the ARI client refuses requests to a PBX that does not answer (15 s and a time-out), or one that was frozen for some
/// seconds would keep objects though its connection never broke.
const REMOVE_TRIES_MAX: u8 = 30;
/// Between two tries of a deletion.
const REMOVE_PAUSE: Duration = Duration::from_secs(1);
/// How much later than a deletion that Asterisk answered it may execute a creation that we had given up before: its threads
/// get their turns in any order, and those of Asterisk 16 wait up to 200 ms (issue #362).
const LATE_CREATION_MAX: Duration = Duration::from_secs(5);

/// An object of ours in Asterisk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Object {
    /// Not asked for.
    #[default]
    Absent,
    /// Asked for, no reply yet.
    Asked,
    /// It exists.
    There,
    /// No reply came: it exists, or does not, or will.
    Unsure,
    /// Its deletion is under way; of one that is `unsure`, another one follows.
    Removing { tries: u8, unsure: bool },
    /// Its deletion failed, or is not the last one, and is asked for at this time.
    RemoveLater { tries: u8, unsure: bool, at: Timestamp },
    /// It does not exist any more, or never did.
    Gone,
}

/// One direction of a tap.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    bridge: Object,
    snoop: Object,
    media: Object,
    /// StasisStart of the snoop channel was seen.
    snoop_entered: bool,
    /// StasisStart of the external media channel was seen.
    media_entered: bool,
    /// The shard knows the source.
    expecting: bool,
    /// Both channels were asked into the bridge; nothing earlier makes audio flow.
    join_asked: bool,
    /// Its first packet is here.
    started: bool,
}

impl Side {
    fn object(&mut self, what: MintedWhat) -> &mut Object {
        match what {
            MintedWhat::Bridge(_) => &mut self.bridge,
            MintedWhat::Snoop(_) => &mut self.snoop,
            MintedWhat::Media(_) => &mut self.media,
        }
    }

    fn may_join(&self) -> bool {
        let there = [self.bridge, self.snoop, self.media] == [Object::There; 3];
        there && self.snoop_entered && self.media_entered && self.expecting && !self.join_asked
    }
}

/// Where a tap stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The flows are being opened.
    Opening,
    /// Asterisk is being asked; until the first packet of both directions.
    Attaching { until: Timestamp },
    /// Both directions flow.
    Flowing,
    /// Everything is being taken down.
    Closing,
}

/// Where the two flows of a tap stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flows {
    /// Being opened; if they were to end meanwhile, why: see [`Tap::end_capture`].
    Opening { then_end: Option<(bool, Option<CaptureOrder>)> },
    /// Open.
    Open,
    /// Being closed, and their recording finished.
    Ending,
    /// Closed, or never opened.
    Closed,
}

/// What a step of a tap means to its session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TapStep {
    /// Nothing beyond the tap.
    Quiet,
    /// The first packet of a direction is here.
    Started(Direction),
    /// It could not be attached, or broke: it must be closed. The sentence says why.
    Broken(String),
}

/// One part of a session's capture.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) part: u16,
    node: NodeId,
    session: SessionId,
    target: Uniqueid,
    /// The bridge that the channel was last seen in.
    bridge: Option<String>,
    /// Who was last seen with it there.
    company: Option<Uniqueid>,
    phase: Phase,
    sides: [Side; 2],
    flows: Flows,
}

impl Tap {
    /// A tap on `target`, which is in `bridge` if in any, whose flows the caller has just commanded to be opened.
    pub(crate) fn new(node: NodeId, session: SessionId, part: u16, target: Uniqueid, bridge: Option<String>) -> Self {
        Self {
            part,
            node,
            session,
            target,
            bridge,
            company: None,
            phase: Phase::Opening,
            sides: [Side::default(); 2],
            flows: Flows::Opening { then_end: None },
        }
    }

    /// A tap that an earlier run attached, and whose flows this one has taken over.
    pub(crate) fn resumed(node: NodeId, session: SessionId, part: u16, target: Uniqueid) -> Self {
        let side = Side {
            bridge: Object::There,
            snoop: Object::There,
            media: Object::There,
            snoop_entered: true,
            media_entered: true,
            expecting: true,
            join_asked: true,
            started: true,
        };
        Self {
            phase: Phase::Flowing,
            sides: [side; 2],
            flows: Flows::Open,
            ..Self::new(node, session, part, target, None)
        }
    }

    /// Whether both directions flow.
    pub(crate) fn is_flowing(&self) -> bool {
        self.phase == Phase::Flowing
    }

    /// The tapped channel is in this bridge. Whether that is another one than before: the tap is deaf then, since Asterisk
    /// 22 gives its snoop `out` only silence there.
    pub(crate) fn enters(&mut self, bridge: &str) -> bool {
        self.bridge.replace(bridge.to_owned()).is_some_and(|before| before != bridge)
    }

    /// The tapped channel is with another one in its bridge. Whether that one came after somebody else.
    pub(crate) fn meets(&mut self, other: &Uniqueid) -> bool {
        self.company.replace(other.clone()).is_some_and(|before| before != *other)
    }

    /// Whether it is being taken down.
    pub(crate) fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }

    /// Whether nothing of it is left, here or in Asterisk.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closing() && self.flows == Flows::Closed && self.has_left_asterisk()
    }

    /// Whether nothing of it is in Asterisk, or not yet.
    pub(crate) fn has_left_asterisk(&self) -> bool {
        let gone = |o: Object| matches!(o, Object::Absent | Object::Gone);
        self.sides.iter().all(|s| gone(s.bridge) && gone(s.snoop) && gone(s.media))
    }

    /// When [`Tap::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let attach = match self.phase {
            Phase::Attaching { until } => Some(until),
            Phase::Opening | Phase::Flowing | Phase::Closing => None,
        };
        let removals = self.sides.iter().flat_map(|s| [s.bridge, s.snoop, s.media]).filter_map(|o| match o {
            Object::RemoveLater { at, .. } => Some(at),
            _ => None,
        });
        removals.chain(attach).min()
    }

    /// Its flows are not opened: it was denied before anything of it was made.
    pub(crate) fn deny(&mut self) {
        self.flows = Flows::Closed;
        self.phase = Phase::Closing;
    }

    /// Both flows are open, or why not.
    pub(crate) fn capture_opened(
        &mut self,
        now: Timestamp,
        result: Result<[SocketAddr; 2], String>,
        out: &mut Vec<Command>,
    ) -> TapStep {
        let addresses = match result {
            Ok(addresses) => addresses,
            Err(why) => {
                self.flows = Flows::Closed;
                return self.broken(why);
            }
        };
        if let Flows::Opening { then_end } = std::mem::replace(&mut self.flows, Flows::Open)
            && let Some((call_over, by)) = then_end
        {
            self.end_capture(now, call_over, by, out);
        }
        if self.is_closing() {
            return TapStep::Quiet;
        }
        self.phase = Phase::Attaching { until: now + ATTACH_TIME_MAX };
        for what in MintedWhat::ALL {
            *self.object(what) = Object::Asked;
            let id = self.minted(what);
            out.push(Command::Ask(match what {
                MintedWhat::Bridge(_) => Request::Bridge { id },
                MintedWhat::Snoop(_) => Request::Snoop { id, target: self.target.clone() },
                MintedWhat::Media(direction) => Request::ExternalMedia { id, to: addresses[direction.index()] },
            }));
        }
        TapStep::Quiet
    }

    /// The reply to a creation.
    pub(crate) fn created(&mut self, what: MintedWhat, outcome: &Outcome, out: &mut Vec<Command>) -> TapStep {
        if *self.object(what) != Object::Asked {
            return TapStep::Quiet;
        }
        *self.object(what) = match outcome {
            Outcome::Done { .. } => Object::There,
            Outcome::Unknown(_) => Object::Unsure,
            Outcome::Gone | Outcome::Refused(_) => Object::Gone,
        };
        if self.is_closing() {
            self.remove(what, out);
            return TapStep::Quiet;
        }
        let name = match what {
            MintedWhat::Bridge(_) => "bridge",
            MintedWhat::Snoop(_) => "snoop",
            MintedWhat::Media(_) => "external media",
        };
        match (what, outcome) {
            (MintedWhat::Media(direction), Outcome::Done { rtp_source: Some(source) }) => {
                out.push(Command::ExpectFlow { flow: self.flow(direction), source: *source });
                TapStep::Quiet
            }
            (MintedWhat::Media(direction), Outcome::Done { rtp_source: None }) => self
                .broken(format!("external media of the {direction}: Asterisk did not tell where its RTP comes from")),
            (_, outcome) => match outcome.failure(name, what.direction()) {
                Some(why) => self.broken(why),
                None => self.join_if_ready(what.direction(), out),
            },
        }
    }

    /// The shard takes packets of the direction, or why not.
    pub(crate) fn expecting(
        &mut self,
        direction: Direction,
        result: Result<(), String>,
        out: &mut Vec<Command>,
    ) -> TapStep {
        match result {
            Ok(()) => {
                self.sides[direction.index()].expecting = true;
                self.join_if_ready(direction, out)
            }
            Err(why) => self.broken(why),
        }
    }

    /// A channel of ours entered the application; this may come before the reply to its creation.
    pub(crate) fn entered(&mut self, what: MintedWhat, out: &mut Vec<Command>) -> TapStep {
        let side = &mut self.sides[what.direction().index()];
        match what {
            MintedWhat::Snoop(_) => side.snoop_entered = true,
            MintedWhat::Media(_) => side.media_entered = true,
            MintedWhat::Bridge(_) => {}
        }
        self.join_if_ready(what.direction(), out)
    }

    /// The reply to a join.
    pub(crate) fn joined(&mut self, direction: Direction, outcome: &Outcome) -> TapStep {
        match outcome.failure("joining snoop and external media", direction) {
            // A join that may have been done shows itself by its first packet, or by the attach time running out.
            Some(_) if matches!(outcome, Outcome::Unknown(_)) => TapStep::Quiet,
            Some(why) => self.broken(why),
            None => TapStep::Quiet,
        }
    }

    /// The first packet of a direction is here.
    pub(crate) fn started(&mut self, direction: Direction) -> TapStep {
        self.sides[direction.index()].started = true;
        if matches!(self.phase, Phase::Attaching { .. }) && self.sides.iter().all(|s| s.started) {
            self.phase = Phase::Flowing;
        }
        TapStep::Started(direction)
    }

    /// An object of ours died or left. It may still exist (StasisEnd), so its deletion is asked for all the same.
    pub(crate) fn gone(&mut self, what: MintedWhat) -> TapStep {
        let known = matches!(self.object(what), Object::Asked | Object::There);
        if known { self.broken("a channel of the capture was hung up in Asterisk".to_owned()) } else { TapStep::Quiet }
    }

    /// The reply to a deletion.
    pub(crate) fn removed(&mut self, now: Timestamp, what: MintedWhat, outcome: &Outcome) {
        let object = self.object(what);
        let Object::Removing { tries, unsure } = *object else { return };
        *object = match outcome {
            Outcome::Done { .. } | Outcome::Gone if unsure => {
                Object::RemoveLater { tries: 0, unsure: false, at: now + LATE_CREATION_MAX }
            }
            Outcome::Done { .. } | Outcome::Gone => Object::Gone,
            Outcome::Refused(_) | Outcome::Unknown(_) if tries >= REMOVE_TRIES_MAX => Object::Gone,
            Outcome::Refused(_) | Outcome::Unknown(_) => Object::RemoveLater { tries, unsure, at: now + REMOVE_PAUSE },
        };
    }

    /// The list of what exists, after ARI came back: a flowing tap with a missing object is broken.
    pub(crate) fn compare(&mut self, existing: &[Minted]) -> TapStep {
        let mut lost = false;
        for what in MintedWhat::ALL {
            if *self.object(what) == Object::There && !existing.contains(&self.minted(what)) {
                *self.object(what) = Object::Gone;
                lost = true;
            }
        }
        if lost {
            self.broken("objects of the capture were gone when ARI came back".to_owned())
        } else {
            TapStep::Quiet
        }
    }

    /// Time passed.
    pub(crate) fn tick(&mut self, now: Timestamp, out: &mut Vec<Command>) -> TapStep {
        for what in MintedWhat::ALL {
            if let Object::RemoveLater { at, .. } = *self.object(what)
                && at <= now
            {
                self.remove(what, out);
            }
        }
        match self.phase {
            Phase::Attaching { until } if until <= now => {
                self.broken(format!(
                "no audio within {} s of asking for it: check that Asterisk reaches our audio address (media.advertise), and that \
                 no NAT changes the address it sends from",
                ATTACH_TIME_MAX.as_secs()
            ))
            }
            _ => TapStep::Quiet,
        }
    }

    /// Takes everything in Asterisk down; what is being created goes when its reply has come.
    pub(crate) fn close(&mut self, out: &mut Vec<Command>) {
        if self.is_closing() {
            return;
        }
        self.phase = Phase::Closing;
        for what in MintedWhat::ALL {
            if matches!(self.object(what), Object::There | Object::Unsure) {
                self.remove(what, out);
            }
        }
    }

    /// Ends the capture of a tap that is closed: because the tapped channel is gone (`call_over`), `by` request, or because
    /// something broke or the gateway stops.
    pub(crate) fn end_capture(
        &mut self,
        now: Timestamp,
        call_over: bool,
        by: Option<CaptureOrder>,
        out: &mut Vec<Command>,
    ) {
        match &mut self.flows {
            Flows::Opening { then_end } => *then_end = Some((call_over, by)),
            Flows::Open => {
                self.flows = Flows::Ending;
                out.push(Command::EndCapture { session: self.session, part: self.part, at: now, call_over, by });
            }
            Flows::Ending | Flows::Closed => {}
        }
    }

    /// Both flows are closed.
    pub(crate) fn capture_closed(&mut self) {
        self.flows = Flows::Closed;
    }

    /// Everything of this PBX died with it: only the flows are left to close.
    pub(crate) fn pbx_died(&mut self, out: &mut Vec<Command>) {
        for what in MintedWhat::ALL {
            let object = self.object(what);
            if *object != Object::Absent {
                *object = Object::Gone;
            }
        }
        self.close(out);
    }

    /// Whether the tap still answers for this object: it exists, or a request about it is under way.
    pub(crate) fn owns(&self, id: &Minted) -> bool {
        let mut side = self.sides[id.what.direction().index()];
        let object = *side.object(id.what);
        id.part == self.part && !matches!(object, Object::Absent | Object::Gone)
    }

    fn join_if_ready(&mut self, direction: Direction, out: &mut Vec<Command>) -> TapStep {
        if !self.is_closing() && self.sides[direction.index()].may_join() {
            self.sides[direction.index()].join_asked = true;
            out.push(Command::Ask(Request::Join {
                bridge: self.minted(MintedWhat::Bridge(direction)),
                channels: [MintedWhat::Snoop(direction), MintedWhat::Media(direction)].map(|w| self.minted(w)),
            }));
        }
        TapStep::Quiet
    }

    fn remove(&mut self, what: MintedWhat, out: &mut Vec<Command>) {
        let (tries, unsure) = match *self.object(what) {
            Object::There => (0, false),
            Object::Unsure => (0, true),
            Object::RemoveLater { tries, unsure, .. } => (tries, unsure),
            Object::Absent | Object::Asked | Object::Removing { .. } | Object::Gone => return,
        };
        *self.object(what) = Object::Removing { tries: tries + 1, unsure };
        out.push(Command::Ask(Request::Remove { id: self.minted(what) }));
    }

    fn broken(&self, why: String) -> TapStep {
        if self.is_closing() { TapStep::Quiet } else { TapStep::Broken(why) }
    }

    fn object(&mut self, what: MintedWhat) -> &mut Object {
        self.sides[what.direction().index()].object(what)
    }

    fn minted(&self, what: MintedWhat) -> Minted {
        Minted { node: self.node.clone(), session: self.session, part: self.part, what }
    }

    fn flow(&self, direction: Direction) -> FlowId {
        FlowId { session: self.session, part: self.part, direction }
    }
}
