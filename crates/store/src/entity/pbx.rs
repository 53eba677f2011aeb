//! Table `pbxs`.

use sea_orm::entity::prelude::*;

use crate::scope::TenantRows;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pbxs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub tenant_id: Option<Uuid>,
    pub name: String,
    pub host: String,
    pub ami_port: i32,
    pub ami_user: String,
    pub ami_secret: Vec<u8>,
    pub ari_url: String,
    pub ari_user: String,
    pub ari_password: Vec<u8>,
    pub ari_app: String,
    pub tap_mode: String,
    pub codec: String,
    pub inbound_contexts: Json,
    pub enabled: bool,
    pub created_at: i64,
    pub ami_tls: Option<Json>,
    pub ari_tls: Option<Json>,
    pub ari_link: String,
    pub changed_at: i64,
    pub version: i32,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TenantRows for Entity {
    const TENANT: Column = Column::TenantId;
}
