//! `/api/v1/webhooks`: which addresses are told what happens, and what became of what they were told.

use std::time::Duration;

use aimg_core::{DeliveryId, TenantId, Timestamp, WebhookEvent, WebhookId};
use aimg_store::{
    Announcement, DELIVERIES_LIMIT_MAX, DeliveryFilter, DeliveryState, NewAuditEntry, NewWebhook, WebhookChange,
};
use aimg_webhooks::{Message, make_secret};
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{Created, IfMatch, Json, Path, Query, Versioned};
use crate::caller::Caller;
use crate::clock::now;
use crate::guard::needs;
use crate::problem::Problem;
use crate::schema::{DeliveryStateSchema, Time, WebhookEventSchema};
use crate::server::Desk;

const TAG: &str = "webhooks";
const DESCRIPTION_CHARS_MAX: usize = 500;
/// Webhooks or deliveries of a page where nobody says how many.
const LIMIT: u64 = 100;
/// How long messages are signed with both secrets after one was rotated.
const ROTATION: Duration = Duration::from_secs(24 * 3_600);
/// How long a receiver may take when it is tried: less than our own answer may.
const TEST_TIMEOUT: Duration = Duration::from_secs(8);

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    let run = aimg_core::Permission::IntegrationsRun;
    OpenApiRouter::new()
        .routes(needs(run, routes!(list, create)))
        .routes(needs(run, routes!(show, change, remove)))
        .routes(needs(run, routes!(rotate)))
        .routes(needs(run, routes!(test)))
        .routes(needs(run, routes!(deliveries)))
        .routes(needs(run, routes!(delivery)))
        .routes(needs(run, routes!(replay_one)))
        .routes(needs(run, routes!(replay)))
}

/// An address that is told what happens.
#[derive(Debug, Serialize, ToSchema)]
struct Webhook {
    /// Its id.
    id: Uuid,
    /// Whose it is.
    tenant: Uuid,
    /// Where messages are sent.
    url: String,
    /// What it is for.
    description: String,
    /// What it is told of.
    #[schema(value_type = Vec<WebhookEventSchema>)]
    events: Vec<WebhookEvent>,
    /// Whether it is told anything.
    enabled: bool,
    /// Why it is not, where nobody has chosen so.
    disabled_reason: Option<String>,
    /// Since when no message has arrived, if the last one did not.
    failing_since: Option<Time>,
    /// Until when messages are signed with the secret before this one as well.
    old_secret_until: Option<Time>,
    /// Since when there is the webhook.
    created_at: Time,
    /// When somebody last changed it.
    changed_at: Time,
}

/// A webhook and its secret, which nobody sees again.
#[derive(Debug, Serialize, ToSchema)]
struct WebhookWithSecret {
    /// The webhook.
    webhook: Webhook,
    /// What its messages are signed with: `whsec_` and the key in Base64.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    secret: String,
}

/// A page of webhooks, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct Webhooks {
    /// The webhooks.
    items: Vec<Webhook>,
    /// The next page's `after`; absent on the last page.
    next: Option<Uuid>,
}

/// A webhook to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WebhookRequest {
    /// Whose it is to be: needed from a super admin, and for everybody else their own tenant.
    tenant: Option<Uuid>,
    /// Where messages are sent: https, to a host of the internet.
    #[schema(max_length = 2048, example = "https://crm.example/hooks/calls")]
    url: String,
    /// What it is for.
    #[serde(default)]
    #[schema(max_length = 500)]
    description: String,
    /// What it is told of; at least one.
    #[schema(value_type = Vec<WebhookEventSchema>, min_items = 1, max_items = 9)]
    events: Vec<WebhookEvent>,
}

/// What is to be different about a webhook; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WebhookPatch {
    /// Where messages are sent, those that wait included.
    #[schema(max_length = 2048)]
    url: Option<String>,
    /// What it is for.
    #[schema(max_length = 500)]
    description: Option<String>,
    /// What it is told of from here on.
    #[schema(value_type = Option<Vec<WebhookEventSchema>>, min_items = 1, max_items = 9)]
    events: Option<Vec<WebhookEvent>>,
    /// Whether it is told anything. What waits while it is not, waits on.
    enabled: Option<bool>,
}

/// Which webhooks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WebhookQuery {
    /// Of this tenant; for a super admin, who sees all.
    tenant: Option<Uuid>,
    /// Those older than this one: `next` of the page before.
    after: Option<Uuid>,
    /// At most so many; 100 where it is absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
}

