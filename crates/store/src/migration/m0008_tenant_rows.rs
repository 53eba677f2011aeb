//! What belongs to a tenant beside its calls: settings, its quota and what it uses of it, transcripts with their segments,
//! and the idempotency keys of its programs.

use sea_orm::{ConnectionTrait, DatabaseBackend};
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, big_pk_auto, binary, binary_null, boolean, double_null, integer, integer_null,
    json_null, pk_uuid, string, string_null, text, text_null, uuid, uuid_null,
};

use crate::postgres::wall;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 6] = ["idempotency_keys", "settings", "quotas", "tenant_usage", "transcripts", "segments"];

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait declares `up` so, and async_trait makes the two differ otherwise"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [idempotency_keys(), settings(), quotas(), tenant_usage(), transcripts(), segments()] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        let db = manager.get_connection();
        db.execute_unprepared(USAGE_SO_FAR).await?;
        if db.get_database_backend() == DatabaseBackend::Postgres {
            db.execute_unprepared(POSTGRES_USAGE).await?;
            db.execute_unprepared(POSTGRES_SEARCH).await?;
            for table in TABLES {
                db.execute_unprepared(&wall(table, "tenant_id")).await?;
            }
        } else {
            db.execute_unprepared(SQLITE_USAGE).await?;
            db.execute_unprepared(SQLITE_SEARCH).await?;
        }
        Ok(())
    }
}

const USAGE_SO_FAR: &str = "
    INSERT INTO tenant_usage (tenant_id, recordings, recorded_bytes)
        SELECT tenant_id, count(*), sum(bytes) FROM recordings GROUP BY tenant_id";

/// The database itself counts what recordings take, so that no way of adding or removing one can forget it.
const SQLITE_USAGE: &str = "
    CREATE TRIGGER recordings_counted AFTER INSERT ON recordings BEGIN
        INSERT INTO tenant_usage (tenant_id, recordings, recorded_bytes) VALUES (new.tenant_id, 1, new.bytes)
            ON CONFLICT (tenant_id) DO UPDATE SET recordings = recordings + 1, recorded_bytes = recorded_bytes + new.bytes;
    END;
    CREATE TRIGGER recordings_recounted AFTER UPDATE OF bytes ON recordings BEGIN
        UPDATE tenant_usage SET recorded_bytes = recorded_bytes + new.bytes - old.bytes WHERE tenant_id = new.tenant_id;
    END;
    CREATE TRIGGER recordings_discounted AFTER DELETE ON recordings BEGIN
        UPDATE tenant_usage SET recordings = recordings - 1, recorded_bytes = recorded_bytes - old.bytes
            WHERE tenant_id = old.tenant_id;
    END;";

const POSTGRES_USAGE: &str = "
    CREATE FUNCTION count_recording() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO tenant_usage AS used (tenant_id, recordings, recorded_bytes) VALUES (new.tenant_id, 1, new.bytes)
                ON CONFLICT (tenant_id) DO UPDATE
                    SET recordings = used.recordings + 1, recorded_bytes = used.recorded_bytes + new.bytes;
        ELSIF TG_OP = 'UPDATE' THEN
            UPDATE tenant_usage SET recorded_bytes = recorded_bytes + new.bytes - old.bytes
                WHERE tenant_id = new.tenant_id;
        ELSE
            UPDATE tenant_usage SET recordings = recordings - 1, recorded_bytes = recorded_bytes - old.bytes
                WHERE tenant_id = old.tenant_id;
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER recordings_counted AFTER INSERT OR DELETE OR UPDATE OF bytes ON recordings
        FOR EACH ROW EXECUTE FUNCTION count_recording();";

/// An index of the words that reads them from the table. The words are ours already, so the tokenizer has nothing to decide.
const SQLITE_SEARCH: &str = "
    CREATE VIRTUAL TABLE segments_fts USING
        fts5(terms, content = 'segments', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 0');
    CREATE TRIGGER segments_indexed AFTER INSERT ON segments BEGIN
        INSERT INTO segments_fts (rowid, terms) VALUES (new.id, new.terms);
    END;
    CREATE TRIGGER segments_reindexed AFTER UPDATE OF terms ON segments BEGIN
        INSERT INTO segments_fts (segments_fts, rowid, terms) VALUES ('delete', old.id, old.terms);
        INSERT INTO segments_fts (rowid, terms) VALUES (new.id, new.terms);
    END;
    CREATE TRIGGER segments_unindexed AFTER DELETE ON segments BEGIN
        INSERT INTO segments_fts (segments_fts, rowid, terms) VALUES ('delete', old.id, old.terms);
    END;";

/// No GIN index: behind row-level security PostgreSQL does not use one, since `@@` is not marked leakproof. The words are
/// compared along the tenant's own index instead.
const POSTGRES_SEARCH: &str = "ALTER TABLE segments ADD COLUMN lexemes tsvector GENERATED ALWAYS AS (to_tsvector('simple'::regconfig, terms)) STORED";

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
        .foreign_key(&mut to_tenant("idempotency_keys"))
        .take()
}

