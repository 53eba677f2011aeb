//! What is said into calls: text becomes a file that Asterisk plays.
//!
//! The file is raw linear audio, which every Asterisk reads without another module. It is kept, so that the same text by the same
//! voice costs nothing the next time. Asterisk has to see the directory: it is on the same machine, or shares it, if under another
//! path.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aimg_audio::linear;
use aimg_audio::resample::Resampler;
use aimg_speech::{Providers, TextToSpeech, VoiceOptions};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::ControlError;

/// The longest text of one command, in bytes.
pub const SAID_BYTES_MAX: usize = 4_096;
/// Texts that are spoken at once.
const SPOKEN_AT_ONCE_MAX: usize = 4;
/// How long a text waits for its turn.
const TURN_TIME_MAX: Duration = Duration::from_secs(10);
/// How long speaking may take.
const SPEAKING_TIME_MAX: Duration = Duration::from_secs(30);
/// The longest speech, in seconds.
const SPEECH_S_MAX: usize = 600;
/// What is kept, at most; the files that were not asked for the longest go first.
const KEPT_BYTES_MAX: u64 = 256 << 20;
/// The rate of the files.
const RATE_HZ: u32 = 8_000;
/// By this Asterisk knows what is in them.
const ENDING: &str = "sln";

/// A text, and how it is to be said.
#[derive(Clone, PartialEq, Eq)]
pub struct Say {
    /// What. At most [`SAID_BYTES_MAX`].
    pub text: String,
    /// Who speaks, by its name; the first one that is set up unless told.
    pub provider: Option<String>,
    /// The voice by the provider's name for it.
    pub voice: Option<String>,
    /// The language as BCP 47.
    pub language: Option<String>,
}

impl std::fmt::Debug for Say {
    /// Without the text.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Say").field("provider", &self.provider).field("voice", &self.voice).finish_non_exhaustive()
    }
}

/// How speaking goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SayCounts {
    /// Texts that were spoken.
    pub spoken: u64,
    /// Texts whose speech was there already.
    pub kept: u64,
    /// Texts that could not be spoken.
    pub failed: u64,
    /// What speaking took, of all together, in milliseconds.
    pub speaking_ms_sum: u64,
}

/// Speaks.
#[derive(Debug)]
pub(super) struct Speaker {
    providers: Providers,
    dir: PathBuf,
    /// The directory as Asterisk sees it.
    seen_as: PathBuf,
    turns: Semaphore,
    spoken: AtomicU64,
    kept: AtomicU64,
    failed: AtomicU64,
    speaking_ms_sum: AtomicU64,
}

impl Speaker {
    pub(super) fn new(providers: Providers, dir: PathBuf, seen_as: PathBuf) -> Arc<Self> {
        let count = AtomicU64::default;
        let turns = Semaphore::new(SPOKEN_AT_ONCE_MAX);
        let (spoken, kept, failed, speaking_ms_sum) = (count(), count(), count(), count());
        Arc::new(Self { providers, dir, seen_as, turns, spoken, kept, failed, speaking_ms_sum })
    }

    pub(super) fn counts(&self) -> SayCounts {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Self { spoken, kept, failed, speaking_ms_sum, .. } = self;
        SayCounts {
            spoken: count(spoken),
            kept: count(kept),
            failed: count(failed),
            speaking_ms_sum: count(speaking_ms_sum),
        }
    }

    /// Speaks a text, or finds it spoken; what ARI is to play.
    pub(super) async fn media(&self, say: &Say) -> Result<String, ControlError> {
        if say.text.trim().is_empty() || say.text.len() > SAID_BYTES_MAX {
            return Err(ControlError::invalid("text", format!("1 to {SAID_BYTES_MAX} bytes")));
        }
        let voice = match &say.provider {
            None => self.providers.voices().first().ok_or_else(|| unspoken("no voice is set up: docs/speech.md"))?,
            Some(name) => self.providers.voice(name).ok_or_else(|| {
                let known: Vec<_> = self.providers.voices().iter().map(|voice| voice.name()).collect();
                ControlError::invalid("provider", format!("one of those that are set up: {}", known.join(", ")))
            })?,
        };
        let made = self.make(voice.as_ref(), say).await;
        let count = if made.is_ok() { None } else { Some(&self.failed) };
        count.map(|count| count.fetch_add(1, Ordering::Relaxed));
        // Asterisk finds the ending by itself.
        made.map(|key| format!("sound:{}", self.seen_as.join(key).display()))
    }

