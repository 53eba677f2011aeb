//! Table `quotas`.

use sea_orm::entity::prelude::*;

use crate::scope::TenantRows;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "quotas")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: Uuid,
    pub concurrent_sessions: Option<i32>,
    pub storage_bytes: Option<i64>,
    pub requests_per_minute: Option<i32>,
    pub version: i32,
    pub changed_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TenantRows for Entity {
    const TENANT: Column = Column::TenantId;
}
