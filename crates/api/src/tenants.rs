//! `/api/v1/tenants`: who they are, which of their calls are captured, and what they had.

use std::collections::BTreeMap;

use aimg_core::{Permission, TenantId, Timestamp};
use aimg_session::CaptureRule;
use aimg_store::{CallDay, RecordingDay, STATS_DAYS_MAX, TenantChange, TenantStats};
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{self, Created, IfMatch, Json, Path, Query, Versioned};
use crate::caller::Caller;
use crate::clock::now;
use crate::guard::needs;
use crate::page::{self, Page};
use crate::problem::Problem;
use crate::schema::Time;
use crate::server::Desk;

const TAG: &str = "tenants";
const PATH: &str = "/api/v1/tenants";
/// Characters of a capture rule: room for an expression that a person still reads.
const RULE_CHARS_MAX: usize = 1_000;
/// Days that are looked at where nobody says how many.
const STATS_DAYS: u32 = 7;
const DAY_US: i64 = 86_400_000_000;

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(needs(Permission::TenantsRead, routes!(list)))
        .routes(needs(Permission::InstallationRun, routes!(create)))
        .routes(needs(Permission::TenantsRead, routes!(show)))
        .routes(needs(Permission::TenantsChange, routes!(change)))
        .routes(needs(Permission::InstallationRun, routes!(remove)))
        .routes(needs(Permission::AnalyticsRead, routes!(stats)))
}

/// A tenant.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Tenant {
    /// Its id.
    id: Uuid,
    /// Its name.
    name: String,
    /// Which of its calls are captured: `all`, `none`, `context:NAME[,NAME]`, `dialled:REGEX`, `direction:inbound` or
    /// `direction:outbound`.
    capture_rule: String,
    /// Whether its calls are looked at at all.
    enabled: bool,
    /// Since when there is the tenant.
    created_at: Time,
}

/// A tenant to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTenant {
    /// 1 to 63 of a-z, 0-9 and -.
    #[schema(min_length = 1, max_length = 63)]
    name: String,
    /// Which of its calls are captured; `all` where it is absent.
    #[schema(max_length = 1000)]
    capture_rule: Option<String>,
}

/// What is to be different about a tenant; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangedTenant {
    /// Its name; only for a super admin to change.
    #[schema(min_length = 1, max_length = 63)]
    name: Option<String>,
    /// Which of its calls are captured.
    #[schema(max_length = 1000)]
    capture_rule: Option<String>,
    /// Whether its calls are looked at; only for a super admin to change.
    enabled: Option<bool>,
}

/// Which page of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Tenants on a page; 50 where it is absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Of which days.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Days {
    /// A time of the first day; a week ago where it is absent.
    from: Option<Time>,
    /// How many days, 1 to 31; 7 where it is absent.
    days: Option<u32>,
}

/// What a tenant had in some days.
#[derive(Debug, Serialize, ToSchema)]
struct Stats {
    /// In all of them.
    total: Figures,
    /// In each of them on which there was anything, the earliest first.
    days: Vec<Day>,
}

/// What a tenant had on one day.
#[derive(Debug, Serialize, ToSchema)]
struct Day {
    /// The day, in UTC.
    #[schema(format = Date, example = "2026-01-31")]
    day: String,
    /// What there was.
    #[serde(flatten)]
    figures: Figures,
}

/// Calls by when they began, recordings by when they were finished.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Figures {
    /// Calls.
    calls: i64,
    /// Calls by the state in which they are.
    calls_by_state: BTreeMap<String, i64>,
    /// Calls that were answered.
    answered: i64,
    /// Calls that were to be captured.
    captured: i64,
    /// Recordings from which nothing at all is missing.
    recordings_complete: i64,
    /// Recordings from which something is missing; their certificates say what.
    recordings_incomplete: i64,
    /// How long all recordings play.
    recorded_seconds: f64,
    /// The size of all recordings' files.
    recorded_bytes: i64,
}

/// List the tenants
///
/// By name. A tenant's account sees its own.
#[utoipa::path(get, path = "/tenants", tag = TAG, params(Which), responses(
    (status = 200, description = "A page of tenants", body = Page<Tenant>),
))]
async fn list(
    State(desk): State<Desk>,
    caller: Caller,
    Query(Which { limit, after }): Query<Which>,
) -> Result<Json<Page<Tenant>>, Problem> {
    let limit = page::limit(limit)?;
    let found = desk.store.tenants_after(caller.scope(), after.as_deref(), limit + 1).await?;
    Ok(Json(Page::of(found, limit, |tenant| tenant.name.clone())))
}

/// Add a tenant
///
/// It is enabled. Its PBXs and users are added afterwards.
#[utoipa::path(post, path = "/tenants", tag = TAG, request_body = NewTenant, responses(
    (status = 201, description = "The tenant", body = Tenant),
))]
async fn create(
    State(desk): State<Desk>,
    caller: Caller,
    Json(NewTenant { name, capture_rule }): Json<NewTenant>,
) -> Result<Created<Versioned<Tenant>>, Problem> {
    let rule = checked_rule(capture_rule.as_deref().unwrap_or("all"))?;
    let tenant = desk.store.add_tenant(caller.scope(), &name, rule.clone()).await?;
    let detail = json!({ "name": name, "capture_rule": rule });
    desk.store.audit(caller.did_in(Some(tenant.id), "tenant.add", tenant.id, detail)).await?;
    Ok(Created(format!("{PATH}/{}", tenant.id), versioned(tenant)))
}

