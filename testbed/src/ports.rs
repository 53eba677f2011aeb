//! Loopback ports of which no two testbeds get the same, in whatever processes they are.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;

use crate::Error;
use crate::root::cache_dir;

/// Below Linux's ephemeral ports (32768), so that no outgoing connection takes one of ours by chance.
const PORTS: Range<u16> = 20_000..32_736;

/// Ports that one lock stands for.
const UNIT_PORTS: u16 = 64;

/// A row of ports on loopback, ours as long as this lives: each unit of 64 is a locked file in the cache.
#[derive(Debug)]
pub struct PortBlock {
    first: u16,
    count: u16,
    /// Unlocked when they are closed.
    _locks: Vec<File>,
}

impl PortBlock {
    /// Takes at least `count` ports in a row, none of which is in use.
    pub fn reserve(count: u16) -> Result<Self, Error> {
        let dir = cache_dir().join("ports");
        let failed = || Error::io(format!("cannot lock ports in {}", dir.display()));
        fs::create_dir_all(&dir).map_err(failed())?;
        // Two that search at once would take every other unit from each other.
        let search = File::create(dir.join("search")).map_err(failed())?;
        search.lock().map_err(failed())?;
        let per_block = usize::from(count.div_ceil(UNIT_PORTS));
        let units: Vec<u16> = PORTS.step_by(usize::from(UNIT_PORTS)).collect();
        let mut locks = Vec::new();
        for (i, &unit) in units.iter().enumerate() {
            let lock = File::create(dir.join(unit.to_string())).map_err(failed())?;
            if lock.try_lock().is_ok() && is_free(unit) {
                locks.push(lock);
            } else {
                locks.clear();
            }
            if locks.len() == per_block {
                let first = units[i + 1 - per_block];
                return Ok(Self { first, count: UNIT_PORTS * locks.len() as u16, _locks: locks });
            }
        }
        Err(Error::NoPorts { count, first: PORTS.start, last: PORTS.end - 1 })
    }

    /// The first port; it is even.
    pub fn first(&self) -> u16 {
        self.first
    }

    /// The last port.
    pub fn last(&self) -> u16 {
        self.first + self.count - 1
    }
}

/// Whether nobody, with or without a lock, listens on a port of the unit.
fn is_free(unit: u16) -> bool {
    (unit..unit + UNIT_PORTS).all(|port| {
        let address = (Ipv4Addr::LOCALHOST, port);
        UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_out_twice() {
        let blocks: Vec<PortBlock> = [64, 65, 512, 1].iter().map(|&n| PortBlock::reserve(n).unwrap()).collect();
        let mut ports: Vec<u16> = blocks.iter().flat_map(|b| b.first()..=b.last()).collect();
        assert_eq!(ports.len(), 64 + 128 + 512 + 64);
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 64 + 128 + 512 + 64);
    }

    #[test]
    fn a_port_in_use_is_not_given_out() {
        let probe = PortBlock::reserve(1).unwrap();
        let port = probe.first() + 7;
        let _holder = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        drop(probe);
        let block = PortBlock::reserve(1).unwrap();
        assert!(!(block.first()..=block.last()).contains(&port));
    }

    #[test]
    fn too_many_ports_are_refused() {
        assert!(matches!(PortBlock::reserve(20_000), Err(Error::NoPorts { count: 20_000, .. })));
    }
}
