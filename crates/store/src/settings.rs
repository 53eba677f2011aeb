//! Settings: the value that somebody gave one for the installation or for a tenant, and which of them is in force.
//!
//! What settings there are, and what they can be, is `aimg_core::Setting`.

use aimg_core::{ChangedBy, Setting, TenantId, TenantScope, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ActiveValue, ColumnTrait, Condition, QueryFilter};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::entity::setting::{self, Column};
use crate::error::{Error, Result};
use crate::store::{Store, now};

const WHAT: &str = "setting";

/// Where a value in force comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// It was set for the installation.
    Installation,
    /// It was set for the tenant.
    Tenant,
}

/// A setting as it is in force.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectiveSetting {
    /// Which.
    pub setting: &'static Setting,
    /// Its value; nothing for a secret.
    pub value: Value,
    /// Whether it has a value at all, a secret included.
    pub is_set: bool,
    /// Where it comes from.
    pub origin: Origin,
    /// Grows with each change there; 0 for a default.
    pub version: i32,
    /// When it was changed last, if ever.
    pub changed_at: Option<Timestamp>,
    /// Who changed it last: a user's name, or a key's prefix.
    pub changed_by: Option<String>,
}

impl Store {
    /// All settings as they are in force for a tenant, or for the installation.
    pub async fn settings(&self, scope: TenantScope, of: Option<TenantId>) -> Result<Vec<EffectiveSetting>> {
        reach(scope, of)?;
        let given = self.given(of, None).await?;
        Ok(Setting::ALL.iter().map(|setting| in_force(setting, &given)).collect())
    }

    /// One setting as it is in force for a tenant, or for the installation.
    pub async fn setting(
        &self,
        scope: TenantScope,
        of: Option<TenantId>,
        setting: &'static Setting,
    ) -> Result<EffectiveSetting> {
        reach(scope, of)?;
        Ok(in_force(setting, &self.given(of, Some(setting)).await?))
    }

    /// The secret in force for a tenant, or for the installation; nothing where nobody set one.
    pub async fn secret_setting(
        &self,
        scope: TenantScope,
        of: Option<TenantId>,
        setting: &'static Setting,
    ) -> Result<Option<SecretString>> {
        reach(scope, of)?;
        let given = self.given(of, Some(setting)).await?;
        let Some(row) = row_in_force(setting, &given) else { return Ok(None) };
        let Some(sealed) = &row.sealed else { return Ok(None) };
        let whose = row.tenant_id.map(TenantId::from_uuid);
        Ok(Some(self.key()?.open(sealed, &context(whose, setting))?))
    }

    /// Gives a setting a value, for a tenant or for the installation. With `expected`, only where the value given there has
    /// this version (0: none is given).
    pub async fn change_setting(
        &self,
        scope: TenantScope,
        of: Option<TenantId>,
        setting: &'static Setting,
        value: Value,
        expected: Option<i32>,
        by: &str,
    ) -> Result<EffectiveSetting> {
        may_change(scope, of, setting)?;
        setting.check(&value)?;
        let (value, sealed) = match (setting.is_secret(), value) {
            (true, Value::String(secret)) => {
                let secret = SecretString::from(secret);
                let sealed = self.key()?.seal(secret.expose_secret(), rand::random(), &context(of, setting));
                (None, Some(sealed))
            }
            (_, value) => (Some(value), None),
        };
        let rows = self.write(scope).await?;
        let found = rows.select::<setting::Entity>().filter(given_to(of, setting)).one(rows.db()).await?;
        let version = found.as_ref().map_or(0, |row| row.version);
        if expected.is_some_and(|expected| expected != version) {
            return Err(stale(setting));
        }
        if found.is_some() {
            let update = rows
                .update::<setting::Entity>()
                .col_expr(Column::Value, Expr::value(value))
                .col_expr(Column::Sealed, Expr::value(sealed))
                .col_expr(Column::Version, Expr::value(version + 1))
                .col_expr(Column::ChangedAt, Expr::value(now().as_micros()))
                .col_expr(Column::ChangedBy, Expr::value(by))
                .filter(given_to(of, setting))
                .filter(Column::Version.eq(version));
            if update.exec(rows.db()).await?.rows_affected == 0 {
                return Err(stale(setting));
            }
        } else {
            let row = setting::ActiveModel {
                id: ActiveValue::NotSet,
                tenant_id: ActiveValue::Set(of.map(TenantId::as_uuid)),
                key: ActiveValue::Set(setting.key.to_owned()),
                value: ActiveValue::Set(value),
                sealed: ActiveValue::Set(sealed),
                version: ActiveValue::Set(1),
                changed_at: ActiveValue::Set(now().as_micros()),
                changed_by: ActiveValue::Set(by.to_owned()),
            };
            row.insert(rows.db()).await.map_err(|e| match Error::from_write(e, "tenant", whose(of)) {
                Error::Conflict { .. } => stale(setting),
                other => other,
            })?;
        }
        rows.commit().await?;
        self.setting(scope, of, setting).await
    }

