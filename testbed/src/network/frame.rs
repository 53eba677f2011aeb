//! TCP in Ethernet frames: whose it is, and the segments that break its connection.

/// Offsets in a frame whose IPv4 header has no options, which is what Linux sends.
const IP: usize = 14;
const TCP: usize = IP + 20;
const TCP_HEADER_BYTES: usize = 20;
const TCP_PROTOCOL: u8 = 6;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A TCP segment in its frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a>(&'a [u8]);

impl<'a> Segment<'a> {
    /// Nothing for any other frame.
    pub(crate) fn parse(frame: &'a [u8]) -> Option<Self> {
        let is_tcp = frame.len() >= TCP + TCP_HEADER_BYTES
            && frame[12..14] == [0x08, 0x00]
            && frame[IP] == 0x45
            && frame[IP + 9] == TCP_PROTOCOL;
        is_tcp.then_some(Self(frame))
    }

    /// Source and destination.
    pub(crate) fn ports(self) -> [u16; 2] {
        [self.u16(TCP), self.u16(TCP + 2)]
    }

    /// What breaks the connection for him who sent this: to him it looks as if its receiver knew nothing of it.
    pub(crate) fn refusal(self) -> Option<Vec<u8>> {
        if self.flags() & RST != 0 {
            return None;
        }
        let acknowledged = self.u32(TCP + 4).wrapping_add(self.length());
        let (sequence, flags) = if self.flags() & ACK == 0 { (0, RST | ACK) } else { (self.u32(TCP + 8), RST | ACK) };
        let mut frame = self.0[..TCP + TCP_HEADER_BYTES].to_vec();
        for (at, bytes) in [(0, 6), (IP + 12, 4), (TCP, 2)] {
            let (there, back) = frame[at..at + 2 * bytes].split_at_mut(bytes);
            there.swap_with_slice(back);
        }
        Some(finished(frame, sequence, acknowledged, flags))
    }

    /// What breaks the connection for him who was to receive this. A connection that is not there yet has none.
    pub(crate) fn abort(self) -> Option<Vec<u8>> {
        (self.flags() & (RST | SYN) == 0).then(|| {
            let frame = self.0[..TCP + TCP_HEADER_BYTES].to_vec();
            finished(frame, self.u32(TCP + 4), self.u32(TCP + 8), RST | ACK)
        })
    }

    /// Numbers that the segment takes of the sequence.
    fn length(self) -> u32 {
        let header = usize::from(self.0[TCP + 12] >> 4) * 4;
        let payload = usize::from(self.u16(IP + 2)).saturating_sub(TCP - IP + header);
        payload as u32 + u32::from(self.flags() & SYN != 0) + u32::from(self.flags() & FIN != 0)
    }

    fn flags(self) -> u8 {
        self.0[TCP + 13]
    }

    fn u16(self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    fn u32(self, at: usize) -> u32 {
        u32::from(self.u16(at)) << 16 | u32::from(self.u16(at + 2))
    }
}

/// A frame that ends with a TCP header, as a segment without options and data.
fn finished(mut frame: Vec<u8>, sequence: u32, acknowledged: u32, flags: u8) -> Vec<u8> {
    let length = (frame.len() - IP) as u16;
    frame[IP + 2..IP + 4].copy_from_slice(&length.to_be_bytes());
    frame[IP + 10..IP + 12].fill(0);
    let sum = checksum(&frame[IP..TCP], 0);
    frame[IP + 10..IP + 12].copy_from_slice(&sum.to_be_bytes());
    frame[TCP + 4..TCP + 8].copy_from_slice(&sequence.to_be_bytes());
    frame[TCP + 8..TCP + 12].copy_from_slice(&acknowledged.to_be_bytes());
    frame[TCP + 12] = (TCP_HEADER_BYTES as u8 / 4) << 4;
    frame[TCP + 13] = flags;
    // Window, checksum, urgent pointer.
    frame[TCP + 14..].fill(0);
    let pseudo: u32 = words(&frame[IP + 12..TCP]) + u32::from(TCP_PROTOCOL) + TCP_HEADER_BYTES as u32;
    let sum = checksum(&frame[TCP..], pseudo);
    frame[TCP + 16..TCP + 18].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// RFC 1071.
fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start + words(bytes);
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

/// The sum of an even number of bytes as words.
fn words(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 192.0.2.1:5038 to 192.0.2.2:40000, sequence 1000, acknowledged 2000, with five bytes.
    fn frame(flags: u8) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00];
        frame.extend([0x45, 0, 0, 45, 0, 0, 0x40, 0, 64, TCP_PROTOCOL, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        frame.extend([5038u16.to_be_bytes(), 40_000u16.to_be_bytes()].concat());
        frame.extend([1_000u32.to_be_bytes(), 2_000u32.to_be_bytes()].concat());
        frame.extend([0x50, flags, 1, 1, 0, 0, 0, 0]);
        frame.extend(b"Event");
        frame
    }

    #[test]
    fn both_ends_are_broken_with_numbers_that_they_expect() {
        let frame = frame(ACK);
        let segment = Segment::parse(&frame).unwrap();
        assert_eq!(segment.ports(), [5038, 40_000]);
        let [back, on] = [segment.refusal().unwrap(), segment.abort().unwrap()];
        for (made, ports, sequence, acknowledged) in
            [(&back, [40_000, 5038], 2_000, 1_005), (&on, [5038, 40_000], 1_000, 2_000)]
        {
            let made = Segment::parse(made).unwrap();
            assert_eq!((made.ports(), made.flags(), made.length()), (ports, RST | ACK, 0));
            assert_eq!((made.u32(TCP + 4), made.u32(TCP + 8)), (sequence, acknowledged));
            assert_eq!(checksum(&made.0[IP..TCP], 0), 0);
            assert_eq!(checksum(&made.0[TCP..], words(&made.0[IP + 12..TCP]) + 6 + 20), 0);
        }
        assert_eq!((&back[..6], &back[IP + 12..IP + 16]), (&frame[6..12], &[192, 0, 2, 2][..]));
    }

    #[test]
    fn a_reset_is_not_answered_and_a_syn_is_refused() {
        let [reset, syn] = [frame(RST), frame(SYN)];
        let [reset, syn] = [&reset, &syn].map(|f| Segment::parse(f).unwrap());
        assert!(reset.refusal().is_none() && reset.abort().is_none() && syn.abort().is_none());
        let refusal = syn.refusal().unwrap();
        assert_eq!(Segment::parse(&refusal).unwrap().u32(TCP + 8), 1_006);
    }

    #[test]
    fn what_is_no_tcp_is_left_alone() {
        let good = frame(ACK);
        for (at, value) in [(12, 0x86), (IP, 0x46), (IP + 9, 17)] {
            let mut other = good.clone();
            other[at] = value;
            assert!(Segment::parse(&other).is_none());
        }
        assert!(Segment::parse(&good[..TCP + 19]).is_none());
    }
}
