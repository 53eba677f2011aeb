//! `/api/v1/pbxs/{id}/test`, `/doctor`, `/status`: whether the calls of a PBX are, or will be, captured.

use aimg_core::{PbxId, Permission};
use aimg_gateway::UnclaimedChannels;
use aimg_gateway::doctor::{Finding, Level};
use aimg_session::{Unclaimed, UnclaimedWhy};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::{Json, Path};
use crate::caller::Caller;
use crate::examinations::Examination;
use crate::guard::needs;
use crate::pbxs::TAG;
use crate::problem::{Code, Problem};
use crate::schema::Time;
use crate::server::Desk;
use crate::system::Link;

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(needs(Permission::InstallationRun, routes!(test)))
        .routes(needs(Permission::InstallationRun, routes!(examine, last_examination)))
        .routes(needs(Permission::TenantsRead, routes!(status)))
}

/// What a look at both interfaces of a PBX found.
#[derive(Debug, Serialize, ToSchema)]
struct Tested {
    /// Asterisk's version.
    asterisk: String,
    /// The version of its Manager Interface.
    ami: String,
    /// Whether a program has registered the Stasis application: this gateway, or one that would lose it.
    app_registered: bool,
    /// The modules that captures need; all of them run.
    modules: Vec<&'static str>,
}

/// A look of the doctor.
#[derive(Debug, Serialize, ToSchema)]
struct Diagnosis {
    /// When it began.
    began_at: Time,
    /// When it ended; absent while it goes on.
    ended_at: Option<Time>,
    /// Whether calls will be captured; absent while it goes on.
    captured: Option<bool>,
    /// Asterisk's version, where it could be had.
    asterisk: Option<String>,
    /// What was found, of this machine and of the PBX.
    findings: Vec<FindingShown>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Finding)]
struct FindingShown {
    /// What it is about, such as `ami` or `route`.
    area: &'static str,
    /// `ok`, `warning` or `problem`: with a problem calls will not be captured, or not whole.
    level: &'static str,
    /// One sentence.
    what: String,
    /// How to make it right.
    cure: Option<Cure>,
}

/// What makes it right.
#[derive(Debug, Serialize, ToSchema)]
struct Cure {
    /// A file and its section, or what else is to be done with the lines.
    place: String,
    /// The lines.
    lines: Vec<String>,
    /// The command that makes them count.
    then: Option<String>,
}

/// How a gateway stands with a PBX.
#[derive(Debug, Serialize, ToSchema)]
struct PbxStatus {
    /// Whether this node has a link to it: it and its tenant are enabled, and the node is to follow it.
    followed: bool,
    /// The link, where there is one.
    link: Option<Link>,
    /// Channels that were nobody's; absent where the PBX is one tenant's.
    unclaimed: Option<UnclaimedShown>,
}

/// Channels of a shared PBX that were nobody's, and so were not captured.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Unclaimed)]
struct UnclaimedShown {
    /// How many no rule claimed since the start of this node.
    no_rule: u64,
    /// How many were in a hook whose argument no rule knows, or that names another tenant than the channel's.
    wrong_argument: u64,
    /// The last ones, the newest first; up to 100.
    last: Vec<UnclaimedChannel>,
}

/// One of them. No number of a party is kept.
#[derive(Debug, Serialize, ToSchema)]
struct UnclaimedChannel {
    /// When that was clear.
    at: Time,
    /// The channel's technology, such as `PJSIP`.
    technology: String,
    /// The dialplan context in which it was.
    context: String,
    /// Why: `no_rule` or `wrong_argument`.
    why: &'static str,
}

/// Test a PBX
///
/// Connects by AMI and ARI, and tells whether its calls can be captured. Changes nothing there.
#[utoipa::path(post, path = "/pbxs/{id}/test", tag = TAG, params(("id" = Uuid, Path, description = "The PBX")), responses(
    (status = 200, description = "It can be captured", body = Tested),
    (status = 409, description = "The PBX refuses us, or lacks a module", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "It cannot be reached", body = Problem, content_type = "application/problem+json"),
))]
async fn test(State(desk): State<Desk>, caller: Caller, Path(id): Path<PbxId>) -> Result<Json<Tested>, Problem> {
    let pbx = desk.store.pbx(caller.scope(), id).await?;
    let secrets = desk.store.pbx_secrets(caller.scope(), id).await?;
    let ari = aimg_gateway::ari_config(&pbx, &secrets).map_err(|e| Problem::new(Code::WrongState, e))?;
    desk.store.audit(caller.did_in(pbx.tenant, "pbx.test", id, json!({ "name": pbx.name }))).await?;
    let ami = aimg_ami::probe(aimg_gateway::ami_config(&pbx, &secrets))
        .await
        .map_err(|e| Problem::new(if e.is_refusal() { Code::PbxRefused } else { Code::PbxAway }, e))?;
    let ari = aimg_ari::probe(&ari).await.map_err(|e| {
        use aimg_ari::Error as E;
        let refused = matches!(e, E::Denied { .. } | E::ModuleMissing { .. });
        Problem::new(if refused { Code::PbxRefused } else { Code::PbxAway }, e)
    })?;
    Ok(Json(Tested {
        asterisk: ari.version,
        ami: ami.server.ami_version,
        app_registered: ari.app_registered,
        modules: ari.modules,
    }))
}

