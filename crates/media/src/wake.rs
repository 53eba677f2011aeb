//! A shard's sleep: until its socket has something, somebody wakes it, or its next tick.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Wakes one shard: an eventfd.
#[derive(Debug)]
pub(crate) struct Wake(OwnedFd);

impl Wake {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: plain numbers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was made just above, and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Ends the shard's sleep, or the next one.
    pub(crate) fn wake(&self) {
        let one = 1u64;
        // SAFETY: eight bytes that live during the call. It can only fail when the counter is at its end, and then the
        // shard is awake.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    }

    fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes that live during the call. It can only fail when there is nothing to clear.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    }

    /// Sleeps until `socket`, where there is one, is readable, somebody has called [`Wake::wake`], or `longest` is over;
    /// may end early.
    pub(crate) fn sleep(&self, socket: Option<BorrowedFd<'_>>, longest: Option<Duration>) {
        // The kernel passes over a negative descriptor.
        let socket = socket.map_or(-1, |socket| socket.as_raw_fd());
        let mut fds = [socket, self.0.as_raw_fd()].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        // Rounded up: rounded down, the last millisecond would be spent spinning.
        let timeout_ms = longest.map_or(-1, |d| i32::try_from(d.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX));
        // SAFETY: an array of as many entries as told, alive during the call.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout_ms) };
        if ready > 0 && fds[1].revents != 0 {
            self.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_wake_before_the_sleep_ends_it_once() {
        let (wake, socket) = (Wake::new().unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        wake.wake();
        wake.wake();
        let begin = Instant::now();
        wake.sleep(Some(socket.as_fd()), None);
        wake.sleep(Some(socket.as_fd()), Some(Duration::from_millis(5)));
        assert!(begin.elapsed() >= Duration::from_millis(5));
    }

    #[test]
    fn a_packet_ends_the_sleep() {
        let (wake, socket) = (Wake::new().unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        wake.sleep(Some(socket.as_fd()), None);
        // Who does not look at the socket sleeps on.
        let begin = Instant::now();
        wake.sleep(None, Some(Duration::from_millis(5)));
        assert!(begin.elapsed() >= Duration::from_millis(5));
    }
}
