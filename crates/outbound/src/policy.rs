//! Which addresses may be reached.

use std::net::IpAddr;

use url::{Host, Url};

use crate::network::{Network, is_public};

/// The longest address that is taken.
const URL_CHARS_MAX: usize = 2_048;

/// Why an address is refused. None of them tells what a name resolves to: that is not for everybody to know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is none.
    #[error("this is no address such as https://example.org/hook: {0}")]
    NotAnAddress(String),
    /// Neither https nor http.
    #[error("`{0}:` is not possible; use https")]
    Scheme(String),
    /// Not encrypted, where that is not allowed.
    #[error("http is not encrypted and not allowed here; use https")]
    NotEncrypted,
    /// User name or password in the address.
    #[error("user name and password do not belong into the address; leave them out")]
    UserInfo,
    /// An address of a private network, of this machine or of nobody.
    #[error("{0} is no public address; use one, or have the operator allow its network")]
    NotPublic(IpAddr),
    /// A name without an address that may be reached.
    #[error("`{0}` has no public address; use a name that resolves to one, or have the operator allow its network")]
    NoAddress(String),
}

/// Which addresses may be reached: those of the internet, and what is allowed besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Private networks that may be reached all the same.
    pub allowed: Vec<Network>,
    /// Whether http may be used.
    pub allow_http: bool,
}

impl Policy {
    /// Whether this address may be connected to.
    pub fn admits(&self, address: IpAddr) -> bool {
        // An IPv4 address written as an IPv6 one is the same host.
        let address = address.to_canonical();
        is_public(address) || self.allowed.iter().any(|network| network.contains(address))
    }

    /// Reads an address and refuses it, as far as that can be said without resolving its name.
    pub fn check(&self, url: &str) -> Result<Url, Refusal> {
        if url.len() > URL_CHARS_MAX {
            return Err(Refusal::NotAnAddress(format!("it is longer than {URL_CHARS_MAX} characters")));
        }
        let url = Url::parse(url).map_err(|e| Refusal::NotAnAddress(e.to_string()))?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => return Err(Refusal::NotEncrypted),
            other => return Err(Refusal::Scheme(other.to_owned())),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        let address: IpAddr = match url.host() {
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
            Some(Host::Domain(_)) => return Ok(url),
            None => return Err(Refusal::NotAnAddress("it names no host".to_owned())),
        };
        if self.admits(address) { Ok(url) } else { Err(Refusal::NotPublic(address)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_refused_for_what_they_are() {
        let strict = Policy::default();
        for good in
            ["https://example.org", "https://example.org:8443/a?b=c", "https://1.1.1.1/", "https://[2606:4700::1]/"]
        {
            assert!(strict.check(good).is_ok(), "{good}");
        }
        let not_public = |address: &str| Refusal::NotPublic(address.parse().unwrap());
        for (bad, refusal) in [
            ("http://example.org/", Refusal::NotEncrypted),
            ("ftp://example.org/", Refusal::Scheme("ftp".into())),
            ("file:///etc/passwd", Refusal::Scheme("file".into())),
            ("gopher://example.org/", Refusal::Scheme("gopher".into())),
            ("https://ada@example.org/", Refusal::UserInfo),
            ("https://ada:pw@example.org/", Refusal::UserInfo),
            ("https://:pw@example.org/", Refusal::UserInfo),
            ("https://127.0.0.1/", not_public("127.0.0.1")),
            // The many ways to write an address.
            ("https://127.1/", not_public("127.0.0.1")),
            ("https://2130706433/", not_public("127.0.0.1")),
            ("https://0x7f.0.0.1/", not_public("127.0.0.1")),
            ("https://0177.0.0.1/", not_public("127.0.0.1")),
            ("https://127.0.0.1./", not_public("127.0.0.1")),
            ("https://\u{ff11}27.0.0.1/", not_public("127.0.0.1")),
            ("https://[::1]/", not_public("::1")),
            ("https://[::ffff:10.0.0.1]/", not_public("::ffff:10.0.0.1")),
            ("https://[64:ff9b::a00:1]/", not_public("64:ff9b::a00:1")),
            ("https://169.254.169.254/latest/meta-data", not_public("169.254.169.254")),
        ] {
            assert_eq!(strict.check(bad), Err(refusal), "{bad}");
        }
        for none in
            ["", "example.org", "/hook", "https://", "https:///", &format!("https://e.org/{}", "x".repeat(2_048))]
        {
            let refused = strict.check(none);
            // The URL standard reads `https:///` as one with an empty host, which is none.
            assert!(matches!(refused, Err(Refusal::NotAnAddress(_))), "{none}: {refused:?}");
        }
    }

    #[test]
    fn networks_can_be_allowed() {
        let policy = Policy { allowed: vec!["10.1.0.0/16".parse().unwrap(), "::1".parse().unwrap()], allow_http: true };
        for good in ["http://10.1.2.3/", "https://[::1]:8080/", "https://[::ffff:10.1.2.3]/", "http://1.1.1.1/"] {
            assert!(policy.check(good).is_ok(), "{good}");
        }
        for bad in ["http://10.2.0.1/", "http://127.0.0.1/", "ftp://10.1.2.3/"] {
            assert!(policy.check(bad).is_err(), "{bad}");
        }
    }
}
