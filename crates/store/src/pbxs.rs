//! PBXs: where an Asterisk is reached, as whom, and how its calls are captured.

use std::fmt;
use std::time::Duration;

use aimg_core::{AriLink, Codec, DataKey, PbxId, TapMode, TenantId, TenantScope, Timestamp, Tls};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveModelTrait, ColumnTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, SqlErr, Value};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::entity::{call_session, pbx};
use crate::error::{Error, Result};
use crate::name;
use crate::store::{Store, now};

const WHAT: &str = "PBX";

/// One Asterisk server, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pbx {
    /// Its id.
    pub id: PbxId,
    /// Whose it is; nothing where several tenants share it, which only the operator may see.
    pub tenant: Option<TenantId>,
    /// Its name, unique on this installation.
    pub name: String,
    /// The host of its AMI.
    pub host: String,
    /// The port of its AMI.
    pub ami_port: u16,
    /// TLS of its AMI, and what makes its certificate good; nothing for none.
    pub ami_tls: Option<Tls>,
    /// The AMI user.
    pub ami_user: String,
    /// The address of its ARI, such as `http://127.0.0.1:8088/ari`.
    pub ari_url: String,
    /// What makes its certificate good, where the address is https.
    pub ari_tls: Tls,
    /// Who opens ARI's event stream.
    pub ari_link: AriLink,
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
    /// When it was last changed, its secrets included; before the first change it is nothing (1970).
    pub changed_at: Timestamp,
    /// Grows with each change.
    pub version: i32,
}

/// Which PBXs a list shows, by name: those that fit every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PbxFilter {
    /// Of this tenant; for an operator, who sees all.
    pub tenant: Option<TenantId>,
    /// Only those whose names come behind this one.
    pub after: Option<String>,
    /// At most so many.
    pub limit: Option<u64>,
}

/// A PBX to be added; the fields are those of [`Pbx`], and its secrets.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are documented at Pbx and PbxSecrets")]
pub struct NewPbx {
    pub tenant: Option<TenantId>,
    pub name: String,
    pub host: String,
    pub ami_port: u16,
    pub ami_tls: Option<Tls>,
    pub ami_user: String,
    pub ami_secret: SecretString,
    pub ari_url: String,
    pub ari_tls: Tls,
    pub ari_link: AriLink,
    pub ari_user: String,
    pub ari_password: SecretString,
    pub ari_app: String,
    pub tap_mode: TapMode,
    pub codec: Codec,
    pub inbound_contexts: Vec<String>,
}

/// What is to be different about a PBX; what is nothing stays. The fields are those of [`Pbx`], and its secrets.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields are documented at Pbx and PbxSecrets")]
pub struct PbxChange {
    pub host: Option<String>,
    pub ami_port: Option<u16>,
    pub ami_tls: Option<Option<Tls>>,
    pub ami_user: Option<String>,
    pub ami_secret: Option<SecretString>,
    pub ari_url: Option<String>,
    pub ari_tls: Option<Tls>,
    pub ari_link: Option<AriLink>,
    pub ari_user: Option<String>,
    pub ari_password: Option<SecretString>,
    pub ari_app: Option<String>,
    pub tap_mode: Option<TapMode>,
    pub codec: Option<Codec>,
    pub inbound_contexts: Option<Vec<String>>,
    pub enabled: Option<bool>,
}

/// What logs us in to a PBX.
#[derive(Clone, Debug)]
pub struct PbxSecrets {
    /// The AMI user's secret.
    pub ami_secret: SecretString,
    /// The ARI user's password.
    pub ari_password: SecretString,
}

