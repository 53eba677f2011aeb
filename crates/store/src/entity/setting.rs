//! Table `settings`.

use sea_orm::entity::prelude::*;

use crate::scope::TenantRows;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "settings")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub tenant_id: Option<Uuid>,
    pub key: String,
    pub value: Option<Json>,
    pub sealed: Option<Vec<u8>>,
    pub version: i32,
    pub changed_at: i64,
    pub changed_by: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TenantRows for Entity {
    const TENANT: Column = Column::TenantId;
}
