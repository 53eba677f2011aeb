//! What outlives the process: tenants, their PBXs, and the sessions, legs, events and recordings of their calls, with what a tenant sets, may use and hears of them.
//!
//! A SQLite file, or a PostgreSQL database. Every function that reaches a tenant's rows takes a [`TenantScope`](aimg_core::TenantScope) or rows
//! that name their tenant; a row out of reach is [`Error::NotFound`], the same as a row that does not exist.
//!
//! Left to others: what a call is and how its state changes (`session`), when rows are written and what happens while the
//! database is away (`gateway`), the audio itself (`recording`).

mod api_keys;
mod audit;
mod changes;
mod deliveries;
mod dispatch;
mod entity;
mod error;
mod idempotency;
mod key;
mod migration;
mod name;
mod outbox;
mod pbx_rules;
mod pbxs;
mod place;
mod postgres;
mod purge;
mod quotas;
mod recordings;
mod refresh_tokens;
mod scope;
mod search;
mod sessions;
mod settings;
mod sqlite;
mod stats;
mod store;
mod tenants;
mod transcripts;
mod users;
mod webhooks;

pub use api_keys::{ApiKey, ApiKeyFilter, NewApiKey};
pub use audit::{AuditEntry, AuditFilter, AuditPlace, NewAuditEntry};
pub use changes::Change;
pub use deliveries::{DELIVERIES_LIMIT_MAX, Delivery, DeliveryFilter, DeliveryState, REPLAYED_MAX};
pub use dispatch::{Attempt, DueWebhook, Next, PendingDelivery, Settled, WebhookBacklog, WorkOrder};
pub use error::{Error, Result};
pub use idempotency::{IDEMPOTENCY_ABANDONED, IDEMPOTENCY_KEPT, IdempotencyKey, Idempotent, KeptResponse};
pub use key::data_key;
pub use migration::MigrationState;
pub use outbox::Announcement;
pub use pbx_rules::PbxRule;
pub use pbxs::{NewPbx, Pbx, PbxChange, PbxFilter, PbxName, PbxSecrets};
pub use place::Place;
pub use postgres::PostgresPlace;
pub use quotas::{Quota, QuotaBounds};
pub use recordings::{RECORDINGS_LIMIT_MAX, RecordingFilter, RecordingPlace, RecordingRow};
pub use refresh_tokens::{NewRefreshToken, Rotation};
pub use search::{SEARCH_WORDS_MAX, SearchHit, SearchQuery, SearchQueryError, SegmentPlace, SnippetPiece};
pub use sessions::{SESSIONS_LIMIT_MAX, SessionDetail, SessionFilter, SessionPlace, StoredSession};
pub use settings::{EffectiveSetting, Origin};
pub use stats::{CallDay, RecordingDay, STATS_DAYS_MAX, TenantStats};
pub use store::{Config, Store};
pub use tenants::{Tenant, TenantChange};
pub use transcripts::{
    SegmentRow, TRANSCRIPTS_LIMIT_MAX, TranscriptDetail, TranscriptFilter, TranscriptPlace, TranscriptRow,
    TranscriptState,
};
pub use users::{Credentials, NewUser, User, UserChange, UserFilter};
pub use webhooks::{NewWebhook, WEBHOOKS_MAX, Webhook, WebhookChange};
