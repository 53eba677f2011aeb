//! Users as the API shows them.

use aimg_core::Role;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::schema::{RoleSchema, Time};

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
