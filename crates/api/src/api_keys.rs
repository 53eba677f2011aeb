//! `/api/v1/api-keys`: how programs come. A key never may more than whoever made it.

use aimg_accounts::{KeyRequest, MadeKey};
use aimg_core::{ApiKeyId, Permission, Role, TenantId};
use aimg_store::ApiKeyFilter;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{self, Created, Json, Path, Query};
use crate::caller::Caller;
use crate::clock::now;
use crate::guard::needs;
use crate::page::{self, Page, PageOfTenant};
use crate::problem::Problem;
use crate::schema::{PermissionSchema, RoleSchema, Time};
use crate::server::Desk;

const TAG: &str = "api-keys";
const PATH: &str = "/api/v1/api-keys";
const NAME_CHARS_MAX: usize = 100;

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(needs(Permission::IntegrationsRun, routes!(list, create)))
        .routes(needs(Permission::IntegrationsRun, routes!(show, revoke)))
}

/// A key, without the key.
#[derive(Debug, Serialize, ToSchema)]
struct ApiKey {
    /// Its id.
    id: Uuid,
    /// Its tenant; absent for one of the installation.
    tenant: Option<Uuid>,
    /// What people call it.
    name: String,
    /// Its first characters, by which it is told from others.
    prefix: String,
    /// What it may do at most.
    #[schema(value_type = RoleSchema)]
    role: Role,
    /// What of that it may do; absent for all.
    #[schema(value_type = Option<Vec<PermissionSchema>>)]
    permissions: Option<Vec<Permission>>,
    /// Who made it; absent where that was another key.
    created_by: Option<Uuid>,
    /// When it was made.
    created_at: Time,
    /// From when on it is worth nothing.
    expires_at: Option<Time>,
    /// When it was used last, to the minute.
    last_used_at: Option<Time>,
    /// Since when it is worth nothing.
    revoked_at: Option<Time>,
}

/// A key that was just made.
#[derive(Debug, Serialize, ToSchema)]
struct NewApiKey {
    /// The key. It is shown here and never again.
    secret: String,
    /// All else about it.
    key: ApiKey,
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedApiKey {
    /// Its tenant; one's own where it is absent. A key of role `super_admin` belongs to none.
    tenant: Option<Uuid>,
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// What it may do at most.
    #[schema(value_type = RoleSchema)]
    role: Role,
    /// What of that it may do; all where it is absent.
    #[schema(value_type = Option<Vec<PermissionSchema>>, max_items = 14)]
    permissions: Option<Vec<Permission>>,
    /// From when on it is worth nothing; never where it is absent.
    expires_at: Option<Time>,
}

/// List the API keys
///
/// The newest first, revoked ones included.
#[utoipa::path(get, path = "/api-keys", tag = TAG, params(PageOfTenant), responses(
    (status = 200, description = "A page of keys", body = Page<ApiKey>),
))]
async fn list(
    State(desk): State<Desk>,
    caller: Caller,
    Query(PageOfTenant { tenant, limit, after }): Query<PageOfTenant>,
) -> Result<Json<Page<ApiKey>>, Problem> {
    let limit = page::limit(limit)?;
    let filter = ApiKeyFilter {
        tenant: tenant.map(TenantId::from_uuid),
        before: page::after(after.as_deref())?,
        limit: Some(limit + 1),
    };
    let found = desk.store.api_keys(caller.scope(), filter).await?;
    Ok(Json(Page::of(found, limit, |key| key.id.to_string())))
}

/// Make an API key
///
/// The answer is the only place where the key is shown.
#[utoipa::path(post, path = "/api-keys", tag = TAG, request_body = WantedApiKey, responses(
    (status = 201, description = "The key", body = NewApiKey),
    (status = 404, description = "There is no such tenant", body = Problem, content_type = "application/problem+json"),
))]
async fn create(
    State(desk): State<Desk>,
    caller: Caller,
    Json(WantedApiKey { tenant, name, role, permissions, expires_at }): Json<WantedApiKey>,
) -> Result<Created<Json<NewApiKey>>, Problem> {
    body::check_text("name", &name, NAME_CHARS_MAX)?;
    if expires_at.is_some_and(|Time(at)| at <= now()) {
        return Err(Problem::invalid("expires_at", "it is over already"));
    }
    let tenant = tenant.map(TenantId::from_uuid).or(caller.principal.tenant);
    let expires_at = expires_at.map(|Time(at)| at);
    let request = KeyRequest { tenant, name, role, permissions, expires_at };
    let MadeKey { key, secret } = desk.accounts.make_key(&caller.principal, request).await?;
    let detail = json!({ "name": key.name, "prefix": key.prefix, "role": role, "permissions": key.permissions });
    desk.store.audit(caller.did_in(key.tenant, "api_key.add", key.id, detail)).await?;
    let at = format!("{PATH}/{}", key.id);
    Ok(Created(at, Json(NewApiKey { secret: secret.expose_secret().to_owned(), key: key.into() })))
}

/// Show an API key
#[utoipa::path(get, path = "/api-keys/{id}", tag = TAG, params(("id" = Uuid, Path, description = "The key")), responses(
    (status = 200, description = "All but the key itself", body = ApiKey),
))]
async fn show(State(desk): State<Desk>, caller: Caller, Path(id): Path<ApiKeyId>) -> Result<Json<ApiKey>, Problem> {
    Ok(Json(desk.store.api_key(caller.scope(), id).await?.into()))
}

/// Revoke an API key
///
/// It is worth nothing from here on, and stays in the list.
#[utoipa::path(delete, path = "/api-keys/{id}", tag = TAG, params(("id" = Uuid, Path, description = "The key")), responses(
    (status = 204, description = "Revoked"),
))]
async fn revoke(State(desk): State<Desk>, caller: Caller, Path(id): Path<ApiKeyId>) -> Result<StatusCode, Problem> {
    let key = desk.store.revoke_api_key(caller.scope(), id, now()).await?;
    let detail = json!({ "name": key.name, "prefix": key.prefix });
    desk.store.audit(caller.did_in(key.tenant, "api_key.revoke", id, detail)).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<aimg_store::ApiKey> for ApiKey {
    fn from(key: aimg_store::ApiKey) -> Self {
        Self {
            id: key.id.as_uuid(),
            tenant: key.tenant.map(TenantId::as_uuid),
            name: key.name,
            prefix: key.prefix,
            role: key.role,
            permissions: key.permissions,
            created_by: key.created_by.map(aimg_core::UserId::as_uuid),
            created_at: Time(key.created_at),
            expires_at: key.expires_at.map(Time),
            last_used_at: key.last_used_at.map(Time),
            revoked_at: key.revoked_at.map(Time),
        }
    }
}
