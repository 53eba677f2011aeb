//! The rows as the database holds them: plain columns, one module a table. They become the words of the domain in the
//! files named after these, and are seen nowhere else.

// SeaORM's derive makes public items, undocumented; nothing here leaves the crate.
#![allow(missing_docs, unreachable_pub)]

pub(crate) mod api_key;
pub(crate) mod audit_entry;
pub(crate) mod call_event;
pub(crate) mod call_leg;
pub(crate) mod call_session;
pub(crate) mod idempotency_key;
pub(crate) mod pbx;
pub(crate) mod pbx_rule;
pub(crate) mod quota;
pub(crate) mod recording;
pub(crate) mod refresh_token;
pub(crate) mod segment;
pub(crate) mod setting;
pub(crate) mod tenant;
pub(crate) mod tenant_usage;
pub(crate) mod transcript;
pub(crate) mod user;
pub(crate) mod webhook;
pub(crate) mod webhook_delivery;
