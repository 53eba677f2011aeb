//! What really went over the loopback interface: the truth that recordings are compared with.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::guarded::{Guarded, Rights, Signal};
use crate::{Error, Packet, packets, wait_until};

/// How long tcpdump may take to show a packet that was sent.
const SEEN_TIMEOUT: Duration = Duration::from_secs(10);

/// tcpdump's buffer in the kernel. It is divided into slots of the packet size below: 32,768 of them, for an Asterisk that
/// was frozen and works off ten seconds at once.
const BUFFER_KIB: &str = "65536";

/// Larger than any RTP packet here. With tcpdump's default of 256 KiB the buffer would have 64 slots.
const PACKET_BYTES_MAX: &str = "2048";

/// What a capture has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// In the order in which they were sent.
    pub packets: Vec<Packet>,
    /// Packets that tcpdump was too slow for: with any, it is no truth to compare with.
    pub dropped: u64,
}

/// A running tcpdump on loopback.
///
/// It is known to capture when it has written a packet that we sent for the purpose, and to have written everything when
/// it has written another one. These marks are not among the packets that it gives back.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Guarded,
    mark: UdpSocket,
    marks: u64,
    file: PathBuf,
    _dir: TempDir,
}

impl Capture {
    /// Captures the UDP packets of a filter, such as `udp and dst port 4000`; it does so when this returns.
    pub fn start(filter: &str) -> Result<Self, Error> {
        let failed = || Error::io("cannot prepare a capture");
        let dir = tempfile::Builder::new().prefix("aimg-capture-").tempdir().map_err(failed())?;
        let file = dir.path().join("packets.pcap");
        let mark = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed())?;
        let mark_port = mark.local_addr().map_err(failed())?.port();
        let filter = format!("({filter}) or (udp dst port {mark_port})");
        let path = file.to_string_lossy();
        // -Z: without it tcpdump becomes a user who may not write here. -U: a packet is written when it is seen.
        let command = ["tcpdump", "-i", "lo", "-n", "-s", PACKET_BYTES_MAX, "-B", BUFFER_KIB, "-U", "--immediate-mode"]
            .into_iter()
            .chain(["-Z", "root", "-w", &path, &filter]);
        let tcpdump = Guarded::spawn("tcpdump", Rights::Root, command, &dir.path().join("log"))?;
        let mut capture = Self { tcpdump, mark, marks: 0, file, _dir: dir };
        capture.wait_for_a_mark()?;
        Ok(capture)
    }

    /// Ends the capture when everything sent before this call is in it.
    pub fn stop(mut self) -> Result<Captured, Error> {
        self.wait_for_a_mark()?;
        self.tcpdump.signal(Signal::Interrupt)?;
        self.tcpdump.wait(SEEN_TIMEOUT)?;
        let mark = self.mark_address()?;
        let mut packets = self.packets()?;
        packets.retain(|packet| packet.destination != mark);
        Ok(Captured { packets, dropped: parse_dropped(&self.tcpdump.log_end()) })
    }

    /// Sends marks until one is seen: the first ones may come before tcpdump is there.
    fn wait_for_a_mark(&mut self) -> Result<(), Error> {
        let address = self.mark_address()?;
        let first = self.marks;
        let seen = wait_until(SEEN_TIMEOUT, || {
            if let Some(code) = self.tcpdump.exit_code() {
                return Some(Err(code));
            }
            let is_ours = |p: &Packet| p.destination == address && number(&p.payload).is_some_and(|n| n >= first);
            if self.packets().is_ok_and(|packets| packets.iter().rev().any(is_ours)) {
                return Some(Ok(()));
            }
            self.mark.send_to(&self.marks.to_be_bytes(), address).ok();
            self.marks += 1;
            None
        });
        let log = || self.tcpdump.log_end();
        match seen {
            Some(Ok(())) => Ok(()),
            // The guard's shell found no such program.
            Some(Err(127)) => Err(Error::NoProgram { program: "tcpdump", package: "tcpdump" }),
            Some(Err(code)) => Err(Error::Ended { what: "tcpdump".into(), code, log: log() }),
            None => Err(Error::TooLate { what: "tcpdump".into(), within: SEEN_TIMEOUT, log: log() }),
        }
    }

    fn mark_address(&self) -> Result<SocketAddrV4, Error> {
        let port = self.mark.local_addr().map_err(Error::io("cannot tell our own port"))?.port();
        Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
    }

    fn packets(&self) -> Result<Vec<Packet>, Error> {
        packets(&fs::read(&self.file).map_err(Error::io("cannot read what tcpdump wrote"))?)
    }
}

fn number(mark: &[u8]) -> Option<u64> {
    mark.try_into().map(u64::from_be_bytes).ok()
}

/// From tcpdump's last words: `N packets dropped by kernel`.
fn parse_dropped(log: &str) -> u64 {
    log.lines()
        .find_map(|line| {
            line.strip_suffix(" packets dropped by kernel").or(line.strip_suffix(" packet dropped by kernel"))
        })
        .and_then(|n| n.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PortBlock;

    #[test]
    fn every_packet_between_start_and_stop_is_captured() {
        let ports = PortBlock::reserve(2).unwrap();
        let to = (Ipv4Addr::LOCALHOST, ports.first());
        let receiver = UdpSocket::bind(to).unwrap();
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender.send_to(b"before", to).unwrap();
        let capture = Capture::start(&format!("udp and dst port {}", ports.first())).unwrap();
        let sent: Vec<Vec<u8>> = (0..500u32).map(|n| n.to_be_bytes().repeat(40)).collect();
        for packet in &sent {
            sender.send_to(packet, to).unwrap();
        }
        let captured = capture.stop().unwrap();
        assert_eq!((captured.packets.len(), captured.dropped), (sent.len(), 0));
        assert!(captured.packets.iter().map(|packet| &packet.payload).eq(&sent));
        drop(receiver);
    }

    #[test]
    fn dropped_packets_are_read() {
        for (log, expected) in [
            ("5 packets captured\n7 packets received by filter\n3 packets dropped by kernel", 3),
            ("1 packet dropped by kernel", 1),
            ("", 0),
        ] {
            assert_eq!(parse_dropped(log), expected, "{log}");
        }
    }

    #[test]
    fn a_wrong_filter_is_told() {
        let error = Capture::start("no filter at all").unwrap_err();
        assert!(error.to_string().contains("tcpdump ended"), "{error}");
    }
}
