//! Transcripts that are not done are found among all that are.

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
        let running = Index::create()
            .name("transcripts_running")
            .table("transcripts")
            .col("created_at")
            .cond_where(Expr::col("state").eq("running"))
            .to_owned();
        manager.create_index(running).await
    }
}
