//! RTP of many sources from one socket: each packet carries its own source address out of 127.16.0.0/12.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::Result;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};

/// A 20 ms packet of G.711: the RTP header and 160 samples.
pub(crate) const PACKET_BYTES: usize = 172;

const SAMPLES: u32 = 160;

/// The first source.
const SOURCES: Ipv4Addr = Ipv4Addr::new(127, 16, 0, 0);

/// The address of source `index`, without its port.
pub(crate) fn source_ip(index: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(SOURCES.to_bits() + index as u32)
}

/// Sends for a number of sources, which all count their packets by themselves.
#[derive(Debug)]
pub(crate) struct Generator {
    socket: UdpSocket,
    port: u16,
    packets_sent: Vec<u32>,
    packet: [u8; PACKET_BYTES],
    next: usize,
}

impl Generator {
    /// Sources with one port and an address each.
    pub(crate) fn new(sources: usize) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let port = socket.local_addr()?.port();
        let mut packet = [0x55; PACKET_BYTES];
        packet[..2].copy_from_slice(&[0x80, 0]);
        Ok(Self { socket, port, packets_sent: vec![0; sources], packet, next: 0 })
    }

    /// The port of all sources.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Sends the next `count` packets, the sources taking turns.
    pub(crate) fn send(&mut self, to: SocketAddrV4, count: usize) -> Result<()> {
        let to = SockaddrIn::from(to);
        for _ in 0..count {
            let index = self.next;
            self.next = (index + 1) % self.packets_sent.len();
            let number = self.packets_sent[index];
            self.packets_sent[index] = number.wrapping_add(1);
            self.packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
            self.packet[4..8].copy_from_slice(&number.wrapping_mul(SAMPLES).to_be_bytes());
            self.packet[8..12].copy_from_slice(&(index as u32).to_be_bytes());
            self.send_one(&to, source_ip(index))?;
        }
        Ok(())
    }

    fn send_one(&self, to: &SockaddrIn, from: Ipv4Addr) -> Result<()> {
        let info = nix::libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: nix::libc::in_addr { s_addr: from.to_bits().to_be() },
            ipi_addr: nix::libc::in_addr { s_addr: 0 },
        };
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        sendmsg(self.socket.as_raw_fd(), &[IoSlice::new(&self.packet)], &control, MsgFlags::empty(), Some(to))?;
        Ok(())
    }
}

/// The socket address of source `index` of a generator with that port.
pub(crate) fn source(index: usize, port: u16) -> SocketAddr {
    SocketAddr::from((source_ip(index), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_has_its_source_and_number() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(to) = receiver.local_addr().unwrap() else { panic!() };
        let mut generator = Generator::new(2).unwrap();
        generator.send(to, 4).unwrap();
        for (index, number) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let mut bytes = [0; 2_048];
            let (length, from) = receiver.recv_from(&mut bytes).unwrap();
            assert_eq!((length, from), (PACKET_BYTES, source(index, generator.port())));
            assert_eq!(bytes[..4], [0x80, 0, 0, number]);
        }
    }
}
