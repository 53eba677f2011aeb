//! Users: people with a password and a role, in one tenant or in none.

use aimg_core::{Role, TenantId, TenantScope, Timestamp, UserId};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveModelTrait, ColumnTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;
use uuid::Uuid;

use crate::entity::user;
use crate::error::{Error, Result};
use crate::scope::Rows;
use crate::store::{Store, now};

const WHAT: &str = "user";
/// The most characters of a user's name, as Django has it.
const NAME_CHARS_MAX: usize = 150;

/// An account, without its password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Whose it is; nobody's for a super admin.
    pub tenant: Option<TenantId>,
    /// What it logs in with, in lower case, unique on this installation.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whether it may log in.
    pub enabled: bool,
    /// When it logged in last.
    pub last_login_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Grows with each change.
    pub version: i32,
}

/// A user to be added. The password comes hashed.
#[derive(Clone)]
#[expect(missing_docs, reason = "the fields are documented at User and Credentials")]
pub struct NewUser {
    pub tenant: Option<TenantId>,
    pub name: String,
    pub role: Role,
    pub password_hash: String,
}

/// What is to become different; nothing where a field is `None`.
#[derive(Clone, Default)]
#[expect(missing_docs, reason = "the fields are documented at User and Credentials")]
pub struct UserChange {
    pub role: Option<Role>,
    pub enabled: Option<bool>,
    pub password_hash: Option<String>,
}

/// Which users a list shows, by name: those that fit every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// Of this tenant; for an operator, who sees all.
    pub tenant: Option<TenantId>,
    /// Only those whose names come behind this one.
    pub after: Option<String>,
    /// At most so many.
    pub limit: Option<u64>,
}

/// What a log-in is checked against.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub user: User,
    /// The password, hashed, with the hash's parameters (PHC string).
    pub password_hash: String,
    /// Attempts with a wrong password since the last right one.
    pub failed_logins: u32,
    /// Until when none is looked at.
    pub locked_until: Option<Timestamp>,
}

impl Store {
    /// Adds a user, enabled.
    pub async fn add_user(&self, scope: TenantScope, new: NewUser) -> Result<User> {
        let name = checked_name(&new.name)?;
        check_role(new.role, new.tenant)?;
        check_reach(scope, new.tenant, &name)?;
        let row = user::Model {
            id: Uuid::now_v7(),
            tenant_id: new.tenant.map(TenantId::as_uuid),
            name: name.clone(),
            role: new.role.to_string(),
            password_hash: new.password_hash,
            enabled: true,
            failed_logins: 0,
            locked_until: None,
            last_login_at: None,
            created_at: now().as_micros(),
            version: 1,
        };
        let rows = self.write(scope).await?;
        // The only parent of a user is its tenant.
        row.clone().into_active_model().insert(rows.db()).await.map_err(|e| {
            match Error::from_write(e, WHAT, name) {
                Error::NotFound { .. } => {
                    Error::not_found("tenant", new.tenant.map_or_else(String::new, |t| t.to_string()))
                }
                other => other,
            }
        })?;
        rows.commit().await?;
        row.try_into()
    }

    /// Adds the first user; nothing when there is one.
    pub async fn add_first_user(&self, new: NewUser) -> Result<Option<User>> {
        // On SQLite a transaction that writes is alone. On PostgreSQL two at once could each see no user, so that both make
        // one: each of them had the one token there is.
        if self.has_users().await? {
            return Ok(None);
        }
        self.add_user(TenantScope::Operator, new).await.map(Some)
    }

    /// The users in reach that `filter` asks for.
    pub async fn users(&self, scope: TenantScope, filter: UserFilter) -> Result<Vec<User>> {
        let rows = self.read(scope).await?;
        let mut query = rows.select::<user::Entity>().order_by_asc(user::Column::Name).limit(filter.limit);
        if let Some(tenant) = filter.tenant {
            query = query.filter(user::Column::TenantId.eq(tenant.as_uuid()));
        }
        if let Some(after) = filter.after {
            query = query.filter(user::Column::Name.gt(after));
        }
        query.all(rows.db()).await?.into_iter().map(User::try_from).collect()
    }