/// What a tenant may know of a PBX that its calls name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PbxName {
    /// Its id.
    pub id: PbxId,
    /// Its name.
    pub name: String,
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
                Error::NotFound { .. } => Error::not_found("tenant", row.tenant_id.unwrap_or_default()),
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

    /// The PBXs in reach that `filter` asks for.
    pub async fn pbxs_by(&self, scope: TenantScope, filter: PbxFilter) -> Result<Vec<Pbx>> {
        let rows = self.read(scope).await?;
        let mut query = rows.select::<pbx::Entity>().order_by_asc(pbx::Column::Name).limit(filter.limit);
        if let Some(tenant) = filter.tenant {
            query = query.filter(pbx::Column::TenantId.eq(tenant.as_uuid()));
        }
        if let Some(after) = filter.after {
            query = query.filter(pbx::Column::Name.gt(after));
        }
        query.all(rows.db()).await?.into_iter().map(Pbx::try_from).collect()
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

    /// The names of the PBXs in reach, and of the shared ones that a call in reach names: of these a tenant sees this and no
    /// more, and only once it has had a call there.
    pub async fn pbx_names(&self, scope: TenantScope) -> Result<Vec<PbxName>> {
        // The wall hides the rows of shared PBXs from tenants, credentials and all.
        let pbxs = self.pbxs(TenantScope::Operator).await?;
        let rows = self.read(scope).await?;
        let mut names = Vec::new();
        for pbx in pbxs {
            let seen = match (scope, pbx.tenant) {
                (TenantScope::Operator, _) => true,
                (_, Some(owner)) => scope.reaches(owner),
                (_, None) => {
                    let named = call_session::Column::PbxId.eq(pbx.id.as_uuid());
                    let call = rows.select::<call_session::Entity>().filter(named).limit(1);
                    call.one(rows.db()).await?.is_some()
                }
            };
            if seen {
                names.push(PbxName { id: pbx.id, name: pbx.name });
            }
        }
        Ok(names)
    }

    /// The secrets of a PBX, opened.
    pub async fn pbx_secrets(&self, scope: TenantScope, id: PbxId) -> Result<PbxSecrets> {
        let key = self.key()?;
        let row = self.pbx_row(scope, id).await?;
        let tenant = row.tenant_id.map(TenantId::from_uuid);
        Ok(PbxSecrets {
            ami_secret: key.open(&row.ami_secret, &SecretColumn::AmiSecret.context(tenant, id))?,
            ari_password: key.open(&row.ari_password, &SecretColumn::AriPassword.context(tenant, id))?,
        })
    }

    /// Changes a PBX and seals what is new of its secrets, unless somebody else changed it after `version` was read:
    /// [`Error::Stale`] then. The operator only. A running gateway follows.
    pub async fn change_pbx(
        &self,
        scope: TenantScope,
        id: PbxId,
        version: Option<i32>,
        change: PbxChange,
    ) -> Result<Pbx> {
        if scope != TenantScope::Operator {
            return Err(Error::OperatorOnly { what: "change a PBX" });
        }
        let (before, key) = (self.pbx(scope, id).await?, self.key()?);
        let changed_at = now().max(before.changed_at + Duration::from_micros(1));
        let rows = self.write(scope).await?;
        let mut update = rows.update::<pbx::Entity>().filter(pbx::Column::Id.eq(id.as_uuid()));
        for (column, value) in change.columns(before.tenant, id, key) {
            update = update.col_expr(column, Expr::value(value));
        }
        if let Some(version) = version {
            update = update.filter(pbx::Column::Version.eq(version));
        }
        update = update.col_expr(pbx::Column::ChangedAt, Expr::value(changed_at.as_micros()));
        update = update.col_expr(pbx::Column::Version, Expr::col(pbx::Column::Version).add(1));
        if update.exec(rows.db()).await?.rows_affected == 0 {
            return Err(Error::Stale { what: WHAT, id: id.to_string() });
        }
        rows.commit().await?;
        self.pbx(scope, id).await
    }

    /// Removes a PBX of which no call is stored, unless somebody changed it after `version` was read; the operator only. A
    /// running gateway lets go of it.
    pub async fn remove_pbx(&self, scope: TenantScope, id: PbxId, version: Option<i32>) -> Result<()> {
        if scope != TenantScope::Operator {
            return Err(Error::OperatorOnly { what: "remove a PBX" });
        }
        self.pbx_row(scope, id).await?;
        let rows = self.write(scope).await?;
        let mut delete = rows.delete::<pbx::Entity>().filter(pbx::Column::Id.eq(id.as_uuid()));
        if let Some(version) = version {
            delete = delete.filter(pbx::Column::Version.eq(version));
        }
        let deleted = delete.exec(rows.db()).await.map_err(|e| match e.sql_err() {
            // Of all that names a PBX only its calls stay without it.
            Some(SqlErr::ForeignKeyConstraintViolation(_)) => {
                Error::InUse { what: WHAT, id: id.to_string(), has: "calls".to_owned() }
            }
            _ => e.into(),
        })?;
        if deleted.rows_affected == 0 {
            return Err(Error::Stale { what: WHAT, id: id.to_string() });
        }
        rows.commit().await
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
            tenant_id: self.tenant.map(TenantId::as_uuid),
            ami_secret: seal(&self.ami_secret, SecretColumn::AmiSecret),
            ari_password: seal(&self.ari_password, SecretColumn::AriPassword),
            name: self.name,
            host: self.host,
            ami_port: self.ami_port.into(),
            ami_user: self.ami_user,
            ari_url: self.ari_url,
            ari_user: self.ari_user,
            ari_app: self.ari_app,
            ami_tls: self.ami_tls.map(|tls| json!(tls)),
            ari_tls: Some(json!(self.ari_tls)),
            ari_link: self.ari_link.to_string(),
            tap_mode: self.tap_mode.to_string(),
            codec: self.codec.to_string(),
            inbound_contexts: self.inbound_contexts.into(),
            enabled: true,
            created_at: now().as_micros(),
            changed_at: 0,
            version: 1,
        }
    }
}

