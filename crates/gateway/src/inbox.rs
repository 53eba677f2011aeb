//! Where the results of commands, and the media plane's news, wait for a link's reducer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aimg_core::{FlowId, SessionId};
use aimg_media::{Event, Events};
use aimg_session::Input;
use tokio::sync::mpsc;

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

/// Which link's inbox the news of a session's flows belongs into.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes(Arc<Mutex<HashMap<SessionId, Inbox>>>);

impl Routes {
    pub(crate) fn insert(&self, session: SessionId, inbox: Inbox) {
        self.lock().insert(session, inbox);
    }

    pub(crate) fn remove(&self, session: SessionId) {
        self.lock().remove(&session);
    }

    fn find(&self, flow: FlowId) -> Option<Inbox> {
        self.lock().get(&flow.session).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Inbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the media plane's events on, for as long as it runs.
    pub(crate) async fn carry(self, mut events: Events) {
        while let Some(event) = events.next().await {
            match event {
                Event::Started { flow, first_packet_at } => {
                    if let Some(inbox) = self.find(flow) {
                        inbox.tell(Input::FlowStarted { flow, first_packet_at }).await;
                    }
                }
                other => tracing::error!(event = ?other, "the media plane raised an alarm"),
            }
        }
    }
}
