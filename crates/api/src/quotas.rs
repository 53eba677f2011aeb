//! `/api/v1/tenants/{id}/quota`: how much a tenant may use, and how much it does.

use aimg_core::TenantId;
use aimg_store::{NewAuditEntry, QuotaBounds};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{IfMatch, Json, Path, Versioned};
use crate::caller::Caller;
use crate::guard::needs;
use crate::problem::Problem;
use crate::schema::Time;
use crate::server::Desk;

const TAG: &str = "tenants";
/// The greatest bound that a database keeps.
const COUNT_MAX: u32 = i32::MAX as u32;
const BYTES_MAX: u64 = i64::MAX as u64;

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    use aimg_core::Permission::{InstallationRun, TenantsRead};
    OpenApiRouter::new()
        .routes(needs(TenantsRead, routes!(quota)))
        .routes(needs(InstallationRun, routes!(change_quota)))
}

/// How much a tenant may use at most.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Bounds {
    /// Sessions that are captured at once on one node; null for no bound. Beyond it a call is seen and not captured.
    #[schema(maximum = 2147483647u32)]
    concurrent_sessions: Option<u32>,
    /// Bytes of recordings; null for no bound. Beyond it calls are seen and not captured.
    #[schema(maximum = 9223372036854775807u64)]
    storage_bytes: Option<u64>,
    /// Requests to the API in a minute on one node; null for no bound. Beyond it they are answered 429.
    #[schema(minimum = 1, maximum = 2147483647u32)]
    requests_per_minute: Option<u32>,
}

/// A tenant's quota and what it uses of it.
#[derive(Debug, Serialize, ToSchema)]
struct Quota {
    /// Whose it is.
    tenant: Uuid,
    /// How much it may use at most.
    bounds: Bounds,
    /// How much it uses.
    used: Used,
    /// When the bounds were changed last.
    changed_at: Option<Time>,
}

/// How much a tenant uses.
#[derive(Debug, Serialize, ToSchema)]
struct Used {
    /// Sessions that are captured at this moment on this node.
    captured_sessions: u64,
    /// Recordings that are kept.
    recordings: u64,
    /// What they take, in bytes.
    stored_bytes: u64,
}

/// A tenant's quota and what it uses of it.
#[utoipa::path(get, path = "/tenants/{id}/quota", tag = TAG, params(("id" = Uuid, Path, description = "The tenant")), responses(
    (status = 200, description = "The quota", body = Quota, headers(("ETag" = String, description = "Its version"))),
    (status = 404, description = "There is no such tenant", body = Problem, content_type = "application/problem+json"),
))]
async fn quota(State(desk): State<Desk>, caller: Caller, Path(id): Path<Uuid>) -> Result<Versioned<Quota>, Problem> {
    Ok(shown(&desk, desk.store.quota(caller.scope(), TenantId::from_uuid(id)).await?))
}

/// Sets all bounds of a tenant. Captures follow within seconds, requests at once.
#[utoipa::path(put, path = "/tenants/{id}/quota", tag = TAG, request_body = Bounds,
    params(("id" = Uuid, Path, description = "The tenant"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that came with it")), responses(
    (status = 200, description = "The quota", body = Quota, headers(("ETag" = String, description = "Its version"))),
    (status = 404, description = "There is no such tenant", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "Somebody else changed it", body = Problem, content_type = "application/problem+json"),
))]
async fn change_quota(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(expected): IfMatch,
    Json(bounds): Json<Bounds>,
) -> Result<Versioned<Quota>, Problem> {
    let tenant = TenantId::from_uuid(id);
    let quota = desk.store.set_quota(caller.scope(), tenant, bounds.checked()?, expected).await?;
    let detail = json!(bounds);
    desk.store.audit(NewAuditEntry { tenant: Some(tenant), detail, ..caller.did("quota.change", id) }).await?;
    desk.limits.follow_quotas(&desk.store).await;
    Ok(shown(&desk, quota))
}

impl Bounds {
    fn checked(&self) -> Result<QuotaBounds, Problem> {
        let Self { concurrent_sessions, storage_bytes, requests_per_minute } = *self;
        for (field, count) in
            [("concurrent_sessions", concurrent_sessions), ("requests_per_minute", requests_per_minute)]
        {
            if count.is_some_and(|count| count > COUNT_MAX) {
                return Err(Problem::invalid(field, format!("it is {COUNT_MAX} at most; null is no bound")));
            }
        }
        if requests_per_minute == Some(0) {
            return Err(Problem::invalid("requests_per_minute", "it is 1 at least; disable the tenant instead"));
        }
        if storage_bytes.is_some_and(|bytes| bytes > BYTES_MAX) {
            return Err(Problem::invalid("storage_bytes", format!("it is {BYTES_MAX} at most; null is no bound")));
        }
        Ok(QuotaBounds { concurrent_sessions, storage_bytes, requests_per_minute })
    }
}

fn shown(desk: &Desk, quota: aimg_store::Quota) -> Versioned<Quota> {
    let QuotaBounds { concurrent_sessions, storage_bytes, requests_per_minute } = quota.bounds;
    let shown = Quota {
        tenant: quota.tenant.as_uuid(),
        bounds: Bounds { concurrent_sessions, storage_bytes, requests_per_minute },
        used: Used {
            captured_sessions: desk.monitor.captured_sessions(quota.tenant) as u64,
            recordings: quota.recordings,
            stored_bytes: quota.stored_bytes,
        },
        changed_at: quota.changed_at.map(Time),
    };
    Versioned(quota.version, shown)
}
