//! What an earlier process left: recordings to finish, sessions to adopt.

use std::collections::HashMap;
use std::path::Path;

use aimg_core::{
    CallDirection, CallEvent, CallEventKind, CallState, Direction, NodeId, PbxId, SessionId, SessionRow, TenantScope,
    Uniqueid,
};
use aimg_media::{LeftSpool, Resumed};
use aimg_recording::{Certificate, Finished, Manifest, PartDir};
use aimg_session::{KnownCall, RunningPart};
use aimg_store::{Change, Store};

use crate::Error;
use crate::alarm::{Alarm, Subject};
use crate::capture::{Studio, Unfinished, close, make_recording, recording_row, spool_of};

/// What was found when the gateway started, before anything of its own was added.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// To be finished.
    parts: Vec<PartDir>,
    /// Whose flows were taken over, both of them flowing: at most one part of a session.
    running: HashMap<SessionId, Manifest>,
    next_part: HashMap<SessionId, u16>,
}

impl Left {
    /// Looks through the spool. What cannot be read there is reported and left alone.
    pub(crate) fn find(spool_dir: &Path) -> Result<Self, Error> {
        let mut left = Self::default();
        for found in aimg_recording::unfinished(spool_dir)? {
            match found {
                Ok(dir) => {
                    let next = left.next_part.entry(dir.session()).or_default();
                    *next = (*next).max(dir.part() + 1);
                    if !dir.is_stillborn() {
                        left.parts.push(dir);
                    } else if let Err(error) = dir.discard() {
                        tracing::error!(session.id = %dir.session(), %error, "a part that was never begun is left alone");
                    }
                }
                Err(error) => tracing::error!(%error, "a part of the spool is left alone"),
            }
        }
        Ok(left)
    }

    /// The spools of captures that had not ended: what a takeover can go on with.
    pub(crate) fn spools(&self, live_dir: Option<&Path>) -> Vec<LeftSpool> {
        let spools = |dir: &PartDir| Direction::BOTH.map(|direction| spool_of(dir, direction, live_dir));
        self.parts.iter().filter(|dir| self.is_last(dir) && open_manifest(dir).is_some()).flat_map(spools).collect()
    }

    /// Sorts out which captures go on with the flows that were taken over. Those of others are closed, to be finished.
    pub(crate) async fn resume(&mut self, studio: &Studio, resumed: &[Resumed]) {
        let flows = |dir: &PartDir| -> Vec<&Resumed> {
            resumed.iter().filter(|r| (r.flow.session, r.flow.part) == (dir.session(), dir.part())).collect()
        };
        for dir in std::mem::take(&mut self.parts) {
            let flows = flows(&dir);
            let flowing = flows.iter().filter(|r| r.first_packet_at.is_some()).count() == 2;
            match open_manifest(&dir).filter(|_| flowing) {
                Some(manifest) => drop(self.running.insert(manifest.session, manifest)),
                None => {
                    if !flows.is_empty() {
                        close(studio, dir.session(), dir.part()).await;
                    }
                    self.parts.push(dir);
                }
            }
        }
        if !resumed.is_empty() {
            tracing::info!(captures = self.running.len(), "captures of the process before go on");
        }
    }

    fn is_last(&self, dir: &PartDir) -> bool {
        self.next_part.get(&dir.session()) == Some(&(dir.part() + 1))
    }

    /// The sessions of this node on a PBX that are not over as far as the store knows, and those of their captures that
    /// go on.
    pub(crate) async fn calls(
        &mut self,
        store: &Store,
        node: &NodeId,
        pbx: PbxId,
    ) -> Result<(Vec<KnownCall>, Vec<Manifest>), Error> {
        let (mut known, mut running) = (Vec::new(), Vec::new());
        for record in store.unfinished(TenantScope::Operator, node).await?.into_iter().filter(|s| s.pbx == pbx) {
            let detail = store.session(TenantScope::Tenant(record.tenant), record.id).await?;
            let after_recordings = detail.recordings.iter().map(|r| r.part + 1).max().unwrap_or(0);
            let after_spool = self.next_part.get(&record.id).copied().unwrap_or(0);
            let manifest = self.running.remove(&record.id);
            known.push(KnownCall {
                next_part: after_recordings.max(after_spool),
                running: manifest.as_ref().map(|m| running_part(m, &record)),
                legs: detail.legs,
                record,
            });
            running.extend(manifest);
        }
        Ok((known, running))
    }

