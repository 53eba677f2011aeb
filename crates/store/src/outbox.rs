//! What webhooks are to be told: one row for each webhook that asks for an event, written in the transaction of the event
//! itself. So neither is there without the other, whatever dies in between.
//!
//! An event has an id that is made of what happened, so that an event that is written again is told once.

use aimg_core::{
    CallEvent, CallEventKind, SessionId, SessionRow, TenantId, TenantScope, Timestamp, WebhookEvent, WebhookId,
};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::changes::Change;
use crate::deliveries::DeliveryState;
use crate::entity::{call_session, recording, webhook, webhook_delivery};
use crate::error::{Error, Result};
use crate::recordings::RecordingRow;
use crate::scope::Rows;
use crate::sessions::StoredSession;
use crate::store::{Store, now};

/// Something that webhooks are to be told of.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    /// Whose webhooks.
    pub tenant: TenantId,
    /// What happened.
    pub event: WebhookEvent,
    /// The same for the same happening, and for no other one of this tenant; without dots, because a dot ends it where
    /// messages are signed.
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
    /// To which call, if to one: messages about one call are delivered in order.
    pub session: Option<SessionId>,
    /// What else is known: an object.
    pub data: Value,
}

impl Announcement {
    /// The message's body: what every message has, and the data.
    pub fn body(&self) -> String {
        let Self { tenant, event, id, at, data, .. } = self;
        json!({ "type": event, "id": id, "timestamp": at.to_string(), "tenant": tenant, "data": data }).to_string()
    }
}

/// A webhook that asks for something.
struct Subscription {
    webhook: WebhookId,
    tenant: TenantId,
    events: Vec<WebhookEvent>,
}

/// The webhooks that may want to hear of what one transaction writes.
pub(crate) struct Subscriptions(Vec<Subscription>);

impl Subscriptions {
    /// Those of the tenants to whom changes say that something happened.
    pub(crate) async fn of(rows: &Rows, changes: &[Change]) -> Result<Self> {
        let mut tenants: Vec<Uuid> =
            changes.iter().filter(|change| is_told(change)).map(|change| change.tenant().as_uuid()).collect();
        tenants.sort_unstable();
        tenants.dedup();
        Self::of_tenants(rows, tenants).await
    }

    async fn of_tenants(rows: &Rows, tenants: Vec<Uuid>) -> Result<Self> {
        if tenants.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let query = rows
            .select::<webhook::Entity>()
            .filter(webhook::Column::TenantId.is_in(tenants))
            .filter(webhook::Column::Enabled.eq(true));
        let subscription = |row: webhook::Model| {
            let webhook = WebhookId::from_uuid(row.id);
            let events = serde_json::from_value(row.events.clone());
            let events = events.map_err(|_| Error::damaged("events", webhook, row.events))?;
            Ok(Subscription { webhook, tenant: TenantId::from_uuid(row.tenant_id), events })
        };
        query.all(rows.db()).await?.into_iter().map(subscription).collect::<Result<_>>().map(Self)
    }

    fn want(&self, tenant: TenantId, event: WebhookEvent) -> impl Iterator<Item = WebhookId> {
        let wants = move |s: &&Subscription| s.tenant == tenant && s.events.contains(&event);
        self.0.iter().filter(wants).map(|s| s.webhook)
    }

    /// Leaves the message about a call's event that was just written to whom it may concern; gives to how many.
    pub(crate) async fn tell_of_call(&self, rows: &Rows, happened: &CallEvent) -> Result<u64> {
        let Some(event) = WebhookEvent::of_call(&happened.kind) else { return Ok(0) };
        if self.want(happened.tenant, event).next().is_none() {
            return Ok(0);
        }
        let told = Announcement {
            tenant: happened.tenant,
            event,
            id: call_event_id(happened, event),
            at: happened.at,
            session: Some(happened.session),
            data: call_data(rows, happened).await?,
        };
        self.tell(rows, &told).await
    }

