//! How deliveries are worked off: which webhooks have something due, the next few of one of them, and what became of each.
//!
//! Several nodes may do so on one database. Each takes deliveries for a while, under a claim of its own: nobody else takes
//! them until that time is over, and what it says afterwards about them does not count any more.

use std::time::Duration;

use aimg_core::{DeliveryId, TenantId, TenantScope, Timestamp, WebhookId};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, Condition, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use secrecy::SecretString;
use uuid::Uuid;

use crate::audit::{self, NewAuditEntry};
use crate::deliveries::DeliveryState;
use crate::entity::{webhook, webhook_delivery};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::webhooks;

/// So often a message about a call is tried before later messages about that call stop waiting for it.
const ORDERED_ATTEMPTS: i32 = 3;
/// Who disables a webhook that always fails, in the audit log.
const ACTOR: &str = "aimg";

/// A webhook with something to deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueWebhook {
    /// Which.
    pub id: WebhookId,
    /// Whose.
    pub tenant: TenantId,
    /// Whether the last message did not arrive.
    pub is_failing: bool,
}

/// Deliveries of one webhook that were taken, and what sending them needs.
#[derive(Clone, Debug)]
pub struct WorkOrder {
    /// Where they go.
    pub url: String,
    /// The secrets that sign them.
    pub secrets: Vec<SecretString>,
    /// The deliveries, in order.
    pub deliveries: Vec<PendingDelivery>,
}

/// A delivery that was taken.
#[derive(Clone, Debug)]
pub struct PendingDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// Its webhook.
    pub webhook: WebhookId,
    /// The `webhook-id` of its message.
    pub event_id: String,
    /// The message.
    pub body: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    claim: Uuid,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// What the receiver answered, if it did.
    pub status: Option<u16>,
    /// Why it failed: one sentence, without what the receiver said. Nothing when it did not.
    pub error: Option<String>,
    /// What follows.
    pub next: Next,
}

/// What follows an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it has arrived.
    Delivered,
    /// Another attempt, at this time.
    Again(Timestamp),
    /// Nothing: it will not be tried any more.
    GiveUp,
}

/// What an attempt's outcome meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is written.
    Done {
        /// Since when no message has reached the webhook, if this one did not.
        failing_since: Option<Timestamp>,
    },
    /// Somebody else has taken the delivery since, or it is gone: the outcome does not count.
    TooLate,
}

/// What waits to be delivered to webhooks that are enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookBacklog {
    /// Deliveries.
    pub pending: u64,
    /// When the oldest of them was made.
    pub oldest_at: Option<Timestamp>,
}

impl Store {
    /// The enabled webhooks that have something due at `now`.
    pub async fn due_webhooks(&self, now: Timestamp) -> Result<Vec<DueWebhook>> {
        use webhook_delivery::Column as D;
        let rows = self.read(TenantScope::Operator).await?;
        let mut due = Query::select();
        due.expr(Expr::value(1)).from(webhook_delivery::Entity).cond_where(is_due(now)).and_where(
            Expr::col((webhook_delivery::Entity, D::WebhookId)).equals((webhook::Entity, webhook::Column::Id)),
        );
        let query = rows
            .select::<webhook::Entity>()
            .filter(webhook::Column::Enabled.eq(true))
            .filter(Expr::exists(due))
            .order_by_asc(webhook::Column::Id);
        let due = |row: webhook::Model| DueWebhook {
            id: WebhookId::from_uuid(row.id),
            tenant: TenantId::from_uuid(row.tenant_id),
            is_failing: row.failing_since.is_some(),
        };
        Ok(query.all(rows.db()).await?.into_iter().map(due).collect())
    }

