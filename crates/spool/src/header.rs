//! The header page: whose flow the file holds, written once and under a checksum, and counters that the shard updates
//! in place while it records.
//!
//! | offset | what |
//! |---|---|
//! | 0 | magic |
//! | 8 | version (u32) |
//! | 12 | bytes of a chunk (u32) |
//! | 16 | bytes of the JSON (u32) |
//! | 20 | CRC-32 of bytes 0 to 20 and the JSON (u32) |
//! | 64 | packets dropped by us (u64) |
//! | 72 | the socket's drop counter when the flow was opened (u64) |
//! | 80 | bytes of the file that hold records, a hint (u64) |
//! | 96 | the route: IP version (u8: 4, 6, or 0 for unknown), source port (u16 at 98), our port (u16 at 100), source address
//!   (16 bytes at 104) |
//! | 128 | [`FlowMeta`] as JSON |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{Ordering, fence};

use aimg_core::{Codec, Direction, FlowId, PbxId, SessionId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::SpoolError;

/// Bytes of the header; the first chunk begins here.
pub const HEADER_BYTES: usize = 4_096;

/// The version this crate writes.
pub const VERSION: u32 = 1;

/// The least chunk: some records of the longest packet.
pub const CHUNK_BYTES_MIN: u32 = 8_192;

/// The greatest chunk.
pub const CHUNK_BYTES_MAX: u32 = 16 << 20;

const MAGIC: [u8; 8] = *b"aimgspl\n";
const VERSION_AT: usize = 8;
const CHUNK_BYTES_AT: usize = 12;
const META_BYTES_AT: usize = 16;
const CRC_AT: usize = 20;
const META_AT: usize = 128;

/// Whose flow it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowMeta {
    /// Whose call.
    pub tenant: TenantId,
    /// Which call.
    pub session: SessionId,
    /// The part of the session's capture.
    pub part: u16,
    /// The direction.
    pub direction: Direction,
    /// The encoding of the audio.
    pub codec: Codec,
    /// When the flow was opened.
    pub opened_at: Timestamp,
    /// Where the call is.
    pub pbx: PbxId,
}

impl FlowMeta {
    /// The flow's name.
    pub const fn flow(&self) -> FlowId {
        FlowId { session: self.session, part: self.part, direction: self.direction }
    }
}

/// What a header page says that does not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose flow it is.
    pub meta: FlowMeta,
    /// Bytes of a chunk.
    pub chunk_bytes: u32,
}

impl Header {
    /// The header page, all counters 0.
    pub fn encode(&self) -> Result<Box<[u8; HEADER_BYTES]>, SpoolError> {
        check_chunk_bytes(self.chunk_bytes)?;
        let json = serde_json::to_vec(&self.meta)?;
        let mut page = Box::new([0u8; HEADER_BYTES]);
        let too_long = SpoolError::MetaTooLong { bytes: json.len() };
        page[META_AT..].get_mut(..json.len()).ok_or(too_long)?.copy_from_slice(&json);
        page[..8].copy_from_slice(&MAGIC);
        put_u32(&mut page[..], VERSION_AT, VERSION);
        put_u32(&mut page[..], CHUNK_BYTES_AT, self.chunk_bytes);
        put_u32(&mut page[..], META_BYTES_AT, json.len() as u32);
        let crc = checksum(&page, &json);
        put_u32(&mut page[..], CRC_AT, crc);
        Ok(page)
    }

    /// Reads the header from the beginning of a file.
    pub fn decode(file: &[u8]) -> Result<Self, SpoolError> {
        // A file of another kind may be short: say so first.
        if !file.starts_with(&MAGIC[..file.len().min(MAGIC.len())]) {
            return Err(SpoolError::NotASpool);
        }
        let page = file.first_chunk::<HEADER_BYTES>().ok_or(SpoolError::Short { bytes: file.len() })?;
        let version = u32_at(page, VERSION_AT);
        if version > VERSION {
            return Err(SpoolError::Newer { found: version });
        }
        let json = page[META_AT..].get(..u32_at(page, META_BYTES_AT) as usize).ok_or(SpoolError::Damaged)?;
        if checksum(page, json) != u32_at(page, CRC_AT) {
            return Err(SpoolError::Damaged);
        }
        let chunk_bytes = u32_at(page, CHUNK_BYTES_AT);
        check_chunk_bytes(chunk_bytes)?;
        Ok(Self { meta: serde_json::from_slice(json)?, chunk_bytes })
    }
}

/// The counters of a header page. They are no part of the checksum: a shard updates each with one store of 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveCounters {
    /// Packets that came and could not be kept.
    pub dropped_by_us: u64,
    /// The socket's drop counter (SO_RXQ_OVFL) when the flow was opened.
    pub kernel_drops_at_open: u64,
    /// Bytes of the file up to the end of the last record, as of the last tick: a hint for readers, not a promise.
    pub committed_bytes: u64,
    /// The way of the flow's packets, once it is known: with it, another process can take the flow over.
    pub route: Option<Route>,
}

/// From where a flow's packets come, and to which of our ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The one address that sends.
    pub source: SocketAddr,
    /// Our UDP port.
    pub local_port: u16,
}

impl LiveCounters {
    /// Where `dropped_by_us` is in the page; a multiple of 8.
    pub const DROPPED_BY_US_AT: usize = 64;
    /// Where `kernel_drops_at_open` is in the page; a multiple of 8.
    pub const KERNEL_DROPS_AT_OPEN_AT: usize = 72;
    /// Where `committed_bytes` is in the page; a multiple of 8.
    pub const COMMITTED_BYTES_AT: usize = 80;
    const ROUTE_AT: usize = 96;

