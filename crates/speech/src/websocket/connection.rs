//! The connection of one stream: TCP, TLS, the WebSocket's handshake, and what is said when it cannot be had.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aimg_tls::Trust;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::{Host, Url};

use super::Settings;
use super::refusal::Refusal;
use super::template::{self, Values};
use crate::error::{Error, ErrorKind, Result};
use crate::http::meaning;
use crate::recognise::StreamOptions;

/// The longest message of a service: a result with its words is a few KiB.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of the service's own words that are told: enough for a sentence.
const WORDS_BYTES_MAX: usize = 300;

/// A connection, encrypted or not.
pub(super) trait Wire: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Wire for T {}

pub(super) type Outgoing = SplitSink<WebSocketStream<Box<dyn Wire>>, Message>;
pub(super) type Incoming = SplitStream<WebSocketStream<Box<dyn Wire>>>;

/// Connects to one service.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) settings: Settings,
    tls: Option<Arc<ClientConfig>>,
}

/// What is filled into the templates for one stream; it holds the key.
struct Filled {
    address: String,
    headers: Vec<(String, String)>,
    first_message: String,
}

impl Connector {
    /// Reads the certificates; connects to nobody.
    pub(super) fn new(settings: Settings) -> Result<Self> {
        let mut connector = Self { settings, tls: None };
        if connector.settings.protocol.url.starts_with("wss:") {
            let trust = connector.settings.authorities.clone().map_or(Trust::System, Trust::CaFile);
            let config = aimg_tls::client_config(&trust.into());
            connector.tls =
                Some(config.map_err(|e| connector.error(&Refusal::new(ErrorKind::Invalid, e.to_string())))?);
        }
        Ok(connector)
    }

    /// A WebSocket on which the first message has been sent.
    pub(super) async fn connect(&self, options: &StreamOptions) -> Result<(Outgoing, Incoming)> {
        let within = self.settings.connect_timeout;
        let connecting = timeout(within, self.open(self.filled(options)));
        connecting.await.unwrap_or_else(|_| Err(self.late("no connection", within)))
    }

    async fn open(&self, filled: Filled) -> Result<(Outgoing, Incoming)> {
        let request = self.request(&filled).map_err(|refusal| self.error(&refusal))?;
        let url: Url = filled.address.parse().map_err(|e| {
            self.error(&Refusal::new(ErrorKind::Invalid, format!("the filled template is no address: {e}")))
        })?;
        let wire = self.wire(&url).await.map_err(|e| {
            let why = aimg_tls::refusal(&e).unwrap_or_else(|| format!("{e}: see that it runs there"));
            self.error(&Refusal::new(ErrorKind::Unreachable, why))
        })?;
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let (socket, _) =
            client_async_with_config(request, wire, Some(limits)).await.map_err(|e| self.not_accepted(&e))?;
        let (mut outgoing, incoming) = socket.split();
        if !filled.first_message.is_empty() {
            outgoing.send(Message::text(filled.first_message)).await.map_err(|e| self.broken(&e))?;
        }
        Ok((outgoing, incoming))
    }

    fn request(&self, filled: &Filled) -> std::result::Result<Request, Refusal> {
        // Neither the address nor a header is repeated: the key may be in it.
        let invalid = |what: String| Refusal::new(ErrorKind::Invalid, what);
        let mut request = filled
            .address
            .as_str()
            .into_client_request()
            .map_err(|_| invalid("the filled template is no address of a WebSocket: mend `url`".to_owned()))?;
        for (name, value) in &filled.headers {
            let refused = || invalid(format!("`{name}` is no header, or its value has characters that none may have"));
            let mut value = HeaderValue::from_str(value).map_err(|_| refused())?;
            value.set_sensitive(true);
            request.headers_mut().insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?, value);
        }
        Ok(request)
    }

    fn filled(&self, options: &StreamOptions) -> Filled {
        let Settings { protocol, key, language, .. } = &self.settings;
        let boosts: Vec<&str> = options.boosts.iter().map(|boost| boost.phrase.as_str()).collect();
        let custom: Vec<_> = options.custom.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let values = Values {
            key: key.as_ref().map_or("", |key| key.expose_secret()),
            model: options.model.as_deref().unwrap_or(&protocol.model),
            language: options.language.as_deref().or(language.as_deref()).unwrap_or_default(),
            rate_hz: options.sample_rate_hz,
            interim: options.interim,
            boosts: &boosts,
            custom: &custom,
        };
        let headers = protocol.headers.iter().map(|(name, value)| (name.clone(), template::header(value, &values)));
        Filled {
            address: template::address(&protocol.url, &values),
            headers: headers.collect(),
            first_message: template::message(&protocol.first_message, &values),
        }
    }

    async fn wire(&self, url: &Url) -> io::Result<Box<dyn Wire>> {
        let port = url.port_or_known_default().unwrap_or(443);
        let (tcp, name) = match url.host().ok_or_else(|| io::Error::other("the address has no host"))? {
            Host::Ipv4(ip) => (TcpStream::connect((ip, port)).await?, ServerName::from(IpAddr::V4(ip))),
            Host::Ipv6(ip) => (TcpStream::connect((ip, port)).await?, ServerName::from(IpAddr::V6(ip))),
            Host::Domain(name) => {
                let known = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
                (TcpStream::connect((name, port)).await?, known)
            }
        };
        tcp.set_nodelay(true)?;
        match &self.tls {
            Some(tls) => Ok(Box::new(TlsConnector::from(tls.clone()).connect(name, tcp).await?)),
            None => Ok(Box::new(tcp)),
        }
    }

    fn not_accepted(&self, error: &WsError) -> Error {
        let WsError::Http(answer) = error else { return self.broken(error) };
        let (kind, cure) = meaning(answer.status());
        self.error(&Refusal::new(kind, format!("{}: {cure}", answer.status())))
    }

    /// It broke off.
    pub(super) fn broken(&self, error: &WsError) -> Error {
        self.error(&Refusal::new(ErrorKind::BrokenOff, format!("{error}: see its log")))
    }

    /// It did not do something within this time.
    pub(super) fn late(&self, what: &str, within: Duration) -> Error {
        let what = format!("{what} within {} ms: see how loaded it is, or give it more time", within.as_millis());
        self.error(&Refusal::new(ErrorKind::TimedOut, what))
    }

    /// An error of this service, without the key, whatever the service repeats.
    pub(super) fn error(&self, refusal: &Refusal) -> Error {
        let url = template::address(&self.settings.protocol.url, &Values::default()).parse::<Url>().ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        let mut what = refusal.what.clone();
        if let Some(key) = &self.settings.key {
            what = what.replace(key.expose_secret(), "…");
        }
        what.truncate(what.floor_char_boundary(WORDS_BYTES_MAX));
        Error { provider: self.settings.name.clone(), kind: refusal.kind, what: format!("{host}: {what}") }
    }
}
