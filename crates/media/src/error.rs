//! What can go wrong, by what the caller can do about it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use aimg_core::FlowId;

/// Why the media plane cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot work.
    #[error("media setting {key} = {value} is not possible: use {allowed}")]
    Config {
        /// The setting.
        key: &'static str,
        /// What it is set to.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// Another program has the port.
    #[error("UDP port {} on {} is in use by another program: stop it or set another media port", .address.port(), .address.ip())]
    PortInUse {
        /// The address and port.
        address: SocketAddr,
    },
    /// The address cannot be bound for another reason.
    #[error("cannot receive UDP on {address}: {source}; bind an address of this machine")]
    Bind {
        /// The address and port.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The system refused something else at the start: a socket option, a thread, an eventfd.
    #[error("cannot set up the media plane: {0}; check the limits on open files and threads")]
    System(#[from] io::Error),
    /// The flow's file cannot be made or finished.
    #[error("spool file {}: {source}; check that its directory is writable and the disk has room", .path.display())]
    Spool {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The flow is open already.
    #[error("flow {flow} is open already")]
    FlowExists {
        /// The flow.
        flow: FlowId,
    },
    /// No such flow.
    #[error("flow {flow} is not open")]
    UnknownFlow {
        /// The flow.
        flow: FlowId,
    },
    /// The shard has all the flows it may have.
    #[error("all {flows_max} flows of a media shard are in use: raise media flows_max or add shards")]
    FlowsFull {
        /// The bound.
        flows_max: usize,
    },
    /// Another flow expects packets from the same source.
    #[error("source {source_address} belongs to flow {owner}: flow {flow} cannot have it until that one is closed")]
    SourceTaken {
        /// The flow that wanted it.
        flow: FlowId,
        /// The address and port.
        source_address: SocketAddr,
        /// The flow that has it.
        owner: FlowId,
    },
    /// The flow has all the listeners it may have.
    #[error("flow {flow} is heard by {listeners_max} listeners already: end one of them")]
    ListenersFull {
        /// The flow.
        flow: FlowId,
        /// The bound.
        listeners_max: usize,
    },
    /// The shard's mailbox stayed full.
    #[error("media shard {shard} did not take a message in time: the machine is overloaded")]
    Busy {
        /// The shard's number, from 0.
        shard: usize,
    },
    /// The media plane has stopped.
    #[error("the media plane has stopped")]
    Stopped,
}
