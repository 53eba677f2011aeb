//! How the HTTP service is set up.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use secrecy::SecretString;

/// The settings. Beyond `connections_max` a connection waits in the kernel's queue until another one ends; at worst the
/// service holds `connections_max` times some 64 KB of buffers.
#[derive(Clone, Debug)]
pub struct Config {
    /// Host names and addresses that a request may name; `*` is any, a leading dot stands for all subdomains. It keeps a
    /// page in somebody's browser from reading a service that only listens on loopback (DNS rebinding).
    pub allowed_hosts: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed. Without one, a client is where its connection comes from.
    pub trusted_proxies: Vec<IpAddr>,
    /// Whether browsers may send their cookies over TLS only: where a proxy speaks TLS for the service.
    pub secure_cookies: bool,
    /// Requests of one address a second, on the average of some seconds. Default 100.
    pub address_requests_a_second: NonZeroU32,
    /// Requests of one user or API key a second, on the average of some seconds. Default 50.
    pub account_requests_a_second: NonZeroU32,
    /// What readers of `/metrics` show as a bearer token. Without it, only clients on loopback may read.
    pub metrics_token: Option<SecretString>,
    /// Connections at once. Default 64.
    pub connections_max: usize,
    /// How long a request's head may take, and how long a connection may be idle. Default 10 s.
    pub head_timeout: Duration,
    /// How long an answer may take. Default 10 s.
    pub request_timeout: Duration,
    /// Bytes of a request's body. Default 64 KiB.
    pub body_bytes_max: usize,
    /// How long a stop waits for requests under way. Default 2 s.
    pub stop_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allowed_hosts: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into(),
            trusted_proxies: Vec::new(),
            secure_cookies: false,
            address_requests_a_second: NonZeroU32::new(100).expect("not zero"),
            account_requests_a_second: NonZeroU32::new(50).expect("not zero"),
            metrics_token: None,
            connections_max: 64,
            head_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            body_bytes_max: 64 << 10,
            stop_timeout: Duration::from_secs(2),
        }
    }
}
