//! A recording as tapes, one a channel.

use std::fs::File;
use std::io::{self, ErrorKind, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use aimg_audio::wav::{Encoding, Format, WavReader};
use aimg_audio::{g711, linear};
use async_trait::async_trait;

use super::{Length, Tape};

/// Audio that is read from the file at once.
const BLOCK_S: u32 = 10;

/// One channel of a WAV file on the disk. Only a few seconds of it are in memory.
#[derive(Debug)]
pub struct Recorded {
    file: Arc<File>,
    /// Where in the file its audio begins.
    audio_at: u64,
    format: Format,
    samples: u64,
    channel: u16,
    /// Samples that were read already, and the place of the first.
    block: (u64, Vec<i16>),
}

impl Recorded {
    /// The channels of a file, in their order. Blocks on the disk.
    pub fn open(path: &Path) -> io::Result<Vec<Self>> {
        let mut file = File::open(path)?;
        let reader = WavReader::new(&mut file).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        let (format, frames) = (reader.format(), reader.frames());
        let audio_at = file.stream_position()?;
        // A program that was stopped while it wrote has announced more than there is.
        let there = file.metadata()?.len().saturating_sub(audio_at) / u64::from(format.frame_bytes());
        let samples = frames.map_or(there, |frames| frames.min(there));
        let file = Arc::new(file);
        let channel =
            |channel| Self { file: Arc::clone(&file), audio_at, format, samples, channel, block: (0, Vec::new()) };
        Ok((0..format.channels()).map(channel).collect())
    }

    /// How long it is, in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.samples * 1_000 / u64::from(self.format.sample_rate_hz().max(1))
    }

    async fn load(&mut self, from: u64) -> io::Result<()> {
        let block = u64::from(self.format.sample_rate_hz()) * u64::from(BLOCK_S);
        let frames = (self.samples - from).min(block) as usize;
        let (file, format, channel) = (Arc::clone(&self.file), self.format, usize::from(self.channel));
        let at = self.audio_at + from * u64::from(format.frame_bytes());
        let read = move || {
            let mut bytes = vec![0; frames * format.frame_bytes() as usize];
            file.read_exact_at(&mut bytes, at)?;
            Ok::<_, io::Error>(samples_of(&bytes, format, channel))
        };
        self.block = (from, tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??);
        Ok(())
    }
}

/// One channel's samples of whole frames.
fn samples_of(bytes: &[u8], format: Format, channel: usize) -> Vec<i16> {
    let frames = bytes.chunks_exact(format.frame_bytes() as usize);
    match format.encoding() {
        Encoding::Ulaw => frames.map(|frame| g711::ulaw_decode(frame[channel])).collect(),
        Encoding::Alaw => frames.map(|frame| g711::alaw_decode(frame[channel])).collect(),
        Encoding::Pcm16 => frames.filter_map(|frame| linear::from_wav(frame).nth(channel)).collect(),
    }
}

#[async_trait]
impl Tape for Recorded {
    fn sample_rate_hz(&self) -> u32 {
        self.format.sample_rate_hz()
    }

    fn length(&self) -> Length {
        Length { samples: self.samples, is_complete: true }
    }

    async fn read(&mut self, from: u64, samples_max: usize) -> io::Result<Vec<i16>> {
        if from >= self.samples {
            return Ok(Vec::new());
        }
        let (begins, block) = &self.block;
        if !(*begins..begins + block.len() as u64).contains(&from) {
            self.load(from).await?;
        }
        let (begins, block) = &self.block;
        let within = (from - begins) as usize;
        Ok(block[within..block.len().min(within + samples_max)].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use aimg_audio::wav::WavWriter;

    use super::*;

    #[tokio::test]
    async fn each_channel_is_a_tape_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("call.wav");
        let left: Vec<i16> = (0..200_000).map(|n| (n % 15_000) as i16).collect();
        let right: Vec<i16> = left.iter().map(|n| -n).collect();
        let mut wav = WavWriter::new(File::create(&path).unwrap(), Format::stereo(Encoding::Pcm16, 16_000)).unwrap();
        let mut bytes = Vec::new();
        linear::to_wav(&left.iter().zip(&right).flat_map(|(l, r)| [*l, *r]).collect::<Vec<_>>(), &mut bytes);
        wav.write(&bytes).unwrap();
        wav.finish().unwrap();
        let mut tapes = Recorded::open(&path).unwrap();
        assert_eq!((tapes.len(), tapes[0].duration_ms(), tapes[0].sample_rate_hz()), (2, 12_500, 16_000));
        for (tape, expected) in tapes.iter_mut().zip([left, right]) {
            let mut read = Vec::new();
            loop {
                let piece = tape.read(read.len() as u64, 1_600).await.unwrap();
                if piece.is_empty() {
                    break;
                }
                read.extend(piece);
            }
            assert!(read == expected);
            assert_eq!(tape.read(40_000, 3).await.unwrap(), expected[40_000..40_003], "it goes back");
        }
    }

    #[test]
    fn what_is_no_recording_is_refused_and_what_broke_off_is_read_as_far_as_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("call.wav");
        std::fs::write(&path, "no recording").unwrap();
        assert_eq!(Recorded::open(&path).unwrap_err().kind(), ErrorKind::InvalidData);
        let mut wav = WavWriter::new(File::create(&path).unwrap(), Format::mono(Encoding::Ulaw, 8_000)).unwrap();
        wav.write(&[0; 800]).unwrap();
        wav.finish().unwrap();
        let whole = std::fs::metadata(&path).unwrap().len();
        File::options().write(true).open(&path).unwrap().set_len(whole - 400).unwrap();
        assert_eq!(Recorded::open(&path).unwrap()[0].duration_ms(), 50);
    }
}
