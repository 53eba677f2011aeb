//! Writes a WAV file whose length is known only at the end.

use std::io::{Seek, SeekFrom, Write};

use super::{DS64_BYTES, Encoding, Format, SIZE_ELSEWHERE};
use crate::Error;

/// Writes a WAV file. Until [`WavWriter::finish`] its header says that it is empty.
///
/// A JUNK chunk behind the RIFF header keeps room for the 64-bit sizes, so that a file that outgrows 4 GB becomes RF64
/// without moving its audio.
#[derive(Debug)]
pub struct WavWriter<W> {
    out: W,
    format: Format,
    data_bytes: u64,
    riff_bytes_max: u64,
}

impl<W: Write + Seek> WavWriter<W> {
    /// Writes a header at the beginning of `out`, which must be empty.
    pub fn new(out: W, format: Format) -> Result<Self, Error> {
        Self::with_riff_bytes_max(out, format, u64::from(u32::MAX))
    }

    /// As [`WavWriter::new`], but becomes RF64 when the RIFF size exceeds `riff_bytes_max`.
    fn with_riff_bytes_max(mut out: W, format: Format, riff_bytes_max: u64) -> Result<Self, Error> {
        out.write_all(&header(format, 0, riff_bytes_max))?;
        Ok(Self { out, format, data_bytes: 0, riff_bytes_max })
    }

    /// Appends whole frames, already encoded as the format says (PCM little-endian).
    pub fn write(&mut self, frames: &[u8]) -> Result<(), Error> {
        let frame_bytes = self.format.frame_bytes() as usize;
        if !frames.len().is_multiple_of(frame_bytes) {
            return Err(Error::HalfFrame { bytes: frames.len(), frame_bytes });
        }
        self.out.write_all(frames)?;
        self.data_bytes += frames.len() as u64;
        Ok(())
    }

    /// Frames written.
    pub fn frames(&self) -> u64 {
        self.data_bytes / u64::from(self.format.frame_bytes())
    }

    /// Puts the sizes into the header, flushes, and gives the file back, positioned at its end.
    pub fn finish(mut self) -> Result<W, Error> {
        // RIFF chunks begin at even offsets.
        if !self.data_bytes.is_multiple_of(2) {
            self.out.write_all(&[0])?;
        }
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header(self.format, self.data_bytes, self.riff_bytes_max))?;
        self.out.seek(SeekFrom::End(0))?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// What stands before audio that has no end yet, for whoever plays it while it comes: its sizes say that they are unknown.
pub fn endless_header(format: Format) -> Vec<u8> {
    let mut h = Vec::with_capacity(64);
    h.extend(b"RIFF");
    h.extend(SIZE_ELSEWHERE.to_le_bytes());
    h.extend(b"WAVE");
    h.extend(audio_header(format, u64::MAX, u64::MAX));
    h
}

/// Everything before the audio; its length depends on the format alone.
fn header(format: Format, data_bytes: u64, riff_bytes_max: u64) -> Vec<u8> {
    let frames = data_bytes / u64::from(format.frame_bytes());
    let audio_chunks = audio_header(format, data_bytes, frames);
    let riff_bytes = 4 + 8 + u64::from(DS64_BYTES) + audio_chunks.len() as u64 + data_bytes.next_multiple_of(2);
    let is_rf64 = riff_bytes > riff_bytes_max;

    let mut h = Vec::with_capacity(128);
    h.extend(if is_rf64 { b"RF64" } else { b"RIFF" });
    h.extend(if is_rf64 { SIZE_ELSEWHERE } else { size_32(riff_bytes) }.to_le_bytes());
    h.extend(b"WAVE");
    h.extend(if is_rf64 { b"ds64" } else { b"JUNK" });
    h.extend(DS64_BYTES.to_le_bytes());
    let sizes = if is_rf64 { [riff_bytes, data_bytes, frames] } else { [0; 3] };
    h.extend(sizes.iter().flat_map(|s| s.to_le_bytes()));
    h.extend([0; 4]); // entries in the table of other large chunks
    h.extend(if is_rf64 { audio_header(format, u64::MAX, u64::MAX) } else { audio_chunks });
    h
}

/// The chunks `fmt `, `fact` where the encoding needs one, and the head of `data`.
fn audio_header(format: Format, data_bytes: u64, frames: u64) -> Vec<u8> {
    let is_pcm = format.encoding == Encoding::Pcm16;
    let mut h = Vec::with_capacity(64);
    h.extend(b"fmt ");
    h.extend(if is_pcm { 16u32 } else { 18 }.to_le_bytes());
    h.extend(format.encoding.format_tag().to_le_bytes());
    h.extend(format.channels.to_le_bytes());
    h.extend(format.sample_rate_hz.to_le_bytes());
    h.extend((format.sample_rate_hz.saturating_mul(format.frame_bytes())).to_le_bytes());
    h.extend(size_16(format.frame_bytes()).to_le_bytes());
    h.extend((format.encoding.sample_bytes() * 8).to_le_bytes());
    if !is_pcm {
        h.extend(0u16.to_le_bytes()); // no further format fields
        h.extend(b"fact");
        h.extend(4u32.to_le_bytes());
        h.extend(size_32(frames).to_le_bytes());
    }
    h.extend(b"data");
    h.extend(size_32(data_bytes).to_le_bytes());
    h
}

fn size_32(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(SIZE_ELSEWHERE)
}

fn size_16(bytes: u32) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::WavReader;
    use super::*;

