//! Channels of a shared PBX that are nobody's, or of a tenant that is not followed here: they make no session and are not
//! captured, and the hook lets them go at once.
//!
//! What a channel shows at its Newchannel decides whose it is. One that is nobody's then is asked once more, when it enters
//! the hook: the hook's argument and the variables that the dialplan has set may say it. Whose a channel is once, it stays.

use std::collections::HashMap;
use std::time::Duration;

use aimg_core::{SessionId, TenantId, Timestamp, Uniqueid};

use crate::tenants::Standing;
use crate::{ChannelSeen, Command, Switchboard, Tenants};

/// How long a channel may be nobody's before that is told: the dialplan may be about to say in the hook whose it is.
const TOLD_AFTER: Duration = Duration::from_secs(2);

/// Why a channel is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnclaimedWhy {
    /// No rule claims it.
    NoRule,
    /// The hook was given an argument that no rule knows, or that of another tenant than the channel's.
    WrongArgument,
}

impl UnclaimedWhy {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::NoRule, Self::WrongArgument];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoRule => "no_rule",
            Self::WrongArgument => "wrong_argument",
        }
    }
}

/// A channel that was not captured because it is nobody's. No number of a party is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclaimed {
    /// When that was clear.
    pub at: Timestamp,
    /// The channel's technology, such as `PJSIP`.
    pub technology: String,
    /// The dialplan context in which it was.
    pub context: String,
    /// Why it is nobody's.
    pub why: UnclaimedWhy,
}

impl Unclaimed {
    fn of(seen: &ChannelSeen, at: Timestamp, why: UnclaimedWhy) -> Self {
        let technology = seen.name.split_once('/').map_or("", |(technology, _)| technology);
        Self { at, technology: technology.to_owned(), context: seen.context.clone(), why }
    }
}

/// A channel that is there and of no session.
#[derive(Debug)]
struct Outsider {
    /// ARI does not tell it in the hook.
    linkedid: String,
    /// Whose it is, if anybody's, or would be without its wrong argument.
    of: Option<TenantId>,
    /// What is told of it, and when.
    untold: Option<(Timestamp, Unclaimed)>,
    /// The hook's argument was wrong, and that is told.
    refused: bool,
}

/// All of them: as many as Asterisk has at most.
#[derive(Debug, Default)]
pub(crate) struct Outsiders(HashMap<Uniqueid, Outsider>);

impl Outsiders {
    pub(crate) fn contains(&self, channel: &Uniqueid) -> bool {
        self.0.contains_key(channel)
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.0.values().filter_map(|outsider| outsider.untold.as_ref()).map(|(at, _)| *at).min()
    }

    /// Tells of those of which it is time to.
    pub(crate) fn tick(&mut self, now: Timestamp, out: &mut Vec<Command>) {
        for outsider in self.0.values_mut() {
            let due = outsider.untold.take_if(|(at, _)| *at <= now);
            out.extend(due.map(|(_, unclaimed)| Command::Unclaimed(unclaimed)));
        }
    }

    /// Forgets a channel that is gone, and tells of it if nobody has yet.
    pub(crate) fn gone(&mut self, channel: &Uniqueid, out: &mut Vec<Command>) {
        let untold = self.0.remove(channel).and_then(|outsider| outsider.untold);
        out.extend(untold.map(|(_, unclaimed)| Command::Unclaimed(unclaimed)));
    }

    /// Forgets all but these.
    pub(crate) fn retain(&mut self, is_there: impl Fn(&Uniqueid) -> bool, out: &mut Vec<Command>) {
        let gone: Vec<Uniqueid> = self.0.keys().filter(|channel| !is_there(channel)).cloned().collect();
        gone.iter().for_each(|channel| self.gone(channel, out));
    }

    /// A channel is of a session.
    pub(crate) fn claimed(&mut self, channel: &Uniqueid) {
        self.0.remove(channel);
    }
}

/// Where a channel belongs.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// To a session that is there.
    Leg(SessionId),
    /// To one that begins with it, of this tenant.
    First(TenantId),
    /// To none: of this tenant, which is not followed here.
    Unserved(TenantId),
    /// To none: nobody's.
    Nobodys(UnclaimedWhy),
}