/// What a receiver said when it was tried.
#[derive(Debug, Serialize, ToSchema)]
struct TestResult {
    /// Whether it has taken the message.
    delivered: bool,
    /// What it answered, if it did.
    status: Option<u16>,
    /// The beginning of its answer's body.
    body: Option<String>,
    /// Why there is no answer.
    error: Option<String>,
    /// How long its answer took, in milliseconds.
    took_ms: Option<u64>,
}

/// One telling of one event to one webhook.
#[derive(Debug, Serialize, ToSchema)]
struct Delivery {
    /// Its id.
    id: Uuid,
    /// To whom.
    webhook: Uuid,
    /// What the receiver sees as `webhook-id`: the same in each attempt.
    event_id: String,
    /// What happened.
    #[schema(value_type = WebhookEventSchema)]
    event: WebhookEvent,
    /// To which call, if to one.
    session: Option<Uuid>,
    /// Where it stands.
    #[schema(value_type = DeliveryStateSchema)]
    state: DeliveryState,
    /// How often it was tried since it was made, or replayed.
    attempts: u32,
    /// When it is tried next, if it is.
    next_attempt_at: Option<Time>,
    /// When it was last tried.
    last_attempt_at: Option<Time>,
    /// What the receiver answered last, if it did.
    last_status: Option<u16>,
    /// Why the last attempt failed, if it did.
    last_error: Option<String>,
    /// When it was made.
    created_at: Time,
    /// When the receiver took it.
    delivered_at: Option<Time>,
    /// The message; in lists it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    body: Option<Value>,
}

/// A page of deliveries, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct Deliveries {
    /// The deliveries, without their messages.
    items: Vec<Delivery>,
    /// The next page's `after`; absent on the last page.
    next: Option<Uuid>,
}

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeliveryQuery {
    /// In this state.
    #[param(value_type = Option<DeliveryStateSchema>)]
    state: Option<DeliveryState>,
    /// Of this event.
    #[param(value_type = Option<WebhookEventSchema>)]
    event: Option<WebhookEvent>,
    /// Those older than this one: `next` of the page before.
    after: Option<Uuid>,
    /// At most so many; 100 where it is absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
}

/// What is to be sent again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReplayRequest {
    /// What was made at this time or later.
    since: Time,
    /// Also what has arrived, and not only what was given up.
    #[serde(default)]
    delivered: bool,
}

/// What is sent again.
#[derive(Debug, Serialize, ToSchema)]
struct Replayed {
    /// So many messages: the oldest, and 10,000 at most.
    replayed: u64,
}

/// List webhooks
#[utoipa::path(get, path = "/webhooks", tag = TAG, params(WebhookQuery), responses(
    (status = 200, description = "A page of them, newest first", body = Webhooks),
    (status = 422, description = "A parameter is not allowed", body = Problem, content_type = "application/problem+json"),
))]
async fn list(
    State(desk): State<Desk>,
    caller: Caller,
    Query(query): Query<WebhookQuery>,
) -> Result<Json<Webhooks>, Problem> {
    let limit = checked_limit(query.limit)?;
    let (tenant, before) = (query.tenant.map(TenantId::from_uuid), query.after.map(WebhookId::from_uuid));
    let found = desk.store.webhooks(caller.scope(), tenant, before, limit).await?;
    let items: Vec<Webhook> = found.into_iter().map(Webhook::from).collect();
    Ok(Json(Webhooks { next: next_page(limit, items.last().map(|w| w.id), items.len()), items }))
}

/// Make a webhook
///
/// It is told what happens from here on. The secret in the answer is shown this once.
#[utoipa::path(post, path = "/webhooks", tag = TAG, request_body = WebhookRequest, responses(
    (status = 201, description = "It is made", body = WebhookWithSecret, headers(("Location" = String, description = "Where it is"))),
    (status = 404, description = "There is no such tenant", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The tenant has 20 webhooks", body = Problem, content_type = "application/problem+json"),
))]
async fn create(
    State(desk): State<Desk>,
    caller: Caller,
    Json(request): Json<WebhookRequest>,
) -> Result<Created<Versioned<WebhookWithSecret>>, Problem> {
    let named = request.tenant.map(TenantId::from_uuid);
    let needed = || Problem::invalid("tenant", "name the tenant whose webhook it is to be");
    let tenant = named.or(caller.principal.tenant).ok_or_else(needed)?;
    check_url(&desk, &request.url)?;
    check_description(&request.description)?;
    let secret = make_secret();
    let new = NewWebhook {
        tenant,
        url: request.url,
        description: request.description,
        events: checked_events(request.events)?,
        secret: secret.clone(),
    };
    let made = desk.store.add_webhook(caller.scope(), new).await?;
    desk.store.audit(did(&caller, "webhook.add", &made, json!({ "url": made.url }))).await?;
    let (place, version) = (format!("/api/v1/webhooks/{}", made.id), made.version);
    let shown = WebhookWithSecret { webhook: made.into(), secret: secret.expose_secret().to_owned() };
    Ok(Created(place, Versioned(version, shown)))
}

