//! One stream: audio is cut into messages and sent, answers become hypotheses.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::answer::{Answers, Told};
use super::connection::{Connector, Incoming, Outgoing};
use super::protocol::Protocol;
use super::refusal::Refusal;
use super::template;
use crate::axis::Axis;
use crate::error::{ErrorKind, Result};
use crate::places::Place;
use crate::recognise::{Audio, Hypothesis, Stream};

/// Pieces of audio that wait to be sent: 2 s of 20 ms frames. Whoever has more waits.
const AUDIO_PIECES_MAX: usize = 100;
/// Hypotheses that wait to be taken. The service waits when nobody takes them.
const HEARD_MAX: usize = 64;
/// A service that takes no audio for so long hangs.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// Waits until the service says that audio may come, where it says so.
pub(super) async fn ready(connector: &Connector, incoming: &mut Incoming) -> Result<()> {
    let answers = &connector.settings.protocol.answers;
    if answers.ready_kind.is_empty() {
        return Ok(());
    }
    let within = connector.settings.request_timeout;
    let mut answers = Answers::new(answers);
    let waiting = async {
        while let Some(text) = message(connector, incoming).await? {
            let told = answers.read(&text, &Axis::new(1_000)).map_err(|refusal| connector.error(&refusal))?;
            if told == Told::Ready {
                return Ok(());
            }
        }
        Err(ended_early(connector))
    };
    timeout(within, waiting).await.unwrap_or_else(|_| Err(connector.late("it was not ready", within)))
}

/// Begins a stream. It ends, and gives its place back, when its audio ends, when nobody listens, or when the service breaks off.
pub(super) fn begin(
    connector: Arc<Connector>,
    (outgoing, incoming): (Outgoing, Incoming),
    sample_rate_hz: u32,
    place: Place,
) -> Stream {
    let (audio, pieces) = mpsc::channel(AUDIO_PIECES_MAX);
    let (told, heard) = mpsc::channel(HEARD_MAX);
    tokio::spawn(async move {
        let outcome = tokio::select! {
            () = told.closed() => return,
            outcome = converse(&connector, outgoing, incoming, sample_rate_hz, pieces, &told) => outcome,
        };
        drop(place);
        if let Err(error) = outcome {
            // Who does not listen does not care.
            told.send(Err(error)).await.ok();
        }
    });
    Stream { audio, heard }
}

async fn converse(
    connector: &Connector,
    outgoing: Outgoing,
    incoming: Incoming,
    sample_rate_hz: u32,
    pieces: mpsc::Receiver<Audio>,
    told: &mpsc::Sender<Result<Hypothesis>>,
) -> Result<()> {
    let axis = Mutex::new(Axis::new(sample_rate_hz));
    let samples = |ms: u32| ms as usize * sample_rate_hz as usize / 1_000;
    let protocol = &connector.settings.protocol;
    let stalled_after = STALLED_AFTER.min(connector.settings.request_timeout);
    let sender = Sender {
        outgoing,
        protocol,
        axis: &axis,
        chunk: Vec::new(),
        chunk_samples: samples(protocol.chunk_ms).max(1),
        chunk_samples_min: samples(protocol.chunk_ms_min),
        stalled_after,
    };
    let mut sending = pin!(sender.run(pieces));
    let is_sent = AtomicBool::new(false);
    let mut listening = pin!(listen(connector, incoming, &axis, &is_sent, told));
    tokio::select! {
        // What the service says about a refusal is worth more than that it takes no audio.
        biased;
        listened = &mut listening => listened.and(Err(ended_early(connector))),
        sent = &mut sending => match sent {
            Stop::Stalled => Err(connector.late("it took no audio", stalled_after)),
            // Why it takes none is to be heard; without a word it broke off.
            Stop::Refused(error) => {
                timeout(stalled_after, listening).await.unwrap_or(Ok(()))?;
                Err(connector.broken(&error))
            }
            Stop::Sent(_still_open) => {
                is_sent.store(true, Ordering::Relaxed);
                let within = connector.settings.request_timeout;
                let late = |_| Err(connector.late("it did not tell the rest", within));
                timeout(within, listening).await.unwrap_or_else(late)
            }
        },
    }
}

fn ended_early(connector: &Connector) -> crate::Error {
    let what = "it ended the stream while audio was coming: see its log";
    connector.error(&Refusal::new(ErrorKind::BrokenOff, what))
}

/// How sending ended.
enum Stop {
    /// The audio has ended and all of it is sent. What is dropped here would close the connection.
    Sent(Outgoing),
    /// The connection takes no more.
    Refused(WsError),
    /// The service has taken nothing for a while.
    Stalled,
}

struct Sender<'a> {
    outgoing: Outgoing,
    protocol: &'a Protocol,
    axis: &'a Mutex<Axis>,
    chunk: Vec<i16>,
    chunk_samples: usize,
    chunk_samples_min: usize,
    stalled_after: Duration,
}