    /// Takes up to `limit` deliveries of a webhook that are due at `now`, for as long as `lease`; nothing when there are
    /// none, or it is disabled by now. A message about a call waits for earlier ones about that call.
    pub async fn take_deliveries(
        &self,
        webhook: WebhookId,
        now: Timestamp,
        lease: Duration,
        limit: u64,
    ) -> Result<Option<WorkOrder>> {
        use webhook_delivery::Column as D;
        let rows = self.write(TenantScope::Operator).await?;
        let Some(row) = webhooks::row(&rows, webhook).await.ok().filter(|row| row.enabled) else { return Ok(None) };
        let next: Vec<Uuid> = rows
            .select::<webhook_delivery::Entity>()
            .select_only()
            .column(D::Id)
            .filter(D::WebhookId.eq(webhook.as_uuid()))
            .filter(is_due(now))
            .filter(is_next_of_its_call())
            .order_by_asc(D::Id)
            .limit(limit)
            .into_tuple()
            .all(rows.db())
            .await?;
        if next.is_empty() {
            return Ok(None);
        }
        let claim = Uuid::now_v7();
        let take = rows
            .update::<webhook_delivery::Entity>()
            .col_expr(D::Claim, Expr::value(claim))
            .col_expr(D::Attempts, Expr::col(D::Attempts).add(1))
            .col_expr(D::NextAttemptAt, Expr::value((now + lease).as_micros()))
            .filter(D::Id.is_in(next))
            // On PostgreSQL another node may have been between our look and now.
            .filter(is_due(now));
        take.exec(rows.db()).await?;
        let taken = rows.select::<webhook_delivery::Entity>().filter(D::Claim.eq(claim)).order_by_asc(D::Id);
        let taken = taken.all(rows.db()).await?;
        let secrets = webhooks::secrets_of(self.key()?, &row, now)?;
        rows.commit().await?;
        let deliveries = taken.into_iter().map(|row| pending(row, claim)).collect::<Result<Vec<_>>>()?;
        Ok((!deliveries.is_empty()).then_some(WorkOrder { url: row.url, secrets, deliveries }))
    }

    /// Writes what came of an attempt.
    pub async fn settle_delivery(&self, sent: &PendingDelivery, attempt: &Attempt) -> Result<Settled> {
        use webhook_delivery::Column as D;
        let at = attempt.at.as_micros();
        let (state, next_at, delivered_at) = match attempt.next {
            Next::Delivered => (DeliveryState::Delivered, None, Some(at)),
            Next::Again(next) => (DeliveryState::Pending, Some(next.as_micros()), None),
            Next::GiveUp => (DeliveryState::GaveUp, None, None),
        };
        let rows = self.write(TenantScope::Operator).await?;
        let update = rows
            .update::<webhook_delivery::Entity>()
            .col_expr(D::State, Expr::value(state.name()))
            .col_expr(D::NextAttemptAt, Expr::value(next_at))
            .col_expr(D::Claim, Expr::value(None::<Uuid>))
            .col_expr(D::LastAttemptAt, Expr::value(at))
            .col_expr(D::LastStatus, Expr::value(attempt.status.map(i32::from)))
            .col_expr(D::LastError, Expr::value(attempt.error.clone()))
            .col_expr(D::DeliveredAt, Expr::value(delivered_at))
            .filter(D::Id.eq(sent.id.as_uuid()))
            .filter(D::Claim.eq(sent.claim));
        if update.exec(rows.db()).await?.rows_affected == 0 {
            return Ok(Settled::TooLate);
        }
        let failing_since = (attempt.next != Next::Delivered).then_some(at);
        let turns = match failing_since {
            Some(_) => webhook::Column::FailingSince.is_null(),
            None => webhook::Column::FailingSince.is_not_null(),
        };
        let is_webhook = || webhook::Column::Id.eq(sent.webhook.as_uuid());
        let turn = rows.update::<webhook::Entity>().col_expr(webhook::Column::FailingSince, Expr::value(failing_since));
        turn.filter(is_webhook()).filter(turns).exec(rows.db()).await?;
        let row = rows.select::<webhook::Entity>().filter(is_webhook()).one(rows.db()).await?;
        rows.commit().await?;
        let failing_since = row.and_then(|row| row.failing_since).map(Timestamp::from_micros);
        Ok(Settled::Done { failing_since })
    }

