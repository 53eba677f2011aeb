//! Queues (app_queue) and agents: who waits, who answers, and the lists that `QueueStatus` and `QueueSummary` give.

use std::time::Duration;

use aimg_core::Uniqueid;
use smol_str::SmolStr;

use super::Event;
use super::fields::{DeviceState, Fields, debug_shows};
use crate::ChannelSnapshot;

/// A caller of a queue came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueCaller {
    /// Who.
    pub channel: ChannelSnapshot,
    /// The queue.
    pub queue: SmolStr,
    /// The caller's place in it; the first is 1.
    pub position: u32,
    /// The place at which the caller joined; only in [`Event::QueueCallerAbandon`].
    pub original_position: u32,
    /// Callers in the queue; not in [`Event::QueueCallerAbandon`].
    pub count: u32,
    /// How long the caller waited; only in [`Event::QueueCallerAbandon`].
    pub hold_time: Duration,
}

/// A member of a queue.
#[derive(Clone, PartialEq, Eq)]
pub struct QueueMember {
    /// The queue.
    pub queue: SmolStr,
    /// The member's name.
    pub name: SmolStr,
    /// What is dialled to reach the member.
    pub interface: SmolStr,
    /// The device whose state is the member's.
    pub state_interface: SmolStr,
    /// How it became one: `dynamic`, `realtime` or `static`.
    pub membership: SmolStr,
    /// Members of a higher penalty are called later.
    pub penalty: u32,
    /// Calls taken.
    pub calls_taken: u32,
    /// When the last call ended, in seconds since 1970; 0 when there was none.
    pub last_call_s: i64,
    /// Whether a call of the queue is going on.
    pub in_call: bool,
    /// How the device is doing.
    pub status: DeviceState,
    /// Whether the member takes no calls.
    pub paused: bool,
    /// Why not.
    pub paused_reason: SmolStr,
}
debug_shows!(QueueMember: queue, membership, penalty, calls_taken, in_call, status, paused);

/// A queue's caller and a member that is called, answers, or does not.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentCall {
    /// The caller; none in an [`Event::AgentComplete`] that Asterisk raised after the caller's channel was gone.
    pub caller: Option<ChannelSnapshot>,
    /// The member's channel.
    pub agent: Option<ChannelSnapshot>,
    /// The queue.
    pub queue: SmolStr,
    /// The member's name.
    pub member_name: SmolStr,
    /// What was dialled to reach the member.
    pub interface: SmolStr,
    /// How long the member's phone rang; in [`Event::AgentConnect`] and [`Event::AgentRingNoAnswer`]. Asterisk tells whole
    /// seconds in the first and milliseconds in the second.
    pub ring_time: Duration,
    /// How long the caller had waited; in [`Event::AgentConnect`] and [`Event::AgentComplete`].
    pub hold_time: Duration,
    /// How long they talked; in [`Event::AgentComplete`].
    pub talk_time: Duration,
    /// Who ended it, in [`Event::AgentComplete`]: `caller`, `agent` or `transfer`.
    pub reason: SmolStr,
}
debug_shows!(AgentCall: caller, agent, queue, ring_time, hold_time, talk_time, reason);

/// An agent of app_agent_pool logged in or off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// The agent's channel.
    pub channel: ChannelSnapshot,
    /// The agent's id in agents.conf.
    pub agent: SmolStr,
    /// How long the agent was logged in; zero at the login.
    pub logged_in: Duration,
}

/// A queue, as `QueueStatus` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueParams {
    /// The queue.
    pub queue: SmolStr,
    /// How many callers may wait; any number when 0.
    pub callers_max: u32,
    /// Whom it calls first, such as `ringall`.
    pub strategy: SmolStr,
    /// Callers that wait.
    pub calls: u32,
    /// How long callers wait on average.
    pub hold_time: Duration,
    /// How long they talk on average.
    pub talk_time: Duration,
    /// Calls that were answered.
    pub completed: u32,
    /// Calls whose callers gave up.
    pub abandoned: u32,
    /// The wait that callers should not exceed.
    pub service_level: Duration,
    /// Its weight against other queues with the same members.
    pub weight: u32,
}

