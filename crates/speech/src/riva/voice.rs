//! Riva as a [`TextToSpeech`].

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::connection::Connection;
use super::proto::AudioEncoding;
use super::proto::tts::riva_speech_synthesis_client::RivaSpeechSynthesisClient as Client;
use super::proto::tts::{RivaSynthesisConfigRequest, SynthesizeSpeechRequest, SynthesizeSpeechResponse};
use super::settings::Settings;
use crate::error::{ErrorKind, Result};
use crate::joined::Joined;
use crate::recognise::Health;
use crate::synthesise::{Speech, TextToSpeech, VoiceOptions};

/// Pieces of speech that wait to be taken. Riva waits when nobody takes them.
const PIECES_MAX: usize = 8;
/// A whole text in one answer is longer than gRPC's usual 4 MiB: 64 MiB are half an hour at 16 kHz.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A Riva server that speaks.
#[derive(Debug)]
pub struct Voice {
    settings: Settings,
    connection: Arc<Connection>,
    places: Arc<Semaphore>,
}

impl Voice {
    /// Checks the settings and reads the certificates; connects to nobody.
    pub fn new(settings: Settings) -> Result<Self> {
        let connection = Arc::new(Connection::new(&settings, settings.tts.as_ref().unwrap_or(&settings.asr))?);
        let places = Arc::new(Semaphore::new(settings.requests_max));
        Ok(Self { settings, connection, places })
    }

    fn request(&self, text: &str, options: &VoiceOptions) -> Result<SynthesizeSpeechRequest> {
        let rate = options.sample_rate_hz.unwrap_or(self.settings.sample_rate_hz);
        let sample_rate_hz = i32::try_from(rate)
            .map_err(|_| self.settings.error(ErrorKind::Invalid, format!("{rate} Hz: no rate of speech")))?;
        Ok(SynthesizeSpeechRequest {
            text: text.to_owned(),
            language_code: options.language.as_deref().unwrap_or(&self.settings.language).to_owned(),
            encoding: AudioEncoding::LinearPcm.into(),
            sample_rate_hz,
            voice_name: options.voice.as_ref().or(self.settings.voice.as_ref()).cloned().unwrap_or_default(),
            ..SynthesizeSpeechRequest::default()
        })
    }

    fn client(channel: Channel) -> Client<Channel> {
        Client::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Waits for the first audio, so that a refusal is told by who asks, and not by who listens.
    async fn first(
        &self,
        client: &mut Client<Channel>,
        request: &SynthesizeSpeechRequest,
    ) -> std::result::Result<First, Status> {
        let online = client.synthesize_online(self.connection.request(request.clone())).await;
        let outcome = match online {
            Ok(response) => {
                let mut rest = response.into_inner();
                rest.message().await.map(|first| First { audio: first.unwrap_or_default(), rest: Some(rest) })
            }
            Err(status) => Err(status),
        };
        match outcome {
            // Some servers and models speak only when all is made.
            Err(status) if status.code() == Code::Unimplemented => {
                let whole = client.synthesize(self.connection.request(request.clone())).await?;
                Ok(First { audio: whole.into_inner(), rest: None })
            }
            other => other,
        }
    }
}

struct First {
    audio: SynthesizeSpeechResponse,
    rest: Option<Streaming<SynthesizeSpeechResponse>>,
}

#[async_trait]
impl TextToSpeech for Voice {
    fn name(&self) -> &str {
        &self.settings.name
    }

    async fn speak(&self, text: &str, options: &VoiceOptions) -> Result<Speech> {
        let request = self.request(text, options)?;
        let sample_rate_hz = request.sample_rate_hz.unsigned_abs();
        let place = self.places.clone().acquire_owned().await.expect("it is never closed");
        let mut client = Self::client(self.connection.channel().await?);
        let within = self.settings.request_timeout;
        let First { audio, rest } =
            self.connection.answer(within, self.first(&mut client, &request), Some(text)).await?;

        let (makes, pieces) = mpsc::channel(PIECES_MAX);
        let connection = self.connection.clone();
        tokio::spawn(async move {
            let _place = place;
            let mut samples = Joined::default();
            let mut piece = Ok(samples.read(&audio.audio));
            let mut rest = rest;
            loop {
                let failed = piece.is_err();
                let nothing = piece.as_ref().is_ok_and(Vec::is_empty);
                // Whoever does not listen any more has stopped it.
                if (!nothing && makes.send(piece).await.is_err()) || failed {
                    return;
                }
                let Some(rest) = &mut rest else { return };
                let next = tokio::select! {
                    () = makes.closed() => return,
                    next = connection.answer(within, rest.message(), Some(&request.text)) => next,
                };
                piece = match next {
                    Ok(Some(response)) => Ok(samples.read(&response.audio)),
                    Ok(None) => return,
                    Err(error) => Err(error),
                };
            }
        });
        Ok(Speech { sample_rate_hz, audio: pieces })
    }

    async fn check(&self) -> Result<Health> {
        let asked = Instant::now();
        let mut client = Self::client(self.connection.channel().await?);
        let request = self.connection.request(RivaSynthesisConfigRequest::default());
        let answer = client.get_riva_synthesis_config(request);
        let response = self.connection.answer(self.settings.request_timeout, answer, None).await?.into_inner();
        let models = response.model_config.into_iter();
        let models = models.map(|model| (model.model_name, model.parameters.into_iter().collect())).collect();
        Ok(Health { models, answered_after_ms: asked.elapsed().as_millis() as u64 })
    }
}
