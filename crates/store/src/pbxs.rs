//! PBXs: where an Asterisk is reached, as whom, and how its calls are captured.

use std::fmt;

use aimg_core::{Codec, DataKey, PbxId, TapMode, TenantId, TenantScope, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, IntoActiveModel, QueryFilter, QueryOrder};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use uuid::Uuid;

use crate::entity::pbx;
use crate::error::{Error, Result};
use crate::name;
use crate::store::{Store, now};

const WHAT: &str = "PBX";

/// One Asterisk server, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pbx {
    /// Its id.
    pub id: PbxId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name, unique on this installation.
    pub name: String,
    /// The host of its AMI.
    pub host: String,
    /// The port of its AMI.
    pub ami_port: u16,
    /// The AMI user.
    pub ami_user: String,
    /// The address of its ARI, such as `http://127.0.0.1:8088/ari`.
    pub ari_url: String,
    /// The ARI user.
    pub ari_user: String,
    /// The Stasis application that we register.
    pub ari_app: String,
    /// How its calls are captured.
    pub tap_mode: TapMode,
    /// In which encoding its calls come to us.
    pub codec: Codec,
    /// The dialplan contexts through which calls come in from outside.
    pub inbound_contexts: Vec<String>,
    /// Whether we connect to it.
    pub enabled: bool,
    /// When it was added.
    pub created_at: Timestamp,
}

/// A PBX to be added; the fields are those of [`Pbx`], and its secrets.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are documented at Pbx and PbxSecrets")]
pub struct NewPbx {
    pub tenant: TenantId,
    pub name: String,
    pub host: String,
    pub ami_port: u16,
    pub ami_user: String,
    pub ami_secret: SecretString,
    pub ari_url: String,
    pub ari_user: String,
    pub ari_password: SecretString,
    pub ari_app: String,
    pub tap_mode: TapMode,
    pub codec: Codec,
    pub inbound_contexts: Vec<String>,
}

/// What logs us in to a PBX.
#[derive(Clone, Debug)]
pub struct PbxSecrets {
    /// The AMI user's secret.
    pub ami_secret: SecretString,
    /// The ARI user's password.
    pub ari_password: SecretString,
}

/// A column that holds a sealed secret; its name is part of what the seal covers.
#[derive(Clone, Copy)]
enum SecretColumn {
    AmiSecret,
    AriPassword,
}

impl Store {
    /// Adds a PBX, enabled, and seals its secrets; the operator only.
    pub async fn add_pbx(&self, scope: TenantScope, new: NewPbx) -> Result<Pbx> {
        if scope != TenantScope::Operator {
            return Err(Error::OperatorOnly { what: "add a PBX" });
        }
        name::check(&new.name)?;
        let (id, name) = (PbxId::from_uuid(Uuid::now_v7()), new.name.clone());
        let row = new.seal(id, self.key()?);
        let rows = self.write(scope).await?;
        row.clone()
            .into_active_model()
            .insert(rows.db())
            .await
            // The only parent of a PBX is its tenant.
            .map_err(|e| match Error::from_write(e, WHAT, name) {
                Error::NotFound { .. } => Error::not_found("tenant", TenantId::from_uuid(row.tenant_id)),
                other => other,
            })?;
        rows.commit().await?;
        row.try_into()
    }

    /// The PBXs in reach, by name.
    pub async fn pbxs(&self, scope: TenantScope) -> Result<Vec<Pbx>> {
        let rows = self.read(scope).await?;
        let found = rows.select::<pbx::Entity>().order_by_asc(pbx::Column::Name).all(rows.db()).await?;
        found.into_iter().map(Pbx::try_from).collect()
    }

    /// The PBX with this id.
    pub async fn pbx(&self, scope: TenantScope, id: PbxId) -> Result<Pbx> {
        self.pbx_row(scope, id).await?.try_into()
    }

    /// The PBX of this name.
    pub async fn pbx_by_name(&self, scope: TenantScope, name: &str) -> Result<Pbx> {
        let rows = self.read(scope).await?;
        let query = rows.select::<pbx::Entity>().filter(pbx::Column::Name.eq(name));
        query.one(rows.db()).await?.ok_or_else(|| Error::not_found(WHAT, name))?.try_into()
    }

