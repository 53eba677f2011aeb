//! The list of settings.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use aimg_core::NodeId;
use aimg_outbound::Network;
use aimg_speech::riva::{Address, Pairs};
use aimg_speech::websocket::Preset;
use aimg_store::PostgresPlace;
use secrecy::SecretString;
use url::Url;

use super::LogFormat;
use super::format;

/// One setting: its names, its default, and how its text becomes a value.
pub(super) struct Setting<T> {
    pub(super) about: About,
    /// Reads a text; `None` when it is not allowed.
    pub(super) parse: fn(&str) -> Option<T>,
}

/// All of a setting but its type.
pub(super) struct About {
    /// Its place in the TOML file, dotted.
    pub(super) key: &'static str,
    /// Its environment variable.
    pub(super) env: &'static str,
    /// The text that stands for it when it is not set.
    pub(super) default: Fallback,
    /// Which values it takes, as the end of "allowed: …".
    pub(super) allowed: &'static str,
    /// What it does, as a sentence of Markdown.
    #[cfg_attr(not(test), expect(dead_code, reason = "docs/configuration.md is made from it, by a test"))]
    pub(super) help: &'static str,
    /// Whether its value is never shown.
    pub(super) secret: bool,
}

/// What stands for a setting that is not set.
#[derive(Clone, Copy)]
pub(super) enum Fallback {
    /// A text.
    Text(&'static str),
    /// Nothing.
    Unset,
    /// A value that depends on other settings, described.
    Derived(
        #[cfg_attr(not(test), expect(dead_code, reason = "docs/configuration.md is made from it, by a test"))]
        &'static str,
    ),
}

/// The log's filter without DEBUG.
pub(super) const LOG_FILTER_PLAIN: &str = "info";
/// The log's filter with DEBUG; `aimg` is the beginning of all our crates' names.
pub(super) const LOG_FILTER_DEBUG: &str = "info,aimg=debug";

macro_rules! settings {
    (@secret) => { false };
    (@secret secret) => { true };
    ($($name:ident: $type:ty = $key:literal, $env:literal, $default:expr, $parse:expr, $allowed:literal, $help:literal
        $(, $secret:ident)?;)*) => {
        $(pub(super) static $name: Setting<$type> = Setting {
            about: About {
                key: $key,
                env: $env,
                default: $default,
                allowed: $allowed,
                help: $help,
                secret: settings!(@secret $($secret)?),
            },
            parse: $parse,
        };)*

        /// Every setting, in the order in which they are shown.
        pub(super) static ALL: &[&About] = &[$(&$name.about),*];
    };
}

use Fallback::{Derived, Text, Unset};

settings! {
    SECRET_KEY: Option<SecretString> = "secret_key", "SECRET_KEY", Unset, format::secret,
        "any text",
        "The installation's secret: the PBXs' credentials are encrypted with a key derived from it. \
         Without it a key file `secret.key` is made in the data directory.", secret;
    DEBUG: bool = "debug", "DEBUG", Text("false"), format::flag,
        "true or false (also 1, 0, yes, no, on, off)",
        "Logs more. Not for production.";
    ALLOWED_HOSTS: Vec<String> = "allowed_hosts", "ALLOWED_HOSTS", Text("localhost,127.0.0.1,::1"), format::hosts,
        "host names or addresses separated by commas, or `*` for any",
        "The names under which the gateway may be addressed over HTTP.";
    DATABASE_URL: Option<PostgresPlace> = "database.url", "DATABASE_URL", Unset, format::postgres_url,
        "an address such as `postgres://user:password@host:5432/name?sslmode=verify-full`",
        "The PostgreSQL database. Without it and without DATABASE_NAME, SQLite is used.", secret;
    DATABASE_NAME: String = "database.name", "DATABASE_NAME", Unset, format::text,
        "any text",
        "The PostgreSQL database, where DATABASE_URL is not set.";
    DATABASE_USER: Option<String> = "database.user", "DATABASE_USER", Unset, format::optional,
        "any text",
        "The PostgreSQL user that goes with DATABASE_NAME. An ordinary role: row-level security does not bind a superuser.";
    DATABASE_PASSWORD: Option<SecretString> = "database.password", "DATABASE_PASSWORD", Unset, format::secret,
        "any text",
        "The PostgreSQL user's password.", secret;
    DATABASE_HOST: String = "database.host", "DATABASE_HOST", Text("localhost"), format::text,
        "a host name, an address, or the directory of a Unix socket",
        "The PostgreSQL server that goes with DATABASE_NAME.";
    DATABASE_PORT: u16 = "database.port", "DATABASE_PORT", Text("5432"), |t| format::count(t, 1..=u16::MAX),
        "1 to 65535",
        "The PostgreSQL server's port.";
    DATA_DIR: PathBuf = "data_dir", "AIMG_DATA_DIR", Text("./aimg-data"), format::path,
        "a path",
        "The directory of all that the gateway keeps; made at first start.";
    DATABASE_PATH: PathBuf = "database.path", "AIMG_DATABASE_PATH", Derived("`aimg.db` in the data directory"),
        format::path,
        "a path",
        "The SQLite file, where no PostgreSQL database is named.";
    SPOOL_DIR: PathBuf = "spool_dir", "AIMG_SPOOL_DIR", Derived("`spool` in the data directory"), format::path,
        "a path",
        "Where audio is kept while it is captured. A local disk: it must keep up.";
    RECORDINGS_DIR: PathBuf = "recordings_dir", "AIMG_RECORDINGS_DIR", Derived("`recordings` in the data directory"),
        format::path,
        "a path",
        "Where finished recordings and their certificates are kept.";
    MEMORY_DIR: Option<PathBuf> = "memory_dir", "AIMG_MEMORY_DIR", Text("/dev/shm"), format::path_or_none,
        "a directory on tmpfs, or `none`",
        "Where the last seconds of each spool are until they are on the disk, so that a disk that hangs costs no packet. \
         About half a MiB a flow; what finds no room is on the disk at once.";
    DISK_RESERVE_BYTES: u64 = "disk.reserve_bytes", "AIMG_DISK_RESERVE_BYTES", Text("1073741824"),
        |s| format::count(s, 0..=1 << 50),
        "0 to 1125899906842624",
        "What is kept free of the disks of spool and recordings, in bytes. With less, no capture begins, so that those that \
         run end well: a call in µ-law writes 2.2 MB a minute with its recording, so the default lets 50 of them go on for \
         almost ten minutes.";
    NODE: Option<NodeId> = "node", "AIMG_NODE", Derived("made at random at the first start, kept in the data directory"),
        format::node,
        "1 to 16 of a-z and 0-9",
        "This node's name. It is part of the id of all that the gateway creates in Asterisk, so two gateways at one \
         Asterisk need different ones.";
    MEDIA_BIND: IpAddr = "media.bind", "AIMG_MEDIA_BIND", Text("127.0.0.1"), |s| s.parse().ok(),
        "an IP address of this machine, or 0.0.0.0 for all of them",
        "The address on which audio is received.";
    MEDIA_ADVERTISE: IpAddr = "media.advertise", "AIMG_MEDIA_ADVERTISE", Derived("the value of `media.bind`"),
        |s| s.parse().ok(),
        "an IP address of this machine that Asterisk reaches; not a name, not 0.0.0.0",
        "The address to which Asterisk is told to send audio. Needed where `media.bind` is 0.0.0.0, or behind NAT.";
    MEDIA_PORT: u16 = "media.port", "AIMG_MEDIA_PORT", Text("4000"), |s| s.parse().ok(),
        "0 for any free port, or a port up to 65535 with room for one port a shard",
        "The UDP port of the first shard; the other shards take the ports after it.";
    MEDIA_SHARDS: usize = "media.shards", "AIMG_MEDIA_SHARDS", Text("1"), |s| format::count(s, 1..=256),
        "1 to 256",
        "Threads that receive audio, each with a port of its own. One carries thousands of flows.";
    MEDIA_RECV_BUFFER_BYTES: usize = "media.recv_buffer_bytes", "AIMG_MEDIA_RECV_BUFFER_BYTES", Text("8388608"),
        |s| format::count(s, 4_096..=1 << 30),
        "4096 to 1073741824",
        "The receive buffer of a shard's socket: how late a shard may be without loss. The kernel may cut it to \
         `net.core.rmem_max`.";
    FLOWS_MAX: usize = "media.flows_max", "AIMG_FLOWS_MAX", Text("2000"), |s| format::count(s, 1..=100_000),
        "1 to 100000",
        "The most flows of a shard; a captured call has two.";
    ARI_LISTEN: Option<SocketAddr> = "ari.listen", "AIMG_ARI_LISTEN", Unset, format::socket,
        "an IP address of this machine and a port, such as 0.0.0.0:8770",
        "Where PBXs arrive whose Asterisk opens ARI's event stream to us (`aimg pbx set --ari-link accept`).";
    ARI_TLS_CERTIFICATE: Option<PathBuf> = "ari.tls_certificate", "AIMG_ARI_TLS_CERTIFICATE", Unset, format::file,
        "a path to a PEM file",
        "Our certificate for them, with those between it and its root. Without it they arrive without TLS.";
    ARI_TLS_KEY: Option<PathBuf> = "ari.tls_key", "AIMG_ARI_TLS_KEY", Unset, format::file,
        "a path to a PEM file",
        "Its key.";
    HTTP_BIND: Option<SocketAddr> = "http.bind", "AIMG_HTTP_BIND", Text("127.0.0.1:8080"), format::address_or_off,
        "an IP address of this machine and a port, as in 127.0.0.1:8080 or [::1]:8080, port 0 for a free one; or `off`",
        "Where the API, health and metrics are served over HTTP (`docs/metrics.md`).";
    HTTP_METRICS_TOKEN: Option<SecretString> = "http.metrics_token", "AIMG_HTTP_METRICS_TOKEN", Unset, format::secret,
        "any text",
        "What readers of `/metrics` show as a bearer token. Without it, only clients on this machine may read them: they \
         concern all tenants.", secret;
    HTTP_TRUSTED_PROXIES: Vec<IpAddr> = "http.trusted_proxies", "AIMG_HTTP_TRUSTED_PROXIES", Unset, format::addresses,
        "IP addresses separated by commas",
        "Proxies whose `X-Forwarded-For` is believed, for limits and the audit log.";
    HTTP_SECURE_COOKIES: bool = "http.secure_cookies", "AIMG_HTTP_SECURE_COOKIES", Text("false"), format::flag,
        "true or false",
        "Whether browsers send their cookies over TLS only. Set it where a proxy speaks TLS for the gateway.";
    HTTP_ADDRESS_REQUESTS: NonZeroU32 = "http.address_requests_per_second", "AIMG_HTTP_ADDRESS_REQUESTS_PER_SECOND",
        Text("100"), |s| s.parse().ok(),
        "1 or more",
        "Requests of one address, on the average of some seconds. People of one office may share an address.";
    HTTP_ACCOUNT_REQUESTS: NonZeroU32 = "http.account_requests_per_second", "AIMG_HTTP_ACCOUNT_REQUESTS_PER_SECOND",
        Text("50"), |s| s.parse().ok(),
        "1 or more",
        "Requests of one user or API key, on the average of some seconds.";
    WEBHOOKS_ALLOW_PRIVATE: Vec<Network> = "webhooks.allow_private", "AIMG_WEBHOOKS_ALLOW_PRIVATE", Unset,
        format::networks,
        "networks such as `10.1.0.0/16` or `fd00::/8`, and addresses, separated by commas",
        "Private networks in which webhooks may be. Without it they are on the internet: a tenant must not reach what only \
         this machine can (`docs/webhooks.md`).";
    WEBHOOKS_ALLOW_HTTP: bool = "webhooks.allow_http", "AIMG_WEBHOOKS_ALLOW_HTTP", Text("false"), format::flag,
        "true or false",
        "Whether webhooks may be told over http, which is not encrypted: messages have phone numbers in them.";
    WEBHOOKS_TIMEOUT_MS: u64 = "webhooks.timeout_ms", "AIMG_WEBHOOKS_TIMEOUT_MS", Text("10000"),
        |s| format::count(s, 100..=60_000),
        "100 to 60000",
        "How long a webhook may take to answer, in milliseconds.";
    WEBHOOKS_RETENTION_DAYS: u64 = "webhooks.retention_days", "AIMG_WEBHOOKS_RETENTION_DAYS", Text("14"),
        |s| format::count(s, 4..=3_650),
        "4 to 3650",
        "How long messages to webhooks are kept, so that they can be replayed.";
    LOG_FILTER: String = "log.filter", "AIMG_LOG", Derived("`info`; with DEBUG `info,aimg=debug`"), format::log_filter,
        "directives such as `info` or `warn,aimg_media=debug`",
        "What is logged.";
    LOG_FORMAT: LogFormat = "log.format", "AIMG_LOG_FORMAT", Text("text"), format::log_format,
        "text or json",
        "How log lines look.";
    TAPS_MAX: usize = "taps_max", "AIMG_TAPS_MAX", Text("1000"), |s| format::count(s, 1..=100_000),
        "1 to 100000",
        "Calls of one PBX that are captured at once; those beyond go on without. Each takes two RTP ports of Asterisk, which \
         has crashed when it had none left.";
    HOOK_TIMEOUT_MS: u64 = "hook.timeout_ms", "AIMG_HOOK_TIMEOUT_MS", Text("2000"), |s| format::count(s, 1..=60_000),
        "1 to 60000",
        "How long a call waits in the hook for its capture, at most, in milliseconds. Then it goes on without.";
    CONTROL_MEDIA_HOSTS: Vec<String> = "control.media_hosts", "AIMG_CONTROL_MEDIA_HOSTS", Unset, format::host_list,
        "host names or addresses separated by commas",
        "The hosts from which Asterisk may be told to fetch what is played into a call. Without it, only sounds that are on \
         the PBX are played. Asterisk follows redirections: name only hosts that you trust not to send it elsewhere.";
    RIVA_ASR_URI: Option<Address> = "riva.asr_uri", "RIVA_ASR_URI", Unset, format::riva_address,
        "a host with a port, such as localhost:50051, with https:// in front for TLS",
        "The NVIDIA Riva server that recognises speech. Without it, Riva is not used.";
    RIVA_TTS_URI: Option<Address> = "riva.tts_uri", "RIVA_TTS_URI", Derived("the value of `riva.asr_uri`"),
        format::riva_address,
        "a host with a port, such as localhost:50051, with https:// in front for TLS",
        "The one that speaks.";
    RIVA_USE_SSL: bool = "riva.use_ssl", "RIVA_USE_SSL", Text("false"), format::flag,
        "true or false",
        "Whether Riva is reached by TLS. Each of the three files says so too.";
    RIVA_SSL_CERT: Option<PathBuf> = "riva.ssl_cert", "RIVA_SSL_CERT", Unset, format::file,
        "a path to a PEM file",
        "Our certificate, where Riva wants to see one.";
    RIVA_SSL_KEY: Option<PathBuf> = "riva.ssl_key", "RIVA_SSL_KEY", Unset, format::file,
        "a path to a PEM file",
        "Its key.";
    RIVA_SSL_ROOT_CERTS: Option<PathBuf> = "riva.ssl_root_certs", "RIVA_SSL_ROOT_CERTS",
        Derived("whom the operating system trusts"), format::file,
        "a path to a PEM file",
        "Who may have signed Riva's certificate.";
    RIVA_AUTH_TOKEN: Option<SecretString> = "riva.auth_token", "RIVA_AUTH_TOKEN", Unset, format::secret,
        "any text",
        "What is shown to Riva as a bearer token.", secret;
    RIVA_AUTH_METADATA: Pairs = "riva.auth_metadata", "RIVA_AUTH_METADATA", Unset, |s| s.parse().ok(),
        "name=value or name:value, separated by commas",
        "What goes with every request besides, such as the `function-id` of NVIDIA's hosted service.", secret;
    RIVA_DEFAULT_LANGUAGE: String = "riva.default_language", "RIVA_DEFAULT_LANGUAGE", Text("en-US"), format::text,
        "a language such as en-US",
        "The language of whoever names none.";
    RIVA_DEFAULT_SAMPLE_RATE: u32 = "riva.default_sample_rate", "RIVA_DEFAULT_SAMPLE_RATE", Text("16000"),
        |s| format::count(s, 8_000..=48_000),
        "8000 to 48000",
        "The sample rate where there is a choice, and of speech, in Hz. Audio of a phone is sent as it is.";
    RIVA_MAX_ALTERNATIVES: u8 = "riva.max_alternatives", "RIVA_MAX_ALTERNATIVES", Text("3"), |s| format::count(s, 1..=30),
        "1 to 30",
        "The most readings of one utterance.";
    RIVA_PROFANITY_FILTER: bool = "riva.enable_profanity_filter", "RIVA_ENABLE_PROFANITY_FILTER", Text("true"),
        format::flag,
        "true or false",
        "Whether profanity is masked.";
    RIVA_DIARIZATION: bool = "riva.enable_speaker_diarization", "RIVA_ENABLE_SPEAKER_DIARIZATION", Text("true"),
        format::flag,
        "true or false",
        "Whether speakers of one direction may be told apart. Caller and callee are in any case.";
    RIVA_WORD_TIMESTAMPS: bool = "riva.enable_word_timestamps", "RIVA_ENABLE_WORD_TIMESTAMPS", Text("true"), format::flag,
        "true or false",
        "Whether words have times.";
    RIVA_PUNCTUATION: bool = "riva.enable_automatic_punctuation", "RIVA_ENABLE_AUTOMATIC_PUNCTUATION", Text("true"),
        format::flag,
        "true or false",
        "Whether text is punctuated.";
    RIVA_CONNECTION_TIMEOUT: Duration = "riva.connection_timeout", "RIVA_CONNECTION_TIMEOUT", Text("30.0"),
        format::seconds,
        "0.1 to 3600",
        "How long connecting to Riva may take, in seconds.";
    RIVA_REQUEST_TIMEOUT: Duration = "riva.request_timeout", "RIVA_REQUEST_TIMEOUT", Text("300.0"), format::seconds,
        "0.1 to 3600",
        "How long an answer of Riva may take, in seconds: to a request, and to the end of a stream's audio.";
    RIVA_CHUNK_SIZE: Option<usize> = "riva.streaming_chunk_size", "RIVA_STREAMING_CHUNK_SIZE", Derived("100 ms"),
        |s| if s.is_empty() { Some(None) } else { format::count(s, 80..=1 << 20).map(Some) },
        "80 to 1048576",
        "Samples that are sent at once.";
    RIVA_MAX_REQUESTS: usize = "riva.max_concurrent_requests", "RIVA_MAX_CONCURRENT_REQUESTS", Text("10"),
        |s| format::count(s, 1..=100_000),
        "1 to 100000",
        "Streams and requests that Riva gets at once; others wait, no tenant longer for another's many calls.";
    RIVA_TTS_VOICE: Option<String> = "riva.tts_voice", "RIVA_TTS_VOICE", Derived("Riva's choice"), format::optional,
        "a voice by Riva's name",
        "The voice of texts for which none is named.";
    RIVA_MODELS: Pairs = "riva.models", "AIMG_RIVA_MODELS", Derived("Riva's choice"), |s| s.parse().ok(),
        "language=model, separated by commas",
        "The models for languages.";
    RIVA_CUSTOM: Pairs = "riva.custom", "AIMG_RIVA_CUSTOM", Unset, |s| s.parse().ok(),
        "name=value, separated by commas",
        "Settings of every stream by Riva's names: those of endpointing such as `stop_history`, `verbatim_transcripts`, and \
         what its models know.";
    RIVA_ULAW: bool = "riva.ulaw", "AIMG_RIVA_ULAW", Text("false"), format::flag,
        "true or false",
        "Whether audio of 8 kHz is sent as µ-law: half the bytes, and nothing lost where the phone sent µ-law.";
    HTTP_SPEECH_URL: Option<Url> = "speech.http.url", "AIMG_SPEECH_HTTP_URL", Unset, format::web_address,
        "an address up to and with the version, without a password, such as https://api.openai.com/v1",
        "A service with OpenAI's way of recognising and speaking. Without it, none is used (`docs/speech.md`).";
    HTTP_SPEECH_KEY: Option<SecretString> = "speech.http.key", "AIMG_SPEECH_HTTP_KEY", Unset, format::secret,
        "any text",
        "What is shown to it as a bearer token.", secret;
    HTTP_SPEECH_MODEL: Option<String> = "speech.http.model", "AIMG_SPEECH_HTTP_MODEL", Text("whisper-1"),
        format::text_or_none,
        "a model by the service's name, or `none`",
        "The model that recognises; with `none` the service is not asked to.";
    HTTP_SPEECH_LANGUAGE: Option<String> = "speech.http.language", "AIMG_SPEECH_HTTP_LANGUAGE",
        Derived("the service finds out"), format::optional,
        "a language such as en-US",
        "The language of whoever names none.";
    HTTP_SPEECH_WORD_TIMES: bool = "speech.http.word_times", "AIMG_SPEECH_HTTP_WORD_TIMES", Text("true"), format::flag,
        "true or false",
        "Whether the times of words are asked for (`verbose_json`): not all models have them.";
    HTTP_SPEECH_VOICE_MODEL: Option<String> = "speech.http.voice_model", "AIMG_SPEECH_HTTP_VOICE_MODEL", Text("tts-1"),
        format::text_or_none,
        "a model by the service's name, or `none`",
        "The model that speaks; with `none` the service is not asked to.";
    HTTP_SPEECH_VOICE: String = "speech.http.voice", "AIMG_SPEECH_HTTP_VOICE", Text("alloy"), format::named,
        "a voice by the service's name",
        "The voice of texts for which none is named.";
    HTTP_SPEECH_RATE: u32 = "speech.http.rate_hz", "AIMG_SPEECH_HTTP_RATE_HZ", Text("24000"),
        |s| format::count(s, 8_000..=48_000),
        "8000 to 48000",
        "The sample rate of what it speaks, in Hz: it does not say.";
    HTTP_SPEECH_TIMEOUT: Duration = "speech.http.timeout", "AIMG_SPEECH_HTTP_TIMEOUT", Text("60"), format::seconds,
        "0.1 to 3600",
        "How long an answer of it may take, in seconds; of speech, each piece.";
    HTTP_SPEECH_REQUESTS: usize = "speech.http.requests_max", "AIMG_SPEECH_HTTP_REQUESTS_MAX", Text("10"),
        |s| format::count(s, 1..=100_000),
        "1 to 100000",
        "Requests that it gets at once, to recognise and to speak each; others wait, no tenant longer for another's many calls.";
    SAID_DIR: PathBuf = "speech.said_dir", "AIMG_SPEECH_SAID_DIR", Derived("`said` in the data directory"), format::path,
        "a path",
        "Where what is said into calls is for Asterisk to read: Asterisk must see it, and its user may read it.";
    SAID_SEEN_AS: PathBuf = "speech.said_seen_as", "AIMG_SPEECH_SAID_SEEN_AS", Derived("the same path"), format::path,
        "a path",
        "Where Asterisk sees `speech.said_dir`, when it is in a container or on another machine that shares the directory.";
    WEBSOCKET_SPEECH_SERVICE: Option<Preset> = "speech.websocket.service", "AIMG_SPEECH_WEBSOCKET_SERVICE", Unset,
        format::websocket_service,
        "deepgram, assemblyai, or `none` for another one that `speech.websocket.protocol` describes",
        "A service that recognises over a WebSocket (`docs/websocket-recognisers.md`). Without it, none is used.";
    WEBSOCKET_SPEECH_PROTOCOL: Option<PathBuf> = "speech.websocket.protocol", "AIMG_SPEECH_WEBSOCKET_PROTOCOL", Unset,
        format::file,
        "a TOML file",
        "How the service is spoken to, where that differs from what is known of it.";
    WEBSOCKET_SPEECH_KEY: Option<SecretString> = "speech.websocket.key", "AIMG_SPEECH_WEBSOCKET_KEY", Unset, format::secret,
        "any text",
        "The key that it wants.", secret;
    WEBSOCKET_SPEECH_MODEL: Option<String> = "speech.websocket.model", "AIMG_SPEECH_WEBSOCKET_MODEL",
        Derived("nova-3 of Deepgram, u3-rt-pro of AssemblyAI"), format::optional,
        "a model by the service's name",
        "The model of whoever names none.";
    WEBSOCKET_SPEECH_LANGUAGE: Option<String> = "speech.websocket.language", "AIMG_SPEECH_WEBSOCKET_LANGUAGE",
        Derived("the service's own"), format::optional,
        "a language such as en-US",
        "The language of whoever names none.";
    WEBSOCKET_SPEECH_CA: Option<PathBuf> = "speech.websocket.ca_file", "AIMG_SPEECH_WEBSOCKET_CA_FILE",
        Derived("whom the operating system trusts"), format::file,
        "a PEM file",
        "Who vouches for its certificate.";
    WEBSOCKET_SPEECH_TIMEOUT: Duration = "speech.websocket.timeout", "AIMG_SPEECH_WEBSOCKET_TIMEOUT", Text("30"),
        format::seconds,
        "0.1 to 3600",
        "How long it may take to be ready, and to tell the rest when the audio has ended, in seconds.";
    WEBSOCKET_SPEECH_STREAMS: usize = "speech.websocket.streams_max", "AIMG_SPEECH_WEBSOCKET_STREAMS_MAX", Text("10"),
        |s| format::count(s, 1..=100_000),
        "1 to 100000",
        "Streams that it gets at once; others wait, no tenant longer for another's many calls.";
    LOCAL_MODELS_DIR: PathBuf = "speech.local.models_dir", "AIMG_SPEECH_LOCAL_MODELS_DIR",
        Derived("`models` in the data directory"), format::path,
        "a path",
        "Where the models of the local recogniser are.";
    LOCAL_MODEL: String = "speech.local.model", "AIMG_SPEECH_LOCAL_MODEL", Text("whisper-tiny.en"), format::named,
        "a model as `aimg models list` names it",
        "The model of the local recogniser, which is used where it is there: `aimg models pull` brings it.";
    LOCAL_WORKERS: Option<usize> = "speech.local.workers", "AIMG_SPEECH_LOCAL_WORKERS", Derived("one a core"),
        |s| if s.is_empty() { Some(None) } else { format::count(s, 1..=256).map(Some) },
        "1 to 256",
        "Threads that recognise, from the first stream on. Each takes about 100 MB; they give way to captures.";
    LOCAL_STREAMS_MAX: usize = "speech.local.streams_max", "AIMG_SPEECH_LOCAL_STREAMS_MAX", Text("64"),
        |s| format::count(s, 1..=10_000),
        "1 to 10000",
        "Streams that the local recogniser has at once; others wait. Each takes up to 3 MB.";
    VOICE_PROGRAM: Option<String> = "speech.voice.program", "AIMG_SPEECH_VOICE_PROGRAM", Text("flite"),
        format::text_or_none,
        "a program by its path or name, or `none`",
        "A program that speaks: it reads a text on its standard input and writes a WAV file. Its name is the voice's as a \
         provider.";
    VOICE_ARGUMENTS: Vec<String> = "speech.voice.arguments", "AIMG_SPEECH_VOICE_ARGUMENTS",
        Text("-voice,{voice},-f,/dev/stdin,-o,{output}"), format::arguments,
        "arguments separated by commas, with `{output}` among them",
        "The program's arguments, as they are: no shell has a hand in it. `{output}` stands for the file that it is to write, \
         `{voice}` for the voice.";
    VOICE_NAME: String = "speech.voice.name", "AIMG_SPEECH_VOICE_NAME", Text("rms"), format::voice,
        "letters, digits, `-`, `_` and `.`, the first neither `-` nor `.`",
        "The voice of texts for which none is named.";
    VOICE_TIMEOUT: Duration = "speech.voice.timeout", "AIMG_SPEECH_VOICE_TIMEOUT", Text("20"), format::seconds,
        "0.1 to 3600",
        "How long the program may take for a text, in seconds.";
    TRANSCRIPTION_MAX_AUDIO_SIZE: usize = "transcription.max_audio_size", "TRANSCRIPTION_MAX_AUDIO_SIZE",
        Text("52428800"), |s| format::count(s, 1..=1 << 30),
        "1 to 1073741824",
        "The most audio that is recognised at once, in bytes: of a file (`aimg transcribe`), and in one request to Riva.";
    TRANSCRIPTION_CACHE_TTL: u64 = "transcription.cache_ttl", "TRANSCRIPTION_CACHE_TTL", Text("3600"),
        |s| format::count(s, 0..=31_536_000),
        "0 to 31536000",
        "How long the transcript of a file is kept, in seconds, so that asking again costs nothing; 0 keeps none.";
}
