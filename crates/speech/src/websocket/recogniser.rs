//! Such a service as a [`SpeechToText`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aimg_core::TenantId;
use async_trait::async_trait;
use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use super::Settings;
use super::connection::Connector;
use super::refusal::Refusal;
use super::stream;
use crate::error::{ErrorKind, Result};
use crate::places::{Load, Places};
use crate::recognise::{Capabilities, Health, Languages, SpeechToText, Stream, StreamOptions};

/// A service that recognises over a WebSocket.
#[derive(Debug)]
pub struct Recogniser {
    connector: Arc<Connector>,
    places: Places,
}

impl Recogniser {
    /// Reads the certificates; connects to nobody.
    pub fn new(settings: Settings) -> Result<Self> {
        let places = Places::new(settings.streams_max);
        Ok(Self { connector: Arc::new(Connector::new(settings)?), places })
    }

    /// How many streams run, and how many wait.
    pub fn load(&self) -> Load {
        self.places.load()
    }
}

#[async_trait]
impl SpeechToText for Recogniser {
    fn name(&self) -> &str {
        &self.connector.settings.name
    }

    fn capabilities(&self) -> Capabilities {
        let Settings { protocol, streams_max, .. } = &self.connector.settings;
        let stream_max = Duration::from_secs(protocol.stream_max_s.into());
        Capabilities {
            sample_rates_hz: protocol.sample_rates_hz.clone(),
            interim: !protocol.answers.is_final.is_empty(),
            word_times: !protocol.answers.words.is_empty(),
            speakers: false,
            end_of_utterance: !protocol.finalise_message.is_empty(),
            languages: Languages::Any,
            streams_max: Some(*streams_max),
            stream_max: Some(stream_max).filter(|max| !max.is_zero()),
        }
    }

    async fn open(&self, options: &StreamOptions) -> Result<Stream> {
        let refused = |kind, what: &str| self.connector.error(&Refusal::new(kind, what));
        if options.sample_rate_hz == 0 {
            return Err(refused(ErrorKind::Invalid, "0 Hz is no rate"));
        }
        let place = self.places.take(options.tenant).await;
        let place =
            place.ok_or_else(|| refused(ErrorKind::Busy, "too many wait for it: allow more streams at once"))?;
        let (outgoing, mut incoming) = self.connector.connect(options).await?;
        stream::ready(&self.connector, &mut incoming).await?;
        Ok(stream::begin(self.connector.clone(), (outgoing, incoming), options.sample_rate_hz, place))
    }

    /// Opens a stream and ends it: services have no other question in common.
    async fn check(&self) -> Result<Health> {
        let asked = Instant::now();
        let protocol = &self.connector.settings.protocol;
        let rate_hz = protocol.sample_rates_hz.first().copied().unwrap_or_default();
        let options = StreamOptions::new(TenantId::from_uuid(Uuid::nil()), rate_hz);
        let (mut outgoing, mut incoming) = self.connector.connect(&options).await?;
        stream::ready(&self.connector, &mut incoming).await?;
        let answered_after_ms = asked.elapsed().as_millis() as u64;
        if !protocol.close_message.is_empty() {
            outgoing
                .send(Message::text(protocol.close_message.as_str()))
                .await
                .map_err(|e| self.connector.broken(&e))?;
        }
        // It has answered: how it takes the farewell is no matter.
        outgoing.send(Message::Close(None)).await.ok();
        let models = Some(protocol.model.clone()).filter(|model| !model.is_empty());
        let models = models.into_iter().map(|model| (model, BTreeMap::new())).collect();
        Ok(Health { models, answered_after_ms })
    }
}