    /// The secrets of a PBX, opened.
    pub async fn pbx_secrets(&self, scope: TenantScope, id: PbxId) -> Result<PbxSecrets> {
        let key = self.key()?;
        let row = self.pbx_row(scope, id).await?;
        let tenant = TenantId::from_uuid(row.tenant_id);
        Ok(PbxSecrets {
            ami_secret: key.open(&row.ami_secret, &SecretColumn::AmiSecret.context(tenant, id))?,
            ari_password: key.open(&row.ari_password, &SecretColumn::AriPassword.context(tenant, id))?,
        })
    }

    /// Enables or disables a PBX: whether we connect to it.
    pub async fn set_pbx_enabled(&self, scope: TenantScope, id: PbxId, enabled: bool) -> Result<()> {
        let rows = self.write(scope).await?;
        let update = rows
            .update::<pbx::Entity>()
            .col_expr(pbx::Column::Enabled, Expr::value(enabled))
            .filter(pbx::Column::Id.eq(id.as_uuid()));
        match update.exec(rows.db()).await?.rows_affected {
            0 => Err(Error::not_found(WHAT, id)),
            _ => rows.commit().await,
        }
    }

    async fn pbx_row(&self, scope: TenantScope, id: PbxId) -> Result<pbx::Model> {
        let rows = self.read(scope).await?;
        let query = rows.select::<pbx::Entity>().filter(pbx::Column::Id.eq(id.as_uuid()));
        query.one(rows.db()).await?.ok_or_else(|| Error::not_found(WHAT, id))
    }
}

impl NewPbx {
    fn seal(self, id: PbxId, key: &DataKey) -> pbx::Model {
        let seal = |secret: &SecretString, column: SecretColumn| {
            key.seal(secret.expose_secret(), rand::random(), &column.context(self.tenant, id))
        };
        pbx::Model {
            id: id.as_uuid(),
            tenant_id: self.tenant.as_uuid(),
            ami_secret: seal(&self.ami_secret, SecretColumn::AmiSecret),
            ari_password: seal(&self.ari_password, SecretColumn::AriPassword),
            name: self.name,
            host: self.host,
            ami_port: self.ami_port.into(),
            ami_user: self.ami_user,
            ari_url: self.ari_url,
            ari_user: self.ari_user,
            ari_app: self.ari_app,
            tap_mode: self.tap_mode.to_string(),
            codec: self.codec.to_string(),
            inbound_contexts: self.inbound_contexts.into(),
            enabled: true,
            created_at: now().as_micros(),
        }
    }
}

impl SecretColumn {
    /// A sealed value opens in the row and column, and for the tenant, that it was sealed for, and nowhere else.
    fn context(self, tenant: TenantId, pbx: PbxId) -> String {
        format!("pbx/{pbx}/tenant/{tenant}/{self}")
    }
}

impl fmt::Display for SecretColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AmiSecret => "ami_secret",
            Self::AriPassword => "ari_password",
        })
    }
}

impl TryFrom<pbx::Model> for Pbx {
    type Error = Error;

    fn try_from(row: pbx::Model) -> Result<Self> {
        let id = PbxId::from_uuid(row.id);
        Ok(Self {
            id,
            tenant: TenantId::from_uuid(row.tenant_id),
            ami_port: u16::try_from(row.ami_port).map_err(|_| Error::damaged("ami_port", id, row.ami_port))?,
            tap_mode: row.tap_mode.parse().map_err(|_| Error::damaged("tap_mode", id, row.tap_mode))?,
            codec: row.codec.parse().map_err(|_| Error::damaged("codec", id, row.codec))?,
            inbound_contexts: serde_json::from_value(row.inbound_contexts.clone())
                .map_err(|_| Error::damaged("inbound_contexts", id, row.inbound_contexts))?,
            name: row.name,
            host: row.host,
            ami_user: row.ami_user,
            ari_url: row.ari_url,
            ari_user: row.ari_user,
            ari_app: row.ari_app,
            enabled: row.enabled,
            created_at: Timestamp::from_micros(row.created_at),
        })
    }
}
