//! This machine: directories and disks, limits of the kernel, and the UDP ports of the shards.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use rustix::fs::{statfs, statvfs};
use rustix::net::sockopt;
use rustix::process::{Resource, getrlimit};

use super::Config;
use super::finding::{Area, Failure, Finding};

/// Open files that a node needs beside its flows: database, links, directories, logs.
const FILES_BESIDE_FLOWS: u64 = 256;
/// Below this a disk is full before somebody looks.
const FREE_BYTES_MIN: u64 = 10 << 30;
/// Below this there is no room for a single call of some length.
const FREE_BYTES_NONE: u64 = 64 << 20;
/// Bytes of spool that a call makes in an hour: two directions of 50 records of 172 bytes and a head, each second.
const SPOOL_BYTES_PER_CALL_HOUR: u64 = 2 * 50 * 196 * 3_600;
/// What statfs calls file systems that are not a local disk: NFS, SMB (old and new), FUSE.
const REMOTE: [(i64, &str); 4] = [(0x6969, "NFS"), (0xff53_4d42, "CIFS"), (0xfe53_4d42, "SMB"), (0x6573_5546, "FUSE")];
/// The same for memory.
const TMPFS: i64 = 0x0102_1994;

/// A shard's port, as the look at the route uses it.
#[derive(Debug)]
pub(super) struct Shard {
    /// Bound and not read yet.
    pub(super) socket: UdpSocket,
    /// What Asterisk is told to send to.
    pub(super) address: SocketAddr,
}

/// Looks at everything, and opens the ports.
pub(super) fn examine(config: &Config) -> (Vec<Finding>, Vec<Shard>) {
    let mut found = Vec::new();
    found.extend(directory("spool", &config.spool_dir, config.disk_reserve_bytes));
    found.extend(directory("recordings", &config.recordings_dir, config.disk_reserve_bytes));
    found.push(open_files(config));
    found.push(receive_buffer(config));
    let shards = ports(config, &mut found);
    (found, shards)
}

fn directory(what: &str, dir: &Path, reserve_bytes: u64) -> Vec<Finding> {
    if let Err(error) = aimg_recording::check_writable(dir) {
        let lines = [format!("mkdir -p {0} && chown aimg: {0}", dir.display())];
        return vec![
            Finding::problem(Area::Machine, Failure::NotWritable, error.to_string())
                .cured_by("this machine, with the user that aimg runs as", lines),
        ];
    }
    let mut found = Vec::new();
    match statvfs(dir) {
        Ok(disk) => found.push(free(what, dir, disk.f_bavail.saturating_mul(disk.f_frsize), reserve_bytes)),
        Err(error) => {
            let at = dir.display();
            found.push(Finding::warning(Area::Machine, format!("the free space of {at} could not be seen: {error}")));
        }
    }
    if what == "spool" {
        found.extend(statfs(dir).ok().and_then(|fs| not_local(dir, fs.f_type)));
    }
    found
}

fn free(what: &str, dir: &Path, bytes: u64, reserve_bytes: u64) -> Finding {
    let (at, gib) = (dir.display(), bytes as f64 / f64::from(1 << 30));
    let hours = bytes / SPOOL_BYTES_PER_CALL_HOUR;
    let what = format!("{what} directory {at}: {gib:.1} GiB free, {hours} hours of one call in µ-law");
    if bytes < reserve_bytes {
        let what = format!("{what}; {reserve_bytes} bytes are kept free (disk.reserve_bytes), so no capture begins");
        Finding::problem(Area::Machine, Failure::NotWritable, what).cured_by("aimg.toml", [elsewhere(dir)])
    } else if bytes < FREE_BYTES_NONE {
        Finding::problem(Area::Machine, Failure::NotWritable, what).cured_by("aimg.toml", [elsewhere(dir)])
    } else if bytes < FREE_BYTES_MIN {
        Finding::warning(Area::Machine, what).cured_by("aimg.toml", [elsewhere(dir)])
    } else {
        Finding::ok(Area::Machine, what)
    }
}

