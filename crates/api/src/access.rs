//! Who may read what concerns all tenants, and under which names the service answers.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, Uri};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Whether a request may read what is the operator's: with a token, whoever shows it; without one, clients on loopback.
pub(crate) fn is_operator(token: Option<&SecretString>, peer: SocketAddr, headers: &HeaderMap) -> bool {
    let Some(token) = token else { return is_loopback(peer.ip()) };
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
    // Hashes, so that the time it takes tells nothing about the token.
    shown.is_some_and(|shown| Sha256::digest(shown) == Sha256::digest(token.expose_secret()))
}

/// What follows `Bearer`.
pub(crate) fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Whether a request names a host under which the service may be addressed.
pub(crate) fn is_host_allowed(allowed: &[String], uri: &Uri, headers: &HeaderMap) -> bool {
    let named = uri.authority().map(|authority| authority.as_str());
    let named = named.or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()));
    let Some(host) = named.map(without_port) else { return false };
    allowed.iter().any(|allowed| match allowed.trim_matches(['[', ']']) {
        "*" => true,
        domain if domain.starts_with('.') => is_in_domain(host, domain),
        name => host.eq_ignore_ascii_case(name),
    })
}

/// Whether a host is the domain after the dot, or below it.
fn is_in_domain(host: &str, dotted: &str) -> bool {
    let (host, dotted) = (host.to_ascii_lowercase(), dotted.to_ascii_lowercase());
    host.ends_with(&dotted) || host == dotted[1..]
}

/// The host of `host`, `host:port`, `[v6]` or `[v6]:port`.
fn without_port(named: &str) -> &str {
    if let Some(rest) = named.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    named.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn without_a_token_loopback_reads_and_with_one_who_shows_it() {
        let token = SecretString::from("hush");
        let (here, there): (SocketAddr, SocketAddr) = ("127.0.0.1:5".parse().unwrap(), "192.0.2.1:5".parse().unwrap());
        let mapped = "[::ffff:127.0.0.1]:5".parse().unwrap();
        let none = HeaderMap::new();
        for (peer, may) in [(here, true), (mapped, true), ("[::1]:5".parse().unwrap(), true), (there, false)] {
            assert_eq!(is_operator(None, peer, &none), may, "{peer}");
            assert!(!is_operator(Some(&token), peer, &none), "{peer}");
        }
        for (value, may) in [
            ("Bearer hush", true),
            ("bearer  hush ", true),
            ("Bearer hus", false),
            ("Bearer hushh", false),
            ("Basic hush", false),
            ("hush", false),
            ("Bearer ", false),
        ] {
            assert_eq!(is_operator(Some(&token), there, &headers(&[("authorization", value)])), may, "{value}");
        }
    }

    #[test]
    fn only_allowed_names_are_answered() {
        let allowed = ["localhost", "127.0.0.1", "::1", ".example"].map(str::to_owned);
        let uri = Uri::from_static("/metrics");
        for (host, may) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("a.example", true),
            ("example:1", true),
            ("badexample", false),
            ("evil.test", false),
            ("", false),
        ] {
            assert_eq!(is_host_allowed(&allowed, &uri, &headers(&[("host", host)])), may, "{host}");
        }
        assert!(!is_host_allowed(&allowed, &uri, &HeaderMap::new()), "a request that names no host");
        assert!(is_host_allowed(&["*".to_owned()], &uri, &headers(&[("host", "evil.test")])));
        let absolute = Uri::from_static("http://evil.test/metrics");
        assert!(!is_host_allowed(&allowed, &absolute, &headers(&[("host", "localhost")])), "the target wins");
    }
}
