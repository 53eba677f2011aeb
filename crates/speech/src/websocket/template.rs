//! Texts in which `{name}` stands for something.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use url::form_urlencoded::byte_serialize;

const NAMES: [&str; 8] = ["key", "model", "language", "rate", "interim", "boosts", "boost", "audio"];

/// What may stand in a template.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values<'a> {
    pub(super) key: &'a str,
    pub(super) model: &'a str,
    pub(super) language: &'a str,
    pub(super) rate_hz: u32,
    pub(super) interim: bool,
    pub(super) boosts: &'a [&'a str],
    pub(super) custom: &'a [(&'a str, &'a str)],
}

impl Values<'_> {
    /// What a name stands for; empty where that is not known.
    fn of(&self, name: &str) -> String {
        match name {
            "key" => self.key.to_owned(),
            "model" => self.model.to_owned(),
            "language" => self.language.to_owned(),
            "rate" => self.rate_hz.to_string(),
            "interim" => self.interim.to_string(),
            "boosts" if !self.boosts.is_empty() => json!(self.boosts).to_string(),
            _ => String::new(),
        }
    }
}

/// The address: values are escaped, pairs of the query without a value left out.
pub(super) fn address(template: &str, values: &Values<'_>) -> String {
    let escaped = |value: &str| byte_serialize(value.as_bytes()).collect::<String>().replace('+', "%20");
    let (path, query) = template.split_once('?').unwrap_or((template, ""));
    let mut address = fill(path, |name| escaped(&values.of(name)));
    let mut separator = '?';
    let mut add = |pair: &str| {
        address.push(separator);
        address.push_str(pair);
        separator = '&';
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if pair.contains("{boost}") {
            for phrase in values.boosts {
                add(&fill(pair, |name| escaped(&if name == "boost" { (*phrase).to_owned() } else { values.of(name) })));
            }
            continue;
        }
        let mut is_known = true;
        let filled = fill(pair, |name| {
            let value = values.of(name);
            is_known &= !value.is_empty();
            escaped(&value)
        });
        if is_known {
            add(&filled);
        }
    }
    for (name, value) in values.custom {
        add(&format!("{}={}", escaped(name), escaped(value)));
    }
    address
}

/// A header's value.
pub(super) fn header(template: &str, values: &Values<'_>) -> String {
    fill(template, |name| values.of(name))
}

/// A message in JSON: values stand within quotes, but for numbers, `{interim}` and `{boosts}`.
pub(super) fn message(template: &str, values: &Values<'_>) -> String {
    fill(template, |name| match name {
        "boosts" if values.boosts.is_empty() => "[]".to_owned(),
        "boosts" => values.of(name),
        _ => {
            let quoted = json!(values.of(name)).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
    })
}

/// A message with audio in it.
pub(super) fn audio(template: &str, audio: &[u8]) -> String {
    fill(template, |name| if name == "audio" { STANDARD.encode(audio) } else { String::new() })
}

/// In one go, so that no value is taken for a template.
fn fill(template: &str, mut value: impl FnMut(&str) -> String) -> String {
    let (mut filled, mut rest) = (String::with_capacity(template.len()), template);
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        match after.split_once('}').filter(|(name, _)| NAMES.contains(name)) {
            Some((name, after)) => {
                filled.push_str(&value(name));
                rest = after;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_leave_out_what_is_not_known() {
        let template = "wss://host/{model}/x?a=1&language={language}&k={boost}&all={boosts}&rate={rate}";
        let values = Values { model: "a b/c", rate_hz: 8_000, ..Values::default() };
        assert_eq!(address(template, &values), "wss://host/a%20b%2Fc/x?a=1&rate=8000");
        let values = Values { boosts: &["x y", "z&"], language: "de", custom: &[("t", "1&2")], ..values };
        assert_eq!(
            address(template, &values),
            "wss://host/a%20b%2Fc/x?a=1&language=de&k=x%20y&k=z%26&all=%5B%22x%20y%22%2C%22z%26%22%5D&rate=8000&t=1%262"
        );
    }

    #[test]
    fn messages_stay_json_and_values_are_no_templates() {
        let values = Values { key: "geheim", model: "{key}\"\\", rate_hz: 16_000, interim: true, ..Values::default() };
        let filled = message(r#"{"m":"{model}","r":{rate},"i":{interim},"b":{boosts},"{x}":{}}"#, &values);
        let read: serde_json::Value = serde_json::from_str(&filled).unwrap();
        assert_eq!(read, json!({ "m": "{key}\"\\", "r": 16_000, "i": true, "b": [], "{x}": {} }));
        assert_eq!(header("Token {key}", &values), "Token geheim");
        assert_eq!(audio(r#"{"audio":"{audio}"}"#, &[1, 0, 255]), r#"{"audio":"AQD/"}"#);
    }
}
