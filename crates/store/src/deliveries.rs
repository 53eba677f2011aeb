//! Deliveries as people see them: what a webhook was told, what became of it, and how to tell it again.
//!
//! They are written by `outbox`, and worked off by `dispatch`.

use std::fmt;
use std::str::FromStr;

use aimg_core::{DeliveryId, SessionId, TenantId, TenantScope, Timestamp, WebhookEvent, WebhookId};
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::entity::webhook_delivery;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::webhooks;

const WHAT: &str = "delivery";
/// The most deliveries that one list gives.
pub const DELIVERIES_LIMIT_MAX: u64 = 1_000;
/// The most deliveries that are told again by one call.
pub const REPLAYED_MAX: u64 = 10_000;

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is to be sent, or is being sent.
    Pending,
    /// The receiver has taken it.
    Delivered,
    /// It was tried for as long as anything is tried.
    GaveUp,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::GaveUp];

    /// Its name, as in JSON and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::GaveUp => "gave_up",
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DeliveryState {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.name() == s).ok_or(())
    }
}

/// One telling of one event to one webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// Whose it is.
    pub tenant: TenantId,
    /// To whom.
    pub webhook: WebhookId,
    /// What the receiver sees as `webhook-id`: the same in each attempt.
    pub event_id: String,
    /// What happened.
    pub event: WebhookEvent,
    /// To which call, if to one.
    pub session: Option<SessionId>,
    /// The message.
    pub body: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// How often it was tried since it was made, or replayed.
    pub attempts: u32,
    /// When it is tried next. While it is being sent: when it would be tried if this program died.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was last tried.
    pub last_attempt_at: Option<Timestamp>,
    /// What the receiver answered last, if it did.
    pub last_status: Option<u16>,
    /// Why the last attempt failed, if it did.
    pub last_error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the receiver took it.
    pub delivered_at: Option<Timestamp>,
}

/// Which deliveries of a webhook a list shows: those that fit every field that is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// In this state.
    pub state: Option<DeliveryState>,
    /// Of this event.
    pub event: Option<WebhookEvent>,
    /// Older than this one: the next page.
    pub before: Option<DeliveryId>,
    /// At most so many, and [`DELIVERIES_LIMIT_MAX`] at the very most; that many where it is not set.
    pub limit: Option<u64>,
}

impl Store {
    /// The deliveries of a webhook that `filter` asks for, newest first.
    pub async fn deliveries(
        &self,
        scope: TenantScope,
        webhook: WebhookId,
        filter: DeliveryFilter,
    ) -> Result<Vec<Delivery>> {
        use webhook_delivery::Column as C;
        let rows = self.read(scope).await?;
        webhooks::row(&rows, webhook).await?;
        let equal = [
            Some(C::WebhookId.eq(webhook.as_uuid())),
            filter.state.map(|state| C::State.eq(state.name())),
            filter.event.map(|event| C::Event.eq(event.name())),
            filter.before.map(|before| C::Id.lt(before.as_uuid())),
        ];
        let query = equal.into_iter().flatten().fold(rows.select::<webhook_delivery::Entity>(), QueryFilter::filter);
        let limit = filter.limit.unwrap_or(DELIVERIES_LIMIT_MAX).min(DELIVERIES_LIMIT_MAX);
        let found = query.order_by_desc(C::Id).limit(limit).all(rows.db()).await?;
        found.into_iter().map(Delivery::try_from).collect()
    }

    /// One delivery of a webhook.
    pub async fn delivery(&self, scope: TenantScope, webhook: WebhookId, id: DeliveryId) -> Result<Delivery> {
        let rows = self.read(scope).await?;
        let query = rows.select::<webhook_delivery::Entity>().filter(is_delivery(webhook, id));
        query.one(rows.db()).await?.ok_or_else(|| Error::not_found(WHAT, id))?.try_into()
    }

    /// Has one delivery sent again from `now` on, whatever became of it, under the same `webhook-id`.
    pub async fn replay_delivery(
        &self,
        scope: TenantScope,
        webhook: WebhookId,
        id: DeliveryId,
        now: Timestamp,
    ) -> Result<Delivery> {
        match self.replay(scope, is_delivery(webhook, id), now).await? {
            0 => Err(Error::not_found(WHAT, id)),
            _ => self.delivery(scope, webhook, id).await,
        }
    }

