//! PBXs that belong to no tenant, and the rules that say whose the channels of such a one are.
//!
//! Both are the installation's: a row without a tenant, and every rule, is in reach of the operator's scope alone.

use sea_orm::{ConnectionTrait, DatabaseBackend};
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, blob, boolean, integer, json, json_null, pk_uuid, string, string_uniq, uuid, uuid_null,
};

use crate::postgres::operator_wall;

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
        let on_postgres = db.get_database_backend() == DatabaseBackend::Postgres;
        if on_postgres {
            db.execute_unprepared("ALTER TABLE pbxs ALTER COLUMN tenant_id DROP NOT NULL").await?;
        } else {
            rebuild_pbxs(manager).await?;
        }
        manager.create_table(pbx_rules()).await?;
        // On a shared PBX a tenant's calls are few among those of all.
        let mut sessions = Index::create().name("call_sessions_by_tenant_pbx").table("call_sessions").take();
        for column in ["tenant_id", "pbx_id", "started_at", "id"] {
            sessions.col(column);
        }
        manager.create_index(sessions).await?;
        manager
            .create_index(Index::create().name("pbx_rules_of_tenant").table("pbx_rules").col("tenant_id").take())
            .await?;
        if on_postgres {
            db.execute_unprepared(&operator_wall("pbx_rules")).await?;
        }
        Ok(())
    }
}

const PBX_COLUMNS: &str = "id, tenant_id, name, host, ami_port, ami_user, ami_secret, ari_url, ari_user, ari_password, ari_app, \
    tap_mode, codec, inbound_contexts, enabled, created_at, ami_tls, ari_tls, ari_link, changed_at";

/// SQLite cannot take NOT NULL from a column: the table is made anew under its name. Its connection does not enforce foreign
/// keys meanwhile (<https://sqlite.org/lang_altertable.html#otheralter>).
async fn rebuild_pbxs(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let db = manager.get_connection();
    manager.create_table(pbxs("pbxs_rebuilt")).await?;
    db.execute_unprepared(&format!("INSERT INTO pbxs_rebuilt ({PBX_COLUMNS}) SELECT {PBX_COLUMNS} FROM pbxs")).await?;
    db.execute_unprepared("DROP TABLE pbxs; ALTER TABLE pbxs_rebuilt RENAME TO pbxs").await?;
    manager.create_index(Index::create().name("pbxs_of_tenant").table("pbxs").col("tenant_id").take()).await
}

fn pbxs(name: &'static str) -> TableCreateStatement {
    Table::create()
        .table(name)
        .col(pk_uuid("id"))
        .col(uuid_null("tenant_id"))
        .col(string_uniq("name"))
        .col(string("host"))
        .col(integer("ami_port"))
        .col(string("ami_user"))
        .col(blob("ami_secret"))
        .col(string("ari_url"))
        .col(string("ari_user"))
        .col(blob("ari_password"))
        .col(string("ari_app"))
        .col(string("tap_mode"))
        .col(string("codec"))
        .col(json("inbound_contexts"))
        .col(boolean("enabled"))
        .col(big_integer("created_at"))
        .col(json_null("ami_tls"))
        .col(json_null("ari_tls"))
        .col(string("ari_link").default("connect").take())
        .col(big_integer("changed_at").default(0).take())
        .foreign_key(ForeignKey::create().from(name, "tenant_id").to("tenants", "id"))
        .take()
}

fn pbx_rules() -> TableCreateStatement {
    Table::create()
        .table("pbx_rules")
        .col(pk_uuid("id"))
        .col(uuid("pbx_id"))
        .col(uuid("tenant_id"))
        .col(string("claim"))
        .col(big_integer("created_at"))
        // One rule says whose it is what a channel shows, and not two.
        .index(Index::create().name("pbx_rules_once").col("pbx_id").col("claim").unique())
        .foreign_key(
            ForeignKey::create().from("pbx_rules", "pbx_id").to("pbxs", "id").on_delete(ForeignKeyAction::Cascade),
        )
        .foreign_key(ForeignKey::create().from("pbx_rules", "tenant_id").to("tenants", "id"))
        .take()
}
