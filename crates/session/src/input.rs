//! What the world tells the reducer.

use std::net::SocketAddr;

use aimg_core::{
    CallEventKind, CaptureOrder, ChannelFacts, Direction, FailReason, FlowId, LegRow, Minted, QuotaKind, SessionId,
    SessionRow, Timestamp, Uniqueid,
};

use crate::{Request, Tenants};

/// Asterisk's channel state, as far as it matters to a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelState {
    /// Down, reserved, off hook, dialling: anything before an answer that tells nothing more.
    #[default]
    Early,
    /// 5: the far end rings.
    Ringing,
    /// 6: answered.
    Up,
}

impl ChannelState {
    /// From the number in AMI's `ChannelState`.
    pub const fn from_number(number: u8) -> Self {
        match number {
            5 => Self::Ringing,
            6 => Self::Up,
            _ => Self::Early,
        }
    }
}

/// A channel as Newchannel, a channel list or StasisStart shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelSeen {
    /// Its stable id.
    pub uniqueid: String,
    /// The id of the oldest channel of its call; ARI does not tell it, then it is empty.
    pub linkedid: String,
    /// `PJSIP/alice-00000001`.
    pub name: String,
    /// Its state.
    pub state: ChannelState,
    /// The dialplan context.
    pub context: String,
    /// The dialled number.
    pub exten: String,
    /// The caller's number, or empty.
    pub caller_number: String,
    /// The bridge it is in, if that is one that joins calls; only a list tells.
    pub bridge: Option<String>,
    /// The `tenantid` of its endpoint, or empty.
    pub tenantid: String,
    /// Its account code, or empty.
    pub accountcode: String,
    /// Names and values of the variables that Asterisk is set to tell.
    pub variables: Vec<(String, String)>,
    /// The argument after `tap` of the hook that it waits in, or empty.
    pub argument: String,
}

impl ChannelSeen {
    /// What rules of attribution may look at.
    pub(crate) fn facts(&self) -> ChannelFacts {
        ChannelFacts {
            hook: self.argument.clone(),
            tenantid: self.tenantid.clone(),
            variables: self.variables.clone(),
            channel: self.name.clone(),
            context: self.context.clone(),
            accountcode: self.accountcode.clone(),
            dialled: self.exten.clone(),
        }
    }
}

/// A session that the store has as not over when the gateway starts.
#[derive(Clone, Debug)]
pub struct KnownCall {
    /// Its row.
    pub record: SessionRow,
    /// Its channels, those that left included.
    pub legs: Vec<LegRow>,
    /// The number of the next part of its capture.
    pub next_part: u16,
    /// The part whose flows this run has taken over, both of them flowing.
    pub running: Option<RunningPart>,
}

/// A part of a capture that goes on from an earlier process.
#[derive(Clone, Debug)]
pub struct RunningPart {
    /// Its number.
    pub part: u16,
    /// The channel that is tapped.
    pub channel: Uniqueid,
}

/// A channel in a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// The bridge.
    pub bridge: String,
    /// Whether all its members are one call from here on, and share a Linkedid; those of a conference or a car park do not.
    pub joins_calls: bool,
    /// Who entered.
    pub channel: Uniqueid,
    /// The Linkedid it has there.
    pub linkedid: Uniqueid,
    /// Whose place it took, if anybody's.
    pub swapped: Option<Uniqueid>,
}