    /// Has the deliveries of a webhook sent again that were made at `since` or later, the oldest of them and at most
    /// [`REPLAYED_MAX`]: those that were given up, and with `also_delivered` those that arrived too. Gives how many.
    pub async fn replay_deliveries(
        &self,
        scope: TenantScope,
        webhook: WebhookId,
        since: Timestamp,
        also_delivered: bool,
        now: Timestamp,
    ) -> Result<u64> {
        use webhook_delivery::Column as C;
        // That it is there, and in reach.
        self.webhook(scope, webhook).await?;
        let gave_up = DeliveryState::GaveUp;
        let states = if also_delivered { vec![gave_up, DeliveryState::Delivered] } else { vec![gave_up] };
        let mut oldest = Query::select();
        oldest
            .column(C::Id)
            .from(webhook_delivery::Entity)
            .and_where(C::WebhookId.eq(webhook.as_uuid()))
            .and_where(C::CreatedAt.gte(since.as_micros()))
            .and_where(C::State.is_in(states.into_iter().map(DeliveryState::name)))
            .order_by(C::Id, sea_orm::Order::Asc)
            .limit(REPLAYED_MAX);
        self.replay(scope, Condition::all().add(C::Id.in_subquery(oldest)), now).await
    }

    async fn replay(&self, scope: TenantScope, which: Condition, now: Timestamp) -> Result<u64> {
        use webhook_delivery::Column as C;
        let rows = self.write(scope).await?;
        let update = rows
            .update::<webhook_delivery::Entity>()
            .col_expr(C::State, Expr::value(DeliveryState::Pending.name()))
            .col_expr(C::Attempts, Expr::value(0))
            .col_expr(C::NextAttemptAt, Expr::value(now.as_micros()))
            // Whoever is sending it has no say in what becomes of it any more.
            .col_expr(C::Claim, Expr::value(None::<Uuid>))
            .col_expr(C::DeliveredAt, Expr::value(None::<i64>));
        let replayed = update.filter(which).exec(rows.db()).await?.rows_affected;
        rows.commit().await?;
        self.ring();
        Ok(replayed)
    }

    /// Removes deliveries made before `before`, the oldest of them and at most `limit`; gives how many.
    pub async fn purge_deliveries(&self, before: Timestamp, limit: u64) -> Result<u64> {
        use webhook_delivery::Column as C;
        let rows = self.write(TenantScope::Operator).await?;
        let mut oldest = Query::select();
        oldest
            .column(C::Id)
            .from(webhook_delivery::Entity)
            .and_where(C::CreatedAt.lt(before.as_micros()))
            .order_by(C::CreatedAt, sea_orm::Order::Asc)
            .limit(limit);
        let delete = rows.delete::<webhook_delivery::Entity>().filter(C::Id.in_subquery(oldest));
        let removed = delete.exec(rows.db()).await?.rows_affected;
        rows.commit().await?;
        Ok(removed)
    }
}

fn is_delivery(webhook: WebhookId, id: DeliveryId) -> Condition {
    use webhook_delivery::Column as C;
    Condition::all().add(C::WebhookId.eq(webhook.as_uuid())).add(C::Id.eq(id.as_uuid()))
}

impl TryFrom<webhook_delivery::Model> for Delivery {
    type Error = Error;

    fn try_from(row: webhook_delivery::Model) -> Result<Self> {
        let id = DeliveryId::from_uuid(row.id);
        let status = row.last_status.map(|s| u16::try_from(s).map_err(|_| Error::damaged("last_status", id, s)));
        Ok(Self {
            id,
            tenant: TenantId::from_uuid(row.tenant_id),
            webhook: WebhookId::from_uuid(row.webhook_id),
            event_id: row.event_id,
            event: row.event.parse().map_err(|_| Error::damaged("event", id, &row.event))?,
            session: row.session_id.map(SessionId::from_uuid),
            body: row.body,
            state: row.state.parse().map_err(|()| Error::damaged("state", id, &row.state))?,
            attempts: u32::try_from(row.attempts).map_err(|_| Error::damaged("attempts", id, row.attempts))?,
            next_attempt_at: row.next_attempt_at.map(Timestamp::from_micros),
            last_attempt_at: row.last_attempt_at.map(Timestamp::from_micros),
            last_status: status.transpose()?,
            last_error: row.last_error,
            created_at: Timestamp::from_micros(row.created_at),
            delivered_at: row.delivered_at.map(Timestamp::from_micros),
        })
    }
}