    fn written(format: Format, audio: &[u8], riff_bytes_max: u64) -> Vec<u8> {
        let mut w = WavWriter::with_riff_bytes_max(Cursor::new(Vec::new()), format, riff_bytes_max).unwrap();
        for frames in audio.chunks(format.frame_bytes() as usize * 7) {
            w.write(frames).unwrap();
        }
        w.finish().unwrap().into_inner()
    }

    #[test]
    fn hound_reads_our_pcm() {
        let samples: Vec<i16> = (-500..500).map(|n| n * 60).collect();
        let audio: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        for format in [Format::mono(Encoding::Pcm16, 16_000), Format::stereo(Encoding::Pcm16, 8_000)] {
            let file = written(format, &audio, u64::from(u32::MAX));
            let mut hound = hound::WavReader::new(Cursor::new(file)).unwrap();
            assert_eq!(hound.spec().channels, format.channels());
            assert_eq!(hound.spec().sample_rate, format.sample_rate_hz());
            assert_eq!(hound.samples::<i16>().map(Result::unwrap).collect::<Vec<_>>(), samples);
        }
    }

    #[test]
    fn audio_behind_an_endless_header_is_read_to_where_it_stops() {
        for format in [Format::mono(Encoding::Ulaw, 8_000), Format::stereo(Encoding::Pcm16, 16_000)] {
            let mut stream = endless_header(format);
            stream.extend([7; 400]);
            let reader = WavReader::new(Cursor::new(stream)).unwrap();
            assert_eq!(reader.format(), format);
            assert_eq!(reader.into_bytes().unwrap(), [7; 400]);
        }
    }

    #[test]
    fn the_riff_size_is_that_of_the_file() {
        for (format, frames) in [
            (Format::mono(Encoding::Pcm16, 8_000), 3),
            (Format::mono(Encoding::Ulaw, 8_000), 3),
            (Format::stereo(Encoding::Alaw, 8_000), 3),
            (Format::stereo(Encoding::Ulaw, 8_000), 0),
        ] {
            let audio = vec![1; frames * format.frame_bytes() as usize];
            let file = written(format, &audio, u64::from(u32::MAX));
            assert_eq!(file[..4], *b"RIFF");
            assert_eq!(u32::from_le_bytes(file[4..8].try_into().unwrap()) as usize, file.len() - 8, "{format:?}");
            assert!(file.len().is_multiple_of(2), "{format:?}");
        }
    }

    #[test]
    fn mulaw_has_a_fact_chunk_with_its_frames() {
        let file = written(Format::stereo(Encoding::Ulaw, 8_000), &[0xFF; 320], u64::from(u32::MAX));
        let at = file.windows(4).position(|w| w == b"fact").unwrap();
        assert_eq!(file[at + 4..at + 12], [4, 0, 0, 0, 160, 0, 0, 0]);
    }

    #[test]
    fn a_large_file_becomes_rf64_and_its_audio_stays_in_place() {
        let format = Format::stereo(Encoding::Ulaw, 8_000);
        let audio: Vec<u8> = (0..=255).collect();
        let small = written(format, &audio, u64::from(u32::MAX));
        let large = written(format, &audio, 300);
        assert_eq!((&large[..4], &large[12..16]), (&b"RF64"[..], &b"ds64"[..]));
        assert_eq!(large[4..8], [0xFF; 4]);
        assert_eq!(u64::from_le_bytes(large[20..28].try_into().unwrap()) as usize, large.len() - 8);
        assert_eq!(large.len(), small.len());
        assert_eq!(large[small.len() - 256..], audio);
        let reader = WavReader::new(&large[..]).unwrap();
        assert_eq!((reader.format(), reader.frames()), (format, Some(128)));
        assert_eq!(reader.into_bytes().unwrap(), audio);
    }

    #[test]
    fn half_a_frame_is_refused() {
        let mut w = WavWriter::new(Cursor::new(Vec::new()), Format::stereo(Encoding::Pcm16, 8_000)).unwrap();
        assert!(matches!(w.write(&[0; 6]), Err(Error::HalfFrame { bytes: 6, frame_bytes: 4 })));
    }
}
