//! The connection to one server: TLS, credentials, and what is said when it cannot be had.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use aimg_tls::Trust;
use secrecy::ExposeSecret;
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{IntoRequest, Request, Status};

use super::settings::{Address, Settings};
use super::status;
use crate::error::{Error, ErrorKind, Result};

/// A peer that is gone without a word is found by TCP. Not by HTTP/2: the usual gRPC server allows a ping every five minutes
/// where it has nothing to send, and ends the connection of who pings more often.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// One connection for all streams, made when it is needed.
#[derive(Debug)]
pub(super) struct Connection {
    provider: String,
    address: Address,
    endpoint: Endpoint,
    metadata: Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>,
    connect_timeout: Duration,
    channel: Mutex<Option<Channel>>,
}

impl Connection {
    /// Reads the certificates; connects to nobody.
    pub(super) fn new(settings: &Settings, address: &Address) -> Result<Self> {
        let tls = settings.uses_tls(address);
        let scheme = if tls { "https" } else { "http" };
        let invalid = |what: String| settings.error(ErrorKind::Invalid, what);
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(|e| invalid(format!("{address} is no address: {e}")))?
            .connect_timeout(settings.connect_timeout)
            .tcp_keepalive(Some(TCP_KEEPALIVE))
            .tcp_keepalive_interval(Some(TCP_KEEPALIVE));
        if tls {
            endpoint = endpoint
                .tls_config(trust(settings, address)?)
                .map_err(|e| invalid(format!("TLS cannot be set up: {}", status::innermost(&e))))?;
        }
        Ok(Self {
            provider: settings.name.clone(),
            address: address.clone(),
            endpoint,
            metadata: metadata(settings)?,
            connect_timeout: settings.connect_timeout,
            channel: Mutex::default(),
        })
    }

    /// The connection, made if there is none. It is made again by itself when it breaks, but tells less about why it cannot.
    pub(super) async fn channel(&self) -> Result<Channel> {
        if let Some(channel) = &*self.kept() {
            return Ok(channel.clone());
        }
        // The endpoint's own limit is for TCP and TLS each.
        let connecting = tokio::time::timeout(self.connect_timeout, self.endpoint.connect());
        let channel = match connecting.await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => {
                let why = aimg_tls::refusal(&error).unwrap_or_else(|| {
                    format!(
                        "{}: see that Riva runs there, and RIVA_ASR_URI or RIVA_TTS_URI names it",
                        status::innermost(&error)
                    )
                });
                return Err(self.error(ErrorKind::Unreachable, why));
            }
            Err(_) => {
                let waited_ms = self.connect_timeout.as_millis();
                let what =
                    format!("no connection within {waited_ms} ms: see its firewall, or raise RIVA_CONNECTION_TIMEOUT");
                return Err(self.error(ErrorKind::Unreachable, what));
            }
        };
        *self.kept() = Some(channel.clone());
        Ok(channel)
    }

    /// A request with our credentials.
    pub(super) fn request<T>(&self, message: impl IntoRequest<T>) -> Request<T> {
        let mut request = message.into_request();
        for (name, value) in &self.metadata {
            request.metadata_mut().insert(name.clone(), value.clone());
        }
        request
    }

    /// Waits for an answer, at most so long.
    pub(super) async fn answer<T>(
        &self,
        within: Duration,
        answer: impl Future<Output = std::result::Result<T, Status>>,
        secret: Option<&str>,
    ) -> Result<T> {
        match tokio::time::timeout(within, answer).await {
            Ok(answer) => answer.map_err(|status| self.refused(&status, secret)),
            Err(_) => Err(self.late(within)),
        }
    }

    /// What a status means. When the connection is at fault, the next one to need it learns why.
    pub(super) fn refused(&self, status: &Status, secret: Option<&str>) -> Error {
        let kind = status::kind(status);
        if matches!(kind, ErrorKind::Unreachable | ErrorKind::BrokenOff) {
            *self.kept() = None;
        }
        self.error(kind, status::words(status, secret))
    }

    /// It did not answer within this time.
    pub(super) fn late(&self, within: Duration) -> Error {
        // It may be a connection that is no more.
        *self.kept() = None;
        let what =
            format!("no answer within {} ms: see how loaded it is, or raise RIVA_REQUEST_TIMEOUT", within.as_millis());
        self.error(ErrorKind::TimedOut, what)
    }

    /// An error of this server.
    pub(super) fn error(&self, kind: ErrorKind, what: impl std::fmt::Display) -> Error {
        Error { provider: self.provider.clone(), kind, what: format!("{}: {what}", self.address) }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Channel>> {
        self.channel.lock().expect("nobody panics while holding it")
    }
}

