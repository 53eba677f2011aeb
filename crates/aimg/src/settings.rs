//! The settings of the program: one TOML file, `.env` and the environment, in rising order.
//!
//! [`Settings::load`] reads and checks all of them before anything else happens, and reports every mistake at once. The
//! list itself is in [`table`]; from it come the parsing, what `aimg check` prints and the table in
//! `docs/configuration.md`. What a setting does is left to the crates that it is handed to.

mod error;
mod format;
mod reader;
mod report;
mod riva;
mod sources;
mod speech;
mod table;
mod websocket;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use aimg_core::NodeId;
use aimg_gateway::AriListen;
use aimg_store::{Place, PostgresPlace};
use secrecy::SecretString;

pub(crate) use error::SettingsError;
pub(crate) use sources::Places;
pub(crate) use speech::{HttpSpeech, SpeechSettings};
pub(crate) use websocket::WebsocketSpeech;

use reader::Reader;
use report::Row;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is written to the log, and how.
#[derive(Clone, Debug)]
pub(crate) struct LogSettings {
    /// Directives of tracing's `EnvFilter`, checked.
    pub(crate) filter: String,
    /// How lines look.
    pub(crate) format: LogFormat,
}

/// What the media plane is set up with.
#[derive(Clone, Debug)]
pub(crate) struct MediaSettings {
    /// The address to receive on.
    pub(crate) bind: IpAddr,
    /// The address that Asterisk is told to send to.
    pub(crate) advertise: IpAddr,
    /// The first shard's UDP port, the others follow; 0 takes free ones.
    pub(crate) port: u16,
    /// Threads, each with its port.
    pub(crate) shards: usize,
    /// The receive buffer of a shard's socket.
    pub(crate) recv_buffer_bytes: usize,
    /// Flows of one shard.
    pub(crate) flows_max: usize,
}

/// What the HTTP service is set up with.
#[derive(Clone, Debug)]
pub(crate) struct HttpSettings {
    /// Where it listens, if at all.
    pub(crate) bind: Option<SocketAddr>,
    /// The names under which it may be addressed.
    pub(crate) allowed_hosts: Vec<String>,
    /// What readers of metrics show, if those on other machines may read.
    pub(crate) metrics_token: Option<SecretString>,
    /// Proxies whose word about a client's address is believed.
    pub(crate) trusted_proxies: Vec<IpAddr>,
    /// Whether cookies go over TLS only.
    pub(crate) secure_cookies: bool,
    /// Requests of one address a second.
    pub(crate) address_requests_a_second: NonZeroU32,
    /// Requests of one account a second.
    pub(crate) account_requests_a_second: NonZeroU32,
}

/// What telling webhooks is set up with.
#[derive(Clone, Debug)]
pub(crate) struct WebhookSettings {
    /// Which addresses they may have.
    pub(crate) policy: aimg_outbound::Policy,
    /// How long one may take to answer.
    pub(crate) timeout: Duration,
    /// How long messages are kept.
    pub(crate) retention: Duration,
}

/// All settings, parsed and checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The installation's secret, if it is not in the key file.
    pub(crate) secret_key: Option<SecretString>,
    /// The directory of all that the gateway keeps.
    pub(crate) data_dir: PathBuf,
    /// The database.
    pub(crate) database: Place,
    /// The directory of what is being captured.
    pub(crate) spool_dir: PathBuf,
    /// The directory of finished recordings.
    pub(crate) recordings_dir: PathBuf,
    /// Where the ends of spools are in memory.
    pub(crate) memory_dir: Option<PathBuf>,
    /// What is kept free of the disks of both.
    pub(crate) disk_reserve_bytes: u64,
    /// This node's name, if it is not the one in the data directory.
    pub(crate) node: Option<NodeId>,
    /// The media plane.
    pub(crate) media: MediaSettings,
    /// Where PBXs arrive that open ARI's event stream to us.
    pub(crate) ari_listen: Option<AriListen>,
    /// The HTTP service.
    pub(crate) http: HttpSettings,
    /// How webhooks are told.
    pub(crate) webhooks: WebhookSettings,
    /// The log.
    pub(crate) log: LogSettings,
    /// How long a call waits in the hook for its capture, at most.
    pub(crate) hook_timeout: Duration,
    /// The hosts from which Asterisk may be told to fetch what is played into a call.
    pub(crate) media_hosts: Vec<String>,
    /// Calls of one PBX that are captured at once.
    pub(crate) taps_max: usize,
    /// NVIDIA Riva, if it is used.
    pub(crate) riva: Option<aimg_speech::riva::Settings>,
    /// Everybody else who recognises or speaks.
    pub(crate) speech: SpeechSettings,
    rows: Vec<Row>,
    strangers: Vec<String>,
}

