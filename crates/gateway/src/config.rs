//! What a gateway needs to know beside what the store holds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use aimg_core::{NodeId, TenantId};

/// The settings of one node.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node: part of every id that it creates in Asterisk. Two nodes on one PBX must not share it.
    pub node: NodeId,
    /// Which parts it runs.
    pub parts: Parts,
    /// The tenants whose PBXs are followed; nothing for all of them.
    pub tenants: Option<Vec<TenantId>>,
    /// Where calls are captured to while they run.
    pub spool_dir: PathBuf,
    /// Where finished recordings are.
    pub recordings_dir: PathBuf,
    /// A directory on tmpfs, below which the ends of running spools are, so that no shard waits for the disk. Nothing, or one
    /// that cannot be used: they are on the disk from the first packet on.
    pub memory_dir: Option<PathBuf>,
    /// What is kept free of the disks of both: with less, no capture begins. 0 keeps nothing.
    pub disk_reserve_bytes: u64,
    /// The media plane.
    pub media: aimg_media::Config,
    /// Where PBXs arrive that open ARI's event stream to us; nothing where none does.
    pub ari_listen: Option<AriListen>,
    /// How long a call waits in the hook for its capture, at most.
    pub hook_timeout: Duration,
    /// Captures at once on one PBX; see [`aimg_session::Config::taps_max`].
    pub taps_max: usize,
    /// The hosts from which Asterisk may be told to fetch what a command plays.
    pub media_hosts: Vec<String>,
    /// Who recognises speech and who speaks.
    pub speech: aimg_speech::Providers,
    /// Where what is said into calls is for Asterisk to read.
    pub said: SaidDir,
    /// How often the list of PBXs is read from the store again: how long a PBX added at the command line waits.
    pub pbxs_every: Duration,
    /// Workers that died before this one, under the same parent.
    pub worker_deaths: u32,
    /// How long a stop waits for captures to be taken down and recordings to be finished.
    pub drain_timeout: Duration,
}

/// The directory of what is said into calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaidDir {
    /// Where it is.
    pub path: PathBuf,
    /// Where Asterisk sees it.
    pub seen_as: PathBuf,
}

/// What a gateway does of all that there is to do. AMI alone is [`crate::Watch`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parts {
    /// AMI sees every call, ARI captures them.
    #[default]
    All,
    /// ARI and the media plane: calls that pass the hook are captured, controlled and let go. No other call is seen.
    AriAlone,
}

/// A port for PBXs that open ARI's event stream to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AriListen {
    /// The TCP address to listen on.
    pub address: SocketAddr,
    /// Our certificate, with those between it and its root, and its key: both PEM. Nothing for no TLS.
    pub tls: Option<[PathBuf; 2]>,
}
