//! `aimg pbx rules` and `aimg pbx match`: whose the channels of a PBX are that several tenants share.

use aimg_core::{Attribution, ChannelFacts, Claim, Owner, TenantScope};
use aimg_store::{Pbx, PbxRule, Store, Tenant};
use serde::Serialize;

use super::open_store;
use super::pbx::name_of;
use crate::cli::{Match, Rules};
use crate::exit::Usage;
use crate::output::{Output, table};
use crate::settings::Settings;

const OPERATOR: TenantScope = TenantScope::Operator;

/// A rule as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    rule: Claim,
    tenant: String,
}

pub(super) async fn run(settings: &Settings, output: Output, pbx: &str, command: Rules) -> anyhow::Result<()> {
    let store = open_store(settings).await?;
    let pbx = store.pbx_by_name(OPERATOR, pbx).await?;
    match command {
        Rules::List => list(&store, output, &pbx).await,
        Rules::Add { tenant, rule } => {
            let tenant = store.tenant_by_name(OPERATOR, &tenant).await?;
            let added = store.add_pbx_rule(OPERATOR, pbx.id, tenant.id, rule).await?;
            told(output, "added", &pbx, added, tenant.name)
        }
        Rules::Change { rule, tenant, to } => {
            let before = rule_of(&store, &pbx, &rule).await?;
            let tenant = match tenant {
                Some(name) => store.tenant_by_name(OPERATOR, &name).await?,
                None => store.tenant(OPERATOR, before.tenant).await?,
            };
            let changed = store.change_pbx_rule(OPERATOR, pbx.id, before.id, Some(tenant.id), to).await?;
            told(output, "changed", &pbx, changed, tenant.name)
        }
        Rules::Remove { rule } => {
            let removed = rule_of(&store, &pbx, &rule).await?;
            store.remove_pbx_rule(OPERATOR, pbx.id, removed.id).await?;
            let tenant = store.tenant(OPERATOR, removed.tenant).await?;
            told(output, "removed", &pbx, removed, tenant.name)
        }
    }
}

async fn list(store: &Store, output: Output, pbx: &Pbx) -> anyhow::Result<()> {
    let tenants = store.tenants(OPERATOR).await?;
    let rules = store.pbx_rules(OPERATOR, pbx.id).await?.into_iter();
    let rules: Vec<Shown> =
        rules.map(|rule| Shown { tenant: name_of(&tenants, rule.tenant), rule: rule.rule }).collect();
    output.print(&rules, |rules| {
        if rules.is_empty() {
            return format!(
                "PBX {0} has no rules, so its channels are nobody's; next: aimg pbx rules {0} add",
                pbx.name
            );
        }
        let rows =
            (1..).zip(rules).map(|(n, Shown { rule, tenant })| [format!("{n}"), rule.to_string(), tenant.clone()]);
        table(["ASKED", "RULE", "TENANT"], rows)
    })
}

fn told(output: Output, done: &str, pbx: &Pbx, rule: PbxRule, tenant: String) -> anyhow::Result<()> {
    output.print(&Shown { rule: rule.rule, tenant }, |Shown { rule, tenant }| {
        format!("rule {rule} for tenant {tenant} {done}; a running gateway goes by it within seconds, from the next call on PBX {}", pbx.name)
    })
}

async fn rule_of(store: &Store, pbx: &Pbx, rule: &Claim) -> anyhow::Result<PbxRule> {
    let found = store.pbx_rules(OPERATOR, pbx.id).await?.into_iter().find(|found| found.rule == *rule);
    let missing = || aimg_store::Error::NotFound { what: "rule", id: rule.to_string() };
    Ok(found.ok_or_else(missing)?)
}

/// Whose a channel would be.
#[derive(Debug, Serialize)]
struct Matched {
    /// `tenant`, `disabled`, `nobody` or `wrong_argument`.
    outcome: &'static str,
    /// Whose it is, if anybody's.
    tenant: Option<String>,
    /// The rule that decided, if one did.
    rule: Option<Claim>,
    /// What was looked at.
    channel: ChannelFacts,
    /// The rules that were held against it, in order.
    looked_at: Vec<Held>,
}

#[derive(Debug, Serialize)]
struct Held {
    #[serde(flatten)]
    rule: Shown,
    holds: bool,
}

pub(super) async fn matched(settings: &Settings, output: Output, asked: Match) -> anyhow::Result<()> {
    let store = open_store(settings).await?;
    let pbx = store.pbx_by_name(OPERATOR, &asked.name).await?;
    let tenants = store.tenants(OPERATOR).await?;
    let rules = store.pbx_rules(OPERATOR, pbx.id).await?;
    let rules = Attribution::new(rules.into_iter().map(|rule| (rule.rule, rule.tenant)))?;
    let matched = matched_by(&rules, &tenants, facts(asked)?);
    output.print(&matched, shown)
}

fn matched_by(rules: &Attribution, tenants: &[Tenant], channel: ChannelFacts) -> Matched {
    let owner = rules.owner(&channel);
    let looked_at = rules.looked_at(&channel);
    let is_enabled = |id| tenants.iter().any(|t| t.id == id && t.enabled);
    let (outcome, tenant) = match owner {
        Owner::Tenant(id) => (if is_enabled(id) { "tenant" } else { "disabled" }, Some(name_of(tenants, id))),
        Owner::Nobody => ("nobody", None),
        Owner::WrongArgument => ("wrong_argument", None),
    };
    let decided = looked_at.iter().find(|looked| looked.holds && tenant.is_some());
    Matched {
        outcome,
        rule: decided.map(|looked| looked.rule.clone()),
        looked_at: looked_at
            .into_iter()
            .map(|l| Held { holds: l.holds, rule: Shown { tenant: name_of(tenants, l.tenant), rule: l.rule } })
            .collect(),
        tenant,
        channel,
    }
}

fn facts(asked: Match) -> anyhow::Result<ChannelFacts> {
    let split = |text: String| {
        let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        pair.ok_or_else(|| Usage(format!("--variable {text}: write NAME=VALUE")))
    };
    Ok(ChannelFacts {
        hook: asked.hook,
        tenantid: asked.tenantid,
        variables: asked.variables.into_iter().map(split).collect::<Result<_, _>>()?,
        channel: asked.channel,
        context: asked.context,
        accountcode: asked.accountcode,
        dialled: asked.dialled,
    })
}

fn shown(matched: &Matched) -> String {
    let tenant = matched.tenant.as_deref().unwrap_or_default();
    let by = matched.rule.as_ref().map(|rule| format!(" by rule {rule}")).unwrap_or_default();
    let says = match matched.outcome {
        "tenant" => format!("tenant {tenant}{by}"),
        "disabled" => format!("tenant {tenant}{by}, which is disabled: not followed and not captured"),
        "nobody" => "nobody: no rule holds, so it is not captured".to_owned(),
        _ => {
            "nobody: the hook's argument names no tenant, or another one than the rules; it is let go and not captured"
                .to_owned()
        }
    };
    if matched.looked_at.is_empty() {
        return format!("{says}\nno rule was looked at");
    }
    let rows = matched.looked_at.iter().map(|Held { rule: Shown { rule, tenant }, holds }| {
        [rule.to_string(), tenant.clone(), if *holds { "holds" } else { "no" }.to_owned()]
    });
    format!("{says}\n\n{}", table(["LOOKED AT", "TENANT", "HOLDS"], rows))
}
