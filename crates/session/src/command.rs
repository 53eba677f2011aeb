//! What the reducer wants done.

use std::net::SocketAddr;

use aimg_core::{CallEvent, CaptureOrder, FlowId, LegRow, Minted, SessionId, SessionRow, Timestamp, Uniqueid};

use crate::Unclaimed;

/// A request to Asterisk whose outcome comes back as [`crate::Input::Reply`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Create a mixing bridge.
    Bridge {
        /// Its id.
        id: Minted,
    },
    /// Create a snoop channel; its id tells the direction.
    Snoop {
        /// Its id.
        id: Minted,
        /// The channel that is listened to.
        target: Uniqueid,
    },
    /// Create an external media channel.
    ExternalMedia {
        /// Its id.
        id: Minted,
        /// Our address, to which Asterisk sends.
        to: SocketAddr,
    },
    /// Put a direction's snoop and external media into its bridge.
    Join {
        /// The bridge.
        bridge: Minted,
        /// Snoop, external media.
        channels: [Minted; 2],
    },
    /// Delete an object of ours.
    Remove {
        /// Its id.
        id: Minted,
    },
    /// Look whether a channel of a call is still there: [`crate::Outcome::Gone`] when it is not.
    Look {
        /// The channel.
        channel: Uniqueid,
    },
    /// Let a channel that waits in the hook go on in the dialplan.
    Continue {
        /// The channel.
        channel: Uniqueid,
    },
}

/// Something for the gateway to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Ask Asterisk.
    Ask(Request),
    /// Open both flows of a session's part: the sockets are read before Asterisk is asked for media.
    BeginCapture {
        /// The session as it is.
        session: Box<SessionRow>,
        /// The part of its capture.
        part: u16,
        /// The channel that is tapped.
        channel: Uniqueid,
        /// The capture begins in the middle of a call.
        adopted: bool,
        /// When the call changed hands, where that is why it begins.
        moved_at: Option<Timestamp>,
        /// The request because of which it begins, if any.
        by: Option<CaptureOrder>,
    },
    /// Take packets of a flow from this source only.
    ExpectFlow {
        /// The flow.
        flow: FlowId,
        /// Where Asterisk will send from.
        source: SocketAddr,
    },
    /// The call was answered while this part was being captured.
    CaptureAnswered {
        /// The session.
        session: SessionId,
        /// Its part.
        part: u16,
        /// When.
        at: Timestamp,
    },
    /// Close both flows and finish the recording.
    EndCapture {
        /// The session.
        session: SessionId,
        /// Its part.
        part: u16,
        /// When the capture ended.
        at: Timestamp,
        /// Because the call did; otherwise the recording ends before the call.
        call_over: bool,
        /// The request because of which it ends, if any.
        by: Option<CaptureOrder>,
    },
    /// Keep the session's row.
    SaveSession(Box<SessionRow>),
    /// Keep a leg's row.
    SaveLeg(LegRow),
    /// Keep and publish an event.
    Emit(CallEvent),
    /// Count a channel that is nobody's, and let the operator see it.
    Unclaimed(Unclaimed),
}
