//! Who recognises and who speaks, made of the settings.

use std::sync::Arc;
use std::time::Duration;

use aimg_speech::local::{self, LocalRecogniser};
use aimg_speech::models::{ModelError, Models};
use aimg_speech::voice::ProgramVoice;
use aimg_speech::websocket::{self, Protocol};
use aimg_speech::{Providers, http, riva};
use anyhow::Context;

use crate::settings::{HttpSpeech, Settings, WebsocketSpeech};

/// How long connecting to a service of speech may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The local recogniser's name.
pub(crate) const LOCAL: &str = "local";

/// What the settings came to.
#[derive(Debug, Default)]
pub(crate) struct Built {
    /// Those that can be asked, the preferred first.
    pub(crate) providers: Providers,
    /// Those that cannot.
    pub(crate) unusable: Vec<Unusable>,
}

/// A provider that was not made.
#[derive(Debug)]
pub(crate) struct Unusable {
    /// Its name.
    pub(crate) provider: &'static str,
    /// Why not.
    pub(crate) error: anyhow::Error,
}

/// Makes all that are set up. Nobody is connected to, and no model is loaded, before somebody is to be heard: what is wrong
/// with a provider is no reason to capture no calls.
pub(crate) fn build(settings: &Settings) -> Built {
    let mut built = Built::default();
    if let Some(riva) = &settings.riva {
        built.add("riva", riva::Recogniser::new(riva.clone()), |providers, riva| {
            providers.with_recogniser(Arc::new(riva))
        });
        built.add("riva", riva::Voice::new(riva.clone()), |providers, riva| providers.with_voice(Arc::new(riva)));
    }
    if let Some(service) = &settings.speech.http {
        built.add("http", http_client(), |providers, client| with_http(providers, service, client));
    }
    if let Some(service) = &settings.speech.websocket {
        built.add("websocket", websocket(service), |providers, service| providers.with_recogniser(Arc::new(service)));
    }
    built.add(LOCAL, local(settings), |providers, local| providers.with_recogniser(Arc::new(local)));
    if let Some(voice) = &settings.speech.voice {
        built.providers = built.providers.with_voice(Arc::new(ProgramVoice::new(voice.clone())));
    }
    built
}

impl Built {
    fn add<T, E: Into<anyhow::Error>>(
        &mut self,
        provider: &'static str,
        made: Result<T, E>,
        with: impl FnOnce(Providers, T) -> Providers,
    ) {
        match made {
            Ok(made) => self.providers = with(std::mem::take(&mut self.providers), made),
            Err(error) => self.unusable.push(Unusable { provider, error: error.into() }),
        }
    }

    /// Tells the log who is missing; gives the others.
    pub(crate) fn logged(self) -> Providers {
        for Unusable { provider, error } in &self.unusable {
            match error.downcast_ref() {
                Some(ModelError::Missing { .. }) => tracing::info!(provider, "{error}"),
                _ => tracing::warn!(provider, "cannot be used: {error:#}"),
            }
        }
        self.providers
    }
}

/// It goes where the operator's settings say, and nowhere else: a redirection would take the key along.
fn http_client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("aimg/", env!("CARGO_PKG_VERSION")))
        .build()
}

fn with_http(mut providers: Providers, service: &HttpSpeech, client: reqwest::Client) -> Providers {
    let HttpSpeech { settings, recognises, speaks } = service;
    if *recognises {
        providers = providers.with_recogniser(Arc::new(http::Recogniser::new(settings.clone(), client.clone())));
    }
    if *speaks {
        providers = providers.with_voice(Arc::new(http::Voice::new(settings.clone(), client)));
    }
    providers
}

fn websocket(service: &WebsocketSpeech) -> anyhow::Result<websocket::Recogniser> {
    let overrides = service.protocol.as_ref().map(|path| {
        std::fs::read_to_string(path).with_context(|| format!("speech.websocket.protocol: {}", path.display()))
    });
    let mut protocol = Protocol::read(service.preset, &overrides.transpose()?.unwrap_or_default())?;
    if let Some(model) = &service.model {
        protocol.model.clone_from(model);
    }
    Ok(websocket::Recogniser::new(websocket::Settings {
        key: service.key.clone(),
        language: service.language.clone(),
        authorities: service.authorities.clone(),
        connect_timeout: CONNECT_TIMEOUT,
        request_timeout: service.request_timeout,
        streams_max: service.streams_max,
        ..websocket::Settings::new(protocol)
    })?)
}

/// The model's file is looked at, and not hashed: it was before it got its name.
fn local(settings: &Settings) -> anyhow::Result<LocalRecogniser> {
    let speech = &settings.speech;
    let config = local::Config::new(LOCAL, Models::new(&speech.models_dir).whole(&speech.model)?);
    let workers = speech.workers.unwrap_or(config.workers);
    Ok(LocalRecogniser::new(local::Config { workers, streams_max: speech.streams_max, ..config })?)
}
