//! Refresh tokens: each is used once, for the next one of its family. One that is used again was stolen, from the user or by
//! the user's thief, and its whole family is revoked.
//!
//! Only their hashes are here. They are looked up before anybody's scope is known, so these functions take none.

use aimg_core::{TenantId, TenantScope, Timestamp, UserId};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, Condition, IntoActiveModel, QueryFilter};
use uuid::Uuid;

use crate::entity::{refresh_token, user};
use crate::error::Result;
use crate::purge::purge;
use crate::scope::Rows;
use crate::store::Store;
use crate::users::User;

/// A token to be kept.
#[derive(Clone, Debug)]
pub struct NewRefreshToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// Whose it is.
    pub user: UserId,
    /// The user's tenant.
    pub tenant: Option<TenantId>,
    /// When it is made.
    pub created_at: Timestamp,
    /// From when on it is worth nothing.
    pub expires_at: Timestamp,
}

/// What became of a token that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It was good, and the next one is in its place.
    Done(Box<User>),
    /// It was used before: its family is revoked.
    Reused(UserId),
    /// It is unknown, expired or revoked, or its user is not enabled any more.
    Refused,
}

impl Store {
    /// Keeps the first token of a family.
    pub async fn add_refresh_token(&self, new: NewRefreshToken) -> Result<()> {
        let rows = self.write(TenantScope::Operator).await?;
        insert(&rows, Uuid::now_v7(), new).await?;
        rows.commit().await
    }

    /// Takes a token, at `now`, for one that `next` hashes to and that is good until `expires_at`.
    pub async fn rotate_refresh_token(
        &self,
        hash: [u8; 32],
        next: [u8; 32],
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Rotation> {
        let rows = self.write(TenantScope::Operator).await?;
        let token = rows.select::<refresh_token::Entity>().filter(refresh_token::Column::Hash.eq(hash.to_vec()));
        let Some(token) = token.one(rows.db()).await? else { return Ok(Rotation::Refused) };
        let user_id = UserId::from_uuid(token.user_id);
        if token.revoked || token.expires_at <= now.as_micros() {
            return Ok(Rotation::Refused);
        }
        let take = rows
            .update::<refresh_token::Entity>()
            .col_expr(refresh_token::Column::UsedAt, Expr::value(now.as_micros()))
            .filter(refresh_token::Column::Hash.eq(hash.to_vec()))
            .filter(refresh_token::Column::UsedAt.is_null());
        // On PostgreSQL another one may take it between our look and now: that is a second use as well.
        if token.used_at.is_some() || take.exec(rows.db()).await?.rows_affected == 0 {
            revoke(&rows, refresh_token::Column::Family.eq(token.family).into()).await?;
            rows.commit().await?;
            return Ok(Rotation::Reused(user_id));
        }
        let user = rows.select::<user::Entity>().filter(user::Column::Id.eq(token.user_id)).one(rows.db()).await?;
        let Some(user) = user.filter(|user| user.enabled) else { return Ok(Rotation::Refused) };
        let tenant = user.tenant_id.map(TenantId::from_uuid);
        insert(&rows, token.family, NewRefreshToken { hash: next, user: user_id, tenant, created_at: now, expires_at })
            .await?;
        rows.commit().await?;
        Ok(Rotation::Done(Box::new(user.try_into()?)))
    }

    /// Revokes the family of a token: a log-out.
    pub async fn revoke_refresh_token(&self, hash: [u8; 32]) -> Result<()> {
        let rows = self.write(TenantScope::Operator).await?;
        let token = rows.select::<refresh_token::Entity>().filter(refresh_token::Column::Hash.eq(hash.to_vec()));
        if let Some(token) = token.one(rows.db()).await? {
            revoke(&rows, refresh_token::Column::Family.eq(token.family).into()).await?;
        }
        rows.commit().await
    }

    /// Revokes all tokens of a user: after a new password, or a change of role.
    pub async fn revoke_refresh_tokens_of(&self, user: UserId) -> Result<()> {
        let rows = self.write(TenantScope::Operator).await?;
        revoke(&rows, refresh_token::Column::UserId.eq(user.as_uuid()).into()).await?;
        rows.commit().await
    }

    /// Removes at most `rows_max` of those that have expired; gives how many.
    pub async fn purge_refresh_tokens(&self, now: Timestamp, rows_max: u64) -> Result<u64> {
        let rows = self.write(TenantScope::Operator).await?;
        let old = refresh_token::Column::ExpiresAt.lt(now.as_micros());
        let removed = purge::<refresh_token::Entity>(&rows, &[refresh_token::Column::Hash], old, rows_max).await?;
        rows.commit().await?;
        Ok(removed)
    }
}

async fn insert(rows: &Rows, family: Uuid, new: NewRefreshToken) -> Result<()> {
    let row = refresh_token::Model {
        hash: new.hash.to_vec(),
        family,
        user_id: new.user.as_uuid(),
        tenant_id: new.tenant.map(TenantId::as_uuid),
        created_at: new.created_at.as_micros(),
        expires_at: new.expires_at.as_micros(),
        used_at: None,
        revoked: false,
    };
    row.into_active_model().insert(rows.db()).await?;
    Ok(())
}

async fn revoke(rows: &Rows, which: Condition) -> Result<()> {
    let update = rows.update::<refresh_token::Entity>();
    update.col_expr(refresh_token::Column::Revoked, Expr::value(true)).filter(which).exec(rows.db()).await?;
    Ok(())
}
