//! Settings from all places, good and bad.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use aimg_speech::websocket::Preset;
use proptest::prelude::*;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::sources::Origin;
use super::table::ALL;
use super::*;

/// A working directory, and an environment that is the test's own.
struct Case {
    dir: TempDir,
    environment: Vec<(OsString, OsString)>,
}

impl Case {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    fn toml(self, text: &str) -> Self {
        fs::write(self.dir.path().join("aimg.toml"), text).unwrap();
        self
    }

    fn dotenv(self, text: &str) -> Self {
        fs::write(self.dir.path().join(".env"), text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn places(&self) -> Places {
        let dir = self.dir.path();
        Places { config: None, config_defaults: vec![dir.join("aimg.toml")], dotenv: dir.join(".env") }
    }

    fn load(&self) -> Result<Settings, SettingsError> {
        Settings::load(&self.places(), self.environment.clone())
    }

    fn value(&self, key: &str) -> (String, String) {
        let settings = self.load().unwrap();
        let row = settings.report().iter().find(|row| row.key == key).unwrap();
        let origin = row.origin.to_string().replace(&format!("{}/", self.dir.path().display()), "");
        (row.value.clone(), origin)
    }

    #[track_caller]
    fn assert_refused(&self, words: &[&str]) {
        let message = self.load().unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "`{word}` is not in: {message}");
        }
    }
}

#[test]
fn nothing_set_is_enough() {
    let settings = Case::new().load().unwrap();
    assert!(settings.secret_key.is_none());
    assert_eq!(settings.database.to_string(), "./aimg-data/aimg.db");
    assert_eq!(settings.spool_dir, Path::new("./aimg-data/spool"));
    assert_eq!(settings.recordings_dir, Path::new("./aimg-data/recordings"));
    assert_eq!(settings.key_file(), Path::new("./aimg-data/secret.key"));
    assert_eq!(Case::new().value("allowed_hosts").0, "localhost,127.0.0.1,::1");
    assert!(settings.node.is_none());
    let media = &settings.media;
    assert_eq!((media.bind.to_string(), media.advertise.to_string()), ("127.0.0.1".into(), "127.0.0.1".into()));
    assert_eq!((media.port, media.shards, media.recv_buffer_bytes, media.flows_max), (4_000, 1, 8 << 20, 2_000));
    assert_eq!(settings.http.bind, Some("127.0.0.1:8080".parse().unwrap()));
    assert_eq!(settings.http.allowed_hosts, ["localhost", "127.0.0.1", "::1"]);
    assert!(settings.http.metrics_token.is_none());
    assert_eq!((settings.log.filter.as_str(), settings.log.format), ("info", LogFormat::Text));
    assert_eq!(settings.hook_timeout, Duration::from_secs(2));
    assert!(settings.report().iter().all(|row| row.origin == Origin::Default));
    assert_eq!(settings.report().len(), ALL.len(), "every setting is read");
}

#[test]
fn the_environment_wins_over_dotenv_over_toml() {
    let toml = "# a comment\n[media]\nport = 5000\n";
    let steps = [
        (Case::new(), "4000", "default"),
        (Case::new().toml(toml), "5000", "aimg.toml:3"),
        (Case::new().toml(toml).dotenv("AIMG_MEDIA_PORT=6000\n"), "6000", ".env"),
        (Case::new().toml(toml).dotenv("AIMG_MEDIA_PORT=6000\n").env("AIMG_MEDIA_PORT", "7000"), "7000", "environment"),
        (Case::new().toml(toml).dotenv("AIMG_MEDIA_PORT=\n").env("AIMG_MEDIA_PORT", ""), "5000", "aimg.toml:3"),
    ];
    for (case, value, origin) in steps {
        assert_eq!(case.value("media.port"), (value.to_owned(), origin.to_owned()));
    }
}