/// Show a tenant
#[utoipa::path(get, path = "/tenants/{id}", tag = TAG, params(("id" = Uuid, Path, description = "The tenant")), responses(
    (status = 200, description = "The tenant", body = Tenant),
))]
async fn show(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<TenantId>,
) -> Result<Versioned<Tenant>, Problem> {
    Ok(versioned(desk.store.tenant(caller.scope(), id).await?))
}

/// Change a tenant
///
/// What is captured counts from the next call on. The calls of a disabled tenant are not looked at; nothing stored is removed.
#[utoipa::path(patch, path = "/tenants/{id}", tag = TAG, request_body = ChangedTenant,
    params(("id" = Uuid, Path, description = "The tenant"), IfMatch),
    responses(
        (status = 200, description = "The tenant as it is then", body = Tenant),
        (status = 409, description = "Another tenant has this name", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn change(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<TenantId>,
    IfMatch(version): IfMatch,
    Json(ChangedTenant { name, capture_rule, enabled }): Json<ChangedTenant>,
) -> Result<Versioned<Tenant>, Problem> {
    let rule = capture_rule.as_deref().map(checked_rule).transpose()?;
    let detail = json!({ "name": name, "capture_rule": rule, "enabled": enabled });
    let change = TenantChange { name, capture_rule: rule, enabled };
    let tenant = desk.store.change_tenant(caller.scope(), id, version, change).await?;
    desk.store.audit(caller.did_in(Some(id), "tenant.change", id, detail)).await?;
    Ok(versioned(tenant))
}

/// Delete a tenant
///
/// Only when nothing is left of it: no PBX, no user, no API key that is good, no webhook, no call.
#[utoipa::path(delete, path = "/tenants/{id}", tag = TAG,
    params(("id" = Uuid, Path, description = "The tenant"), IfMatch),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, description = "It still has what `detail` names", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn remove(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<TenantId>,
    IfMatch(version): IfMatch,
) -> Result<StatusCode, Problem> {
    let tenant = desk.store.tenant(caller.scope(), id).await?;
    desk.store.remove_tenant(caller.scope(), id, version).await?;
    let detail = json!({ "name": tenant.name });
    desk.store.audit(caller.did_in(None, "tenant.remove", id, detail)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Count a tenant's calls and recordings
///
/// By day, in UTC.
#[utoipa::path(get, path = "/tenants/{id}/stats", tag = TAG,
    params(("id" = Uuid, Path, description = "The tenant"), Days),
    responses((status = 200, description = "The figures", body = Stats)),
)]
async fn stats(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<TenantId>,
    Query(Days { from, days }): Query<Days>,
) -> Result<Json<Stats>, Problem> {
    let days = days.unwrap_or(STATS_DAYS);
    if !(1..=STATS_DAYS_MAX).contains(&days) {
        return Err(Problem::invalid("days", format!("it can be 1 to {STATS_DAYS_MAX} days at once")));
    }
    let week_ago = || Timestamp::from_micros(now().as_micros() - DAY_US * (i64::from(STATS_DAYS) - 1));
    let from = from.map_or_else(week_ago, |Time(from)| from);
    desk.store.tenant(caller.scope(), id).await?;
    Ok(Json(desk.store.tenant_stats(caller.scope(), id, from, days).await?.into()))
}

/// The rule as it is stored, which the gateway will be able to read.
fn checked_rule(rule: &str) -> Result<serde_json::Value, Problem> {
    body::check_text("capture_rule", rule, RULE_CHARS_MAX)?;
    let read: CaptureRule = rule.parse().map_err(|e| Problem::invalid("capture_rule", e))?;
    Ok(read.to_string().into())
}

fn versioned(tenant: aimg_store::Tenant) -> Versioned<Tenant> {
    Versioned(tenant.version, tenant.into())
}

impl From<aimg_store::Tenant> for Tenant {
    fn from(tenant: aimg_store::Tenant) -> Self {
        Self {
            id: tenant.id.as_uuid(),
            capture_rule: tenant.capture_rule.as_str().unwrap_or_default().to_owned(),
            name: tenant.name,
            enabled: tenant.enabled,
            created_at: tenant.created_at.into(),
        }
    }
}

impl From<TenantStats> for Stats {
    fn from(TenantStats { calls, recordings }: TenantStats) -> Self {
        let (mut total, mut days) = (Figures::default(), BTreeMap::<i64, Figures>::new());
        for row in &calls {
            total.add_calls(row);
            days.entry(row.day).or_default().add_calls(row);
        }
        for row in &recordings {
            total.add_recordings(row);
            days.entry(row.day).or_default().add_recordings(row);
        }
        let named =
            |day: i64| Timestamp::from_micros(day.saturating_mul(DAY_US)).to_string().chars().take(10).collect();
        Self { total, days: days.into_iter().map(|(day, figures)| Day { day: named(day), figures }).collect() }
    }
}

impl Figures {
    fn add_calls(&mut self, row: &CallDay) {
        self.calls += row.calls;
        *self.calls_by_state.entry(row.state.clone()).or_default() += row.calls;
        self.answered += row.answered;
        self.captured += row.captured;
    }

    fn add_recordings(&mut self, row: &RecordingDay) {
        let kind = if row.complete { &mut self.recordings_complete } else { &mut self.recordings_incomplete };
        *kind += row.recordings;
        self.recorded_seconds += row.duration_ms as f64 / 1_000.0;
        self.recorded_bytes += row.bytes;
    }
}
