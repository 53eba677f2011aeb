//! Audio files into text: the same pipeline that calls go through, with each channel a tape.
//!
//! Left to others: which provider, and for whom the text is.

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::interval;

use crate::error::Error;
use crate::pipeline::{Config, Ending, Figures, Recorded, Segment, Tape, Transcriber};
use crate::recognise::{SpeechToText, StreamOptions, Word};

/// More channels than any conversation has; each becomes a stream.
const CHANNELS_MAX: usize = 16;
/// The rates of speech, in Hz: below it is no longer understood, above is what no microphone gives.
const SAMPLE_RATES_HZ: RangeInclusive<u32> = 4_000..=192_000;
/// Segments that wait to be taken, of each channel.
const SEGMENTS_MAX: usize = 64;
/// How often it is told how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A provider that is away so long is not waited for: somebody sits there.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// A provider that gets audio faster than it is spoken may keep it waiting.
const PATIENCE: Duration = Duration::from_secs(300);

/// Why a file has no text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is larger than allowed.
    #[error("{} has {bytes} bytes, more than {bytes_max}: cut it, or raise TRANSCRIPTION_MAX_AUDIO_SIZE", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        bytes: u64,
        /// The most.
        bytes_max: u64,
    },
    /// It is no WAV file that is understood.
    #[error("{} cannot be transcribed: {source}", path.display())]
    Wav {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It has more channels than there are speakers.
    #[error("{} has {channels} channels, more than {CHANNELS_MAX}: mix them, or take some", path.display())]
    Channels {
        /// The file.
        path: PathBuf,
        /// How many.
        channels: usize,
    },
    /// It says that it has a sample rate that speech is not kept at.
    #[error(
        "{} has {sample_rate_hz} samples a second, not {} to {}: convert it",
        path.display(), SAMPLE_RATES_HZ.start(), SAMPLE_RATES_HZ.end()
    )]
    Rate {
        /// The file.
        path: PathBuf,
        /// What it says.
        sample_rate_hz: u32,
    },
    /// The provider failed.
    #[error("{0}")]
    Provider(#[from] Error),
}

/// A file that can be transcribed.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    channels: Vec<Recorded>,
}

/// How far a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How much of it the provider has been given, in milliseconds.
    pub done_ms: u64,
    /// How often the provider failed, and was tried again.
    pub retries: u64,
}

/// What was said in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// Who heard it.
    pub provider: String,
    /// How many channels there are.
    pub channels: usize,
    /// How long the file is, in milliseconds.
    pub duration_ms: u64,
    /// What was said, in order of time.
    pub segments: Vec<Utterance>,
}

/// One utterance of a channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Utterance {
    /// The channel, from 1.
    pub channel: usize,
    /// Where it begins, in milliseconds of the file.
    pub start_ms: u64,
    /// Where it ends, in milliseconds of the file.
    pub end_ms: u64,
    /// What is said.
    pub text: String,
    /// How sure the provider is, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// In which language (BCP 47), where the provider says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Its words, where the provider gives their times.
    pub words: Vec<Word>,
}

impl Recording {
    /// Opens a WAV file of at most so many bytes: 16-bit PCM, µ-law or A-law.
    pub fn open(path: &Path, bytes_max: u64) -> Result<Self, FileError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::InvalidData => FileError::Wav { path: path.to_owned(), source },
            _ => FileError::Io { path: path.to_owned(), source },
        };
        let about = std::fs::metadata(path).map_err(failed)?;
        if !about.is_file() {
            return Err(failed(io::Error::other("it is no file")));
        }
        if about.len() > bytes_max {
            return Err(FileError::TooLarge { path: path.to_owned(), bytes: about.len(), bytes_max });
        }
        let channels = Recorded::open(path).map_err(failed)?;
        if channels.len() > CHANNELS_MAX {
            return Err(FileError::Channels { path: path.to_owned(), channels: channels.len() });
        }
        if let Some(sample_rate_hz) = channels.first().map(Tape::sample_rate_hz)
            && !SAMPLE_RATES_HZ.contains(&sample_rate_hz)
        {
            return Err(FileError::Rate { path: path.to_owned(), sample_rate_hz });
        }
        Ok(Self { path: path.to_owned(), channels })
    }

    /// How long it is, in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.channels.first().map_or(0, Recorded::duration_ms)
    }

    /// Has it recognised. `told` hears now and then how far it is.
    pub async fn transcribe(
        self,
        by: &Arc<dyn SpeechToText>,
        options: &StreamOptions,
        told: &(dyn Fn(Progress) + Sync),
    ) -> Result<Transcript, FileError> {
        let (channels, duration_ms) = (self.channels.len(), self.duration_ms());
        let (figures, heard): (Vec<_>, Vec<_>) =
            (1..).zip(self.channels).map(|(channel, tape)| transcribe(channel, tape, by, options)).unzip();
        let heard = try_join_all(heard);
        tokio::pin!(heard);
        let mut look = interval(LOOK_EVERY);
        let mut segments = loop {
            tokio::select! {
                heard = &mut heard => break heard.map_err(|stop| stop.of(&self.path))?.concat(),
                _ = look.tick() => told(Progress::of(duration_ms, &figures)),
            }
        };
        told(Progress::of(duration_ms, &figures));
        segments.sort_by_key(|said| (said.start_ms, said.end_ms, said.channel));
        Ok(Transcript { provider: by.name().to_owned(), channels, duration_ms, segments })
    }
}

