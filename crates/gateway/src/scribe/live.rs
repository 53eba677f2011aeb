//! The text of a part while it is captured.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aimg_core::{Codec, SessionRow, TenantScope, Timestamp, TranscriptId};
use aimg_speech::pipeline::{Config, Ending, Reached};
use aimg_store::{TranscriptRow, TranscriptState};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::Scribe;
use super::roll::{Roll, roll};
use super::script::Script;
use super::sides::{Sides, transcribe};
use super::wishes::Wishes;
use crate::ears::PartEar;

/// Between two tries to learn what the tenant wants, while the store is away.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Makes text of a part from its first packet on, if its tenant wants that. What is left when it ends is owed.
pub(super) async fn follow(scribe: Scribe, session: SessionRow, part: u16, codec: Codec) {
    let ear = match scribe.parts.ears.part(session.id, part, codec).await {
        Ok(ear) => ear,
        // Its flows are closed again.
        Err(error) => {
            return tracing::debug!(session.id = %session.id, %error, "a part is over before it could be heard");
        }
    };
    let rate_hz = codec.sample_rate_hz();
    let [(caller, caller_tape), (callee, callee_tape)] = [(); 2].map(|()| roll(rate_hz, scribe.board.room.clone()));
    let origin = Arc::new(OnceLock::new());
    // Stops with this future.
    let mut feeding = JoinSet::new();
    feeding.spawn(feed(ear, [caller, callee], Arc::clone(&origin)));
    let Some((wishes, provider)) = wanted(&scribe, &session).await else { return };

    let row = TranscriptRow {
        id: TranscriptId::from_uuid(Uuid::now_v7()),
        tenant: session.tenant,
        session: session.id,
        part,
        provider,
        model: wishes.options.model.clone(),
        language: wishes.options.language.clone(),
        state: TranscriptState::Running,
        failure: None,
        created_at: scribe.parts.clock.now(),
        finished_at: None,
    };
    let live = scribe.board.live(row.id);
    let script = Script::new(scribe.parts.journal.clone(), Some(scribe.parts.herald.clone()), &session, row);
    script.begin().await;
    let origin = || origin.get().copied().unwrap_or(session.started_at);
    let sides =
        Sides { tapes: [caller_tape, callee_tape], from: [Reached::default(); 2], wishes, config: Config::default() };
    let ended = transcribe(&scribe.board, &script, sides, origin).await;
    finish(&scribe, script, ended).await;
    drop(live);
}

/// Puts what is heard on both rolls, until there is no more.
async fn feed(mut ear: PartEar, rolls: [Roll; 2], origin: Arc<OnceLock<Timestamp>>) {
    while let Some(heard) = ear.next().await {
        if let Some(began) = ear.origin() {
            let _ = origin.set(began);
        }
        if heard.skipped {
            return rolls.into_iter().for_each(|roll| roll.break_off("audio was skipped, the machine is too busy"));
        }
        let written = rolls.iter().zip(&heard.sides).filter(|(roll, side)| roll.write(heard.position, side)).count();
        if written == 0 {
            return;
        }
    }
    rolls.into_iter().for_each(Roll::end);
}

/// What the tenant wants, and of whom first; nothing where it wants no text.
async fn wanted(scribe: &Scribe, session: &SessionRow) -> Option<(Wishes, String)> {
    loop {
        match Wishes::of(&scribe.parts.store, &scribe.parts.providers, session.tenant).await {
            Ok(wishes) => {
                let provider = wishes.first.as_ref()?.name().to_owned();
                return Some((wishes, provider));
            }
            // The tenant was removed.
            Err(aimg_store::Error::NotFound { .. }) => return None,
            Err(error) => {
                tracing::debug!(session.id = %session.id, %error, "what a tenant wants of speech cannot be read yet");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Says how it ended. What is not told is told later, from the recording.
async fn finish(scribe: &Scribe, script: Script, ended: [(Ending, Reached); 2]) {
    let reached = ended.each_ref().map(|(_, reached)| *reached);
    let mut unfinished = None;
    for (ending, _) in ended {
        match ending {
            Ending::Whole => {}
            Ending::GaveUp(error) if !error.kind.may_pass() => {
                return script.finish(scribe.parts.clock.now(), Some(error.to_string())).await;
            }
            Ending::GaveUp(error) => unfinished = Some(error.to_string()),
            Ending::Unreadable(error) => unfinished = Some(error.to_string()),
            Ending::Unheard => unfinished = Some("nobody wrote it down".to_owned()),
        }
    }
    let Some(why) = unfinished else { return script.finish(scribe.parts.clock.now(), None).await };
    tracing::info!(session.id = %script.row.session, part = script.row.part, why, "the rest of a transcript is made from the recording");
    scribe.board.owe(script.row.id, reached);
}

/// The scope of a call's own tenant.
pub(super) const fn scope(row: &TranscriptRow) -> TenantScope {
    TenantScope::Tenant(row.tenant)
}
