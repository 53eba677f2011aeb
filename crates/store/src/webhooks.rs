//! Webhooks: which addresses a tenant wants to be told at, of what, and how the messages are signed.

use aimg_core::{DataKey, TenantId, TenantScope, Timestamp, WebhookEvent, WebhookId};
use sea_orm::{ActiveModelTrait, ColumnTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::entity::webhook;
use crate::error::{Error, Result};
use crate::scope::Rows;
use crate::store::{Store, now};
use crate::users::check_reach;

const WHAT: &str = "webhook";
/// Webhooks of one tenant.
pub const WEBHOOKS_MAX: u64 = 20;

/// An address that is told what happens, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where messages go.
    pub url: String,
    /// What people say it is for.
    pub description: String,
    /// What it is told of.
    pub events: Vec<WebhookEvent>,
    /// Whether it is told anything.
    pub enabled: bool,
    /// Why it is not, where nobody has chosen so.
    pub disabled_reason: Option<String>,
    /// Since when no message has arrived, if the last one did not.
    pub failing_since: Option<Timestamp>,
    /// Until when messages are signed with the secret before this one as well.
    pub old_secret_until: Option<Timestamp>,
    /// Grows with each change that people make.
    pub version: i32,
    /// When it was added.
    pub created_at: Timestamp,
    /// When people last changed it.
    pub changed_at: Timestamp,
}

/// A webhook to be added; the fields are those of [`Webhook`], and its secret.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are documented at Webhook")]
pub struct NewWebhook {
    pub tenant: TenantId,
    pub url: String,
    pub description: String,
    pub events: Vec<WebhookEvent>,
    pub secret: SecretString,
}

/// What is to be different about a webhook; what is nothing stays. The fields are those of [`Webhook`].
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields are documented at Webhook")]
pub struct WebhookChange {
    pub url: Option<String>,
    pub description: Option<String>,
    pub events: Option<Vec<WebhookEvent>>,
    pub enabled: Option<bool>,
}

/// A column that holds a sealed secret; its name is part of what the seal covers.
#[derive(Clone, Copy)]
enum SecretColumn {
    Secret,
    OldSecret,
}

impl Store {
    /// Adds a webhook, enabled, and seals its secret. [`Error::TooMany`] when the tenant has [`WEBHOOKS_MAX`].
    pub async fn add_webhook(&self, scope: TenantScope, new: NewWebhook) -> Result<Webhook> {
        check_reach(scope, Some(new.tenant), WHAT)?;
        let (id, key, at) = (WebhookId::from_uuid(Uuid::now_v7()), self.key()?, now().as_micros());
        let row = webhook::Model {
            id: id.as_uuid(),
            tenant_id: new.tenant.as_uuid(),
            secret: seal(key, &new.secret, SecretColumn::Secret, new.tenant, id),
            url: new.url,
            description: new.description,
            events: json!(new.events),
            old_secret: None,
            old_secret_until: None,
            enabled: true,
            disabled_reason: None,
            failing_since: None,
            version: 1,
            created_at: at,
            changed_at: at,
        };
        let rows = self.write(scope).await?;
        let of_tenant = rows.select::<webhook::Entity>().filter(webhook::Column::TenantId.eq(row.tenant_id));
        if of_tenant.count(rows.db()).await? >= WEBHOOKS_MAX {
            return Err(Error::TooMany { what: "webhooks", max: WEBHOOKS_MAX });
        }
        let insert = row.clone().into_active_model().insert(rows.db()).await;
        insert.map_err(|e| Error::from_write(e, "tenant", new.tenant))?;
        rows.commit().await?;
        row.try_into()
    }

    /// The webhooks in reach, newest first: those older than `before`, at most `limit`; of one tenant, for an operator who
    /// names it.
    pub async fn webhooks(
        &self,
        scope: TenantScope,
        tenant: Option<TenantId>,
        before: Option<WebhookId>,
        limit: u64,
    ) -> Result<Vec<Webhook>> {
        let rows = self.read(scope).await?;
        let mut query = rows.select::<webhook::Entity>().order_by_desc(webhook::Column::Id).limit(limit);
        if let Some(tenant) = tenant {
            query = query.filter(webhook::Column::TenantId.eq(tenant.as_uuid()));
        }
        if let Some(before) = before {
            query = query.filter(webhook::Column::Id.lt(before.as_uuid()));
        }
        query.all(rows.db()).await?.into_iter().map(Webhook::try_from).collect()
    }

    /// The webhook with this id.
    pub async fn webhook(&self, scope: TenantScope, id: WebhookId) -> Result<Webhook> {
        row(&self.read(scope).await?, id).await?.try_into()
    }

    /// The secrets by which messages of a webhook are signed at `now`: its own, and for a while the one before.
    pub async fn webhook_secrets(
        &self,
        scope: TenantScope,
        id: WebhookId,
        now: Timestamp,
    ) -> Result<Vec<SecretString>> {
        secrets_of(self.key()?, &row(&self.read(scope).await?, id).await?, now)
    }

