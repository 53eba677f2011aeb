//! What the gateway knows of a part while it is captured: `part.json` beside the spools.

use std::fs;
use std::io::{self, Write};

use aimg_core::{CaptureOrder, Codec, NodeId, PbxId, SessionId, TenantId, Timestamp, Uniqueid};
use serde::{Deserialize, Serialize};

use crate::atomic_file::AtomicFile;
use crate::{Error, PartDir};

/// What the gateway knows of a part. Stored when the part is opened, and again on answer and end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Whose call it is.
    pub tenant: TenantId,
    /// Where the call is.
    pub pbx: PbxId,
    /// Which call.
    pub session: SessionId,
    /// The part of the session's capture.
    pub part: u16,
    /// The node that captures it.
    pub node: NodeId,
    /// The channel that is tapped; one of an earlier version does not say.
    #[serde(default)]
    pub channel: Option<Uniqueid>,
    /// How both flows are encoded.
    pub codec: Codec,
    /// When the part was opened.
    pub opened_at: Timestamp,
    /// When the call was answered, if it was.
    pub answered_at: Option<Timestamp>,
    /// When the capture ended; nothing while it goes on, and when the gateway died in the middle of it.
    pub ended_at: Option<Timestamp>,
    /// Whether the call was found alive after a restart of the gateway.
    pub adopted: bool,
    /// When the call changed hands, if the part begins because of that.
    #[serde(default)]
    pub moved_at: Option<Timestamp>,
    /// The request by which the part begins, if any.
    #[serde(default)]
    pub begun_by: Option<CaptureOrder>,
    /// The request by which it ended, if any.
    #[serde(default)]
    pub ended_by: Option<CaptureOrder>,
}

impl Manifest {
    /// The directory it belongs to.
    pub fn part_dir(&self, spool_dir: impl Into<std::path::PathBuf>) -> PartDir {
        PartDir::new(spool_dir, self.tenant, self.session, self.part)
    }

    /// Stores it in its part's directory, which is created where needed; the one before stays whole until then.
    pub fn store(&self, dir: &PartDir) -> Result<(), Error> {
        let path = dir.manifest_path();
        let file = AtomicFile::create(&path)?;
        let json = serde_json::to_vec_pretty(self).map_err(|source| Error::Manifest { path: path.clone(), source })?;
        file.file().write_all(&json).map_err(Error::io("write", &path))?;
        file.commit(dir.spool_dir())
    }

    /// Reads the manifest of a part; nothing when there is none.
    pub fn load(dir: &PartDir) -> Result<Option<Self>, Error> {
        let path = dir.manifest_path();
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", &path)(e)),
        };
        serde_json::from_slice(&json).map(Some).map_err(|source| Error::Manifest { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_back_after_each_change() {
        let root = tempfile::tempdir().unwrap();
        let id = "0198c1de-1111-7000-8000-000000000000";
        let mut manifest = Manifest {
            tenant: id.parse().unwrap(),
            pbx: id.parse().unwrap(),
            session: id.parse().unwrap(),
            part: 0,
            node: "n1".parse().unwrap(),
            channel: Some(Uniqueid::new("1.1")),
            codec: Codec::Ulaw,
            opened_at: Timestamp::from_micros(5),
            answered_at: None,
            ended_at: None,
            adopted: true,
            moved_at: None,
            begun_by: None,
            ended_by: None,
        };
        let dir = manifest.part_dir(root.path());
        assert_eq!(Manifest::load(&dir).unwrap(), None);
        for answered_at in [None, Some(Timestamp::from_micros(9))] {
            manifest.answered_at = answered_at;
            manifest.store(&dir).unwrap();
            assert_eq!(Manifest::load(&dir).unwrap().as_ref(), Some(&manifest));
        }
        fs::write(dir.manifest_path(), b"{").unwrap();
        assert!(matches!(Manifest::load(&dir), Err(Error::Manifest { .. })));
    }
}
