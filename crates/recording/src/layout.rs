//! Where things are. Path components come from our own ids and times only, never from what a call says of itself.
//!
//! - `<spool_dir>/<tenant>/<session>/<part>/{part.json, caller.spool, callee.spool}` while a call is captured
//! - `<spool_dir>/damaged/` for spools whose header cannot be read
//! - `<recordings_dir>/<tenant>/<yyyy>/<mm>/<dd>/<session>[.<part>].{wav, json}` when it is finished (UTC; no part for 0)

use std::fmt;
use std::path::{Path, PathBuf};

use aimg_core::{Direction, SessionId, TenantId, Timestamp};
use jiff::tz::TimeZone;

use crate::Error;
use crate::atomic_file::create_dir;

/// Where unreadable spools are kept, below the spool directory.
const DAMAGED_DIR: &str = "damaged";

/// The directory of one part of a session's capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartDir {
    spool_dir: PathBuf,
    tenant: TenantId,
    session: SessionId,
    part: u16,
}

impl PartDir {
    /// Names the directory; it need not exist.
    pub fn new(spool_dir: impl Into<PathBuf>, tenant: TenantId, session: SessionId, part: u16) -> Self {
        Self { spool_dir: spool_dir.into(), tenant, session, part }
    }

    /// Whose call it is.
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Which call.
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The part of the session's capture.
    pub const fn part(&self) -> u16 {
        self.part
    }

    /// The spool directory it is in.
    pub fn spool_dir(&self) -> &Path {
        &self.spool_dir
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.session_path().join(self.part.to_string())
    }

    /// The directory of the session.
    pub(crate) fn session_path(&self) -> PathBuf {
        self.spool_dir.join(self.tenant.to_string()).join(self.session.to_string())
    }

    /// What the gateway knows of the call.
    pub fn manifest_path(&self) -> PathBuf {
        self.path().join("part.json")
    }

    /// The packets of a direction.
    pub fn spool_path(&self, direction: Direction) -> PathBuf {
        self.path().join(format!("{direction}.spool"))
    }

    /// Where the spool of a direction is kept when its header cannot be read; what is wrong with it is beside it, with
    /// `.txt` appended.
    pub fn damaged_path(&self, direction: Direction) -> PathBuf {
        let name = format!("{}.{}.{}.{direction}.spool", self.tenant, self.session, self.part);
        self.spool_dir.join(DAMAGED_DIR).join(name)
    }

    /// Creates the directory and those above it, for `media` to open its spools in.
    pub fn create(&self) -> Result<(), Error> {
        let path = self.path();
        create_dir(&path).map_err(Error::io("create the directory", &path))
    }
}

/// Where a recording is, below the recordings directory, without its extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingPath(String);

impl RecordingPath {
    /// The path of a part that was opened at `opened_at`.
    pub fn new(tenant: TenantId, session: SessionId, part: u16, opened_at: Timestamp) -> Self {
        let opened_at = jiff::Timestamp::from_microsecond(opened_at.as_micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let date = TimeZone::UTC.to_datetime(opened_at).date();
        let day = format!("{:04}/{:02}/{:02}", date.year(), date.month(), date.day());
        let part = if part > 0 { format!(".{part}") } else { String::new() };
        Self(format!("{tenant}/{day}/{session}{part}"))
    }

    /// The recording, relative to the recordings directory.
    pub fn wav(&self) -> String {
        format!("{}.wav", self.0)
    }

    /// Its certificate, relative to the recordings directory.
    pub fn certificate(&self) -> String {
        format!("{}.json", self.0)
    }
}

impl fmt::Display for RecordingPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198c1de-1111-7000-8000-000000000000";

    #[test]
    fn recordings_are_ordered_by_tenant_and_day() {
        let (tenant, session) = (ID.parse().unwrap(), ID.parse().unwrap());
        for (part, opened_at, expected) in [
            (0, "2026-01-31T23:59:59.9Z", format!("{ID}/2026/01/31/{ID}.wav")),
            (2, "2026-11-01T00:00:00Z", format!("{ID}/2026/11/01/{ID}.2.wav")),
        ] {
            let path = RecordingPath::new(tenant, session, part, opened_at.parse().unwrap());
            assert_eq!(path.wav(), expected);
        }
        let no_time = RecordingPath::new(tenant, session, 0, Timestamp::from_micros(i64::MAX));
        assert_eq!(no_time.certificate(), format!("{ID}/1970/01/01/{ID}.json"));
    }

    #[test]
    fn a_part_has_its_own_directory() {
        let part = PartDir::new("/spool", ID.parse().unwrap(), ID.parse().unwrap(), 1);
        assert_eq!(part.spool_path(Direction::Callee), Path::new(&format!("/spool/{ID}/{ID}/1/callee.spool")));
        assert_eq!(
            part.damaged_path(Direction::Caller),
            Path::new(&format!("/spool/damaged/{ID}.{ID}.1.caller.spool"))
        );
    }
}