impl Sender<'_> {
    async fn run(mut self, pieces: mpsc::Receiver<Audio>) -> Stop {
        match self.send_all(pieces).await {
            Ok(()) => Stop::Sent(self.outgoing),
            Err(stop) => stop,
        }
    }

    async fn send_all(&mut self, mut pieces: mpsc::Receiver<Audio>) -> std::result::Result<(), Stop> {
        let pause_max = match self.protocol.keep_alive_s {
            0 => Duration::MAX,
            seconds => Duration::from_secs(seconds.into()),
        };
        loop {
            match timeout(pause_max, pieces.recv()).await {
                Ok(Some(Audio::Samples(samples))) => self.push(&samples).await?,
                Ok(Some(Audio::EndOfUtterance)) => {
                    self.flush().await?;
                    self.say(&self.protocol.finalise_message).await?;
                }
                Ok(None) => {
                    self.flush().await?;
                    return match self.protocol.close_message.as_str() {
                        "" => self.send(Message::Close(None)).await,
                        message => self.say(message).await,
                    };
                }
                Err(_) => self.keep_alive().await?,
            }
        }
    }

    async fn push(&mut self, mut samples: &[i16]) -> std::result::Result<(), Stop> {
        while !samples.is_empty() {
            let room = self.chunk_samples - self.chunk.len();
            let (now, later) = samples.split_at(room.min(samples.len()));
            self.chunk.extend_from_slice(now);
            samples = later;
            if self.chunk.len() == self.chunk_samples {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Sends what is there, however little.
    async fn flush(&mut self) -> std::result::Result<(), Stop> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let mut chunk = std::mem::take(&mut self.chunk);
        let missing = self.chunk_samples_min.saturating_sub(chunk.len());
        {
            let mut axis = self.axis();
            axis.sent(chunk.len());
            axis.sent_silence(missing);
        }
        chunk.resize(chunk.len() + missing, 0);
        self.send_samples(&chunk).await
    }

    async fn keep_alive(&mut self) -> std::result::Result<(), Stop> {
        if !self.protocol.keep_alive_message.is_empty() {
            return self.say(&self.protocol.keep_alive_message).await;
        }
        self.flush().await?;
        let silence = vec![0; self.chunk_samples];
        self.axis().sent_silence(silence.len());
        self.send_samples(&silence).await
    }

    async fn send_samples(&mut self, samples: &[i16]) -> std::result::Result<(), Stop> {
        let mut bytes = Vec::with_capacity(samples.len() * 2);
        aimg_audio::linear::to_wav(samples, &mut bytes);
        let message = match self.protocol.audio_message.as_str() {
            "" => Message::binary(bytes),
            template => Message::text(template::audio(template, &bytes)),
        };
        self.send(message).await
    }

    /// Sends a message, if there is one for this.
    async fn say(&mut self, message: &str) -> std::result::Result<(), Stop> {
        if message.is_empty() { Ok(()) } else { self.send(Message::text(message)).await }
    }

    async fn send(&mut self, message: Message) -> std::result::Result<(), Stop> {
        match timeout(self.stalled_after, self.outgoing.send(message)).await {
            Ok(sent) => sent.map_err(Stop::Refused),
            Err(_) => Err(Stop::Stalled),
        }
    }

    fn axis(&self) -> MutexGuard<'_, Axis> {
        lock(self.axis)
    }
}

/// Tells what is heard until the service ends the stream as it should.
async fn listen(
    connector: &Connector,
    mut incoming: Incoming,
    axis: &Mutex<Axis>,
    is_sent: &AtomicBool,
    told: &mpsc::Sender<Result<Hypothesis>>,
) -> Result<()> {
    let places = &connector.settings.protocol.answers;
    let mut answers = Answers::new(places);
    // A close alone may come from between us and the service, while it has heard only a part.
    let mut is_whole = places.end_kind.is_empty();
    while let Some(text) = message(connector, &mut incoming).await? {
        let said = answers.read(&text, &lock(axis));
        match said.map_err(|refusal| connector.error(&refusal))? {
            // Nobody listens any more: whoever runs this ends it.
            Told::Heard(hypothesis) => drop(told.send(Ok(hypothesis)).await),
            Told::Ready | Told::Nothing => {}
            Told::End => {
                is_whole = is_sent.load(Ordering::Relaxed);
                if is_whole {
                    break;
                }
            }
        }
    }
    if !is_whole {
        let what = "it closed the WebSocket before it said that all was told: see its log";
        return Err(connector.error(&Refusal::new(ErrorKind::BrokenOff, what)));
    }
    if let Some(rest) = answers.rest() {
        told.send(Ok(rest)).await.ok();
    }
    Ok(())
}

/// The next message that is a text; nothing where the WebSocket was ended as it should be.
async fn message(connector: &Connector, incoming: &mut Incoming) -> Result<Option<String>> {
    loop {
        match incoming.next().await {
            Some(Ok(Message::Text(text))) => return Ok(Some(text.as_str().to_owned())),
            Some(Ok(Message::Close(frame))) => {
                return match Refusal::closed(frame.as_ref()) {
                    Some(refusal) => Err(connector.error(&refusal)),
                    None => Ok(None),
                };
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(connector.broken(&error)),
            None => return Err(connector.broken(&WsError::ConnectionClosed)),
        }
    }
}

fn lock(axis: &Mutex<Axis>) -> MutexGuard<'_, Axis> {
    axis.lock().expect("nobody panics while holding it")
}
