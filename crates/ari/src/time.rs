//! Asterisk's way to write a time: `2026-11-23T12:00:00.123+0000`.

use aimg_core::Timestamp;
use serde::{Deserialize, Deserializer};

/// Reads a time field; an absent or unreadable one is nothing, because no message is worth losing over its time.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use aimg_core::Timestamp;

    #[test]
    fn offsets_without_a_colon_are_understood() {
        for (text, micros) in [
            ("2026-11-23T12:00:00.123+0000", 1_795_435_200_123_000),
            ("2026-11-23T13:00:00.123+0100", 1_795_435_200_123_000),
            ("2026-11-23T04:30:00.123-0730", 1_795_435_200_123_000),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().as_micros(), micros, "{text}");
        }
    }
}
