//! The directory of one running program, named by its ports.

use std::fs;
use std::path::{Path, PathBuf};

use crate::privilege::{as_root, is_root};
use crate::root::cache_dir;
use crate::{Error, PortBlock};

/// An empty directory that is ours as long as a block of ports is, and goes when this is dropped. What a process that was
/// killed has left there goes when its ports are taken again, so there is never more of it than there are ports.
#[derive(Debug)]
pub(crate) struct WorkDir(PathBuf);

impl WorkDir {
    /// Makes the directory. It has to be dropped before `ports` is.
    pub(crate) fn of(ports: &PortBlock) -> Result<Self, Error> {
        let path = cache_dir().join("running").join(ports.first().to_string());
        remove(&path);
        fs::create_dir_all(&path).map_err(Error::io(format!("cannot make {}", path.display())))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// A failure shows when the directory is made again.
fn remove(path: &Path) {
    let removed = fs::remove_dir_all(path);
    // An Asterisk started by sudo has made directories of root's in there.
    if removed.is_err() && path.exists() && !is_root() {
        let _ = as_root("rm").arg("-rf").arg(path).status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_behind_is_gone() {
        let ports = PortBlock::reserve(1).unwrap();
        let dir = WorkDir::of(&ports).unwrap();
        let path = dir.path().to_owned();
        fs::create_dir(path.join("left")).unwrap();
        // As when the process is killed.
        std::mem::forget(dir);
        let dir = WorkDir::of(&ports).unwrap();
        assert_eq!(dir.path(), path);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        drop(dir);
        assert!(!path.exists());
    }
}
