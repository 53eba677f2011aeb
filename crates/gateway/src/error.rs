//! Why a gateway does not run.

/// Why a gateway does not start, or had to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The media plane did not start.
    #[error(transparent)]
    Media(#[from] aimg_media::Error),
    /// The spool or the recordings' directory cannot be used.
    #[error(transparent)]
    Recording(#[from] aimg_recording::Error),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] aimg_store::Error),
    /// A PBX's ARI settings cannot work.
    #[error(transparent)]
    Ari(#[from] aimg_ari::Error),
    /// The capture rule of a tenant is damaged.
    #[error("tenant {tenant} has a capture rule that cannot be read: {reason}; set it again")]
    Rule {
        /// The tenant.
        tenant: aimg_core::TenantId,
        /// One clause.
        reason: String,
    },
    /// Every PBX refuses us, for reasons that only a person can remove.
    #[error("no PBX can be used: {reasons}")]
    Refused {
        /// One sentence for each PBX.
        reasons: String,
    },
    /// Every PBX lacks a module, or was lost to another program with the same application name.
    #[error("no PBX can be used: {reasons}")]
    Unusable {
        /// One sentence for each PBX.
        reasons: String,
    },
}
