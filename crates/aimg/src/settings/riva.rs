//! What NVIDIA Riva is set up with.

use aimg_speech::riva::Settings;

use super::reader::Reader;
use super::table;

/// All of it is read, so that all mistakes are told; nothing comes of it where no server is named.
pub(super) fn read(reader: &mut Reader) -> Option<Settings> {
    let asr = reader.read(&table::RIVA_ASR_URI);
    let tts = reader.read(&table::RIVA_TTS_URI);
    let tls = reader.read(&table::RIVA_USE_SSL);
    let (certificate, key) = (reader.read(&table::RIVA_SSL_CERT), reader.read(&table::RIVA_SSL_KEY));
    match (&certificate, &key) {
        (Some(_), None) => reader.reject(&table::RIVA_SSL_CERT, "of no use without riva.ssl_key"),
        (None, Some(_)) => reader.reject(&table::RIVA_SSL_KEY, "of no use without riva.ssl_cert"),
        _ => {}
    }
    if asr.is_none() && tts.is_some() {
        reader.reject(&table::RIVA_TTS_URI, "of no use without riva.asr_uri");
    }
    let authorities = reader.read(&table::RIVA_SSL_ROOT_CERTS);
    let token = reader.read(&table::RIVA_AUTH_TOKEN);
    let metadata = reader.read(&table::RIVA_AUTH_METADATA);
    let language = reader.read(&table::RIVA_DEFAULT_LANGUAGE);
    let sample_rate_hz = reader.read(&table::RIVA_DEFAULT_SAMPLE_RATE);
    let alternatives_max = reader.read(&table::RIVA_MAX_ALTERNATIVES);
    let profanity_filter = reader.read(&table::RIVA_PROFANITY_FILTER);
    let speakers = reader.read(&table::RIVA_DIARIZATION);
    let word_times = reader.read(&table::RIVA_WORD_TIMESTAMPS);
    let punctuation = reader.read(&table::RIVA_PUNCTUATION);
    let connect_timeout = reader.read(&table::RIVA_CONNECTION_TIMEOUT);
    let request_timeout = reader.read(&table::RIVA_REQUEST_TIMEOUT);
    let chunk_samples = reader.read(&table::RIVA_CHUNK_SIZE);
    let requests_max = reader.read(&table::RIVA_MAX_REQUESTS);
    let voice = reader.read(&table::RIVA_TTS_VOICE);
    let models = reader.read(&table::RIVA_MODELS);
    let custom = reader.read(&table::RIVA_CUSTOM);
    let ulaw = reader.read(&table::RIVA_ULAW);
    Some(Settings {
        tts,
        tls,
        certificate,
        key,
        authorities,
        token,
        metadata,
        language,
        sample_rate_hz,
        alternatives_max,
        profanity_filter,
        speakers,
        word_times,
        punctuation,
        connect_timeout,
        request_timeout,
        chunk_samples,
        requests_max,
        models,
        custom,
        ulaw,
        voice,
        ..Settings::new(asr?)
    })
}
