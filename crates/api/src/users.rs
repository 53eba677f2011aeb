//! `/api/v1/users`: who may log in, and as what. Nobody makes or changes an account that may more than they may themselves.

use aimg_accounts::Who;
use aimg_core::{Permission, Role, TenantId, UserId};
use aimg_store::{UserChange, UserFilter};
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{Created, IfMatch, Json, Path, Query, Versioned};
use crate::caller::Caller;
use crate::guard::needs;
use crate::page::{self, Page, PageOfTenant};
use crate::problem::{Code, Problem};
use crate::schema::{PermissionSchema, RoleSchema, Time};
use crate::server::Desk;

const TAG: &str = "users";
const PATH: &str = "/api/v1/users";

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(needs(Permission::UsersRead, routes!(list)))
        .routes(needs(Permission::UsersChange, routes!(create)))
        .routes(needs(Permission::UsersRead, routes!(show)))
        .routes(needs(Permission::UsersChange, routes!(change, remove)))
        .routes(needs(Permission::UsersChange, routes!(change_role)))
        .routes(needs(Permission::UsersChange, routes!(set_password)))
        .routes(needs(Permission::UsersRead, routes!(permissions)))
}

/// A user.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct User {
    /// Its id.
    id: Uuid,
    /// Its tenant; absent for a super admin.
    tenant: Option<Uuid>,
    /// Its name, by which it logs in.
    name: String,
    /// Its role.
    #[schema(value_type = RoleSchema)]
    role: Role,
    /// Whether it may log in.
    enabled: bool,
    /// When it last logged in.
    last_login_at: Option<Time>,
    /// Since when there is the user.
    created_at: Time,
}

/// A user to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    /// Its tenant; one's own where it is absent. A super admin belongs to none.
    tenant: Option<Uuid>,
    /// 1 to 150 of letters, digits and @ . + - _; kept in lower case.
    #[schema(min_length = 1, max_length = 150)]
    name: String,
    /// Its role.
    #[schema(value_type = RoleSchema)]
    role: Role,
    /// Its password.
    #[schema(value_type = String, format = Password, min_length = 10)]
    password: SecretString,
}

/// What is to be different about a user; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangedUser {
    /// Whether it may log in.
    enabled: Option<bool>,
}

/// Another role for a user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRole {
    /// The role. A super admin stays one, and nobody else becomes one: it belongs to no tenant.
    #[schema(value_type = RoleSchema)]
    role: Role,
}

/// Another password for a user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    /// The password as it is to be.
    #[schema(value_type = String, format = Password, min_length = 10)]
    password: SecretString,
}

/// What a user may do.
#[derive(Debug, Serialize, ToSchema)]
struct Permissions {
    /// Its role.
    #[schema(value_type = RoleSchema)]
    role: Role,
    /// All that its role may do.
    #[schema(value_type = Vec<PermissionSchema>)]
    permissions: Vec<Permission>,
}

/// List the users
///
/// By name.
#[utoipa::path(get, path = "/users", tag = TAG, params(PageOfTenant), responses(
    (status = 200, description = "A page of users", body = Page<User>),
))]
async fn list(
    State(desk): State<Desk>,
    caller: Caller,
    Query(PageOfTenant { tenant, limit, after }): Query<PageOfTenant>,
) -> Result<Json<Page<User>>, Problem> {
    let limit = page::limit(limit)?;
    let filter = UserFilter { tenant: tenant.map(TenantId::from_uuid), after, limit: Some(limit + 1) };
    let found = desk.store.users(caller.scope(), filter).await?;
    Ok(Json(Page::of(found, limit, |user| user.name.clone())))
}

/// Add a user
///
/// Who adds it may do all that the new user may.
#[utoipa::path(post, path = "/users", tag = TAG, request_body = NewUser, responses(
    (status = 201, description = "The user", body = User),
    (status = 404, description = "There is no such tenant", body = Problem, content_type = "application/problem+json"),
))]
async fn create(
    State(desk): State<Desk>,
    caller: Caller,
    Json(NewUser { tenant, name, role, password }): Json<NewUser>,
) -> Result<Created<Versioned<User>>, Problem> {
    caller.require_all_of(role)?;
    let tenant = tenant.map(TenantId::from_uuid).or(caller.principal.tenant);
    let user = desk.accounts.add_user(caller.scope(), tenant, &name, role, password).await?;
    let detail = json!({ "name": user.name, "role": role });
    desk.store.audit(caller.did_in(user.tenant, "user.add", user.id, detail)).await?;
    Ok(Created(format!("{PATH}/{}", user.id), versioned(user)))
}

/// Show a user
#[utoipa::path(get, path = "/users/{id}", tag = TAG, params(("id" = Uuid, Path, description = "The user")), responses(
    (status = 200, description = "The user", body = User),
))]
async fn show(State(desk): State<Desk>, caller: Caller, Path(id): Path<UserId>) -> Result<Versioned<User>, Problem> {
    Ok(versioned(desk.store.user(caller.scope(), id).await?))
}

