//! One call session: its state, its legs, the hook it may wait in, and the taps that capture it.

use std::collections::BTreeMap;
use std::time::Duration;

use aimg_core::{
    CallEvent, CallEventKind, CallState, CaptureOrder, Direction, FailReason, LegRow, QuotaKind, SessionId, SessionRow,
    Timestamp, Uniqueid,
};

use crate::bridges::Bridges;
use crate::legs::{Leg, Legs};
use crate::tap::{Tap, TapStep};
use crate::view::{CallSeen, CaptureSeen, LegSeen};
use crate::{ChannelSeen, ChannelState, Command, KnownCall, Outcome, Request};

/// A broken tap of a call that is being hung up is no failure. ARI tells the tap's end a little before AMI tells the call's,
/// so it is looked at only after this time, and reported and replaced; while AMI is away, only when ARI says that the call is still there.
const BREAK_GRACE: Duration = Duration::from_millis(500);
/// When the tapped channel hangs up, the others mostly do so too in the same moment. One that is not seen talking in a bridge
/// is tapped in its place only after this time.
const MOVE_GRACE: Duration = Duration::from_millis(250);
/// How long a channel must have been without our snoops before it is tapped anew: all snoops of a channel share what in
/// Asterisk 22 makes them deaf, and that goes with the last of them, at one of the next packets.
const RENEW_PAUSE: Duration = Duration::from_millis(60);
/// How often a channel's capture is begun at most; each time is a part of its own.
const TAP_TRIES_MAX: u8 = 4;
/// Between two tries to let a channel out of the hook.
const RELEASE_PAUSE: Duration = Duration::from_secs(1);

/// A channel of the call that waits in our hook.
#[derive(Debug)]
pub(crate) struct HookWait {
    /// When it is let go (again).
    until: Timestamp,
    /// It was let go once; `until` is the next try.
    released: bool,
}

/// A channel that goes on in another session, and what that must know.
#[derive(Debug)]
pub(crate) struct GivenLeg {
    leg: Leg,
    hook: Option<HookWait>,
    /// The session that it left was being captured.
    pub(crate) captured: bool,
    /// It is the first one to go there.
    first: bool,
}

/// One call session.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) record: SessionRow,
    legs: Legs,
    /// The channel that the capture hangs on: the first one, and another when that is gone and the call goes on.
    tapped: Uniqueid,
    /// Who took the place of the tapped channel in its bridge.
    stand_in: Option<Uniqueid>,
    /// When another channel is tapped instead of one that is gone.
    move_at: Option<Timestamp>,
    /// The session in which the call goes on.
    joined_into: Option<SessionId>,
    hooks: BTreeMap<Uniqueid, HookWait>,
    hook_timeout: Duration,
    /// At most one of them is not closing.
    taps: Vec<Tap>,
    next_part: u16,
    tap_tries: u8,
    /// When the tapped channel left its bridge, while it is in none.
    left_at: Option<Timestamp>,
    /// When the tapped channel is tapped anew, if it has no snoop of ours then.
    renew_at: Option<Timestamp>,
    /// It had none when that was last looked at.
    renew_clear: bool,
    /// When the call last changed hands, until it is captured from there on.
    moved_at: Option<Timestamp>,
    /// The first capture begins when the call has been going for a while.
    midway: bool,
    /// A person asked that nothing be recorded; no other call that joins this one changes that.
    held_back: bool,
    /// The request by which the next capture begins, until it flows.
    begun_by: Option<CaptureOrder>,
    /// Why the last tap broke, and when it is looked whether the call is still there.
    broken: Option<(String, Timestamp)>,
    /// Why the last tap broke, while it is being looked.
    looking: Option<String>,
    /// It is of an earlier run, and nobody knows yet whether it is still there.
    returning: bool,
}

impl Call {
    pub(crate) fn detected(record: SessionRow, next_part: u16, midway: bool, hook_timeout: Duration) -> Self {
        Self {
            tapped: record.uniqueid.clone(),
            record,
            legs: Legs::default(),
            stand_in: None,
            move_at: None,
            joined_into: None,
            hooks: BTreeMap::new(),
            hook_timeout,
            taps: Vec::new(),
            next_part,
            tap_tries: 0,
            left_at: None,
            renew_at: None,
            renew_clear: false,
            moved_at: None,
            midway,
            held_back: false,
            begun_by: None,
            broken: None,
            looking: None,
            returning: false,
        }
    }

