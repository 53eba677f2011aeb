//! `/api/v1/pbxs/{id}/rules` and `/match`: whose the channels of a PBX are that several tenants share.

use aimg_core::{Attribution, ChannelFacts, Claim, Owner, PbxId, PbxRuleId, Permission, TenantId};
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{self, Created, Json, Path};
use crate::caller::Caller;
use crate::guard::needs;
use crate::pbxs::TAG;
use crate::problem::{Code, Problem};
use crate::schema::Time;
use crate::server::Desk;

/// Variables of a channel that are looked at together.
const VARIABLES_MAX: usize = 50;
const FACT_CHARS_MAX: usize = 200;

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(needs(Permission::InstallationRun, routes!(list, add)))
        .routes(needs(Permission::InstallationRun, routes!(change, remove)))
        .routes(needs(Permission::InstallationRun, routes!(match_channel)))
}

/// A rule of a shared PBX.
#[derive(Debug, Serialize, ToSchema)]
struct PbxRule {
    /// Its id.
    id: Uuid,
    /// Whose the channels are that show what it looks for.
    tenant: Uuid,
    /// What it looks for, such as `context:from-acme` or `dialled:4930*`.
    rule: String,
    /// Since when there is the rule.
    created_at: Time,
}

/// A rule to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPbxRule {
    /// Whose the channels are.
    tenant: Uuid,
    /// What it looks for: `hook:`, `tenantid:`, `variable:`, `endpoint:`, `context:`, `accountcode:` or `dialled:` and a
    /// text, with `*` at the end for whatever begins so.
    #[schema(value_type = String, max_length = 150)]
    rule: Claim,
}

/// What is to be different about a rule; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangedPbxRule {
    /// Whose the channels are.
    tenant: Option<Uuid>,
    /// What it looks for.
    #[schema(value_type = Option<String>, max_length = 150)]
    rule: Option<Claim>,
}

/// What a channel shows. What is absent is not there.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Channel {
    /// The argument after `tap` of the hook that it waits in.
    #[schema(max_length = 200)]
    hook: String,
    /// The `tenantid` of its endpoint.
    #[schema(max_length = 200)]
    tenantid: String,
    /// Its variables, each as `NAME=VALUE`.
    #[schema(max_items = 50)]
    variables: Vec<String>,
    /// Its name, such as `PJSIP/acme-trunk-0000002a`.
    #[schema(max_length = 200)]
    channel: String,
    /// The dialplan context.
    #[schema(max_length = 200)]
    context: String,
    /// The account code.
    #[schema(max_length = 200)]
    accountcode: String,
    /// The dialled number.
    #[schema(max_length = 200)]
    dialled: String,
}

/// Whose a channel would be.
#[derive(Debug, Serialize, ToSchema)]
struct Match {
    /// `tenant`, `nobody`, or `wrong_argument` where the hook's argument is in no rule: such a call is not captured either.
    owner: &'static str,
    /// The tenant, where it is one's.
    tenant: Option<Uuid>,
    /// The rules that were asked, in this order, until it was clear.
    looked_at: Vec<LookedAt>,
}

/// A rule that was held against a channel.
#[derive(Debug, Serialize, ToSchema)]
struct LookedAt {
    /// What it looks for.
    rule: String,
    /// Whose channels these are.
    tenant: Uuid,
    /// Whether the channel shows it.
    holds: bool,
}

/// List the rules of a shared PBX
///
/// In the order in which they are asked: the first that holds says whose a channel is.
#[utoipa::path(get, path = "/pbxs/{id}/rules", tag = TAG, params(("id" = Uuid, Path, description = "The PBX")), responses(
    (status = 200, description = "All rules", body = Vec<PbxRule>),
    (status = 409, description = "The PBX is one tenant's alone", body = Problem, content_type = "application/problem+json"),
))]
async fn list(State(desk): State<Desk>, caller: Caller, Path(id): Path<PbxId>) -> Result<Json<Vec<PbxRule>>, Problem> {
    let rules = desk.store.pbx_rules(caller.scope(), id).await?;
    Ok(Json(rules.into_iter().map(PbxRule::from).collect()))
}