fn elsewhere(dir: &Path) -> String {
    let key = if dir.ends_with("recordings") { "recordings_dir" } else { "spool_dir" };
    format!("{key} = \"(a directory on a disk with more room)\"")
}

/// The spool is mapped memory that has to keep up with the packets, and to be there after a crash.
fn not_local(dir: &Path, kind: i64) -> Option<Finding> {
    let at = dir.display();
    let what = match REMOTE.iter().find(|(number, _)| *number == kind) {
        Some((_, name)) => format!("spool directory {at} is on {name}: a pause of the network would cost audio"),
        None if kind == TMPFS => format!("spool directory {at} is memory: what is captured is lost with the machine"),
        None => return None,
    };
    let lines = ["spool_dir = \"(a directory on a local disk)\""];
    Some(Finding::warning(Area::Machine, what).cured_by("aimg.toml", lines))
}

/// Each flow has a spool file open.
fn open_files(config: &Config) -> Finding {
    let limit = getrlimit(Resource::Nofile).current;
    let needed = (config.media.flows_max * config.media.shards) as u64 + FILES_BESIDE_FLOWS;
    open_files_of(limit, needed)
}

fn open_files_of(limit: Option<u64>, needed: u64) -> Finding {
    let Some(limit) = limit.filter(|limit| *limit < needed) else {
        return Finding::ok(Area::Machine, format!("open files: enough for the {needed} of all flows at once"));
    };
    let calls = limit.saturating_sub(FILES_BESIDE_FLOWS) / 2;
    let what = format!(
        "open files: the limit here is {limit}, enough for {calls} captured calls; all flows at once need {needed}"
    );
    let enough = needed.max(65_536);
    let place = format!(
        "/etc/systemd/system/aimg.service.d/limits.conf (where a shell starts it: `ulimit -n {enough}` before)"
    );
    Finding::warning(Area::Machine, what)
        .cured_by(place, ["[Service]".to_owned(), format!("LimitNOFILE={enough}")])
        .then("systemctl daemon-reload && systemctl restart aimg")
}

/// What a shard's socket would get.
fn receive_buffer(config: &Config) -> Finding {
    let wanted = config.media.recv_buffer_bytes;
    let got = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string()).and_then(|socket| {
        // As shards do: beyond net.core.rmem_max only with CAP_NET_ADMIN.
        sockopt::set_socket_recv_buffer_size_force(&socket, wanted)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, wanted))
            .and_then(|()| sockopt::socket_recv_buffer_size(&socket))
            .map_err(|e| e.to_string())
    });
    match got {
        // The kernel gives twice what was asked for, for its own book-keeping.
        Ok(got) => receive_buffer_of(got / 2, wanted),
        Err(why) => Finding::warning(Area::Machine, format!("the receive buffer of a socket could not be seen: {why}")),
    }
}

fn receive_buffer_of(got: usize, wanted: usize) -> Finding {
    if got >= wanted {
        return Finding::ok(Area::Machine, format!("receive buffer: {wanted} bytes a shard, as set"));
    }
    let what = format!(
        "receive buffer: the kernel gives {got} of {wanted} bytes a shard: a busy shard loses packets that much sooner"
    );
    Finding::warning(Area::Machine, what)
        .cured_by("/etc/sysctl.d/60-aimg.conf", [format!("net.core.rmem_max = {wanted}")])
        .then("sysctl --system")
}

/// Opens the ports of all shards: the gateway's own, or free ones where a running gateway has them.
fn ports(config: &Config, found: &mut Vec<Finding>) -> Vec<Shard> {
    let media = &config.media;
    let mut shards = Vec::new();
    for number in 0..media.shards {
        let port =
            if media.port == 0 { 0 } else { media.port.saturating_add(u16::try_from(number).unwrap_or(u16::MAX)) };
        match open_port(media.bind, port, found) {
            Ok((socket, bound)) => shards.push(Shard { socket, address: SocketAddr::new(media.advertise, bound) }),
            Err(finding) => found.push(finding),
        }
    }
    shards
}

