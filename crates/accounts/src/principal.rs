//! Somebody who is let in.

use aimg_core::{ApiKeyId, Permission, Role, TenantId, TenantScope, UserId};
use aimg_store::{ApiKey, User};

use crate::Error;

/// A person or a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// A user.
    User(UserId),
    /// An API key.
    Key(ApiKeyId),
    /// Whoever runs a command of the program.
    CommandLine,
}

/// Somebody who is let in, for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Which account.
    pub who: Who,
    /// The user's name, or the key's prefix: for the audit log.
    pub name: String,
    /// The account's tenant; none for one of the installation.
    pub tenant: Option<TenantId>,
    /// The account's role.
    pub role: Role,
    /// What of the role's permissions it has; all when there is no list.
    permissions: Option<Vec<Permission>>,
}

impl Principal {
    /// Whoever has a shell on this machine, and with it the database: may do everything.
    pub fn command_line() -> Self {
        Self {
            who: Who::CommandLine,
            name: "command line".to_owned(),
            tenant: None,
            role: Role::SuperAdmin,
            permissions: None,
        }
    }

    pub(crate) fn of_user(user: &User) -> Self {
        let (name, tenant, role) = (user.name.clone(), user.tenant, user.role);
        Self { who: Who::User(user.id), name, tenant, role, permissions: None }
    }

    pub(crate) fn of_key(key: ApiKey) -> Self {
        let ApiKey { id, prefix, tenant, role, permissions, .. } = key;
        Self { who: Who::Key(id), name: prefix, tenant, role, permissions }
    }

    /// Which rows are in reach. An account without a tenant is the installation's only if it is a super admin's.
    pub fn scope(&self) -> TenantScope {
        self.tenant.map_or(TenantScope::Operator, TenantScope::Tenant)
    }

    /// Whether it may do something to what is in its reach.
    pub fn may(&self, permission: Permission) -> bool {
        self.role.may(permission) && self.permissions.as_ref().is_none_or(|list| list.contains(&permission))
    }

    /// Fails unless it may.
    pub fn require(&self, permission: Permission) -> Result<(), Error> {
        if self.may(permission) { Ok(()) } else { Err(Error::NotAllowed(permission)) }
    }

    /// All that it may do.
    pub fn permissions(&self) -> Vec<Permission> {
        Permission::ALL.into_iter().filter(|p| self.may(*p)).collect()
    }
}