/// Show a webhook
#[utoipa::path(get, path = "/webhooks/{id}", tag = TAG, params(("id" = Uuid, Path, description = "The webhook")), responses(
    (status = 200, description = "The webhook", body = Webhook, headers(("ETag" = String, description = "For `If-Match`"))),
    (status = 404, description = "There is no such webhook", body = Problem, content_type = "application/problem+json"),
))]
async fn show(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<WebhookId>,
) -> Result<Versioned<Webhook>, Problem> {
    let webhook = desk.store.webhook(caller.scope(), id).await?;
    Ok(Versioned(webhook.version, webhook.into()))
}

/// Change a webhook
#[utoipa::path(patch, path = "/webhooks/{id}", tag = TAG, params(("id" = Uuid, Path, description = "The webhook"), IfMatch),
    request_body = WebhookPatch, responses(
    (status = 200, description = "As it is from here on", body = Webhook, headers(("ETag" = String, description = "For `If-Match`"))),
    (status = 404, description = "There is no such webhook", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "Somebody has changed it since `If-Match`", body = Problem, content_type = "application/problem+json"),
))]
async fn change(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<WebhookId>,
    IfMatch(version): IfMatch,
    Json(patch): Json<WebhookPatch>,
) -> Result<Versioned<Webhook>, Problem> {
    patch.url.as_deref().map_or(Ok(()), |url| check_url(&desk, url))?;
    patch.description.as_deref().map_or(Ok(()), check_description)?;
    let WebhookPatch { url, description, events, enabled } = patch;
    let events = events.map(checked_events).transpose()?;
    let detail = json!({ "url": url, "events": events, "enabled": enabled });
    let change = WebhookChange { url, description, events, enabled };
    let changed = desk.store.change_webhook(caller.scope(), id, version, change).await?;
    desk.store.audit(did(&caller, "webhook.change", &changed, detail)).await?;
    Ok(Versioned(changed.version, changed.into()))
}

/// Remove a webhook
///
/// What waits to be told to it goes with it.
#[utoipa::path(delete, path = "/webhooks/{id}", tag = TAG, params(("id" = Uuid, Path, description = "The webhook")), responses(
    (status = 204, description = "It is gone"),
    (status = 404, description = "There is no such webhook", body = Problem, content_type = "application/problem+json"),
))]
async fn remove(State(desk): State<Desk>, caller: Caller, Path(id): Path<WebhookId>) -> Result<StatusCode, Problem> {
    let webhook = desk.store.webhook(caller.scope(), id).await?;
    desk.store.remove_webhook(caller.scope(), id).await?;
    desk.store.audit(did(&caller, "webhook.remove", &webhook, json!({ "url": webhook.url }))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Rotate a webhook's secret
///
/// The new one is shown this once. For 24 hours messages are signed with both.
#[utoipa::path(post, path = "/webhooks/{id}/rotate-secret", tag = TAG, params(("id" = Uuid, Path, description = "The webhook"), IfMatch), responses(
    (status = 200, description = "The webhook and its new secret", body = WebhookWithSecret, headers(("ETag" = String, description = "For `If-Match`"))),
    (status = 404, description = "There is no such webhook", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "Somebody has changed it since `If-Match`", body = Problem, content_type = "application/problem+json"),
))]
async fn rotate(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<WebhookId>,
    IfMatch(version): IfMatch,
) -> Result<Versioned<WebhookWithSecret>, Problem> {
    let secret = make_secret();
    let until = now() + ROTATION;
    let webhook = desk.store.rotate_webhook_secret(caller.scope(), id, version, secret.clone(), until).await?;
    desk.store.audit(did(&caller, "webhook.rotate_secret", &webhook, Value::Null)).await?;
    let version = webhook.version;
    let shown = WebhookWithSecret { webhook: webhook.into(), secret: secret.expose_secret().to_owned() };
    Ok(Versioned(version, shown))
}

