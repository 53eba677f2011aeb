//! One stream: audio is cut into chunks and sent, answers become hypotheses.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;

use super::answer::Answers;
use super::connection::Connection;
use super::proto::AudioEncoding;
use super::proto::asr::riva_speech_recognition_client::RivaSpeechRecognitionClient as Client;
use super::proto::asr::streaming_recognize_request::StreamingRequest;
use super::proto::asr::{StreamingRecognitionConfig, StreamingRecognizeRequest};
use crate::axis::Axis;
use crate::error::{ErrorKind, Result};
use crate::places::Place;
use crate::recognise::{Audio, Hypothesis, Stream};

/// Pieces of audio that wait to be sent: 2 s of 20 ms frames. Whoever has more waits.
const AUDIO_PIECES_MAX: usize = 100;
/// Hypotheses that wait to be taken. Riva waits when nobody takes them.
const HEARD_MAX: usize = 64;
/// Requests between us and HTTP/2, which has its own room for half a minute of audio.
const REQUESTS_MAX: usize = 4;
/// A third of the time after which Riva releases a stream without audio.
const PAUSE_MAX: Duration = Duration::from_secs(20);
/// A server that takes no audio for so long hangs.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// What a stream is begun with.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) config: StreamingRecognitionConfig,
    pub(super) sample_rate_hz: u32,
    pub(super) encoding: AudioEncoding,
    pub(super) chunk_samples: usize,
    pub(super) request_timeout: Duration,
}

/// Begins a stream. It ends, and gives its place back, when its audio ends, when nobody listens, or when Riva breaks off.
pub(super) fn begin(connection: Arc<Connection>, channel: Channel, opening: Opening, place: Place) -> Stream {
    let (audio, pieces) = mpsc::channel(AUDIO_PIECES_MAX);
    let (told, heard) = mpsc::channel(HEARD_MAX);
    tokio::spawn(async move {
        let outcome = tokio::select! {
            () = told.closed() => return,
            outcome = converse(&connection, channel, opening, pieces, &told) => outcome,
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
    connection: &Connection,
    channel: Channel,
    opening: Opening,
    pieces: mpsc::Receiver<Audio>,
    told: &mpsc::Sender<Result<Hypothesis>>,
) -> Result<()> {
    let axis = Mutex::new(Axis::new(opening.sample_rate_hz));
    let answers =
        Answers::new(opening.config.config.as_ref().is_some_and(|config| config.diarization_config.is_some()));
    let (requests, outgoing) = mpsc::channel(REQUESTS_MAX);
    let sender = Sender {
        requests,
        axis: &axis,
        encoding: opening.encoding,
        chunk_samples: opening.chunk_samples,
        chunk: Vec::with_capacity(opening.chunk_samples),
        stalled_after: STALLED_AFTER.min(opening.request_timeout),
    };
    let mut sending = pin!(sender.run(opening.config, pieces));
    let mut listening = pin!(listen(connection, channel, outgoing, answers, &axis, told));
    let sent = tokio::select! {
        // What Riva says about a refusal is worth more than that it takes no audio.
        biased;
        listened = &mut listening => {
            listened?;
            Sent::Refused
        }
        sent = &mut sending => {
            if sent != Sent::Stalled {
                rest(connection, opening.request_timeout, listening).await?;
            }
            sent
        }
    };
    match sent {
        Sent::All => Ok(()),
        Sent::Refused => {
            Err(connection.error(ErrorKind::BrokenOff, "it ended the stream while audio was coming: see its log"))
        }
        Sent::Stalled => Err(connection.late(STALLED_AFTER.min(opening.request_timeout))),
    }
}

/// Waits for the rest of the answers, at most so long.
async fn rest(connection: &Connection, within: Duration, listening: impl Future<Output = Result<()>>) -> Result<()> {
    timeout(within, listening).await.unwrap_or_else(|_| Err(connection.late(within)))
}

/// How sending ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// The audio has ended and all of it is sent.
    All,
    /// The server takes no more.
    Refused,
    /// The server has taken nothing for a while.
    Stalled,
}

struct Sender<'a> {
    requests: mpsc::Sender<StreamingRecognizeRequest>,
    axis: &'a Mutex<Axis>,
    encoding: AudioEncoding,
    chunk_samples: usize,
    chunk: Vec<i16>,
    stalled_after: Duration,
}

impl Sender<'_> {
    async fn run(mut self, config: StreamingRecognitionConfig, mut pieces: mpsc::Receiver<Audio>) -> Sent {
        let begin = StreamingRequest::StreamingConfig(config);
        let mut outcome = self.send(begin, false).await;
        while outcome.is_ok() {
            outcome = match timeout(PAUSE_MAX, pieces.recv()).await {
                Ok(Some(Audio::Samples(samples))) => self.push(&samples).await,
                Ok(Some(Audio::EndOfUtterance)) => self.flush(true).await,
                Ok(None) => self.flush(false).await.and(Err(Sent::All)),
                Err(_) => self.keep_awake().await,
            };
        }
        outcome.expect_err("it runs until it ends")
    }

    async fn push(&mut self, mut samples: &[i16]) -> std::result::Result<(), Sent> {
        while !samples.is_empty() {
            let room = self.chunk_samples - self.chunk.len();
            let (now, later) = samples.split_at(room.min(samples.len()));
            self.chunk.extend_from_slice(now);
            samples = later;
            if self.chunk.len() == self.chunk_samples {
                self.flush(false).await?;
            }
        }
        Ok(())
    }

    /// Sends what is there, however little.
    async fn flush(&mut self, ends_utterance: bool) -> std::result::Result<(), Sent> {
        if self.chunk.is_empty() && !ends_utterance {
            return Ok(());
        }
        self.axis().sent(self.chunk.len());
        let content = StreamingRequest::AudioContent(bytes(&self.chunk, self.encoding));
        self.chunk.clear();
        self.send(content, ends_utterance).await
    }

    async fn keep_awake(&mut self) -> std::result::Result<(), Sent> {
        self.flush(false).await?;
        let silence = vec![0; self.chunk_samples];
        self.axis().sent_silence(silence.len());
        self.send(StreamingRequest::AudioContent(bytes(&silence, self.encoding)), false).await
    }

    async fn send(&self, content: StreamingRequest, ends_utterance: bool) -> std::result::Result<(), Sent> {
        let mut runtime_config = HashMap::new();
        if ends_utterance {
            runtime_config.insert("force_eou".to_owned(), "true".to_owned());
        }
        let request = StreamingRecognizeRequest { streaming_request: Some(content), runtime_config };
        self.requests.send_timeout(request, self.stalled_after).await.map_err(|error| match error {
            mpsc::error::SendTimeoutError::Timeout(_) => Sent::Stalled,
            mpsc::error::SendTimeoutError::Closed(_) => Sent::Refused,
        })
    }

    fn axis(&self) -> std::sync::MutexGuard<'_, Axis> {
        self.axis.lock().expect("nobody panics while holding it")
    }
}

