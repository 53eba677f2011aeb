//! Whose the calls of a PBX are, and which of them are captured.

use std::collections::BTreeMap;

use aimg_core::{Attribution, Fact, Owner, TenantId};

use crate::{CaptureRule, ChannelSeen};

/// The tenants of one PBX.
#[derive(Clone, Debug)]
pub enum Tenants {
    /// All of its calls are one tenant's.
    Dedicated {
        /// Whose.
        tenant: TenantId,
        /// Which of them are captured.
        rule: CaptureRule,
    },
    /// Rules say whose a channel is.
    Shared {
        /// The rules.
        rules: Attribution,
        /// The tenants whose calls are followed here, and which of them are captured. Channels of another tenant are let
        /// be: it is disabled, or another node's.
        served: BTreeMap<TenantId, CaptureRule>,
    },
}

/// Whose a channel is, as far as that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A tenant's whose calls are followed here.
    Served(TenantId),
    /// A tenant's whose calls are not.
    Unserved(TenantId),
    /// No rule claims it.
    Nobody,
    /// The hook was given an argument that no rule knows.
    WrongArgument,
}

impl Tenants {
    pub(crate) fn standing(&self, seen: &ChannelSeen) -> Standing {
        let (rules, served) = match self {
            Self::Dedicated { tenant, .. } => return Standing::Served(*tenant),
            Self::Shared { rules, served } => (rules, served),
        };
        match rules.owner(&seen.facts()) {
            Owner::Tenant(tenant) if served.contains_key(&tenant) => Standing::Served(tenant),
            Owner::Tenant(tenant) => Standing::Unserved(tenant),
            Owner::Nobody => Standing::Nobody,
            Owner::WrongArgument => Standing::WrongArgument,
        }
    }

    /// Whose a channel would be if its hook had no argument.
    pub(crate) fn named_without_hook(&self, seen: &ChannelSeen) -> Option<TenantId> {
        match self.standing(&ChannelSeen { argument: String::new(), ..seen.clone() }) {
            Standing::Served(tenant) | Standing::Unserved(tenant) => Some(tenant),
            Standing::Nobody | Standing::WrongArgument => None,
        }
    }

    /// Which calls of a tenant are captured.
    pub(crate) fn rule(&self, of: TenantId) -> Option<&CaptureRule> {
        match self {
            Self::Dedicated { tenant, rule } => (*tenant == of).then_some(rule),
            Self::Shared { served, .. } => served.get(&of),
        }
    }

    /// Whether the hook's argument says that a channel of `tenant` is somebody else's.
    pub(crate) fn contradicts(&self, seen: &ChannelSeen, tenant: TenantId) -> bool {
        let Self::Shared { rules, .. } = self else { return false };
        let facts = seen.facts();
        let by_argument = || rules.rules().find(|(claim, _)| claim.fact() == Fact::Hook && claim.holds(&facts));
        !seen.argument.is_empty() && by_argument().is_none_or(|(_, named)| named != tenant)
    }

    /// The tenants whose calls are followed here.
    pub(crate) fn served(&self) -> Vec<TenantId> {
        match self {
            Self::Dedicated { tenant, .. } => vec![*tenant],
            Self::Shared { served, .. } => served.keys().copied().collect(),
        }
    }
}