/// How a request to Asterisk went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done. External media also tells where its RTP will come from.
    Done {
        /// The source address of the RTP to come.
        rtp_source: Option<SocketAddr>,
    },
    /// The object, or the channel it was for, does not exist (404).
    Gone,
    /// Asterisk said no, or the request surely did not reach it.
    Refused(String),
    /// The request may have been executed: a time-out, a cut connection.
    Unknown(String),
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Sessions of an earlier run that are not over; comes before anything else.
    Known(Vec<KnownCall>),
    /// AMI is connected: these are all the channels there are.
    AmiUp {
        /// The whole list.
        channels: Vec<ChannelSeen>,
        /// Asterisk started anew since the last list: channels of before are gone even if an id repeats.
        restarted: bool,
    },
    /// AMI is lost; calls go on, their ends will be found out at the next [`Input::AmiUp`].
    AmiDown,
    /// AMI Newchannel.
    ChannelNew(ChannelSeen),
    /// AMI Newstate.
    ChannelStateChanged {
        /// The channel.
        channel: Uniqueid,
        /// The state it is in.
        state: ChannelState,
    },
    /// AMI Rename: the channel has another name.
    ChannelRenamed {
        /// The channel.
        channel: Uniqueid,
        /// The name it has.
        name: String,
    },
    /// AMI BridgeEnter.
    BridgeEntered(Entered),
    /// AMI BridgeLeave.
    BridgeLeft {
        /// The bridge.
        bridge: String,
        /// Who left.
        channel: Uniqueid,
    },
    /// AMI Pickup: a ringing channel's call was taken.
    PickedUp {
        /// The channel that rang.
        target: Uniqueid,
        /// The channel by which it was taken.
        by: Uniqueid,
    },
    /// Something that is only to be told of the call of this channel.
    Told {
        /// The channel.
        channel: Uniqueid,
        /// What happened.
        kind: CallEventKind,
    },
    /// AMI Hangup: the channel is gone.
    ChannelGone {
        /// The channel.
        channel: Uniqueid,
        /// Q.850 cause.
        cause: u16,
    },
    /// AMI Shutdown: every channel of this PBX dies.
    PbxDown(FailReason),
    /// ARI is connected: these are all objects there that some gateway created.
    AriUp {
        /// Their ids.
        minted: Vec<Minted>,
    },
    /// ARI is lost: captures that run go on, no new one can be attached until [`Input::AriUp`].
    AriDown,
    /// A channel of a call entered our hook, or was found waiting in it.
    HookEntered(ChannelSeen),
    /// A channel of a call left the hook: released, or hung up.
    HookLeft(Uniqueid),
    /// A snoop or external media channel of ours entered our application.
    TapEntered(Minted),
    /// A snoop or external media channel of ours left, or a bridge of ours is gone.
    TapGone(Minted),
    /// The answer to a request.
    Reply {
        /// What was asked.
        to: Request,
        /// How it went.
        outcome: Outcome,
    },
    /// Both flows of a capture are open and being read, or why not.
    CaptureOpened {
        /// The session.
        session: SessionId,
        /// Its part.
        part: u16,
        /// The addresses to which Asterisk is to send, caller and callee; one sentence on failure.
        result: Result<[SocketAddr; 2], String>,
    },
    /// A flow takes packets from its source from here on, or why not.
    FlowExpecting {
        /// The flow.
        flow: FlowId,
        /// One sentence on failure.
        result: Result<(), String>,
    },
    /// The first packet of a flow is here.
    FlowStarted {
        /// The flow.
        flow: FlowId,
        /// When the kernel received it.
        first_packet_at: Timestamp,
    },
    /// A capture is closed and its recording finished, or kept in the spool with the reason.
    CaptureClosed {
        /// The session.
        session: SessionId,
        /// Its part.
        part: u16,
        /// Whether the recording is complete; one sentence where it could not be finished.
        result: Result<bool, String>,
    },
    /// A capture was not begun: the call's tenant has reached a bound.
    CaptureDenied {
        /// The session.
        session: SessionId,
        /// Its part.
        part: u16,
        /// Which bound.
        quota: QuotaKind,
    },
    /// A person starts, stops, pauses or resumes the recording of a session.
    CaptureOrdered {
        /// The session.
        session: SessionId,
        /// What is asked.
        order: CaptureOrder,
    },
    /// Whose calls are whose, and which are captured, from the next call on.
    Tenants(Tenants),
    /// The gateway stops: every capture is taken down, nothing new begins. Calls go on without us and stay open in the
    /// store, so that the next run adopts them.
    Stop,
    /// Time passed; see [`crate::Switchboard::next_deadline`].
    Tick,
}

impl Outcome {
    /// Done, with nothing to tell.
    pub const DONE: Self = Self::Done { rtp_source: None };

    /// The sentence of a failure.
    pub(crate) fn failure(&self, what: &str, direction: Direction) -> Option<String> {
        match self {
            Self::Done { .. } => None,
            Self::Gone => Some(format!("{what} of the {direction}: the channel or bridge is gone")),
            Self::Refused(why) | Self::Unknown(why) => Some(format!("{what} of the {direction}: {why}")),
        }
    }
}
