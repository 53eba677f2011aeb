//! All that is peculiar to PostgreSQL: its address, its connections, its error codes, its row-level security.
//!
//! Row-level security is the second wall between tenants, behind [`TenantScope`]: each transaction says in the setting
//! `aimg.scope` whose rows it is about, and the server shows it no others, whatever the query. A transaction that says
//! nothing sees nothing. Superusers and roles with BYPASSRLS pass that wall, so the program should come as neither.

use std::fmt;
use std::sync::Arc;

use aimg_core::TenantScope;
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseBackend, DatabaseConnection, DatabaseTransaction, DbErr, IsolationLevel,
    RuntimeErr, SqlxPostgresConnector, Statement, TransactionTrait,
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::error::{Error, Result};
use crate::place::Access;
use crate::store::Config;

/// The advisory lock that one migration holds: "aimg" in ASCII.
const MIGRATION_LOCK: i64 = 0x6169_6d67;
/// The setting that the policies look at.
const SCOPE_SETTING: &str = "aimg.scope";
/// Its value for whoever sees all.
const OPERATOR: &str = "operator";

/// A database of a PostgreSQL server, and as whom we come.
#[derive(Clone)]
pub struct PostgresPlace(Box<PgConnectOptions>);

impl PostgresPlace {
    /// From an address such as `postgres://user:password@host:5432/name?sslmode=verify-full`.
    ///
    /// `None` when it is none, or names no database.
    pub fn from_url(url: &str) -> Option<Self> {
        let scheme = url.split_once("://")?.0;
        let options: PgConnectOptions = matches!(scheme, "postgres" | "postgresql").then(|| url.parse().ok())??;
        options.get_database().is_some_and(|name| !name.is_empty()).then(|| Self(Box::new(options)))
    }

    /// From its parts; what is not given is as `libpq` has it.
    pub fn from_parts(
        host: &str,
        port: u16,
        user: Option<&str>,
        password: Option<&SecretString>,
        database: &str,
    ) -> Self {
        let mut options = PgConnectOptions::new().host(host).port(port).database(database);
        if let Some(user) = user {
            options = options.username(user);
        }
        if let Some(password) = password {
            options = options.password(password.expose_secret());
        }
        Self(Box::new(options))
    }
}

impl fmt::Display for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (options, database) = (&self.0, self.0.get_database().unwrap_or_default());
        write!(f, "postgres://{}@{}:{}/{database}", options.get_username(), options.get_host(), options.get_port())
    }
}