    /// A call of an earlier run, as the store knows it. The channels that had not left are taken to be there until AMI tells.
    pub(crate) fn returning(known: KnownCall, hook_timeout: Duration) -> Self {
        let KnownCall { record, legs, next_part, running } = known;
        let first = LegRow {
            tenant: record.tenant,
            session: record.id,
            uniqueid: record.uniqueid.clone(),
            name: String::new(),
            caller_number: record.caller_number.clone(),
            joined_at: record.started_at,
            left_at: None,
            hangup_cause: None,
        };
        let tapped = running.as_ref().map_or_else(|| record.uniqueid.clone(), |r| r.channel.clone());
        let tap = running.as_ref().map(|r| Tap::resumed(record.node.clone(), record.id, r.part, r.channel.clone()));
        let mut call = Self::detected(record, next_part, running.is_none(), hook_timeout);
        // The process may have ended before the first channel's row was written.
        for row in std::iter::once(first).chain(legs) {
            call.legs.insert(Leg { row, up: false });
        }
        call.tapped = tapped;
        call.taps.extend(tap);
        call.returning = true;
        // A rule never takes back what it wanted: only a person does.
        call.held_back = !call.record.captured && call.was_tapped();
        call
    }

    /// Whether the call is over and nothing of its capture is left anywhere.
    pub(crate) fn is_done(&self) -> bool {
        self.record.state.is_over() && self.taps.is_empty()
    }

    /// Whether nothing of a capture is left, and nobody waits for one.
    pub(crate) fn is_quiet(&self) -> bool {
        self.taps.is_empty() && self.hooks.is_empty()
    }

    pub(crate) fn has_leg(&self, channel: &Uniqueid) -> bool {
        self.legs.contains(channel)
    }

    pub(crate) fn live_legs(&self) -> impl Iterator<Item = &Uniqueid> {
        self.legs.live()
    }

    /// Whether its capture was begun before, by this run or an earlier one.
    pub(crate) fn was_tapped(&self) -> bool {
        self.next_part > 0
    }

    /// Failures that ARI's absence explains do not count. Whether a capture should begin at once: where one broke and AMI is
    /// away, it is first looked whether the call is still there.
    pub(crate) fn tries_anew(&mut self, now: Timestamp, ami_up: bool) -> bool {
        self.tap_tries = 0;
        if ami_up {
            return true;
        }
        let Some((_, at)) = &mut self.broken else { return self.looking.is_none() };
        *at = now;
        false
    }

    pub(crate) fn has_active_tap(&self) -> bool {
        self.taps.iter().any(|t| !t.is_closing())
    }

    /// Channels that wait in the hook and were not let go yet.
    pub(crate) fn hooks_waiting(&self) -> usize {
        self.hooks.values().filter(|h| !h.released).count()
    }

