//! A shard's UDP socket: bound with what tells loss and arrival.

#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::Error;

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

/// Takes over the sockets that the parent of this process has made with [`crate::bind_ports`] and left open for it. Each
/// number may be taken once.
pub fn inherited_sockets(fds: &[RawFd]) -> Result<Vec<UdpSocket>, Error> {
    fds.iter().map(|fd| inherited(*fd)).collect()
}

fn inherited(fd: RawFd) -> Result<UdpSocket, Error> {
    if fd < 3 {
        return Err(io::Error::other(format!("file descriptor {fd} is no socket that a parent has left")).into());
    }
    // SAFETY: the parent left the descriptor open for us and nobody else in this process has it: descriptors that we make
    // ourselves are close-on-exec, so this one is not one of them. One that is not open fails on the first use, below.
    let socket = unsafe { UdpSocket::from_raw_fd(fd) };
    socket.local_addr()?;
    let socket = Socket::from(socket);
    // Not for programs that we start.
    socket.set_cloexec(true)?;
    Ok(socket.into())
}

fn set_option(socket: &Socket, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` lives during the call and is as long as told; the kernel checks the rest.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw const value).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn receiver(address: &str, recv_buffer_bytes: usize) -> (Socket, SocketAddr) {
        let socket = bind(address.parse().unwrap(), recv_buffer_bytes).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    #[test]
    fn a_port_in_use_is_named() {
        let (_socket, address) = receiver("127.0.0.1:0", 4_096);
        let sentence = bind(address, 4_096).unwrap_err().to_string();
        assert!(sentence.contains(&address.port().to_string()) && sentence.contains("127.0.0.1"), "{sentence}");
    }
}
