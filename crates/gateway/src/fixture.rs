//! What the tests of this crate begin with: a store with a tenant, its PBX and one session that is not in it yet.

use std::path::Path;

use aimg_core::{
    AriLink, CallDirection, CallState, Codec, DataKey, SessionRow, TapMode, TenantScope, Timestamp, Tls, Uniqueid,
};
use aimg_store::{NewPbx, Store};

pub(crate) const OPERATOR: TenantScope = TenantScope::Operator;

pub(crate) async fn store(dir: &Path) -> (Store, SessionRow) {
    let store = Store::open(aimg_store::Config::sqlite(dir.join("aimg.db")), DataKey::derive(b"key")).await.unwrap();
    let tenant = store.add_tenant(OPERATOR, "acme", "all".into()).await.unwrap();
    let pbx = NewPbx {
        tenant: Some(tenant.id),
        name: "office".into(),
        host: "127.0.0.1".into(),
        ami_port: 5038,
        ami_tls: None,
        ami_user: "aimg".into(),
        ami_secret: String::from("s").into(),
        ari_url: "http://127.0.0.1:8088/ari".into(),
        ari_tls: Tls::default(),
        ari_link: AriLink::Connect,
        ari_user: "aimg".into(),
        ari_password: String::from("p").into(),
        ari_app: "aimg".into(),
        tap_mode: TapMode::Ami,
        codec: Codec::Ulaw,
        inbound_contexts: vec![],
    };
    let pbx = store.add_pbx(OPERATOR, pbx).await.unwrap();
    let row = SessionRow {
        id: "0198c1de-1111-7000-8000-000000000001".parse().unwrap(),
        tenant: tenant.id,
        pbx: pbx.id,
        uniqueid: Uniqueid::new("1.1"),
        linkedid: Uniqueid::new("1.1"),
        state: CallState::Detected,
        call_direction: CallDirection::Inbound,
        caller_number: None,
        dialled_number: None,
        context: None,
        started_at: Timestamp::from_micros(1),
        answered_at: None,
        ended_at: None,
        hangup_cause: None,
        node: "n1".parse().unwrap(),
        captured: true,
    };
    (store, row)
}
