//! Tenants, PBXs, call sessions with their legs and events, recordings.
//!
//! A child row repeats its session's tenant, and its foreign key spans both columns: the database itself refuses a leg,
//! event or recording under another tenant than its session's. Times are microseconds since 1970 (UTC).

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, big_pk_auto, blob, boolean, integer, integer_null, json, json_null, pk_uuid, string,
    string_null, string_uniq, text, uuid,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait declares `up` so, and async_trait makes the two differ otherwise"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [tenants(), pbxs(), call_sessions(), call_legs(), call_events(), recordings()] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

fn table(name: &'static str) -> TableCreateStatement {
    Table::create().table(name).take()
}

fn tenants() -> TableCreateStatement {
    table("tenants")
        .col(pk_uuid("id"))
        .col(string_uniq("name"))
        .col(json("capture_rule"))
        .col(boolean("enabled"))
        .col(big_integer("created_at"))
        .take()
}

fn pbxs() -> TableCreateStatement {
    table("pbxs")
        .col(pk_uuid("id"))
        .col(uuid("tenant_id"))
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
        .foreign_key(&mut to_tenant("pbxs"))
        .take()
}

fn call_sessions() -> TableCreateStatement {
    table("call_sessions")
        .col(pk_uuid("id"))
        .col(uuid("tenant_id"))
        .col(uuid("pbx_id"))
        .col(string("uniqueid"))
        .col(string("linkedid"))
        .col(string("state"))
        .col(string("call_direction"))
        .col(string_null("caller_number"))
        .col(string_null("dialled_number"))
        .col(string_null("context"))
        .col(big_integer("started_at"))
        .col(big_integer_null("answered_at"))
        .col(big_integer_null("ended_at"))
        .col(integer_null("hangup_cause"))
        .col(string("node"))
        .col(boolean("captured"))
        .col(json_null("live"))
        .foreign_key(&mut to_tenant("call_sessions"))
        .foreign_key(ForeignKey::create().from("call_sessions", "pbx_id").to("pbxs", "id"))
        // What the children's keys point to.
        .index(Index::create().name("call_sessions_tenant").col("id").col("tenant_id").unique())
        .take()
}

fn call_legs() -> TableCreateStatement {
    table("call_legs")
        .col(uuid("session_id"))
        .col(uuid("tenant_id"))
        .col(string("uniqueid"))
        .col(string("name"))
        .col(string_null("caller_number"))
        .col(big_integer("joined_at"))
        .col(big_integer_null("left_at"))
        .col(integer_null("hangup_cause"))
        .primary_key(Index::create().col("session_id").col("uniqueid"))
        .foreign_key(&mut to_session("call_legs"))
        .take()
}

fn call_events() -> TableCreateStatement {
    table("call_events")
        .col(big_pk_auto("id"))
        .col(uuid("session_id"))
        .col(uuid("tenant_id"))
        .col(big_integer("at"))
        .col(string("name"))
        // Text, not JSON: it is part of the key that makes a replayed event the same event.
        .col(text("data"))
        .index(
            Index::create()
                .name("call_events_once")
                .col("session_id")
                .col("tenant_id")
                .col("at")
                .col("name")
                .col("data")
                .unique(),
        )
        .foreign_key(&mut to_session("call_events"))
        .take()
}

fn recordings() -> TableCreateStatement {
    table("recordings")
        .col(uuid("session_id"))
        .col(integer("part"))
        .col(uuid("tenant_id"))
        .col(text("path"))
        .col(json("certificate"))
        .col(boolean("complete"))
        .col(big_integer("duration_ms"))
        .col(big_integer("bytes"))
        .col(big_integer("created_at"))
        .primary_key(Index::create().col("session_id").col("part"))
        .foreign_key(&mut to_session("recordings"))
        .take()
}

fn to_tenant(child: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create().from(child, "tenant_id").to("tenants", "id").take()
}

fn to_session(child: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create().from(child, ("session_id", "tenant_id")).to("call_sessions", ("id", "tenant_id")).take()
}

fn indexes() -> Vec<IndexCreateStatement> {
    let index = |name: &'static str, table: &'static str| Index::create().name(name).table(table).take();
    vec![
        index("pbxs_of_tenant", "pbxs").col("tenant_id").take(),
        index("call_sessions_newest", "call_sessions").col("tenant_id").col("started_at").take(),
        // Asterisk's uniqueids can come again after years, but not while the call lives.
        index("call_sessions_unfinished", "call_sessions")
            .col("pbx_id")
            .col("uniqueid")
            .unique()
            .cond_where(Expr::col("state").is_not_in(["ended", "failed"]))
            .take(),
        index("recordings_newest", "recordings").col("tenant_id").col("created_at").take(),
    ]
}
