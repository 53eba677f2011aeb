//! Who may see which rows.

use crate::TenantId;

/// What a query may reach. Every function that reads or writes rows of a tenant takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantScope {
    /// One tenant's rows and nobody else's.
    Tenant(TenantId),
    /// Every tenant's rows: the operator at the command line, and the gateway's own recovery.
    Operator,
}

impl TenantScope {
    /// Whether rows of `tenant` are in reach.
    pub fn reaches(self, tenant: TenantId) -> bool {
        match self {
            Self::Tenant(own) => own == tenant,
            Self::Operator => true,
        }
    }

    /// The one tenant this scope is bound to, or nothing for the operator.
    pub fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Tenant(own) => Some(own),
            Self::Operator => None,
        }
    }
}