/// A caller that waits, as `QueueStatus` lists it.
#[derive(Clone, PartialEq, Eq)]
pub struct QueueEntry {
    /// The queue.
    pub queue: SmolStr,
    /// The caller's place in it; the first is 1.
    pub position: u32,
    /// The caller's channel.
    pub uniqueid: Uniqueid,
    /// The channel's name.
    pub channel: SmolStr,
    /// The caller's number.
    pub caller_number: SmolStr,
    /// The caller's name.
    pub caller_name: SmolStr,
    /// How long the caller has waited.
    pub wait: Duration,
}
debug_shows!(QueueEntry: queue, position, uniqueid, channel, wait);

/// A queue, as `QueueSummary` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSummary {
    /// The queue.
    pub queue: SmolStr,
    /// Members whose device is reachable.
    pub logged_in: u32,
    /// Members that could take a call.
    pub available: u32,
    /// Callers that wait.
    pub callers: u32,
    /// How long callers wait on average.
    pub hold_time: Duration,
    /// How long they talk on average.
    pub talk_time: Duration,
    /// How long the one waits who waits longest.
    pub longest_hold_time: Duration,
}

pub(super) fn read(name: &str, f: Fields<'_>) -> Option<Event> {
    Some(match name {
        "QueueCallerJoin" => Event::QueueCallerJoin(caller(f)?),
        "QueueCallerLeave" => Event::QueueCallerLeave(caller(f)?),
        "QueueCallerAbandon" => Event::QueueCallerAbandon(caller(f)?),
        "QueueMemberStatus" => Event::QueueMemberStatus(member(f)?),
        "QueueMemberAdded" => Event::QueueMemberAdded(member(f)?),
        "QueueMemberRemoved" => Event::QueueMemberRemoved(member(f)?),
        "QueueMemberPause" => Event::QueueMemberPause(member(f)?),
        "QueueMemberPenalty" => Event::QueueMemberPenalty(member(f)?),
        "QueueMember" => Event::QueueMember(member(f)?),
        "AgentCalled" => Event::AgentCalled(agent_call(f, Duration::from_secs)?),
        "AgentConnect" => Event::AgentConnect(agent_call(f, Duration::from_secs)?),
        "AgentComplete" => Event::AgentComplete(agent_call(f, Duration::from_secs)?),
        "AgentRingNoAnswer" => Event::AgentRingNoAnswer(agent_call(f, Duration::from_millis)?),
        "AgentDump" => Event::AgentDump(agent_call(f, Duration::from_secs)?),
        "AgentLogin" => Event::AgentLogin(agent(f)?),
        "AgentLogoff" => Event::AgentLogoff(agent(f)?),
        "QueueParams" => Event::QueueParams(Box::new(params(f)?)),
        "QueueEntry" => Event::QueueEntry(Box::new(entry(f)?)),
        "QueueSummary" => Event::QueueSummary(Box::new(summary(f)?)),
        _ => return None,
    })
}

fn caller(f: Fields<'_>) -> Option<Box<QueueCaller>> {
    Some(Box::new(QueueCaller {
        channel: f.channel()?,
        queue: f.optional("Queue")?,
        position: f.number("Position"),
        original_position: f.number("OriginalPosition"),
        count: f.number("Count"),
        hold_time: f.seconds("HoldTime"),
    }))
}

fn member(f: Fields<'_>) -> Option<Box<QueueMember>> {
    Some(Box::new(QueueMember {
        queue: f.optional("Queue")?,
        // The list's items call the same two by other names than the events.
        name: f.optional("MemberName").unwrap_or_else(|| f.text("Name")),
        interface: f.optional("Interface").or_else(|| f.optional("Location"))?,
        state_interface: f.text("StateInterface"),
        membership: f.text("Membership"),
        penalty: f.number("Penalty"),
        calls_taken: f.number("CallsTaken"),
        last_call_s: f.number("LastCall"),
        in_call: f.flag("InCall"),
        status: DeviceState::from_number(f.number("Status")),
        paused: f.flag("Paused"),
        paused_reason: f.text("PausedReason"),
    }))
}

fn agent_call(f: Fields<'_>, ring_time: fn(u64) -> Duration) -> Option<Box<AgentCall>> {
    Some(Box::new(AgentCall {
        caller: f.channel(),
        agent: f.channel_of("Dest"),
        queue: f.optional("Queue")?,
        member_name: f.text("MemberName"),
        interface: f.text("Interface"),
        ring_time: ring_time(f.number("RingTime")),
        hold_time: f.seconds("HoldTime"),
        talk_time: f.seconds("TalkTime"),
        reason: f.text("Reason"),
    }))
}

