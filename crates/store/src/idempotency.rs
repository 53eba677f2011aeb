//! Idempotency keys: a request that is repeated with the key of an earlier one gets the earlier one's answer and does
//! nothing again.

use std::time::Duration;

use aimg_core::{DataKey, TenantId, TenantScope, Timestamp};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ActiveModelTrait, ColumnTrait, Condition, EntityTrait, IntoActiveModel, QueryFilter};
use secrecy::ExposeSecret;

use crate::entity::idempotency_key::{self, Column};
use crate::error::{Error, Result};
use crate::purge::purge;
use crate::scope::Rows;
use crate::store::Store;

/// How long an answer is kept.
pub const IDEMPOTENCY_KEPT: Duration = Duration::from_hours(24);
/// From when on a request without an answer is taken for one that died with its node.
pub const IDEMPOTENCY_ABANDONED: Duration = Duration::from_secs(60);

/// The key that an account gave to a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// The account's tenant; nobody for the super admin.
    pub tenant: Option<TenantId>,
    /// The user or API key, with its kind and id: unique on this installation.
    pub account: String,
    /// The request's own key.
    pub key: String,
}

/// An answer to be given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptResponse {
    /// The HTTP status.
    pub status: u16,
    /// The headers that belong to it, such as `content-type`, `location` and `etag`.
    pub headers: Vec<(String, String)>,
    /// The body. It may hold a secret that is shown once, so it is sealed in the database.
    pub body: String,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Idempotent {
    /// Nothing: the request may be done, and is to be finished or abandoned.
    Started,
    /// The first request is still being done.
    InProgress,
    /// The first request was done, with this answer.
    Done(KeptResponse),
    /// The key was used for another request.
    Mismatch,
}

impl Store {
    /// Notes that a request begins at `now`. `fingerprint` is of all that makes the request what it is: method, path, body.
    ///
    /// Of several at once, one starts. One that was begun over [`IDEMPOTENCY_ABANDONED`] ago and has no answer is taken over.
    pub async fn begin_idempotent(
        &self,
        key: &IdempotencyKey,
        fingerprint: &[u8],
        now: Timestamp,
    ) -> Result<Idempotent> {
        let rows = self.write(key.scope()).await?;
        let row = key.row(fingerprint, now).into_active_model();
        let once = OnConflict::columns([Column::Account, Column::Key]).do_nothing().to_owned();
        let insert = idempotency_key::Entity::insert(row).on_conflict(once);
        let inserted = insert.exec_without_returning(rows.db()).await;
        if inserted.map_err(|e| Error::from_write(e, "account", &key.account))? > 0
            || take_over(&rows, key, fingerprint, now).await?
        {
            rows.commit().await?;
            return Ok(Idempotent::Started);
        }
        let found = rows.select::<idempotency_key::Entity>().filter(key.condition()).one(rows.db()).await?;
        // On PostgreSQL it may be gone by now; the repetition of the repetition starts it.
        let Some(found) = found else { return Ok(Idempotent::InProgress) };
        if found.fingerprint != fingerprint {
            return Ok(Idempotent::Mismatch);
        }
        found.response(self.key()?, key)
    }

    /// Keeps the answer to the request that began at `begun_at`; of one that was taken over, nothing is kept.
    pub async fn finish_idempotent(
        &self,
        key: &IdempotencyKey,
        begun_at: Timestamp,
        response: KeptResponse,
    ) -> Result<()> {
        let rows = self.write(key.scope()).await?;
        let finish = rows
            .update::<idempotency_key::Entity>()
            .col_expr(Column::Status, Expr::value(i32::from(response.status)))
            .col_expr(Column::Headers, Expr::value(serde_json::json!(response.headers)))
            .col_expr(Column::Body, Expr::value(self.key()?.seal(&response.body, rand::random(), &key.context())))
            .filter(key.in_progress_since(begun_at));
        finish.exec(rows.db()).await?;
        rows.commit().await
    }

    /// Forgets the request that began at `begun_at`, so that it may be tried again: it failed before it did anything.
    pub async fn abandon_idempotent(&self, key: &IdempotencyKey, begun_at: Timestamp) -> Result<()> {
        let rows = self.write(key.scope()).await?;
        rows.delete::<idempotency_key::Entity>().filter(key.in_progress_since(begun_at)).exec(rows.db()).await?;
        rows.commit().await
    }

    /// Removes at most `rows_max` of the keys that are older than [`IDEMPOTENCY_KEPT`]; gives how many.
    pub async fn purge_idempotency_keys(&self, now: Timestamp, rows_max: u64) -> Result<u64> {
        let rows = self.write(TenantScope::Operator).await?;
        let old = Column::BegunAt.lte(earlier(now, IDEMPOTENCY_KEPT));
        let removed = purge::<idempotency_key::Entity>(&rows, &[Column::Account, Column::Key], old, rows_max).await?;
        rows.commit().await?;
        Ok(removed)
    }
}

impl IdempotencyKey {
    fn scope(&self) -> TenantScope {
        self.tenant.map_or(TenantScope::Operator, TenantScope::Tenant)
    }

    /// What the seal of a kept body covers.
    fn context(&self) -> String {
        format!("idempotency/{}/{}", self.account, self.key)
    }

    fn condition(&self) -> Condition {
        Condition::all().add(Column::Account.eq(&self.account)).add(Column::Key.eq(&self.key))
    }

    fn in_progress_since(&self, begun_at: Timestamp) -> Condition {
        self.condition().add(Column::BegunAt.eq(begun_at.as_micros())).add(Column::Status.is_null())
    }

    fn row(&self, fingerprint: &[u8], now: Timestamp) -> idempotency_key::Model {
        idempotency_key::Model {
            account: self.account.clone(),
            key: self.key.clone(),
            tenant_id: self.tenant.map(TenantId::as_uuid),
            fingerprint: fingerprint.to_vec(),
            begun_at: now.as_micros(),
            status: None,
            headers: None,
            body: None,
        }
    }
}

/// Begins anew what has expired, or was abandoned by a request like this one.
async fn take_over(rows: &Rows, key: &IdempotencyKey, fingerprint: &[u8], now: Timestamp) -> Result<bool> {
    let abandoned = Condition::all()
        .add(Column::Status.is_null())
        .add(Column::Fingerprint.eq(fingerprint))
        .add(Column::BegunAt.lte(earlier(now, IDEMPOTENCY_ABANDONED)));
    let expired = Column::BegunAt.lte(earlier(now, IDEMPOTENCY_KEPT));
    let update = rows
        .update::<idempotency_key::Entity>()
        .set(key.row(fingerprint, now).into_active_model().reset_all())
        .filter(key.condition())
        .filter(Condition::any().add(abandoned).add(expired));
    Ok(update.exec(rows.db()).await?.rows_affected > 0)
}

fn earlier(now: Timestamp, by: Duration) -> i64 {
    now.as_micros().saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
}

impl idempotency_key::Model {
    fn response(self, data_key: &DataKey, key: &IdempotencyKey) -> Result<Idempotent> {
        let (Some(status), Some(headers), Some(body)) = (self.status, self.headers, self.body) else {
            return Ok(Idempotent::InProgress);
        };
        let status = u16::try_from(status).map_err(|_| Error::damaged("status", &self.key, status))?;
        let damaged = || Error::damaged("headers", &self.key, &headers);
        let headers = serde_json::from_value(headers.clone()).map_err(|_| damaged())?;
        let body = data_key.open(&body, &key.context())?.expose_secret().to_owned();
        Ok(Idempotent::Done(KeptResponse { status, headers, body }))
    }
}
