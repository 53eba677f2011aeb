//! The open database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aimg_core::{DataKey, TenantScope, Timestamp};
use sea_orm::{DatabaseConnection, TransactionTrait};
use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::migration::{self, MigrationState};
use crate::place::{Access, Place};
use crate::postgres::{self, PostgresPlace};
use crate::scope::Rows;
use crate::sqlite;

/// Where the database is and how it is opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database.
    pub place: Place,
    /// How long a statement waits for another program's lock before it fails with [`Error::Busy`], and how long a
    /// PostgreSQL server may take to give a connection before it is [`Error::Away`].
    pub patience: Duration,
    /// The most connections at once. SQLite has one writer at a time; the others read.
    pub connections_max: u32,
}

impl Config {
    /// The file at `path`; 5 s of patience, 4 connections.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self { place: Place::Sqlite(path.into()), patience: Duration::from_secs(5), connections_max: 4 }
    }

    /// A PostgreSQL database; 5 s of patience, 16 connections: a server allows 100 by default, for all nodes together.
    pub fn postgres(place: PostgresPlace) -> Self {
        Self { place: Place::Postgres(place), patience: Duration::from_secs(5), connections_max: 16 }
    }
}

/// An open database. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    db: DatabaseConnection,
    place: Arc<Place>,
    key: Option<Arc<DataKey>>,
    /// Rung when there is something to deliver.
    bell: Arc<Notify>,
}

impl Store {
    /// Opens the database for reading and writing; makes SQLite's directory and file, and applies migrations as needed.
    pub async fn open(config: Config, key: DataKey) -> Result<Self> {
        Self::migrate(&config).await?;
        Self::open_existing(config, key).await
    }

    /// Opens a database that exists and is of this version; makes and migrates nothing.
    pub async fn open_existing(config: Config, key: DataKey) -> Result<Self> {
        let db = Self::open_current(&config, Access::Write).await?;
        Ok(Self { db, place: Arc::new(config.place), key: Some(Arc::new(key)), bell: Arc::default() })
    }

    /// Opens a database that exists and is of this version, for reading; without a key, so that secrets stay shut.
    pub async fn open_read_only(config: Config) -> Result<Self> {
        let db = Self::open_current(&config, Access::Read).await?;
        Ok(Self { db, place: Arc::new(config.place), key: None, bell: Arc::default() })
    }

    /// Makes SQLite's file when there is none and applies the migrations that are missing; gives their names. All or none is
    /// applied, also when two programs do it at once. A newer database is refused and left as it is.
    pub async fn migrate(config: &Config) -> Result<Vec<String>> {
        config.place.make()?;
        let db = config.place.connect(config, Access::Migrate).await?;
        let applied = migration::migrate(&db, config).await;
        db.close().await?;
        applied
    }

    /// The migrations of this program and whether each is applied; changes nothing.
    pub async fn migration_status(config: &Config) -> Result<Vec<MigrationState>> {
        let db = Self::connect_existing(config, Access::Read).await?;
        let status = migration::status(&db, &config.place).await;
        db.close().await?;
        status
    }

    /// Closes the connections; SQLite folds its write-ahead log into the file when the last program does so.
    pub async fn close(self) -> Result<()> {
        Ok(self.db.close().await?)
    }

    async fn open_current(config: &Config, access: Access) -> Result<DatabaseConnection> {
        let db = Self::connect_existing(config, access).await?;
        let pending = migration::status(&db, &config.place).await?.iter().filter(|m| !m.applied).count();
        if pending > 0 {
            return Err(Error::OlderDatabase { place: config.place.to_string(), pending });
        }
        Ok(db)
    }

    async fn connect_existing(config: &Config, access: Access) -> Result<DatabaseConnection> {
        if let Place::Sqlite(path) = &config.place
            && !path.try_exists().map_err(|e| Error::from_io(e, path))?
        {
            return Err(Error::NoDatabase { place: config.place.to_string() });
        }
        config.place.connect(config, access).await
    }

    /// The key that signs access tokens.
    pub fn token_key(&self) -> Result<&[u8; 32]> {
        Ok(self.key()?.token_key())
    }

    /// Where the database is, to be shown.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Why a tenant's rows are guarded by our own queries alone, where PostgreSQL could guard them too.
    pub async fn weakness(&self) -> Result<Option<&'static str>> {
        let passes = matches!(*self.place, Place::Postgres(_)) && postgres::passes_walls(&self.db).await?;
        Ok(passes.then_some(
            "the database user is a superuser or has BYPASSRLS, so row-level security does not bind it; let aimg come as an ordinary role that owns the database",
        ))
    }

    /// One state of the rows in reach of `scope`, for reading.
    pub(crate) async fn read(&self, scope: TenantScope) -> Result<Rows> {
        let transaction = match *self.place {
            Place::Sqlite(_) => self.db.begin().await?,
            Place::Postgres(_) => postgres::begin(&self.db, scope, Access::Read).await?,
        };
        Ok(Rows::new(scope, transaction))
    }

    /// The rows in reach of `scope`, for writing.
    pub(crate) async fn write(&self, scope: TenantScope) -> Result<Rows> {
        let transaction = match *self.place {
            Place::Sqlite(_) => sqlite::begin_write(&self.db).await?,
            Place::Postgres(_) => postgres::begin(&self.db, scope, Access::Write).await?,
        };
        Ok(Rows::new(scope, transaction))
    }

    /// Returns when a program that shares this store's connections has left something to be delivered. Others do so unseen.
    pub async fn has_deliveries(&self) {
        self.bell.notified().await;
    }

    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    pub(crate) fn key(&self) -> Result<&DataKey> {
        self.key.as_deref().ok_or(Error::NoKey)
    }
}

/// The wall clock, for `created_at`; times of calls come with their rows.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::default() + since_epoch
}