/// Try a webhook
///
/// Sends it a `ping`, once and at once, whether or not it is enabled, and tells what it answered.
#[utoipa::path(post, path = "/webhooks/{id}/test", tag = TAG, params(("id" = Uuid, Path, description = "The webhook")), responses(
    (status = 200, description = "What came of it, good or bad", body = TestResult),
    (status = 404, description = "There is no such webhook", body = Problem, content_type = "application/problem+json"),
))]
async fn test(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<WebhookId>,
) -> Result<Json<TestResult>, Problem> {
    let (scope, at) = (caller.scope(), now());
    let webhook = desk.store.webhook(scope, id).await?;
    let secrets = desk.store.webhook_secrets(scope, id, at).await?;
    let ping = Announcement {
        tenant: webhook.tenant,
        event: WebhookEvent::Ping,
        id: format!("ping-{}", Uuid::now_v7()),
        at,
        session: None,
        data: json!({ "webhook": { "id": id } }),
    };
    let message = Message { url: &webhook.url, secrets: &secrets, id: &ping.id, body: &ping.body() };
    let outcome = timeout(TEST_TIMEOUT, desk.courier.send(message)).await;
    desk.store.audit(did(&caller, "webhook.test", &webhook, Value::Null)).await?;
    let nothing =
        |error: String| TestResult { delivered: false, status: None, body: None, error: Some(error), took_ms: None };
    Ok(Json(match outcome {
        Ok(Ok(answer)) => TestResult {
            delivered: answer.is_taken(),
            status: Some(answer.status),
            took_ms: u64::try_from(answer.took.as_millis()).ok(),
            body: Some(answer.body),
            error: None,
        },
        Ok(Err(failure)) => nothing(failure.to_string()),
        Err(_) => nothing(format!("no answer within {} s", TEST_TIMEOUT.as_secs())),
    }))
}

/// List what a webhook was told
#[utoipa::path(get, path = "/webhooks/{id}/deliveries", tag = TAG, params(("id" = Uuid, Path, description = "The webhook"), DeliveryQuery), responses(
    (status = 200, description = "A page of it, newest first", body = Deliveries),
    (status = 404, description = "There is no such webhook", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A parameter is not allowed", body = Problem, content_type = "application/problem+json"),
))]
async fn deliveries(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<WebhookId>,
    Query(query): Query<DeliveryQuery>,
) -> Result<Json<Deliveries>, Problem> {
    let limit = checked_limit(query.limit)?;
    let filter = DeliveryFilter {
        state: query.state,
        event: query.event,
        before: query.after.map(DeliveryId::from_uuid),
        limit: Some(limit),
    };
    let found = desk.store.deliveries(caller.scope(), id, filter).await?;
    let items: Vec<Delivery> = found.into_iter().map(|d| Delivery { body: None, ..Delivery::from(d) }).collect();
    Ok(Json(Deliveries { next: next_page(limit, items.last().map(|d| d.id), items.len()), items }))
}

/// Show one thing that a webhook was told
#[utoipa::path(get, path = "/webhooks/{id}/deliveries/{delivery}", tag = TAG,
    params(("id" = Uuid, Path, description = "The webhook"), ("delivery" = Uuid, Path, description = "The delivery")), responses(
    (status = 200, description = "It, with its message", body = Delivery),
    (status = 404, description = "There is no such delivery", body = Problem, content_type = "application/problem+json"),
))]
async fn delivery(
    State(desk): State<Desk>,
    caller: Caller,
    Path((webhook, id)): Path<(WebhookId, DeliveryId)>,
) -> Result<Json<Delivery>, Problem> {
    Ok(Json(desk.store.delivery(caller.scope(), webhook, id).await?.into()))
}

/// Tell a webhook one thing again
///
/// Whatever became of it. The message has the `webhook-id` that it had.
#[utoipa::path(post, path = "/webhooks/{id}/deliveries/{delivery}/replay", tag = TAG,
    params(("id" = Uuid, Path, description = "The webhook"), ("delivery" = Uuid, Path, description = "The delivery")), responses(
    (status = 200, description = "It is sent as soon as there is room", body = Delivery),
    (status = 404, description = "There is no such delivery", body = Problem, content_type = "application/problem+json"),
))]
async fn replay_one(
    State(desk): State<Desk>,
    caller: Caller,
    Path((webhook, id)): Path<(WebhookId, DeliveryId)>,
) -> Result<Json<Delivery>, Problem> {
    let replayed = desk.store.replay_delivery(caller.scope(), webhook, id, now()).await?;
    let entry = NewAuditEntry { tenant: Some(replayed.tenant), ..caller.did("webhook.replay", webhook) };
    desk.store.audit(NewAuditEntry { detail: json!({ "delivery": id }), ..entry }).await?;
    Ok(Json(replayed.into()))
}