    /// The user of this name.
    pub async fn user_by_name(&self, scope: TenantScope, name: &str) -> Result<User> {
        let rows = self.read(scope).await?;
        let query = rows.select::<user::Entity>().filter(user::Column::Name.eq(name.to_lowercase()));
        query.one(rows.db()).await?.ok_or_else(|| Error::not_found(WHAT, name))?.try_into()
    }

    /// The user with this id.
    pub async fn user(&self, scope: TenantScope, id: UserId) -> Result<User> {
        row(&self.read(scope).await?, id).await?.try_into()
    }

    /// Changes a user, unless somebody else did after `version` was read. [`Error::Stale`] then. The last super admin who may
    /// log in cannot be disabled.
    pub async fn change_user(
        &self,
        scope: TenantScope,
        id: UserId,
        version: Option<i32>,
        change: UserChange,
    ) -> Result<User> {
        let rows = self.write(scope).await?;
        let mut user = current(&rows, id, version).await?;
        if change.enabled == Some(false) {
            spare_last_super_admin(&rows, &user).await?;
        }
        if let Some(role) = change.role {
            check_role(role, user.tenant_id.map(TenantId::from_uuid))?;
            user.role = role.to_string();
        }
        if let Some(hash) = change.password_hash {
            user.password_hash = hash;
            user.failed_logins = 0;
            user.locked_until = None;
        }
        user.enabled = change.enabled.unwrap_or(user.enabled);
        let read_version = user.version;
        user.version += 1;
        let update = rows
            .update::<user::Entity>()
            .set(user.clone().into_active_model().reset_all())
            .filter(user::Column::Id.eq(id.as_uuid()))
            // On PostgreSQL another transaction may have been between our look and now.
            .filter(user::Column::Version.eq(read_version));
        if update.exec(rows.db()).await?.rows_affected == 0 {
            return Err(Error::Stale { what: WHAT, id: id.to_string() });
        }
        rows.commit().await?;
        user.try_into()
    }

    /// Removes a user, and with it its refresh tokens, unless somebody changed it after `version` was read. The last super
    /// admin who may log in stays.
    pub async fn remove_user(&self, scope: TenantScope, id: UserId, version: Option<i32>) -> Result<()> {
        let rows = self.write(scope).await?;
        let user = current(&rows, id, version).await?;
        spare_last_super_admin(&rows, &user).await?;
        rows.delete::<user::Entity>().filter(user::Column::Id.eq(id.as_uuid())).exec(rows.db()).await?;
        rows.commit().await
    }

    /// Whether there is any user at all: without one nobody can log in.
    pub async fn has_users(&self) -> Result<bool> {
        let rows = self.read(TenantScope::Operator).await?;
        Ok(rows.select::<user::Entity>().one(rows.db()).await?.is_some())
    }

    /// What a log-in by this name is checked against. It comes before anybody's scope is known, so it takes none.
    pub async fn credentials(&self, name: &str) -> Result<Option<Credentials>> {
        let rows = self.read(TenantScope::Operator).await?;
        let query = rows.select::<user::Entity>().filter(user::Column::Name.eq(name.to_lowercase()));
        query.one(rows.db()).await?.map(Credentials::try_from).transpose()
    }

    /// Notes a log-in with the right password.
    pub async fn note_login(&self, id: UserId, at: Timestamp) -> Result<()> {
        self.set_login(id, |update| {
            update
                .col_expr(user::Column::FailedLogins, Expr::value(0))
                .col_expr(user::Column::LockedUntil, Expr::value(None::<i64>))
                .col_expr(user::Column::LastLoginAt, Expr::value(at.as_micros()))
        })
        .await
    }

    /// Notes a log-in with a wrong password; with `locked_until` none is looked at until then.
    pub async fn note_failed_login(&self, id: UserId, locked_until: Option<Timestamp>) -> Result<()> {
        self.set_login(id, |update| {
            update
                .col_expr(user::Column::FailedLogins, Expr::col(user::Column::FailedLogins).add(1))
                .col_expr(user::Column::LockedUntil, Expr::value(locked_until.map(Timestamp::as_micros)))
        })
        .await
    }

