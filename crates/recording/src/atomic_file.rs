//! A file that is there whole or not at all, whatever happens in between.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::Error;

/// Owner writes, group reads: recordings are nobody else's business.
const FILE_MODE: u32 = 0o640;
const DIR_MODE: u32 = 0o750;

/// A file under a temporary name beside its final one. Dropped without [`AtomicFile::commit`], it is removed.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    is_committed: bool,
}

impl AtomicFile {
    /// Creates the temporary file, and the directories above it; what an earlier attempt left is overwritten.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        if let Some(dir) = path.parent() {
            create_dir(dir).map_err(Error::io("create the directory", dir))?;
        }
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(&temporary)
            .map_err(Error::io("create", &temporary))?;
        Ok(Self { file, temporary, path: path.to_owned(), is_committed: false })
    }

    /// Where to write.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Puts the file in its place, so that a power cut right after does not undo it. `root` is the highest directory
    /// that may have been created with it.
    pub(crate) fn commit(mut self, root: &Path) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::io("write", &self.temporary))?;
        fs::rename(&self.temporary, &self.path).map_err(Error::io("rename to", &self.path))?;
        self.is_committed = true;
        for dir in self.path.ancestors().skip(1).take_while(|dir| dir.starts_with(root)) {
            File::open(dir).and_then(|d| d.sync_all()).map_err(Error::io("write the directory", dir))?;
        }
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.is_committed {
            // Should it fail, the next attempt overwrites the file.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Creates a directory and those above it.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    /// Whoever removes an empty directory above at the same moment does so once.
    const ATTEMPTS_MAX: usize = 5;
    let mut attempts = 0;
    loop {
        attempts += 1;
        match DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && attempts < ATTEMPTS_MAX => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn appears_whole_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/file.json");
        let abandoned = AtomicFile::create(&path).unwrap();
        abandoned.file().write_all(b"half").unwrap();
        drop(abandoned);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);

        let whole = AtomicFile::create(&path).unwrap();
        whole.file().write_all(b"whole").unwrap();
        assert!(!path.exists());
        whole.commit(root.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        // The umask may take more away, never add.
        assert_eq!((mode(&path) & !FILE_MODE, mode(path.parent().unwrap()) & !DIR_MODE), (0, 0));
    }
}