/// Tell a webhook again what it has missed
#[utoipa::path(post, path = "/webhooks/{id}/replay", tag = TAG, params(("id" = Uuid, Path, description = "The webhook")),
    request_body = ReplayRequest, responses(
    (status = 200, description = "How much is sent again", body = Replayed),
    (status = 404, description = "There is no such webhook", body = Problem, content_type = "application/problem+json"),
))]
async fn replay(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<WebhookId>,
    Json(ReplayRequest { since: Time(since), delivered }): Json<ReplayRequest>,
) -> Result<Json<Replayed>, Problem> {
    let webhook = desk.store.webhook(caller.scope(), id).await?;
    let replayed = desk.store.replay_deliveries(caller.scope(), id, since, delivered, now()).await?;
    let detail = json!({ "since": since.to_string(), "delivered": delivered, "replayed": replayed });
    desk.store.audit(did(&caller, "webhook.replay", &webhook, detail)).await?;
    Ok(Json(Replayed { replayed }))
}

/// An entry in the log of the tenant whose webhook it is.
fn did(caller: &Caller, action: &str, webhook: &aimg_store::Webhook, detail: Value) -> NewAuditEntry {
    NewAuditEntry { tenant: Some(webhook.tenant), detail, ..caller.did(action, webhook.id) }
}

fn check_url(desk: &Desk, url: &str) -> Result<(), Problem> {
    desk.courier.policy().check(url).map(drop).map_err(|refusal| Problem::invalid("url", refusal))
}

fn check_description(text: &str) -> Result<(), Problem> {
    if text.chars().count() <= DESCRIPTION_CHARS_MAX {
        return Ok(());
    }
    Err(Problem::invalid("description", format!("it is longer than {DESCRIPTION_CHARS_MAX} characters; shorten it")))
}

fn checked_events(mut events: Vec<WebhookEvent>) -> Result<Vec<WebhookEvent>, Problem> {
    events.sort_unstable();
    events.dedup();
    if events.is_empty() {
        return Err(Problem::invalid("events", "name at least one event"));
    }
    if events.contains(&WebhookEvent::Ping) {
        return Err(Problem::invalid("events", "`ping` comes when somebody tries the webhook; leave it out"));
    }
    Ok(events)
}

fn checked_limit(limit: Option<u64>) -> Result<u64, Problem> {
    let limit = limit.unwrap_or(LIMIT);
    if (1..=DELIVERIES_LIMIT_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::invalid("limit", format!("use 1 to {DELIVERIES_LIMIT_MAX}")))
}

/// A page that is full may have another one after it.
fn next_page(limit: u64, last: Option<Uuid>, items: usize) -> Option<Uuid> {
    last.filter(|_| items as u64 == limit)
}

fn time(at: Option<Timestamp>) -> Option<Time> {
    at.map(Time)
}

impl From<aimg_store::Webhook> for Webhook {
    fn from(row: aimg_store::Webhook) -> Self {
        Self {
            id: row.id.as_uuid(),
            tenant: row.tenant.as_uuid(),
            url: row.url,
            description: row.description,
            events: row.events,
            enabled: row.enabled,
            disabled_reason: row.disabled_reason,
            failing_since: time(row.failing_since),
            old_secret_until: time(row.old_secret_until),
            created_at: Time(row.created_at),
            changed_at: Time(row.changed_at),
        }
    }
}

impl From<aimg_store::Delivery> for Delivery {
    fn from(row: aimg_store::Delivery) -> Self {
        Self {
            id: row.id.as_uuid(),
            webhook: row.webhook.as_uuid(),
            event_id: row.event_id,
            event: row.event,
            session: row.session.map(aimg_core::SessionId::as_uuid),
            state: row.state,
            attempts: row.attempts,
            next_attempt_at: time(row.next_attempt_at),
            last_attempt_at: time(row.last_attempt_at),
            last_status: row.last_status,
            last_error: row.last_error,
            created_at: Time(row.created_at),
            delivered_at: time(row.delivered_at),
            body: serde_json::from_str(&row.body).ok(),
        }
    }
}
