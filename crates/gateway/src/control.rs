//! Call control: what people and programs ask to be done with a call, and what Asterisk did.
//!
//! A [`Control`] knows which calls are going on at which link. A command is checked against what the link's reducer knows of
//! the call (`hands`), done by AMI or ARI, whichever can do it to a channel of the dialplan, and answered when Asterisk has
//! told that it is done: `docs/call-control.md` has the table. What a command makes in Asterisk is an errand (`errands`):
//! its ids are minted, and it is removed when it is done, when its channel goes, when ARI was away, and when the gateway stops;
//! what a killed gateway leaves is removed by the next one.
//!
//! What it leaves to others: who may ask (`api`), and the recording itself (`session`, `capture`).

mod command;
mod desk;
mod ear;
mod errands;
mod error;
mod hands;
mod snoops;
mod speaker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aimg_core::{PbxId, SessionId, SessionRow, TenantId, TenantScope};
use aimg_speech::Providers;

use crate::SaidDir;

pub use command::{Audience, CallCommand, Destination, Done, First, ListenMode, MutedSide, NewCall, Party, Transfer};
pub(crate) use desk::{ASKS_MAX, Ask, Asked};
pub(crate) use ear::Heard;
pub use error::{ControlError, Outcome};
pub(crate) use hands::{Hands, Parts};
use speaker::Speaker;
pub use speaker::{SAID_BYTES_MAX, Say, SayCounts};

/// Keys of one command.
pub const DIGITS_MAX: usize = 32;
/// Media of one command.
pub const MEDIA_MAX: usize = 10;
/// How long a phone may ring that a command calls.
pub const RING_MAX: Duration = Duration::from_secs(60);

/// The hands of all links. Clones are the same one.
#[derive(Clone, Default)]
pub struct Control(Arc<Shared>);

#[derive(Default)]
struct Shared {
    links: Mutex<HashMap<PbxId, Hands>>,
    /// The calls that are not over. As many as the links' reducers hold, which make them and end them.
    calls: Mutex<HashMap<SessionId, (TenantId, PbxId)>>,
    media_hosts: Arc<[String]>,
    speaker: Option<Arc<Speaker>>,
    outcomes: [AtomicU64; Outcome::ALL.len()],
}

impl Control {
    /// One that lets Asterisk fetch media from these hosts, and no others, and has what it says in this directory.
    pub(crate) fn new(media_hosts: &[String], voices: Providers, said: SaidDir) -> Self {
        let speaker = Some(Speaker::new(voices, said.path, said.seen_as));
        Self(Arc::new(Shared { media_hosts: media_hosts.into(), speaker, ..Shared::default() }))
    }

    /// Does something with a call, and says what Asterisk did. Runs to its end even when its future is dropped.
    pub async fn command(
        &self,
        scope: TenantScope,
        session: SessionId,
        command: CallCommand,
    ) -> Result<Done, ControlError> {
        let control = self.clone();
        let done = tokio::spawn(async move { control.execute(scope, session, command).await });
        self.counted(done.await.unwrap_or_else(|e| Err(ControlError::unknown(e.to_string()))))
    }

    /// Makes a call: answers when its first channel exists. What becomes of it is told by the events of its session.
    pub async fn originate(&self, scope: TenantScope, call: NewCall) -> Result<Done, ControlError> {
        let control = self.clone();
        let done = tokio::spawn(async move { control.make_call(scope, call).await });
        self.counted(done.await.unwrap_or_else(|e| Err(ControlError::unknown(e.to_string()))))
    }

