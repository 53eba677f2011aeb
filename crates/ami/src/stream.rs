//! The two halves of a connection's socket, with TLS or without.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use aimg_tls::Tls;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::{spawn_blocking, unconstrained};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{Config, Error};

/// What is read from.
pub(crate) enum ReadHalf {
    Plain(OwnedReadHalf),
    Tls(tokio::io::ReadHalf<TlsStream<TcpStream>>),
}

/// What is written to.
pub(crate) enum WriteHalf {
    Plain(OwnedWriteHalf),
    Tls(tokio::io::WriteHalf<TlsStream<TcpStream>>),
}

/// Splits a TCP connection without TLS.
pub(crate) fn plain(stream: TcpStream) -> (ReadHalf, WriteHalf) {
    let (read, write) = stream.into_split();
    (ReadHalf::Plain(read), WriteHalf::Plain(write))
}

/// Makes the handshake and splits the connection. What is trusted is read anew each time, so that a renewed CA file counts
/// from the next connection on.
pub(crate) async fn secured(stream: TcpStream, tls: &Tls, config: &Config) -> Result<(ReadHalf, WriteHalf), Error> {
    let peer = config.peer();
    let untrusted = |reason: String| Error::Untrusted { peer: peer.clone(), reason };
    let tls = tls.clone();
    let trust = spawn_blocking(move || aimg_tls::client_config(&tls))
        .await
        .map_err(|e| untrusted(e.to_string()))?
        .map_err(|e| untrusted(e.to_string()))?;
    let name = ServerName::try_from(config.host.clone())
        .map_err(|_| untrusted(format!("`{}` is no name that a certificate can have", config.host)))?;
    let stream = TlsConnector::from(trust).connect(name, stream).await.map_err(|source| {
        aimg_tls::refusal(&source).map_or_else(|| Error::Broken { peer: peer.clone(), source }, &untrusted)
    })?;
    let (read, write) = tokio::io::split(stream);
    Ok((ReadHalf::Tls(read), WriteHalf::Tls(write)))
}

impl ReadHalf {
    /// Bytes that came; none at the end. May be cancelled without losing any.
    pub(crate) async fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.read(chunk).await,
            Self::Tls(half) => half.read(chunk).await,
        }
    }
}

impl WriteHalf {
    /// Hands some bytes over and says how many. Given none, waits until TLS has passed on all that it was handed. May be
    /// cancelled.
    pub(crate) async fn advance(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return self.flush().await.map(|()| 0);
        }
        let count = match self {
            Self::Plain(half) => half.write(bytes).await?,
            Self::Tls(half) => half.write(bytes).await?,
        };
        if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) }
    }

    /// Writes all.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.advance(bytes).await?;
            bytes = &bytes[count..];
        }
        self.flush().await
    }

    /// Writes all without waiting, or fails.
    pub(crate) fn write_now(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Unconstrained: a used-up share of the runtime must not look like a full socket.
        let written = pin!(unconstrained(self.write_all(bytes)));
        match written.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(half) => half.flush().await,
        }
    }
}
