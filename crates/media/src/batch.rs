//! A batch of packets: one system call, buffers that outlive the process.

#![allow(unsafe_code)]

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::mem::{offset_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{Ordering, compiler_fence};

use memmap2::{MmapMut, MmapOptions};

use crate::mapping::reserve;
use crate::source::Source;

/// Packets one system call brings at most.
pub(crate) const BATCH_PACKETS: usize = 64;

/// Bytes of a packet's buffer; longer ones are cut by the kernel and counted. Asterisk sends at most 1292 for what we
/// capture (slin16, 40 ms). Not a power of two: the beginnings of all packets would compete for the same few lines of the
/// cache.
pub(crate) const DATAGRAM_BYTES: usize = 1_984;

/// Bytes for the two control messages that come with a packet, and to spare.
const CONTROL_BYTES: usize = 128;

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

/// What the kernel fills. Plain data of a fixed layout, for which all zeros is a value: it may be in a file.
#[repr(C)]
struct Arena {
    /// [`LAYOUT`], when this program has written the rest.
    layout: u64,
    /// How many packets of the last call are in the spools.
    done: u64,
    headers: [libc::mmsghdr; BATCH_PACKETS],
    names: [libc::sockaddr_storage; BATCH_PACKETS],
    controls: [Control; BATCH_PACKETS],
    packets: [[u8; DATAGRAM_BYTES]; BATCH_PACKETS],
}

/// Tells arenas of other layouts apart: a version, and the size.
const LAYOUT: u64 = 1 << 32 | size_of::<Arena>() as u64;

/// Control messages begin where a `cmsghdr` may.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// The buffers of a batch, made once.
///
/// With a file behind them, a packet that the kernel has given us is in the page cache before anybody has looked at it: a
/// process that is killed between taking packets from its socket and spooling them leaves them there, and its successor
/// gets them with [`Batch::left`].
pub(crate) struct Batch {
    map: MmapMut,
    vectors: Box<[libc::iovec]>,
    /// How many headers, from the first, may hold something of an earlier call.
    touched: usize,
}

// SAFETY: the pointers in `vectors` and in the arena's headers are into what the batch itself owns.
unsafe impl Send for Batch {}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Batch")
    }
}

