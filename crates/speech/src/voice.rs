//! A voice that is a program: text in, a WAV file out. By default flite, which every Debian has.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use aimg_audio::wav::WavReader;
use async_trait::async_trait;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::error::{Error, ErrorKind, Result};
use crate::recognise::Health;
use crate::synthesise::{Speech, TextToSpeech, VoiceOptions};

/// What stands in an argument for the file that the program is to write.
pub const OUTPUT: &str = "{output}";
/// Which voice is wanted.
const VOICE: &str = "{voice}";
/// Pieces that wait for who listens.
const PIECES_MAX: usize = 64;
/// A piece lasts a tenth of a second.
const PIECES_PER_SECOND: u32 = 10;

/// What a program is to be run like. No shell has a hand in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its name as a provider.
    pub name: String,
    /// The program, by its path or its name.
    pub program: String,
    /// Its arguments. `{output}` in one stands for the file that it is to write, `{voice}` for the voice. The text is on its
    /// standard input, because arguments can be seen by everybody on the machine.
    pub arguments: Vec<String>,
    /// The voice unless another is asked for.
    pub voice: String,
    /// How long it may take.
    pub time_max: Duration,
    /// The largest file that it may write, in bytes.
    pub output_bytes_max: u64,
    /// The longest text, in bytes.
    pub text_bytes_max: usize,
}

impl Config {
    /// flite with a voice of 16 kHz.
    pub fn flite(name: impl Into<String>) -> Self {
        let arguments = ["-voice", VOICE, "-f", "/dev/stdin", "-o", OUTPUT];
        Self {
            name: name.into(),
            program: "flite".to_owned(),
            arguments: arguments.map(str::to_owned).to_vec(),
            voice: "rms".to_owned(),
            time_max: Duration::from_secs(20),
            output_bytes_max: 32 * 1024 * 1024,
            text_bytes_max: 4_096,
        }
    }
}

/// A voice that is a program.
#[derive(Clone, Debug)]
pub struct ProgramVoice {
    config: Config,
}

impl ProgramVoice {
    /// The voice of a program, which is looked for when something is said.
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    fn error(&self, kind: ErrorKind, what: impl Into<String>) -> Error {
        Error { provider: self.config.name.clone(), kind, what: what.into() }
    }

    /// Runs the program on a text; gives the samples of its file and their rate in Hz.
    async fn run(&self, text: &str, voice: &str) -> Result<(Vec<i16>, u32)> {
        let dir = tempfile::tempdir()
            .map_err(|error| self.error(ErrorKind::Internal, format!("no directory for its file: {error}")))?;
        let output = dir.path().join("speech.wav");
        let run = self.write(text, voice, &output);
        match tokio::time::timeout(self.config.time_max, run).await {
            Ok(ran) => ran?,
            Err(_) => {
                let what = format!("{} took longer than {:?}", self.config.program, self.config.time_max);
                return Err(self.error(ErrorKind::TimedOut, what));
            }
        }
        // Speech is small, and its file in memory of the kernel: reading it takes less than handing it to another thread.
        self.read(&output)
    }

    async fn write(&self, text: &str, voice: &str, output: &Path) -> Result<()> {
        let program = &self.config.program;
        let output = output.to_string_lossy();
        let mut child = Command::new(program)
            .args(self.config.arguments.iter().map(|argument| argument.replace(OUTPUT, &output).replace(VOICE, voice)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                self.error(ErrorKind::Unreachable, format!("{program} cannot be started ({error}): install it"))
            })?;
        if let Some(mut input) = child.stdin.take() {
            // A program that does not read its text says at its end what is wrong.
            let _ = input.write_all(text.as_bytes()).await;
        }
        let status = child.wait().await;
        let status = status.map_err(|error| self.error(ErrorKind::Internal, format!("{program} is lost: {error}")))?;
        if status.success() {
            return Ok(());
        }
        Err(self.error(ErrorKind::Internal, format!("{program} ended with {status}: try it by hand")))
    }