/// Why a channel was not told to its end.
enum Stop {
    GaveUp(Error),
    Unreadable(io::Error),
}

impl Stop {
    fn of(self, path: &Path) -> FileError {
        match self {
            Self::GaveUp(error) => error.into(),
            Self::Unreadable(source) => FileError::Io { path: path.to_owned(), source },
        }
    }
}

impl Progress {
    fn of(duration_ms: u64, figures: &[Arc<Figures>]) -> Self {
        let standings = figures.iter().map(|figures| figures.standing());
        standings.fold(Self { done_ms: duration_ms, retries: 0 }, |so_far, standing| Self {
            done_ms: so_far.done_ms.min(duration_ms.saturating_sub(standing.behind_ms)),
            retries: so_far.retries + standing.retries,
        })
    }
}

/// Makes text of one channel.
fn transcribe(
    channel: usize,
    tape: Recorded,
    by: &Arc<dyn SpeechToText>,
    options: &StreamOptions,
) -> (Arc<Figures>, impl Future<Output = Result<Vec<Utterance>, Stop>> + use<>) {
    let config = Config {
        take_patience: PATIENCE,
        finish_patience: PATIENCE,
        give_up_after: GIVE_UP_AFTER,
        ..Config::default()
    };
    let options = StreamOptions { interim: false, ..options.clone() };
    let (told, mut segments) = mpsc::channel(SEGMENTS_MAX);
    let transcriber = Transcriber::new(tape, Arc::clone(by), None, options, config, told);
    let figures = transcriber.figures();
    let heard = async move {
        let collect = async {
            let mut said = Vec::new();
            while let Some(segment) = segments.recv().await {
                said.extend(utterance(channel, segment));
            }
            said
        };
        let ((ending, _), said) = tokio::join!(transcriber.run(), collect);
        match ending {
            Ending::Whole => Ok(said),
            Ending::GaveUp(error) => Err(Stop::GaveUp(error)),
            Ending::Unreadable(error) => Err(Stop::Unreadable(error)),
            Ending::Unheard => unreachable!("all segments are taken"),
        }
    };
    (figures, heard)
}

/// What stays of what was heard.
fn utterance(channel: usize, segment: Segment) -> Option<Utterance> {
    let Segment { is_final, start_ms, end_ms, text, confidence, language, words, .. } = segment;
    is_final.then_some(Utterance { channel, start_ms, end_ms, text, confidence, language, words })
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use aimg_audio::wav::{Encoding, Format, WavWriter};

    use super::*;

    fn wav(dir: &Path, format: Format, frames: usize) -> PathBuf {
        let path = dir.join("some.wav");
        let mut writer = WavWriter::new(File::create(&path).unwrap(), format).unwrap();
        writer.write(&vec![0; frames * format.frame_bytes() as usize]).unwrap();
        writer.finish().unwrap();
        path
    }

    #[test]
    fn what_can_be_read_is_and_the_rest_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = wav(dir.path(), Format::stereo(Encoding::Ulaw, 8_000), 16_000);
        let read = Recording::open(&path, 1 << 20).unwrap();
        assert_eq!((read.channels.len(), read.duration_ms()), (2, 2_000));
        let bytes = std::fs::metadata(&path).unwrap().len();
        assert!(Recording::open(&path, bytes).is_ok());
        let refused = |path: &Path, bytes_max| Recording::open(path, bytes_max).unwrap_err();
        let large = refused(&path, bytes - 1);
        assert!(large.to_string().contains("TRANSCRIPTION_MAX_AUDIO_SIZE"), "{large}");
        std::fs::write(&path, b"ID3 and so on, for it is an MP3").unwrap();
        let other = refused(&path, 1 << 20).to_string();
        assert!(other.contains("convert it to WAV first"), "{other}");
        assert!(matches!(refused(&dir.path().join("away"), 1), FileError::Io { .. }));
        assert!(matches!(refused(dir.path(), 1 << 20), FileError::Io { .. }));
    }
}