/// Samples as Riva takes them.
pub(super) fn bytes(samples: &[i16], encoding: AudioEncoding) -> Vec<u8> {
    if encoding == AudioEncoding::Mulaw {
        return samples.iter().map(|&sample| aimg_audio::g711::ulaw_encode(sample)).collect();
    }
    let mut bytes = Vec::with_capacity(samples.len() * 2);
    aimg_audio::linear::to_wav(samples, &mut bytes);
    bytes
}

/// Tells what is heard until Riva ends the stream.
async fn listen(
    connection: &Connection,
    channel: Channel,
    outgoing: mpsc::Receiver<StreamingRecognizeRequest>,
    mut answers: Answers,
    axis: &Mutex<Axis>,
    told: &mpsc::Sender<Result<Hypothesis>>,
) -> Result<()> {
    let refused = |status: Status| connection.refused(&status, None);
    let requests = stream::unfold(outgoing, async |mut outgoing| {
        let request = outgoing.recv().await?;
        Some((request, outgoing))
    });
    let opened = Client::new(channel).streaming_recognize(connection.request(requests)).await;
    let mut responses = opened.map_err(refused)?.into_inner();
    while let Some(response) = responses.message().await.map_err(refused)? {
        let heard = answers.read(response, &axis.lock().expect("nobody panics while holding it"));
        for hypothesis in heard {
            // Nobody listens any more: whoever runs this ends it.
            told.send(Ok(hypothesis)).await.ok();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a sender of 8 kHz in chunks of 100 ms, with time that passes at once, and gives what it sends.
    async fn sent(pieces: Vec<Audio>, pause: Duration, axis: &Mutex<Axis>) -> (Sent, Vec<StreamingRecognizeRequest>) {
        let (audio, waiting) = mpsc::channel(AUDIO_PIECES_MAX);
        let (requests, mut outgoing) = mpsc::channel(100);
        let sender = Sender {
            requests,
            axis,
            encoding: AudioEncoding::LinearPcm,
            chunk_samples: 800,
            chunk: Vec::new(),
            stalled_after: STALLED_AFTER,
        };
        let saying = async {
            for piece in pieces {
                audio.send(piece).await.unwrap();
                tokio::time::sleep(pause).await;
            }
            drop(audio);
        };
        let (outcome, ()) = tokio::join!(sender.run(StreamingRecognitionConfig::default(), waiting), saying);
        let mut all = Vec::new();
        while let Ok(request) = outgoing.try_recv() {
            all.push(request);
        }
        (outcome, all)
    }

    fn contents(requests: &[StreamingRecognizeRequest]) -> Vec<&[u8]> {
        requests
            .iter()
            .filter_map(|request| match &request.streaming_request {
                Some(StreamingRequest::AudioContent(content)) => Some(content.as_slice()),
                _ => None,
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_is_filled_and_not_counted() {
        let axis = Mutex::new(Axis::new(8_000));
        let piece = || Audio::Samples(vec![1; 1_200]);
        let (outcome, requests) = sent(vec![piece(), piece()], Duration::from_secs(50), &axis).await;
        assert_eq!(outcome, Sent::All);
        let lengths: Vec<usize> = contents(&requests).iter().map(|content| content.len()).collect();
        // A chunk, after 20 s the rest with 100 ms of silence, after 40 s silence; and once more.
        assert_eq!(lengths, [1_600, 800, 1_600, 1_600, 1_600, 800, 1_600, 1_600]);
        let silent: Vec<bool> = contents(&requests).iter().map(|content| content.iter().all(|&b| b == 0)).collect();
        assert_eq!(silent, [false, false, true, true, false, false, true, true]);
        let axis = axis.into_inner().unwrap();
        assert_eq!(axis.sent_ms(), 300);
        assert_eq!(axis.stream_ms(400), 200, "the second piece begins where the first ended, after 350 ms at Riva");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_nothing_is_given_up() {
        let axis = Mutex::new(Axis::new(8_000));
        let pieces = (0..99).map(|_| Audio::Samples(vec![1; 1_600])).collect();
        let (outcome, requests) = sent(pieces, Duration::ZERO, &axis).await;
        assert_eq!((outcome, requests.len()), (Sent::Stalled, 100));
    }
}
