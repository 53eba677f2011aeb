//! PBXs: TLS for AMI and for ARI, who opens ARI's event stream, and when the row was last changed.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, json_null, string};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// A statement for each: SQLite adds and drops one column at a time.
const COLUMNS: [&str; 4] = ["ami_tls", "ari_tls", "ari_link", "changed_at"];

fn pbxs() -> TableAlterStatement {
    Table::alter().table("pbxs").take()
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait declares `up` so, and async_trait makes the two differ otherwise"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in [
            // Null: no TLS.
            json_null("ami_tls"),
            // Null: what the operating system trusts, where the address is https.
            json_null("ari_tls"),
            string("ari_link").default("connect").take(),
            big_integer("changed_at").default(0).take(),
        ] {
            manager.alter_table(pbxs().add_column(column).take()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in COLUMNS {
            manager.alter_table(pbxs().drop_column(column).take()).await?;
        }
        Ok(())
    }
}