/// Let the doctor look at a PBX
///
/// At this machine, at both interfaces, and at the way of real packets from Asterisk to here: it takes seconds, a minute at
/// most. `GET` tells what it has found. One look at a PBX at a time.
#[utoipa::path(post, path = "/pbxs/{id}/doctor", tag = TAG, params(("id" = Uuid, Path, description = "The PBX")), responses(
    (status = 202, description = "The look has begun", body = Diagnosis),
    (status = 409, description = "One goes on", body = Problem, content_type = "application/problem+json"),
))]
async fn examine(State(desk): State<Desk>, caller: Caller, Path(id): Path<PbxId>) -> Result<Response, Problem> {
    let pbx = desk.store.pbx(caller.scope(), id).await?;
    let secrets = desk.store.pbx_secrets(caller.scope(), id).await?;
    let entry = caller.did_in(pbx.tenant, "pbx.doctor", id, json!({ "name": pbx.name }));
    let begun = desk.examinations.begin((*desk.doctor).clone(), pbx, secrets)?;
    desk.store.audit(entry).await?;
    Ok((StatusCode::ACCEPTED, Json(Diagnosis::from(begun))).into_response())
}

/// Show the doctor's last look at a PBX
///
/// Since the start of this node.
#[utoipa::path(get, path = "/pbxs/{id}/doctor", tag = TAG, params(("id" = Uuid, Path, description = "The PBX")), responses(
    (status = 200, description = "What it has found so far", body = Diagnosis),
))]
async fn last_examination(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<PbxId>,
) -> Result<Json<Diagnosis>, Problem> {
    desk.store.pbx(caller.scope(), id).await?;
    let none =
        || Problem::new(Code::NotFound, "the doctor has not looked at this PBX since the start; let it with POST");
    Ok(Json(desk.examinations.last(id).ok_or_else(none)?.into()))
}

/// Show how this node stands with a PBX
#[utoipa::path(get, path = "/pbxs/{id}/status", tag = TAG, params(("id" = Uuid, Path, description = "The PBX")), responses(
    (status = 200, description = "The link, and what was nobody's", body = PbxStatus),
))]
async fn status(State(desk): State<Desk>, caller: Caller, Path(id): Path<PbxId>) -> Result<Json<PbxStatus>, Problem> {
    let pbx = desk.store.pbx(caller.scope(), id).await?;
    let link = desk.monitor.links().into_iter().find(|link| link.pbx == id).map(Link::from);
    let unclaimed = || desk.monitor.unclaimed_channels().remove(&id).unwrap_or_default().into();
    Ok(Json(PbxStatus { followed: link.is_some(), link, unclaimed: pbx.tenant.is_none().then(unclaimed) }))
}

impl From<UnclaimedChannels> for UnclaimedShown {
    fn from(UnclaimedChannels { counts, last }: UnclaimedChannels) -> Self {
        let count = |why| counts.get(&why).copied().unwrap_or_default();
        Self {
            no_rule: count(UnclaimedWhy::NoRule),
            wrong_argument: count(UnclaimedWhy::WrongArgument),
            last: last.into_iter().rev().map(UnclaimedChannel::from).collect(),
        }
    }
}

impl From<Unclaimed> for UnclaimedChannel {
    fn from(Unclaimed { at, technology, context, why }: Unclaimed) -> Self {
        Self { at: at.into(), technology, context, why: why.name() }
    }
}

impl From<Examination> for Diagnosis {
    fn from(Examination { began_at, found }: Examination) -> Self {
        let Some(found) = found else {
            return Self {
                began_at: began_at.into(),
                ended_at: None,
                captured: None,
                asterisk: None,
                findings: Vec::new(),
            };
        };
        let is_good = !found.findings.is_empty() && found.findings.iter().all(|f| f.level < Level::Problem);
        Self {
            began_at: began_at.into(),
            ended_at: Some(found.ended_at.into()),
            captured: Some(is_good),
            asterisk: found.version,
            findings: found.findings.into_iter().map(FindingShown::from).collect(),
        }
    }
}

impl From<Finding> for FindingShown {
    fn from(Finding { area, level, what, cure, failure: _ }: Finding) -> Self {
        let cure = cure.map(|cure| Cure { place: cure.place, lines: cure.lines, then: cure.then });
        Self { area: area.name(), level: level.name(), what, cure }
    }
}
