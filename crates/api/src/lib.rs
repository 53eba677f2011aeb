//! The gateway's HTTP service: the REST API under `/api/v1`, whether it is well (`/healthz`, `/readyz`) and what it counts
//! (`/metrics`), and what happens, live (`/api/v1/ws`, in `websocket`).
//!
//! One file a resource. An operation is a handler with `#[utoipa::path]`, brought into the router of its file behind one
//! of the doors of `guard`, and the file's `routes()` is a line in `document::resources`:
//!
//! ```text
//! pub(crate) fn routes() -> OpenApiRouter<Desk> {
//!     OpenApiRouter::new()
//!         .routes(needs(Permission::UsersRead, routes!(list)))
//!         .routes(needs(Permission::UsersChange, routes!(create)))
//! }
//! ```
//!
//! The handler takes `State<Desk>`, `Caller` (whose `scope()` every query gets), and `Path`, `Query`,
//! `Json` and `IfMatch` of `body`; it answers `Json`, `Versioned` or `Created`, or fails with a
//! `Problem`. Types of the API are its own; values of other crates are described in `schema`.
//!
//! What it leaves to others: what is counted, and which alarms there are (`gateway`); who may log in (`accounts`); rows and
//! their walls (`store`); settings and exit codes (`aimg`).

mod access;
mod api_keys;
mod audit_log;
mod auth;
mod body;
mod call_sessions;
mod caller;
mod clock;
mod config;
mod connections;
mod control;
mod document;
mod error;
mod examinations;
mod guard;
mod health;
mod idempotency;
mod limits;
mod live_audio;
mod metrics;
mod page;
mod pbx_looks;
mod pbx_rules;
mod pbxs;
mod problem;
mod quotas;
mod recordings;
mod schema;
mod server;
mod settings;
mod setup_page;
mod system;
mod tenants;
mod transcripts;
mod users;
mod webhooks;
mod websocket;

pub use config::{Config, WebSocketConfig};
pub use document::openapi_json;
pub use error::Error;
pub use server::{Backend, Server, bind};
pub use websocket::asyncapi::asyncapi_json;
