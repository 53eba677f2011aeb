//! A shard's UDP socket: bound with what tells loss and arrival, read in batches.

#![allow(unsafe_code)]

use std::io;
use std::mem::{offset_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use socket2::{Domain, Protocol, Socket, Type};

use crate::Error;
use crate::source::Source;

/// Packets one system call brings at most.
pub(crate) const BATCH_PACKETS: usize = 64;

/// Bytes of a packet's buffer; longer ones are cut by the kernel and counted. Asterisk sends at most 1292 for what we
/// capture (slin16, 40 ms).
pub(crate) const DATAGRAM_BYTES: usize = 2_048;

/// Bytes for the two control messages that come with a packet, and to spare.
const CONTROL_BYTES: usize = 128;

/// Binds `address` for a shard.
pub(crate) fn bind(address: SocketAddr, recv_buffer_bytes: usize) -> Result<Socket, Error> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    let buffer = i32::try_from(recv_buffer_bytes).unwrap_or(i32::MAX);
    // Beyond net.core.rmem_max only with CAP_NET_ADMIN.
    if set_option(&socket, libc::SO_RCVBUFFORCE, buffer).is_err() {
        socket.set_recv_buffer_size(recv_buffer_bytes)?;
    }
    set_option(&socket, libc::SO_RXQ_OVFL, 1)?;
    set_option(&socket, libc::SO_TIMESTAMPNS, 1)?;
    socket.bind(&address.into()).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => Error::PortInUse { address },
        _ => Error::Bind { address, source },
    })?;
    Ok(socket)
}