    /// Takes the value away that a setting was given for a tenant, or for the installation; it is no error where there was
    /// none. With `expected`, only that version.
    pub async fn reset_setting(
        &self,
        scope: TenantScope,
        of: Option<TenantId>,
        setting: &'static Setting,
        expected: Option<i32>,
    ) -> Result<EffectiveSetting> {
        may_change(scope, of, setting)?;
        let rows = self.write(scope).await?;
        let found = rows.select::<setting::Entity>().filter(given_to(of, setting)).one(rows.db()).await?;
        let version = found.map_or(0, |row| row.version);
        if expected.is_some_and(|expected| expected != version) {
            return Err(stale(setting));
        }
        let delete = rows.delete::<setting::Entity>().filter(given_to(of, setting)).filter(Column::Version.eq(version));
        if delete.exec(rows.db()).await?.rows_affected == 0 && version > 0 {
            return Err(stale(setting));
        }
        rows.commit().await?;
        self.setting(scope, of, setting).await
    }

    /// The values given to the installation and to this tenant. What is given to the installation holds for every tenant,
    /// so it is read as the operator, whoever asks.
    async fn given(&self, of: Option<TenantId>, one: Option<&Setting>) -> Result<Vec<setting::Model>> {
        let rows = self.read(TenantScope::Operator).await?;
        let mut whose = Condition::any().add(Column::TenantId.is_null());
        if let Some(tenant) = of {
            whose = whose.add(Column::TenantId.eq(tenant.as_uuid()));
        }
        let mut query = rows.select::<setting::Entity>().filter(whose);
        if let Some(setting) = one {
            query = query.filter(Column::Key.eq(setting.key));
        }
        Ok(query.all(rows.db()).await?)
    }
}

fn row_in_force<'a>(setting: &Setting, given: &'a [setting::Model]) -> Option<&'a setting::Model> {
    let of_setting = || given.iter().filter(|row| row.key == setting.key);
    of_setting().find(|row| row.tenant_id.is_some()).or_else(|| of_setting().next())
}

fn in_force(setting: &'static Setting, given: &[setting::Model]) -> EffectiveSetting {
    let row = row_in_force(setting, given);
    EffectiveSetting {
        setting,
        value: row.map_or_else(|| setting.default.value(), |row| row.value.clone().unwrap_or(Value::Null)),
        is_set: row.is_some() || !setting.default.value().is_null(),
        origin: row.map_or(Origin::Default, |row| match row.tenant_id {
            Some(_) => Origin::Tenant,
            None => Origin::Installation,
        }),
        version: row.map_or(0, |row| row.version),
        changed_at: row.map(|row| Timestamp::from_micros(row.changed_at)),
        changed_by: row.map(|row| row.changed_by.clone()),
    }
}

fn reach(scope: TenantScope, of: Option<TenantId>) -> Result<()> {
    match of {
        Some(tenant) if scope.reaches(tenant) => Ok(()),
        Some(tenant) => Err(Error::not_found("tenant", tenant)),
        None if scope == TenantScope::Operator => Ok(()),
        None => Err(Error::OperatorOnly { what: "see or change settings of the installation" }),
    }
}

fn may_change(scope: TenantScope, of: Option<TenantId>, setting: &Setting) -> Result<()> {
    reach(scope, of)?;
    match (setting.changed_by, scope) {
        (ChangedBy::Tenant, _) | (ChangedBy::Installation, TenantScope::Operator) => Ok(()),
        (ChangedBy::Installation, TenantScope::Tenant(_)) => Err(Error::OperatorOnly { what: "change this setting" }),
    }
}

fn given_to(of: Option<TenantId>, setting: &Setting) -> Condition {
    let whose = of.map_or_else(|| Column::TenantId.is_null(), |tenant| Column::TenantId.eq(tenant.as_uuid()));
    Condition::all().add(whose).add(Column::Key.eq(setting.key))
}

fn whose(of: Option<TenantId>) -> String {
    of.map_or_else(|| "installation".to_owned(), |tenant| tenant.to_string())
}

fn stale(setting: &Setting) -> Error {
    Error::Stale { what: WHAT, id: setting.key.to_owned() }
}

/// A sealed value opens for the setting and the tenant that it was sealed for, and for no other.
fn context(of: Option<TenantId>, setting: &Setting) -> String {
    format!("setting/{}/tenant/{}", setting.key, whose(of))
}