    async fn make(&self, voice: &dyn TextToSpeech, say: &Say) -> Result<String, ControlError> {
        let key = key(voice.name(), say);
        let path = self.dir.join(&key).with_extension(ENDING);
        if is_there(&path) {
            self.kept.fetch_add(1, Ordering::Relaxed);
            return Ok(key);
        }
        let turn = tokio::time::timeout(TURN_TIME_MAX, self.turns.acquire()).await;
        let _turn =
            turn.map_err(|_| ControlError::Busy { what: "texts to be spoken", waiting_max: SPOKEN_AT_ONCE_MAX })?;
        let began = Instant::now();
        let samples = tokio::time::timeout(SPEAKING_TIME_MAX, speak(voice, say)).await;
        let samples = samples.map_err(|_| unspoken(format!("{} does not speak in time", voice.name())))??;
        self.speaking_ms_sum.fetch_add(began.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.spoken.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir.clone();
        let store = move || keep(&dir, &path, &samples);
        let stored = tokio::task::spawn_blocking(store).await.map_err(io::Error::other).flatten();
        stored.map_err(|error| unspoken(format!("it cannot be kept in {}: {error}", self.dir.display())))?;
        Ok(key)
    }
}

fn unspoken(why: impl Into<String>) -> ControlError {
    ControlError::Unspoken { why: why.into() }
}

/// Samples at the files' rate.
async fn speak(voice: &dyn TextToSpeech, say: &Say) -> Result<Vec<i16>, ControlError> {
    let failed = |error: aimg_speech::Error| match error.kind {
        aimg_speech::ErrorKind::Invalid => ControlError::invalid("voice", error.to_string()),
        _ => unspoken(error.to_string()),
    };
    let options =
        VoiceOptions { voice: say.voice.clone(), language: say.language.clone(), sample_rate_hz: Some(RATE_HZ) };
    let mut speech = voice.speak(&say.text, &options).await.map_err(failed)?;
    let rate_hz = speech.sample_rate_hz;
    let mut samples = Vec::new();
    while let Some(piece) = speech.audio.recv().await {
        samples.extend(piece.map_err(failed)?);
        if samples.len() > SPEECH_S_MAX * rate_hz as usize {
            return Err(ControlError::invalid("text", format!("it takes more than {SPEECH_S_MAX} s to say")));
        }
    }
    if rate_hz == RATE_HZ {
        return Ok(samples);
    }
    let mut resampler = Resampler::new(rate_hz, RATE_HZ).map_err(|e| unspoken(format!("{}: {e}", voice.name())))?;
    let mut out = Vec::with_capacity(samples.len() / 2);
    for frame in samples.chunks((rate_hz / 50) as usize) {
        resampler.push(frame, &mut out);
    }
    resampler.push(&[], &mut out);
    Ok(out)
}

/// The same for the same speech, and for no other.
fn key(provider: &str, say: &Say) -> String {
    let mut hash = Sha256::new();
    for part in [Some(provider), say.voice.as_deref(), say.language.as_deref(), Some(say.text.as_str())] {
        let part = part.unwrap_or_default();
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a file is there; then it is not the next one to go.
fn is_there(path: &Path) -> bool {
    let Ok(file) = File::options().append(true).open(path) else { return false };
    let _ = file.set_modified(SystemTime::now());
    true
}

/// Writes a file that Asterisk may read, whole or not at all, and makes room for it.
fn keep(dir: &Path, path: &Path, samples: &[i16]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    make_room(dir, samples.len() as u64 * 2)?;
    let mut bytes = Vec::with_capacity(samples.len() * 2);
    linear::to_wav(samples, &mut bytes);
    let unfinished = path.with_extension(format!("{}.new", rand::random::<u64>()));
    let mut file = File::options().write(true).create_new(true).mode(0o644).open(&unfinished)?;
    let written = file.write_all(&bytes).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// Removes what was not asked for the longest until there is room for so many bytes more.
fn make_room(dir: &Path, bytes: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let about = entry.metadata()?;
        files.push((about.modified()?, about.len(), entry.path()));
    }
    files.sort();
    let mut kept: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, its_bytes, path) in files {
        if kept + bytes <= KEPT_BYTES_MAX {
            break;
        }
        fs::remove_file(path)?;
        kept -= its_bytes;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use aimg_speech::{Health, Speech};
    use async_trait::async_trait;
    use tokio::sync::mpsc;

    use super::*;

    /// Says a tone of as many milliseconds as the text has bytes.
    #[derive(Default)]
    struct Toner(AtomicUsize);

    #[async_trait]
    impl TextToSpeech for Toner {
        fn name(&self) -> &'static str {
            "toner"
        }

        async fn speak(&self, text: &str, _: &VoiceOptions) -> aimg_speech::Result<Speech> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let (pieces, audio) = mpsc::channel(1);
            let samples = vec![1_000; text.len() * 16];
            tokio::spawn(async move { pieces.send(Ok(samples)).await });
            Ok(Speech { sample_rate_hz: 16_000, audio })
        }

        async fn check(&self) -> aimg_speech::Result<Health> {
            Ok(Health::default())
        }
    }

    fn say(text: &str) -> Say {
        Say { text: text.to_owned(), provider: None, voice: None, language: None }
    }

    #[tokio::test]
    async fn a_text_is_spoken_once_and_kept_as_asterisk_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let toner = Arc::new(Toner::default());
        let providers = Providers::default().with_voice(toner.clone());
        let speaker = Speaker::new(providers, dir.path().join("said"), "/seen".into());
        let first = speaker.media(&say(&"x".repeat(400))).await.unwrap();
        assert_eq!(speaker.media(&say(&"x".repeat(400))).await.unwrap(), first);
        let other = Say { voice: Some("y".to_owned()), ..say(&"x".repeat(400)) };
        assert_ne!(speaker.media(&other).await.unwrap(), first);
        assert_eq!(toner.0.load(Ordering::Relaxed), 2);
        let name = format!("{}.sln", first.strip_prefix("sound:/seen/").unwrap());
        let length = fs::metadata(dir.path().join("said").join(name)).unwrap().len();
        assert!((6_400..6_800).contains(&length), "400 ms of 8 kHz: {length}");
        let counts = speaker.counts();
        assert_eq!((counts.spoken, counts.kept, counts.failed), (2, 1, 0));
    }

    #[tokio::test]
    async fn what_cannot_be_said_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let none = Speaker::new(Providers::default(), dir.path().join("said"), "/seen".into());
        assert!(matches!(none.media(&say("hello")).await, Err(ControlError::Unspoken { .. })));
        let providers = Providers::default().with_voice(Arc::new(Toner::default()));
        let speaker = Speaker::new(providers, dir.path().join("file/said"), "/seen".into());
        for wrong in [say(" "), say(&"x".repeat(4_097)), Say { provider: Some("nobody".to_owned()), ..say("hello") }] {
            assert!(matches!(speaker.media(&wrong).await, Err(ControlError::Invalid { .. })), "{wrong:?}");
        }
        fs::write(dir.path().join("file"), "").unwrap();
        let why = speaker.media(&say("hello")).await.unwrap_err().to_string();
        assert!(why.contains("file/said"), "{why}");
        assert_eq!(speaker.counts().failed, 1);
    }

    #[test]
    fn the_oldest_make_room() {
        let dir = tempfile::tempdir().unwrap();
        for (name, age) in [("old", 60), ("new", 0)] {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_len(KEPT_BYTES_MAX / 2).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        make_room(dir.path(), 1).unwrap();
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["new"]);
    }
}
