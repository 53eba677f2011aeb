//! API keys: how programs come. Only their hashes are here, and the prefix by which people tell them apart.

use aimg_core::{ApiKeyId, Permission, Role, TenantId, TenantScope, Timestamp, UserId};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;
use uuid::Uuid;

use crate::entity::api_key;
use crate::error::{Error, Result};
use crate::store::{Store, now};
use crate::users::check_reach;

const WHAT: &str = "API key";

/// A key, without the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose it is; nobody's for one of the installation.
    pub tenant: Option<TenantId>,
    /// What people call it.
    pub name: String,
    /// Its first characters.
    pub prefix: String,
    /// What it may do at most.
    pub role: Role,
    /// What of that it may do; all when there is no list.
    pub permissions: Option<Vec<Permission>>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is worth nothing.
    pub expires_at: Option<Timestamp>,
    /// When it was shown last, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// Since when it is worth nothing.
    pub revoked_at: Option<Timestamp>,
}

/// A key to be added; the fields are those of [`ApiKey`], and the key's SHA-256.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are documented at ApiKey")]
pub struct NewApiKey {
    pub tenant: Option<TenantId>,
    pub name: String,
    pub prefix: String,
    pub hash: [u8; 32],
    pub role: Role,
    pub permissions: Option<Vec<Permission>>,
    pub created_by: Option<UserId>,
    pub expires_at: Option<Timestamp>,
}

/// Which keys a list shows: those that fit every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiKeyFilter {
    /// Of this tenant; for an operator, who sees all.
    pub tenant: Option<TenantId>,
    /// Only those that are older than this one.
    pub before: Option<ApiKeyId>,
    /// At most so many.
    pub limit: Option<u64>,
}

impl Store {
    /// Adds a key.
    pub async fn add_api_key(&self, scope: TenantScope, new: NewApiKey) -> Result<ApiKey> {
        check_reach(scope, new.tenant, &new.name)?;
        if (new.role == Role::SuperAdmin) != new.tenant.is_none() {
            return Err(Error::RoleAndTenant);
        }
        let row = api_key::Model {
            id: Uuid::now_v7(),
            tenant_id: new.tenant.map(TenantId::as_uuid),
            name: new.name.clone(),
            prefix: new.prefix,
            hash: new.hash.to_vec(),
            role: new.role.to_string(),
            permissions: new.permissions.map(|list| list.iter().map(|p| p.name()).collect()),
            created_by: new.created_by.map(UserId::as_uuid),
            created_at: now().as_micros(),
            expires_at: new.expires_at.map(Timestamp::as_micros),
            last_used_at: None,
            revoked_at: None,
        };
        let rows = self.write(scope).await?;
        row.clone().into_active_model().insert(rows.db()).await.map_err(|e| Error::from_write(e, WHAT, new.name))?;
        rows.commit().await?;
        row.try_into()
    }

    /// The keys in reach that `filter` asks for, newest first, revoked ones included.
    pub async fn api_keys(&self, scope: TenantScope, filter: ApiKeyFilter) -> Result<Vec<ApiKey>> {
        let rows = self.read(scope).await?;
        let mut query = rows.select::<api_key::Entity>().order_by_desc(api_key::Column::Id).limit(filter.limit);
        if let Some(tenant) = filter.tenant {
            query = query.filter(api_key::Column::TenantId.eq(tenant.as_uuid()));
        }
        if let Some(before) = filter.before {
            query = query.filter(api_key::Column::Id.lt(before.as_uuid()));
        }
        query.all(rows.db()).await?.into_iter().map(ApiKey::try_from).collect()
    }

    /// The key with this id.
    pub async fn api_key(&self, scope: TenantScope, id: ApiKeyId) -> Result<ApiKey> {
        let rows = self.read(scope).await?;
        let query = rows.select::<api_key::Entity>().filter(api_key::Column::Id.eq(id.as_uuid()));
        query.one(rows.db()).await?.ok_or_else(|| Error::not_found(WHAT, id))?.try_into()
    }

    /// Makes a key worthless, from `at` on; nothing happens to one that is already.
    pub async fn revoke_api_key(&self, scope: TenantScope, id: ApiKeyId, at: Timestamp) -> Result<ApiKey> {
        let rows = self.write(scope).await?;
        let of_id = || api_key::Column::Id.eq(id.as_uuid());
        let update = rows.update::<api_key::Entity>().col_expr(api_key::Column::RevokedAt, Expr::value(at.as_micros()));
        update.filter(of_id()).filter(api_key::Column::RevokedAt.is_null()).exec(rows.db()).await?;
        let key = rows.select::<api_key::Entity>().filter(of_id()).one(rows.db()).await?;
        let key = key.ok_or_else(|| Error::not_found(WHAT, id))?;
        rows.commit().await?;
        key.try_into()
    }

    /// The key that hashes so, revoked or expired ones included. It comes before anybody's scope is known, so it takes none.
    pub async fn api_key_by_hash(&self, hash: [u8; 32]) -> Result<Option<ApiKey>> {
        let rows = self.read(TenantScope::Operator).await?;
        let query = rows.select::<api_key::Entity>().filter(api_key::Column::Hash.eq(hash.to_vec()));
        query.one(rows.db()).await?.map(ApiKey::try_from).transpose()
    }

    /// Notes that a key was shown.
    pub async fn note_api_key_used(&self, id: ApiKeyId, at: Timestamp) -> Result<()> {
        let rows = self.write(TenantScope::Operator).await?;
        let used = rows.update::<api_key::Entity>().col_expr(api_key::Column::LastUsedAt, Expr::value(at.as_micros()));
        used.filter(api_key::Column::Id.eq(id.as_uuid())).exec(rows.db()).await?;
        rows.commit().await
    }
}

impl TryFrom<api_key::Model> for ApiKey {
    type Error = Error;

    fn try_from(row: api_key::Model) -> Result<Self> {
        let id = ApiKeyId::from_uuid(row.id);
        let permissions = row
            .permissions
            .map(|list| serde_json::from_value(list.clone()).map_err(|_| Error::damaged("permissions", id, list)));
        Ok(Self {
            id,
            tenant: row.tenant_id.map(TenantId::from_uuid),
            name: row.name,
            prefix: row.prefix,
            role: row.role.parse().map_err(|_| Error::damaged("role", id, &row.role))?,
            permissions: permissions.transpose()?,
            created_by: row.created_by.map(UserId::from_uuid),
            created_at: Timestamp::from_micros(row.created_at),
            expires_at: row.expires_at.map(Timestamp::from_micros),
            last_used_at: row.last_used_at.map(Timestamp::from_micros),
            revoked_at: row.revoked_at.map(Timestamp::from_micros),
        })
    }
}
