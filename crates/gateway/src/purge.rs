//! Removes what has become too old: recordings with their files, transcripts and entries of the audit log by each tenant's
//! settings, and tokens and keys that have expired.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aimg_core::{NodeId, Setting, TenantId, TenantScope, Timestamp};
use aimg_media::Clock;
use aimg_store::{NewAuditEntry, RecordingRow, Store};
use serde_json::json;
use tokio::time::Instant;

/// From the start to the first run: calls come first.
const FIRST_AFTER: Duration = Duration::from_secs(60);
/// Between two runs.
const RUN_EVERY: Duration = Duration::from_mins(10);
/// Between two runs while there is more to remove than one of them may.
const MORE_AFTER: Duration = Duration::from_secs(1);
/// Rows of a kind and tenant that one run removes: other writers wait for them.
const ROWS_MAX: u64 = 1_000;
/// Files of a tenant that one run removes.
const FILES_MAX: u64 = 200;
const DAY: Duration = Duration::from_hours(24);

/// What a purge works on.
#[derive(Clone, Debug)]
pub(crate) struct Purge {
    pub(crate) store: Store,
    pub(crate) recordings_dir: PathBuf,
    /// Its recordings are on this disk.
    pub(crate) node: NodeId,
    pub(crate) clock: Clock,
}

impl Purge {
    /// Runs until it is aborted.
    pub(crate) async fn work(self) {
        let mut next = Instant::now() + FIRST_AFTER;
        loop {
            tokio::time::sleep_until(next).await;
            let is_more = self.run(self.clock.now()).await;
            next = Instant::now() + if is_more { MORE_AFTER } else { RUN_EVERY };
        }
    }

    /// Removes what is too old at `now`, so much of it as one run may. Whether there is more.
    pub(crate) async fn run(&self, now: Timestamp) -> bool {
        let store = &self.store;
        let mut is_more = [
            more("refresh tokens", ROWS_MAX, store.purge_refresh_tokens(now, ROWS_MAX).await),
            more("idempotency keys", ROWS_MAX, store.purge_idempotency_keys(now, ROWS_MAX).await),
            self.audit_log(None, now).await,
        ]
        .contains(&true);
        let tenants = match store.tenants(TenantScope::Operator).await {
            Ok(tenants) => tenants,
            Err(error) => {
                tracing::warn!(%error, "what is too old could not be looked for");
                return false;
            }
        };
        for tenant in tenants.into_iter().map(|tenant| tenant.id) {
            is_more |= self.audit_log(Some(tenant), now).await;
            is_more |= self.transcripts(tenant, now).await;
            is_more |= self.recordings(tenant, now).await;
        }
        is_more
    }

    async fn audit_log(&self, of: Option<TenantId>, now: Timestamp) -> bool {
        let Some((before, _)) = self.limit(of, &Setting::AUDIT_RETENTION_DAYS, now).await else { return false };
        more("audit log", ROWS_MAX, self.store.purge_audit_log(of, before, ROWS_MAX).await)
    }

    async fn transcripts(&self, tenant: TenantId, now: Timestamp) -> bool {
        let setting = &Setting::TRANSCRIPTS_RETENTION_DAYS;
        let Some((before, days)) = self.limit(Some(tenant), setting, now).await else { return false };
        let removed = self.store.purge_transcripts(tenant, before, ROWS_MAX).await;
        if let Ok(count @ 1..) = removed {
            self.note(tenant, "transcripts.purge", count, days).await;
        }
        more("transcripts", ROWS_MAX, removed)
    }