/// Add a rule to a shared PBX
///
/// It counts from the next call on.
#[utoipa::path(post, path = "/pbxs/{id}/rules", tag = TAG, request_body = NewPbxRule,
    params(("id" = Uuid, Path, description = "The PBX")),
    responses(
        (status = 201, description = "The rule", body = PbxRule),
        (status = 409, description = "Another rule looks for the same, there are too many, or the PBX is one tenant's alone",
            body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn add(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<PbxId>,
    Json(NewPbxRule { tenant, rule }): Json<NewPbxRule>,
) -> Result<Created<Json<PbxRule>>, Problem> {
    let added = desk.store.add_pbx_rule(caller.scope(), id, TenantId::from_uuid(tenant), rule).await?;
    let detail = json!({ "pbx": id, "tenant": tenant, "rule": added.rule });
    desk.store.audit(caller.did_in(None, "pbx_rule.add", added.id, detail)).await?;
    Ok(Created(format!("/api/v1/pbxs/{id}/rules/{}", added.id), Json(added.into())))
}

/// Change a rule of a shared PBX
///
/// Calls that it has attributed stay whose they are.
#[utoipa::path(patch, path = "/pbxs/{id}/rules/{rule}", tag = TAG, request_body = ChangedPbxRule,
    params(("id" = Uuid, Path, description = "The PBX"), ("rule" = Uuid, Path, description = "The rule")),
    responses(
        (status = 200, description = "The rule as it is then", body = PbxRule),
        (status = 409, description = "Another rule looks for the same", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn change(
    State(desk): State<Desk>,
    caller: Caller,
    Path((id, rule_id)): Path<(PbxId, PbxRuleId)>,
    Json(ChangedPbxRule { tenant, rule }): Json<ChangedPbxRule>,
) -> Result<Json<PbxRule>, Problem> {
    let tenant = tenant.map(TenantId::from_uuid);
    let changed = desk.store.change_pbx_rule(caller.scope(), id, rule_id, tenant, rule).await?;
    let detail = json!({ "pbx": id, "tenant": changed.tenant, "rule": changed.rule });
    desk.store.audit(caller.did_in(None, "pbx_rule.change", rule_id, detail)).await?;
    Ok(Json(changed.into()))
}

/// Delete a rule of a shared PBX
///
/// Calls that it has attributed stay whose they are.
#[utoipa::path(delete, path = "/pbxs/{id}/rules/{rule}", tag = TAG,
    params(("id" = Uuid, Path, description = "The PBX"), ("rule" = Uuid, Path, description = "The rule")),
    responses((status = 204, description = "Deleted")),
)]
async fn remove(
    State(desk): State<Desk>,
    caller: Caller,
    Path((id, rule)): Path<(PbxId, PbxRuleId)>,
) -> Result<StatusCode, Problem> {
    desk.store.remove_pbx_rule(caller.scope(), id, rule).await?;
    desk.store.audit(caller.did_in(None, "pbx_rule.remove", rule, json!({ "pbx": id }))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ask whose a channel of a shared PBX would be
///
/// Nothing is changed.
#[utoipa::path(post, path = "/pbxs/{id}/match", tag = TAG, request_body = Channel,
    params(("id" = Uuid, Path, description = "The PBX")),
    responses(
        (status = 200, description = "Whose, and by which rule", body = Match),
        (status = 409, description = "The PBX is one tenant's alone", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn match_channel(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<PbxId>,
    Json(channel): Json<Channel>,
) -> Result<Json<Match>, Problem> {
    let facts = channel.facts()?;
    let rules = desk.store.pbx_rules(caller.scope(), id).await?;
    let rules = Attribution::new(rules.into_iter().map(|rule| (rule.rule, rule.tenant)));
    let rules = rules.map_err(|e| Problem::new(Code::WrongState, e))?;
    let (owner, tenant) = match rules.owner(&facts) {
        Owner::Tenant(tenant) => ("tenant", Some(tenant.as_uuid())),
        Owner::Nobody => ("nobody", None),
        Owner::WrongArgument => ("wrong_argument", None),
    };
    let looked = rules.looked_at(&facts).into_iter();
    let looked_at =
        looked.map(|l| LookedAt { rule: l.rule.to_string(), tenant: l.tenant.as_uuid(), holds: l.holds }).collect();
    Ok(Json(Match { owner, tenant, looked_at }))
}

impl Channel {
    fn facts(self) -> Result<ChannelFacts, Problem> {
        let Self { hook, tenantid, variables, channel, context, accountcode, dialled } = self;
        if variables.len() > VARIABLES_MAX {
            return Err(Problem::invalid("variables", format!("there can be {VARIABLES_MAX} at most")));
        }
        let texts = [
            ("hook", &hook),
            ("tenantid", &tenantid),
            ("channel", &channel),
            ("context", &context),
            ("accountcode", &accountcode),
            ("dialled", &dialled),
        ];
        for (field, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            body::check_text(field, text, FACT_CHARS_MAX)?;
        }
        let mut pairs = Vec::new();
        for variable in &variables {
            body::check_text("variables", variable, FACT_CHARS_MAX)?;
            let (name, value) = variable
                .split_once('=')
                .ok_or_else(|| Problem::invalid("variables", format!("`{variable}` is not NAME=VALUE")))?;
            pairs.push((name.to_owned(), value.to_owned()));
        }
        Ok(ChannelFacts { hook, tenantid, variables: pairs, channel, context, accountcode, dialled })
    }
}

impl From<aimg_store::PbxRule> for PbxRule {
    fn from(rule: aimg_store::PbxRule) -> Self {
        Self {
            id: rule.id.as_uuid(),
            tenant: rule.tenant.as_uuid(),
            rule: rule.rule.to_string(),
            created_at: rule.created_at.into(),
        }
    }
}
