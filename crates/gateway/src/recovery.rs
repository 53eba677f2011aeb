//! What an earlier process left: recordings to finish, sessions to adopt.

use std::collections::HashMap;

use aimg_core::{
    CallDirection, CallEvent, CallEventKind, CallState, NodeId, PbxId, SessionId, SessionRow, TenantScope, Uniqueid,
};
use aimg_recording::{Certificate, Finished, PartDir};
use aimg_session::KnownCall;
use aimg_store::{Change, Store};

use crate::Error;
use crate::capture::{Studio, make_recording, recording_row};

/// What was found when the gateway started, before anything of its own was added.
#[derive(Debug, Default)]
pub(crate) struct Left {
    parts: Vec<PartDir>,
    next_part: HashMap<SessionId, u16>,
}

impl Left {
    /// Looks through the spool. What cannot be read there is reported and left alone.
    pub(crate) fn find(studio: &Studio) -> Result<Self, Error> {
        let mut left = Self::default();
        for found in aimg_recording::unfinished(&studio.spool_dir)? {
            match found {
                Ok(dir) => {
                    let next = left.next_part.entry(dir.session()).or_default();
                    *next = (*next).max(dir.part() + 1);
                    left.parts.push(dir);
                }
                Err(error) => tracing::error!(%error, "a part of the spool is left alone"),
            }
        }
        Ok(left)
    }

    /// The sessions of this node on a PBX that are not over as far as the store knows.
    pub(crate) async fn calls(&self, store: &Store, node: &NodeId, pbx: PbxId) -> Result<Vec<KnownCall>, Error> {
        let mut known = Vec::new();
        for record in store.unfinished(TenantScope::Operator, node).await?.into_iter().filter(|s| s.pbx == pbx) {
            let recordings = store.session(TenantScope::Tenant(record.tenant), record.id).await?.recordings;
            let after_recordings = recordings.iter().map(|r| r.part + 1).max().unwrap_or(0);
            let after_spool = self.next_part.get(&record.id).copied().unwrap_or(0);
            known.push(KnownCall { next_part: after_recordings.max(after_spool), record });
        }
        Ok(known)
    }

    /// Finishes every recording, one after the other; calls come first.
    pub(crate) async fn finish(self, studio: Studio, store: Store, node: NodeId) {
        let count = self.parts.len();
        if count == 0 {
            return;
        }
        tracing::info!(recordings = count, "finishing recordings of an earlier run");
        for dir in self.parts {
            match make_recording(&studio, dir.clone()).await {
                Ok(finished) => enter(&studio, &store, &finished, &node, &dir).await,
                Err(error) => {
                    tracing::error!(session.id = %dir.session(), error, "a recording could not be finished, its spool is kept");
                }
            }
        }
        tracing::info!(recordings = count, "recordings of an earlier run are done");
    }
}

async fn enter(studio: &Studio, store: &Store, finished: &Finished, node: &NodeId, dir: &PartDir) {
    let Certificate { tenant, pbx, session, part, complete, opened_at, .. } = finished.certificate;
    // Where the process died before the session's row was written, this is all that is known of the call.
    if matches!(store.session(TenantScope::Tenant(tenant), session).await, Err(aimg_store::Error::NotFound { .. })) {
        let unknown = Uniqueid::new(session.to_string());
        studio.journal.push(Change::Session(Box::new(SessionRow {
            id: session,
            tenant,
            pbx,
            uniqueid: unknown.clone(),
            linkedid: unknown,
            state: CallState::Ended,
            call_direction: CallDirection::Inbound,
            caller_number: None,
            dialled_number: None,
            context: None,
            started_at: opened_at,
            answered_at: finished.certificate.answered_at,
            ended_at: finished.certificate.ended_at,
            hangup_cause: None,
            node: node.clone(),
            captured: true,
        })));
    }
    let now = studio.clock.now();
    studio.journal.write(Change::Recording(recording_row(finished, now))).await;
    let kind = CallEventKind::RecordingReady { part, complete };
    studio.journal.push(Change::Event(CallEvent { tenant, pbx, session, at: now, kind }));
    if let Err(error) = dir.discard() {
        tracing::warn!(session.id = %session, %error, "the spool of a finished recording could not be removed");
    }
}
