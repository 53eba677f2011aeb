//! The event WebSocket of one application: opened, over TLS where asked, read, and probed when it is silent. Knows nothing of reconnecting.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Host;

use crate::config::Config;
use crate::error::{Error, RequestLine};
use crate::event::Event;
use crate::http::Http;
use crate::request::{Method, encode_into};

/// How long a farewell may take; Asterisk notices a closed connection anyway.
const FAREWELL: Duration = Duration::from_millis(500);

/// A connection, encrypted or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Wire for T {}

pub(crate) struct EventSocket {
    stream: WebSocketStream<Box<dyn Wire>>,
    http: Http,
    ping_interval: Duration,
    ping_timeout: Duration,
    /// When to send a ping, or, with one under way, when to give up. Any message moves it.
    deadline: Instant,
    ping_under_way: bool,
}

impl EventSocket {
    /// Registers the application and opens its stream. An earlier stream of the same application is thereby replaced.
    pub(crate) async fn open(config: &Config, http: &Http) -> Result<Self, Error> {
        let line = RequestLine { method: Method::Get, path: "/events".to_owned() };
        let not_sent = |reason: String| Error::NotSent { request: line.clone(), host: config.host(), reason };
        let wire = match timeout(config.connect_timeout, connect(config, http)).await {
            Ok(Ok(wire)) => wire,
            Ok(Err(e)) => {
                let refused = aimg_tls::refusal(&e);
                let reason = refused.unwrap_or_else(|| format!("cannot connect, is http.conf enabled there: {e}"));
                return Err(not_sent(reason));
            }
            Err(_) => return Err(not_sent(format!("no connection within {} ms", config.connect_timeout.as_millis()))),
        };

        let mut request = events_url(config).into_client_request().map_err(|e| not_sent(e.to_string()))?;
        request.headers_mut().insert(AUTHORIZATION, http.authorization());
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("ari"));
        let limits = WebSocketConfig::default()
            .max_message_size(Some(config.message_bytes_max))
            .max_frame_size(Some(config.message_bytes_max));
        let upgrade = client_async_with_config(request, wire, Some(limits));
        let stream = match timeout(config.request_timeout, upgrade).await {
            Ok(Ok((stream, _))) => stream,
            Ok(Err(WsError::Http(answer))) => {
                let body = answer.body().as_deref().unwrap_or_default();
                return Err(http.rejection(line, answer.status().as_u16(), body, None));
            }
            Ok(Err(e)) => return Err(lost(http, format!("the WebSocket was not accepted: {e}"))),
            Err(_) => {
                return Err(lost(http, format!("no WebSocket within {} ms", config.request_timeout.as_millis())));
            }
        };
        Ok(Self::over(stream, config, http))
    }

    /// A stream that is open.
    pub(crate) fn over(stream: WebSocketStream<Box<dyn Wire>>, config: &Config, http: &Http) -> Self {
        http.is_alive();
        Self {
            stream,
            http: http.clone(),
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            deadline: Instant::now() + config.ping_interval,
            ping_under_way: false,
        }
    }

    /// The next event. May be dropped and called again without losing one.
    pub(crate) async fn next(&mut self) -> Result<Event, Error> {
        loop {
            let message = tokio::select! {
                // What has arrived counts before the time is up: we may be the ones who are late.
                biased;
                message = self.stream.next() => message,
                () = sleep_until(self.deadline) => {
                    self.probe().await?;
                    continue;
                }
            };
            self.ping_under_way = false;
            self.deadline = Instant::now() + self.ping_interval;
            match message {
                Some(Ok(Message::Text(text))) => {
                    if let Some(event) = self.parse(text.as_bytes()) {
                        return Ok(event);
                    }
                }
                Some(Ok(Message::Binary(_))) => self.http.counters().messages_garbled.add(),
                Some(Ok(Message::Close(frame))) => return Err(self.lost(close_reason(frame))),
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(self.lost(read_failure(&e))),
                None => return Err(self.lost("the connection is closed".to_owned())),
            }
        }
    }

    /// Says goodbye, briefly.
    pub(crate) async fn close(mut self) {
        let _ = timeout(FAREWELL, self.stream.close(None)).await;
    }

    fn parse(&self, message: &[u8]) -> Option<Event> {
        let counters = self.http.counters();
        match Event::parse(message) {
            Ok(event) => {
                counters.events.add();
                if matches!(event.kind, crate::EventKind::Other(_)) {
                    counters.events_other.add();
                }
                Some(event)
            }
            Err(_) => {
                counters.messages_garbled.add();
                None
            }
        }
    }

    async fn probe(&mut self) -> Result<(), Error> {
        if self.ping_under_way {
            return Err(self.lost(format!("no answer to a ping within {} ms", self.ping_timeout.as_millis())));
        }
        self.ping_under_way = true;
        self.deadline = Instant::now() + self.ping_timeout;
        match timeout(self.ping_timeout, self.stream.send(Message::Ping(Bytes::new()))).await {
            Ok(sent) => sent.map_err(|e| self.lost(read_failure(&e))),
            Err(_) => Err(self.lost("a ping could not be sent".to_owned())),
        }
    }

    fn lost(&self, reason: String) -> Error {
        lost(&self.http, reason)
    }
}

fn lost(http: &Http, reason: String) -> Error {
    Error::StreamLost { host: http.host().to_owned(), reason }
}

async fn connect(config: &Config, http: &Http) -> io::Result<Box<dyn Wire>> {
    let port = config.base_url.port_or_known_default().unwrap_or(80);
    let no_host = || io::Error::other("the address has no host");
    let (tcp, name) = match config.base_url.host().ok_or_else(no_host)? {
        Host::Ipv4(ip) => (TcpStream::connect((ip, port)).await?, ServerName::from(IpAddr::V4(ip))),
        Host::Ipv6(ip) => (TcpStream::connect((ip, port)).await?, ServerName::from(IpAddr::V6(ip))),
        Host::Domain(name) => {
            let known = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
            (TcpStream::connect((name, port)).await?, known)
        }
    };
    tcp.set_nodelay(true)?;
    match http.tls() {
        Some(tls) => Ok(Box::new(TlsConnector::from(tls).connect(name, tcp).await?)),
        None => Ok(Box::new(tcp)),
    }
}

fn events_url(config: &Config) -> String {
    let scheme = if config.is_encrypted() { "wss" } else { "ws" };
    let mut url = format!("{scheme}://{}{}/events?app=", config.host(), config.base_url.path());
    encode_into(&mut url, &config.app);
    if config.subscribe_all {
        url.push_str("&subscribeAll=true");
    }
    url
}

fn close_reason(frame: Option<CloseFrame>) -> String {
    match frame {
        // Asterisk's code for a client that it could not write to in time.
        Some(frame) if u16::from(frame.code) == 1011 => {
            "Asterisk closed it (1011): raise websocket_write_timeout in ari.conf to 5000".to_owned()
        }
        Some(frame) => format!("Asterisk closed it ({})", u16::from(frame.code)),
        None => "Asterisk closed it".to_owned(),
    }
}

fn read_failure(error: &WsError) -> String {
    match error {
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            "Asterisk, or the network, closed the connection without a word".to_owned()
        }
        WsError::Capacity(e) => format!("a message is too large: {e}"),
        e => e.to_string(),
    }
}
