//! How values of other crates look in the API, and what the document says of them.

use std::fmt;
use std::str::FromStr;

use aimg_core::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

/// A point in time as RFC 3339, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00.000Z")]
pub(crate) struct Time(pub(crate) Timestamp);

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer).map(Self)
    }
}

/// A text that is read by [`FromStr`].
fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

macro_rules! name_schemas {
    ($($schema:ident as $name:literal = $names:expr;)*) => {
        $(#[doc = concat!("The names of a `", $name, "`, taken from its own list.")]
        pub(crate) struct $schema;

        impl utoipa::PartialSchema for $schema {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let names: Vec<&'static str> = $names;
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .enum_values(Some(names))
                    .build()
                    .into()
            }
        }

        impl ToSchema for $schema {
            fn name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
        })*
    };
}

name_schemas! {
    RoleSchema as "Role" = aimg_core::Role::ALL.iter().map(|r| r.name()).collect();
    PermissionSchema as "Permission" = aimg_core::Permission::ALL.iter().map(|p| p.name()).collect();
    CallStateSchema as "CallState" = aimg_core::CallState::ALL.iter().map(|s| s.name()).collect();
}
