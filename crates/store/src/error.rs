//! What can go wrong between us and the database, by what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

use sea_orm::{DbErr, RuntimeErr, SqlErr};

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Migrations were applied that this program does not know.
    #[error(
        "{place} was written by a newer aimg (unknown migrations: {unknown}); run that version, or restore the backup made before the upgrade"
    )]
    NewerDatabase {
        /// The database.
        place: String,
        /// The migrations' names, comma-separated.
        unknown: String,
    },
    /// Migrations of this program have not been applied.
    #[error("{place} was written by an older aimg ({pending} migrations to apply); run `aimg migrate`")]
    OlderDatabase {
        /// The database.
        place: String,
        /// How many migrations are to be applied.
        pending: usize,
    },
    /// There is no database file.
    #[error(
        "there is no database at {place}; `aimg serve` and `aimg migrate` make a file, `createdb` a PostgreSQL database; or set AIMG_DATABASE_PATH or DATABASE_URL"
    )]
    NoDatabase {
        /// The database.
        place: String,
    },
    /// The file is something else.
    #[error("{place} is not a database of aimg; set AIMG_DATABASE_PATH or DATABASE_URL to another one")]
    NotADatabase {
        /// What it is instead of one.
        place: String,
    },
    /// Another program holds the database, for longer than we wait.
    #[error("the database is locked by another program; try again, or end what holds it")]
    Busy,
    /// The PostgreSQL server cannot be reached, or gives no connection.
    #[error("the database server is away: {reason}; see that PostgreSQL runs and is reached with DATABASE_URL")]
    Away {
        /// What the connection met.
        reason: String,
    },
    /// The PostgreSQL server does not let us in.
    #[error("{place} does not let us in: {source}; check the user, the password and pg_hba.conf")]
    Denied {
        /// The database and the user.
        place: String,
        /// What the server says.
        source: sqlx::Error,
    },
    /// The file or its directory cannot be written.
    #[error("{path} cannot be written; make it writable for the user that runs aimg, or set AIMG_DATA_DIR")]
    NotWritable {
        /// The file or directory.
        path: PathBuf,
        /// What the system says, where it was asked.
        source: Option<io::Error>,
    },
    /// The database was opened for reading only, or its file became so.
    #[error("the database is open for reading only; open it for writing, or make its file writable")]
    ReadOnly,
    /// No space is left for the database.
    #[error("the disk of the database is full; free some space")]
    DiskFull,
    /// There is no such row, or not for this tenant.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Its name or id.
        id: String,
    },
    /// The name is taken, or the row stands against another one.
    #[error("{what} `{id}` exists already; choose another, or change the one that exists")]
    Conflict {
        /// What was to be stored.
        what: &'static str,
        /// Its name or id.
        id: String,
    },
    /// Somebody else changed the row meanwhile.
    #[error("{what} `{id}` was changed meanwhile; look at it again, then change it")]
    Stale {
        /// What was to be changed.
        what: &'static str,
        /// Its name or id.
        id: String,
    },
    /// Only what is over can be deleted.
    #[error("the call `{id}` is still going on; delete it when it is over")]
    StillGoingOn {
        /// The session.
        id: String,
    },
    /// Rows of others would be left without what they belong to.
    #[error("{what} `{id}` still has {has}; remove these first, or disable it and keep everything")]
    InUse {
        /// What was to be removed.
        what: &'static str,
        /// Its name or id.
        id: String,
        /// What belongs to it.
        has: String,
    },
    /// Without a super admin who may log in, nobody could make another one.
    #[error("`{name}` is the last super admin who may log in; make or enable another one first")]
    LastSuperAdmin {
        /// The user.
        name: String,
    },
    /// A user's name that is none.
    #[error("`{0}` is not a user name: use 1 to 150 of letters, digits and @ . + - _")]
    BadUserName(String),
    /// A role that does not go with a tenant, or with none.
    #[error("a super_admin belongs to no tenant, and everybody else to one; choose another role, or name the tenant")]
    RoleAndTenant,
    /// There are as many as there may be.
    #[error("there are {max} {what} already, and no more are allowed; remove one first")]
    TooMany {
        /// What was to be added, in the plural.
        what: &'static str,
        /// So many may be there.
        max: u64,
    },
    /// A name that is no slug.
    #[error("`{0}` is not a name: use 1 to 63 of a-z, 0-9 and -, with a letter or digit at both ends")]
    BadName(String),
    /// A rule that looks for the same is there already.
    #[error(
        "rule `{rule}` makes channels tenant {tenant}'s already, and cannot make them tenant {wanted}'s too; change or remove that one"
    )]
    RuleTaken {
        /// What both look for.
        rule: String,
        /// Whose rule is there.
        tenant: String,
        /// Whose rule was to be added.
        wanted: String,
    },
    /// Rules for a PBX that has one tenant.
    #[error(
        "PBX {pbx} is dedicated to one tenant, so all of its calls are that tenant's; rules are for a PBX added with --shared"
    )]
    NotShared {
        /// Its name.
        pbx: String,
    },
    /// More rules than one PBX has.
    #[error(transparent)]
    TooManyRules(aimg_core::AttributionError),
    /// A tenant asked for what only the operator may do.
    #[error("only the operator can {what}")]
    OperatorOnly {
        /// What was asked for.
        what: &'static str,
    },
    /// A value that the setting cannot have.
    #[error(transparent)]
    BadSetting(#[from] aimg_core::BadSetting),
    /// A stored secret does not open.
    #[error(transparent)]
    Secret(#[from] aimg_core::SecretError),
    /// The store was opened without the key that a secret needs.
    #[error("the store was opened without a key, and secrets need it; open it with SECRET_KEY or the key file")]
    NoKey,
    /// The key file can be read by others.
    #[error("the key file {path} can be read by others (mode {mode:o}); run `chmod 600 {path}`")]
    KeyFileOpen {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file, or SECRET_KEY, holds nothing.
    #[error("{origin} is empty; put a long random text there, such as the output of `openssl rand -hex 32`")]
    EmptyKey {
        /// `SECRET_KEY`, or the path of the key file.
        origin: String,
    },
    /// A stored value that this program never writes.
    #[error("{what} of `{id}` in the database reads `{value}`, which is no such thing; restore a backup")]
    Damaged {
        /// The column.
        what: &'static str,
        /// The row.
        id: String,
        /// What is stored there.
        value: String,
    },
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The database failed in a way that has no variant of its own.
    #[error("database: {0}")]
    Db(#[source] DbErr),
}

/// SQLite's primary result codes that call for a reaction of their own (<https://sqlite.org/rescode.html>).
mod code {
    pub(super) const BUSY: u32 = 5;
    pub(super) const LOCKED: u32 = 6;
    pub(super) const READONLY: u32 = 8;
    pub(super) const FULL: u32 = 13;
    pub(super) const NOTADB: u32 = 26;
}

impl From<DbErr> for Error {
    fn from(e: DbErr) -> Self {
        // Every connection is in use, or none could be made: this is not said.
        if matches!(e, DbErr::ConnectionAcquire(_)) {
            return Self::Away { reason: "no connection became free in time".to_owned() };
        }
        match sqlite_code(&e) {
            Some(code::BUSY | code::LOCKED) => Self::Busy,
            Some(code::READONLY) => Self::ReadOnly,
            Some(code::FULL) => Self::DiskFull,
            Some(_) => Self::Db(e),
            None => sqlx_error(&e).and_then(Self::from_postgres).unwrap_or(Self::Db(e)),
        }
    }
}

impl Error {
    /// Another tenant's `id`, or nobody's: the two cannot be told apart.
    pub(crate) fn not_found(what: &'static str, id: impl ToString) -> Self {
        Self::NotFound { what, id: id.to_string() }
    }

    /// A failed write of the row `what` named `id`: a key that is taken is a conflict, a parent that is missing is not found.
    pub(crate) fn from_write(e: DbErr, what: &'static str, id: impl ToString) -> Self {
        match e.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Self::Conflict { what, id: id.to_string() },
            Some(SqlErr::ForeignKeyConstraintViolation(_)) => Self::not_found(what, id),
            // PostgreSQL's wall between tenants: "new row violates row-level security policy".
            _ if sqlx_error(&e)
                .is_some_and(|e| e.as_database_error().and_then(|e| e.code()).as_deref() == Some("42501")) =>
            {
                Self::not_found(what, id)
            }
            _ => e.into(),
        }
    }

    /// A failed first look into the file at `path`.
    pub(crate) fn from_first_read(e: DbErr, path: &Path) -> Self {
        match sqlite_code(&e) {
            Some(code::NOTADB) => Self::NotADatabase { place: path.display().to_string() },
            Some(code::READONLY) => Self::NotWritable { path: path.to_owned(), source: None },
            _ => e.into(),
        }
    }

    /// A failed access of the file system at `path`.
    pub(crate) fn from_io(source: io::Error, path: &Path) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory => {
                Self::NotWritable { path, source: Some(source) }
            }
            io::ErrorKind::StorageFull => Self::DiskFull,
            _ => Self::Io { path, source },
        }
    }

    pub(crate) fn damaged(what: &'static str, id: impl ToString, value: impl ToString) -> Self {
        Self::Damaged { what, id: id.to_string(), value: value.to_string() }
    }
}

/// What the driver says behind SeaORM's error.
fn sqlx_error(e: &DbErr) -> Option<&sqlx::Error> {
    match e {
        DbErr::Conn(RuntimeErr::SqlxError(e))
        | DbErr::Exec(RuntimeErr::SqlxError(e))
        | DbErr::Query(RuntimeErr::SqlxError(e)) => Some(e),
        _ => None,
    }
}

/// The primary result code behind an error of SQLite; the extended code carries it in its low byte.
fn sqlite_code(e: &DbErr) -> Option<u32> {
    let reported = sqlx_error(e)?.as_database_error()?.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    let extended: u32 = sqlx::error::DatabaseError::code(reported)?.parse().ok()?;
    Some(extended & 0xff)
}
