//! `/api/v1/settings`: what a tenant, or the installation, has set.

use aimg_core::{ChangedBy, Setting as Known, TenantId};
use aimg_store::{EffectiveSetting, NewAuditEntry};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{IfMatch, Json, Path, Query, Versioned};
use crate::caller::Caller;
use crate::guard::needs;
use crate::problem::{Code, Problem};
use crate::schema::Time;
use crate::server::Desk;

const TAG: &str = "settings";

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    use aimg_core::Permission::{TenantsChange, TenantsRead};
    OpenApiRouter::new()
        .routes(needs(TenantsRead, routes!(list_settings)))
        .routes(needs(TenantsRead, routes!(setting)))
        .routes(needs(TenantsChange, routes!(change_setting)))
        .routes(needs(TenantsChange, routes!(reset_setting)))
}

/// Whose settings.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Whose {
    /// Of this tenant. Absent: of one's own tenant; for a super admin, of the installation.
    tenant: Option<Uuid>,
}

/// A setting as it is in force.
#[derive(Debug, Serialize, ToSchema)]
struct Setting {
    /// Its stable name.
    key: &'static str,
    /// What it does.
    description: &'static str,
    /// Its value; null for a secret, which is never shown.
    value: Value,
    /// Whether it has a value at all, a secret included.
    is_set: bool,
    /// Whether its value is sealed and never shown.
    is_secret: bool,
    /// Where the value comes from.
    origin: Origin,
    /// What it is until somebody sets it.
    default: Value,
    /// What it can be, in words.
    allowed: String,
    /// Whether a tenant's own administrators may change it.
    tenant_may_change: bool,
    /// When the value was changed last, where it was given here.
    changed_at: Option<Time>,
    /// Who changed it last, where it was given here: a user's name, or an API key's prefix.
    changed_by: Option<String>,
}

/// Where the value of a setting comes from: nobody set it, or it was set for the installation, or for the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Origin {
    Default,
    Installation,
    Tenant,
}

/// All settings.
#[derive(Debug, Serialize, ToSchema)]
struct Settings {
    /// By key.
    items: Vec<Setting>,
}

/// Another value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SettingChange {
    /// The value: what the setting's `allowed` says.
    value: Value,
}

/// All settings as they are in force.
#[utoipa::path(get, path = "/settings", tag = TAG, params(Whose), responses(
    (status = 200, description = "The settings", body = Settings),
    (status = 404, description = "There is no such tenant", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A parameter is not allowed", body = Problem, content_type = "application/problem+json"),
))]
async fn list_settings(
    State(desk): State<Desk>,
    caller: Caller,
    Query(whose): Query<Whose>,
) -> Result<Json<Settings>, Problem> {
    let of = whose.of(&caller);
    if let Some(tenant) = of {
        desk.store.tenant(caller.scope(), tenant).await?;
    }
    let settings = desk.store.settings(caller.scope(), of).await?;
    Ok(Json(Settings { items: settings.into_iter().map(|setting| shown(setting, of).1).collect() }))
}

/// One setting as it is in force. Its `ETag` is of the value that was given here, if one was.
#[utoipa::path(get, path = "/settings/{key}", tag = TAG,
    params(Whose, ("key" = String, Path, description = "The setting's key", max_length = 100)), responses(
    (status = 200, description = "The setting", body = Setting, headers(("ETag" = String, description = "Its version"))),
    (status = 404, description = "There is no such setting or tenant", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A parameter is not allowed", body = Problem, content_type = "application/problem+json"),
))]
async fn setting(
    State(desk): State<Desk>,
    caller: Caller,
    Path(key): Path<String>,
    Query(whose): Query<Whose>,
) -> Result<Versioned<Setting>, Problem> {
    let (of, known) = (whose.of(&caller), known(&key)?);
    if let Some(tenant) = of {
        desk.store.tenant(caller.scope(), tenant).await?;
    }
    let (version, setting) = shown(desk.store.setting(caller.scope(), of, known).await?, of);
    Ok(Versioned(version, setting))
}