impl Settings {
    /// Reads and checks everything. `environment` wins over `.env`, which wins over the TOML file; an empty variable is
    /// one that is not set.
    pub(crate) fn load(
        places: &Places,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(sources::gather(places, environment));

        let secret_key = reader.read(&table::SECRET_KEY);
        let debug = reader.read(&table::DEBUG);
        let allowed_hosts = reader.read(&table::ALLOWED_HOSTS);
        let postgres = read_postgres(&mut reader);
        let data_dir = reader.read(&table::DATA_DIR);
        let sqlite = reader.read_or(&table::DATABASE_PATH, data_dir.join("aimg.db").display());
        let database = postgres.map_or(Place::Sqlite(sqlite), Place::Postgres);
        let spool_dir = reader.read_or(&table::SPOOL_DIR, data_dir.join("spool").display());
        let recordings_dir = reader.read_or(&table::RECORDINGS_DIR, data_dir.join("recordings").display());
        let memory_dir = reader.read(&table::MEMORY_DIR);
        let disk_reserve_bytes = reader.read(&table::DISK_RESERVE_BYTES);
        let node = reader.read(&table::NODE);
        let media = read_media(&mut reader);
        let ari_listen = read_ari_listen(&mut reader);
        let http = HttpSettings {
            bind: reader.read(&table::HTTP_BIND),
            allowed_hosts,
            metrics_token: reader.read(&table::HTTP_METRICS_TOKEN),
            trusted_proxies: reader.read(&table::HTTP_TRUSTED_PROXIES),
            secure_cookies: reader.read(&table::HTTP_SECURE_COOKIES),
            address_requests_a_second: reader.read(&table::HTTP_ADDRESS_REQUESTS),
            account_requests_a_second: reader.read(&table::HTTP_ACCOUNT_REQUESTS),
        };
        let webhooks = read_webhooks(&mut reader);
        let log = LogSettings {
            filter: reader
                .read_or(&table::LOG_FILTER, if debug { table::LOG_FILTER_DEBUG } else { table::LOG_FILTER_PLAIN }),
            format: reader.read(&table::LOG_FORMAT),
        };
        let taps_max = reader.read(&table::TAPS_MAX);
        let hook_timeout = Duration::from_millis(reader.read(&table::HOOK_TIMEOUT_MS));
        let media_hosts = reader.read(&table::CONTROL_MEDIA_HOSTS);
        let mut riva = riva::read(&mut reader);
        let speech = speech::read(&mut reader, &data_dir);
        if let Some(riva) = &mut riva {
            riva.audio_bytes_max = speech.audio_bytes_max;
        }

        let (rows, strangers) = reader.finish()?;
        Ok(Self {
            secret_key,
            data_dir,
            database,
            spool_dir,
            recordings_dir,
            memory_dir,
            disk_reserve_bytes,
            node,
            media,
            ari_listen,
            http,
            webhooks,
            log,
            hook_timeout,
            media_hosts,
            taps_max,
            riva,
            speech,
            rows,
            strangers,
        })
    }

