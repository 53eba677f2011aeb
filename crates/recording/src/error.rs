//! Why a recording cannot be finished, or a directory not be used.

use std::io;
use std::path::{Path, PathBuf};

use aimg_spool::SpoolError;

/// Why a recording cannot be finished, or a directory not be used. The spool is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be read or written; trying again later may help.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: a verb.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The recording could not be written.
    #[error("cannot write the recording {}: {source}", path.display())]
    Wav {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: aimg_audio::Error,
    },
    /// The spool is of a newer gateway; it is left untouched.
    #[error("cannot finish {}: {source}", path.display())]
    NewerSpool {
        /// Which file.
        path: PathBuf,
        /// Both versions, and the cure.
        source: SpoolError,
    },
    /// Neither the manifest nor a spool can be read, so that nobody knows whose call it was, or nothing was captured at
    /// all.
    #[error("{} holds neither a manifest nor a spool that can be read: look into it, then remove it", path.display())]
    NothingReadable {
        /// The directory of the part.
        path: PathBuf,
    },
    /// The manifest cannot be read.
    #[error("the manifest {} cannot be read: {source}", path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A recording's row names a file that is not below the recordings directory.
    #[error("the path `{path}` of a recording does not lie in the recordings directory; restore its row from a backup")]
    Outside {
        /// The path.
        path: String,
    },
    /// Another gateway uses the spool directory.
    #[error(
        "the spool directory {} is in use by another running gateway: stop that one, or give this one a spool directory of its own",
        path.display()
    )]
    SpoolTaken {
        /// The directory.
        path: PathBuf,
    },
    /// A directory cannot be written to.
    #[error(
        "the directory {} cannot be written to ({source}): create it, and give it to the user who runs the gateway",
        path.display()
    )]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// Whether trying again later may help: the disk refused, and not what is on it.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Wav { .. })
    }

    /// Makes an [`Error::Io`] of what `action` met at `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