/// Gives a setting a value. It takes effect at once, or within minutes where it is about what is removed.
#[utoipa::path(put, path = "/settings/{key}", tag = TAG, request_body = SettingChange,
    params(Whose, ("key" = String, Path, description = "The setting's key", max_length = 100),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that came with it")), responses(
    (status = 200, description = "The setting", body = Setting, headers(("ETag" = String, description = "Its version"))),
    (status = 404, description = "There is no such setting or tenant", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "Somebody else changed it", body = Problem, content_type = "application/problem+json"),
))]
async fn change_setting(
    State(desk): State<Desk>,
    caller: Caller,
    Path(key): Path<String>,
    Query(whose): Query<Whose>,
    IfMatch(expected): IfMatch,
    Json(change): Json<SettingChange>,
) -> Result<Versioned<Setting>, Problem> {
    let (of, known) = (whose.of(&caller), known(&key)?);
    let value = if known.is_secret() { Value::Null } else { change.value.clone() };
    let by = &caller.principal.name;
    let changed = desk.store.change_setting(caller.scope(), of, known, change.value, expected, by).await?;
    note(&desk, &caller, of, "setting.change", known, json!({ "value": value })).await?;
    let (version, setting) = shown(changed, of);
    Ok(Versioned(version, setting))
}

/// Takes the value away that was given here: what is set for the installation holds again, or the default.
#[utoipa::path(delete, path = "/settings/{key}", tag = TAG,
    params(Whose, ("key" = String, Path, description = "The setting's key", max_length = 100),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that came with it")), responses(
    (status = 200, description = "The setting as it is in force from here on", body = Setting,
        headers(("ETag" = String, description = "Its version"))),
    (status = 400, description = "`If-Match` is malformed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such setting or tenant", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "Somebody else changed it", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A parameter is not allowed", body = Problem, content_type = "application/problem+json"),
))]
async fn reset_setting(
    State(desk): State<Desk>,
    caller: Caller,
    Path(key): Path<String>,
    Query(whose): Query<Whose>,
    IfMatch(expected): IfMatch,
) -> Result<Versioned<Setting>, Problem> {
    let (of, known) = (whose.of(&caller), known(&key)?);
    let left = desk.store.reset_setting(caller.scope(), of, known, expected).await?;
    note(&desk, &caller, of, "setting.reset", known, Value::Null).await?;
    let (version, setting) = shown(left, of);
    Ok(Versioned(version, setting))
}

impl Whose {
    fn of(&self, caller: &Caller) -> Option<TenantId> {
        self.tenant.map(TenantId::from_uuid).or_else(|| caller.scope().tenant())
    }
}

fn known(key: &str) -> Result<&'static Known, Problem> {
    Known::named(key).map_err(|unknown| Problem::new(Code::NotFound, unknown))
}

async fn note(
    desk: &Desk,
    caller: &Caller,
    of: Option<TenantId>,
    action: &str,
    setting: &Known,
    detail: Value,
) -> Result<(), Problem> {
    Ok(desk.store.audit(NewAuditEntry { tenant: of, detail, ..caller.did(action, setting.key) }).await?)
}

/// The setting, and the version of the value that was given to `of` itself: 0 where none was. Who set it for all is nobody
/// else's business.
fn shown(setting: EffectiveSetting, of: Option<TenantId>) -> (i32, Setting) {
    let known = setting.setting;
    let given_here = match setting.origin {
        aimg_store::Origin::Default => false,
        aimg_store::Origin::Installation => of.is_none(),
        aimg_store::Origin::Tenant => true,
    };
    let shown = Setting {
        key: known.key,
        description: known.says,
        value: setting.value,
        is_set: setting.is_set,
        is_secret: known.is_secret(),
        origin: match setting.origin {
            aimg_store::Origin::Default => Origin::Default,
            aimg_store::Origin::Installation => Origin::Installation,
            aimg_store::Origin::Tenant => Origin::Tenant,
        },
        default: known.default.value(),
        allowed: known.kind.to_string(),
        tenant_may_change: known.changed_by == ChangedBy::Tenant,
        changed_at: setting.changed_at.filter(|_| given_here).map(Time),
        changed_by: setting.changed_by.filter(|_| given_here),
    };
    (if given_here { setting.version } else { 0 }, shown)
}
