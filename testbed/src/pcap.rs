//! What tcpdump wrote: the UDP packets of a capture on an Ethernet-like interface, loopback included.

use std::net::{Ipv4Addr, SocketAddrV4};

use aimg_core::Timestamp;

use crate::Error;

/// Of microseconds, in the writer's byte order; tcpdump writes its machine's.
const MAGIC: u32 = 0xA1B2_C3D4;

/// LINKTYPE_ETHERNET, which is also loopback's on Linux.
const ETHERNET: u32 = 1;

const FILE_HEADER_BYTES: usize = 24;
const PACKET_HEADER_BYTES: usize = 16;
const ETHERNET_HEADER_BYTES: usize = 14;
const UDP_HEADER_BYTES: usize = 8;
const UDP_PROTOCOL: u8 = 17;

/// One UDP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// When the kernel saw it.
    pub at: Timestamp,
    /// Who sent it.
    pub source: SocketAddrV4,
    /// To whom.
    pub destination: SocketAddrV4,
    /// Without any header below UDP.
    pub payload: Vec<u8>,
}

/// The UDP packets over IPv4 of a capture file, in their order; all else is left out, and so is a last packet that is not
/// written whole.
pub fn packets(file: &[u8]) -> Result<Vec<Packet>, Error> {
    let header = file.first_chunk::<FILE_HEADER_BYTES>().ok_or(Error::BadCapture("an empty file"))?;
    if u32_at(header, 0) != Some(MAGIC) {
        return Err(Error::BadCapture("a file with another beginning"));
    }
    if u32_at(header, 20) != Some(ETHERNET) {
        return Err(Error::BadCapture("a file of another kind of interface"));
    }
    let mut rest = &file[FILE_HEADER_BYTES..];
    let mut found = Vec::new();
    while let Some((at, frame, after)) = split_record(rest) {
        found.extend(parse_frame(at, frame));
        rest = after;
    }
    Ok(found)
}

/// The next record's time and frame, and what follows it.
fn split_record(bytes: &[u8]) -> Option<(Timestamp, &[u8], &[u8])> {
    let seconds = u32_at(bytes, 0)?;
    let micros = u32_at(bytes, 4)?;
    let length = u32_at(bytes, 8)? as usize;
    let (frame, after) = bytes.get(PACKET_HEADER_BYTES..)?.split_at_checked(length)?;
    Some((Timestamp::from_micros(i64::from(seconds) * 1_000_000 + i64::from(micros)), frame, after))
}

/// The UDP packet in an Ethernet frame; nothing for anything else, fragments included.
pub(crate) fn parse_frame(at: Timestamp, frame: &[u8]) -> Option<Packet> {
    if frame.get(12..14)? != [0x08, 0x00] {
        return None;
    }
    let ip = frame.get(ETHERNET_HEADER_BYTES..)?;
    let header_bytes = usize::from(ip.first()? & 0x0F) * 4;
    let is_fragment = u16_at(ip, 6)? & 0x3FFF != 0;
    if ip[0] >> 4 != 4 || *ip.get(9)? != UDP_PROTOCOL || is_fragment {
        return None;
    }
    let udp = ip.get(header_bytes..)?;
    let length = usize::from(u16_at(udp, 4)?);
    Some(Packet {
        at,
        source: SocketAddrV4::new(address_at(ip, 12)?, u16_at(udp, 0)?),
        destination: SocketAddrV4::new(address_at(ip, 16)?, u16_at(udp, 2)?),
        // The frame may be padded; UDP's own length counts.
        payload: udp.get(UDP_HEADER_BYTES..length)?.to_vec(),
    })
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

/// In network byte order.
fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

fn address_at(bytes: &[u8], offset: usize) -> Option<Ipv4Addr> {
    bytes.get(offset..)?.first_chunk::<4>().map(|b| Ipv4Addr::from(*b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file with one packet for each payload, a second apart.
    fn capture(payloads: &[&[u8]]) -> Vec<u8> {
        let mut file = Vec::new();
        for word in [MAGIC, 0x0004_0002, 0, 0, 262_144, ETHERNET] {
            file.extend(word.to_ne_bytes());
        }
        for (second, payload) in (1u32..).zip(payloads) {
            let mut frame = vec![0; 12];
            frame.extend([0x08, 0x00, 0x45, 0]);
            frame.extend((28 + payload.len() as u16).to_be_bytes());
            frame.extend([0, 0, 0x40, 0, 64, UDP_PROTOCOL, 0, 0, 127, 0, 0, 1, 127, 0, 0, 2]);
            frame.extend(4000u16.to_be_bytes());
            frame.extend(5000u16.to_be_bytes());
            frame.extend((8 + payload.len() as u16).to_be_bytes());
            frame.extend([0, 0]);
            frame.extend(*payload);
            for word in [second, 250, frame.len() as u32, frame.len() as u32] {
                file.extend(word.to_ne_bytes());
            }
            file.extend(frame);
        }
        file
    }

    #[test]
    fn packets_are_read() {
        let read = packets(&capture(&[b"one", b""])).unwrap();
        assert_eq!(
            read[0],
            Packet {
                at: Timestamp::from_micros(1_000_250),
                source: "127.0.0.1:4000".parse().unwrap(),
                destination: "127.0.0.2:5000".parse().unwrap(),
                payload: b"one".to_vec(),
            }
        );
        assert_eq!((read.len(), read[1].payload.len()), (2, 0));
    }

    #[test]
    fn what_is_no_udp_is_left_out() {
        let file = capture(&[b"one"]);
        let frame = FILE_HEADER_BYTES + PACKET_HEADER_BYTES;
        for (offset, value, what) in
            [(12, 0x86, "IPv6"), (23, 6, "TCP"), (20, 0x20, "a fragment"), (14, 0x65, "no IPv4")]
        {
            let mut other = file.clone();
            other[frame + offset] = value;
            assert_eq!(packets(&other).unwrap(), [], "{what}");
        }
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        for file in [&b""[..], &[0; 24], b"{\"json\": true, and longer than a header}"] {
            assert!(packets(file).is_err());
        }
    }

    proptest! {
        #[test]
        fn cut_or_damaged_files_do_no_harm(cut in 0usize..200, at in 0usize..200, value: u8) {
            let mut file = capture(&[b"one", b"two", b"three"]);
            let at = at % file.len();
            file[at] = value;
            file.truncate(file.len().saturating_sub(cut));
            let _ = packets(&file);
        }
    }
}
