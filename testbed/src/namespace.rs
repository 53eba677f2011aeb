//! Network namespaces: each with a loopback of its own and one TAP device whose frames come to us.
//!
//! They have no names and leave nothing behind: a namespace is there as long as a process is in it, and the first one is a
//! [`Guarded`].

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::guarded::{Guarded, Rights};
use crate::privilege::as_root;
use crate::{Error, wait_until};

/// What runs in the new namespace: $1 is socat's TAP device, $2 its socket. socat takes one frame at a time from each, and
/// waits rather than lose one.
const ENTER: &str = r#"ip link set lo up && umask 0 && exec socat -b 65536 "$1" "$2""#;

/// The TAP device's name in its namespace.
const DEVICE: &str = "bad0";

/// How long a namespace may take to be there.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The way into a network namespace, for programs and tests, as long as its [`BadNetwork`](crate::BadNetwork) is there.
#[derive(Clone, Debug)]
pub struct Namespace {
    address: Ipv4Addr,
    peer: Ipv4Addr,
    pid: u32,
}

impl Namespace {
    /// Its address on the way to the other namespace.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The other namespace's address.
    pub fn peer(&self) -> Ipv4Addr {
        self.peer
    }

    /// The same command, run in the namespace, with nothing but its own environment.
    pub fn command(&self, command: &Command) -> Command {
        let mut entered = as_root("nsenter");
        entered.args(&self.enter(Rights::Own)[1..]).args(["env", "-i"]);
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                let mut pair = name.to_owned();
                pair.push("=");
                pair.push(value);
                entered.arg(pair);
            }
        }
        if let Some(dir) = command.get_current_dir() {
            entered.current_dir(dir);
        }
        entered.arg(command.get_program()).args(command.get_args());
        entered
    }

    /// The words before a command that let it run in the namespace; they need root's rights, the command gets `rights`.
    pub(crate) fn enter(&self, rights: Rights) -> Vec<String> {
        let mut words = vec!["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.pid)];
        if let (Rights::Own, Ok(ours)) = (rights, fs::metadata("/proc/self")) {
            words.extend([format!("--setuid={}", ours.uid()), format!("--setgid={}", ours.gid())]);
        }
        words.push("--".to_owned());
        words
    }

    /// Frames that the kernel threw away because the TAP device's queue was full.
    pub(crate) fn overflowed(&self) -> Result<u64, Error> {
        let path = format!("/proc/{}/net/dev", self.pid);
        let table = fs::read_to_string(&path).map_err(Error::io(format!("cannot read {path}")))?;
        Ok(parse_overflowed(&table).unwrap_or(0))
    }
}

/// A namespace with what holds it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) way_in: Namespace,
    /// One datagram is one Ethernet frame, in both directions.
    pub(crate) frames: UnixDatagram,
    _socat: Guarded,
}

impl Held {
    /// Makes one whose TAP device has `address`, in the same network as `peer`. Its sockets are made in `dir`.
    pub(crate) fn start(dir: &Path, name: &str, address: Ipv4Addr, peer: Ipv4Addr) -> Result<Self, Error> {
        let [ours, socats] = ["ours", "socat"].map(|end| dir.join(format!("{name}.{end}")));
        let frames = UnixDatagram::bind(&ours).map_err(Error::io("cannot make a socket for frames"))?;
        let device = format!("TUN:{address}/30,tun-type=tap,tun-name={DEVICE},iff-no-pi,iff-up");
        let socket = format!("UNIX-SENDTO:{},bind={}", ours.display(), socats.display());
        let command = ["unshare", "--net", "sh", "-c", ENTER, "enter", &device, &socket];
        let mut socat = Guarded::spawn("socat", Rights::Root, command, &dir.join(format!("{name}.log")))?;
        // Its socket comes last.
        let ready = wait_until(START_TIMEOUT, || match socat.exit_code() {
            Some(code) => Some(Err(code)),
            None => frames.connect(&socats).is_ok().then_some(Ok(())),
        });
        match ready {
            Some(Ok(())) => Ok(Self { way_in: Namespace { address, peer, pid: socat.pid() }, frames, _socat: socat }),
            Some(Err(127)) => Err(Error::NoProgram { program: "socat", package: "socat" }),
            Some(Err(code)) => Err(Error::Ended { what: "socat".into(), code, log: socat.log_end() }),
            None => {
                Err(Error::TooLate { what: "a network namespace".into(), within: START_TIMEOUT, log: socat.log_end() })
            }
        }
    }
}

/// The column of dropped packets on the sending side: `name: 8 of receiving, bytes packets errs drop …`.
fn parse_overflowed(table: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix(DEVICE)?.strip_prefix(':'))?;
    line.split_whitespace().nth(11)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_and_directory_of_a_command_go_with_it() {
        let way_in = Namespace { address: Ipv4Addr::LOCALHOST, peer: Ipv4Addr::LOCALHOST, pid: 7 };
        let mut command = Command::new("it");
        command.env("NAME", "value").arg("argument").current_dir("/tmp");
        let entered = way_in.command(&command);
        let words: Vec<_> = entered.get_args().map(|w| w.to_string_lossy().into_owned()).collect();
        assert!(words.contains(&"--net=/proc/7/ns/net".to_owned()), "{words:?}");
        assert!(words.ends_with(&["env", "-i", "NAME=value", "it", "argument"].map(str::to_owned)), "{words:?}");
        assert_eq!(entered.get_current_dir(), Some(Path::new("/tmp")));
    }

    #[test]
    fn what_the_device_threw_away_is_found() {
        let table = "Inter-|   Receive                                                |  Transmit\n\
                     face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo\n\
                        lo:  1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n\
                      bad0: 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36\n";
        assert_eq!(parse_overflowed(table), Some(32));
        assert_eq!(parse_overflowed(""), None);
    }
}
