//! A spool directory belongs to one running gateway.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::Error;
use crate::atomic_file::{AtomicFile, create_dir};

/// Held as long as a gateway uses a spool directory; the kernel gives it back when the process dies, however it dies.
#[derive(Debug)]
pub struct SpoolLock {
    _file: File,
}

impl SpoolLock {
    /// Takes the directory, which is created where needed. [`Error::SpoolTaken`] when another gateway holds it.
    pub fn acquire(spool_dir: &Path) -> Result<Self, Error> {
        create_dir(spool_dir).map_err(not_writable(spool_dir))?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(spool_dir.join(".lock"))
            .map_err(not_writable(spool_dir))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::SpoolTaken { path: spool_dir.to_owned() }),
            Err(TryLockError::Error(e)) => Err(Error::io("lock", spool_dir)(e)),
        }
    }
}

/// Whether files can be made in a directory, which is created where needed; [`Error::NotWritable`] if not.
pub fn check_writable(dir: &Path) -> Result<(), Error> {
    create_dir(dir).map_err(not_writable(dir))?;
    match AtomicFile::create(&dir.join(".writable")) {
        Ok(_removed_again) => Ok(()),
        Err(Error::Io { source, .. }) => Err(not_writable(dir)(source)),
        Err(other) => Err(other),
    }
}

fn not_writable(dir: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::NotWritable { path: dir.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_directory_has_one_user() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("spool");
        let first = SpoolLock::acquire(&dir).unwrap();
        let message = SpoolLock::acquire(&dir).unwrap_err().to_string();
        assert!(message.contains("in use by another running gateway: stop that one"), "{message}");
        drop(first);
        SpoolLock::acquire(&dir).unwrap();
    }

    #[test]
    fn what_cannot_be_a_directory_is_not_writable() {
        let root = tempfile::tempdir().unwrap();
        check_writable(&root.path().join("made/when/needed")).unwrap();
        assert_eq!(std::fs::read_dir(root.path().join("made/when/needed")).unwrap().count(), 0);
        let file = root.path().join("file");
        std::fs::write(&file, b"").unwrap();
        for dir in [file.clone(), file.join("below")] {
            assert!(matches!(check_writable(&dir), Err(Error::NotWritable { .. })));
            assert!(matches!(SpoolLock::acquire(&dir), Err(Error::NotWritable { .. })));
        }
    }
}
