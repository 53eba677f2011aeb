//! All that is peculiar to SQLite: its file, its connections, its modes.

use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseBackend, DatabaseConnection, DatabaseTransaction, DbErr, RuntimeErr,
    SqliteTransactionMode, SqlxSqliteConnector, Statement, TransactionOptions, TransactionTrait,
};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};

use crate::error::{Error, Result};
use crate::place::Access;
use crate::store::Config;

/// The pause before the switch to WAL is tried again.
const WAL_RETRY: Duration = Duration::from_millis(10);

/// Makes `dir` and the directories above it; others get no access.
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    if dir.as_os_str().is_empty() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o750).create(dir).map_err(|e| Error::from_io(e, dir))
}

/// Makes the empty database file with mode 0640 when there is none; SQLite gives its `-wal` and `-shm` the same mode.
///
/// An existing file is not opened: closing a file drops every lock that this process holds on it (POSIX), also those of
/// SQLite.
pub(crate) fn make_file(path: &Path) -> Result<()> {
    if let Some(dir) = path.parent() {
        make_dir(dir)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o640).open(path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(Error::from_io(e, path)),
        _ => Ok(()),
    }
}

/// Opens the file with a pool of connections.
pub(crate) async fn connect(path: &Path, config: &Config, access: Access) -> Result<DatabaseConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .read_only(access == Access::Read)
        // A migration that makes a table anew leaves rows without their parents for a moment.
        .foreign_keys(access != Access::Migrate)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(config.patience)
        // Statements are not logged: their slow-log line would be the only place outside of the tables that knows of calls.
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new()
        .max_connections(config.connections_max)
        .acquire_timeout(config.patience * 2)
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(|e| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(e))))
        .map_err(|e| Error::from_first_read(e, path))?;
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
}

/// Switches the file to write-ahead logging, which lets readers read while one writes. The mode stays with the file.
///
/// SQLite does not wait for other connections here, so the wait is ours.
pub(crate) async fn enable_wal(db: &DatabaseConnection, path: &Path, patience: Duration) -> Result<()> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        match db.execute_unprepared("PRAGMA journal_mode = WAL").await.map_err(Error::from) {
            Err(Error::Busy) if tokio::time::Instant::now() < deadline => tokio::time::sleep(WAL_RETRY).await,
            Err(Error::ReadOnly) => return Err(Error::NotWritable { path: path.to_owned(), source: None }),
            done => return done.map(drop),
        }
    }
}

/// Checks what nobody enforced while migrations were applied.
pub(crate) async fn check_foreign_keys(transaction: &DatabaseTransaction) -> Result<()> {
    let query =
        Statement::from_string(DatabaseBackend::Sqlite, "SELECT \"table\", parent FROM pragma_foreign_key_check");
    match transaction.query_one_raw(query).await? {
        Some(row) => {
            let [table, parent]: [String; 2] = [row.try_get("", "table")?, row.try_get("", "parent")?];
            Err(Error::damaged("a row's parent", table, parent))
        }
        None => Ok(()),
    }
}

/// Begins a transaction that holds the write lock from the start: one that begins as a reader and then writes can fail
/// without a wait when another one wrote in between.
pub(crate) async fn begin_write(db: &DatabaseConnection) -> Result<DatabaseTransaction> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    Ok(db.begin_with_options(options).await?)
}
