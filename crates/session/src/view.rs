//! A call as somebody sees it who is to act upon it.

use aimg_core::{SessionRow, Uniqueid};

/// Where the capture of a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureSeen {
    /// There is none.
    Nothing {
        /// Because a person asked for that.
        held_back: bool,
    },
    /// It was asked of Asterisk.
    Attaching,
    /// Both directions flow.
    Flowing {
        /// Its part.
        part: u16,
    },
    /// It has ended, and Asterisk may still send of it.
    Leaving,
}

/// A channel of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegSeen {
    /// Its stable id.
    pub channel: Uniqueid,
    /// `PJSIP/alice-00000001`.
    pub name: String,
    /// Answered.
    pub up: bool,
    /// The bridge it is in.
    pub bridge: Option<String>,
    /// It waits in the hook.
    pub in_hook: bool,
}

/// A session that is not over.
#[derive(Clone, Debug)]
pub struct CallSeen {
    /// Its row as it is.
    pub record: SessionRow,
    /// The channels that have not left, in the order of their ids.
    pub channels: Vec<LegSeen>,
    /// The session's first channel, or, when that has left, the one in whose place it is captured.
    pub caller: Option<Uniqueid>,
    /// Who is in a bridge with the caller.
    pub company: Vec<Uniqueid>,
    /// Where its capture stands.
    pub capture: CaptureSeen,
}

impl CallSeen {
    /// A channel that has not left.
    pub fn leg(&self, channel: &Uniqueid) -> Option<&LegSeen> {
        self.channels.iter().find(|leg| leg.channel == *channel)
    }

    /// Whom the caller talks with, or is about to: who is in a bridge with it, else the only other channel that is
    /// answered, else the only other one. Nothing where that is not one channel.
    pub fn callee(&self) -> Option<&LegSeen> {
        let only = |found: Vec<&'_ LegSeen>| if let [one] = found[..] { Some(one.channel.clone()) } else { None };
        let others = || self.channels.iter().filter(|leg| Some(&leg.channel) != self.caller.as_ref());
        let talking = only(others().filter(|leg| self.company.contains(&leg.channel)).collect());
        let up = || only(others().filter(|leg| leg.up).collect());
        let callee = talking.or_else(up).or_else(|| only(others().collect()))?;
        self.leg(&callee)
    }
}

#[cfg(test)]
mod tests {
    use aimg_core::{CallDirection, CallState, SessionId, TenantId, Timestamp};

    use super::*;

    fn call(legs: &[(&str, bool)], company: &[&str]) -> CallSeen {
        let nil = uuid::Uuid::nil();
        let record = SessionRow {
            id: SessionId::from_uuid(nil),
            tenant: TenantId::from_uuid(nil),
            pbx: aimg_core::PbxId::from_uuid(nil),
            node: "n1".parse().unwrap(),
            uniqueid: Uniqueid::new("1"),
            linkedid: Uniqueid::new("1"),
            state: CallState::Detected,
            call_direction: CallDirection::Inbound,
            caller_number: None,
            dialled_number: None,
            context: None,
            started_at: Timestamp::default(),
            answered_at: None,
            ended_at: None,
            hangup_cause: None,
            captured: true,
        };
        let leg = |(id, up): &(&str, bool)| LegSeen {
            channel: Uniqueid::new(*id),
            name: String::new(),
            up: *up,
            bridge: None,
            in_hook: false,
        };
        CallSeen {
            record,
            channels: legs.iter().map(leg).collect(),
            caller: Some(Uniqueid::new("1")),
            company: company.iter().map(|id| Uniqueid::new(*id)).collect(),
            capture: CaptureSeen::Attaching,
        }
    }

    #[test]
    fn the_callee_is_one_channel_or_nobody() {
        for (legs, company, expected) in [
            (&[("1", true)][..], &[][..], None),
            (&[("1", false), ("2", false)], &[], Some("2")),
            (&[("1", false), ("2", false), ("3", false)], &[], None),
            (&[("1", true), ("2", false), ("3", true)], &[], Some("3")),
            (&[("1", true), ("2", true), ("3", true)], &["3"], Some("3")),
            (&[("1", true), ("2", true), ("3", true)], &["2", "3"], None),
        ] {
            let call = call(legs, company);
            assert_eq!(call.callee().map(|leg| leg.channel.as_str()), expected, "{legs:?} {company:?}");
        }
    }
}
