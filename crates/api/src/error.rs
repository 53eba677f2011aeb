//! Why there is no HTTP service.

use std::io;
use std::net::SocketAddr;

/// Why there is no HTTP service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another program listens there.
    #[error("TCP port {} at {} is in use by another program: stop that one, or set another http.bind", address.port(), address.ip())]
    PortInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen for HTTP on {address}: {source}; set http.bind to an address of this machine")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The listener that was handed over is none.
    #[error("the HTTP listener cannot be used: {0}")]
    Listener(#[from] io::Error),
}
