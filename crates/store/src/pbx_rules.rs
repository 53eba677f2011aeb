//! Rules of PBXs that several tenants share: whose a channel there is. They are the operator's alone, as such a PBX is.

use aimg_core::{Attribution, AttributionError, Claim, PbxId, PbxRuleId, TenantId, TenantScope, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, IntoActiveModel, QueryFilter};
use serde::Serialize;
use uuid::Uuid;

use crate::entity::{pbx, pbx_rule, tenant};
use crate::error::{Error, Result};
use crate::scope::Rows;
use crate::store::{Store, now};

const WHAT: &str = "rule";

/// One rule of a shared PBX.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PbxRule {
    /// Its id.
    pub id: PbxRuleId,
    /// The PBX.
    pub pbx: PbxId,
    /// Whose the channels are that show what it looks for.
    pub tenant: TenantId,
    /// What it looks for.
    pub rule: Claim,
    /// When it was added.
    pub created_at: Timestamp,
}

impl Store {
    /// The rules of a shared PBX, in the order in which they are asked; the operator only.
    pub async fn pbx_rules(&self, scope: TenantScope, pbx: PbxId) -> Result<Vec<PbxRule>> {
        operator_only(scope, "see the rules of a PBX")?;
        let rows = self.read(scope).await?;
        shared(&rows, pbx).await?;
        rules(&rows, pbx).await
    }

    /// Adds a rule to a shared PBX; the operator only. A running gateway follows, from the next call on.
    ///
    /// [`Error::RuleTaken`] when a rule there looks for the same already, [`Error::NotShared`] on a PBX of one tenant.
    pub async fn add_pbx_rule(&self, scope: TenantScope, pbx: PbxId, tenant: TenantId, rule: Claim) -> Result<PbxRule> {
        operator_only(scope, "add a rule to a PBX")?;
        let rows = self.write(scope).await?;
        shared(&rows, pbx).await?;
        let added = PbxRule { id: PbxRuleId::from_uuid(Uuid::now_v7()), pbx, tenant, rule, created_at: now() };
        fits(&rows, &added).await?;
        let row = pbx_rule::Model {
            id: added.id.as_uuid(),
            pbx_id: pbx.as_uuid(),
            tenant_id: tenant.as_uuid(),
            claim: added.rule.to_string(),
            created_at: added.created_at.as_micros(),
        };
        row.into_active_model().insert(rows.db()).await.map_err(|e| Error::from_write(e, WHAT, &added.rule))?;
        rows.commit().await?;
        Ok(added)
    }

    /// Gives a rule another tenant, or lets it look for something else; the operator only.
    pub async fn change_pbx_rule(
        &self,
        scope: TenantScope,
        pbx: PbxId,
        id: PbxRuleId,
        tenant: Option<TenantId>,
        rule: Option<Claim>,
    ) -> Result<PbxRule> {
        operator_only(scope, "change a rule of a PBX")?;
        let rows = self.write(scope).await?;
        let before = rules(&rows, pbx).await?.into_iter().find(|rule| rule.id == id);
        let before = before.ok_or_else(|| Error::not_found(WHAT, id))?;
        let changed =
            PbxRule { tenant: tenant.unwrap_or(before.tenant), rule: rule.unwrap_or(before.rule.clone()), ..before };
        fits(&rows, &changed).await?;
        let update = rows
            .update::<pbx_rule::Entity>()
            .col_expr(pbx_rule::Column::TenantId, Expr::value(changed.tenant.as_uuid()))
            .col_expr(pbx_rule::Column::Claim, Expr::value(changed.rule.to_string()))
            .filter(pbx_rule::Column::Id.eq(id.as_uuid()));
        update.exec(rows.db()).await.map_err(|e| Error::from_write(e, WHAT, &changed.rule))?;
        rows.commit().await?;
        Ok(changed)
    }

    /// Removes a rule; the operator only. Calls that it has attributed stay whose they are.
    pub async fn remove_pbx_rule(&self, scope: TenantScope, pbx: PbxId, id: PbxRuleId) -> Result<()> {
        operator_only(scope, "remove a rule of a PBX")?;
        let rows = self.write(scope).await?;
        let delete = rows
            .delete::<pbx_rule::Entity>()
            .filter(pbx_rule::Column::PbxId.eq(pbx.as_uuid()))
            .filter(pbx_rule::Column::Id.eq(id.as_uuid()));
        match delete.exec(rows.db()).await?.rows_affected {
            0 => Err(Error::not_found(WHAT, id)),
            _ => rows.commit().await,
        }
    }
}

fn operator_only(scope: TenantScope, what: &'static str) -> Result<()> {
    if scope == TenantScope::Operator { Ok(()) } else { Err(Error::OperatorOnly { what }) }
}

/// Checks that the PBX is there and shared.
async fn shared(rows: &Rows, pbx: PbxId) -> Result<()> {
    let query = rows.select::<pbx::Entity>().filter(pbx::Column::Id.eq(pbx.as_uuid()));
    let row = query.one(rows.db()).await?.ok_or_else(|| Error::not_found("PBX", pbx))?;
    if row.tenant_id.is_some() { Err(Error::NotShared { pbx: row.name }) } else { Ok(()) }
}

async fn rules(rows: &Rows, pbx: PbxId) -> Result<Vec<PbxRule>> {
    let query = rows.select::<pbx_rule::Entity>().filter(pbx_rule::Column::PbxId.eq(pbx.as_uuid()));
    let mut found: Vec<PbxRule> =
        query.all(rows.db()).await?.into_iter().map(PbxRule::try_from).collect::<Result<_>>()?;
    found.sort_by(|a, b| a.rule.cmp(&b.rule));
    Ok(found)
}

/// Checks that a rule can be one of its PBX.
async fn fits(rows: &Rows, rule: &PbxRule) -> Result<()> {
    let wanted = tenant_name(rows, rule.tenant).await?;
    let others = rules(rows, rule.pbx).await?.into_iter().filter(|other| other.id != rule.id);
    let all = others.map(|other| (other.rule, other.tenant)).chain([(rule.rule.clone(), rule.tenant)]);
    match Attribution::new(all) {
        Ok(_) => Ok(()),
        Err(AttributionError::Conflict { claim, tenants: [a, b] }) => {
            let tenant = tenant_name(rows, if a == rule.tenant { b } else { a }).await?;
            Err(Error::RuleTaken { rule: claim.to_string(), tenant, wanted })
        }
        Err(too_many) => Err(Error::TooManyRules(too_many)),
    }
}

async fn tenant_name(rows: &Rows, id: TenantId) -> Result<String> {
    let query = rows.select::<tenant::Entity>().filter(tenant::Column::Id.eq(id.as_uuid()));
    query.one(rows.db()).await?.map(|row| row.name).ok_or_else(|| Error::not_found("tenant", id))
}

impl TryFrom<pbx_rule::Model> for PbxRule {
    type Error = Error;

    fn try_from(row: pbx_rule::Model) -> Result<Self> {
        let id = PbxRuleId::from_uuid(row.id);
        Ok(Self {
            id,
            pbx: PbxId::from_uuid(row.pbx_id),
            tenant: TenantId::from_uuid(row.tenant_id),
            rule: row.claim.parse().map_err(|_| Error::damaged("claim", id, row.claim))?,
            created_at: Timestamp::from_micros(row.created_at),
        })
    }
}