    /// How often commands came out how, in the order of [`Outcome::ALL`].
    pub fn counts(&self) -> [u64; Outcome::ALL.len()] {
        self.0.outcomes.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// How saying something into calls goes.
    pub fn said(&self) -> SayCounts {
        self.0.speaker.as_ref().map(|speaker| speaker.counts()).unwrap_or_default()
    }

    /// Whose call it is, if it is going on and in reach.
    pub fn tenant_of(&self, scope: TenantScope, session: SessionId) -> Option<TenantId> {
        self.calls().get(&session).map(|(tenant, _)| *tenant).filter(|tenant| scope.reaches(*tenant))
    }

    /// A link is there.
    pub(crate) fn linked(&self, pbx: PbxId, hands: Hands) {
        self.links().insert(pbx, hands);
    }

    /// A link is there no more, and nobody knows of its calls.
    pub(crate) fn unlinked(&self, pbx: PbxId) {
        self.links().remove(&pbx);
        self.calls().retain(|_, (_, of)| *of != pbx);
    }

    /// A call stands so.
    pub(crate) fn note(&self, call: &SessionRow) {
        if call.state.is_over() {
            self.calls().remove(&call.id);
        } else {
            self.calls().insert(call.id, (call.tenant, call.pbx));
        }
    }

    /// The hosts from which Asterisk may fetch media.
    pub(crate) fn media_hosts(&self) -> Arc<[String]> {
        Arc::clone(&self.0.media_hosts)
    }

    async fn execute(
        &self,
        scope: TenantScope,
        session: SessionId,
        command: CallCommand,
    ) -> Result<Done, ControlError> {
        let (pbx, hands) = self.find(scope, session)?;
        if let CallCommand::Bridge { party, with, with_party } = &command {
            let (other_pbx, _) = self.find(scope, *with)?;
            if other_pbx != pbx {
                return Err(ControlError::not_possible("the two calls are on different PBXs"));
            }
            return hands.bridge(session, party, *with, with_party).await;
        }
        if hands.tenant().is_none() && scope != TenantScope::Operator && leaves_the_call(&command) {
            return Err(ControlError::not_possible(
                "tenants share this PBX: numbers are dialled in the context of the call, and phones are called by the PBX's \
                 operator alone",
            ));
        }
        let CallCommand::Say { to, say, interrupts } = command else { return hands.execute(session, command).await };
        let speaker = self.0.speaker.as_ref();
        let speaker = speaker.ok_or_else(|| ControlError::Unspoken { why: "no voice is set up".to_owned() })?;
        let media = speaker.media(&say).await?;
        if interrupts {
            hands.execute(session, CallCommand::StopPlay { playback: None }).await?;
        }
        hands.say(session, &to, media).await
    }

    async fn make_call(&self, scope: TenantScope, call: NewCall) -> Result<Done, ControlError> {
        let pbx = call.pbx;
        let hands = self.links().get(&pbx).cloned().filter(|hands| reaches(scope, hands));
        hands.ok_or(ControlError::NoSuchPbx { pbx })?.originate(call).await
    }

    /// Another tenant's call is as unknown as none.
    fn find(&self, scope: TenantScope, session: SessionId) -> Result<(PbxId, Hands), ControlError> {
        let found = self.calls().get(&session).copied().filter(|(tenant, _)| scope.reaches(*tenant));
        let (_, pbx) = found.ok_or(ControlError::NoSuchCall { session })?;
        let hands = self.links().get(&pbx).cloned().ok_or_else(|| ControlError::away("its link has ended"))?;
        Ok((pbx, hands))
    }

    fn counted(&self, result: Result<Done, ControlError>) -> Result<Done, ControlError> {
        let outcome = result.as_ref().err().map_or(Outcome::Done, ControlError::outcome);
        self.0.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        result
    }

    fn links(&self) -> MutexGuard<'_, HashMap<PbxId, Hands>> {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<SessionId, (TenantId, PbxId)>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether calls may be made there. A PBX that tenants share is the operator's: its dialplan and its phones are not one
/// tenant's.
fn reaches(scope: TenantScope, hands: &Hands) -> bool {
    hands.tenant().map_or(scope == TenantScope::Operator, |tenant| scope.reaches(tenant))
}

/// Whether a command reaches beyond the call itself into the PBX.
fn leaves_the_call(command: &CallCommand) -> bool {
    match command {
        CallCommand::Listen { .. } => true,
        CallCommand::Transfer(Transfer::Blind { to, .. } | Transfer::Attended { to, .. }) => to.context.is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use aimg_core::CallState;

    use super::*;
    use crate::fixture::store;

    #[tokio::test]
    async fn a_call_of_another_tenant_one_that_is_over_and_none_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (control, (_, row)) = (Control::default(), store(dir.path()).await);
        let nobody = |session| Err(ControlError::NoSuchCall { session });
        let hang_up = || CallCommand::HangUp { party: None };
        let own = TenantScope::Tenant(row.tenant);
        let other = TenantScope::Tenant(TenantId::from_uuid(uuid::Uuid::from_u128(99)));
        assert_eq!(control.command(own, row.id, hang_up()).await, nobody(row.id));
        control.note(&row);
        assert_eq!(control.command(other, row.id, hang_up()).await, nobody(row.id));
        assert!(matches!(control.command(own, row.id, hang_up()).await, Err(ControlError::Away { .. })));
        control.note(&SessionRow { state: CallState::Ended, ..row.clone() });
        assert_eq!(control.command(own, row.id, hang_up()).await, nobody(row.id));
        control.note(&row);
        control.unlinked(row.pbx);
        assert_eq!(control.command(TenantScope::Operator, row.id, hang_up()).await, nobody(row.id));
        assert_eq!(control.counts(), [0, 4, 0, 1, 0, 0]);
    }
}