    /// Files first: a row without a file is met again by the next run, a file without a row by nobody.
    async fn recordings(&self, tenant: TenantId, now: Timestamp) -> bool {
        let setting = &Setting::RECORDINGS_RETENTION_DAYS;
        let Some((before, days)) = self.limit(Some(tenant), setting, now).await else { return false };
        let expired = match self.store.expired_recordings(tenant, &self.node, before, FILES_MAX).await {
            Ok(expired) => expired,
            Err(error) => return more("recordings", FILES_MAX, Err(error)),
        };
        let removed = remove_files(&self.recordings_dir, expired).await;
        let gone: Vec<_> = removed.iter().map(|row| (row.session, row.part)).collect();
        if gone.is_empty() {
            return false;
        }
        let count = gone.len() as u64;
        let forgotten = self.store.forget_recordings(TenantScope::Tenant(tenant), &gone).await;
        if forgotten.is_ok() {
            self.note(tenant, "recordings.purge", count, days).await;
        }
        more("recordings", FILES_MAX, forgotten.map(|()| count))
    }

    /// From before when things are too old by a setting, and after how many days; nothing where they are kept for ever.
    async fn limit(&self, of: Option<TenantId>, setting: &'static Setting, now: Timestamp) -> Option<(Timestamp, u64)> {
        let in_force = self.store.setting(TenantScope::Operator, of, setting).await;
        let in_force = in_force.inspect_err(|error| tracing::warn!(%error, setting.key, "a setting could not be read"));
        let days = in_force.ok()?.value.as_u64().filter(|days| *days > 0)?;
        let kept_us = DAY.as_micros() * u128::from(days);
        let before = now.as_micros().saturating_sub(i64::try_from(kept_us).unwrap_or(i64::MAX));
        Some((Timestamp::from_micros(before), days))
    }

    async fn note(&self, tenant: TenantId, action: &str, count: u64, days: u64) {
        tracing::info!(tenant.id = %tenant, count, days, "{action}");
        let entry = NewAuditEntry {
            tenant: Some(tenant),
            actor: "aimg".to_owned(),
            address: None,
            action: action.to_owned(),
            target: tenant.to_string(),
            outcome: "done".to_owned(),
            detail: json!({ "count": count, "retention_days": days }),
        };
        if let Err(error) = self.store.audit(entry).await {
            tracing::error!(tenant.id = %tenant, %error, "the audit log does not say that {action} removed {count}");
        }
    }
}

/// Whether a run has removed as much as it may, so that more may be there.
fn more(what: &str, most: u64, removed: aimg_store::Result<u64>) -> bool {
    match removed {
        Ok(removed) => removed >= most,
        Err(error) => {
            tracing::warn!(%error, "what is too old of the {what} could not be removed");
            false
        }
    }
}

