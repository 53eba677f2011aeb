//! The versions of the schema. A migration that was released is never changed; a new one is added.

mod m0001_first;
mod m0002_pbx_tls;
mod m0003_walls;
mod m0004_accounts;
mod m0005_lists;
mod m0006_shared_pbxs;
mod m0007_webhooks;
mod m0008_tenant_rows;
mod m0009_rest;
mod m0010_calls;
mod m0011_search;
mod m0012_transcripts;

use sea_orm::{ConnectionTrait, DatabaseConnection, EntityTrait, IntoDatabaseExecutor, Statement};
use sea_orm_migration::{MigrationTrait, MigratorTrait, seaql_migrations};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::place::Place;
use crate::store::Config;

/// The table in which SeaORM notes what it applied.
const MIGRATIONS_TABLE: &str = "seaql_migrations";

/// One migration of this program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MigrationState {
    /// Its name.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_first::Migration),
            Box::new(m0002_pbx_tls::Migration),
            Box::new(m0003_walls::Migration),
            Box::new(m0004_accounts::Migration),
            Box::new(m0005_lists::Migration),
            Box::new(m0006_shared_pbxs::Migration),
            Box::new(m0007_webhooks::Migration),
            Box::new(m0008_tenant_rows::Migration),
            Box::new(m0009_rest::Migration),
            Box::new(m0010_calls::Migration),
            Box::new(m0011_search::Migration),
            Box::new(m0012_transcripts::Migration),
        ]
    }
}

/// Applies what is missing, in one transaction.
pub(crate) async fn migrate(db: &DatabaseConnection, config: &Config) -> Result<Vec<String>> {
    // The refusal of a newer database comes before anything is written.
    status(db, &config.place).await?;
    let transaction = config.place.begin_migration(db, config).await?;
    // Another program may have been faster: what counts is seen under the write lock.
    let pending: Vec<String> =
        status(&transaction, &config.place).await?.into_iter().filter(|m| !m.applied).map(|m| m.name).collect();
    if !pending.is_empty() {
        Migrator::up(&transaction, None).await?;
        config.place.check_migrated(&transaction).await?;
    }
    transaction.commit().await?;
    Ok(pending)
}

/// The migrations of this program in their order; changes nothing.
pub(crate) async fn status<'c, C>(db: &'c C, place: &Place) -> Result<Vec<MigrationState>>
where
    C: ConnectionTrait,
    &'c C: IntoDatabaseExecutor<'c>,
{
    let applied = applied_names(db, place).await?;
    let known: Vec<String> = Migrator::migrations().iter().map(|m| m.name().to_owned()).collect();
    let unknown: Vec<&str> = applied.iter().filter(|name| !known.contains(name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(Error::NewerDatabase { place: place.to_string(), unknown: unknown.join(", ") });
    }
    Ok(known.into_iter().map(|name| MigrationState { applied: applied.contains(&name), name }).collect())
}

#[expect(clippy::disallowed_methods, reason = "migrations belong to no tenant")]
async fn applied_names<'c, C>(db: &'c C, place: &Place) -> Result<Vec<String>>
where
    C: ConnectionTrait,
    &'c C: IntoDatabaseExecutor<'c>,
{
    let tables = table_names(db, place).await?;
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    if !tables.iter().any(|name| name == MIGRATIONS_TABLE) {
        return Err(Error::NotADatabase { place: place.to_string() });
    }
    let rows = seaql_migrations::Entity::find().all(db).await?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}

/// The tables that are there: none in a database that was just made. It is the first look into a file that may be anything.
async fn table_names(db: &impl ConnectionTrait, place: &Place) -> Result<Vec<String>> {
    let query = match place {
        Place::Sqlite(_) => "SELECT name FROM sqlite_master WHERE type = 'table'",
        Place::Postgres(_) => "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = current_schema()",
    };
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), query)).await;
    let rows = rows.map_err(|e| match place {
        Place::Sqlite(path) => Error::from_first_read(e, path),
        Place::Postgres(_) => e.into(),
    })?;
    rows.iter().map(|row| Ok(row.try_get("", "name")?)).collect()
}

#[cfg(test)]
mod tests {
    use aimg_core::{AriLink, DataKey, TenantScope, Tls};
    use sea_orm::Database;
    use sea_orm_migration::SchemaManager;

    use super::*;
    use crate::SessionFilter;
    use crate::store::Store;

    /// A tenant and a PBX as the first version wrote them.
    const ROWS_OF_THE_FIRST: &str = "
        INSERT INTO tenants VALUES (x'01a208c172cb75a19eeaad7909725454', 'acme', '\"all\"', 1, 7);
        INSERT INTO pbxs VALUES (x'01a208c1000075a19eeaad7909725454', x'01a208c172cb75a19eeaad7909725454', 'office',
            '10.0.0.5', 5038, 'aimg', x'00', 'http://10.0.0.5:8088/ari', 'aimg', x'00', 'aimg', 'hook', 'ulaw', '[]', 1, 8);
        INSERT INTO call_sessions (id, tenant_id, pbx_id, uniqueid, linkedid, state, call_direction, started_at, node, captured)
            VALUES (x'01a208c2000075a19eeaad7909725454', x'01a208c172cb75a19eeaad7909725454', x'01a208c1000075a19eeaad7909725454',
            '1.1', '1.1', 'ended', 'inbound', 9, 'n1', 1)";

    #[tokio::test]
    async fn a_database_of_the_first_version_keeps_its_rows_up_and_down() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::sqlite(dir.path().join("aimg.db"));
        let db =
            Database::connect(format!("sqlite://{}?mode=rwc", dir.path().join("aimg.db").display())).await.unwrap();
        Migrator::up(&db, Some(1)).await.unwrap();
        db.execute_unprepared(ROWS_OF_THE_FIRST).await.unwrap();

        // What was taken back can be applied again.
        let manager = SchemaManager::new(&db);
        Migrator::up(&db, Some(1)).await.unwrap();
        Migrator::down(&db, Some(1)).await.unwrap();
        for column in ["ami_tls", "ari_tls", "ari_link", "changed_at"] {
            assert!(!manager.has_column("pbxs", column).await.unwrap(), "{column}");
        }
        let store = Store::open(config.clone(), DataKey::derive(b"key")).await.unwrap();
        let [pbx] = &store.pbxs(TenantScope::Operator).await.unwrap()[..] else { panic!("one PBX") };
        assert_eq!((pbx.name.as_str(), pbx.created_at.as_micros()), ("office", 8));
        assert_eq!((&pbx.ami_tls, &pbx.ari_tls, pbx.ari_link), (&None, &Tls::default(), AriLink::Connect));
        let [session] = &store.sessions(TenantScope::Operator, SessionFilter::default()).await.unwrap()[..] else {
            panic!("one session")
        };
        assert_eq!(session.row.pbx, pbx.id);
        // The table that was made anew is guarded as it was.
        assert!(db.execute_unprepared("DELETE FROM pbxs").await.is_err(), "a session names it");
        assert!(Store::migration_status(&config).await.unwrap().iter().all(|m| m.applied));
    }
}