#[test]
fn every_setting_can_be_set_in_every_place() {
    let samples = BTreeMap::from([
        ("secret_key", "s3cret"),
        ("debug", "true"),
        ("allowed_hosts", "a.example,b.example"),
        ("database.url", "postgres://u@h/n"),
        ("database.name", "calls"),
        ("database.user", "u"),
        ("database.password", "p"),
        ("database.host", "h"),
        ("database.port", "5432"),
        ("data_dir", "/data"),
        ("database.path", "/db/x.db"),
        ("spool_dir", "/spool"),
        ("recordings_dir", "/recordings"),
        ("memory_dir", "/memory"),
        ("disk.reserve_bytes", "5000000"),
        ("node", "n7"),
        ("media.bind", "0.0.0.0"),
        ("media.advertise", "192.0.2.7"),
        ("media.port", "0"),
        ("media.shards", "2"),
        ("media.recv_buffer_bytes", "65536"),
        ("media.flows_max", "10"),
        ("ari.listen", "0.0.0.0:8770"),
        ("ari.tls_certificate", "/cert.pem"),
        ("ari.tls_key", "/key.pem"),
        ("http.bind", "[::1]:0"),
        ("http.metrics_token", "hush"),
        ("http.trusted_proxies", "10.0.0.1"),
        ("http.secure_cookies", "true"),
        ("http.address_requests_per_second", "20"),
        ("http.account_requests_per_second", "10"),
        ("webhooks.allow_private", "10.1.0.0/16,fd00::1"),
        ("webhooks.allow_http", "true"),
        ("webhooks.timeout_ms", "500"),
        ("webhooks.retention_days", "30"),
        ("log.filter", "warn"),
        ("log.format", "json"),
        ("control.media_hosts", "sounds.example"),
        ("taps_max", "50"),
        ("hook.timeout_ms", "500"),
        ("riva.asr_uri", "riva:50051"),
        ("riva.tts_uri", "https://riva:50052"),
        ("riva.use_ssl", "True"),
        ("riva.ssl_cert", "/riva.pem"),
        ("riva.ssl_key", "/riva-key.pem"),
        ("riva.ssl_root_certs", "/riva-ca.pem"),
        ("riva.auth_token", "hush"),
        ("riva.auth_metadata", "function-id=12ab"),
        ("riva.default_language", "de-DE"),
        ("riva.default_sample_rate", "8000"),
        ("riva.max_alternatives", "1"),
        ("riva.enable_profanity_filter", "False"),
        ("riva.enable_speaker_diarization", "False"),
        ("riva.enable_word_timestamps", "False"),
        ("riva.enable_automatic_punctuation", "False"),
        ("riva.connection_timeout", "5.5"),
        ("riva.request_timeout", "60"),
        ("riva.streaming_chunk_size", "1024"),
        ("riva.max_concurrent_requests", "4"),
        ("riva.tts_voice", "English-US.Female-1"),
        ("riva.models", "de-DE=conformer"),
        ("riva.custom", "stop_history=500"),
        ("riva.ulaw", "true"),
        ("speech.http.url", "http://127.0.0.1:9000/v1"),
        ("speech.http.key", "hush"),
        ("speech.http.model", "whisper-large"),
        ("speech.http.language", "de"),
        ("speech.http.word_times", "false"),
        ("speech.http.voice_model", "none"),
        ("speech.http.voice", "nova"),
        ("speech.http.rate_hz", "16000"),
        ("speech.http.timeout", "5"),
        ("speech.http.requests_max", "2"),
        ("speech.said_dir", "/said"),
        ("speech.said_seen_as", "/seen"),
        ("speech.websocket.service", "assemblyai"),
        ("speech.websocket.protocol", "/stt.toml"),
        ("speech.websocket.key", "hush"),
        ("speech.websocket.model", "best"),
        ("speech.websocket.language", "de"),
        ("speech.websocket.ca_file", "/ca.pem"),
        ("speech.websocket.timeout", "5"),
        ("speech.websocket.streams_max", "2"),
        ("speech.local.models_dir", "/models"),
        ("speech.local.model", "mine"),
        ("speech.local.workers", "3"),
        ("speech.local.streams_max", "5"),
        ("speech.voice.program", "/opt/piper/piper"),
        ("speech.voice.arguments", "--model,{voice},--output_file,{output}"),
        ("speech.voice.name", "joe.onnx"),
        ("speech.voice.timeout", "7.5"),
        ("transcription.max_audio_size", "1000000"),
        ("transcription.cache_ttl", "60"),
    ]);
    let set: Vec<_> = ALL.iter().filter_map(|about| Some((about, *samples.get(about.key)?))).collect();
    assert_eq!(set.len(), ALL.len());

    let toml: String = set.iter().map(|(about, value)| format!("{} = \"{value}\"\n", about.key)).collect();
    let dotenv: String = set.iter().map(|(about, value)| format!("{}={value}\n", about.env)).collect();
    let environment = set.iter().fold(Case::new(), |case, (about, value)| case.env(about.env, value));
    for case in [Case::new().toml(&toml), Case::new().dotenv(&dotenv), environment] {
        let settings = case.load().unwrap();
        for row in settings.report() {
            let about = ALL.iter().find(|about| about.key == row.key).unwrap();
            let expected = if about.secret { "(hidden)" } else { samples[row.key] };
            assert_eq!(row.value, expected, "{}", row.key);
            assert_ne!(row.origin, Origin::Default, "{}", row.key);
        }
        assert_eq!(settings.secret_key.unwrap().expose_secret(), "s3cret");
    }
}