    /// Gives up captures whose calls no link has asked for.
    async fn close_unclaimed(&mut self, studio: &Studio) {
        for (session, manifest) in std::mem::take(&mut self.running) {
            close(studio, session, manifest.part).await;
            self.parts.push(manifest.part_dir(&studio.spool_dir));
        }
    }

    /// Finishes every recording, one after the other; calls come first.
    pub(crate) async fn finish(mut self, studio: Studio, store: Store, node: NodeId) {
        self.close_unclaimed(&studio).await;
        let count = self.parts.len();
        if count == 0 {
            return;
        }
        tracing::info!(recordings = count, "finishing recordings of an earlier run");
        for dir in self.parts {
            match make_recording(&studio, dir.clone()).await {
                Ok(finished) => enter(&studio, &store, &finished, &node, &dir).await,
                Err(Unfinished { reason, is_passing }) => {
                    // Whose PBX it was may be what cannot be read.
                    let subject = Subject { tenant: Some(dir.tenant()), ..Subject::GATEWAY };
                    let alarms = &studio.instruments.alarms;
                    alarms.happened(Alarm::RecordingUnfinished, subject, Some(dir.session()), &reason);
                    if is_passing {
                        studio.backlog.keep(dir, None);
                    }
                }
            }
        }
        tracing::info!(recordings = count, "recordings of an earlier run are done");
    }
}

fn running_part(manifest: &Manifest, record: &SessionRow) -> RunningPart {
    let channel = manifest.channel.clone().unwrap_or_else(|| record.uniqueid.clone());
    RunningPart { part: manifest.part, channel }
}

/// The manifest of a capture that had not ended.
fn open_manifest(dir: &PartDir) -> Option<Manifest> {
    Manifest::load(dir).ok().flatten().filter(|m| m.ended_at.is_none())
}