    /// The file that holds the installation's secret when SECRET_KEY is not set.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.data_dir.join("secret.key")
    }

    /// Every setting with its effective value (secrets hidden) and where it comes from, in the table's order.
    pub(crate) fn report(&self) -> &[Row] {
        &self.rows
    }

    /// Environment variables that look like ours and are no settings: perhaps a slip of the pen.
    pub(crate) fn strangers(&self) -> &[String] {
        &self.strangers
    }
}

/// The PostgreSQL database, if one is named. DATABASE_URL says all, and wins over the names of the parts.
fn read_postgres(reader: &mut Reader) -> Option<PostgresPlace> {
    let url = reader.read(&table::DATABASE_URL);
    let name = reader.read(&table::DATABASE_NAME);
    let (user, password) = (reader.read(&table::DATABASE_USER), reader.read(&table::DATABASE_PASSWORD));
    let (host, port) = (reader.read(&table::DATABASE_HOST), reader.read(&table::DATABASE_PORT));
    let parts = || PostgresPlace::from_parts(&host, port, user.as_deref(), password.as_ref(), &name);
    url.or_else(|| (!name.is_empty()).then(parts))
}

fn read_ari_listen(reader: &mut Reader) -> Option<AriListen> {
    let address = reader.read(&table::ARI_LISTEN);
    let (certificate, key) = (reader.read(&table::ARI_TLS_CERTIFICATE), reader.read(&table::ARI_TLS_KEY));
    match (&certificate, &key) {
        (Some(_), None) => reader.reject(&table::ARI_TLS_CERTIFICATE, "of no use without ari.tls_key"),
        (None, Some(_)) => reader.reject(&table::ARI_TLS_KEY, "of no use without ari.tls_certificate"),
        (Some(_), Some(_)) if address.is_none() => {
            reader.reject(&table::ARI_TLS_CERTIFICATE, "of no use without ari.listen");
        }
        _ => {}
    }
    Some(AriListen { address: address?, tls: certificate.zip(key).map(|(certificate, key)| [certificate, key]) })
}

fn read_webhooks(reader: &mut Reader) -> WebhookSettings {
    const DAY_S: u64 = 24 * 3_600;
    let allowed = reader.read(&table::WEBHOOKS_ALLOW_PRIVATE);
    WebhookSettings {
        policy: aimg_outbound::Policy { allowed, allow_http: reader.read(&table::WEBHOOKS_ALLOW_HTTP) },
        timeout: Duration::from_millis(reader.read(&table::WEBHOOKS_TIMEOUT_MS)),
        retention: Duration::from_secs(DAY_S * reader.read(&table::WEBHOOKS_RETENTION_DAYS)),
    }
}

fn read_media(reader: &mut Reader) -> MediaSettings {
    let bind: IpAddr = reader.read(&table::MEDIA_BIND);
    let advertise: IpAddr = reader.read_or(&table::MEDIA_ADVERTISE, bind);
    if advertise.is_unspecified() {
        reader.reject(&table::MEDIA_ADVERTISE, "no address that Asterisk could send to");
    } else if advertise.is_ipv4() != bind.is_ipv4() {
        reader.reject(&table::MEDIA_ADVERTISE, format_args!("not of the same IP version as media.bind = {bind}"));
    }
    let (port, shards): (u16, usize) = (reader.read(&table::MEDIA_PORT), reader.read(&table::MEDIA_SHARDS));
    if port != 0 && usize::from(port) + shards > usize::from(u16::MAX) + 1 {
        reader.reject(&table::MEDIA_PORT, format_args!("too high for {shards} ports in a row"));
    }
    MediaSettings {
        bind,
        advertise,
        port,
        shards,
        recv_buffer_bytes: reader.read(&table::MEDIA_RECV_BUFFER_BYTES),
        flows_max: reader.read(&table::FLOWS_MAX),
    }
}

#[cfg(test)]
mod tests;