fn agent(f: Fields<'_>) -> Option<Box<Agent>> {
    Some(Box::new(Agent { channel: f.channel()?, agent: f.optional("Agent")?, logged_in: f.seconds("Logintime") }))
}

fn params(f: Fields<'_>) -> Option<QueueParams> {
    Some(QueueParams {
        queue: f.optional("Queue")?,
        callers_max: f.number("Max"),
        strategy: f.text("Strategy"),
        calls: f.number("Calls"),
        hold_time: f.seconds("Holdtime"),
        talk_time: f.seconds("TalkTime"),
        completed: f.number("Completed"),
        abandoned: f.number("Abandoned"),
        service_level: f.seconds("ServiceLevel"),
        weight: f.number("Weight"),
    })
}

fn entry(f: Fields<'_>) -> Option<QueueEntry> {
    Some(QueueEntry {
        queue: f.optional("Queue")?,
        position: f.number("Position"),
        uniqueid: f.uniqueid("Uniqueid")?,
        channel: f.text("Channel"),
        caller_number: f.text("CallerIDNum"),
        caller_name: f.unescaped("CallerIDName"),
        wait: f.seconds("Wait"),
    })
}

fn summary(f: Fields<'_>) -> Option<QueueSummary> {
    Some(QueueSummary {
        queue: f.optional("Queue")?,
        logged_in: f.number("LoggedIn"),
        available: f.number("Available"),
        callers: f.number("Callers"),
        hold_time: f.seconds("HoldTime"),
        talk_time: f.seconds("TalkTime"),
        longest_hold_time: f.seconds("LongestHoldTime"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::{event, with_id};

    #[test]
    fn callers_of_a_queue_are_typed() {
        let told = |position, original_position, count, hold_s| {
            let (channel, queue, hold_time) = (with_id("1"), "sales".into(), Duration::from_secs(hold_s));
            Box::new(QueueCaller { channel, queue, position, original_position, count, hold_time })
        };
        let cases = [
            ("QueueCallerJoin", "Position: 2\r\nCount: 3\r\n", Event::QueueCallerJoin(told(2, 0, 3, 0))),
            ("QueueCallerLeave", "Position: 1\r\nCount: 2\r\n", Event::QueueCallerLeave(told(1, 0, 2, 0))),
            (
                "QueueCallerAbandon",
                "Position: 1\r\nOriginalPosition: 2\r\nHoldTime: 9\r\n",
                Event::QueueCallerAbandon(told(1, 2, 0, 9)),
            ),
        ];
        for (name, more, expected) in cases {
            assert_eq!(event(&format!("Event: {name}\r\nUniqueid: 1\r\nQueue: sales\r\n{more}")), expected);
        }
    }

    #[test]
    fn members_are_typed_in_events_and_lists() {
        let told = || {
            Box::new(QueueMember {
                queue: "sales".into(),
                name: "Ann".into(),
                interface: "PJSIP/ann".into(),
                state_interface: "PJSIP/ann".into(),
                membership: "dynamic".into(),
                penalty: 3,
                calls_taken: 4,
                last_call_s: 1_763_900_000,
                in_call: true,
                status: DeviceState::InUse,
                paused: true,
                paused_reason: "lunch".into(),
            })
        };
        let rest = "Queue: sales\r\nStateInterface: PJSIP/ann\r\nMembership: dynamic\r\nPenalty: 3\r\nCallsTaken: 4\r\n\
                    LastCall: 1763900000\r\nInCall: 1\r\nStatus: 2\r\nPaused: 1\r\nPausedReason: lunch\r\n";
        let names = "MemberName: Ann\r\nInterface: PJSIP/ann\r\n";
        let cases = [
            ("QueueMemberStatus", names, Event::QueueMemberStatus(told())),
            ("QueueMemberAdded", names, Event::QueueMemberAdded(told())),
            ("QueueMemberRemoved", names, Event::QueueMemberRemoved(told())),
            ("QueueMemberPause", names, Event::QueueMemberPause(told())),
            ("QueueMemberPenalty", names, Event::QueueMemberPenalty(told())),
            ("QueueMember", "Name: Ann\r\nLocation: PJSIP/ann\r\n", Event::QueueMember(told())),
        ];
        for (name, names, expected) in cases {
            assert_eq!(event(&format!("Event: {name}\r\n{names}{rest}")), expected);
        }
    }

    #[test]
    fn calls_of_agents_are_typed() {
        let told = |ring_ms, hold_s, talk_s, reason: &str| {
            Box::new(AgentCall {
                caller: Some(with_id("1")),
                agent: Some(with_id("2")),
                queue: "sales".into(),
                member_name: "Ann".into(),
                interface: "PJSIP/ann".into(),
                ring_time: Duration::from_millis(ring_ms),
                hold_time: Duration::from_secs(hold_s),
                talk_time: Duration::from_secs(talk_s),
                reason: reason.into(),
            })
        };
        let cases = [
            ("AgentCalled", "", Event::AgentCalled(told(0, 0, 0, ""))),
            ("AgentConnect", "RingTime: 2\r\nHoldTime: 5\r\n", Event::AgentConnect(told(2000, 5, 0, ""))),
            (
                "AgentComplete",
                "HoldTime: 5\r\nTalkTime: 60\r\nReason: agent\r\n",
                Event::AgentComplete(told(0, 5, 60, "agent")),
            ),
            ("AgentRingNoAnswer", "RingTime: 15000\r\n", Event::AgentRingNoAnswer(told(15_000, 0, 0, ""))),
            ("AgentDump", "", Event::AgentDump(told(0, 0, 0, ""))),
        ];
        for (name, more, expected) in cases {
            let text = format!(
                "Event: {name}\r\nUniqueid: 1\r\nDestUniqueid: 2\r\nQueue: sales\r\nMemberName: Ann\r\n\
                 Interface: PJSIP/ann\r\n{more}"
            );
            assert_eq!(event(&text), expected);
        }
        let agent =
            |s| Box::new(Agent { channel: with_id("1"), agent: "1001".into(), logged_in: Duration::from_secs(s) });
        assert_eq!(event("Event: AgentLogin\r\nUniqueid: 1\r\nAgent: 1001\r\n"), Event::AgentLogin(agent(0)));
        assert_eq!(
            event("Event: AgentLogoff\r\nUniqueid: 1\r\nAgent: 1001\r\nLogintime: 8\r\n"),
            Event::AgentLogoff(agent(8))
        );
    }

    #[test]
    fn lists_of_queues_are_typed() {
        let Event::QueueParams(queue) = event(
            "Event: QueueParams\r\nQueue: sales\r\nMax: 10\r\nStrategy: ringall\r\nCalls: 1\r\nHoldtime: 2\r\nTalkTime: 3\r\n\
             Completed: 4\r\nAbandoned: 5\r\nServiceLevel: 60\r\nServicelevelPerf: 0.0\r\nWeight: 6\r\n",
        ) else {
            panic!("no queue")
        };
        assert_eq!((queue.callers_max, queue.calls, queue.completed, queue.abandoned, queue.weight), (10, 1, 4, 5, 6));
        assert_eq!(queue.service_level, Duration::from_secs(60));
        let Event::QueueEntry(entry) = event(
            "Event: QueueEntry\r\nQueue: sales\r\nPosition: 1\r\nChannel: PJSIP/x\r\nUniqueid: 1.1\r\nCallerIDNum: 100\r\n\
             CallerIDName: A\r\nWait: 12\r\n",
        ) else {
            panic!("no entry")
        };
        assert_eq!((entry.position, entry.wait, entry.caller_number.as_str()), (1, Duration::from_secs(12), "100"));
        assert!(!format!("{entry:?}").contains("100"));
        let Event::QueueSummary(summary) = event(
            "Event: QueueSummary\r\nQueue: sales\r\nLoggedIn: 3\r\nAvailable: 2\r\nCallers: 1\r\nLongestHoldTime: 8\r\n",
        ) else {
            panic!("no summary")
        };
        assert_eq!((summary.logged_in, summary.available, summary.callers), (3, 2, 1));
        assert_eq!(summary.longest_hold_time, Duration::from_secs(8));
    }
}
