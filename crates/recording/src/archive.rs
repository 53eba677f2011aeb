//! What one node has on its disk of calls that are over: finished recordings, and spools of which there is none yet.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use aimg_core::{NodeId, SessionId, TenantId};

use crate::{Error, PartDir};

/// The recordings and spools of one node.
#[derive(Clone, Debug)]
pub struct Archive {
    node: NodeId,
    recordings_dir: PathBuf,
    spool_dir: PathBuf,
}

impl Archive {
    /// Names the directories; they need not exist.
    pub fn new(node: NodeId, recordings_dir: impl Into<PathBuf>, spool_dir: impl Into<PathBuf>) -> Self {
        Self { node, recordings_dir: recordings_dir.into(), spool_dir: spool_dir.into() }
    }

    /// Whose disk it is.
    pub const fn node(&self) -> &NodeId {
        &self.node
    }

    /// Opens the recording at `path`, relative to the recordings directory; nothing where there is no such file.
    ///
    /// [`Error::Outside`] for a path that leads anywhere else, be it by a symbolic link.
    pub fn open(&self, path: &str) -> Result<Option<File>, Error> {
        let Some(path) = self.find(path)? else { return Ok(None) };
        found(File::open(&path)).map_err(Error::io("open", &path))
    }

    /// Removes the recording at `path` and the certificate beside it, where they are.
    pub fn remove(&self, path: &str) -> Result<(), Error> {
        let certificate = Path::new(path).with_extension("json");
        let certificate = certificate.to_str().unwrap_or(path);
        for path in [path, certificate] {
            if let Some(path) = self.find(path)? {
                found(fs::remove_file(&path)).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Whether there is audio of a session whose recording is not finished.
    pub fn is_unfinished(&self, tenant: TenantId, session: SessionId) -> Result<bool, Error> {
        let dir = PartDir::new(&self.spool_dir, tenant, session, 0).session_path();
        dir.try_exists().map_err(Error::io("look for", &dir))
    }

    /// Where a path of a recording's row really is.
    fn find(&self, path: &str) -> Result<Option<PathBuf>, Error> {
        let outside = || Error::Outside { path: path.to_owned() };
        let is_below = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !is_below(Path::new(path)) {
            return Err(outside());
        }
        let joined = self.recordings_dir.join(path);
        let Some(real) = found(fs::canonicalize(&joined)).map_err(Error::io("look for", &joined))? else {
            return Ok(None);
        };
        let dir = fs::canonicalize(&self.recordings_dir).map_err(Error::io("look for", &self.recordings_dir))?;
        if real.starts_with(dir) { Ok(Some(real)) } else { Err(outside()) }
    }
}

/// What is not there is nothing, and no error.
fn found<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn only_what_lies_below_is_opened_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let recordings = dir.path().join("recordings");
        fs::create_dir_all(recordings.join("a")).unwrap();
        for (path, text) in [("recordings/a/b.wav", "audio"), ("recordings/a/b.json", "{}"), ("secret.wav", "secret")] {
            fs::write(dir.path().join(path), text).unwrap();
        }
        std::os::unix::fs::symlink(dir.path().join("secret.wav"), recordings.join("a/link.wav")).unwrap();
        let archive = Archive::new("n1".parse().unwrap(), &recordings, dir.path().join("spool"));
        let mut text = String::new();
        archive.open("a/b.wav").unwrap().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "audio");
        let absolute = dir.path().join("secret.wav").display().to_string();
        for path in ["../secret.wav", "a/../../secret.wav", "./a/b.wav", "", "/", &absolute, "a/link.wav"] {
            assert!(matches!(archive.open(path), Err(Error::Outside { .. })), "{path}");
            assert!(matches!(archive.remove(path), Err(Error::Outside { .. })), "{path}");
        }
        assert!(dir.path().join("secret.wav").exists());
        for path in ["a/nothing.wav", "nothing/b.wav", "a/b.wav/c.wav"] {
            assert!(archive.open(path).unwrap().is_none(), "{path}");
        }
        archive.remove("a/b.wav").unwrap();
        assert!(!recordings.join("a/b.wav").exists() && !recordings.join("a/b.json").exists());
        archive.remove("a/b.wav").unwrap();
    }

    #[test]
    fn a_spool_is_unfinished_business() {
        let dir = tempfile::tempdir().unwrap();
        let (tenant, session) = ("0198c1de-1111-7000-8000-000000000000", "0198c1de-2222-7000-8000-000000000000");
        let (tenant, session) = (tenant.parse().unwrap(), session.parse().unwrap());
        let archive = Archive::new("n1".parse().unwrap(), dir.path().join("recordings"), dir.path());
        assert!(!archive.is_unfinished(tenant, session).unwrap());
        PartDir::new(dir.path(), tenant, session, 2).create().unwrap();
        assert!(archive.is_unfinished(tenant, session).unwrap());
    }
}