fn open_port(bind: IpAddr, port: u16, found: &mut Vec<Finding>) -> Result<(UdpSocket, u16), Finding> {
    let socket = UdpSocket::bind((bind, port)).or_else(|error| {
        if error.kind() != ErrorKind::AddrInUse {
            return Err(error);
        }
        let what = format!(
            "UDP port {port} is in use, by a running aimg if by nobody else: the route is proved with a free port \
             instead, which a firewall may treat differently"
        );
        found.push(Finding::ok(Area::Media, what));
        UdpSocket::bind((bind, 0))
    });
    let opened = socket.and_then(|socket| socket.local_addr().map(|address| (socket, address.port())));
    opened.map_err(|error| {
        let what = format!("UDP port {port} on {bind} cannot be opened: {error}");
        let cure = ["bind = \"0.0.0.0\"", "advertise = \"(the address of this machine that Asterisk reaches)\""];
        Finding::problem(Area::Media, Failure::Unavailable, what).cured_by("aimg.toml, section [media]", cure)
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn limits_below_what_is_set_are_told_with_the_lines_to_write() {
        let dir = Path::new("/var/lib/aimg/spool");
        let cases = [
            (open_files_of(None, 2_256), Level::Ok, ""),
            (open_files_of(Some(65_536), 2_256), Level::Ok, ""),
            (open_files_of(Some(1_024), 2_256), Level::Warning, "LimitNOFILE=65536"),
            (open_files_of(Some(65_536), 200_256), Level::Warning, "LimitNOFILE=200256"),
            (receive_buffer_of(8 << 20, 8 << 20), Level::Ok, ""),
            (receive_buffer_of(212_992, 8 << 20), Level::Warning, "net.core.rmem_max = 8388608"),
            (free("spool", dir, 20 << 30, 1 << 30), Level::Ok, ""),
            (free("spool", dir, 1 << 30, 1 << 30), Level::Warning, "spool_dir = "),
            (free("spool", dir, (1 << 30) - 1, 1 << 30), Level::Problem, "spool_dir = "),
            (free("recordings", Path::new("/x/recordings"), 1 << 20, 0), Level::Problem, "recordings_dir = "),
        ];
        for (finding, level, line) in cases {
            assert_eq!(finding.level, level, "{finding:?}");
            let lines = finding.cure.as_ref().map(|cure| cure.lines.join("\n")).unwrap_or_default();
            assert!(lines.contains(line) && lines.is_empty() == line.is_empty(), "{finding:?}");
        }
    }

    #[test]
    fn a_spool_that_is_no_local_disk_is_told() {
        let dir = Path::new("/spool");
        for (kind, words) in [(0x6969, "on NFS"), (TMPFS, "is memory"), (0xef53, "")] {
            let what = not_local(dir, kind).map(|finding| finding.what).unwrap_or_default();
            assert!(what.contains(words) && what.is_empty() == words.is_empty(), "{kind:x}: {what}");
        }
    }

    #[test]
    fn a_port_in_use_is_replaced_by_a_free_one() {
        let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
        let taken = holder.local_addr().unwrap().port();
        let mut found = Vec::new();
        let (_socket, port) = open_port(Ipv4Addr::LOCALHOST.into(), taken, &mut found).unwrap();
        assert_ne!(port, taken);
        assert!(found[0].what.contains("is in use"), "{found:?}");
        // TEST-NET-1 (RFC 5737) is no address of any machine.
        let finding = open_port(Ipv4Addr::new(192, 0, 2, 1).into(), 0, &mut found).unwrap_err();
        assert_eq!(finding.level, Level::Problem);
    }
}
