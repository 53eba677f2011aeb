//! Speech, piece by piece as it is made.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Client;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};

use super::{Service, Settings};
use crate::error::Result;
use crate::joined::Joined;
use crate::recognise::Health;
use crate::synthesise::{Speech, TextToSpeech, VoiceOptions};

/// Pieces of speech that wait to be taken. The service waits when nobody takes them.
const PIECES_MAX: usize = 8;

/// A service that speaks.
#[derive(Debug)]
pub struct Voice {
    service: Service,
    places: Arc<Semaphore>,
}

impl Voice {
    /// `client` decides which addresses may be reached.
    pub fn new(settings: Settings, client: Client) -> Self {
        let places = Arc::new(Semaphore::new(settings.requests_max));
        Self { service: Service { settings, client }, places }
    }
}

#[async_trait]
impl TextToSpeech for Voice {
    fn name(&self) -> &str {
        &self.service.settings.name
    }

    /// Its language is the text's, its rate the service's own.
    async fn speak(&self, text: &str, options: &VoiceOptions) -> Result<Speech> {
        let settings = &self.service.settings;
        let place = self.places.clone().acquire_owned().await.expect("it is never closed");
        let asked = json!({
            "model": settings.voice_model,
            "input": text,
            "voice": options.voice.as_ref().unwrap_or(&settings.voice),
            "response_format": "pcm",
        });
        let mut response =
            self.service.send(self.service.request(true, "audio/speech").json(&asked), Some(text)).await?;
        let (makes, audio) = mpsc::channel(PIECES_MAX);
        let service = self.service.clone();
        tokio::spawn(async move {
            let _place = place;
            let mut joined = Joined::default();
            loop {
                let piece = tokio::select! {
                    // Whoever does not listen any more has stopped it.
                    () = makes.closed() => return,
                    piece = service.within(response.chunk()) => piece,
                };
                let piece = match piece {
                    Ok(Some(bytes)) => Ok(joined.read(&bytes)),
                    Ok(None) => return,
                    Err(error) => Err(error),
                };
                let failed = piece.is_err();
                if makes.send(piece).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(Speech { sample_rate_hz: settings.speech_rate_hz, audio })
    }

    async fn check(&self) -> Result<Health> {
        self.service.check().await
    }
}