#[test]
fn riva_is_set_up_by_the_names_of_the_original() {
    assert!(Case::new().env("RIVA_USE_SSL", "True").load().unwrap().riva.is_none());
    let riva = |case: Case| case.env("RIVA_ASR_URI", "localhost:50051").load().unwrap().riva.unwrap();
    let plain = riva(Case::new());
    assert_eq!(plain.asr.to_string(), "localhost:50051");
    assert_eq!((plain.connect_timeout, plain.request_timeout), (Duration::from_secs(30), Duration::from_secs(300)));
    assert!(plain.word_times && plain.punctuation && plain.profanity_filter && plain.speakers && !plain.tls);
    assert_eq!((plain.chunk_samples, plain.requests_max, plain.audio_bytes_max), (None, 10, 50 << 20));
    let set = riva(
        Case::new()
            .env("RIVA_STREAMING_CHUNK_SIZE", "1024")
            .env("RIVA_CONNECTION_TIMEOUT", "0.5")
            .env("RIVA_ENABLE_WORD_TIMESTAMPS", "False")
            .env("RIVA_AUTH_METADATA", "function-id:12ab"),
    );
    assert_eq!((set.chunk_samples, set.connect_timeout), (Some(1_024), Duration::from_millis(500)));
    assert_eq!((set.word_times, set.metadata.value("function-id")), (false, Some("12ab")));
    for (name, value, words) in [
        ("RIVA_ASR_URI", "http://", &["riva.asr_uri", "localhost:50051"]),
        ("RIVA_TTS_URI", "riva", &["riva.tts_uri", "of no use without riva.asr_uri"]),
        ("RIVA_SSL_CERT", "/c", &["riva.ssl_cert", "of no use without riva.ssl_key"]),
        ("RIVA_SSL_KEY", "/k", &["riva.ssl_key", "of no use without riva.ssl_cert"]),
        ("RIVA_REQUEST_TIMEOUT", "inf", &["riva.request_timeout", "0.1 to 3600"]),
        ("AIMG_RIVA_MODELS", "parakeet", &["riva.models", "language=model"]),
    ] {
        Case::new().env(name, value).assert_refused(words);
    }
}

