//! Why a gateway does not run, and somebody cannot listen.

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
    /// The port for PBXs that connect to us cannot be had.
    #[error("cannot listen for PBXs on {address}: {source}; set ari.listen to a free port of this machine")]
    AriListen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Our certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] aimg_tls::Error),
    /// A PBX is to connect to us, and nobody listens.
    #[error(
        "PBX {pbx} shall open ARI's event stream to us, but ari.listen is not set; set it, or run `aimg pbx set {pbx} --ari-link connect`"
    )]
    NoAriListener {
        /// Its name.
        pbx: String,
    },
    /// The capture rule of a tenant is damaged.
    #[error("tenant {tenant} has a capture rule that cannot be read: {reason}; set it again")]
    Rule {
        /// The tenant.
        tenant: aimg_core::TenantId,
        /// One clause.
        reason: String,
    },
    /// The rules of a shared PBX contradict each other, which the store refuses.
    #[error(transparent)]
    Attribution(#[from] aimg_core::AttributionError),
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

/// Why somebody cannot listen to a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// It is not being captured here, or it is another tenant's: which of them is not told.
    #[error("session {session} is not being captured on this node: listen while the call lasts")]
    NotCaptured {
        /// The session.
        session: aimg_core::SessionId,
    },
    /// Too many listen already.
    #[error("all {max} listeners that a {of} may have are there: end one of them")]
    Full {
        /// What is full: `session`, `tenant` or `gateway`.
        of: &'static str,
        /// Its bound.
        max: usize,
    },
    /// The media plane refused.
    #[error(transparent)]
    Media(#[from] aimg_media::Error),
}
