//! An empty database of either kind, and rows to put into it.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use aimg_core::{
    AriLink, CallDirection, CallEvent, CallEventKind, CallState, Codec, DataKey, LegRow, PbxId, SessionId, SessionRow,
    TapMode, TenantId, TenantScope, Timestamp, Tls, Uniqueid,
};
use aimg_store::{Change, Config, NewPbx, Place, PostgresPlace, RecordingRow, Store};
use aimg_testbed::Postgres;
use sea_orm::{ConnectionTrait, Database};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::transcripts::{segment, transcript};

pub(crate) const OPERATOR: TenantScope = TenantScope::Operator;
pub(crate) const AMI_SECRET: &str = "ami-secret-in-clear";
pub(crate) const ARI_PASSWORD: &str = "ari-password-in-clear";

pub(crate) fn key() -> DataKey {
    DataKey::derive(b"the secret of this installation")
}

pub(crate) fn at(us: i64) -> Timestamp {
    Timestamp::from_micros(1_769_860_800_000_000 + us)
}

/// A database that was just made and migrated.
pub(crate) struct Db {
    /// Where a SQLite file is.
    pub(crate) dir: TempDir,
    pub(crate) config: Config,
    pub(crate) store: Store,
}

impl Db {
    pub(crate) async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::sqlite(dir.path().join("data/aimg.db"));
        Self::open(dir, config).await
    }

    /// A new database of a running server.
    pub(crate) async fn postgres(server: &Postgres) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        let url = server.make_database(&name).unwrap();
        let config = Config::postgres(PostgresPlace::from_url(&url).unwrap());
        Self::open(tempfile::tempdir().unwrap(), config).await
    }

    async fn open(dir: TempDir, config: Config) -> Self {
        let store = Store::open(config.clone(), key()).await.unwrap();
        Self { dir, config, store }
    }

    /// The name of a database on a server.
    pub(crate) fn name(&self) -> String {
        self.config.place.to_string().rsplit('/').next().unwrap().to_owned()
    }

    /// The SQLite file.
    pub(crate) fn path(&self) -> &Path {
        let Place::Sqlite(path) = &self.config.place else { panic!("no file") };
        path
    }

    /// Runs statements behind the store's back; on PostgreSQL as an operator.
    pub(crate) async fn run_sql(&self, sql: &str) {
        let (url, first) = match &self.config.place {
            Place::Sqlite(path) => (format!("sqlite://{}", path.display()), ""),
            Place::Postgres(place) => (place.to_string(), "SET aimg.scope = 'operator';"),
        };
        let db = Database::connect(url).await.unwrap();
        db.execute_unprepared(&format!("{first} {sql}")).await.unwrap();
        db.close().await.unwrap();
    }

    pub(crate) async fn tenant_with_pbx(&self, name: &str) -> (TenantId, PbxId) {
        let tenant = self.store.add_tenant(OPERATOR, name, json!({"calls": "all"})).await.unwrap().id;
        let pbx = self.store.add_pbx(OPERATOR, new_pbx(tenant, &format!("{name}-pbx"))).await.unwrap().id;
        (tenant, pbx)
    }
}

pub(crate) fn new_pbx(tenant: impl Into<Option<TenantId>>, name: &str) -> NewPbx {
    NewPbx {
        tenant: tenant.into(),
        name: name.to_owned(),
        host: "127.0.0.1".to_owned(),
        ami_port: 5038,
        ami_tls: None,
        ami_user: "aimg".to_owned(),
        ami_secret: AMI_SECRET.into(),
        ari_url: "http://127.0.0.1:8088/ari".to_owned(),
        ari_tls: Tls::default(),
        ari_link: AriLink::Connect,
        ari_user: "aimg".to_owned(),
        ari_password: ARI_PASSWORD.into(),
        ari_app: "aimg".to_owned(),
        tap_mode: TapMode::Hook,
        codec: Codec::Ulaw,
        inbound_contexts: vec!["from-trunk".to_owned()],
    }
}

pub(crate) fn session(tenant: TenantId, pbx: PbxId, n: u128) -> SessionRow {
    SessionRow {
        id: SessionId::from_uuid(Uuid::from_u128(n)),
        tenant,
        pbx,
        uniqueid: Uniqueid::new(format!("1769860800.{n}")),
        linkedid: Uniqueid::new(format!("1769860800.{n}")),
        state: CallState::Detected,
        call_direction: CallDirection::Inbound,
        caller_number: Some("4930123456".to_owned()),
        dialled_number: Some("100".to_owned()),
        context: Some("from-trunk".to_owned()),
        started_at: at(i64::try_from(n).unwrap()),
        answered_at: None,
        ended_at: None,
        hangup_cause: None,
        node: "n1".parse().unwrap(),
        captured: true,
    }
}

pub(crate) fn leg(session: &SessionRow) -> LegRow {
    LegRow {
        tenant: session.tenant,
        session: session.id,
        uniqueid: session.uniqueid.clone(),
        name: "PJSIP/alice-00000001".to_owned(),
        caller_number: session.caller_number.clone(),
        joined_at: session.started_at,
        left_at: None,
        hangup_cause: None,
    }
}

pub(crate) fn event(session: &SessionRow, us: i64, kind: CallEventKind) -> CallEvent {
    CallEvent { tenant: session.tenant, pbx: session.pbx, session: session.id, at: at(us), kind }
}

pub(crate) fn recording(session: &SessionRow, part: u16) -> RecordingRow {
    RecordingRow {
        tenant: session.tenant,
        pbx: session.pbx,
        session: session.id,
        part,
        path: format!("{}.{part}.wav", session.id),
        certificate: json!({"head_gap_ms": 0}),
        complete: true,
        duration_ms: 4_000,
        bytes: 128_044,
        created_at: at(9_000_000),
    }
}

/// One change of every kind about a session.
pub(crate) fn changes_of(session: &SessionRow) -> Vec<Change> {
    vec![
        Change::Session(Box::new(session.clone())),
        Change::Leg(leg(session)),
        Change::Event(event(session, 1, CallEventKind::LegJoined { channel: session.uniqueid.clone() })),
        Change::Event(event(session, 2, CallEventKind::TapRequested { part: 0 })),
        Change::Live { tenant: session.tenant, session: session.id, ledgers: json!({"caller": {"received": 50}}) },
        Change::Recording(recording(session, 0)),
        Change::Transcript(Box::new(transcript(session))),
        Change::Segment(Box::new(segment(session, 0, "Guten Tag"))),
    ]
}
