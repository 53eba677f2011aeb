//! PostgreSQL's own wall between tenants around the tables that were there before it; SQLite has none.

use sea_orm::{ConnectionTrait, DatabaseBackend};
use sea_orm_migration::prelude::*;

use crate::postgres::wall;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait declares `up` so, and async_trait makes the two differ otherwise"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        if db.get_database_backend() != DatabaseBackend::Postgres {
            return Ok(());
        }
        db.execute_unprepared(&wall("tenants", "id")).await?;
        for table in ["pbxs", "call_sessions", "call_legs", "call_events", "recordings"] {
            db.execute_unprepared(&wall(table, "tenant_id")).await?;
        }
        Ok(())
    }
}
