//! Why a file cannot be read or made as a spool. Damage inside a spool is no error: the reader counts it and reads on.

use crate::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, HEADER_BYTES, VERSION};

/// What is wrong with a spool as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// The file ends within its header page.
    #[error(
        "spool of {bytes} bytes is shorter than its header of {HEADER_BYTES}: the gateway died while it made the file; nothing was recorded in it and it can be deleted"
    )]
    Short {
        /// The length of the file.
        bytes: usize,
    },
    /// The first bytes are not a spool's.
    #[error("not a spool file: move it out of the spool directory")]
    NotASpool,
    /// Made by a newer gateway.
    #[error(
        "spool version {found} is newer than version {VERSION} of this gateway: finish it with the gateway that wrote it, or a newer one"
    )]
    Newer {
        /// The version in the file.
        found: u32,
    },
    /// The header does not fit its checksum.
    #[error("the spool's header is damaged: whose call it is cannot be told; keep the file for a repair by hand")]
    Damaged,
    /// The description of the flow is no JSON that this version knows.
    #[error("the spool's description of its flow cannot be read")]
    Meta(#[from] serde_json::Error),
    /// The description of the flow is too long for the header page.
    #[error("the flow's description of {bytes} bytes does not fit into the spool's header page")]
    MetaTooLong {
        /// Its length as JSON.
        bytes: usize,
    },
    /// A chunk size that cannot be.
    #[error("spool chunks of {chunk_bytes} bytes: use a multiple of 4096 from {CHUNK_BYTES_MIN} to {CHUNK_BYTES_MAX}")]
    ChunkBytes {
        /// The size that was asked for.
        chunk_bytes: u32,
    },
}