    /// Reads the counters from a header page; those of a shorter slice are 0.
    pub fn decode(page: &[u8]) -> Self {
        let u64_at = |at: usize| page.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b));
        Self {
            dropped_by_us: u64_at(Self::DROPPED_BY_US_AT),
            kernel_drops_at_open: u64_at(Self::KERNEL_DROPS_AT_OPEN_AT),
            committed_bytes: u64_at(Self::COMMITTED_BYTES_AT),
            route: page.get(Self::ROUTE_AT..).and_then(|b| b.first_chunk()).and_then(decode_route),
        }
    }

    /// Writes the route into a header page; what tells that there is one comes last.
    pub fn show_route(page: &mut [u8], route: Route) {
        let Some(field) = page.get_mut(Self::ROUTE_AT..).and_then(|b| b.first_chunk_mut::<ROUTE_BYTES>()) else {
            return;
        };
        field[0] = 0;
        field[2..4].copy_from_slice(&route.source.port().to_le_bytes());
        field[4..6].copy_from_slice(&route.local_port.to_le_bytes());
        match route.source.ip() {
            IpAddr::V4(v4) => field[8..12].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => field[8..24].copy_from_slice(&v6.octets()),
        }
        fence(Ordering::Release);
        field[0] = if route.source.is_ipv4() { 4 } else { 6 };
    }

    /// Writes the counters into a header page.
    pub fn encode_into(&self, page: &mut [u8; HEADER_BYTES]) {
        for (at, value) in [
            (Self::DROPPED_BY_US_AT, self.dropped_by_us),
            (Self::KERNEL_DROPS_AT_OPEN_AT, self.kernel_drops_at_open),
            (Self::COMMITTED_BYTES_AT, self.committed_bytes),
        ] {
            page[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        if let Some(route) = self.route {
            Self::show_route(&mut page[..], route);
        }
    }
}

const ROUTE_BYTES: usize = 24;

fn decode_route(field: &[u8; ROUTE_BYTES]) -> Option<Route> {
    let u16_at = |at: usize| u16::from_le_bytes([field[at], field[at + 1]]);
    let ip = match field[0] {
        4 => Ipv4Addr::from(*field[8..].first_chunk()?).into(),
        6 => Ipv6Addr::from(*field[8..].first_chunk()?).into(),
        _ => return None,
    };
    Some(Route { source: SocketAddr::new(ip, u16_at(2)), local_port: u16_at(4) })
}

const fn check_chunk_bytes(chunk_bytes: u32) -> Result<(), SpoolError> {
    let whole_pages = chunk_bytes.is_multiple_of(HEADER_BYTES as u32);
    if whole_pages && chunk_bytes >= CHUNK_BYTES_MIN && chunk_bytes <= CHUNK_BYTES_MAX {
        Ok(())
    } else {
        Err(SpoolError::ChunkBytes { chunk_bytes })
    }
}

fn checksum(page: &[u8; HEADER_BYTES], json: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&page[..CRC_AT]);
    hasher.update(json);
    hasher.finalize()
}

fn u32_at(page: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]])
}

fn put_u32(page: &mut [u8], at: usize, value: u32) {
    page[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn header(chunk_bytes: u32) -> Header {
        let id = "0198c1de-1111-7000-8000-000000000000";
        Header {
            meta: FlowMeta {
                tenant: id.parse().unwrap(),
                session: id.parse().unwrap(),
                part: 3,
                direction: Direction::Callee,
                codec: Codec::Slin16,
                opened_at: Timestamp::from_micros(1_769_860_800_123_456),
                pbx: id.parse().unwrap(),
            },
            chunk_bytes,
        }
    }

    #[test]
    fn read_back_with_counters() {
        let mut page = header(65_536).encode().unwrap();
        for source in [None, Some("10.0.0.5:10002"), Some("[2001:db8::1]:65535")] {
            let route = source.map(|s| Route { source: s.parse().unwrap(), local_port: 4_000 });
            let counters = LiveCounters { dropped_by_us: 1, kernel_drops_at_open: 2, committed_bytes: u64::MAX, route };
            counters.encode_into(&mut page);
            assert_eq!(Header::decode(&page[..]).unwrap(), header(65_536));
            assert_eq!(LiveCounters::decode(&page[..]), counters);
        }
        assert_eq!(LiveCounters::decode(&[]), LiveCounters::default());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let page = header(65_536).encode().unwrap();
        let with = |at: usize, byte: u8| {
            let mut bytes = page.to_vec();
            bytes[at] = byte;
            bytes
        };
        for (file, sentence) in [
            (page[..4_000].to_vec(), "spool of 4000 bytes is shorter"),
            (Vec::new(), "spool of 0 bytes is shorter"),
            (b"RIFF".to_vec(), "not a spool file"),
            (with(0, b'x'), "not a spool file"),
            (with(VERSION_AT, 9), "spool version 9 is newer"),
            (with(META_AT + 20, b'!'), "header is damaged"),
            (with(META_BYTES_AT + 3, 0xff), "header is damaged"),
            (with(CHUNK_BYTES_AT, 1), "header is damaged"),
        ] {
            let error = Header::decode(&file).unwrap_err().to_string();
            assert!(error.contains(sentence), "{error}");
        }
    }

    #[test]
    fn chunks_are_whole_pages() {
        for (chunk_bytes, ok) in [(0, false), (4_096, false), (8_192, true), (8_193, false), (32 << 20, false)] {
            assert_eq!(header(chunk_bytes).encode().is_ok(), ok, "{chunk_bytes}");
        }
    }
}
