//! Where the results of commands, and the media plane's news, wait for a link's reducer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aimg_core::{Codec, FlowId, PbxId, SessionId, TenantId};
use aimg_media::{Event, Events};
use aimg_session::Input;
use tokio::sync::mpsc;

use crate::alarm::{Alarm, Subject};
use crate::monitor::Instruments;

/// Inputs that may wait for one link. Whoever has more to tell waits: only tasks of the control plane do.
pub(crate) const INBOX_INPUTS: usize = 4_096;

/// The sending side of a link's inbox.
#[derive(Clone, Debug)]
pub(crate) struct Inbox(mpsc::Sender<Input>);

impl Inbox {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Input>) {
        let (sender, receiver) = mpsc::channel(INBOX_INPUTS);
        (Self(sender), receiver)
    }

    /// Tells the reducer; a link that has ended does not need to know.
    pub(crate) async fn tell(&self, input: Input) {
        let _ = self.0.send(input).await;
    }
}

/// Whose the flows of a session are, and how they are encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionClass {
    pub(crate) tenant: TenantId,
    pub(crate) pbx: PbxId,
    pub(crate) codec: Codec,
}

/// Which link's inbox the news of a session's flows belongs into.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes(Arc<Mutex<HashMap<SessionId, (Inbox, SessionClass)>>>);

impl Routes {
    pub(crate) fn insert(&self, session: SessionId, inbox: Inbox, class: SessionClass) {
        self.lock().insert(session, (inbox, class));
    }

    pub(crate) fn remove(&self, session: SessionId) {
        self.lock().remove(&session);
    }

    /// The class of each session that is being captured.
    pub(crate) fn classes(&self) -> HashMap<SessionId, SessionClass> {
        self.lock().iter().map(|(session, (_, class))| (*session, *class)).collect()
    }

    fn find(&self, flow: FlowId) -> Option<(Inbox, SessionClass)> {
        self.lock().get(&flow.session).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, (Inbox, SessionClass)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the media plane's events on, for as long as it runs.
    pub(crate) async fn carry(self, mut events: Events, instruments: Instruments) {
        while let Some(event) = events.next().await {
            let (flow, alarm, why) = match event {
                Event::Started { flow, first_packet_at } => {
                    match self.find(flow) {
                        Some((inbox, _)) => inbox.tell(Input::FlowStarted { flow, first_packet_at }).await,
                        None => instruments.tallies.unclaimed_news(),
                    }
                    continue;
                }
                Event::DroppedByUs { flow, dropped_by_us } => {
                    (flow, Alarm::DroppedByUs, format!("{dropped_by_us} packet(s) of the {}", flow.direction))
                }
                Event::SpoolStuck { flow, reason } => (flow, Alarm::SpoolStuck, reason),
                Event::Silent { flow, last_packet_at } => {
                    (flow, Alarm::FlowSilent, format!("none of the {} since {last_packet_at}", flow.direction))
                }
                other => {
                    tracing::error!(event = ?other, "the media plane raised an alarm that has no name here");
                    continue;
                }
            };
            let subject =
                self.find(flow).map_or(Subject::GATEWAY, |(_, class)| Subject::pbx(Some(class.tenant), class.pbx));
            instruments.alarms.happened(alarm, subject, Some(flow.session), &why);
        }
    }
}
