//! Table `segments`.

use sea_orm::entity::prelude::*;

use crate::scope::TenantRows;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "segments")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub transcript_id: Uuid,
    pub number: i32,
    pub session_id: Uuid,
    pub tenant_id: Uuid,
    pub speaker: String,
    pub at: i64,
    pub start_ms: i64,
    pub end_ms: i64,
    pub text: String,
    pub terms: String,
    pub confidence: Option<f64>,
    pub words: Option<Json>,
    pub is_final: bool,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TenantRows for Entity {
    const TENANT: Column = Column::TenantId;
}
