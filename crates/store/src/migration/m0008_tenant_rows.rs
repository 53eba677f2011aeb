//! Idempotency keys of the API's callers.

use sea_orm::{ConnectionTrait, DatabaseBackend};
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, binary, binary_null, integer_null, json_null, string, uuid_null};

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
        manager.create_table(idempotency_keys()).await?;
        for index in indexes() {
            manager.create_index(index).await?;
        }
        let db = manager.get_connection();
        if db.get_database_backend() == DatabaseBackend::Postgres {
            db.execute_unprepared(&wall("idempotency_keys", "tenant_id")).await?;
        }
        Ok(())
    }
}

fn table(name: &'static str) -> TableCreateStatement {
    Table::create().table(name).take()
}

fn idempotency_keys() -> TableCreateStatement {
    table("idempotency_keys")
        .col(string("account"))
        .col(string("key"))
        .col(uuid_null("tenant_id"))
        .col(binary("fingerprint"))
        .col(big_integer("begun_at"))
        .col(integer_null("status"))
        .col(json_null("headers"))
        .col(binary_null("body"))
        .primary_key(Index::create().col("account").col("key"))
        .foreign_key(
            ForeignKey::create()
                .from("idempotency_keys", "tenant_id")
                .to("tenants", "id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .take()
}

fn indexes() -> Vec<IndexCreateStatement> {
    let index = |name: &'static str, table: &'static str| Index::create().name(name).table(table).take();
    vec![index("idempotency_keys_oldest", "idempotency_keys").col("begun_at").take()]
}
