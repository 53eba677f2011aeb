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
    /// Answers at once that last as long as a call does. They are not among `connections_max`. Default 256.
    pub long_answers_max: usize,
    /// How long a client may leave unread what is sent to it, until its connection is cut. Default 30 s.
    pub unread_timeout: Duration,
    /// How long a request's head may take, and how long a connection may be idle. Default 10 s.
    pub head_timeout: Duration,
    /// How long an answer may take. Default 10 s.
    pub request_timeout: Duration,
    /// Bytes of a request's body. Default 64 KiB.
    pub body_bytes_max: usize,
    /// Calls of a workbook at most, which takes some 1.5 KB for each while it is made. Default 20,000.
    pub workbook_calls_max: usize,
    /// How long a stop waits for requests under way. Default 2 s.
    pub stop_timeout: Duration,
    /// What holds for WebSockets.
    pub websockets: WebSocketConfig,
}

/// What holds for WebSockets. They are not among `connections_max`. An idle one takes some 20 KB.
#[derive(Clone, Debug)]
pub struct WebSocketConfig {
    /// Connections at once. Default 4,096.
    pub sockets_max: usize,
    /// Of these, connections of one user or API key. Default 64.
    pub account_sockets_max: usize,
    /// Topics of a connection. Default 64.
    pub topics_max: usize,
    /// Bytes of a client's message. Default 16 KiB.
    pub message_bytes_max: usize,
    /// Messages of a client a second, on the average of some seconds. Default 20.
    pub messages_a_second: NonZeroU32,
    /// How long a client may take to say who it is. Default 5 s.
    pub authenticate_timeout: Duration,
    /// How often it is looked whether an account is still good. Default 30 s.
    pub check_every: Duration,
    /// Between two pings. Default 20 s.
    pub ping_every: Duration,
    /// A client that says nothing for so long, not even to a ping, is gone. Default 50 s.
    pub silence_max: Duration,
    /// How long a client may take to read what is sent to it, until its connection is closed. Default 5 s.
    pub send_timeout: Duration,
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            sockets_max: 4_096,
            account_sockets_max: 64,
            topics_max: 64,
            message_bytes_max: 16 << 10,
            messages_a_second: NonZeroU32::new(20).expect("not zero"),
            authenticate_timeout: Duration::from_secs(5),
            check_every: Duration::from_secs(30),
            ping_every: Duration::from_secs(20),
            silence_max: Duration::from_secs(50),
            send_timeout: Duration::from_secs(5),
        }
    }
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
            long_answers_max: 256,
            unread_timeout: Duration::from_secs(30),
            head_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            body_bytes_max: 64 << 10,
            workbook_calls_max: 20_000,
            stop_timeout: Duration::from_secs(2),
            websockets: WebSocketConfig::default(),
        }
    }
}