fn trust(settings: &Settings, address: &Address) -> Result<ClientTlsConfig> {
    let config = ClientTlsConfig::new().domain_name(address.host());
    let config = match &settings.authorities {
        Some(path) => {
            // Tonic passes over what is no certificate; this does not.
            aimg_tls::client_config(&Trust::CaFile(path.clone()).into())
                .map_err(|e| settings.error(ErrorKind::Invalid, format!("RIVA_SSL_ROOT_CERTS: {e}")))?;
            config.ca_certificate(Certificate::from_pem(read(settings, "RIVA_SSL_ROOT_CERTS", path)?))
        }
        None => config.with_native_roots(),
    };
    match (&settings.certificate, &settings.key) {
        (Some(certificate), Some(key)) => Ok(config.identity(Identity::from_pem(
            read(settings, "RIVA_SSL_CERT", certificate)?,
            read(settings, "RIVA_SSL_KEY", key)?,
        ))),
        (None, None) => Ok(config),
        (Some(_), None) => Err(settings.error(ErrorKind::Invalid, "RIVA_SSL_CERT is of no use without RIVA_SSL_KEY")),
        (None, Some(_)) => Err(settings.error(ErrorKind::Invalid, "RIVA_SSL_KEY is of no use without RIVA_SSL_CERT")),
    }
}

fn read(settings: &Settings, name: &str, path: &Path) -> Result<Vec<u8>> {
    fs::read(path)
        .map_err(|e| settings.error(ErrorKind::Invalid, format!("{name}: cannot read {}: {e}", path.display())))
}

/// Names and values as gRPC's headers allow them. Values are marked so that they are not shown.
fn metadata(settings: &Settings) -> Result<Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>> {
    let invalid = |what: String| settings.error(ErrorKind::Invalid, what);
    let value = |name: &str, text: &str| {
        let mut value: MetadataValue<Ascii> =
            text.parse().map_err(|_| invalid(format!("{name} holds what no header can: use printable ASCII")))?;
        value.set_sensitive(true);
        Ok(value)
    };
    let mut all = Vec::new();
    for (name, text) in settings.metadata.iter() {
        let key = name.to_ascii_lowercase().parse::<MetadataKey<Ascii>>();
        let key = key.map_err(|_| invalid(format!("RIVA_AUTH_METADATA: {name} is no name of a header")))?;
        all.push((key, value("RIVA_AUTH_METADATA", text)?));
    }
    if let Some(token) = &settings.token {
        let bearer = format!("Bearer {}", token.expose_secret());
        all.push((MetadataKey::from_static("authorization"), value("RIVA_AUTH_TOKEN", &bearer)?));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut Settings)) -> Error {
        let mut settings = Settings::new("riva.invalid:1".parse().unwrap());
        change(&mut settings);
        Connection::new(&settings, &settings.asr.clone()).unwrap_err()
    }

    #[test]
    fn settings_that_cannot_work_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let rubbish = dir.path().join("rubbish.pem");
        fs::write(&rubbish, "no certificate").unwrap();
        let made = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
        let certificate = dir.path().join("certificate.pem");
        fs::write(&certificate, made.cert.pem()).unwrap();
        for (error, words) in [
            (refusal(|s| s.certificate = Some("a".into())), "RIVA_SSL_CERT is of no use without RIVA_SSL_KEY"),
            (refusal(|s| s.key = Some("a".into())), "RIVA_SSL_KEY is of no use without RIVA_SSL_CERT"),
            (
                refusal(|s| s.authorities = Some("/nowhere".into())),
                "RIVA_SSL_ROOT_CERTS: cannot read the CA file /nowhere",
            ),
            (refusal(|s| s.authorities = Some(rubbish.clone())), "it must be PEM"),
            (
                refusal(|s| (s.certificate, s.key) = (Some(certificate.clone()), Some("/nowhere".into()))),
                "RIVA_SSL_KEY: cannot read /nowhere",
            ),
            (
                refusal(|s| (s.certificate, s.key) = (Some(certificate.clone()), Some(rubbish.clone()))),
                "TLS cannot be set up",
            ),
            (refusal(|s| s.token = Some("a\nb".into())), "RIVA_AUTH_TOKEN holds what no header can"),
            (refusal(|s| s.metadata = "a b=c".parse().unwrap()), "RIVA_AUTH_METADATA: a b is no name of a header"),
        ] {
            assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
            assert!(error.what.contains(words), "{error}");
        }
    }
}
