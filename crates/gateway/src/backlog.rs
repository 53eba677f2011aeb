//! Recordings that the disk did not take: their spools are kept, and they are tried again when there is room.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aimg_core::NodeId;
use aimg_recording::{Manifest, PartDir};
use aimg_store::Store;

use crate::capture::{Studio, make_recording, store_manifest};
use crate::recovery::enter;

/// Recordings that may wait. Those beyond are finished at the next start: their spools are there.
const WAITING_MAX: usize = 10_000;
/// How often they are tried while the disks have room.
const TRY_EVERY: Duration = Duration::from_secs(2);

/// The list. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog {
    waiting: Arc<Mutex<VecDeque<Waiting>>>,
    overflowed: Arc<AtomicU64>,
}

/// A recording that waits.
#[derive(Clone, Debug)]
struct Waiting {
    dir: PartDir,
    /// What is known of the call, which the disk may not have taken either; nothing for one of an earlier run.
    manifest: Option<Manifest>,
}

/// How many recordings wait for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BacklogCounts {
    /// They are tried again when there is room.
    pub waiting: u64,
    /// So many may wait.
    pub waiting_max: u64,
    /// Those beyond, which the next start finishes.
    pub overflowed: u64,
}

impl Backlog {
    /// Keeps a part for later.
    pub(crate) fn keep(&self, dir: PartDir, manifest: Option<Manifest>) {
        let mut waiting = self.waiting();
        if waiting.len() < WAITING_MAX {
            waiting.push_back(Waiting { dir, manifest });
        } else {
            self.overflowed.fetch_add(1, Ordering::Relaxed);
            tracing::error!(session.id = %dir.session(), "too many recordings wait for the disk: finished at the next start");
        }
    }

    pub(crate) fn counts(&self) -> BacklogCounts {
        BacklogCounts {
            waiting: self.waiting().len() as u64,
            waiting_max: WAITING_MAX as u64,
            overflowed: self.overflowed.load(Ordering::Relaxed),
        }
    }

    /// Tries again what waits, oldest first, whenever the disks have room. Runs until it is aborted.
    pub(crate) async fn work(self, studio: Studio, store: Store, node: NodeId) {
        let mut tries = tokio::time::interval(TRY_EVERY);
        tries.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tries.tick().await;
            // One that fails again ends the round: the disk is the same for the others.
            while studio.disks.have_room() {
                let Some(Waiting { dir, manifest }) = self.oldest() else { break };
                if let Some(manifest) = &manifest {
                    store_manifest(manifest, &dir).await;
                }
                match make_recording(&studio, dir.clone()).await {
                    Ok(finished) => {
                        tracing::info!(session.id = %dir.session(), "a recording that had waited for the disk is finished");
                        self.waiting().pop_front();
                        enter(&studio, &store, &finished, &node, &dir).await;
                    }
                    Err(failure) if failure.is_passing => break,
                    Err(failure) => {
                        tracing::error!(session.id = %dir.session(), error = failure.reason, "a recording is given up, its spool is kept");
                        self.waiting().pop_front();
                    }
                }
            }
        }
    }

    fn oldest(&self) -> Option<Waiting> {
        self.waiting().front().cloned()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
