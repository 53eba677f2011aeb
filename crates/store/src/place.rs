//! Where the database is: a SQLite file, or a database of a PostgreSQL server.

use std::fmt;
use std::path::PathBuf;

use sea_orm::{DatabaseConnection, DatabaseTransaction};

use crate::error::Result;
use crate::postgres::{self, PostgresPlace};
use crate::sqlite;
use crate::store::Config;

/// Where the database is. Shown without passwords.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file on this machine.
    Sqlite(PathBuf),
    /// A server, which several nodes can share.
    Postgres(PostgresPlace),
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    /// As for writing; on SQLite without foreign keys, which are checked at the end.
    Migrate,
}

impl Place {
    /// Makes what can be made: SQLite's file. A PostgreSQL database is its administrator's to make.
    pub(crate) fn make(&self) -> Result<()> {
        match self {
            Self::Sqlite(path) => sqlite::make_file(path),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Opens a pool of connections to a database that exists.
    pub(crate) async fn connect(&self, config: &Config, access: Access) -> Result<DatabaseConnection> {
        match self {
            Self::Sqlite(path) => sqlite::connect(path, config, access).await,
            Self::Postgres(place) => postgres::connect(place, config, access).await,
        }
    }

    /// Begins the transaction in which migrations are applied; no two programs are in one at once.
    pub(crate) async fn begin_migration(
        &self,
        db: &DatabaseConnection,
        config: &Config,
    ) -> Result<DatabaseTransaction> {
        match self {
            Self::Sqlite(path) => {
                sqlite::enable_wal(db, path, config.patience).await?;
                sqlite::begin_write(db).await
            }
            Self::Postgres(_) => postgres::begin_migration(db).await,
        }
    }

    /// Checks what a migration has left, before it is made last.
    pub(crate) async fn check_migrated(&self, transaction: &DatabaseTransaction) -> Result<()> {
        match self {
            Self::Sqlite(_) => sqlite::check_foreign_keys(transaction).await,
            Self::Postgres(_) => Ok(()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(place) => place.fmt(f),
        }
    }
}