#[test]
fn speech_needs_nothing_set_and_takes_what_is() {
    let plain = Case::new().load().unwrap().speech;
    assert!(plain.http.is_none() && plain.websocket.is_none());
    assert_eq!(plain.models_dir, Path::new("./aimg-data/models"));
    assert_eq!((plain.model.as_str(), plain.workers, plain.streams_max), ("whisper-tiny.en", None, 64));
    assert_eq!(plain.voice, Some(aimg_speech::voice::Config::flite("flite")));
    assert_eq!((plain.audio_bytes_max, plain.cache_ttl), (50 << 20, Duration::from_secs(3_600)));

    let set = Case::new()
        .env("AIMG_SPEECH_HTTP_URL", "http://127.0.0.1:9000/v1")
        .env("AIMG_SPEECH_HTTP_VOICE_MODEL", "none")
        .env("AIMG_SPEECH_WEBSOCKET_SERVICE", "deepgram")
        .env("AIMG_SPEECH_WEBSOCKET_KEY", "geheim")
        .env("AIMG_SPEECH_VOICE_PROGRAM", "/opt/piper/piper")
        .env("AIMG_SPEECH_VOICE_ARGUMENTS", "--model, {voice}, --output_file, {output}")
        .load()
        .unwrap()
        .speech;
    let http = set.http.unwrap();
    assert_eq!((http.settings.model.as_str(), http.recognises, http.speaks), ("whisper-1", true, false));
    let websocket = set.websocket.unwrap();
    assert_eq!((websocket.preset, websocket.streams_max), (Preset::Deepgram, 10));
    assert!(websocket.key.is_some() && websocket.model.is_none() && !format!("{websocket:?}").contains("geheim"));
    let voice = set.voice.unwrap();
    assert_eq!((voice.name.as_str(), voice.arguments.len()), ("piper", 4));
    assert!(Case::new().env("AIMG_SPEECH_VOICE_PROGRAM", "none").load().unwrap().speech.voice.is_none());
    for (name, value, words) in [
        ("AIMG_SPEECH_HTTP_URL", "localhost:9000", ["speech.http.url", "https://api.openai.com/v1"]),
        ("AIMG_SPEECH_HTTP_URL", "https://u:p@localhost/v1", ["speech.http.url", "without a password"]),
        ("AIMG_SPEECH_HTTP_MODEL", " ", ["speech.http.model", "or `none`"]),
        ("AIMG_SPEECH_VOICE_ARGUMENTS", "--quiet", ["speech.voice.arguments", "`{output}` among them"]),
        ("AIMG_SPEECH_VOICE_NAME", "-x", ["speech.voice.name", "the first neither `-` nor `.`"]),
        ("AIMG_SPEECH_WEBSOCKET_SERVICE", "whisper", ["speech.websocket.service", "deepgram, assemblyai, or `none`"]),
        ("AIMG_SPEECH_WEBSOCKET_SERVICE", "none", ["speech.websocket.service", "without speech.websocket.protocol"]),
        ("AIMG_SPEECH_LOCAL_WORKERS", "0", ["speech.local.workers", "1 to 256"]),
    ] {
        Case::new().env(name, value).assert_refused(&words);
    }
}

#[test]
fn toml_values_keep_their_types() {
    let case = Case::new().toml("debug = true\nallowed_hosts = [\"a\", \"b\"]\nmedia.port = 0x1388\n");
    let settings = case.load().unwrap();
    assert_eq!(settings.log.filter, "info,aimg=debug");
    assert_eq!(case.value("allowed_hosts").0, "a,b");
    assert_eq!(settings.media.port, 5_000);
}

#[test]
fn flags_are_read_as_python_writes_them() {
    let filter = |text| Case::new().env("DEBUG", text).load().unwrap().log.filter;
    for on in ["True", "true", "1", "YES", "on"] {
        assert_eq!(filter(on), "info,aimg=debug", "{on}");
    }
    for off in ["False", "false", "0", "no", "Off"] {
        assert_eq!(filter(off), "info", "{off}");
    }
    assert_eq!(Case::new().env("DEBUG", "True").env("AIMG_LOG", "warn").load().unwrap().log.filter, "warn");
}