fn settings() -> TableCreateStatement {
    table("settings")
        .col(big_pk_auto("id"))
        // Null: for the whole installation.
        .col(uuid_null("tenant_id"))
        .col(string("key"))
        // One of the two.
        .col(json_null("value"))
        .col(binary_null("sealed"))
        .col(integer("version"))
        .col(big_integer("changed_at"))
        .col(string("changed_by"))
        .foreign_key(&mut to_tenant("settings"))
        .take()
}

fn quotas() -> TableCreateStatement {
    table("quotas")
        .col(pk_uuid("tenant_id"))
        // Null: no bound.
        .col(integer_null("concurrent_sessions"))
        .col(big_integer_null("storage_bytes"))
        .col(integer_null("requests_per_minute"))
        .col(integer("version"))
        .col(big_integer("changed_at"))
        .foreign_key(&mut to_tenant("quotas"))
        .take()
}

fn tenant_usage() -> TableCreateStatement {
    table("tenant_usage")
        .col(pk_uuid("tenant_id"))
        .col(big_integer("recordings"))
        .col(big_integer("recorded_bytes"))
        .foreign_key(&mut to_tenant("tenant_usage"))
        .take()
}

fn transcripts() -> TableCreateStatement {
    table("transcripts")
        .col(pk_uuid("id"))
        .col(uuid("tenant_id"))
        .col(uuid("session_id"))
        .col(integer("part"))
        .col(string("provider"))
        .col(string_null("model"))
        .col(string_null("language"))
        .col(string("state"))
        .col(text_null("failure"))
        .col(big_integer("created_at"))
        .col(big_integer_null("finished_at"))
        // What the segments' keys point to.
        .index(Index::create().name("transcripts_owner").col("id").col("session_id").col("tenant_id").unique())
        .foreign_key(
            ForeignKey::create()
                .from("transcripts", ("session_id", "tenant_id"))
                .to("call_sessions", ("id", "tenant_id"))
                .on_delete(ForeignKeyAction::Cascade),
        )
        .take()
}

fn segments() -> TableCreateStatement {
    table("segments")
        .col(big_pk_auto("id"))
        .col(uuid("transcript_id"))
        .col(integer("number"))
        .col(uuid("session_id"))
        .col(uuid("tenant_id"))
        .col(string("speaker"))
        .col(big_integer("at"))
        .col(big_integer("start_ms"))
        .col(big_integer("end_ms"))
        .col(text("text"))
        // The text's words in lower case with single blanks between them: what is searched.
        .col(text("terms"))
        .col(double_null("confidence"))
        .col(json_null("words"))
        .col(boolean("is_final"))
        .foreign_key(
            ForeignKey::create()
                .from("segments", ("transcript_id", "session_id", "tenant_id"))
                .to("transcripts", ("id", "session_id", "tenant_id"))
                .on_delete(ForeignKeyAction::Cascade),
        )
        .take()
}

fn to_tenant(child: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create().from(child, "tenant_id").to("tenants", "id").on_delete(ForeignKeyAction::Cascade).take()
}

fn indexes() -> Vec<IndexCreateStatement> {
    let index = |name: &'static str, table: &'static str| Index::create().name(name).table(table).take();
    vec![
        index("idempotency_keys_oldest", "idempotency_keys").col("begun_at").take(),
        index("settings_of_tenant", "settings").col("tenant_id").col("key").unique().take(),
        // Two nulls are not equal to a unique index.
        index("settings_global", "settings").col("key").unique().cond_where(Expr::col("tenant_id").is_null()).take(),
        index("transcripts_newest", "transcripts").col("created_at").col("id").take(),
        index("transcripts_of_tenant", "transcripts").col("tenant_id").col("created_at").col("id").take(),
        index("transcripts_of_session", "transcripts").col("session_id").col("part").take(),
        index("segments_once", "segments").col("transcript_id").col("number").unique().take(),
        index("segments_newest", "segments").col("at").col("id").take(),
        index("segments_of_tenant", "segments").col("tenant_id").col("at").col("id").take(),
        index("segments_of_session", "segments").col("session_id").col("at").col("id").take(),
        // For what is removed when it is old.
        index("refresh_tokens_oldest", "refresh_tokens").col("expires_at").take(),
        index("audit_log_oldest", "audit_log").col("tenant_id").col("at").take(),
    ]
}