    fn read(&self, output: &Path) -> Result<(Vec<i16>, u32)> {
        let program = &self.config.program;
        let file = File::open(output).map_err(|_| {
            self.error(ErrorKind::Internal, format!("{program} has written no file: see its arguments"))
        })?;
        let bytes = file.metadata().map_or(0, |data| data.len());
        if bytes > self.config.output_bytes_max {
            let what = format!("{program} has written {bytes} bytes, more than {}", self.config.output_bytes_max);
            return Err(self.error(ErrorKind::Internal, what));
        }
        let bad = |error| self.error(ErrorKind::Internal, format!("{program} has written no usable WAV file: {error}"));
        let wav = WavReader::new(file).map_err(bad)?;
        let sample_rate_hz = wav.format().sample_rate_hz();
        let samples = wav.into_channels().map_err(bad)?.swap_remove(0);
        Ok((samples, sample_rate_hz))
    }
}

/// Whether a voice's name is an argument of a program, and can be nothing else.
pub fn is_voice(voice: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !voice.is_empty() && !voice.starts_with(['-', '.']) && voice.chars().all(allowed)
}

#[async_trait]
impl TextToSpeech for ProgramVoice {
    fn name(&self) -> &str {
        &self.config.name
    }

    async fn speak(&self, text: &str, options: &VoiceOptions) -> Result<Speech> {
        if text.trim().is_empty() {
            return Err(self.error(ErrorKind::Invalid, "the text is empty"));
        }
        if text.len() > self.config.text_bytes_max {
            let what = format!("the text has more than {} bytes: say it in parts", self.config.text_bytes_max);
            return Err(self.error(ErrorKind::Invalid, what));
        }
        let voice = options.voice.as_deref().unwrap_or(&self.config.voice);
        if !is_voice(voice) {
            return Err(
                self.error(ErrorKind::Invalid, "the voice's name has other letters than a-z, 0-9, `-`, `_`, `.`")
            );
        }
        let (samples, sample_rate_hz) = self.run(text, voice).await?;
        let (pieces, audio) = mpsc::channel(PIECES_MAX);
        tokio::spawn(async move {
            for piece in samples.chunks((sample_rate_hz / PIECES_PER_SECOND).max(1) as usize) {
                if pieces.send(Ok(piece.to_vec())).await.is_err() {
                    return;
                }
            }
        });
        Ok(Speech { sample_rate_hz, audio })
    }

    async fn check(&self) -> Result<Health> {
        let asked = Instant::now();
        self.run("a", &self.config.voice).await?;
        let models = [(self.config.voice.clone(), Default::default())].into();
        Ok(Health { models, answered_after_ms: asked.elapsed().as_millis() as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(program: &str, arguments: &[&str]) -> ProgramVoice {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let time_max = Duration::from_millis(300);
        ProgramVoice::new(Config { program: program.to_owned(), arguments, time_max, ..Config::flite("test") })
    }

    #[tokio::test]
    async fn what_a_program_does_wrong_is_told() {
        let spoken = |voice: ProgramVoice| async move {
            voice.speak("Hello.", &VoiceOptions::default()).await.map(|_| ()).unwrap_err().kind
        };
        assert_eq!(spoken(program("no-such-program", &[])).await, ErrorKind::Unreachable);
        assert_eq!(spoken(program("false", &[])).await, ErrorKind::Internal);
        assert_eq!(spoken(program("true", &[])).await, ErrorKind::Internal);
        assert_eq!(spoken(program("sleep", &["60"])).await, ErrorKind::TimedOut);
        assert_eq!(spoken(program("tee", &["{output}"])).await, ErrorKind::Internal);
        let mut small = program("tee", &["{output}"]);
        small.config.output_bytes_max = 1;
        let error = small.speak("Hello.", &VoiceOptions::default()).await.unwrap_err();
        assert!(error.what.contains("6 bytes, more than 1"), "{error}");
    }

    #[tokio::test]
    async fn what_cannot_be_said_is_refused_before_the_program_runs() {
        let voice = program("no-such-program", &[]);
        let other = |name: &str| VoiceOptions { voice: Some(name.to_owned()), ..VoiceOptions::default() };
        let long = "a".repeat(4_097);
        for (text, options) in [
            (" \n", VoiceOptions::default()),
            (&*long, VoiceOptions::default()),
            ("Hello.", other("-x")),
            ("Hello.", other("../x")),
            ("Hello.", other("")),
        ] {
            assert_eq!(voice.speak(text, &options).await.unwrap_err().kind, ErrorKind::Invalid, "{options:?}");
        }
    }
}
