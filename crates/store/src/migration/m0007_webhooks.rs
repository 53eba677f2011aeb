//! Webhooks and their deliveries.

use sea_orm::{ConnectionTrait, DatabaseBackend};
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary, binary_null, boolean, integer, integer_null, json, pk_uuid, string, text,
    text_null, uuid, uuid_null,
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
        for table in [webhooks(), deliveries()] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        let db = manager.get_connection();
        if db.get_database_backend() == DatabaseBackend::Postgres {
            for table in ["webhooks", "webhook_deliveries"] {
                db.execute_unprepared(&wall(table, "tenant_id")).await?;
            }
        }
        Ok(())
    }
}

fn webhooks() -> TableCreateStatement {
    Table::create()
        .table("webhooks")
        .col(pk_uuid("id"))
        .col(uuid("tenant_id"))
        .col(text("url"))
        .col(text("description"))
        .col(json("events"))
        .col(binary("secret"))
        .col(binary_null("old_secret"))
        .col(big_integer_null("old_secret_until"))
        .col(boolean("enabled"))
        .col(text_null("disabled_reason"))
        .col(big_integer_null("failing_since"))
        .col(integer("version"))
        .col(big_integer("created_at"))
        .col(big_integer("changed_at"))
        .foreign_key(ForeignKey::create().from("webhooks", "tenant_id").to("tenants", "id"))
        // What the deliveries' key points to.
        .index(Index::create().name("webhooks_with_tenant").col("id").col("tenant_id").unique())
        .take()
}

fn deliveries() -> TableCreateStatement {
    Table::create()
        .table("webhook_deliveries")
        .col(pk_uuid("id"))
        .col(uuid("tenant_id"))
        .col(uuid("webhook_id"))
        .col(string("event_id"))
        .col(string("event"))
        .col(uuid_null("session_id"))
        // Text, not JSON: it is signed as it stands.
        .col(text("body"))
        .col(string("state"))
        .col(integer("attempts"))
        .col(big_integer_null("next_attempt_at"))
        .col(uuid_null("claim"))
        .col(big_integer_null("last_attempt_at"))
        .col(integer_null("last_status"))
        .col(text_null("last_error"))
        .col(big_integer("created_at"))
        .col(big_integer_null("delivered_at"))
        // An event is told once, however often its rows are written.
        .index(Index::create().name("webhook_deliveries_once").col("webhook_id").col("event_id").unique())
        .foreign_key(
            ForeignKey::create()
                .from("webhook_deliveries", ("webhook_id", "tenant_id"))
                .to("webhooks", ("id", "tenant_id"))
                .on_delete(ForeignKeyAction::Cascade),
        )
        .take()
}

fn indexes() -> Vec<IndexCreateStatement> {
    let of = |name: &'static str, table: &'static str| Index::create().name(name).table(table).take();
    let deliveries = |name| of(name, "webhook_deliveries");
    let pending = || Expr::col("state").eq("pending");
    vec![
        of("webhooks_of_tenant", "webhooks").col("tenant_id").col("id").take(),
        deliveries("webhook_deliveries_newest").col("webhook_id").col("id").take(),
        deliveries("webhook_deliveries_by_state").col("webhook_id").col("state").col("id").take(),
        deliveries("webhook_deliveries_by_event").col("webhook_id").col("event").col("id").take(),
        deliveries("webhook_deliveries_by_age").col("created_at").take(),
        deliveries("webhook_deliveries_due").col("webhook_id").col("next_attempt_at").cond_where(pending()).take(),
        deliveries("webhook_deliveries_in_order")
            .col("webhook_id")
            .col("session_id")
            .col("id")
            .cond_where(pending())
            .take(),
        deliveries("webhook_deliveries_claimed").col("claim").cond_where(Expr::col("claim").is_not_null()).take(),
    ]
}