    async fn set_login(
        &self,
        id: UserId,
        set: impl FnOnce(sea_orm::UpdateMany<user::Entity>) -> sea_orm::UpdateMany<user::Entity>,
    ) -> Result<()> {
        let rows = self.write(TenantScope::Operator).await?;
        set(rows.update::<user::Entity>()).filter(user::Column::Id.eq(id.as_uuid())).exec(rows.db()).await?;
        rows.commit().await
    }
}

async fn row(rows: &Rows, id: UserId) -> Result<user::Model> {
    let query = rows.select::<user::Entity>().filter(user::Column::Id.eq(id.as_uuid()));
    query.one(rows.db()).await?.ok_or_else(|| Error::not_found(WHAT, id))
}

/// The row, unless it was changed after `version` was read.
async fn current(rows: &Rows, id: UserId, version: Option<i32>) -> Result<user::Model> {
    let user = row(rows, id).await?;
    match version {
        Some(version) if version != user.version => Err(Error::Stale { what: WHAT, id: id.to_string() }),
        _ => Ok(user),
    }
}

/// Fails where nobody who may log in would be left to run the installation. A super admin's role cannot change, as it goes
/// with being of no tenant.
async fn spare_last_super_admin(rows: &Rows, user: &user::Model) -> Result<()> {
    if user.role != Role::SuperAdmin.name() || !user.enabled {
        return Ok(());
    }
    let admins = rows
        .select::<user::Entity>()
        .filter(user::Column::Role.eq(Role::SuperAdmin.name()))
        .filter(user::Column::Enabled.eq(true))
        // On PostgreSQL two that leave at once would each see the other one stay.
        .lock_exclusive()
        .all(rows.db())
        .await?;
    if admins.iter().any(|admin| admin.id != user.id) {
        return Ok(());
    }
    Err(Error::LastSuperAdmin { name: user.name.clone() })
}

/// Names are kept in lower case, so that nobody comes as another one's name in capitals.
fn checked_name(name: &str) -> Result<String> {
    let inner = |c: char| c.is_alphanumeric() || "@.+-_".contains(c);
    let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count()) && name.chars().all(inner);
    if fits { Ok(name.to_lowercase()) } else { Err(Error::BadUserName(name.to_owned())) }
}

fn check_role(role: Role, tenant: Option<TenantId>) -> Result<()> {
    if (role == Role::SuperAdmin) == tenant.is_none() { Ok(()) } else { Err(Error::RoleAndTenant) }
}

/// What is to be added for a tenant out of reach, or for none, is as if that tenant did not exist.
pub(crate) fn check_reach(scope: TenantScope, tenant: Option<TenantId>, name: &str) -> Result<()> {
    match (scope, tenant) {
        (TenantScope::Operator, _) => Ok(()),
        (TenantScope::Tenant(own), Some(tenant)) if own == tenant => Ok(()),
        (_, Some(tenant)) => Err(Error::not_found("tenant", tenant)),
        (_, None) => Err(Error::not_found("tenant", name)),
    }
}

impl TryFrom<user::Model> for User {
    type Error = Error;

    fn try_from(row: user::Model) -> Result<Self> {
        let id = UserId::from_uuid(row.id);
        Ok(Self {
            id,
            tenant: row.tenant_id.map(TenantId::from_uuid),
            name: row.name,
            role: row.role.parse().map_err(|_| Error::damaged("role", id, &row.role))?,
            enabled: row.enabled,
            last_login_at: row.last_login_at.map(Timestamp::from_micros),
            created_at: Timestamp::from_micros(row.created_at),
            version: row.version,
        })
    }
}

impl TryFrom<user::Model> for Credentials {
    type Error = Error;

    fn try_from(row: user::Model) -> Result<Self> {
        Ok(Self {
            password_hash: row.password_hash.clone(),
            failed_logins: u32::try_from(row.failed_logins).unwrap_or_default(),
            locked_until: row.locked_until.map(Timestamp::from_micros),
            user: row.try_into()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_lowered() {
        for (name, kept) in [("Ada@Example.org", "ada@example.org"), ("ada+1", "ada+1"), ("ÄDA", "äda")] {
            assert_eq!(checked_name(name).unwrap(), kept);
        }
        for bad in ["", "a b", "a\n", "a/b", &"x".repeat(151)] {
            assert!(matches!(checked_name(bad), Err(Error::BadUserName(_))), "{bad}");
        }
    }
}
