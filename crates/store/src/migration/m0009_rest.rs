//! What the API needs of tenants, PBXs and the audit log: versions, by which a change is told from another, and an index for
//! each filter.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::integer;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait declares `up` so, and async_trait makes the two differ otherwise"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["tenants", "pbxs"] {
            let version = integer("version").default(1).take();
            manager.alter_table(Table::alter().table(table).add_column(version).take()).await?;
        }
        // Replaced by those that follow the order of the list.
        for name in ["audit_log_newest", "audit_log_oldest"] {
            manager.drop_index(Index::drop().name(name).table("audit_log").to_owned()).await?;
        }
        for (name, columns) in AUDIT_INDEXES {
            let mut index = Index::create().name(name).table("audit_log").take();
            for column in columns.iter().chain(&["at", "id"]) {
                index.col(*column);
            }
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

/// Actors and targets are names and ids of the installation, so that the tenant would tell them no further apart.
const AUDIT_INDEXES: [(&str, &[&str]); 6] = [
    ("audit_log_by_age", &[]),
    ("audit_log_of_tenant", &["tenant_id"]),
    ("audit_log_by_actor", &["actor"]),
    ("audit_log_by_target", &["target"]),
    ("audit_log_by_action", &["action"]),
    ("audit_log_of_tenant_by_action", &["tenant_id", "action"]),
];
