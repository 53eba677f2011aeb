//! The doctor's looks at PBXs: begun by a request, ended by themselves, the last one of each PBX kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aimg_core::{PbxId, Timestamp};
use aimg_gateway::doctor::{Config, Diagnosis, Doctor, Finding, Stop};
use aimg_store::{Pbx, PbxSecrets};
use tokio::sync::watch;

use crate::clock::now;
use crate::problem::{Code, Problem};

/// Looks at once: each opens ports and asks an Asterisk for channels.
const AT_ONCE_MAX: usize = 4;
/// Looks that are kept; beyond it the oldest is forgotten.
const KEPT_MAX: usize = 1_000;
/// After so long a look is stopped, and what it has made in Asterisk is removed.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// One look at a PBX.
#[derive(Clone, Debug)]
pub(crate) struct Examination {
    /// When it began.
    pub(crate) began_at: Timestamp,
    /// When it ended, and what was found; nothing while it goes on.
    pub(crate) found: Option<Found>,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// When the look ended.
    pub(crate) ended_at: Timestamp,
    /// Asterisk's version, where it could be had.
    pub(crate) version: Option<String>,
    /// Of this machine and of the PBX, in the order in which it was found.
    pub(crate) findings: Vec<Finding>,
}

/// The last look at each PBX. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Examinations(Arc<Mutex<HashMap<PbxId, Examination>>>);

impl Examinations {
    /// The last one of a PBX.
    pub(crate) fn last(&self, pbx: PbxId) -> Option<Examination> {
        self.lock().get(&pbx).cloned()
    }

    /// Begins one, unless one goes on.
    pub(crate) fn begin(&self, config: Config, pbx: Pbx, secrets: PbxSecrets) -> Result<Examination, Problem> {
        let (id, begun) = (pbx.id, Examination { began_at: now(), found: None });
        {
            let mut all = self.lock();
            if all.get(&id).is_some_and(|look| look.found.is_none()) {
                return Err(Problem::new(Code::WrongState, "a look at this PBX goes on; wait for its end"));
            }
            if all.values().filter(|look| look.found.is_none()).count() >= AT_ONCE_MAX {
                let busy = Problem::new(Code::TooManyRequests, format!("{AT_ONCE_MAX} PBXs are being looked at"));
                return Err(busy.retry_after(Duration::from_secs(10)));
            }
            if all.len() >= KEPT_MAX {
                let oldest = all.iter().filter(|(_, look)| look.found.is_some()).min_by_key(|(_, look)| look.began_at);
                let oldest = oldest.map(|(id, _)| *id);
                oldest.and_then(|id| all.remove(&id));
            }
            all.insert(id, begun.clone());
        }
        let looks = self.clone();
        // It goes on when the client does not wait: a look that is torn apart leaves channels in Asterisk.
        tokio::spawn(async move {
            let found = tokio::spawn(look(config, pbx, secrets)).await.unwrap_or_else(|error| {
                tracing::error!(%error, pbx.id = %id, "a look at a PBX has failed");
                (Vec::new(), Diagnosis { version: None, findings: Vec::new() })
            });
            let (mut findings, diagnosis) = found;
            findings.extend(diagnosis.findings);
            let found = Found { ended_at: now(), version: diagnosis.version, findings };
            if let Some(look) = looks.lock().get_mut(&id) {
                look.found = Some(found);
            }
        });
        Ok(begun)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PbxId, Examination>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look(config: Config, pbx: Pbx, secrets: PbxSecrets) -> (Vec<Finding>, Diagnosis) {
    let (stop, stopped) = watch::channel(false);
    let in_time = tokio::spawn(async move {
        tokio::time::sleep(LOOK_MAX).await;
        stop.send_replace(true);
    });
    let (doctor, machine) = Doctor::start(config, Stop::new(stopped), &|_| {});
    let diagnosis = doctor.examine(&pbx, &secrets).await;
    in_time.abort();
    (machine, diagnosis)
}
