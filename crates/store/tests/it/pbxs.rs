//! A PBX's row: changed as a whole or in part.

use aimg_core::{AriLink, Codec, Fingerprint, TapMode, Tls, Trust};
use aimg_store::{Error, Pbx, PbxChange};
use secrecy::ExposeSecret;

use crate::fixture::{AMI_SECRET, ARI_PASSWORD, Db, OPERATOR, new_pbx};

conformance! {
    everything_but_name_and_tenant_can_be_changed,
    what_is_not_named_stays_and_every_change_is_seen,
}

async fn everything_but_name_and_tenant_can_be_changed(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let other = db.store.add_pbx(OPERATOR, new_pbx(tenant, "other")).await.unwrap();
    let before = db.store.pbx(OPERATOR, pbx).await.unwrap();
    let pinned = Tls::from(Trust::Fingerprint(Fingerprint::new([7; 32])));
    let named = Tls { trust: Trust::CaPem("PEM".to_owned()), name: Some("pbx.example".to_owned()) };
    let change = PbxChange {
        host: Some("pbx".to_owned()),
        ami_port: Some(5039),
        ami_tls: Some(Some(pinned.clone())),
        ami_user: Some("u1".to_owned()),
        ami_secret: Some("s1".into()),
        ari_url: Some("https://pbx:8089/ari".to_owned()),
        ari_tls: Some(named.clone()),
        ari_link: Some(AriLink::Accept),
        ari_user: Some("u2".to_owned()),
        ari_password: Some("s2".into()),
        ari_app: Some("app".to_owned()),
        tap_mode: Some(TapMode::Ami),
        codec: Some(Codec::Alaw),
        inbound_contexts: Some(vec!["a".to_owned(), "b".to_owned()]),
        enabled: Some(false),
    };
    let changed = db.store.change_pbx(OPERATOR, pbx, None, change).await.unwrap();
    let expected = Pbx {
        host: "pbx".to_owned(),
        ami_port: 5039,
        ami_tls: Some(pinned),
        ami_user: "u1".to_owned(),
        ari_url: "https://pbx:8089/ari".to_owned(),
        ari_tls: named,
        ari_link: AriLink::Accept,
        ari_user: "u2".to_owned(),
        ari_app: "app".to_owned(),
        tap_mode: TapMode::Ami,
        codec: Codec::Alaw,
        inbound_contexts: vec!["a".to_owned(), "b".to_owned()],
        enabled: false,
        changed_at: changed.changed_at,
        version: 2,
        ..before
    };
    assert_eq!(changed, expected);
    assert_eq!(db.store.pbx(OPERATOR, pbx).await.unwrap(), expected);
    let secrets = db.store.pbx_secrets(OPERATOR, pbx).await.unwrap();
    assert_eq!((secrets.ami_secret.expose_secret(), secrets.ari_password.expose_secret()), ("s1", "s2"));
    assert_eq!(db.store.pbx(OPERATOR, other.id).await.unwrap(), other, "no other row is touched");
}

async fn what_is_not_named_stays_and_every_change_is_seen(db: Db) {
    let (_, pbx) = db.tenant_with_pbx("acme").await;
    let mut before = db.store.pbx(OPERATOR, pbx).await.unwrap();
    let changes = [
        PbxChange { ami_tls: Some(Some(Tls::default())), ..PbxChange::default() },
        PbxChange { ami_tls: Some(None), ..PbxChange::default() },
        // Seen by nothing but the time of the change.
        PbxChange { ami_secret: Some(AMI_SECRET.into()), ..PbxChange::default() },
    ];
    for change in changes {
        let tls = change.ami_tls.clone().unwrap_or_default();
        let changed = db.store.change_pbx(OPERATOR, pbx, None, change).await.unwrap();
        assert!(changed.changed_at > before.changed_at);
        assert_eq!(
            changed,
            Pbx { ami_tls: tls, changed_at: changed.changed_at, version: before.version + 1, ..before }
        );
        before = changed;
    }
    let secrets = db.store.pbx_secrets(OPERATOR, pbx).await.unwrap();
    assert_eq!(secrets.ari_password.expose_secret(), ARI_PASSWORD);
    let nobody = aimg_core::PbxId::from_uuid(uuid::Uuid::nil());
    let missing = db.store.change_pbx(OPERATOR, nobody, None, PbxChange::default()).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
}