/// Enable or disable a user
///
/// All its log-ins end. The last super admin who may log in cannot be disabled.
#[utoipa::path(patch, path = "/users/{id}", tag = TAG, request_body = ChangedUser,
    params(("id" = Uuid, Path, description = "The user"), IfMatch),
    responses(
        (status = 200, description = "The user as it is then", body = User),
        (status = 409, description = "It is the last super admin", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn change(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<UserId>,
    IfMatch(version): IfMatch,
    Json(ChangedUser { enabled }): Json<ChangedUser>,
) -> Result<Versioned<User>, Problem> {
    within_reach(&desk, &caller, id).await?;
    let change = UserChange { enabled, ..UserChange::default() };
    changed(&desk, &caller, id, version, change, "user.change", json!({ "enabled": enabled })).await
}

/// Delete a user
///
/// The last super admin who may log in stays.
#[utoipa::path(delete, path = "/users/{id}", tag = TAG,
    params(("id" = Uuid, Path, description = "The user"), IfMatch),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, description = "It is the last super admin", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn remove(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<UserId>,
    IfMatch(version): IfMatch,
) -> Result<StatusCode, Problem> {
    let user = within_reach(&desk, &caller, id).await?;
    desk.store.remove_user(caller.scope(), id, version).await?;
    desk.store.audit(caller.did_in(user.tenant, "user.remove", id, json!({ "name": user.name }))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a user another role
///
/// All its log-ins end. Nobody gives, or takes from, somebody who may more than they may.
#[utoipa::path(post, path = "/users/{id}/change-role", tag = TAG, request_body = NewRole,
    params(("id" = Uuid, Path, description = "The user"), IfMatch),
    responses((status = 200, description = "The user as it is then", body = User)),
)]
async fn change_role(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<UserId>,
    IfMatch(version): IfMatch,
    Json(NewRole { role }): Json<NewRole>,
) -> Result<Versioned<User>, Problem> {
    let before = within_reach(&desk, &caller, id).await?;
    caller.require_all_of(role)?;
    let change = UserChange { role: Some(role), ..UserChange::default() };
    changed(&desk, &caller, id, version, change, "user.change_role", json!({ "from": before.role, "to": role })).await
}

/// Give a user another password
///
/// All its log-ins end. One's own is changed with `POST /auth/password`.
#[utoipa::path(post, path = "/users/{id}/password", tag = TAG, request_body = NewPassword,
    params(("id" = Uuid, Path, description = "The user")),
    responses((status = 204, description = "Changed")),
)]
async fn set_password(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<UserId>,
    Json(NewPassword { password }): Json<NewPassword>,
) -> Result<StatusCode, Problem> {
    let user = within_reach(&desk, &caller, id).await?;
    if caller.principal.who == Who::User(id) {
        // Whoever finds an unlocked screen must not take the account over.
        return Err(Problem::new(Code::NotAllowed, "change your own password with POST /api/v1/auth/password"));
    }
    desk.accounts.set_password(caller.scope(), id, password).await?;
    desk.store.audit(caller.did_in(user.tenant, "user.password", id, json!({ "name": user.name }))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Show what a user may do
#[utoipa::path(get, path = "/users/{id}/permissions", tag = TAG,
    params(("id" = Uuid, Path, description = "The user")),
    responses((status = 200, description = "Its role and all that the role may do", body = Permissions)),
)]
async fn permissions(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<UserId>,
) -> Result<Json<Permissions>, Problem> {
    let role = desk.store.user(caller.scope(), id).await?.role;
    Ok(Json(Permissions { role, permissions: Permission::ALL.into_iter().filter(|p| role.may(*p)).collect() }))
}

/// The user, if the caller may do all that it may.
async fn within_reach(desk: &Desk, caller: &Caller, id: UserId) -> Result<aimg_store::User, Problem> {
    let user = desk.store.user(caller.scope(), id).await?;
    caller.require_all_of(user.role)?;
    Ok(user)
}

async fn changed(
    desk: &Desk,
    caller: &Caller,
    id: UserId,
    version: Option<i32>,
    change: UserChange,
    action: &str,
    detail: serde_json::Value,
) -> Result<Versioned<User>, Problem> {
    let user = desk.accounts.change_user(caller.scope(), id, version, change).await?;
    desk.store.audit(caller.did_in(user.tenant, action, id, detail)).await?;
    Ok(versioned(user))
}

fn versioned(user: aimg_store::User) -> Versioned<User> {
    Versioned(user.version, user.into())
}

impl From<aimg_store::User> for User {
    fn from(user: aimg_store::User) -> Self {
        Self {
            id: user.id.as_uuid(),
            tenant: user.tenant.map(|tenant| tenant.as_uuid()),
            name: user.name,
            role: user.role,
            enabled: user.enabled,
            last_login_at: user.last_login_at.map(Time),
            created_at: Time(user.created_at),
        }
    }
}
