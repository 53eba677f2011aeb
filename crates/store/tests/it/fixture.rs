//! A database with two tenants, and rows to put into it.

use aimg_core::{
    CallDirection, CallEvent, CallEventKind, CallState, Codec, DataKey, LegRow, PbxId, SessionId, SessionRow, TapMode,
    TenantId, TenantScope, Timestamp, Uniqueid,
};
use aimg_store::{Change, Config, NewPbx, RecordingRow, Store};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const OPERATOR: TenantScope = TenantScope::Operator;
pub(crate) const AMI_SECRET: &str = "ami-secret-in-clear";
pub(crate) const ARI_PASSWORD: &str = "ari-password-in-clear";

pub(crate) fn key() -> DataKey {
    DataKey::derive(b"the secret of this installation")
}

pub(crate) fn at(us: i64) -> Timestamp {
    Timestamp::from_micros(1_769_860_800_000_000 + us)
}

pub(crate) struct Db {
    pub(crate) dir: TempDir,
    pub(crate) config: Config,
    pub(crate) store: Store,
}

impl Db {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new(dir.path().join("data/aimg.db"));
        let store = Store::open(config.clone(), key()).await.unwrap();
        Self { dir, config, store }
    }

    pub(crate) async fn tenant_with_pbx(&self, name: &str) -> (TenantId, PbxId) {
        let tenant = self.store.add_tenant(OPERATOR, name, json!({"calls": "all"})).await.unwrap().id;
        let pbx = self.store.add_pbx(OPERATOR, new_pbx(tenant, &format!("{name}-pbx"))).await.unwrap().id;
        (tenant, pbx)
    }
}

pub(crate) fn new_pbx(tenant: TenantId, name: &str) -> NewPbx {
    NewPbx {
        tenant,
        name: name.to_owned(),
        host: "127.0.0.1".to_owned(),
        ami_port: 5038,
        ami_user: "aimg".to_owned(),
        ami_secret: AMI_SECRET.into(),
        ari_url: "http://127.0.0.1:8088/ari".to_owned(),
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
    ]
}
