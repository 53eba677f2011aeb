//! The installations: an Asterisk of each version in a directory of its own, built by `scripts/lib/asterisk_root.sh`.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::Error;

/// Where modules are, under the root: with Debian's architecture (since 2023), or without.
const MODULE_DIRS: [&str; 3] = [
    "usr/lib/x86_64-linux-gnu/asterisk/modules",
    "usr/lib/aarch64-linux-gnu/asterisk/modules",
    "usr/lib/asterisk/modules",
];

/// An Asterisk release that the testbed has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// The oldest with externalMedia that a distribution still ships.
    V16,
    /// The newest with long-term support.
    V22,
}

impl Version {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V16, Self::V22];

    /// The number.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V16 => "16",
            Self::V22 => "22",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|v| v.name() == s).ok_or_else(|| format!("`{s}` is not 16 or 22"))
    }
}

/// The directory of one installation. Instances share it and do not write into it.
#[derive(Clone, Debug)]
pub struct Root {
    path: PathBuf,
}

impl Root {
    /// Finds the installation of a version in the cache.
    pub fn of(version: Version) -> Result<Self, Error> {
        let path = cache_dir().join(format!("asterisk-{version}"));
        if path.join("usr/sbin/asterisk").is_file() {
            Ok(Self { path })
        } else {
            Err(Error::NoRoot { version: version.name(), path })
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its prompts: one directory for each language and speaker.
    pub fn sounds(&self) -> PathBuf {
        self.path.join("usr/share/asterisk/sounds")
    }

    /// The modules' directory as a path under the root, without a leading slash.
    pub(crate) fn module_dir(&self) -> &'static str {
        // A root without modules would fail to boot and say so.
        MODULE_DIRS.into_iter().find(|dir| self.path.join(dir).is_dir()).unwrap_or(MODULE_DIRS[0])
    }

    /// Whether it has a module, such as `chan_rtp.so`.
    pub(crate) fn has_module(&self, module: &str) -> bool {
        self.path.join(self.module_dir()).join(module).is_file()
    }
}

/// `AIMG_CACHE`, or `~/.cache/aimg`: the same rule as in `scripts/lib/setup.sh`.
pub fn cache_dir() -> PathBuf {
    match env::var_os("AIMG_CACHE") {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => env::home_dir().unwrap_or_else(|| PathBuf::from("/root")).join(".cache/aimg"),
    }
}
