//! The name of a node that nobody named: made once, kept in the data directory.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use aimg_core::NodeId;
use anyhow::Context;

/// The file in the data directory.
const FILE: &str = "node";

/// The name in the data directory, which is made at random when there is none: two gateways that were set up alike must
/// not take each other's channels for their own leftovers.
pub(crate) fn name(data_dir: &Path) -> anyhow::Result<NodeId> {
    let path = data_dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let made = format!("n{:08x}", rand::random::<u32>());
            fs::create_dir_all(data_dir)
                .and_then(|()| fs::write(&path, &made))
                .with_context(|| format!("{} cannot be written; make it writable, or set AIMG_NODE", path.display()))?;
            made
        }
        read => {
            read.with_context(|| format!("{} cannot be read; make it readable, or set AIMG_NODE", path.display()))?
        }
    };
    text.trim()
        .parse()
        .with_context(|| format!("{} holds no node name; write one into it, or set AIMG_NODE", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let made = name(&data_dir).unwrap();
        assert_eq!(name(&data_dir).unwrap(), made);
        assert_ne!(name(&dir.path().join("other")).unwrap(), made);
    }

    #[test]
    fn a_file_that_holds_no_name_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "No Name!").unwrap();
        let error = format!("{:#}", name(dir.path()).unwrap_err());
        assert!(error.contains("holds no node name"), "{error}");
    }
}
