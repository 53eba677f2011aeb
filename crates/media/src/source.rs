//! The address a packet comes from, as the key of a shard's flow table.

use std::net::{IpAddr, SocketAddr};

/// Address and port. IPv4 is written as IPv4-mapped IPv6, so that one sender has one key on every kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    ip: u128,
    port: u16,
}

impl From<SocketAddr> for Source {
    fn from(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Self { ip: ip.to_bits(), port: address.port() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sender_one_key() {
        let key = |address: &str| Source::from(address.parse::<SocketAddr>().unwrap());
        assert_eq!(key("127.0.0.1:4000"), key("[::ffff:127.0.0.1]:4000"));
        assert_ne!(key("127.0.0.1:4000"), key("127.0.0.1:4001"));
        assert_ne!(key("127.0.0.1:4000"), key("127.0.0.2:4000"));
        assert_eq!(key("[fe80::1%3]:4000"), key("[fe80::1]:4000"));
    }
}