    /// Leaves a message to whom it may concern; gives to how many.
    pub(crate) async fn tell(&self, rows: &Rows, told: &Announcement) -> Result<u64> {
        let created_at = now().as_micros();
        let delivery = |webhook: WebhookId| webhook_delivery::Model {
            id: Uuid::now_v7(),
            tenant_id: told.tenant.as_uuid(),
            webhook_id: webhook.as_uuid(),
            event_id: told.id.clone(),
            event: told.event.name().to_owned(),
            session_id: told.session.map(SessionId::as_uuid),
            body: told.body(),
            state: DeliveryState::Pending.name().to_owned(),
            attempts: 0,
            next_attempt_at: Some(created_at),
            claim: None,
            last_attempt_at: None,
            last_status: None,
            last_error: None,
            created_at,
            delivered_at: None,
        };
        let mut told_to = 0;
        for webhook in self.want(told.tenant, told.event) {
            use webhook_delivery::Column::{EventId, WebhookId};
            let insert = webhook_delivery::Entity::insert(delivery(webhook).into_active_model());
            let insert = insert.on_conflict(OnConflict::columns([WebhookId, EventId]).do_nothing().to_owned());
            told_to += insert.exec_without_returning(rows.db()).await?;
        }
        Ok(told_to)
    }
}

fn is_told(change: &Change) -> bool {
    match change {
        Change::Event(event) => WebhookEvent::of_call(&event.kind).is_some(),
        Change::Announcement(_) => true,
        _ => false,
    }
}

impl Store {
    /// Leaves a message to the tenant's webhooks that ask for it; gives to how many. One that was left before is not left
    /// again.
    pub async fn announce(&self, scope: TenantScope, told: &Announcement) -> Result<u64> {
        if !scope.reaches(told.tenant) {
            return Err(Error::not_found("tenant", told.tenant));
        }
        let rows = self.write(scope).await?;
        let subscriptions = Subscriptions::of_tenants(&rows, vec![told.tenant.as_uuid()]).await?;
        let told_to = subscriptions.tell(&rows, told).await?;
        rows.commit().await?;
        if told_to > 0 {
            self.ring();
        }
        Ok(told_to)
    }
}

fn call_event_id(happened: &CallEvent, event: WebhookEvent) -> String {
    let (what, session) = (event.name().replace('.', "-"), happened.session);
    match happened.kind {
        CallEventKind::RecordingReady { part, .. } | CallEventKind::RecordingFailed { part, .. } => {
            format!("{what}-{session}-{part}")
        }
        _ => format!("{what}-{session}"),
    }
}

/// The call as it is known in this transaction, and the recording that the event is about.
async fn call_data(rows: &Rows, happened: &CallEvent) -> Result<Value> {
    let query = rows.select::<call_session::Entity>();
    let row = query.filter(call_session::Column::Id.eq(happened.session.as_uuid())).one(rows.db()).await?;
    // The event's own row points to it.
    let row = row.ok_or_else(|| Error::not_found("session", happened.session))?;
    let mut data = json!({ "session": session_data(&StoredSession::try_from(row)?.row) });
    match &happened.kind {
        CallEventKind::RecordingReady { part, complete } => {
            let stored = recording_row(rows, happened.session, *part).await?;
            data["recording"] = stored.as_ref().map_or_else(
                || json!({ "part": part, "complete": complete }),
                |row| {
                    json!({
                        "part": part,
                        "complete": complete,
                        "duration_ms": row.duration_ms,
                        "bytes": row.bytes,
                        "created_at": row.created_at.to_string(),
                    })
                },
            );
        }
        CallEventKind::RecordingFailed { part, reason } => {
            data["recording"] = json!({ "part": part, "reason": reason });
        }
        _ => {}
    }
    Ok(data)
}

async fn recording_row(rows: &Rows, session: SessionId, part: u16) -> Result<Option<RecordingRow>> {
    let query = rows
        .select::<recording::Entity>()
        .filter(recording::Column::SessionId.eq(session.as_uuid()))
        .filter(recording::Column::Part.eq(i32::from(part)));
    query.one(rows.db()).await?.map(RecordingRow::try_from).transpose()
}

fn session_data(row: &SessionRow) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "id": row.id,
        "pbx": row.pbx,
        "state": row.state,
        "call_direction": row.call_direction,
        "caller_number": row.caller_number,
        "dialled_number": row.dialled_number,
        "started_at": row.started_at.to_string(),
        "answered_at": time(row.answered_at),
        "ended_at": time(row.ended_at),
        "hangup_cause": row.hangup_cause,
        "captured": row.captured,
    })
}