impl fmt::Debug for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Opens a pool of connections.
pub(crate) async fn connect(place: &PostgresPlace, config: &Config, access: Access) -> Result<DatabaseConnection> {
    let read_only = if access == Access::Read { "on" } else { "off" };
    let options = PgConnectOptions::clone(&place.0)
        .application_name("aimg")
        .options([("default_transaction_read_only", read_only)])
        // Statements are not logged: their slow-log line would be the only place outside of the tables that knows of calls.
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(config.connections_max)
        .acquire_timeout(config.patience)
        .connect_with(options)
        .await
        .map_err(|e| Error::from_connect(e, place))?;
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

/// Begins a transaction that reads one state of the database, or one that writes, about the rows in reach of `scope`.
pub(crate) async fn begin(db: &DatabaseConnection, scope: TenantScope, access: Access) -> Result<DatabaseTransaction> {
    let transaction = match access {
        Access::Read => db.begin_with_config(Some(IsolationLevel::RepeatableRead), Some(AccessMode::ReadOnly)).await?,
        Access::Write | Access::Migrate => db.begin().await?,
    };
    set_scope(&transaction, scope).await?;
    Ok(transaction)
}

/// Begins the transaction of a migration, which waits for others of its kind.
pub(crate) async fn begin_migration(db: &DatabaseConnection) -> Result<DatabaseTransaction> {
    let transaction = db.begin().await?;
    transaction.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")).await?;
    set_scope(&transaction, TenantScope::Operator).await?;
    Ok(transaction)
}

async fn set_scope(transaction: &DatabaseTransaction, scope: TenantScope) -> Result<()> {
    let value = scope.tenant().map_or_else(|| OPERATOR.to_owned(), |tenant| tenant.as_uuid().to_string());
    // A plan that was made without knowing the values would take them all for equally frequent, and could not use the
    // index of the calls that are not over.
    let set = Statement::from_sql_and_values(
        DatabaseBackend::Postgres,
        "SELECT set_config($1, $2, true), set_config('plan_cache_mode', 'force_custom_plan', true)",
        [SCOPE_SETTING.into(), value.into()],
    );
    transaction.execute_raw(set).await?;
    Ok(())
}

/// The statements that put the wall around a table whose column `tenant` names whose rows they are.
///
/// The setting is read in a sub-select, so that the server evaluates it once and not for each row.
pub(crate) fn wall(table: &str, tenant: &str) -> String {
    let scope = format!("(SELECT current_setting('{SCOPE_SETTING}', true))");
    let of_tenant =
        format!("{tenant} = (SELECT NULLIF(NULLIF(current_setting('{SCOPE_SETTING}', true), ''), '{OPERATOR}')::uuid)");
    format!(
        "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; \
         ALTER TABLE {table} FORCE ROW LEVEL SECURITY; \
         CREATE POLICY tenant_wall ON {table} USING ({scope} = '{OPERATOR}' OR {of_tenant})"
    )
}

/// The statements that put a wall around a table whose rows are the operator's alone.
pub(crate) fn operator_wall(table: &str) -> String {
    format!(
        "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; \
         ALTER TABLE {table} FORCE ROW LEVEL SECURITY; \
         CREATE POLICY operator_wall ON {table} USING ((SELECT current_setting('{SCOPE_SETTING}', true)) = '{OPERATOR}')"
    )
}

/// Whether the wall does not hold for the role that we come as.
pub(crate) async fn passes_walls(db: &DatabaseConnection) -> Result<bool> {
    let query = "SELECT rolsuper OR rolbypassrls AS passes FROM pg_roles WHERE rolname = current_user";
    let row = db.query_one_raw(Statement::from_string(DatabaseBackend::Postgres, query)).await?;
    Ok(row.map(|row| row.try_get("", "passes")).transpose()?.unwrap_or(false))
}

impl Error {
    fn from_connect(e: sqlx::Error, place: &PostgresPlace) -> Self {
        let place = place.to_string();
        match e.as_database_error().and_then(|e| e.code()).as_deref() {
            Some("28P01" | "28000") => Self::Denied { place, source: e },
            Some("3D000") => Self::NoDatabase { place },
            _ => match Self::from(DbErr::Conn(RuntimeErr::SqlxError(Arc::new(e)))) {
                Self::Away { reason } => Self::Away { reason: format!("{place}: {reason}") },
                other => other,
            },
        }
    }

    /// An error that PostgreSQL reported, or the way to it, where it calls for a reaction of its own
    /// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
    pub(crate) fn from_postgres(e: &sqlx::Error) -> Option<Self> {
        let reported = match e {
            sqlx::Error::Database(reported) => reported,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => return Some(Self::Away { reason: e.to_string() }),
            _ => return None,
        };
        match reported.code()?.as_ref() {
            // Serialization failure, deadlock, lock not available: worth another try.
            "40001" | "40P01" | "55P03" => Some(Self::Busy),
            "53100" => Some(Self::DiskFull),
            "25006" => Some(Self::ReadOnly),
            // Too many connections; shut down or starting.
            "53300" | "57P01" | "57P02" | "57P03" => Some(Self::Away { reason: reported.message().to_owned() }),
            code if code.starts_with("08") => Some(Self::Away { reason: reported.message().to_owned() }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_their_password() {
        let place = PostgresPlace::from_url("postgres://aimg:very-secret@db.example:5433/calls").unwrap();
        assert_eq!(place.to_string(), "postgres://aimg@db.example:5433/calls");
        assert!(!format!("{place:?}").contains("very-secret"));
        for not in ["", "calls", "mysql://a@b/c", "postgres://user@host", "postgres://user@host/", "postgres://h:x/db"]
        {
            assert!(PostgresPlace::from_url(not).is_none(), "{not}");
        }
        let parts = PostgresPlace::from_parts("db", 5432, Some("aimg"), Some(&"very-secret".into()), "calls");
        assert_eq!(parts.to_string(), "postgres://aimg@db:5432/calls");
    }
}
