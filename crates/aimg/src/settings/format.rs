//! How the texts of settings become values; `None` is a text that is not allowed.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use aimg_core::NodeId;
use aimg_outbound::Network;
use aimg_speech::riva::Address;
use aimg_speech::voice::{OUTPUT, is_voice};
use aimg_speech::websocket::Preset;
use aimg_store::PostgresPlace;
use secrecy::SecretString;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::LogFormat;

/// A flag as Python, TOML and shells write it.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A number within `allowed`.
pub(super) fn count<T: FromStr + PartialOrd>(text: &str, allowed: RangeInclusive<T>) -> Option<T> {
    text.parse().ok().filter(|n| allowed.contains(n))
}

/// An address with a port, or `off`.
pub(super) fn address_or_off(text: &str) -> Option<Option<SocketAddr>> {
    if text == "off" { Some(None) } else { text.parse().ok().map(Some) }
}

/// A path; the empty one names nothing.
pub(super) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// A file; the empty text stands for none.
pub(super) fn file(text: &str) -> Option<Option<PathBuf>> {
    Some(path(text))
}

/// An address with its port; the empty text stands for none.
pub(super) fn socket(text: &str) -> Option<Option<SocketAddr>> {
    if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
}

/// A path, or `none`.
pub(super) fn path_or_none(text: &str) -> Option<Option<PathBuf>> {
    if text == "none" { Some(None) } else { path(text).map(Some) }
}

/// Any text.
pub(super) fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// Any text; the empty one stands for none.
pub(super) fn optional(text: &str) -> Option<Option<String>> {
    Some((!text.is_empty()).then(|| text.to_owned()))
}

/// Some text.
pub(super) fn named(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.to_owned())
}

/// Some text, or `none`.
pub(super) fn text_or_none(text: &str) -> Option<Option<String>> {
    if text == "none" { Some(None) } else { named(text).map(Some) }
}

/// An address of the web; the empty text stands for none. It is shown, so it holds no password.
pub(super) fn web_address(text: &str) -> Option<Option<Url>> {
    let is_open = |url: &Url| url.username().is_empty() && url.password().is_none();
    let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && is_open(url);
    if text.is_empty() { Some(None) } else { text.parse().ok().filter(is_web).map(Some) }
}

/// A service that recognises over a WebSocket; the empty text stands for none.
pub(super) fn websocket_service(text: &str) -> Option<Option<Preset>> {
    if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
}

/// The arguments of a program that speaks.
pub(super) fn arguments(text: &str) -> Option<Vec<String>> {
    text.contains(OUTPUT).then(|| text.split(',').map(|argument| argument.trim().to_owned()).collect())
}

/// The name of a program's voice.
pub(super) fn voice(text: &str) -> Option<String> {
    is_voice(text).then(|| text.to_owned())
}

/// The address of a PostgreSQL database; the empty text stands for none.
pub(super) fn postgres_url(text: &str) -> Option<Option<PostgresPlace>> {
    if text.is_empty() { Some(None) } else { PostgresPlace::from_url(text).map(Some) }
}

/// A secret; the empty text stands for none.
pub(super) fn secret(text: &str) -> Option<Option<SecretString>> {
    Some((!text.is_empty()).then(|| SecretString::from(text)))
}

/// A node's name; the empty text stands for the one in the data directory.
pub(super) fn node(text: &str) -> Option<Option<NodeId>> {
    if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
}

/// Hosts between commas: names, addresses, a name with a dot in front for its subdomains, or `*` for all.
pub(super) fn hosts(text: &str) -> Option<Vec<String>> {
    let is_host = |host: &&str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']' | b'_');
        *host == "*" || (!host.is_empty() && host.bytes().all(inner))
    };
    let hosts: Vec<&str> = text.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
    hosts.iter().all(is_host).then(|| hosts.into_iter().map(str::to_owned).collect())
}

/// Hosts between commas, each of them named.
pub(super) fn host_list(text: &str) -> Option<Vec<String>> {
    hosts(text).filter(|hosts| hosts.iter().all(|host| host != "*" && !host.starts_with('.')))
}

/// Addresses separated by commas.
pub(super) fn addresses(text: &str) -> Option<Vec<IpAddr>> {
    text.split(',').map(str::trim).filter(|address| !address.is_empty()).map(|address| address.parse().ok()).collect()
}

/// Networks separated by commas.
pub(super) fn networks(text: &str) -> Option<Vec<Network>> {
    text.split(',').map(str::trim).filter(|network| !network.is_empty()).map(|network| network.parse().ok()).collect()
}

/// Where a Riva server is; the empty text stands for none.
pub(super) fn riva_address(text: &str) -> Option<Option<Address>> {
    if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
}

/// Seconds, with or without a fraction: 0.1 to 3600.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    count(text, 0.1..=3_600.0).map(Duration::from_secs_f64)
}

/// Directives that tracing understands.
pub(super) fn log_filter(text: &str) -> Option<String> {
    EnvFilter::try_new(text).is_ok().then(|| text.to_owned())
}

/// `text` or `json`.
pub(super) fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}
