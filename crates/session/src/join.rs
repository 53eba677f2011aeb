//! Calls that change hands: bridges in which two calls become one, pick-up, and captures that follow the conversation.
//!
//! Asterisk gives all members of a bridge the Linkedid of the oldest. So a call that is joined with an older one goes on
//! there: its channels move to the older session one by one, and it ends with the last of them.

use aimg_core::{CallEventKind, SessionId, TapMode, Timestamp, Uniqueid};

use crate::{Command, Entered, Switchboard};

impl Switchboard {
    pub(crate) fn bridge_entered(&mut self, now: Timestamp, entered: &Entered, out: &mut Vec<Command>) {
        let Entered { bridge, joins_calls, channel, linkedid, swapped } = entered;
        // A capture's own bridges are nobody's conversation.
        if channel.is_minted() {
            return;
        }
        self.bridges.entered(bridge, *joins_calls, channel);
        let together = self.bridges.joined_with(channel);
        for member in &together {
            self.linked(now, member, linkedid, out);
        }
        if let Some(swapped) = swapped {
            self.with_channel(channel, |call| call.stands_in(swapped, channel));
        }
        let mut seamlessly = false;
        if let Some(swapped) = swapped {
            self.with_channel(channel, |call| seamlessly = call.is_seamless(swapped));
        }
        self.with_channel(channel, |call| call.enters(now, channel, bridge, seamlessly, out));
        for other in together.iter().filter(|other| *other != channel) {
            self.with_channel(other, |call| call.meets(now, other, channel, seamlessly, out));
            self.with_channel(channel, |call| call.meets(now, channel, other, seamlessly, out));
        }
        for member in std::iter::once(channel).chain(&together) {
            self.follow_channel(now, member, out);
        }
    }

    /// A channel has this Linkedid: that of the oldest channel it was ever bridged with.
    pub(crate) fn linked(&mut self, now: Timestamp, channel: &Uniqueid, linkedid: &Uniqueid, out: &mut Vec<Command>) {
        let Some(from) = self.by_channel.get(channel).copied() else { return };
        // Two tenants who talk share a Linkedid and nothing else: each goes on in a session of its own.
        let Some(tenant) = self.calls.get(&from).map(|call| call.record.tenant) else { return };
        let known = self.by_linkedid.get(&(linkedid.clone(), tenant)).and_then(|into| self.calls.get(into));
        let Some(older) = known.map(|call| &call.record).filter(|record| !record.state.is_over()) else {
            // Its oldest channel was never seen, or is forgotten: this is the call that whoever joins it later joins.
            if !linkedid.as_str().is_empty() {
                self.by_linkedid.insert((linkedid.clone(), tenant), from);
            }
            return;
        };
        let into = older.id;
        if into != from {
            self.join(now, channel, from, into, out);
        }
    }

    fn join(&mut self, now: Timestamp, channel: &Uniqueid, from: SessionId, into: SessionId, out: &mut Vec<Command>) {
        let Some(given) = self.calls.get_mut(&from).and_then(|call| call.give_leg(now, channel, into, out)) else {
            return;
        };
        self.belongs(channel, into);
        let was_captured = given.captured;
        self.with_session(into, |call| call.take_leg(now, given, from, out));
        self.follow(now, from, out);
        self.follow(now, into, out);
        if was_captured {
            self.begin_capture(now, into, out);
        }
    }

    /// A ringing channel's call was taken by another channel, which is bridged with the caller in a moment.
    pub(crate) fn picked_up(&mut self, now: Timestamp, target: &Uniqueid, by: &Uniqueid, out: &mut Vec<Command>) {
        let Some(into) = self.by_channel.get(target).copied() else { return };
        if self.are_strangers(target, by) {
            return;
        }
        let kind = CallEventKind::PickedUp { channel: target.clone(), by: by.clone() };
        self.with_session(into, |call| call.tell(now, kind, out));
        if let Some(from) = self.by_channel.get(by).copied().filter(|from| *from != into) {
            let mut first = false;
            self.with_session(from, |call| first = call.goes_on_in(now, into, out));
            if first {
                self.with_session(into, |call| call.tell(now, CallEventKind::JoinedFrom { from }, out));
            }
        }
    }

    /// What is told of a channel, without the channel of another tenant that it may be about.
    pub(crate) fn without_strangers(&self, channel: &Uniqueid, kind: CallEventKind) -> CallEventKind {
        match kind {
            CallEventKind::Unparked { channel: parked, by: Some(by) } if self.are_strangers(channel, &by) => {
                CallEventKind::Unparked { channel: parked, by: None }
            }
            CallEventKind::QueueAnswered { queue, channel: Some(by) } if self.are_strangers(channel, &by) => {
                CallEventKind::QueueAnswered { queue, channel: None }
            }
            kind => kind,
        }
    }

    pub(crate) fn follow_channel(&mut self, now: Timestamp, channel: &Uniqueid, out: &mut Vec<Command>) {
        if let Some(session) = self.by_channel.get(channel).copied() {
            self.follow(now, session, out);
        }
    }

    /// Moves a session's capture to a channel that goes on, where the one it hung on does not.
    pub(crate) fn follow(&mut self, now: Timestamp, session: SessionId, out: &mut Vec<Command>) {
        let Some(call) = self.calls.get_mut(&session) else { return };
        call.look_for_successor(now, &self.bridges);
        if call.move_capture(now, &self.bridges, out) && (self.config.tap_mode == TapMode::Ami || call.was_tapped()) {
            self.begin_capture(now, session, out);
        }
    }
}