impl PbxChange {
    /// The columns that are to be written.
    fn columns(self, tenant: Option<TenantId>, id: PbxId, key: &DataKey) -> Vec<(pbx::Column, Value)> {
        use pbx::Column as C;
        let seal = |secret: SecretString, column: SecretColumn| -> Value {
            key.seal(secret.expose_secret(), rand::random(), &column.context(tenant, id)).into()
        };
        let columns: [(C, Option<Value>); 15] = [
            (C::Host, self.host.map(Value::from)),
            (C::AmiPort, self.ami_port.map(|port| i32::from(port).into())),
            (C::AmiTls, self.ami_tls.map(|tls| tls.map(|tls| json!(tls)).into())),
            (C::AmiUser, self.ami_user.map(Value::from)),
            (C::AmiSecret, self.ami_secret.map(|secret| seal(secret, SecretColumn::AmiSecret))),
            (C::AriUrl, self.ari_url.map(Value::from)),
            (C::AriTls, self.ari_tls.map(|tls| json!(tls).into())),
            (C::AriLink, self.ari_link.map(|link| link.name().into())),
            (C::AriUser, self.ari_user.map(Value::from)),
            (C::AriPassword, self.ari_password.map(|password| seal(password, SecretColumn::AriPassword))),
            (C::AriApp, self.ari_app.map(Value::from)),
            (C::TapMode, self.tap_mode.map(|mode| mode.name().into())),
            (C::Codec, self.codec.map(|codec| codec.to_string().into())),
            (C::InboundContexts, self.inbound_contexts.map(|contexts| json!(contexts).into())),
            (C::Enabled, self.enabled.map(Value::from)),
        ];
        columns.into_iter().filter_map(|(column, value)| Some((column, value?))).collect()
    }
}

impl SecretColumn {
    /// A sealed value opens in the row and column, and for the tenant, that it was sealed for, and nowhere else.
    fn context(self, tenant: Option<TenantId>, pbx: PbxId) -> String {
        match tenant {
            Some(tenant) => format!("pbx/{pbx}/tenant/{tenant}/{self}"),
            None => format!("pbx/{pbx}/shared/{self}"),
        }
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
            tenant: row.tenant_id.map(TenantId::from_uuid),
            ami_port: u16::try_from(row.ami_port).map_err(|_| Error::damaged("ami_port", id, row.ami_port))?,
            tap_mode: row.tap_mode.parse().map_err(|_| Error::damaged("tap_mode", id, row.tap_mode))?,
            codec: row.codec.parse().map_err(|_| Error::damaged("codec", id, row.codec))?,
            inbound_contexts: serde_json::from_value(row.inbound_contexts.clone())
                .map_err(|_| Error::damaged("inbound_contexts", id, row.inbound_contexts))?,
            ami_tls: row.ami_tls.map(|tls| read_tls("ami_tls", id, tls)).transpose()?,
            ari_tls: row.ari_tls.map(|tls| read_tls("ari_tls", id, tls)).transpose()?.unwrap_or_default(),
            ari_link: row.ari_link.parse().map_err(|_| Error::damaged("ari_link", id, row.ari_link))?,
            name: row.name,
            host: row.host,
            ami_user: row.ami_user,
            ari_url: row.ari_url,
            ari_user: row.ari_user,
            ari_app: row.ari_app,
            enabled: row.enabled,
            created_at: Timestamp::from_micros(row.created_at),
            changed_at: Timestamp::from_micros(row.changed_at),
            version: row.version,
        })
    }
}

fn read_tls(column: &'static str, id: PbxId, stored: serde_json::Value) -> Result<Tls> {
    serde_json::from_value(stored.clone()).map_err(|_| Error::damaged(column, id, stored))
}