    pub(crate) fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// When [`Call::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let hooks = self.hooks.values().map(|h| h.until);
        let taps = self.taps.iter().filter_map(Tap::deadline);
        let adrift = self.left_at.map(|at| at + MOVE_GRACE);
        let others = [self.broken.as_ref().map(|(_, at)| *at), self.move_at, self.renew_at, adrift];
        hooks.chain(taps).chain(others.into_iter().flatten()).min()
    }

    pub(crate) fn leg_joined(&mut self, now: Timestamp, seen: &ChannelSeen, out: &mut Vec<Command>) {
        let uniqueid = Uniqueid::new(&seen.uniqueid);
        let row = LegRow {
            session: self.record.id,
            tenant: self.record.tenant,
            uniqueid: uniqueid.clone(),
            name: seen.name.clone(),
            caller_number: told(&seen.caller_number),
            joined_at: now,
            left_at: None,
            hangup_cause: None,
        };
        self.add_leg(now, Leg { row, up: false }, out);
        // Whoever finds a call up does not know when it was answered.
        let moment_known = !self.midway;
        self.in_state(now, &uniqueid, seen.state, moment_known, out);
    }

    fn add_leg(&mut self, now: Timestamp, leg: Leg, out: &mut Vec<Command>) {
        out.push(Command::SaveLeg(leg.row.clone()));
        self.emit(now, CallEventKind::LegJoined { channel: leg.row.uniqueid.clone() }, out);
        self.legs.insert(leg);
    }

    /// While channels change places Asterisk marks their names; such a name is nobody's.
    pub(crate) fn renamed(&mut self, channel: &Uniqueid, name: &str, out: &mut Vec<Command>) {
        let Some(leg) = self.legs.live_one(channel).filter(|_| !name.contains('<')) else { return };
        leg.row.name = name.to_owned();
        out.push(Command::SaveLeg(leg.row.clone()));
    }

    pub(crate) fn channel_state(
        &mut self,
        now: Timestamp,
        channel: &Uniqueid,
        state: ChannelState,
        out: &mut Vec<Command>,
    ) {
        self.in_state(now, channel, state, true, out);
    }

    fn in_state(
        &mut self,
        now: Timestamp,
        channel: &Uniqueid,
        state: ChannelState,
        moment_known: bool,
        out: &mut Vec<Command>,
    ) {
        if let Some(leg) = self.legs.live_one(channel) {
            leg.up |= state == ChannelState::Up;
        }
        match state {
            ChannelState::Ringing => self.advance(now, CallState::Ringing, out),
            ChannelState::Up if *channel == self.record.uniqueid => {
                if moment_known && self.record.answered_at.is_none() {
                    self.record.answered_at = Some(now);
                    if let Some(tap) = self.taps.iter().find(|t| !t.is_closing()) {
                        out.push(Command::CaptureAnswered { session: self.record.id, part: tap.part, at: now });
                    }
                }
                self.advance(now, CallState::Answered, out);
                self.capturing_if_flowing(now, out);
            }
            ChannelState::Early | ChannelState::Up => {}
        }
    }

    pub(crate) fn leg_left(&mut self, now: Timestamp, channel: &Uniqueid, cause: u16, out: &mut Vec<Command>) {
        self.hooks.remove(channel);
        let Some(leg) = self.legs.live_one(channel) else { return };
        leg.row.left_at = Some(now);
        leg.row.hangup_cause = Some(cause);
        out.push(Command::SaveLeg(leg.row.clone()));
        self.emit(now, CallEventKind::LegLeft { channel: channel.clone(), cause }, out);
        if *channel == self.record.uniqueid {
            self.record.hangup_cause = Some(cause);
        }
        self.goes_on_without(now, channel, out);
    }

    /// Ends the capture of a channel that this session has no more, and the session with its last one.
    fn goes_on_without(&mut self, now: Timestamp, channel: &Uniqueid, out: &mut Vec<Command>) {
        if *channel == self.tapped {
            self.left_at = None;
            self.renew_at = None;
            self.moved_at = Some(now);
            self.stop_capture(now, true, None, out);
        }
        if self.live_legs().next().is_none() {
            self.finish(now, CallState::Ended, out);
        }
    }

    /// Gives a live channel to the older session that its call was joined with.
    pub(crate) fn give_leg(
        &mut self,
        now: Timestamp,
        channel: &Uniqueid,
        into: SessionId,
        out: &mut Vec<Command>,
    ) -> Option<GivenLeg> {
        let leg = self.legs.live_one(channel)?;
        let given = leg.clone();
        leg.row.left_at = Some(now);
        out.push(Command::SaveLeg(leg.row.clone()));
        let captured = self.record.captured && self.has_active_tap();
        let hook = self.hooks.remove(channel);
        let first = self.goes_on_in(now, into, out);
        self.goes_on_without(now, channel, out);
        Some(GivenLeg { leg: given, hook, captured, first })
    }

    /// The call goes on in another session. False when that was known.
    pub(crate) fn goes_on_in(&mut self, now: Timestamp, into: SessionId, out: &mut Vec<Command>) -> bool {
        if self.joined_into.replace(into) == Some(into) {
            return false;
        }
        self.emit(now, CallEventKind::JoinedInto { into }, out);
        true
    }

    /// Takes a channel of a younger session. What was being captured goes on being captured, whatever the rule said of this
    /// call.
    pub(crate) fn take_leg(&mut self, now: Timestamp, given: GivenLeg, from: SessionId, out: &mut Vec<Command>) {
        let GivenLeg { mut leg, hook, captured, first } = given;
        if first {
            self.emit(now, CallEventKind::JoinedFrom { from }, out);
        }
        leg.row = LegRow { session: self.record.id, joined_at: now, ..leg.row };
        let channel = leg.row.uniqueid.clone();
        self.add_leg(now, leg, out);
        self.hooks.extend(hook.map(|wait| (channel, wait)));
        if captured && !self.record.captured && !self.held_back {
            self.record.captured = true;
            self.midway = true;
            self.moved_at = Some(now);
            out.push(Command::SaveSession(Box::new(self.record.clone())));
        }
    }

    /// In a bridge, a channel took the place of another one.
    pub(crate) fn stands_in(&mut self, swapped: &Uniqueid, channel: &Uniqueid) {
        if *swapped == self.tapped {
            self.stand_in = Some(channel.clone());
        }
    }

    /// A channel is in this bridge. If the capture became deaf by that, it ends, and another one begins in its place; `seamlessly`
    /// where it is not, see [`Call::is_seamless`].
    pub(crate) fn enters(
        &mut self,
        now: Timestamp,
        channel: &Uniqueid,
        bridge: &str,
        seamlessly: bool,
        out: &mut Vec<Command>,
    ) {
        if *channel != self.tapped {
            return;
        }
        let has_left = self.left_at.take().is_some();
        let elsewhere = self.taps.iter_mut().any(|t| !t.is_closing() && t.enters(bridge));
        if (has_left || elsewhere) && !seamlessly {
            self.renew(now, now, out);
        }
    }

    /// Another channel is in a channel's bridge. A capture that heard somebody else there is as deaf as in another bridge.
    pub(crate) fn meets(
        &mut self,
        now: Timestamp,
        channel: &Uniqueid,
        other: &Uniqueid,
        seamlessly: bool,
        out: &mut Vec<Command>,
    ) {
        let is_tapped = *channel == self.tapped;
        let deaf = is_tapped && self.taps.iter_mut().any(|t| !t.is_closing() && t.meets(other));
        if deaf && !seamlessly {
            self.renew(now, now, out);
        }
    }

    /// Whether nobody hears anybody else than before when a channel's place is taken: that of half a Local channel, which
    /// Asterisk takes out.
    pub(crate) fn is_seamless(&self, swapped: &Uniqueid) -> bool {
        self.legs.is_local(swapped)
    }

    /// A channel left its bridge. The tapped one hears nothing more from there on, wherever it goes, and mostly hangs up.
    pub(crate) fn leaves(&mut self, now: Timestamp, channel: &Uniqueid) {
        if *channel == self.tapped && self.has_active_tap() {
            self.left_at = Some(now);
        }
    }

    /// Ends the capture, which is deaf since the call changed hands, and begins another one in its place. Not before it ends:
    /// that would be as deaf.
    fn renew(&mut self, now: Timestamp, moved_at: Timestamp, out: &mut Vec<Command>) {
        let Some(tap) = self.taps.iter_mut().find(|t| !t.is_closing()) else { return };
        tap.close(out);
        tap.end_capture(now, false, None, out);
        self.tap_tries = 0;
        self.moved_at = Some(moved_at);
        self.renew_clear = false;
        self.renew_at = Some(now + RENEW_PAUSE);
    }

    /// Sets the time at which another channel is tapped, where the tapped one is gone and the call goes on.
    pub(crate) fn look_for_successor(&mut self, now: Timestamp, bridges: &Bridges) {
        let settled = self.record.state.is_over() || self.returning || self.legs.is_live(&self.tapped);
        let successor = self.legs.successor(self.stand_in.as_ref(), bridges).filter(|_| !settled);
        self.move_at = successor.map(|channel| {
            let talks = bridges.has_company(channel);
            if talks { now } else { self.move_at.unwrap_or(now + MOVE_GRACE) }
        });
    }

    /// Puts another channel in the place of the tapped one if it is time. False when it is not.
    pub(crate) fn move_capture(&mut self, now: Timestamp, bridges: &Bridges, out: &mut Vec<Command>) -> bool {
        let due = self.move_at.take_if(|at| *at <= now).is_some();
        let successor = self.legs.successor(self.stand_in.as_ref(), bridges).filter(|_| due);
        let Some(channel) = successor.cloned() else { return false };
        self.stand_in = None;
        self.tap_tries = 0;
        self.tapped = channel.clone();
        if self.was_tapped() {
            self.emit(now, CallEventKind::CaptureMoved { channel }, out);
        }
        true
    }

    /// Tells of the call what changes nothing here.
    pub(crate) fn tell(&self, now: Timestamp, kind: CallEventKind, out: &mut Vec<Command>) {
        if !self.record.state.is_over() {
            self.emit(now, kind, out);
        }
    }

    /// The call is over though nobody saw its end.
    pub(crate) fn lost(&mut self, now: Timestamp, reason: FailReason, out: &mut Vec<Command>) {
        if self.record.state.is_over() {
            return;
        }
        for leg in self.legs.live_mut() {
            leg.row.left_at = Some(now);
            out.push(Command::SaveLeg(leg.row.clone()));
        }
        self.emit(now, CallEventKind::Lost { reason }, out);
        match reason {
            FailReason::PbxRestarted => {
                self.taps.iter_mut().for_each(|t| t.pbx_died(out));
                self.stop_capture(now, false, None, out);
                self.finish(now, CallState::Failed, out);
            }
            FailReason::GoneWhileAway => self.finish(now, CallState::Ended, out),
        }
    }

    /// AMI has told that the call of an earlier run is still there. False when that was known.
    pub(crate) fn has_returned(&mut self, now: Timestamp, out: &mut Vec<Command>) -> bool {
        if !std::mem::take(&mut self.returning) {
            return false;
        }
        let running = self.taps.iter().find(|t| t.is_flowing()).map(|t| t.part);
        let kind = match running {
            Some(part) => CallEventKind::Resumed { part },
            None => CallEventKind::Adopted { part: self.next_part },
        };
        self.emit(now, kind, out);
        self.capturing_if_flowing(now, out);
        true
    }

    /// Begins to capture, if the rule wants it, the channel to be tapped lives and it was not tried too often.
    pub(crate) fn begin_capture(&mut self, now: Timestamp, bridges: &Bridges, out: &mut Vec<Command>) {
        let alive = self.legs.is_live(&self.tapped) && !self.returning;
        if !self.record.captured
            || !alive
            || self.renew_at.is_some()
            || self.has_active_tap()
            || self.tap_tries >= TAP_TRIES_MAX
        {
            return;
        }
        let part = self.next_part;
        self.next_part += 1;
        self.tap_tries += 1;
        self.end_broken(now, out);
        out.push(Command::BeginCapture {
            session: Box::new(self.record.clone()),
            part,
            channel: self.tapped.clone(),
            adopted: self.begun_by.is_none() && (self.midway || part > 0),
            moved_at: self.moved_at,
            by: self.begun_by,
        });
        let bridge = bridges.of(&self.tapped).map(str::to_owned);
        let mut tap = Tap::new(self.record.node.clone(), self.record.id, part, self.tapped.clone(), bridge);
        for other in bridges.joined_with(&self.tapped).iter().filter(|other| **other != self.tapped) {
            tap.meets(other);
        }
        self.taps.push(tap);
        self.emit(now, CallEventKind::TapRequested { part }, out);
    }

    /// The gateway has no room for another capture.
    pub(crate) fn capture_refused(&mut self, now: Timestamp, reason: String, out: &mut Vec<Command>) {
        self.emit(now, CallEventKind::TapFailed { reason }, out);
        self.release_hooks(now, false, out);
    }

    /// Its tenant may not have another capture. Nothing was opened or asked of Asterisk, and nothing is tried again.
    pub(crate) fn capture_denied(&mut self, now: Timestamp, part: u16, quota: QuotaKind, out: &mut Vec<Command>) {
        let Some(tap) = self.taps.iter_mut().find(|t| t.part == part) else { return };
        tap.deny();
        self.forget_closed_taps();
        self.begun_by = None;
        if self.record.state.is_over() {
            return;
        }
        self.record.captured = false;
        out.push(Command::SaveSession(Box::new(self.record.clone())));
        self.emit(now, CallEventKind::QuotaExceeded { quota }, out);
        self.release_hooks(now, false, out);
    }

    pub(crate) fn hook_entered(&mut self, now: Timestamp, channel: &Uniqueid, out: &mut Vec<Command>) {
        self.hooks.insert(channel.clone(), HookWait { until: now + self.hook_timeout, released: false });
        if !self.legs.is_live(&self.tapped) && self.legs.is_live(channel) {
            self.tapped = channel.clone();
            self.tap_tries = 0;
        }
        self.emit(now, CallEventKind::HookEntered, out);
    }

    /// The hook was told that a channel is another tenant's: it goes on at once, and the call is captured no more.
    pub(crate) fn hook_refused(&mut self, now: Timestamp, channel: &Uniqueid, out: &mut Vec<Command>) {
        self.hooks.insert(channel.clone(), HookWait { until: now, released: false });
        self.emit(now, CallEventKind::HookEntered, out);
        self.held_back = true;
        self.renew_at = None;
        self.left_at = None;
        if std::mem::take(&mut self.record.captured) {
            out.push(Command::SaveSession(Box::new(self.record.clone())));
        }
        self.stop_capture(now, false, None, out);
    }

    /// Lets the call go on where nothing is worth waiting for.
    pub(crate) fn release_unless_attaching(&mut self, now: Timestamp, out: &mut Vec<Command>) {
        match self.taps.iter().find(|t| !t.is_closing()) {
            Some(tap) if tap.is_flowing() => self.release_hooks(now, true, out),
            Some(_) => {}
            None => self.release_hooks(now, false, out),
        }
    }

    pub(crate) fn hook_left(&mut self, channel: &Uniqueid) {
        self.hooks.remove(channel);
    }

    pub(crate) fn continued(&mut self, now: Timestamp, channel: &Uniqueid, outcome: &Outcome) {
        match outcome {
            Outcome::Done { .. } | Outcome::Gone => {
                self.hooks.remove(channel);
            }
            Outcome::Refused(_) | Outcome::Unknown(_) => {
                if let Some(hook) = self.hooks.get_mut(channel) {
                    hook.until = now + RELEASE_PAUSE;
                }
            }
        }
    }

    /// Runs a step of the tap of this part and does what it means to the call.
    pub(crate) fn tap_step(
        &mut self,
        now: Timestamp,
        part: u16,
        out: &mut Vec<Command>,
        step: impl FnOnce(&mut Tap, &mut Vec<Command>) -> TapStep,
    ) {
        let Some(tap) = self.taps.iter_mut().find(|t| t.part == part) else { return };
        match step(tap, out) {
            TapStep::Quiet => {}
            TapStep::Started(_) => {
                if tap.is_flowing() {
                    self.moved_at = None;
                    self.begun_by = None;
                    self.release_hooks(now, true, out);
                    self.capturing_if_flowing(now, out);
                }
            }
            TapStep::Broken(why) => {
                // The audio of a call that is being hung up ends here too, but its end is told by its hangup.
                tap.close(out);
                self.broken = Some((why, now + BREAK_GRACE));
                self.release_hooks(now, false, out);
            }
        }
        self.forget_closed_taps();
    }

    pub(crate) fn flow_started(
        &mut self,
        now: Timestamp,
        part: u16,
        direction: Direction,
        first_packet_at: Timestamp,
        out: &mut Vec<Command>,
    ) {
        self.emit(now, CallEventKind::FlowStarted { direction, first_packet_at }, out);
        self.tap_step(now, part, out, |tap, _| tap.started(direction));
    }

    pub(crate) fn capture_closed(
        &mut self,
        now: Timestamp,
        part: u16,
        result: Result<bool, String>,
        out: &mut Vec<Command>,
    ) {
        self.tap_step(now, part, out, |tap, _| {
            tap.capture_closed();
            TapStep::Quiet
        });
        let kind = match result {
            Ok(complete) => CallEventKind::RecordingReady { part, complete },
            Err(reason) => CallEventKind::RecordingFailed { part, reason },
        };
        self.emit(now, kind, out);
    }

    /// Time passed. Whether a new capture should begin in place of a broken one.
    pub(crate) fn tick(&mut self, now: Timestamp, ami_up: bool, out: &mut Vec<Command>) -> bool {
        for part in self.taps.iter().map(|t| t.part).collect::<Vec<_>>() {
            self.tap_step(now, part, out, |tap, out| tap.tick(now, out));
        }
        let due = self.hooks.iter().filter(|(_, h)| h.until <= now).map(|(c, _)| c.clone()).collect::<Vec<_>>();
        for channel in due {
            self.release(now, &channel, false, out);
        }
        if let Some(left_at) = self.left_at.take_if(|at| *at + MOVE_GRACE <= now) {
            self.renew(now, left_at, out);
        }
        if self.renew_at.is_some_and(|at| at <= now) {
            return self.may_renew(now);
        }
        if self.broken.as_ref().is_none_or(|(_, at)| *at > now) {
            return false;
        }
        if ami_up {
            self.end_broken(now, out);
            return true;
        }
        self.looking = self.broken.take().map(|(reason, _)| reason);
        // All of them: else the capture would move to one that is gone too.
        let look = |channel: &Uniqueid| Command::Ask(Request::Look { channel: channel.clone() });
        out.extend(self.live_legs().map(look));
        false
    }

    /// Whether the tapped channel has been without our snoops for long enough.
    fn may_renew(&mut self, now: Timestamp) -> bool {
        let clear = self.taps.iter().all(Tap::has_left_asterisk);
        let settled = clear && std::mem::replace(&mut self.renew_clear, clear);
        self.renew_at = (!settled).then(|| now + RENEW_PAUSE);
        settled
    }

    /// A channel is still there, as far as can be known. Whether a new capture should begin: the last one broke on it.
    pub(crate) fn tap_failed(&mut self, now: Timestamp, channel: &Uniqueid, out: &mut Vec<Command>) -> bool {
        if *channel != self.tapped || self.looking.is_none() {
            return false;
        }
        self.end_broken(now, out);
        true
    }

    /// Ends the capture of a tap that broke while its call goes on.
    fn end_broken(&mut self, now: Timestamp, out: &mut Vec<Command>) {
        let broken = self.broken.take().map(|(reason, _)| reason);
        let Some(reason) = self.looking.take().or(broken) else { return };
        for tap in self.taps.iter_mut().filter(|t| t.is_closing()) {
            tap.end_capture(now, false, None, out);
        }
        self.emit(now, CallEventKind::TapFailed { reason }, out);
    }

    /// A person wants it recorded from here on, or no more. Whether a capture should begin.
    pub(crate) fn ordered(&mut self, now: Timestamp, order: CaptureOrder, out: &mut Vec<Command>) -> bool {
        if self.record.state.is_over() {
            return false;
        }
        self.emit(now, CallEventKind::CaptureOrdered { order }, out);
        self.held_back = !order.records();
        if self.record.captured != order.records() {
            self.record.captured = order.records();
            out.push(Command::SaveSession(Box::new(self.record.clone())));
        }
        if !order.records() {
            self.renew_at = None;
            self.left_at = None;
            self.stop_capture(now, false, Some(order), out);
            return false;
        }
        if !self.has_active_tap() {
            self.tap_tries = 0;
            self.moved_at = None;
            self.begun_by = Some(order);
        }
        true
    }

    /// Where its capture stands.
    pub(crate) fn capture_seen(&self) -> CaptureSeen {
        match self.taps.iter().find(|t| !t.is_closing()) {
            Some(tap) if tap.is_flowing() => CaptureSeen::Flowing { part: tap.part },
            Some(_) => CaptureSeen::Attaching,
            None if self.taps.iter().any(|t| !t.has_left_asterisk()) => CaptureSeen::Leaving,
            None => CaptureSeen::Nothing { held_back: self.held_back },
        }
    }

    /// The call as somebody who is to act upon it sees it.
    pub(crate) fn seen(&self, bridges: &Bridges) -> CallSeen {
        let channels = self.legs.live_rows().map(|(row, up)| LegSeen {
            channel: row.uniqueid.clone(),
            name: row.name.clone(),
            up,
            bridge: bridges.of(&row.uniqueid).map(str::to_owned),
            in_hook: self.hooks.get(&row.uniqueid).is_some_and(|hook| !hook.released),
        });
        let first = Some(&self.record.uniqueid).filter(|first| self.legs.is_live(first));
        let caller = first.or(Some(&self.tapped).filter(|tapped| self.legs.is_live(tapped))).cloned();
        let company = caller.as_ref().map_or_else(Vec::new, |caller| bridges.company(caller));
        CallSeen {
            record: self.record.clone(),
            channels: channels.collect(),
            caller,
            company,
            capture: self.capture_seen(),
        }
    }

    /// Takes every capture down and lets the call go on.
    pub(crate) fn stop_capture(
        &mut self,
        now: Timestamp,
        call_over: bool,
        by: Option<CaptureOrder>,
        out: &mut Vec<Command>,
    ) {
        self.broken = None;
        self.looking = None;
        for tap in &mut self.taps {
            tap.close(out);
            tap.end_capture(now, call_over, by, out);
        }
        self.forget_closed_taps();
        self.release_hooks(now, false, out);
    }

    fn finish(&mut self, now: Timestamp, state: CallState, out: &mut Vec<Command>) {
        self.record.ended_at = Some(now);
        self.advance(now, state, out);
        self.stop_capture(now, true, None, out);
        self.move_at = None;
        self.left_at = None;
        self.renew_at = None;
        self.hooks.clear();
    }

    fn capturing_if_flowing(&mut self, now: Timestamp, out: &mut Vec<Command>) {
        let flowing = self.taps.iter().any(Tap::is_flowing);
        if flowing && self.record.state == CallState::Answered {
            self.advance(now, CallState::Capturing, out);
        }
    }

    fn release_hooks(&mut self, now: Timestamp, ready: bool, out: &mut Vec<Command>) {
        let waiting = self.hooks.iter().filter(|(_, h)| !h.released).map(|(c, _)| c.clone()).collect::<Vec<_>>();
        for channel in waiting {
            self.release(now, &channel, ready, out);
        }
    }

    fn release(&mut self, now: Timestamp, channel: &Uniqueid, ready: bool, out: &mut Vec<Command>) {
        let Some(hook) = self.hooks.get_mut(channel) else { return };
        let first = !std::mem::replace(&mut hook.released, true);
        // Asked again at this time unless the reply or StasisEnd comes first.
        hook.until = now + RELEASE_PAUSE * 5;
        out.push(Command::Ask(Request::Continue { channel: channel.clone() }));
        if first {
            self.emit(now, CallEventKind::HookReleased { ready }, out);
        }
    }

    /// States only move forward: events of two connections may arrive in any order.
    fn advance(&mut self, now: Timestamp, state: CallState, out: &mut Vec<Command>) {
        if state as u8 <= self.record.state as u8 || self.record.state.is_over() {
            return;
        }
        self.record.state = state;
        out.push(Command::SaveSession(Box::new(self.record.clone())));
        self.emit(now, CallEventKind::State { state }, out);
    }

    /// The session's first row and event.
    pub(crate) fn announce(&self, now: Timestamp, out: &mut Vec<Command>) {
        out.push(Command::SaveSession(Box::new(self.record.clone())));
        self.emit(now, CallEventKind::State { state: self.record.state }, out);
    }

    fn emit(&self, at: Timestamp, kind: CallEventKind, out: &mut Vec<Command>) {
        let SessionRow { tenant, pbx, id: session, .. } = self.record;
        out.push(Command::Emit(CallEvent { tenant, pbx, session, at, kind }));
    }

    fn forget_closed_taps(&mut self) {
        self.taps.retain(|t| !t.is_closed());
    }
}

/// What Asterisk leaves empty it does not tell.
pub(crate) fn told(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
