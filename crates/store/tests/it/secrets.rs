//! Secrets at rest.

use aimg_core::DataKey;
use aimg_store::{Error, Store};
use secrecy::ExposeSecret;

use crate::fixture::{AMI_SECRET, ARI_PASSWORD, Db, OPERATOR, key, new_pbx};

conformance! {
    secrets_open_with_their_key_only,
    a_sealed_secret_moved_to_another_row_does_not_open,
}

async fn secrets_open_with_their_key_only(db: Db) {
    let (_, pbx) = db.tenant_with_pbx("acme").await;
    let secrets = db.store.pbx_secrets(OPERATOR, pbx).await.unwrap();
    assert_eq!(secrets.ami_secret.expose_secret(), AMI_SECRET);
    assert_eq!(secrets.ari_password.expose_secret(), ARI_PASSWORD);

    let stranger = Store::open(db.config.clone(), DataKey::derive(b"another")).await.unwrap();
    assert!(matches!(stranger.pbx_secrets(OPERATOR, pbx).await, Err(Error::Secret(_))));
    assert!(stranger.pbx(OPERATOR, pbx).await.is_ok(), "all but the secrets is there");
}

#[tokio::test]
async fn no_file_holds_a_secret_in_clear() {
    let db = Db::sqlite().await;
    db.tenant_with_pbx("acme").await;
    let contains = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    let files = || -> Vec<Vec<u8>> {
        let dir = db.path().parent().unwrap();
        std::fs::read_dir(dir).unwrap().map(|f| std::fs::read(f.unwrap().path()).unwrap()).collect()
    };
    // First with the write-ahead log beside the database, then folded into it.
    let with_log = files();
    db.store.clone().close().await.unwrap();
    for bytes in with_log.iter().chain(&files()) {
        assert!(!contains(bytes, AMI_SECRET) && !contains(bytes, ARI_PASSWORD));
    }
    assert!(files().iter().any(|bytes| contains(bytes, "acme-pbx")), "the row itself is there");
}

async fn a_sealed_secret_moved_to_another_row_does_not_open(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let other = db.store.add_pbx(OPERATOR, new_pbx(tenant, "other")).await.unwrap().id;
    db.run_sql(
        "UPDATE pbxs SET ami_secret = (SELECT ami_secret FROM pbxs WHERE name = 'acme-pbx') WHERE name = 'other'",
    )
    .await;
    assert!(matches!(db.store.pbx_secrets(OPERATOR, other).await, Err(Error::Secret(_))));
    assert!(db.store.pbx_secrets(OPERATOR, pbx).await.is_ok());

    db.run_sql("UPDATE pbxs SET ari_password = ami_secret WHERE name = 'acme-pbx'").await;
    assert!(matches!(db.store.pbx_secrets(OPERATOR, pbx).await, Err(Error::Secret(_))), "nor in another column");
}

#[test]
fn debug_shows_no_secret() {
    let secret = new_pbx(aimg_core::TenantId::from_uuid(uuid::Uuid::nil()), "acme");
    let shown = format!("{secret:?} {:?}", key());
    assert!(!shown.contains(AMI_SECRET) && !shown.contains(ARI_PASSWORD));
}
