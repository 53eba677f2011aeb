//! `/api/v1/audit-log`: who did what.

use aimg_core::{Permission, TenantId, Timestamp};
use aimg_store::{AuditFilter, AuditPlace};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{Json, Query};
use crate::caller::Caller;
use crate::guard::needs;
use crate::page::{self, Page};
use crate::problem::Problem;
use crate::schema::Time;
use crate::server::Desk;

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new().routes(needs(Permission::IntegrationsRun, routes!(list)))
}

/// Something that somebody did, or tried to.
#[derive(Debug, Serialize, ToSchema)]
struct AuditEntry {
    /// Its id.
    id: i64,
    /// In whose things; absent for the installation's.
    tenant: Option<Uuid>,
    /// When.
    at: Time,
    /// Who: a user's name, a key's first characters, or `command line`.
    actor: String,
    /// From which address.
    address: Option<String>,
    /// What, such as `user.change_role`.
    action: String,
    /// To what: an id or a name.
    target: String,
    /// `done`, or why not.
    outcome: String,
    /// What else is worth knowing; never a secret.
    detail: serde_json::Value,
}

/// Which entries, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only in this tenant's things.
    tenant: Option<Uuid>,
    /// Only what this user or key did: its name, or its first characters.
    actor: Option<String>,
    /// Only this action.
    action: Option<String>,
    /// Only what was done to this.
    target: Option<String>,
    /// Only what was done at this time or later.
    from: Option<Time>,
    /// Only what was done before this time.
    before: Option<Time>,
    /// Entries on a page; 50 where it is absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// An entry's place, as `next` shows it.
struct Place(AuditPlace);

/// Read the audit log
///
/// The newest first.
#[utoipa::path(get, path = "/audit-log", tag = "audit-log", params(Which), responses(
    (status = 200, description = "A page of entries", body = Page<AuditEntry>),
))]
async fn list(
    State(desk): State<Desk>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Json<Page<AuditEntry>>, Problem> {
    let limit = page::limit(which.limit)?;
    let filter = AuditFilter {
        tenant: which.tenant.map(TenantId::from_uuid),
        actor: which.actor,
        action: which.action,
        target: which.target,
        from: which.from.map(|Time(at)| at),
        before: which.before.map(|Time(at)| at),
        after: page::after(which.after.as_deref())?.map(|Place(place)| place),
        limit: Some(limit + 1),
    };
    let found = desk.store.audit_log(caller.scope(), filter).await?;
    let place = |entry: &aimg_store::AuditEntry| format!("{}-{}", entry.at.as_micros(), entry.id);
    Ok(Json(Page::of(found, limit, place)))
}

impl std::str::FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (at, id) = text.split_once('-').ok_or(())?;
        let at = Timestamp::from_micros(at.parse().map_err(|_| ())?);
        Ok(Self(AuditPlace { at, id: id.parse().map_err(|_| ())? }))
    }
}

impl From<aimg_store::AuditEntry> for AuditEntry {
    fn from(entry: aimg_store::AuditEntry) -> Self {
        Self {
            id: entry.id,
            tenant: entry.tenant.map(TenantId::as_uuid),
            at: Time(entry.at),
            actor: entry.actor,
            address: entry.address,
            action: entry.action,
            target: entry.target,
            outcome: entry.outcome,
            detail: entry.detail,
        }
    }
}