#[test]
fn a_wrong_value_names_key_value_place_and_what_is_allowed() {
    let cases: [(Case, &[&str]); 16] = [
        (Case::new().env("AIMG_ARI_LISTEN", "pbx:8770"), &["ari.listen", "pbx:8770", "0.0.0.0:8770"]),
        (Case::new().env("AIMG_ARI_TLS_KEY", "/k"), &["ari.tls_key", "/k", "of no use without ari.tls_certificate"]),
        (
            Case::new().env("AIMG_ARI_TLS_KEY", "/k").env("AIMG_ARI_TLS_CERTIFICATE", "/c"),
            &["ari.tls_certificate", "of no use without ari.listen"],
        ),
        (Case::new().toml("\n\nmedia.port = 70000"), &["media.port", "70000", "aimg.toml:3", "65535"]),
        (Case::new().dotenv("AIMG_NODE=N-1"), &["node", "N-1", "AIMG_NODE in .env", "a-z and 0-9"]),
        (Case::new().env("DEBUG", "perhaps"), &["debug", "perhaps", "DEBUG in the environment", "true or false"]),
        (Case::new().env("AIMG_MEDIA_ADVERTISE", "pbx.example"), &["media.advertise", "pbx.example", "not a name"]),
        (Case::new().env("AIMG_MEDIA_ADVERTISE", "0.0.0.0"), &["media.advertise", "0.0.0.0", "not 0.0.0.0"]),
        (Case::new().env("AIMG_MEDIA_BIND", "0.0.0.0"), &["media.advertise", "0.0.0.0 (default)", "could send to"]),
        (
            Case::new().env("AIMG_MEDIA_BIND", "::").env("AIMG_MEDIA_ADVERTISE", "192.0.2.1"),
            &["media.advertise", "IP version", "media.bind = ::"],
        ),
        (
            Case::new().env("AIMG_MEDIA_PORT", "65535").env("AIMG_MEDIA_SHARDS", "2"),
            &["media.port", "65535", "2 ports"],
        ),
        (Case::new().env("AIMG_LOG", "aimg=loud=er"), &["log.filter", "aimg=loud=er"]),
        (Case::new().env("AIMG_HTTP_BIND", "localhost:8080"), &["http.bind", "localhost:8080", "`off`"]),
        (Case::new().env("ALLOWED_HOSTS", "a b"), &["allowed_hosts", "a b", "commas"]),
        (Case::new().toml("media.shards = 1.5"), &["media.shards", "float", "aimg.toml:1", "1 to 256"]),
        (Case::new().toml("[node]\nname = 'n1'"), &["node", "table", "aimg.toml:1"]),
    ];
    for (case, words) in cases {
        case.assert_refused(words);
    }
}

#[test]
fn postgresql_is_named_by_its_address_or_its_parts() {
    let url = "postgres://aimg:secret@db.example/calls";
    let parts = || {
        let host = Case::new().env("DATABASE_HOST", "db.example").env("DATABASE_USER", "aimg");
        host.env("DATABASE_PASSWORD", "secret").env("DATABASE_NAME", "calls")
    };
    for case in [Case::new().env("DATABASE_URL", url), parts(), parts().toml("[database]\nport = 5432")] {
        assert_eq!(case.load().unwrap().database.to_string(), "postgres://aimg@db.example:5432/calls");
    }
    let both = parts().env("DATABASE_URL", "postgres://other.example:5433/x?user=y").load().unwrap();
    assert_eq!(both.database.to_string(), "postgres://y@other.example:5433/x", "the address wins");
    let none = Case::new().env("DATABASE_HOST", "db").env("DATABASE_NAME", "").load().unwrap();
    assert_eq!(none.database.to_string(), "./aimg-data/aimg.db");

    Case::new().env("DATABASE_URL", "mysql://x:topsecret@db/calls").assert_refused(&["database.url", "postgres://"]);
    let refused = Case::new().env("DATABASE_URL", "mysql://x:topsecret@db/calls").load().unwrap_err().to_string();
    assert!(!refused.contains("topsecret"), "{refused}");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let case = Case::new().toml("nodes = 'n1'\n").env("DEBUG", "x").env("AIMG_MEDIA_PORT", "x");
    assert_eq!(case.load().unwrap_err().problems().len(), 3);
}

#[test]
fn unknown_keys_suggest_what_was_meant() {
    let cases = [
        ("nodes = 'n1'", "nodes", "did you mean node?"),
        ("[medai]\nport = 1", "medai.port", "did you mean media.port?"),
        ("[media]\nrecv_bufer_bytes = 1", "media.recv_bufer_bytes", "did you mean media.recv_buffer_bytes?"),
        ("hook_timeout_ms = 1", "hook_timeout_ms", "did you mean hook.timeout_ms?"),
        ("advertise = '192.0.2.1'", "advertise", "did you mean media.advertise?"),
        ("weather = 'fine'", "weather", "docs/configuration.md"),
    ];
    for (toml, key, hint) in cases {
        Case::new().toml(toml).assert_refused(&[key, "aimg.toml:", hint]);
    }
}