fn set_option(socket: &Socket, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` lives during the call and is as long as told; the kernel checks the rest.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw const value).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A received packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'a> {
    pub(crate) bytes: &'a [u8],
    /// Nothing for a family that is neither IPv4 nor IPv6.
    pub(crate) source: Option<Source>,
    /// When the kernel received it, in microseconds of the system's clock.
    pub(crate) stamp_us: Option<i64>,
    /// Packets the socket had dropped when this one was queued; wraps. The kernel leaves it out while it is 0.
    pub(crate) kernel_drops: u32,
    /// The kernel has cut it.
    pub(crate) truncated: bool,
}

/// The buffers of a batch, allocated once.
pub(crate) struct Batch {
    packets: Box<[[u8; DATAGRAM_BYTES]]>,
    controls: Box<[Control]>,
    names: Box<[libc::sockaddr_storage]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

/// Control messages begin where a `cmsghdr` may.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

impl Batch {
    pub(crate) fn new() -> Self {
        // SAFETY: these are plain structs of the C library, for which all zeros is a value.
        let (name, vector, header) =
            unsafe { (zeroed::<libc::sockaddr_storage>(), zeroed::<libc::iovec>(), zeroed::<libc::mmsghdr>()) };
        Self {
            packets: vec![[0; DATAGRAM_BYTES]; BATCH_PACKETS].into(),
            controls: vec![Control([0; CONTROL_BYTES]); BATCH_PACKETS].into(),
            names: vec![name; BATCH_PACKETS].into(),
            vectors: vec![vector; BATCH_PACKETS].into(),
            headers: vec![header; BATCH_PACKETS].into(),
        }
    }

    /// Receives what is there, without waiting. An empty socket is no error.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<Datagrams<'_>> {
        let received = self.fill(socket.as_raw_fd())?;
        Ok(Datagrams { batch: self, at: 0, received })
    }

    fn fill(&mut self, fd: RawFd) -> io::Result<usize> {
        for i in 0..BATCH_PACKETS {
            self.vectors[i] = libc::iovec { iov_base: self.packets[i].as_mut_ptr().cast(), iov_len: DATAGRAM_BYTES };
            let header = &mut self.headers[i].msg_hdr;
            header.msg_name = (&raw mut self.names[i]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut self.vectors[i];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[i].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES as _;
            header.msg_flags = 0;
        }
        // SAFETY: as many headers as told, each pointing at buffers of this batch of the lengths told; all live during
        // the call, and nobody else touches them.
        let received = unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                BATCH_PACKETS as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        if received >= 0 {
            return Ok((received as usize).min(BATCH_PACKETS));
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
            _ => Err(error),
        }
    }

    fn datagram(&self, i: usize) -> Datagram<'_> {
        let header = &self.headers[i];
        let (stamp_us, kernel_drops) = control_messages(&header.msg_hdr);
        Datagram {
            bytes: &self.packets[i][..(header.msg_len as usize).min(DATAGRAM_BYTES)],
            source: source_of(&self.names[i]),
            stamp_us,
            kernel_drops,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        }
    }
}

/// What one call has brought.
pub(crate) struct Datagrams<'a> {
    batch: &'a Batch,
    at: usize,
    received: usize,
}

impl<'a> Iterator for Datagrams<'a> {
    type Item = Datagram<'a>;

    fn next(&mut self) -> Option<Datagram<'a>> {
        let i = self.at;
        if i >= self.received {
            return None;
        }
        self.at += 1;
        Some(self.batch.datagram(i))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.received - self.at;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Datagrams<'_> {}

fn source_of(name: &libc::sockaddr_storage) -> Option<Source> {
    let name = ptr::from_ref(name);
    // SAFETY: a `sockaddr_storage` is as long as, and aligned for, the address of every family.
    let address: SocketAddr = match libc::c_int::from(unsafe { (*name).ss_family }) {
        libc::AF_INET => {
            // SAFETY: as above; the family says that it is one.
            let v4 = unsafe { &*name.cast::<libc::sockaddr_in>() };
            (Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)), u16::from_be(v4.sin_port)).into()
        }
        libc::AF_INET6 => {
            // SAFETY: as above; the family says that it is one.
            let v6 = unsafe { &*name.cast::<libc::sockaddr_in6>() };
            (Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port)).into()
        }
        _ => return None,
    };
    Some(address.into())
}

/// Arrival stamp in microseconds, and the drop counter.
fn control_messages(header: &libc::msghdr) -> (Option<i64>, u32) {
    let (mut stamp_us, mut kernel_drops) = (None, 0);
    // SAFETY: the kernel has filled `msg_control` with `msg_controllen` bytes of whole control messages; the macros
    // stay within them.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: not null, so it points at a whole `cmsghdr` in the buffer, which is aligned for it.
        let (level, kind, length) = unsafe { ((*message).cmsg_level, (*message).cmsg_type, (*message).cmsg_len) };
        // SAFETY: the data of a control message follows its header; reads below are checked against `cmsg_len`.
        let (data, data_bytes) = unsafe { (libc::CMSG_DATA(message), length - libc::CMSG_LEN(0) as usize) };
        if level == libc::SOL_SOCKET && kind == libc::SCM_TIMESTAMPNS && data_bytes >= size_of::<libc::timespec>() {
            // SAFETY: as many bytes as a `timespec` has are there; any bytes are one.
            let stamp = unsafe { data.cast::<libc::timespec>().read_unaligned() };
            stamp_us = Some(stamp.tv_sec.saturating_mul(1_000_000).saturating_add(stamp.tv_nsec / 1_000));
        } else if level == libc::SOL_SOCKET && kind == libc::SO_RXQ_OVFL && data_bytes >= size_of::<u32>() {
            // SAFETY: four bytes are there.
            kernel_drops = unsafe { data.cast::<u32>().read_unaligned() };
        }
        // SAFETY: `message` came from this header.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    (stamp_us, kernel_drops)
}

const _: () = assert!(offset_of!(Control, 0) == 0 && align_of::<Control>() >= align_of::<libc::cmsghdr>());

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;
    use crate::Clock;

    fn receiver(address: &str, recv_buffer_bytes: usize) -> (Socket, SocketAddr) {
        let socket = bind(address.parse().unwrap(), recv_buffer_bytes).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    #[test]
    fn packets_come_with_source_and_arrival() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let (socket, address) = receiver(ip, 1 << 20);
            let sender = UdpSocket::bind(ip).unwrap();
            let clock = Clock::anchored();
            let before = clock.now();
            sender.send_to(b"one", address).unwrap();
            sender.send_to(&[7; DATAGRAM_BYTES + 1], address).unwrap();
            let mut batch = Batch::new();
            let got: Vec<_> = batch.receive(socket.as_fd()).unwrap().collect();
            let reading = clock.read();
            assert_eq!(got.len(), 2);
            assert_eq!((got[0].bytes, got[0].truncated), (&b"one"[..], false));
            assert_eq!((got[1].bytes.len(), got[1].truncated), (DATAGRAM_BYTES, true));
            assert_eq!(got[0].source, Some(sender.local_addr().unwrap().into()));
            assert!(got[0].stamp_us.is_some());
            // The two clocks are read one after the other, so to within a little.
            let arrival = reading.arrival(got[0].stamp_us);
            assert!(arrival <= reading.now && arrival.micros_since(before) > -5_000);
            assert_eq!(got[0].kernel_drops, 0);
            assert_eq!(batch.receive(socket.as_fd()).unwrap().len(), 0);
        }
    }

    #[test]
    fn the_kernel_tells_what_it_dropped() {
        let (socket, address) = receiver("127.0.0.1:0", 4_096);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut batch = Batch::new();
        for _ in 0..200 {
            sender.send_to(&[0; 172], address).unwrap();
        }
        let mut received = 0;
        loop {
            let n = batch.receive(socket.as_fd()).unwrap().len();
            if n == 0 {
                break;
            }
            received += n;
        }
        assert!((1..200).contains(&received), "{received}");
        sender.send_to(&[0; 172], address).unwrap();
        let drops: Vec<_> = batch.receive(socket.as_fd()).unwrap().map(|d| d.kernel_drops as usize).collect();
        assert_eq!(drops, [200 - received]);
    }

    #[test]
    fn a_port_in_use_is_named() {
        let (_socket, address) = receiver("127.0.0.1:0", 4_096);
        let sentence = bind(address, 4_096).unwrap_err().to_string();
        assert!(sentence.contains(&address.port().to_string()) && sentence.contains("127.0.0.1"), "{sentence}");
    }
}