/// Those whose files are gone afterwards.
async fn remove_files(recordings_dir: &Path, mut expired: Vec<RecordingRow>) -> Vec<RecordingRow> {
    let dir = recordings_dir.to_owned();
    let removed = tokio::task::spawn_blocking(move || {
        expired.retain(|row| {
            let removed = aimg_recording::remove(&dir, &row.path);
            removed
                .inspect_err(|error| tracing::error!(tenant.id = %row.tenant, session.id = %row.session, %error, "a recording that is too old is still there"))
                .is_ok()
        });
        expired
    });
    removed.await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use aimg_core::{SessionId, SessionRow, TranscriptId};
    use aimg_store::{Change, RecordingFilter, TranscriptFilter, TranscriptRow, TranscriptState};
    use uuid::Uuid;

    use super::*;
    use crate::fixture::{OPERATOR, store};

    fn day(n: u64) -> Timestamp {
        Timestamp::from_micros(0) + DAY * u32::try_from(n).unwrap()
    }

    /// A session with a recording, whose file is there, and a transcript: all of that day, on that node.
    async fn leave(store: &Store, dir: &Path, row: &SessionRow, n: u64, node: &str) -> SessionRow {
        let id = SessionId::from_uuid(Uuid::from_u128(n.into()));
        let row = SessionRow {
            id,
            uniqueid: aimg_core::Uniqueid::new(n.to_string()),
            node: node.parse().unwrap(),
            ..row.clone()
        };
        std::fs::write(dir.join(format!("{n}.wav")), "RIFF").unwrap();
        std::fs::write(dir.join(format!("{n}.json")), "{}").unwrap();
        let recording = RecordingRow {
            tenant: row.tenant,
            pbx: row.pbx,
            session: id,
            part: 0,
            path: format!("{n}.wav"),
            certificate: json!({}),
            complete: true,
            duration_ms: 1,
            bytes: 4,
            created_at: day(n),
        };
        let transcript = TranscriptRow {
            id: TranscriptId::from_uuid(id.as_uuid()),
            tenant: row.tenant,
            session: id,
            part: 0,
            provider: "riva".to_owned(),
            model: None,
            language: None,
            state: TranscriptState::Done,
            failure: None,
            created_at: day(n),
            finished_at: None,
        };
        let changes = [
            Change::Session(Box::new(row.clone())),
            Change::Recording(recording),
            Change::Transcript(Box::new(transcript)),
        ];
        store.apply(OPERATOR, &changes).await.unwrap();
        row
    }

    #[tokio::test]
    async fn what_is_too_old_goes_with_its_files_and_is_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let (store, row) = store(dir.path()).await;
        for n in 1..=4 {
            leave(&store, dir.path(), &row, n, "n1").await;
        }
        leave(&store, dir.path(), &row, 5, "n2").await;
        // The file of the first is gone already; that of the second cannot be removed.
        std::fs::remove_file(dir.path().join("1.wav")).unwrap();
        std::fs::remove_file(dir.path().join("2.wav")).unwrap();
        std::fs::create_dir(dir.path().join("2.wav")).unwrap();
        let purge = Purge {
            store: store.clone(),
            recordings_dir: dir.path().to_owned(),
            node: row.node.clone(),
            clock: Clock::anchored(),
        };
        let left = async || {
            let mut recordings: Vec<u128> = store
                .recordings(OPERATOR, RecordingFilter::default())
                .await
                .unwrap()
                .iter()
                .map(|r| r.session.as_uuid().as_u128())
                .collect();
            recordings.sort_unstable();
            let transcripts = store.transcripts(OPERATOR, &TranscriptFilter::default(), None).await.unwrap().len();
            (recordings, transcripts)
        };
        let set = async |setting, days: u32| {
            store.change_setting(OPERATOR, Some(row.tenant), setting, json!(days), None, "root").await.unwrap();
        };
        assert!(!purge.run(day(1_000)).await);
        assert_eq!(left().await, (vec![1, 2, 3, 4, 5], 5), "for ever, until somebody says how long");

        set(&Setting::RECORDINGS_RETENTION_DAYS, 10).await;
        set(&Setting::TRANSCRIPTS_RETENTION_DAYS, 11).await;
        purge.run(day(14)).await;
        assert_eq!(left().await, (vec![2, 4, 5], 3), "what is on another node's disk is not ours to remove");
        let there: Vec<bool> =
            ["1.json", "3.wav", "3.json", "4.wav", "5.wav"].iter().map(|f| dir.path().join(f).exists()).collect();
        assert_eq!(there, [false, false, false, true, true]);
        assert_eq!(store.quota(OPERATOR, row.tenant).await.unwrap().recordings, 3);
        let log = store.audit_log(TenantScope::Tenant(row.tenant), aimg_store::AuditFilter::default()).await.unwrap();
        let log: Vec<_> = log.iter().map(|e| (e.action.as_str(), e.detail["count"].as_u64())).collect();
        assert_eq!(log, [("recordings.purge", Some(2)), ("transcripts.purge", Some(2))]);

        set(&Setting::AUDIT_RETENTION_DAYS, 1).await;
        purge.run(purge.clock.now() + 2 * DAY).await;
        let log = store.audit_log(TenantScope::Tenant(row.tenant), aimg_store::AuditFilter::default()).await.unwrap();
        let kept: Vec<_> = log.iter().map(|e| e.action.as_str()).collect();
        assert_eq!(kept, ["recordings.purge", "transcripts.purge"], "what was done by this run alone");
    }
}
