//! The link's side of call control: what it is asked, and answers waiting for a recording to stand as it was ordered.

use std::time::Duration;

use aimg_core::{CaptureOrder, SessionId, Uniqueid};
use aimg_session::{CallSeen, CaptureSeen, Switchboard};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{ControlError, Done};

/// Questions that may wait for one link; who has more is told that it is busy.
pub(crate) const ASKS_MAX: usize = 256;

/// How long a recording may take to begin or end. An attach takes 5 s at most before it is given up.
const ORDER_TIME_MAX: Duration = Duration::from_secs(8);

/// What a link is asked.
pub(crate) enum Ask {
    /// How a call stands.
    See { session: SessionId, answer: oneshot::Sender<Option<CallSeen>> },
    /// Whose a channel is.
    SessionOf { channel: Uniqueid, answer: oneshot::Sender<Option<SessionId>> },
    /// Start, stop, pause or resume a recording.
    Order { session: SessionId, order: CaptureOrder, answer: oneshot::Sender<Result<Done, ControlError>> },
}

/// Who waits for a recording to stand as ordered.
struct Waiting {
    session: SessionId,
    records: bool,
    until: Instant,
    answer: oneshot::Sender<Result<Done, ControlError>>,
}

/// What a link was asked and has not answered. No more than [`ASKS_MAX`] wait.
#[derive(Default)]
pub(crate) struct Asked(Vec<Waiting>);

impl Asked {
    /// Answers what can be answered at once. An order that is to be given to the reducer comes back.
    pub(crate) fn take(&mut self, ask: Ask, board: &Switchboard, ari_up: bool) -> Option<(SessionId, CaptureOrder)> {
        match ask {
            // Whoever asks no more does not need the answer.
            Ask::See { session, answer } => {
                let _ = answer.send(board.call(session));
                None
            }
            Ask::SessionOf { channel, answer } => {
                let _ = answer.send(board.session_of(&channel));
                None
            }
            Ask::Order { session, order, answer } => match self.check(session, order, board, ari_up) {
                Ok(()) => {
                    let until = Instant::now() + ORDER_TIME_MAX;
                    self.0.push(Waiting { session, records: order.records(), until, answer });
                    Some((session, order))
                }
                Err(error) => {
                    let _ = answer.send(Err(error));
                    None
                }
            },
        }
    }

    fn check(
        &self,
        session: SessionId,
        order: CaptureOrder,
        board: &Switchboard,
        ari_up: bool,
    ) -> Result<(), ControlError> {
        let capture = board.capture(session).ok_or(ControlError::NoSuchCall { session })?;
        if self.0.len() >= ASKS_MAX {
            return Err(ControlError::Busy { what: "orders", waiting_max: ASKS_MAX });
        }
        if order.records() && !ari_up {
            return Err(ControlError::away("ARI is down"));
        }
        let is_recorded = matches!(capture, CaptureSeen::Attaching | CaptureSeen::Flowing { .. });
        let held_back = matches!(capture, CaptureSeen::Nothing { held_back: true } | CaptureSeen::Leaving);
        match order {
            CaptureOrder::Start if is_recorded => Err(ControlError::not_possible("it is being recorded")),
            CaptureOrder::Resume if !held_back => Err(ControlError::not_possible("its recording is not paused")),
            CaptureOrder::Pause if !is_recorded => Err(ControlError::not_possible("it is not being recorded")),
            CaptureOrder::Stop if !is_recorded && !held_back => {
                Err(ControlError::not_possible("it is not being recorded"))
            }
            _ => Ok(()),
        }
    }

    /// A capture could not begin, and why.
    pub(crate) fn capture_failed(&mut self, session: SessionId, why: &str) {
        for waiting in self.0.extract_if(.., |w| w.session == session && w.records) {
            let _ = waiting.answer.send(Err(ControlError::Refused { why: why.to_owned() }));
        }
    }

    /// Answers those who waited for what has come true, or for too long.
    pub(crate) fn look(&mut self, board: &Switchboard) {
        if self.0.is_empty() {
            return;
        }
        let now = Instant::now();
        let result = |waiting: &Waiting| match board.capture(waiting.session) {
            None if waiting.records => Some(Err(ControlError::not_possible("the call ended"))),
            None => Some(Ok(Done::Recording { part: None })),
            Some(CaptureSeen::Flowing { part }) if waiting.records => Some(Ok(Done::Recording { part: Some(part) })),
            // From here on Asterisk sends nothing of it, and so nothing is kept.
            Some(CaptureSeen::Nothing { .. }) if !waiting.records => Some(Ok(Done::Recording { part: None })),
            Some(_) if waiting.until <= now => {
                Some(Err(ControlError::unknown("the recording did not begin or end in time")))
            }
            Some(_) => None,
        };
        for waiting in self.0.extract_if(.., |waiting| result(waiting).is_some()).collect::<Vec<_>>() {
            if let Some(result) = result(&waiting) {
                let _ = waiting.answer.send(result);
            }
        }
    }
}
