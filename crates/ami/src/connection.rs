//! One connection to Asterisk: from the connect to the login, then its two halves.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::Auth;
use crate::counters::Counters;
use crate::stream::{self, ReadHalf, WriteHalf};
use crate::{Action, Config, Error, Frame, Message, Parser};

/// Bytes asked of the socket at once: some thirty events. What one read brings shares a buffer, and stays in the cache.
const CHUNK_BYTES: usize = 16 * 1024;

/// The ActionID of what a connection asks for itself; requests of others count from 1.
pub(crate) const OWN_ACTION_ID: u64 = 0;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Events: those of [`Config::event_mask`] that pass [`Config::event_filters`].
    Events,
    /// Answers alone.
    Answers,
}

/// A connection that is logged in.
pub(crate) struct Connection {
    pub(crate) reader: Reader,
    pub(crate) writer: WriteHalf,
    /// The version of the protocol, from the banner.
    pub(crate) ami_version: String,
}

impl Connection {
    /// Connects and logs in.
    pub(crate) async fn open(config: &Config, wanted: Wanted, counters: &Arc<Counters>) -> Result<Self, Error> {
        let peer = config.peer();
        let silent = |waiting_for, waited: Duration| Error::Silent { peer: peer.clone(), waiting_for, waited };
        let stream = timeout(config.connect_timeout, TcpStream::connect((config.host.as_str(), config.port)))
            .await
            .map_err(|_| silent("connect", config.connect_timeout))?
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|source| Error::Unreachable { peer: peer.clone(), source })?;
        let (read_half, writer) = match &config.tls {
            None => stream::plain(stream),
            Some(tls) => timeout(config.connect_timeout, stream::secured(stream, tls, config))
                .await
                .map_err(|_| silent("TLS handshake", config.connect_timeout))??,
        };
        let reader = Reader::new(read_half, config, Arc::clone(counters));
        timeout(config.login_timeout, Self::log_in(reader, writer, config, wanted))
            .await
            .map_err(|_| silent("login", config.login_timeout))?
    }

    async fn log_in(mut reader: Reader, writer: WriteHalf, config: &Config, wanted: Wanted) -> Result<Self, Error> {
        let ami_version = loop {
            if let Frame::Banner(version) = reader.next().await? {
                break version;
            }
        };
        let mut connection = Self { reader, writer, ami_version };
        let filters = if wanted == Wanted::Events { config.event_filters.as_slice() } else { &[] };
        // With filters, events begin only when all filters are there.
        let events = if wanted == Wanted::Events && filters.is_empty() { &config.event_mask } else { "off" };
        let login = match config.auth {
            Auth::Plain => Action::login_plain(&config.user, &config.secret, events)?,
            Auth::Md5 => {
                let reply = connection.ask(&Action::challenge(), config).await?;
                let challenge = reply.first("Challenge").unwrap_or_default();
                Action::login_md5(&config.user, &config.secret, challenge, events)?
            }
        };
        connection.ask(&login, config).await?;
        for filter in filters {
            connection.ask(&Action::filter(filter)?, config).await?;
        }
        if !filters.is_empty() {
            connection.ask(&Action::events(&config.event_mask)?, config).await?;
        }
        Ok(connection)
    }

    /// Sends an action and waits for its response. Only before the connection's halves part.
    async fn ask(&mut self, action: &Action, config: &Config) -> Result<Message, Error> {
        let mut bytes = Vec::new();
        action.encode(OWN_ACTION_ID, &mut bytes);
        let peer = &self.reader.peer;
        self.writer.write_all(&bytes).await.map_err(|source| Error::Broken { peer: peer.clone(), source })?;
        loop {
            let message = self.reader.message().await?;
            match message.first("Response") {
                None => {}
                Some("Error") => {
                    return Err(Error::Refused {
                        peer: config.peer(),
                        user: config.user.clone(),
                        action: action.name(),
                        reason: message.first("Message").unwrap_or("no reason given").to_owned(),
                    });
                }
                Some(_) => return Ok(message),
            }
        }
    }
}

/// What comes in, as frames.
pub(crate) struct Reader {
    half: ReadHalf,
    parser: Parser,
    chunk: Box<[u8]>,
    /// What of `chunk` the parser has not seen.
    unread: Range<usize>,
    skipped_lines: u64,
    counters: Arc<Counters>,
    peer: String,
}

impl Reader {
    fn new(half: ReadHalf, config: &Config, counters: Arc<Counters>) -> Self {
        Self {
            half,
            parser: Parser::new(config.limits),
            chunk: vec![0; CHUNK_BYTES].into_boxed_slice(),
            unread: 0..0,
            skipped_lines: 0,
            counters,
            peer: config.peer(),
        }
    }

    /// The next message. May be cancelled without losing anything.
    pub(crate) async fn message(&mut self) -> Result<Message, Error> {
        loop {
            if let Frame::Message(message) = self.next().await? {
                return Ok(message);
            }
        }
    }

    /// The next message of what has come; nothing when [`Reader::fill`] is to be called.
    pub(crate) fn message_here(&mut self) -> Result<Option<Message>, Error> {
        while let Some(frame) = self.parse()? {
            if let Frame::Message(message) = frame {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    async fn next(&mut self) -> Result<Frame, Error> {
        loop {
            if let Some(frame) = self.parse()? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// Waits for more, when all that came is parsed. May be cancelled without losing anything.
    pub(crate) async fn fill(&mut self) -> Result<(), Error> {
        match self.half.read(&mut self.chunk).await {
            Ok(0) => Err(Error::Closed { peer: self.peer.clone() }),
            Ok(count) => {
                self.unread = 0..count;
                Ok(())
            }
            // Asterisk that dies with unread input of ours resets instead of closing; over TLS it takes no leave.
            Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => {
                Err(Error::Closed { peer: self.peer.clone() })
            }
            Err(source) => Err(Error::Broken { peer: self.peer.clone(), source }),
        }
    }

    fn parse(&mut self) -> Result<Option<Frame>, Error> {
        let mut input = &self.chunk[self.unread.clone()];
        let outcome = self.parser.next(&mut input);
        self.unread.start = self.unread.end - input.len();
        let skipped = self.parser.skipped_lines();
        self.counters.skipped_lines.add(skipped - self.skipped_lines);
        self.skipped_lines = skipped;
        outcome.map_err(|source| Error::Unreadable { peer: self.peer.clone(), source })
    }
}