impl Batch {
    /// Buffers in memory only.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self::over(MmapMut::map_anon(size_of::<Arena>())?))
    }

    /// Buffers in a file, which is made when it does not exist. With `keep`, what an earlier process left is kept.
    pub(crate) fn in_file(path: &Path, keep: bool) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(!keep).mode(0o600).open(path)?;
        reserve(&file, 0, size_of::<Arena>() as u64)?;
        // SAFETY: as for every mapping of this crate: the file is ours alone, of mode 0600 and in a directory that the
        // gateway has locked, nobody cuts it, and its blocks are reserved. What bytes it holds does not matter: `Arena`
        // takes any, and lengths from it are bounded before use.
        let map = unsafe { MmapOptions::new().len(size_of::<Arena>()).map_mut(&file) }?;
        Ok(Self::over(map))
    }

    fn over(map: MmapMut) -> Self {
        // SAFETY: a plain struct of the C library, for which all zeros is a value.
        let vector = unsafe { zeroed::<libc::iovec>() };
        let mut batch = Self { map, vectors: vec![vector; BATCH_PACKETS].into(), touched: BATCH_PACKETS };
        let arena = batch.arena_mut();
        if arena.layout != LAYOUT {
            arena.headers.iter_mut().for_each(|header| header.msg_len = 0);
            arena.done = 0;
            arena.layout = LAYOUT;
        }
        batch.point_headers();
        batch
    }

    fn arena(&self) -> &Arena {
        // SAFETY: the map is as long as an arena, begins at a page, and any bytes are one; nobody else has it.
        unsafe { &*self.map.as_ptr().cast::<Arena>() }
    }

    fn arena_mut(&mut self) -> &mut Arena {
        // SAFETY: as above, and borrowed mutably.
        unsafe { &mut *self.map.as_mut_ptr().cast::<Arena>() }
    }

    /// Hands over what an earlier process took from its socket and may not have spooled. The first of them may be in its
    /// spool already: the process was killed between spooling it and noting that.
    pub(crate) fn left(&mut self, mut take: impl FnMut(Datagram<'_>)) {
        let done = usize::try_from(self.arena().done).unwrap_or(BATCH_PACKETS);
        for i in done..BATCH_PACKETS {
            // The kernel fills one after the other, and an empty datagram is no RTP.
            if self.arena().headers[i].msg_len > 0 {
                take(self.datagram(i));
                self.note_done(i + 1);
            }
        }
    }

    /// So many packets, from the first, are in their spools.
    pub(crate) fn note_done(&mut self, done: usize) {
        // The packet's record is in its spool: a plain store, as those were; a killed process has made all stores before.
        compiler_fence(Ordering::Release);
        self.arena_mut().done = done as u64;
    }

    /// Lets the headers point at the buffers of this process, without touching what the kernel has told. Neither moves.
    fn point_headers(&mut self) {
        for i in 0..BATCH_PACKETS {
            let arena = self.arena_mut();
            let (name, control, packet) =
                (&raw mut arena.names[i], arena.controls[i].0.as_mut_ptr(), arena.packets[i].as_mut_ptr());
            let vector = &raw mut self.vectors[i];
            self.vectors[i] = libc::iovec { iov_base: packet.cast(), iov_len: DATAGRAM_BYTES };
            let header = &mut self.arena_mut().headers[i].msg_hdr;
            header.msg_name = name.cast();
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.cast();
        }
    }

    /// Receives what is there, without waiting, and returns how many packets there were; an empty socket is no error.
    /// They are to be taken in order with [`Batch::datagram`], each followed by [`Batch::note_done`].
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let touched = self.touched;
        for header in &mut self.arena_mut().headers[..touched] {
            header.msg_len = 0;
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
            header.msg_hdr.msg_flags = 0;
        }
        // Only when no length is left of the call before: a process killed in between has left nothing.
        self.note_done(0);
        // SAFETY: as many headers as told, each pointing at buffers of this batch of the lengths told; all live during
        // the call, and nobody else touches them.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.arena_mut().headers.as_mut_ptr(),
                BATCH_PACKETS as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(received).unwrap_or(0).min(BATCH_PACKETS);
        // The one at which the kernel stopped, too.
        self.touched = (count + 1).min(BATCH_PACKETS);
        if received >= 0 {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
            _ => Err(error),
        }
    }

    /// Where packet `i` came from.
    pub(crate) fn source(&self, i: usize) -> Option<Source> {
        source_of(&self.arena().names[i])
    }

    /// Packet `i` of the last call.
    pub(crate) fn datagram(&self, i: usize) -> Datagram<'_> {
        let arena = self.arena();
        let header = &arena.headers[i];
        let control = &arena.controls[i].0[..header.msg_hdr.msg_controllen.min(CONTROL_BYTES)];
        let (stamp_us, kernel_drops) = control_messages(control);
        Datagram {
            bytes: &arena.packets[i][..(header.msg_len as usize).min(DATAGRAM_BYTES)],
            source: source_of(&arena.names[i]),
            stamp_us,
            kernel_drops,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        }
    }
}

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

/// Arrival stamp in microseconds, and the drop counter. Read byte by byte within bounds, and not by the C library's
/// macros: what another process left in a file need not be what a kernel wrote.
fn control_messages(control: &[u8]) -> (Option<i64>, u32) {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    const WORD: usize = size_of::<usize>();
    let (mut stamp_us, mut kernel_drops) = (None, 0);
    let mut rest = control;
    // A header is the length of the whole message (usize), its level and its type (int).
    while let Some((length, level_and_type)) = rest.split_first_chunk::<WORD>() {
        let length = usize::from_ne_bytes(*length);
        let Some((level_and_type, _)) = level_and_type.split_first_chunk::<8>() else { break };
        let Some(data) = rest.get(HEADER..length) else { break };
        let [level, kind] = [0, 4].map(|at| i32_at(level_and_type, at));
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => stamp_us = micros(data),
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                kernel_drops = data.first_chunk().map_or(0, |drops| u32::from_ne_bytes(*drops));
            }
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(WORD)..).unwrap_or_default();
    }
    (stamp_us, kernel_drops)
}

/// A `timespec` of two 64-bit numbers.
fn micros(timespec: &[u8]) -> Option<i64> {
    let (seconds, rest) = timespec.split_first_chunk()?;
    let (seconds, nanos) = (i64::from_ne_bytes(*seconds), i64::from_ne_bytes(*rest.first_chunk()?));
    Some(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000))
}

