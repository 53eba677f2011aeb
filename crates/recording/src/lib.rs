//! What becomes of a session's spool when the call is over: a stereo recording (left caller, right callee) and the
//! certificate that says what it holds and what is missing from it.
//!
//! Everything here can be done again after a crash and gives the same files: a spool is removed only by
//! [`PartDir::discard`], which the gateway calls when its database knows the recording. Writing spools belongs to
//! `media`; when a recording is finished, and telling the world, to `gateway`.
//!
//! Functions here read and write files and may take as long as a disk does: call them where that is allowed.

mod archive;
mod atomic_file;
mod certificate;
mod error;
mod finish;
mod layout;
mod manifest;
mod recover;
mod remove;
mod replay;
mod spool_lock;
pub mod timeline;
mod track;

pub use archive::Archive;
pub use certificate::{CERTIFICATE_VERSION, Certificate, FlowCertificate};
pub use error::Error;
pub use finish::{Finished, finish};
pub use layout::{PartDir, RecordingPath};
pub use manifest::Manifest;
pub use recover::{Unfinished, unfinished};
pub use remove::remove;
pub use spool_lock::{SpoolLock, check_writable};
