//! The open database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aimg_core::{DataKey, Timestamp};
use sea_orm::{DatabaseConnection, DatabaseTransaction};

use crate::error::{Error, Result};
use crate::migration::{self, MigrationState};
use crate::sqlite::{self, Access};

/// Where the database is and how it is opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// The SQLite file.
    pub path: PathBuf,
    /// How long a statement waits for another program's lock before it fails with [`Error::Busy`].
    pub busy_timeout: Duration,
    /// The most connections at once. SQLite has one writer at a time; the others read.
    pub connections_max: u32,
}

impl Config {
    /// The file at `path`; 5 s of patience, 4 connections.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), busy_timeout: Duration::from_secs(5), connections_max: 4 }
    }
}

/// An open database. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    db: DatabaseConnection,
    key: Option<Arc<DataKey>>,
}

impl Store {
    /// Opens the database for reading and writing; makes its directory and file and applies migrations as needed.
    pub async fn open(config: Config, key: DataKey) -> Result<Self> {
        Self::migrate(&config).await?;
        Self::open_existing(config, key).await
    }

    /// Opens a database that exists and is of this version; makes and migrates nothing.
    pub async fn open_existing(config: Config, key: DataKey) -> Result<Self> {
        let db = Self::open_current(&config, Access::Write).await?;
        Ok(Self { db, key: Some(Arc::new(key)) })
    }

    /// Opens a database that exists and is of this version, for reading; without a key, so that secrets stay shut.
    pub async fn open_read_only(config: Config) -> Result<Self> {
        let db = Self::open_current(&config, Access::Read).await?;
        Ok(Self { db, key: None })
    }

    /// Makes the database when there is none and applies the migrations it lacks; gives their names. All or none is
    /// applied, also when two programs do it at once. A newer database is refused and left as it is.
    pub async fn migrate(config: &Config) -> Result<Vec<String>> {
        sqlite::make_file(&config.path)?;
        let db = sqlite::connect(config, Access::Write).await?;
        let applied = migration::migrate(&db, config).await;
        db.close().await?;
        applied
    }

    /// The migrations of this program and whether each is applied; changes nothing.
    pub async fn migration_status(config: &Config) -> Result<Vec<MigrationState>> {
        let db = Self::connect_existing(config, Access::Read).await?;
        let status = migration::status(&db, &config.path).await;
        db.close().await?;
        status
    }

    /// Closes the connections; SQLite folds its write-ahead log into the file when the last program does so.
    pub async fn close(self) -> Result<()> {
        Ok(self.db.close().await?)
    }

    async fn open_current(config: &Config, access: Access) -> Result<DatabaseConnection> {
        let db = Self::connect_existing(config, access).await?;
        let pending = migration::status(&db, &config.path).await?.iter().filter(|m| !m.applied).count();
        if pending > 0 {
            return Err(Error::OlderDatabase { path: config.path.clone(), pending });
        }
        Ok(db)
    }

    async fn connect_existing(config: &Config, access: Access) -> Result<DatabaseConnection> {
        match config.path.try_exists() {
            Ok(true) => sqlite::connect(config, access).await,
            Ok(false) => Err(Error::NoDatabase { path: config.path.clone() }),
            Err(e) => Err(Error::from_io(e, &config.path)),
        }
    }

    pub(crate) fn db(&self) -> &DatabaseConnection {
        &self.db
    }

    pub(crate) async fn begin_write(&self) -> Result<DatabaseTransaction> {
        sqlite::begin_write(&self.db).await
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