#[test]
fn broken_files_are_named_with_the_line() {
    Case::new().toml("node = 'n1'\nmedia = [").assert_refused(&["aimg.toml:2", "not TOML"]);
    let broken = Case::new().dotenv("AIMG_NODE=n1\nSECRET_KEY hush hush\n");
    broken.assert_refused(&[".env:2", "NAME=value"]);
    assert!(!broken.load().unwrap_err().to_string().contains("hush"));

    let case = Case::new();
    let places = Places { config: Some(case.dir.path().join("other.toml")), ..case.places() };
    let message = Settings::load(&places, []).unwrap_err().to_string();
    assert!(message.contains("other.toml cannot be read"), "{message}");
}

#[test]
fn every_kept_input_of_the_fuzzer_is_read_or_refused() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/settings");
    for entry in fs::read_dir(corpus).unwrap() {
        let input = fs::read(entry.unwrap().path()).unwrap();
        // As in fuzz/fuzz_targets/settings.rs: TOML, and after a zero byte what is in `.env`.
        let mut parts = input.splitn(2, |byte| *byte == 0);
        let case = Case::new();
        fs::write(case.dir.path().join("aimg.toml"), parts.next().unwrap()).unwrap();
        fs::write(case.dir.path().join(".env"), parts.next().unwrap_or_default()).unwrap();
        match case.load() {
            Ok(settings) => assert!(!settings.report().is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn secrets_are_shown_nowhere() {
    let case = Case::new()
        .env("SECRET_KEY", "hush")
        .env("DATABASE_NAME", "calls")
        .env("DATABASE_PASSWORD", "hush")
        .env("AIMG_HTTP_METRICS_TOKEN", "hush");
    let settings = case.load().unwrap();
    let json = serde_json::to_string(settings.report()).unwrap();
    assert!(!format!("{settings:?}{json}").contains("hush"));
    assert!(
        json.contains(r#""key":"secret_key","env":"SECRET_KEY","value":"(hidden)","origin":"environment""#),
        "{json}"
    );
    assert!(!case.env("DEBUG", "perhaps").load().unwrap_err().to_string().contains("hush"));
}

#[test]
fn strange_variables_are_noticed_and_no_mistake() {
    let settings = Case::new().env("AIMG_MEDIA_PROT", "1").env("HOME", "/").load().unwrap();
    assert_eq!(settings.strangers(), ["AIMG_MEDIA_PROT"]);
}

#[cfg(unix)]
#[test]
fn a_value_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;

    let mut case = Case::new();
    case.environment.push(("AIMG_DATA_DIR".into(), OsString::from_vec(vec![0xff])));
    case.environment.push(("OTHER".into(), OsString::from_vec(vec![0xff])));
    case.assert_refused(&["AIMG_DATA_DIR", "UTF-8"]);
}

proptest! {
    #[test]
    fn no_text_in_any_setting_panics(text in "\\PC{0,24}", which in 0..ALL.len()) {
        let _ = Case::new().env(ALL[which].env, &text).load();
    }

    #[test]
    fn no_file_panics(toml in "[a-z_.=\\[\\]'\"0-9\\n {}#é-]{0,80}", dotenv in "[A-Z_=$'\"a-z\\n #{}é-]{0,80}") {
        let _ = Case::new().toml(&toml).dotenv(&dotenv).load();
    }
}

/// The document between these lines is made from the list of settings.
const MARKS: [&str; 2] =
    ["<!-- made from the list of settings: begin -->\n", "<!-- made from the list of settings: end -->\n"];

#[test]
fn the_document_lists_every_setting_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let document = fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(MARKS[0]).unwrap();
    let (table, after) = rest.split_once(MARKS[1]).unwrap();
    let expected = report::markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, [before, MARKS[0], &expected, MARKS[1], after].concat()).unwrap();
    } else {
        assert_eq!(table, expected, "run `UPDATE_DOCS=1 cargo test -p aimg settings` to write the table anew");
    }
}
