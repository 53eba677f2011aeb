//! The versions of the schema. A migration that was released is never changed; a new one is added.

mod m0001_first;

use std::path::Path;

use sea_orm::{ConnectionTrait, DatabaseConnection, EntityTrait, IntoDatabaseExecutor};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager, seaql_migrations};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::sqlite;
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
        vec![Box::new(m0001_first::Migration)]
    }
}

/// Applies what is missing, in one transaction.
pub(crate) async fn migrate(db: &DatabaseConnection, config: &Config) -> Result<Vec<String>> {
    // The refusal of a newer database comes before anything is written.
    status(db, &config.path).await?;
    sqlite::enable_wal(db, config).await?;
    let transaction = sqlite::begin_write(db).await?;
    // Another program may have been faster: what counts is seen under the write lock.
    let pending: Vec<String> =
        status(&transaction, &config.path).await?.into_iter().filter(|m| !m.applied).map(|m| m.name).collect();
    if !pending.is_empty() {
        Migrator::up(&transaction, None).await?;
    }
    transaction.commit().await?;
    Ok(pending)
}

/// The migrations of this program in their order; changes nothing.
pub(crate) async fn status<'c, C>(db: &'c C, path: &Path) -> Result<Vec<MigrationState>>
where
    C: ConnectionTrait,
    &'c C: IntoDatabaseExecutor<'c>,
{
    let applied = applied_names(db, path).await?;
    let known: Vec<String> = Migrator::migrations().iter().map(|m| m.name().to_owned()).collect();
    let unknown: Vec<&str> = applied.iter().filter(|name| !known.contains(name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(Error::NewerDatabase { path: path.to_owned(), unknown: unknown.join(", ") });
    }
    Ok(known.into_iter().map(|name| MigrationState { applied: applied.contains(&name), name }).collect())
}

#[expect(clippy::disallowed_methods, reason = "migrations belong to no tenant")]
async fn applied_names<'c, C>(db: &'c C, path: &Path) -> Result<Vec<String>>
where
    C: ConnectionTrait,
    &'c C: IntoDatabaseExecutor<'c>,
{
    if sqlite::is_empty(db, path).await? {
        return Ok(Vec::new());
    }
    if !SchemaManager::new(db).has_table(MIGRATIONS_TABLE).await? {
        return Err(Error::NotADatabase { path: path.to_owned() });
    }
    let rows = seaql_migrations::Entity::find().all(db).await?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}