    /// Disables a webhook for this reason, with an entry in the audit log; nothing happens to one that is disabled already.
    pub async fn disable_webhook(&self, id: WebhookId, reason: &str) -> Result<bool> {
        let rows = self.write(TenantScope::Operator).await?;
        let row = webhooks::row(&rows, id).await?;
        let update = rows
            .update::<webhook::Entity>()
            .col_expr(webhook::Column::Enabled, Expr::value(false))
            .col_expr(webhook::Column::DisabledReason, Expr::value(reason))
            .col_expr(webhook::Column::Version, Expr::col(webhook::Column::Version).add(1))
            .filter(webhook::Column::Id.eq(id.as_uuid()))
            .filter(webhook::Column::Enabled.eq(true));
        if update.exec(rows.db()).await?.rows_affected == 0 {
            return Ok(false);
        }
        let entry = NewAuditEntry {
            tenant: Some(TenantId::from_uuid(row.tenant_id)),
            actor: ACTOR.to_owned(),
            address: None,
            action: "webhook.disable".to_owned(),
            target: id.to_string(),
            outcome: "done".to_owned(),
            detail: serde_json::json!({ "reason": reason }),
        };
        audit::insert(&rows, entry).await?;
        rows.commit().await?;
        Ok(true)
    }

    /// What waits to be delivered.
    pub async fn webhook_backlog(&self) -> Result<WebhookBacklog> {
        use webhook_delivery::Column as D;
        let rows = self.read(TenantScope::Operator).await?;
        let mut enabled = Query::select();
        enabled.column(webhook::Column::Id).from(webhook::Entity).and_where(webhook::Column::Enabled.eq(true));
        let waiting = || {
            let waiting = rows.select::<webhook_delivery::Entity>().filter(is_pending());
            waiting.filter(D::WebhookId.in_subquery(enabled.clone()))
        };
        let oldest: Option<Option<i64>> =
            waiting().select_only().column_as(D::CreatedAt.min(), "oldest").into_tuple().one(rows.db()).await?;
        let pending = waiting().count(rows.db()).await?;
        Ok(WebhookBacklog { pending, oldest_at: oldest.flatten().map(Timestamp::from_micros) })
    }
}

fn is_pending() -> Expr {
    Expr::col((webhook_delivery::Entity, webhook_delivery::Column::State)).eq(DeliveryState::Pending.name())
}

fn is_due(now: Timestamp) -> Condition {
    let next_at = Expr::col((webhook_delivery::Entity, webhook_delivery::Column::NextAttemptAt));
    Condition::all().add(is_pending()).add(next_at.lte(now.as_micros()))
}

/// No earlier message about the same call waits, unless that one has failed often.
fn is_next_of_its_call() -> Expr {
    use webhook_delivery::Column as D;
    let earlier = || Alias::new("earlier");
    let mut before = Query::select();
    before
        .expr(Expr::value(1))
        .from_as(webhook_delivery::Entity, earlier())
        .and_where(Expr::col((earlier(), D::WebhookId)).equals((webhook_delivery::Entity, D::WebhookId)))
        .and_where(Expr::col((earlier(), D::SessionId)).equals((webhook_delivery::Entity, D::SessionId)))
        .and_where(Expr::col((earlier(), D::State)).eq(DeliveryState::Pending.name()))
        .and_where(Expr::col((earlier(), D::Attempts)).lt(ORDERED_ATTEMPTS))
        .and_where(Expr::col((earlier(), D::Id)).lt(Expr::col((webhook_delivery::Entity, D::Id))));
    Expr::not_exists(before)
}

fn pending(row: webhook_delivery::Model, claim: Uuid) -> Result<PendingDelivery> {
    let id = DeliveryId::from_uuid(row.id);
    Ok(PendingDelivery {
        id,
        webhook: WebhookId::from_uuid(row.webhook_id),
        event_id: row.event_id,
        body: row.body,
        attempt: u32::try_from(row.attempts).map_err(|_| Error::damaged("attempts", id, row.attempts))?,
        claim,
    })
}
