//! An index for every filter that lists of calls have, each in the order in which they are shown.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait declares `up` so, and async_trait makes the two differ otherwise"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Replaced by one that also decides between two calls that began together.
        let newest = Index::drop().name("call_sessions_newest").table("call_sessions").to_owned();
        manager.drop_index(newest).await?;
        let filters: [(&str, &[&str]); 8] = [
            ("call_sessions_by_start", &[]),
            ("call_sessions_by_tenant", &["tenant_id"]),
            ("call_sessions_by_pbx", &["pbx_id"]),
            ("call_sessions_by_state", &["tenant_id", "state"]),
            ("call_sessions_by_direction", &["tenant_id", "call_direction"]),
            ("call_sessions_by_caller", &["tenant_id", "caller_number"]),
            ("call_sessions_by_dialled", &["tenant_id", "dialled_number"]),
            ("call_sessions_by_captured", &["tenant_id", "captured"]),
        ];
        for (name, columns) in filters {
            manager.create_index(list_index(name, columns)).await?;
        }
        let mut active = list_index("call_sessions_active", &["tenant_id"]);
        active.cond_where(Expr::col("state").is_not_in(["ended", "failed"]));
        manager.create_index(active).await
    }
}

fn list_index(name: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create().name(name).table("call_sessions").take();
    for column in columns.iter().chain(&["started_at", "id"]) {
        index.col(*column);
    }
    index
}
