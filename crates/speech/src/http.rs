//! Any service with OpenAI's `/v1/audio/transcriptions` and `/v1/audio/speech`: [`Recogniser`] and [`Voice`], set up by
//! [`Settings`].
//!
//! Such a service knows no streams: it gets utterances, one a request, which a detector of voice ([`crate::vad`]) cuts out of the
//! stream. Left to others: which addresses may be reached; the HTTP client is handed in.

mod recogniser;
mod voice;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::recognise::Health;

pub use recogniser::Recogniser;
pub use voice::Voice;

/// The longest answer in JSON: an utterance's words are a few KiB.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Bytes of the service's own words that are told: enough for a sentence.
const WORDS_BYTES_MAX: usize = 300;

/// How a service is reached, and what it is asked for when nobody says otherwise.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What errors call it.
    pub name: String,
    /// Its address up to and with the version, as in `https://api.openai.com/v1`.
    pub url: Url,
    /// Sent as `Authorization: Bearer …`.
    pub key: Option<SecretString>,
    /// The model that recognises.
    pub model: String,
    /// The language of streams that name none, as BCP 47; unset: the service finds out.
    pub language: Option<String>,
    /// Whether the service gives times of words (`verbose_json`): not all models do.
    pub word_times: bool,
    /// The model that speaks.
    pub voice_model: String,
    /// The voice of texts that name none.
    pub voice: String,
    /// The rate of what it speaks as `pcm`, in Hz: it does not say.
    pub speech_rate_hz: u32,
    /// How long an answer may take; of speech, each piece of it.
    pub request_timeout: Duration,
    /// Requests at once: so many to recognise, and so many to speak.
    pub requests_max: usize,
}

impl Settings {
    /// OpenAI's own names, for the service at `url`.
    pub fn new(url: Url) -> Self {
        Self {
            name: "http".to_owned(),
            url,
            key: None,
            model: "whisper-1".to_owned(),
            language: None,
            word_times: true,
            voice_model: "tts-1".to_owned(),
            voice: "alloy".to_owned(),
            speech_rate_hz: 24_000,
            request_timeout: Duration::from_secs(60),
            requests_max: 10,
        }
    }
}

/// What both ways have in common.
#[derive(Clone, Debug)]
struct Service {
    settings: Settings,
    client: Client,
}

#[derive(Deserialize)]
struct Models {
    #[serde(default)]
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    owned_by: Option<String>,
}

#[derive(Deserialize)]
struct Refused {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    message: String,
}

impl Service {
    /// A request below the service's address.
    fn request(&self, post: bool, path: &str) -> RequestBuilder {
        let mut url = self.settings.url.clone();
        url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
        let request = if post { self.client.post(url) } else { self.client.get(url) };
        match &self.settings.key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        }
    }

    /// The answer, if it is a good one. `secret`, a text that was to be spoken, is not repeated.
    async fn send(&self, request: RequestBuilder, secret: Option<&str>) -> Result<Response> {
        let response = self.within(request.send()).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        // Whatever it says, it has refused.
        let body = self.body(response).await.unwrap_or_default();
        let mut said = match serde_json::from_slice::<Refused>(&body) {
            Ok(refused) => refused.error.message,
            Err(_) => "without a reason".to_owned(),
        };
        if let Some(secret) = secret.map(str::trim).filter(|secret| !secret.is_empty()) {
            said = said.replace(secret, "…");
        }
        said.truncate(said.floor_char_boundary(WORDS_BYTES_MAX));
        let (kind, cure) = meaning(status);
        Err(self.error(kind, format!("{status} ({said}): {cure}")))
    }

    async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T> {
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|e| {
            // Not serde's own words: they may repeat what was said.
            let (line, column) = (e.line(), e.column());
            let what = format!(
                "its answer is no JSON of this kind (line {line}, column {column}): see that it serves OpenAI's API"
            );
            self.error(ErrorKind::Invalid, what)
        })
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(piece) = self.within(response.chunk()).await? {
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(
                    self.error(ErrorKind::Invalid, format!("its answer is longer than {ANSWER_BYTES_MAX} bytes"))
                );
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    async fn within<T>(&self, answer: impl Future<Output = reqwest::Result<T>>) -> Result<T> {
        let within = self.settings.request_timeout;
        match tokio::time::timeout(within, answer).await {
            Ok(answer) => answer.map_err(|error| self.failed(&error)),
            Err(_) => {
                let what =
                    format!("no answer within {} ms: see how loaded it is, or give it more time", within.as_millis());
                Err(self.error(ErrorKind::TimedOut, what))
            }
        }
    }

    fn failed(&self, error: &reqwest::Error) -> Error {
        let kind = if error.is_timeout() {
            ErrorKind::TimedOut
        } else if error.is_connect() {
            ErrorKind::Unreachable
        } else {
            ErrorKind::BrokenOff
        };
        let why = aimg_tls::refusal(error).unwrap_or_else(|| {
            let mut innermost: &dyn std::error::Error = error;
            while let Some(source) = innermost.source() {
                innermost = source;
            }
            format!("{innermost}: see that it runs there")
        });
        self.error(kind, why)
    }

    fn error(&self, kind: ErrorKind, what: impl std::fmt::Display) -> Error {
        let host = self.settings.url.host_str().unwrap_or_default();
        Error { provider: self.settings.name.clone(), kind, what: format!("{host}: {what}") }
    }

    /// Which models there are.
    async fn check(&self) -> Result<Health> {
        let asked = Instant::now();
        let response = self.send(self.request(false, "models"), None).await?;
        let models: Models = self.json(response).await?;
        let about = |owner: Option<String>| owner.map(|owner| ("owned_by".to_owned(), owner)).into_iter().collect();
        let models: BTreeMap<_, _> = models.data.into_iter().map(|model| (model.id, about(model.owned_by))).collect();
        Ok(Health { models, answered_after_ms: asked.elapsed().as_millis() as u64 })
    }
}

/// What a status means to us, and what can be done.
pub(crate) const fn meaning(status: StatusCode) -> (ErrorKind, &'static str) {
    match status.as_u16() {
        401 | 403 => (ErrorKind::Unauthorised, "set the key that it wants"),
        404 | 405 => (ErrorKind::Invalid, "compare its address and the model with what it has"),
        408 | 504 => (ErrorKind::TimedOut, "see how loaded it is"),
        429 => (ErrorKind::Busy, "allow fewer requests at once, or see its quota"),
        502 | 503 => (ErrorKind::Unreachable, "see that it runs behind its proxy"),
        501 => (ErrorKind::Unsupported, "it cannot do this"),
        500..600 => (ErrorKind::Internal, "see its log"),
        _ => (ErrorKind::Invalid, "compare language, model and voice with what it has"),
    }
}
