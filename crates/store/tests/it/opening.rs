//! The file: made, migrated, refused, shared.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use aimg_store::{Config, Error, SessionFilter, Store};
use sea_orm::{ConnectionTrait, Database};

use crate::fixture::{Db, OPERATOR, changes_of, key, session};

fn all() -> SessionFilter {
    SessionFilter::default()
}

async fn run_sql(path: &Path, sql: &str) {
    let db = Database::connect(format!("sqlite://{}", path.display())).await.unwrap();
    db.execute_unprepared(sql).await.unwrap();
    db.close().await.unwrap();
}

#[tokio::test]
async fn the_first_start_makes_directory_file_and_tables() {
    let db = Db::sqlite().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(db.path()) & !0o640, 0, "no more than 0640, whatever the umask");
    assert_eq!(mode(&db.dir.path().join("data")) & 0o007, 0);
    assert!(Store::migration_status(&db.config).await.unwrap().iter().all(|m| m.applied));
    assert!(db.store.tenants(OPERATOR).await.unwrap().is_empty());
}

#[tokio::test]
async fn migrating_again_does_nothing_and_keeps_all() {
    let db = Db::sqlite().await;
    db.tenant_with_pbx("acme").await;
    assert!(Store::migrate(&db.config).await.unwrap().is_empty());
    let again = Store::open(db.config.clone(), key()).await.unwrap();
    assert_eq!(again.tenants(OPERATOR).await.unwrap().len(), 1);
}

/// Six programs at once: each migration is applied by one of them.
pub(crate) async fn migrate_together(config: &Config) {
    let starts: Vec<_> = (0..6)
        .map(|_| {
            let config = config.clone();
            tokio::spawn(async move { Store::migrate(&config).await })
        })
        .collect();
    let mut applied = 0;
    for start in starts {
        applied += start.await.unwrap().unwrap().len();
    }
    assert_eq!(applied, Store::migration_status(config).await.unwrap().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn programs_that_start_together_migrate_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::sqlite(dir.path().join("aimg.db"));
    migrate_together(&config).await;
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_as_it_is() {
    let db = Db::sqlite().await;
    db.store.clone().close().await.unwrap();
    db.run_sql("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m0999_future', 1)").await;
    let before = fs::read(db.path()).unwrap();

    let refusals = [
        Store::open(db.config.clone(), key()).await.map(drop),
        Store::open_existing(db.config.clone(), key()).await.map(drop),
        Store::open_read_only(db.config.clone()).await.map(drop),
        Store::migrate(&db.config).await.map(drop),
        Store::migration_status(&db.config).await.map(drop),
    ];
    for refusal in refusals {
        let error = refusal.unwrap_err();
        assert!(matches!(&error, Error::NewerDatabase { unknown, .. } if unknown == "m0999_future"), "{error}");
        assert!(error.to_string().contains("newer aimg"), "{error}");
    }
    assert!(fs::read(db.path()).unwrap() == before, "nothing is touched");
}

#[tokio::test]
async fn readers_make_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::sqlite(dir.path().join("aimg.db"));
    assert!(matches!(Store::open_read_only(config.clone()).await, Err(Error::NoDatabase { .. })));
    assert!(matches!(Store::open_existing(config.clone(), key()).await, Err(Error::NoDatabase { .. })));
    assert!(matches!(Store::migration_status(&config).await, Err(Error::NoDatabase { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_database_that_lacks_migrations_is_for_migrate_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("aimg.db");
    let config = Config::sqlite(&path);
    fs::write(&path, "").unwrap();
    assert!(matches!(Store::open_read_only(config.clone()).await, Err(Error::OlderDatabase { .. })));
    assert!(matches!(Store::open_existing(config.clone(), key()).await, Err(Error::OlderDatabase { .. })));
    assert!(Store::migration_status(&config).await.unwrap().iter().all(|m| !m.applied));
    Store::open(config, key()).await.unwrap();
}

#[tokio::test]
async fn another_programs_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("aimg.db");
    let config = Config::sqlite(&path);
    fs::write(&path, "this is a letter to my aunt, long enough to be more than the header of a database file. ")
        .unwrap();
    let error = Store::open(config.clone(), key()).await.unwrap_err();
    assert!(matches!(error, Error::NotADatabase { .. }), "{error}");

    fs::write(&path, "").unwrap();
    run_sql(&path, "CREATE TABLE cats (name TEXT)").await;
    let error = Store::open(config.clone(), key()).await.unwrap_err();
    assert!(matches!(error, Error::NotADatabase { .. }), "{error}");
}

#[tokio::test]
async fn a_path_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(Config::sqlite(file.join("data/aimg.db")), key()).await.unwrap_err();
    assert!(matches!(error, Error::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains("file"), "{error}");
}

#[tokio::test]
async fn a_lock_that_is_not_let_go_is_busy() {
    let db = Db::sqlite().await;
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let impatient = Config { patience: Duration::from_millis(20), ..db.config.clone() };
    let store = Store::open_existing(impatient, key()).await.unwrap();

    let holder = Database::connect(format!("sqlite://{}", db.path().display())).await.unwrap();
    holder.execute_unprepared("BEGIN IMMEDIATE").await.unwrap();
    let changes = changes_of(&session(tenant, pbx, 1));
    assert!(matches!(store.apply(OPERATOR, &changes).await, Err(Error::Busy)));
    assert!(store.sessions(OPERATOR, all()).await.unwrap().is_empty(), "readers go on");
    holder.execute_unprepared("ROLLBACK").await.unwrap();
    store.apply(OPERATOR, &changes).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_reads_while_a_writer_writes() {
    const BATCHES: u128 = 100;
    let db = Db::sqlite().await;
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let writer = db.store.clone();
    let writing = tokio::spawn(async move {
        for n in 1..=BATCHES {
            writer.apply(OPERATOR, &changes_of(&session(tenant, pbx, n))).await.unwrap();
        }
    });

    let reader = Store::open_read_only(db.config.clone()).await.unwrap();
    let mut seen = 0;
    while !writing.is_finished() {
        let sessions = reader.sessions(OPERATOR, all()).await.unwrap();
        assert!(sessions.len() >= seen, "nothing disappears");
        assert!(sessions.iter().all(|s| s.live.is_some()), "a batch is seen whole");
        seen = sessions.len();
    }
    writing.await.unwrap();
    assert_eq!(reader.sessions(OPERATOR, all()).await.unwrap().len(), usize::try_from(BATCHES).unwrap());
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let db = Db::sqlite().await;
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let reader = Store::open_read_only(db.config.clone()).await.unwrap();
    let changes = changes_of(&session(tenant, pbx, 1));
    assert!(matches!(reader.apply(OPERATOR, &changes).await, Err(Error::ReadOnly)));
    assert!(matches!(reader.pbx_secrets(OPERATOR, pbx).await, Err(Error::NoKey)));
}
