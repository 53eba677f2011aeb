//! Roles, and what each may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an account is for. All but the first are of one tenant, and reach nothing of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Watches calls, listens to recordings.
    Viewer,
    /// Also controls calls and what is recorded of them.
    Operator,
    /// Also runs the tenant: its users, keys, webhooks, settings.
    TenantAdmin,
    /// Runs the installation: all tenants, and the PBXs.
    SuperAdmin,
}

/// Something that not everybody may do. Within a role's reach: a tenant's own rows, or everything for the super admin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// See calls, live and past, with their legs, events and ledgers.
    CallsMonitor,
    /// Listen to calls that are going on.
    CallsListen,
    /// Originate, answer, hang up, hold, transfer and the like.
    CallsControl,
    /// Listen to recordings, read certificates and transcripts.
    RecordingsListen,
    /// Start, pause and stop recordings of calls that are going on; transcribe again.
    RecordingsCreate,
    /// Delete recordings.
    RecordingsDelete,
    /// See figures about calls.
    AnalyticsRead,
    /// Take whole lists away as files.
    AnalyticsExport,
    /// See the tenant and its PBXs.
    TenantsRead,
    /// Change the tenant: its settings and what is captured.
    TenantsChange,
    /// Add, disable and delete tenants and PBXs, change credentials, test and diagnose PBXs.
    InstallationRun,
    /// See the users.
    UsersRead,
    /// Add, change and delete users.
    UsersChange,
    /// Make and revoke API keys, change webhooks, read the audit log.
    IntegrationsRun,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::CallsMonitor,
        Self::CallsListen,
        Self::CallsControl,
        Self::RecordingsListen,
        Self::RecordingsCreate,
        Self::RecordingsDelete,
        Self::AnalyticsRead,
        Self::AnalyticsExport,
        Self::TenantsRead,
        Self::TenantsChange,
        Self::InstallationRun,
        Self::UsersRead,
        Self::UsersChange,
        Self::IntegrationsRun,
    ];

    /// The least role that may do it.
    pub const fn least_role(self) -> Role {
        match self {
            Self::CallsMonitor | Self::RecordingsListen | Self::AnalyticsRead => Role::Viewer,
            Self::CallsListen | Self::CallsControl | Self::RecordingsCreate | Self::TenantsRead | Self::UsersRead => {
                Role::Operator
            }
            Self::RecordingsDelete
            | Self::AnalyticsExport
            | Self::TenantsChange
            | Self::UsersChange
            | Self::IntegrationsRun => Role::TenantAdmin,
            Self::InstallationRun => Role::SuperAdmin,
        }
    }

    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CallsMonitor => "calls_monitor",
            Self::CallsListen => "calls_listen",
            Self::CallsControl => "calls_control",
            Self::RecordingsListen => "recordings_listen",
            Self::RecordingsCreate => "recordings_create",
            Self::RecordingsDelete => "recordings_delete",
            Self::AnalyticsRead => "analytics_read",
            Self::AnalyticsExport => "analytics_export",
            Self::TenantsRead => "tenants_read",
            Self::TenantsChange => "tenants_change",
            Self::InstallationRun => "installation_run",
            Self::UsersRead => "users_read",
            Self::UsersChange => "users_change",
            Self::IntegrationsRun => "integrations_run",
        }
    }
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::TenantAdmin, Self::SuperAdmin];

    /// Whether this role may do it. A higher role may do all that a lower one may.
    pub fn may(self, permission: Permission) -> bool {
        self >= permission.least_role()
    }

    /// Its name, as in JSON and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::TenantAdmin => "tenant_admin",
            Self::SuperAdmin => "super_admin",
        }
    }
}

/// A text that names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role; there are viewer, operator, tenant_admin and super_admin")]
pub struct UnknownRole(pub String);

/// A text that names no permission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no permission")]
pub struct UnknownPermission(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.name() == s).ok_or_else(|| UnknownRole(s.to_owned()))
    }
}

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|p| p.name() == s).ok_or_else(|| UnknownPermission(s.to_owned()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
            assert_eq!(role.name().parse(), Ok(role));
        }
        for permission in Permission::ALL {
            assert_eq!(serde_json::to_value(permission).unwrap(), permission.name());
            assert_eq!(permission.name().parse(), Ok(permission));
        }
        assert!("Viewer".parse::<Role>().is_err() && "all".parse::<Permission>().is_err());
    }

    #[test]
    fn each_role_may_what_its_row_says() {
        use Permission as P;
        let rows: [(Role, &[P]); 4] = [
            (Role::Viewer, &[P::CallsMonitor, P::RecordingsListen, P::AnalyticsRead]),
            (Role::Operator, &[P::CallsListen, P::CallsControl, P::RecordingsCreate, P::TenantsRead, P::UsersRead]),
            (
                Role::TenantAdmin,
                &[P::RecordingsDelete, P::AnalyticsExport, P::TenantsChange, P::UsersChange, P::IntegrationsRun],
            ),
            (Role::SuperAdmin, &[P::InstallationRun]),
        ];
        let mut allowed = Vec::new();
        for (role, more) in rows {
            allowed.extend(more);
            for permission in P::ALL {
                assert_eq!(role.may(permission), allowed.contains(&permission), "{role} {permission}");
            }
        }
        assert_eq!(allowed.len(), P::ALL.len());
    }
}