impl Switchboard {
    /// Where a channel belongs that is of no session yet. A channel that no rule claims is part of the call that it came
    /// with, unless that is a call of two tenants: then it is of neither.
    fn place(&self, seen: &ChannelSeen) -> Place {
        let ids = [&seen.uniqueid, self.linkedid_of(seen)].map(Uniqueid::new);
        let session_of =
            |tenant: TenantId| ids.iter().find_map(|id| self.by_linkedid.get(&(id.clone(), tenant)).copied());
        // Whose it was when it was first seen, it stays.
        let before = self.outsiders.0.get(&Uniqueid::new(&seen.uniqueid)).and_then(|outsider| outsider.of);
        if let Some(tenant) = before {
            let contradicted = self.config.tenants.contradicts(seen, tenant);
            return if contradicted { Place::Nobodys(UnclaimedWhy::WrongArgument) } else { Place::Unserved(tenant) };
        }
        match self.config.tenants.standing(seen) {
            Standing::Served(tenant) => session_of(tenant).map_or(Place::First(tenant), Place::Leg),
            Standing::Unserved(tenant) => Place::Unserved(tenant),
            Standing::WrongArgument => Place::Nobodys(UnclaimedWhy::WrongArgument),
            Standing::Nobody => {
                let mut with: Vec<_> = self.config.tenants.served().into_iter().filter_map(session_of).collect();
                with.dedup();
                match with[..] {
                    [session] => Place::Leg(session),
                    _ => Place::Nobodys(UnclaimedWhy::NoRule),
                }
            }
        }
    }

    /// Whether a session has this Linkedid.
    pub(crate) fn knows_linkedid(&self, linkedid: &str) -> bool {
        let is_of = |tenant| self.by_linkedid.contains_key(&(Uniqueid::new(linkedid), tenant));
        self.config.tenants.served().into_iter().any(is_of)
    }

    /// Asterisk's word for a channel's call; empty when nobody tells.
    pub(crate) fn linkedid_of<'a>(&'a self, seen: &'a ChannelSeen) -> &'a str {
        let known = self.outsiders.0.get(&Uniqueid::new(&seen.uniqueid)).map(|outsider| outsider.linkedid.as_str());
        known.filter(|_| seen.linkedid.is_empty()).unwrap_or(&seen.linkedid)
    }

    /// What Asterisk calls a channel's call, as its tenant may know it: on a shared PBX that can be another tenant's channel.
    pub(crate) fn linkedid_for(&self, seen: &ChannelSeen) -> Uniqueid {
        let is_dedicated = matches!(self.config.tenants, Tenants::Dedicated { .. });
        Uniqueid::new(if is_dedicated && !seen.linkedid.is_empty() { &seen.linkedid } else { &seen.uniqueid })
    }

    /// Puts a channel where it belongs.
    pub(crate) fn put(&mut self, now: Timestamp, seen: &ChannelSeen, found: bool, out: &mut Vec<Command>) {
        match self.place(seen) {
            Place::Leg(session) => {
                self.belongs(&Uniqueid::new(&seen.uniqueid), session);
                self.with_session(session, |call| call.leg_joined(now, seen, out));
            }
            Place::First(tenant) => self.call_new(now, seen, tenant, found, out),
            Place::Unserved(tenant) => {
                let outsider = Outsider { linkedid: String::new(), of: Some(tenant), untold: None, refused: false };
                self.outsiders.0.entry(Uniqueid::new(&seen.uniqueid)).or_insert(outsider);
            }
            Place::Nobodys(why) => self.stays_nobodys(now, seen, why, out),
        }
    }

    fn stays_nobodys(&mut self, now: Timestamp, seen: &ChannelSeen, why: UnclaimedWhy, out: &mut Vec<Command>) {
        let tenants = &self.config.tenants;
        let outsider = self.outsiders.0.entry(Uniqueid::new(&seen.uniqueid)).or_insert_with(|| Outsider {
            linkedid: seen.linkedid.clone(),
            of: tenants.named_without_hook(seen),
            untold: Some((now + TOLD_AFTER, Unclaimed::of(seen, now, why))),
            refused: false,
        });
        if why == UnclaimedWhy::WrongArgument && !std::mem::replace(&mut outsider.refused, true) {
            outsider.untold = None;
            out.push(Command::Unclaimed(Unclaimed::of(seen, now, why)));
        }
    }

    /// The hook's argument says that a channel is another tenant's than it is: nobody is to have it. The call goes on.
    pub(crate) fn refuse_hook(
        &mut self,
        now: Timestamp,
        seen: &ChannelSeen,
        session: SessionId,
        out: &mut Vec<Command>,
    ) {
        out.push(Command::Unclaimed(Unclaimed::of(seen, now, UnclaimedWhy::WrongArgument)));
        let channel = Uniqueid::new(&seen.uniqueid);
        self.with_session(session, |call| call.hook_refused(now, &channel, out));
    }

    /// The tenant whose a channel is.
    pub(crate) fn tenant_of(&self, channel: &Uniqueid) -> Option<TenantId> {
        let of_call = self.by_channel.get(channel).and_then(|session| self.calls.get(session));
        of_call.map(|call| call.record.tenant).or_else(|| self.outsiders.0.get(channel)?.of)
    }

    /// Whether a channel is of another tenant than `one`, or may yet turn out to be.
    pub(crate) fn are_strangers(&self, one: &Uniqueid, other: &Uniqueid) -> bool {
        let of_two = matches!((self.tenant_of(one), self.tenant_of(other)), (Some(one), Some(other)) if one != other);
        of_two || self.outsiders.contains(other)
    }
}
