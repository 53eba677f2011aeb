//! How values of other crates look in the API, and what the document says of them.

use std::fmt;
use std::str::FromStr;

use aimg_core::{CallDirection, Timestamp};
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
pub(crate) fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

/// JSON of other crates with its points in time, which are numbers there, as they are shown everywhere: each number whose
/// name ends in `_at`.
pub(crate) fn with_times_shown(mut json: serde_json::Value) -> serde_json::Value {
    show_times(&mut json);
    json
}

fn show_times(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| match value.as_i64() {
            Some(us) if name.ends_with("_at") => *value = Timestamp::from_micros(us).to_string().into(),
            _ => show_times(value),
        }),
        serde_json::Value::Array(values) => values.iter_mut().for_each(show_times),
        _ => {}
    }
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
    CallDirectionSchema as "CallDirection" = [CallDirection::Inbound, CallDirection::Outbound].map(CallDirection::name).into();
    WebhookEventSchema as "WebhookEvent" = aimg_core::WebhookEvent::ALL.iter().map(|e| e.name()).collect();
    DeliveryStateSchema as "DeliveryState" = aimg_store::DeliveryState::ALL.iter().map(|s| s.name()).collect();
    CallStateSchema as "CallState" = aimg_core::CallState::ALL.iter().map(|s| s.name()).collect();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_in_json_are_shown_as_times() {
        let stored = json!({ "opened_at": 1_769_860_800_123_000_i64, "ended_at": null, "caller": [{ "at": 3, "first_packet_at": 0 }] });
        let shown = json!({
            "opened_at": "2026-01-31T12:00:00.123Z",
            "ended_at": null,
            "caller": [{ "at": 3, "first_packet_at": "1970-01-01T00:00:00.000Z" }],
        });
        assert_eq!(with_times_shown(stored), shown);
    }
}
