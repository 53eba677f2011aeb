//! Where the key of the secrets at rest comes from: SECRET_KEY, or a file made at first start.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aimg_core::DataKey;
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, Result};

/// Bytes of randomness in a key file that we make.
const KEY_BYTES: usize = 32;

/// The key that seals secrets: from `secret_key` when it is set, else from the file at `key_file`, which is made with
/// 32 random bytes (as hex, mode 0600) when it does not exist.
///
/// A key file that others may read, an empty one and an empty `secret_key` are errors.
pub fn data_key(secret_key: Option<&SecretString>, key_file: &Path) -> Result<DataKey> {
    match secret_key {
        Some(text) => derive(text.expose_secret(), || "SECRET_KEY".to_owned()),
        None => {
            if !key_file.exists() {
                make(key_file)?;
            }
            let text = read(key_file)?;
            derive(text.expose_secret(), || format!("the key file {}", key_file.display()))
        }
    }
}

fn derive(text: &str, origin: impl FnOnce() -> String) -> Result<DataKey> {
    let text = text.trim();
    if text.is_empty() { Err(Error::EmptyKey { origin: origin() }) } else { Ok(DataKey::derive(text.as_bytes())) }
}

fn read(path: &Path) -> Result<SecretString> {
    let mode = fs::metadata(path).map_err(|e| Error::from_io(e, path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::KeyFileOpen { path: path.to_owned(), mode });
    }
    fs::read_to_string(path).map(SecretString::from).map_err(|e| Error::from_io(e, path))
}

/// Makes the file whole or not at all: written aside and linked into place, so that of two programs that start together
/// one wins and both read the same key.
fn make(path: &Path) -> Result<()> {
    if let Some(dir) = path.parent() {
        crate::sqlite::make_dir(dir)?;
    }
    let key: [u8; KEY_BYTES] = rand::random();
    let aside = path.with_extension(format!("{:016x}.new", rand::random::<u64>()));
    let written = write(&aside, &hex(&key)).and_then(|()| match fs::hard_link(&aside, path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(Error::from_io(e, path)),
        _ => Ok(()),
    });
    // The link is the key file; a leftover beside it would be a second copy of the secret.
    fs::remove_file(&aside).map_err(|e| Error::from_io(e, &aside)).and(written)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|e| Error::from_io(e, path))?;
    writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(|e| Error::from_io(e, path))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: &str = "test";

    fn opens(a: &DataKey, b: &DataKey) -> bool {
        b.open(&a.seal("plain", [1; 24], CONTEXT), CONTEXT).is_ok()
    }

    #[test]
    fn a_key_file_is_made_once_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/secret.key");
        let first = data_key(None, &path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(text.trim().len(), 2 * KEY_BYTES);
        assert!(opens(&first, &data_key(None, &path).unwrap()));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn programs_that_start_together_get_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        let keys: Vec<DataKey> = std::thread::scope(|s| {
            let starts: Vec<_> = (0..8).map(|_| s.spawn(|| data_key(None, &path).unwrap())).collect();
            starts.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|k| opens(&keys[0], k)));
    }

    #[test]
    fn the_secret_key_wins_over_the_file_and_makes_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        let text = SecretString::from("installation secret");
        let key = data_key(Some(&text), &path).unwrap();
        assert!(!path.exists());
        assert!(!opens(&key, &data_key(None, &path).unwrap()));
    }

    #[test]
    fn a_key_that_others_read_or_that_is_empty_is_refused_with_the_cure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        fs::write(&path, "secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let message = data_key(None, &path).unwrap_err().to_string();
        assert!(message.contains(&format!("chmod 600 {}", path.display())), "{message}");
        assert!(message.contains("mode 640"), "{message}");

        fs::write(&path, "\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(data_key(None, &path), Err(Error::EmptyKey { .. })));
        assert!(matches!(data_key(Some(&SecretString::from(" ")), &path), Err(Error::EmptyKey { .. })));
    }
}