pub(crate) async fn enter(studio: &Studio, store: &Store, finished: &Finished, node: &NodeId, dir: &PartDir) {
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
    let event = CallEvent { tenant, pbx, session, at: now, kind };
    studio.instruments.herald.event(&event, None);
    studio.journal.push(Change::Event(event));
    if let Err(error) = dir.discard() {
        tracing::warn!(session.id = %session, %error, "the spool of a finished recording could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use aimg_core::Codec;
    use aimg_media::{Clock, Media};
    use aimg_spool::{FlowMeta, Header, Record, encode_into};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::alarm::Alarms;
    use crate::backlog::Backlog;
    use crate::disk::Disks;
    use crate::fixture::{OPERATOR, store};
    use crate::inbox::Routes;
    use crate::journal::Journal;
    use crate::monitor::Instruments;
    use crate::quota::QuotaKeeper;
    use crate::scribe::{self, Scribe};
    use crate::{Config, Gateway, Parts, Sockets};

    const CHUNK_BYTES: u32 = 8_192;

    /// A spool with ten packets, as a killed process leaves it.
    fn leave_spool(row: &SessionRow, dir: &PartDir, direction: Direction) {
        let meta = FlowMeta {
            tenant: row.tenant,
            pbx: row.pbx,
            session: row.id,
            part: 0,
            direction,
            codec: Codec::Ulaw,
            opened_at: row.started_at,
        };
        let mut chunk = vec![0; CHUNK_BYTES as usize];
        let mut used = 0;
        for n in 0..10_u8 {
            let mut packet = vec![0x80, 0, 0, n, 0, 0, 0, 0, 0, 0, 0, 1];
            packet.resize(12 + 160, 0x55);
            let arrival = row.started_at + Duration::from_millis(20 * u64::from(n));
            used += encode_into(&mut chunk[used..], &Record { arrival, kernel_drops: 0, packet: &packet }).unwrap();
        }
        let header = Header { meta, chunk_bytes: CHUNK_BYTES }.encode().unwrap();
        std::fs::write(dir.spool_path(direction), [&header[..], &chunk].concat()).unwrap();
    }

    /// A part whose capture had not ended.
    fn leave_part(row: &SessionRow, spool_dir: &Path) -> PartDir {
        std::fs::create_dir_all(spool_dir).unwrap();
        let manifest = Manifest {
            tenant: row.tenant,
            pbx: row.pbx,
            session: row.id,
            part: 0,
            node: row.node.clone(),
            channel: Some(row.uniqueid.clone()),
            codec: Codec::Ulaw,
            opened_at: row.started_at,
            answered_at: None,
            ended_at: None,
            adopted: false,
            moved_at: None,
            begun_by: None,
            ended_by: None,
        };
        let part = manifest.part_dir(spool_dir);
        manifest.store(&part).unwrap();
        Direction::BOTH.into_iter().for_each(|d| leave_spool(row, &part, d));
        part
    }

    async fn studio(dir: &Path, store: &Store) -> Studio {
        let (media, _) = Media::start(aimg_media::Config { port: 0, ..aimg_media::Config::default() }).unwrap();
        let (instruments, journal) = (Instruments::default(), Journal::start(store.clone(), Alarms::default()).0);
        let ears = crate::ears::Ears::new(media.clone());
        let scribe = Scribe::new(scribe::Parts {
            providers: aimg_speech::Providers::default(),
            store: store.clone(),
            journal: journal.clone(),
            herald: instruments.herald.clone(),
            ears: ears.clone(),
            clock: media.clock(),
            node: "n1".parse().unwrap(),
            recordings_dir: dir.join("recordings"),
        });
        Studio {
            scribe,
            quotas: QuotaKeeper::new(&instruments, journal.clone(), media.clock()),
            clock: media.clock(),
            ears,
            media,
            journal,
            instruments,
            routes: Routes::default(),
            spool_dir: dir.join("spool"),
            recordings_dir: dir.join("recordings"),
            live_dir: None,
            finishing: Arc::new(Semaphore::new(1)),
            disks: Disks::watch(dir, dir, 0).await,
            backlog: Backlog::default(),
        }
    }

    #[tokio::test]
    async fn a_recording_whose_session_was_never_written_is_finished_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (store, row) = store(dir.path()).await;
        let studio = studio(dir.path(), &store).await;
        let part = leave_part(&row, &studio.spool_dir);

        let left = Left::find(&studio.spool_dir).unwrap();
        assert_eq!(left.next_part[&row.id], 1);
        left.finish(studio.clone(), store.clone(), row.node.clone()).await;

        let detail = store.session(OPERATOR, row.id).await.unwrap();
        assert_eq!(detail.session.row.state, CallState::Ended);
        let [recording] = detail.recordings.as_slice() else { panic!("one recording") };
        assert_eq!(recording.certificate["caller"]["received"], 10);
        assert!(studio.recordings_dir.join(&recording.path).exists());
        assert!(!part.path().exists(), "the spool is gone once the row is there");
        assert!(Left::find(&studio.spool_dir).unwrap().parts.is_empty());
    }

    #[tokio::test]
    async fn flows_that_cannot_be_gone_on_with_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (store, row) = store(dir.path()).await;
        let [spool_dir, recordings_dir] = ["spool", "recordings"].map(|name| dir.path().join(name));
        // Nobody was expected to send to them.
        leave_part(&row, &spool_dir);
        let media = aimg_media::Config { port: 0, ..aimg_media::Config::default() };
        let sockets =
            Sockets { sockets: aimg_media::bind_ports(&media).unwrap(), clock: Clock::anchored(), takeover: true };
        let config = Config {
            node: row.node.clone(),
            parts: Parts::All,
            tenants: None,
            spool_dir,
            recordings_dir,
            memory_dir: None,
            disk_reserve_bytes: 0,
            media,
            ari_listen: None,
            hook_timeout: Duration::from_secs(2),
            taps_max: 10,
            media_hosts: Vec::new(),
            speech: aimg_speech::Providers::default(),
            said: crate::SaidDir { path: dir.path().join("said"), seen_as: dir.path().join("said") },
            pbxs_every: Duration::from_secs(2),
            worker_deaths: 1,
            drain_timeout: Duration::from_secs(2),
        };
        let gateway = Gateway::start(config, store, sockets, 1).await.unwrap();
        assert_eq!(gateway.monitor().observe().flows_left_behind, 2);
    }
}