fn i32_at(bytes: &[u8; 8], at: usize) -> i32 {
    i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

const _: () = assert!(offset_of!(Control, 0) == 0 && align_of::<Control>() >= align_of::<libc::cmsghdr>());
const _: () = assert!(size_of::<libc::timespec>() == 16 && size_of::<libc::cmsghdr>() == size_of::<usize>() + 8);

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;
    use crate::Clock;
    use crate::clock::Stamps;
    use crate::socket::tests::receiver;

    fn count(batch: &mut Batch, socket: &socket2::Socket) -> usize {
        batch.receive(socket.as_fd()).unwrap()
    }

    #[test]
    fn packets_come_with_source_and_arrival() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let (socket, address) = receiver(ip, 1 << 20);
            let sender = UdpSocket::bind(ip).unwrap();
            let clock = Clock::anchored();
            let mut stamps = Stamps::new(clock);
            let before = clock.now();
            sender.send_to(b"one", address).unwrap();
            sender.send_to(&[7; DATAGRAM_BYTES + 1], address).unwrap();
            let mut batch = Batch::new().unwrap();
            assert_eq!(count(&mut batch, &socket), 2);
            let reading = stamps.read();
            let got = [0, 1].map(|i| {
                let d = batch.datagram(i);
                assert_eq!(batch.source(i), d.source);
                (d.bytes.to_vec(), d.truncated, d.source, d.stamp_us)
            });
            assert_eq!((&got[0].0[..], got[0].1), (&b"one"[..], false));
            assert_eq!((got[1].0.len(), got[1].1), (DATAGRAM_BYTES, true));
            assert_eq!(got[0].2, Some(sender.local_addr().unwrap().into()));
            assert!(got[0].3.is_some());
            // The two clocks are read one after the other, so to within a little.
            let arrival = reading.arrival(got[0].3);
            assert!(arrival <= reading.now && arrival.micros_since(before) > -5_000);
            assert_eq!(count(&mut batch, &socket), 0);
        }
    }

    #[test]
    fn the_kernel_tells_what_it_dropped() {
        let (socket, address) = receiver("127.0.0.1:0", 4_096);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut batch = Batch::new().unwrap();
        for _ in 0..200 {
            sender.send_to(&[0; 172], address).unwrap();
        }
        let mut received = 0;
        loop {
            let n = count(&mut batch, &socket);
            if n == 0 {
                break;
            }
            received += n;
        }
        assert!((1..200).contains(&received), "{received}");
        sender.send_to(&[0; 172], address).unwrap();
        assert_eq!(count(&mut batch, &socket), 1);
        assert_eq!(batch.datagram(0).kernel_drops as usize, 200 - received);
    }

    /// Where a process is killed that has taken packets and spooled so many of them.
    fn killed_after(spooled: usize, path: &Path) -> Vec<Vec<u8>> {
        let (socket, address) = receiver("127.0.0.1:0", 1 << 20);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for n in 0..5u8 {
            sender.send_to(&[n; 100], address).unwrap();
        }
        let mut batch = Batch::in_file(path, true).unwrap();
        assert_eq!(count(&mut batch, &socket), 5);
        batch.note_done(spooled);
        drop(batch);
        let mut left = Vec::new();
        let source = Some(sender.local_addr().unwrap().into());
        let mut next = Batch::in_file(path, true).unwrap();
        next.left(|d| {
            assert_eq!((d.source, d.truncated, d.stamp_us.is_some()), (source, false, true));
            left.push(d.bytes.to_vec());
        });
        next.left(|d| panic!("{} bytes are handed over twice", d.bytes.len()));
        left
    }

    #[test]
    fn packets_of_a_killed_process_are_handed_over() {
        let directory = tempfile::tempdir().unwrap();
        for spooled in 0..=5 {
            let left = killed_after(spooled, &directory.path().join("batch"));
            assert_eq!(left, (spooled..5).map(|n| vec![n as u8; 100]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn any_file_is_a_batch() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("batch");
        for bytes in [vec![], vec![0xff; 10], vec![0xff; size_of::<Arena>()], vec![0xff; 2 * size_of::<Arena>()]] {
            std::fs::write(&path, bytes).unwrap();
            Batch::in_file(&path, true).unwrap().left(|_| panic!("a packet out of nothing"));
        }
        // One of our layout, with nonsense in it.
        let mut bytes = vec![0xff; size_of::<Arena>()];
        bytes[..16].copy_from_slice(&[LAYOUT.to_ne_bytes(), 0u64.to_ne_bytes()].concat());
        std::fs::write(&path, bytes).unwrap();
        let mut found = 0;
        Batch::in_file(&path, true).unwrap().left(|d| found += d.bytes.len());
        assert_eq!(found, BATCH_PACKETS * DATAGRAM_BYTES);
    }

    #[test]
    fn without_a_predecessor_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("batch");
        killed_after(5, &path);
        Batch::in_file(&path, false).unwrap().left(|_| panic!("a packet of another life"));
    }
}
