//! Lists of calls and recordings: an index for every filter, for a tenant and for whoever sees all of them; a recording
//! says on which PBX its call was.

use sea_orm::{ConnectionTrait, DatabaseBackend};
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::uuid_null;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// What a prefix is looked for in. The bytes decide, as on SQLite, so that a prefix is a range of an index whatever the
/// database's own collation is.
const COMPARED_BY_BYTES: &str = "ALTER TABLE call_sessions \
     ALTER COLUMN caller_number TYPE varchar COLLATE \"C\", \
     ALTER COLUMN dialled_number TYPE varchar COLLATE \"C\", \
     ALTER COLUMN uniqueid TYPE varchar COLLATE \"C\"";

const PBX_OF_RECORDING: &str = "UPDATE recordings SET pbx_id = \
     (SELECT pbx_id FROM call_sessions WHERE call_sessions.id = recordings.session_id)";

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait declares `up` so, and async_trait makes the two differ otherwise"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        if db.get_database_backend() == DatabaseBackend::Postgres {
            db.execute_unprepared(COMPARED_BY_BYTES).await?;
        }
        manager.alter_table(Table::alter().table("recordings").add_column(uuid_null("pbx_id")).take()).await?;
        db.execute_unprepared(PBX_OF_RECORDING).await?;
        manager.drop_index(Index::drop().name("recordings_newest").table("recordings").to_owned()).await?;
        for (name, columns) in SESSION_INDEXES {
            manager.create_index(index(name, "call_sessions", &[columns, &["started_at", "id"]].concat())).await?;
        }
        let mut active = index("call_sessions_active_of_all", "call_sessions", &["started_at", "id"]);
        active.cond_where(Expr::col("state").is_not_in(["ended", "failed"]));
        manager.create_index(active).await?;
        for (name, columns) in [
            ("call_sessions_uniqueid", &["tenant_id", "uniqueid"][..]),
            ("call_sessions_uniqueid_of_all", &["uniqueid"]),
        ] {
            manager.create_index(index(name, "call_sessions", columns)).await?;
        }
        for (name, columns) in RECORDING_INDEXES {
            let columns = [columns, &["created_at", "session_id", "part"]].concat();
            manager.create_index(index(name, "recordings", &columns)).await?;
        }
        Ok(())
    }
}

/// Those of a tenant are there; these are for whoever sees all tenants.
const SESSION_INDEXES: [(&str, &[&str]); 5] = [
    ("call_sessions_state_of_all", &["state"]),
    ("call_sessions_direction_of_all", &["call_direction"]),
    ("call_sessions_caller_of_all", &["caller_number"]),
    ("call_sessions_dialled_of_all", &["dialled_number"]),
    ("call_sessions_captured_of_all", &["captured"]),
];

const RECORDING_INDEXES: [(&str, &[&str]); 6] = [
    ("recordings_by_age", &[]),
    ("recordings_by_tenant", &["tenant_id"]),
    ("recordings_by_pbx", &["pbx_id"]),
    ("recordings_by_tenants_pbx", &["tenant_id", "pbx_id"]),
    ("recordings_complete", &["tenant_id", "complete"]),
    ("recordings_complete_of_all", &["complete"]),
];

fn index(name: &'static str, table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create().name(name).table(table).take();
    for column in columns {
        index.col(*column);
    }
    index
}
