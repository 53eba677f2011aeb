//! One RTP packet, borrowed from the datagram it came in (RFC 3550 section 5.1).

use std::fmt;

/// Bytes of the fixed header.
const FIXED_HEADER_BYTES: usize = 12;

/// The only version there is (RFC 3550 section 5.1).
const VERSION: u8 = 2;

/// The synchronisation source: who numbers the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ssrc(pub u32);

impl fmt::Display for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// What the payload is; 7 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PayloadType(pub u8);

/// The 16-bit sequence number as on the wire; it wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeqNo(pub u16);

impl SeqNo {
    /// The shortest way from `earlier` to `self` around the circle: -32768 to 32767.
    pub const fn distance_from(self, earlier: Self) -> i64 {
        self.0.wrapping_sub(earlier.0).cast_signed() as i64
    }
}

/// Why a datagram is no RTP packet. Each is a counter: see [`PacketError::index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PacketError {
    /// Fewer bytes than the fixed header.
    #[error("shorter than the 12 bytes of an RTP header")]
    Short,
    /// Not version 2.
    #[error("not RTP version 2")]
    Version,
    /// The list of contributing sources runs past the end.
    #[error("the contributing sources run past the end of the packet")]
    Csrc,
    /// The header extension runs past the end.
    #[error("the header extension runs past the end of the packet")]
    Extension,
    /// The padding is zero long or longer than what follows the header.
    #[error("the padding is longer than the payload")]
    Padding,
}

impl PacketError {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 5] = [Self::Short, Self::Version, Self::Csrc, Self::Extension, Self::Padding];

    /// 0 to 4: for an array of counters.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word for it in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Version => "version",
            Self::Csrc => "csrc",
            Self::Extension => "extension",
            Self::Padding => "padding",
        }
    }
}

/// One packet. The marker is read but nothing relies on it: Asterisk sets it as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The marker bit.
    pub marker: bool,
    /// What the payload is.
    pub payload_type: PayloadType,
    /// The place in the sequence.
    pub seq: SeqNo,
    /// The sampling instant of the first sample, in units of the codec's RTP clock; wraps.
    pub rtp_timestamp: u32,
    /// Who numbers the packets.
    pub ssrc: Ssrc,
    /// The audio, without header, contributing sources, extension and padding.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a datagram. Contributing sources and the header extension are checked and skipped.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        let (fixed, mut rest) = datagram.split_first_chunk::<FIXED_HEADER_BYTES>().ok_or(PacketError::Short)?;
        if fixed[0] >> 6 != VERSION {
            return Err(PacketError::Version);
        }
        let csrc_bytes = usize::from(fixed[0] & 0x0f) * 4;
        rest = rest.get(csrc_bytes..).ok_or(PacketError::Csrc)?;
        if fixed[0] & 0x10 != 0 {
            rest = after_extension(rest).ok_or(PacketError::Extension)?;
        }
        if fixed[0] & 0x20 != 0 {
            rest = before_padding(rest).ok_or(PacketError::Padding)?;
        }
        Ok(Self {
            marker: fixed[1] & 0x80 != 0,
            payload_type: PayloadType(fixed[1] & 0x7f),
            seq: SeqNo(u16::from_be_bytes([fixed[2], fixed[3]])),
            rtp_timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: Ssrc(u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])),
            payload: rest,
        })
    }
}

/// Skips profile (2 bytes), length in 32-bit words (2 bytes) and the words (RFC 3550 section 5.3.1).
fn after_extension(rest: &[u8]) -> Option<&[u8]> {
    let (head, rest) = rest.split_first_chunk::<4>()?;
    rest.get(usize::from(u16::from_be_bytes([head[2], head[3]])) * 4..)
}

/// The last byte says how many bytes are padding, itself included (RFC 3550 section 5.1).
fn before_padding(rest: &[u8]) -> Option<&[u8]> {
    let padding_bytes = usize::from(*rest.last()?);
    if padding_bytes == 0 {
        return None;
    }
    rest.get(..rest.len().checked_sub(padding_bytes)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: [u8; 12] = [0x80, 0x80, 0x12, 0x34, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef];

    fn datagram(first: u8, tail: &[u8]) -> Vec<u8> {
        let mut bytes = PLAIN.to_vec();
        bytes[0] = first;
        bytes.extend_from_slice(tail);
        bytes
    }

    #[test]
    fn fields_are_where_rfc_3550_puts_them() {
        let bytes = datagram(0x80, b"audio");
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(
            packet,
            Packet {
                marker: true,
                payload_type: PayloadType(0),
                seq: SeqNo(0x1234),
                rtp_timestamp: 160,
                ssrc: Ssrc(0xdead_beef),
                payload: b"audio",
            }
        );
    }

    #[test]
    fn payload_is_what_lies_between_header_and_padding() {
        type Case<'a> = (u8, &'a [u8], Result<&'a [u8], PacketError>);
        let cases: [Case<'_>; 14] = [
            (0x80, b"", Ok(b"")),
            (0x82, b"11112222xy", Ok(b"xy")),
            (0x82, b"1111222", Err(PacketError::Csrc)),
            (0x90, &[0xbe, 0xde, 0, 1, 9, 9, 9, 9, 7], Ok(&[7])),
            (0x90, &[0xbe, 0xde, 0, 0, 7], Ok(&[7])),
            (0x90, &[0xbe, 0xde, 0, 2, 9, 9, 9, 9, 7], Err(PacketError::Extension)),
            (0x90, &[0xbe, 0xde, 0], Err(PacketError::Extension)),
            (0xa0, &[7, 0, 2], Ok(&[7])),
            (0xa0, &[0, 2], Ok(&[])),
            (0xa0, &[7, 3], Err(PacketError::Padding)),
            (0xa0, &[7, 0], Err(PacketError::Padding)),
            (0xa0, &[], Err(PacketError::Padding)),
            (0xb1, &[1, 1, 1, 1, 0, 0, 0, 1, 2, 2, 2, 2, 7, 1], Ok(&[7])),
            (0x40, b"audio", Err(PacketError::Version)),
        ];
        for (first, tail, expected) in cases {
            assert_eq!(Packet::parse(&datagram(first, tail)).map(|p| p.payload), expected, "{first:#x} {tail:?}");
        }
    }

    #[test]
    fn shorter_than_the_header_is_short() {
        for length in 0..PLAIN.len() {
            assert_eq!(Packet::parse(&PLAIN[..length]), Err(PacketError::Short));
        }
    }

    #[test]
    fn errors_index_their_counters() {
        for (index, error) in PacketError::ALL.into_iter().enumerate() {
            assert_eq!(error.index(), index);
        }
    }

    #[test]
    fn distance_goes_the_short_way_round() {
        for (from, to, distance) in
            [(0u16, 1u16, 1), (65_535, 0, 1), (0, 65_535, -1), (10, 10, 0), (0, 32_768, -32_768)]
        {
            assert_eq!(SeqNo(to).distance_from(SeqNo(from)), distance, "{from} to {to}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_packet_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..96)) {
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.payload.len() + FIXED_HEADER_BYTES <= bytes.len());
            }
        }
    }
}