    /// Changes a webhook, unless somebody else did after `version` was read: [`Error::Stale`] then. One that is enabled or
    /// gets another address begins anew: it has not failed yet.
    pub async fn change_webhook(
        &self,
        scope: TenantScope,
        id: WebhookId,
        version: Option<i32>,
        change: WebhookChange,
    ) -> Result<Webhook> {
        let begins_anew = change.enabled == Some(true) || change.url.is_some();
        let changed = self.update_webhook(scope, id, version, |row| {
            row.url = change.url.unwrap_or_else(|| row.url.clone());
            row.description = change.description.unwrap_or_else(|| row.description.clone());
            row.events = change.events.map_or_else(|| row.events.clone(), |events| json!(events));
            row.enabled = change.enabled.unwrap_or(row.enabled);
            if begins_anew {
                row.failing_since = None;
            }
            if change.enabled.is_some() {
                row.disabled_reason = None;
            }
            Ok(())
        });
        let changed = changed.await?;
        self.ring();
        Ok(changed)
    }

    /// Gives a webhook another secret. Until `old_until` messages are signed with the old one as well.
    pub async fn rotate_webhook_secret(
        &self,
        scope: TenantScope,
        id: WebhookId,
        version: Option<i32>,
        secret: SecretString,
        old_until: Timestamp,
    ) -> Result<Webhook> {
        let key = self.key()?;
        let rotated = self.update_webhook(scope, id, version, |row| {
            let tenant = TenantId::from_uuid(row.tenant_id);
            let old = key.open(&row.secret, &SecretColumn::Secret.context(tenant, id))?;
            row.old_secret = Some(seal(key, &old, SecretColumn::OldSecret, tenant, id));
            row.old_secret_until = Some(old_until.as_micros());
            row.secret = seal(key, &secret, SecretColumn::Secret, tenant, id);
            Ok(())
        });
        rotated.await
    }

    async fn update_webhook(
        &self,
        scope: TenantScope,
        id: WebhookId,
        version: Option<i32>,
        change: impl FnOnce(&mut webhook::Model) -> Result<()>,
    ) -> Result<Webhook> {
        let rows = self.write(scope).await?;
        let mut webhook = row(&rows, id).await?;
        let read_version = webhook.version;
        let stale = || Error::Stale { what: WHAT, id: id.to_string() };
        if version.is_some_and(|version| version != read_version) {
            return Err(stale());
        }
        change(&mut webhook)?;
        webhook.version += 1;
        webhook.changed_at = now().as_micros();
        let update = rows
            .update::<webhook::Entity>()
            .set(webhook.clone().into_active_model().reset_all())
            .filter(webhook::Column::Id.eq(id.as_uuid()))
            // On PostgreSQL another transaction may have been between our look and now.
            .filter(webhook::Column::Version.eq(read_version));
        if update.exec(rows.db()).await?.rows_affected == 0 {
            return Err(stale());
        }
        rows.commit().await?;
        webhook.try_into()
    }

    /// Removes a webhook, and with it its deliveries.
    pub async fn remove_webhook(&self, scope: TenantScope, id: WebhookId) -> Result<()> {
        let rows = self.write(scope).await?;
        let delete = rows.delete::<webhook::Entity>().filter(webhook::Column::Id.eq(id.as_uuid()));
        if delete.exec(rows.db()).await?.rows_affected == 0 {
            return Err(Error::not_found(WHAT, id));
        }
        rows.commit().await
    }
}

pub(crate) async fn row(rows: &Rows, id: WebhookId) -> Result<webhook::Model> {
    let query = rows.select::<webhook::Entity>().filter(webhook::Column::Id.eq(id.as_uuid()));
    query.one(rows.db()).await?.ok_or_else(|| Error::not_found(WHAT, id))
}

/// The secrets that are good at `now`, opened.
pub(crate) fn secrets_of(key: &DataKey, row: &webhook::Model, now: Timestamp) -> Result<Vec<SecretString>> {
    let (tenant, id) = (TenantId::from_uuid(row.tenant_id), WebhookId::from_uuid(row.id));
    let mut secrets = vec![key.open(&row.secret, &SecretColumn::Secret.context(tenant, id))?];
    if let Some(old) = row.old_secret.as_ref().filter(|_| row.old_secret_until > Some(now.as_micros())) {
        secrets.push(key.open(old, &SecretColumn::OldSecret.context(tenant, id))?);
    }
    Ok(secrets)
}

fn seal(key: &DataKey, secret: &SecretString, column: SecretColumn, tenant: TenantId, id: WebhookId) -> Vec<u8> {
    key.seal(secret.expose_secret(), rand::random(), &column.context(tenant, id))
}

impl SecretColumn {
    /// A sealed value opens in the row and column, and for the tenant, that it was sealed for, and nowhere else.
    fn context(self, tenant: TenantId, webhook: WebhookId) -> String {
        let column = match self {
            Self::Secret => "secret",
            Self::OldSecret => "old_secret",
        };
        format!("webhook/{webhook}/tenant/{tenant}/{column}")
    }
}

impl TryFrom<webhook::Model> for Webhook {
    type Error = Error;

    fn try_from(row: webhook::Model) -> Result<Self> {
        let id = WebhookId::from_uuid(row.id);
        let events = serde_json::from_value(row.events.clone());
        Ok(Self {
            id,
            tenant: TenantId::from_uuid(row.tenant_id),
            url: row.url,
            description: row.description,
            events: events.map_err(|_| Error::damaged("events", id, row.events))?,
            enabled: row.enabled,
            disabled_reason: row.disabled_reason,
            failing_since: row.failing_since.map(Timestamp::from_micros),
            old_secret_until: row.old_secret_until.map(Timestamp::from_micros),
            version: row.version,
            created_at: Timestamp::from_micros(row.created_at),
            changed_at: Timestamp::from_micros(row.changed_at),
        })
    }
}
