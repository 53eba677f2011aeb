//! Users, their refresh tokens, API keys, and the audit log.
//!
//! A user, key or entry without a tenant is the installation's: only the operator's scope reaches it.

use sea_orm::{ConnectionTrait, DatabaseBackend};
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, big_pk_auto, binary, boolean, integer, json, json_null, pk_uuid, string,
    string_null, string_uniq, uuid, uuid_null,
};

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
        for table in [users(), refresh_tokens(), api_keys(), audit_log()] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        let db = manager.get_connection();
        if db.get_database_backend() == DatabaseBackend::Postgres {
            for table in ["users", "refresh_tokens", "api_keys", "audit_log"] {
                db.execute_unprepared(&wall(table, "tenant_id")).await?;
            }
        }
        Ok(())
    }
}

fn table(name: &'static str) -> TableCreateStatement {
    Table::create().table(name).take()
}

fn users() -> TableCreateStatement {
    table("users")
        .col(pk_uuid("id"))
        .col(uuid_null("tenant_id"))
        .col(string_uniq("name"))
        .col(string("role"))
        .col(string("password_hash"))
        .col(boolean("enabled"))
        .col(integer("failed_logins"))
        .col(big_integer_null("locked_until"))
        .col(big_integer_null("last_login_at"))
        .col(big_integer("created_at"))
        .col(integer("version"))
        .foreign_key(&mut to_tenant("users"))
        .take()
}

fn refresh_tokens() -> TableCreateStatement {
    table("refresh_tokens")
        .col(binary("hash").primary_key())
        .col(uuid("family"))
        .col(uuid("user_id"))
        .col(uuid_null("tenant_id"))
        .col(big_integer("created_at"))
        .col(big_integer("expires_at"))
        .col(big_integer_null("used_at"))
        .col(boolean("revoked"))
        .foreign_key(
            ForeignKey::create()
                .from("refresh_tokens", "user_id")
                .to("users", "id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .take()
}

fn api_keys() -> TableCreateStatement {
    table("api_keys")
        .col(pk_uuid("id"))
        .col(uuid_null("tenant_id"))
        .col(string("name"))
        .col(string("prefix"))
        .col(binary("hash").unique_key())
        .col(string("role"))
        .col(json_null("permissions"))
        .col(uuid_null("created_by"))
        .col(big_integer("created_at"))
        .col(big_integer_null("expires_at"))
        .col(big_integer_null("last_used_at"))
        .col(big_integer_null("revoked_at"))
        .foreign_key(&mut to_tenant("api_keys"))
        .take()
}

fn audit_log() -> TableCreateStatement {
    table("audit_log")
        .col(big_pk_auto("id"))
        .col(uuid_null("tenant_id"))
        .col(big_integer("at"))
        .col(string("actor"))
        .col(string_null("address"))
        .col(string("action"))
        .col(string("target"))
        .col(string("outcome"))
        .col(json("detail"))
        .take()
}

fn to_tenant(child: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create().from(child, "tenant_id").to("tenants", "id").take()
}

fn indexes() -> Vec<IndexCreateStatement> {
    let index = |name: &'static str, table: &'static str| Index::create().name(name).table(table).take();
    vec![
        index("users_of_tenant", "users").col("tenant_id").col("name").take(),
        index("refresh_tokens_family", "refresh_tokens").col("family").take(),
        index("refresh_tokens_user", "refresh_tokens").col("user_id").take(),
        index("api_keys_of_tenant", "api_keys").col("tenant_id").take(),
        index("audit_log_newest", "audit_log").col("tenant_id").col("id").take(),
    ]
}
