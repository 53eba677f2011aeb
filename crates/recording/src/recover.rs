//! What an earlier process left in the spool directory, and how a finished part leaves it.

use std::fs::{self, ReadDir};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aimg_core::{Direction, SessionId, TenantId};
use aimg_spool::HEADER_BYTES;

use crate::{Error, PartDir};

/// What the name of a part's directory ends with while it is being removed.
const DISCARDED: &str = ".discarded";

/// Iterates over the parts in a spool directory. Call it before parts of one's own are opened: it cannot tell them from
/// those that an earlier process left.
#[derive(Debug)]
pub struct Unfinished {
    spool_dir: PathBuf,
    tenants: Level<TenantId>,
    sessions: Option<(TenantId, Level<SessionId>)>,
    parts: Option<(TenantId, SessionId, Level<u16>)>,
}

/// Finds the parts in a spool directory, in no order. Removals that an earlier process did not complete are completed.
/// A directory that cannot be read is an error and is passed over.
pub fn unfinished(spool_dir: &Path) -> Result<Unfinished, Error> {
    Ok(Unfinished { spool_dir: spool_dir.to_owned(), tenants: Level::open(spool_dir)?, sessions: None, parts: None })
}

impl Unfinished {
    fn step(&mut self) -> Result<Option<PartDir>, Error> {
        loop {
            if let Some((tenant, session, level)) = &mut self.parts {
                if let Some((part, _)) = level.next()? {
                    return Ok(Some(PartDir::new(&self.spool_dir, *tenant, *session, part)));
                }
                self.parts = None;
            } else if let Some((tenant, level)) = &mut self.sessions {
                match level.next()? {
                    Some((session, path)) => self.parts = Some((*tenant, session, Level::open(&path)?)),
                    None => self.sessions = None,
                }
            } else {
                let Some((tenant, path)) = self.tenants.next()? else {
                    return Ok(None);
                };
                self.sessions = Some((tenant, Level::open(&path)?));
            }
        }
    }
}

impl Iterator for Unfinished {
    type Item = Result<PartDir, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// The directories in a directory whose names are ids of one kind.
#[derive(Debug)]
struct Level<Id> {
    dir: PathBuf,
    entries: ReadDir,
    kind: std::marker::PhantomData<Id>,
}

impl<Id: FromStr> Level<Id> {
    fn open(dir: &Path) -> Result<Self, Error> {
        let entries = fs::read_dir(dir).map_err(Error::io("read the directory", dir))?;
        Ok(Self { dir: dir.to_owned(), entries, kind: std::marker::PhantomData })
    }

    fn next(&mut self) -> Result<Option<(Id, PathBuf)>, Error> {
        for entry in self.entries.by_ref() {
            let entry = entry.map_err(Error::io("read the directory", &self.dir))?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_str().unwrap_or_default();
            if !path.is_dir() {
                continue;
            }
            if let Ok(id) = name.parse() {
                return Ok(Some((id, path)));
            }
            if name.ends_with(DISCARDED) {
                remove_dir(&path)?;
            }
        }
        Ok(None)
    }
}

impl PartDir {
    /// Whether a process died while it made the part: there is no manifest, and no spool has room for a packet.
    pub fn is_stillborn(&self) -> bool {
        let holds_none = |spool: PathBuf| match fs::metadata(spool) {
            Ok(file) => file.len() <= HEADER_BYTES as u64,
            Err(e) => e.kind() == io::ErrorKind::NotFound,
        };
        let no_manifest = matches!(self.manifest_path().try_exists(), Ok(false));
        no_manifest && Direction::BOTH.into_iter().all(|direction| holds_none(self.spool_path(direction)))
    }

    /// Removes the part with its spools. Only for a part whose recording the database knows: there is no way back.
    ///
    /// It disappears at once; a crash in the middle leaves nothing that could be taken for a part.
    pub fn discard(&self) -> Result<(), Error> {
        let path = self.path();
        let discarded = self.session_path().join(format!("{}{DISCARDED}", self.part()));
        match fs::rename(&path, &discarded) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("remove", &path)(e)),
        }
        remove_dir(&discarded)?;
        // Refused while another part is in it. The tenant's directory stays: another call may begin in it any moment.
        let _ = fs::remove_dir(self.session_path());
        Ok(())
    }
}

fn remove_dir(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(root: &Path, tenant: u8, session: u8, part: u16) -> PartDir {
        let id = |n: u8| format!("0198c1de-1111-7000-8000-0000000000{n:02x}");
        PartDir::new(root, id(tenant).parse().unwrap(), id(session).parse().unwrap(), part)
    }

    fn found(root: &Path) -> Vec<String> {
        let mut paths: Vec<_> =
            unfinished(root).unwrap().map(|p| p.unwrap().path().to_str().unwrap().to_owned()).collect();
        paths.sort();
        paths
    }

    #[test]
    fn finds_parts_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let parts = [part(root.path(), 1, 1, 0), part(root.path(), 1, 1, 1), part(root.path(), 2, 3, 0)];
        for part in &parts {
            part.create().unwrap();
        }
        fs::create_dir_all(root.path().join("damaged")).unwrap();
        fs::write(root.path().join(".lock"), b"").unwrap();
        fs::write(parts[0].session_path().join("7"), b"no directory").unwrap();
        assert_eq!(found(root.path()), parts.each_ref().map(|p| p.path().to_str().unwrap().to_owned()));
    }

    #[test]
    fn a_discarded_part_is_gone_and_its_neighbour_stays() {
        let root = tempfile::tempdir().unwrap();
        let parts = [part(root.path(), 1, 1, 0), part(root.path(), 1, 1, 1)];
        for part in &parts {
            part.create().unwrap();
            fs::write(part.manifest_path(), b"{}").unwrap();
        }
        parts[0].discard().unwrap();
        parts[0].discard().unwrap();
        assert_eq!(found(root.path()), [parts[1].path().to_str().unwrap()]);
        parts[1].discard().unwrap();
        assert!(found(root.path()).is_empty() && !parts[1].session_path().exists());
    }

    #[test]
    fn a_part_is_stillborn_until_it_has_a_manifest_or_room_for_a_packet() {
        let root = tempfile::tempdir().unwrap();
        let part = part(root.path(), 1, 1, 0);
        part.create().unwrap();
        assert!(part.is_stillborn(), "nothing but the directory");
        let spool = part.spool_path(Direction::Callee);
        for (bytes, stillborn) in [(0, true), (HEADER_BYTES, true), (HEADER_BYTES + 1, false)] {
            fs::write(&spool, vec![0; bytes]).unwrap();
            assert_eq!(part.is_stillborn(), stillborn, "{bytes} bytes");
        }
        fs::remove_file(&spool).unwrap();
        fs::write(part.manifest_path(), b"{}").unwrap();
        assert!(!part.is_stillborn());
    }

    #[test]
    fn an_interrupted_removal_is_completed() {
        let root = tempfile::tempdir().unwrap();
        let part = part(root.path(), 1, 1, 4);
        part.create().unwrap();
        let discarded = part.session_path().join("4.discarded");
        fs::rename(part.path(), &discarded).unwrap();
        assert!(found(root.path()).is_empty());
        assert!(!discarded.exists());
    }

    #[test]
    fn a_missing_spool_directory_is_named() {
        let message = unfinished(Path::new("/nowhere/spool")).unwrap_err().to_string();
        assert!(message.contains("/nowhere/spool"), "{message}");
    }
}
