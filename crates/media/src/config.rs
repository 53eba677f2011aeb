//! How the media plane is set up.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use aimg_spool::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, HEADER_BYTES};

use crate::Error;

/// The settings. Worst-case memory of a node is
/// `shards × (flows_max × (2 × chunk_bytes + 4 KiB) + recv_buffer_bytes)`; with the defaults and one shard 1.1 GiB at
/// 2000 flows, most of it page cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The address to receive on. Default 127.0.0.1, for an Asterisk on the same machine; an unspecified address
    /// receives on all of them.
    pub bind: IpAddr,
    /// The first shard's UDP port; the others take the ports after it. 0 takes free ones. Default 0.
    pub port: u16,
    /// Threads, each with its port. Default 1: it carries thousands of flows. More than the machine's cores is a waste.
    pub shards: usize,
    /// The address that Asterisk is told to send to. Default 127.0.0.1. It differs from `bind` behind NAT or where
    /// `bind` is unspecified.
    pub advertise: IpAddr,
    /// The socket's receive buffer in bytes, what a shard may be late without loss. Default 8 MiB, 2 s of 500 flows of
    /// µ-law. Without CAP_NET_ADMIN the kernel cuts it to `net.core.rmem_max`; the statistics tell what it gave.
    pub recv_buffer_bytes: usize,
    /// Flows of one shard. Default 2000. Beyond it, `open` is refused.
    pub flows_max: usize,
    /// Bytes of a spool chunk, a multiple of 4096. Default 256 KiB. A flow holds up to two: smaller ones save memory,
    /// larger ones give a slow disk more time before packets are dropped (half a chunk: 13 s of µ-law).
    pub chunk_bytes: u32,
    /// The longest a spool file may grow, in bytes; packets beyond it are dropped and counted. Default 4 GiB, more
    /// than a day of slin16. It keeps a sender gone wild from filling the disk.
    pub flow_bytes_max: u64,
    /// After how long without a packet a flow that has started is reported silent. Default 2 s; zero never. Asterisk
    /// sends on through silence, so this means trouble.
    pub silence: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            shards: 1,
            advertise: IpAddr::V4(Ipv4Addr::LOCALHOST),
            recv_buffer_bytes: 8 << 20,
            flows_max: 2_000,
            chunk_bytes: 256 << 10,
            flow_bytes_max: 4 << 30,
            silence: Duration::from_secs(2),
        }
    }
}

impl Config {
    /// Whether the settings can work; what is wrong with the first that cannot.
    pub fn check(&self) -> Result<(), Error> {
        let chunk = self.chunk_bytes;
        let chunk_fits =
            chunk.is_multiple_of(HEADER_BYTES as u32) && (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk);
        let ports_fit = self.port == 0 || usize::from(self.port) + self.shards <= usize::from(u16::MAX) + 1;
        let file_bytes_min = (HEADER_BYTES + chunk as usize) as u64;
        let checks = [
            ((1..=256).contains(&self.shards), "shards", self.shards.to_string(), "1 to 256"),
            (ports_fit, "port", self.port.to_string(), "0, or a port with room for one a shard up to 65535"),
            ((1..=100_000).contains(&self.flows_max), "flows_max", self.flows_max.to_string(), "1 to 100000"),
            (chunk_fits, "chunk_bytes", chunk.to_string(), "a multiple of 4096 from 8192 to 16777216"),
            (
                self.flow_bytes_max >= file_bytes_min,
                "flow_bytes_max",
                self.flow_bytes_max.to_string(),
                "at least chunk_bytes and 4096",
            ),
            (
                !self.advertise.is_unspecified(),
                "advertise",
                self.advertise.to_string(),
                "an address of this machine that Asterisk can reach",
            ),
        ];
        match checks.into_iter().find(|(ok, ..)| !ok) {
            Some((_, key, value, allowed)) => Err(Error::Config { key, value, allowed }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_name_their_key() {
        assert!(Config::default().check().is_ok());
        type Case = (&'static str, fn(&mut Config));
        let cases: [Case; 7] = [
            ("shards", |c| c.shards = 0),
            ("port", |c| (c.port, c.shards) = (65_535, 2)),
            ("flows_max", |c| c.flows_max = 0),
            ("chunk_bytes", |c| c.chunk_bytes = 10_000),
            ("chunk_bytes", |c| c.chunk_bytes = 4_096),
            ("flow_bytes_max", |c| c.flow_bytes_max = 4_096),
            ("advertise", |c| c.advertise = IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        ];
        for (key, spoil) in cases {
            let mut config = Config::default();
            spoil(&mut config);
            let sentence = config.check().unwrap_err().to_string();
            assert!(sentence.contains(key), "{sentence}");
        }
    }
}
