//! Reads a WAV file from front to back; it need not be seekable.

use std::io::{self, Read};

use super::{DS64_BYTES, Encoding, Format, SIZE_ELSEWHERE};
use crate::{Error, g711, linear};

/// The tag behind which the real one hides (WAVE_FORMAT_EXTENSIBLE).
const FORMAT_EXTENSIBLE: u16 = 0xFFFE;
/// Where an extensible `fmt ` chunk keeps the real tag.
const EXTENSIBLE_TAG_AT: usize = 24;
/// No `fmt ` chunk we understand is longer.
const FMT_BYTES_MAX: u32 = 1024;
/// How much is read at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// Reads a WAV file: RIFF or RF64; 16-bit PCM, µ-law or A-law; any number of channels. Other chunks are skipped.
#[derive(Debug)]
pub struct WavReader<R> {
    input: R,
    format: Format,
    /// Bytes of audio; nothing when the writer did not know (a pipe): then it goes on to the end.
    data_bytes: Option<u64>,
}

impl<R: Read> WavReader<R> {
    /// Reads everything before the audio.
    pub fn new(mut input: R) -> Result<Self, Error> {
        let is_rf64 = read_riff(&mut input)?;
        let mut format = None;
        let mut large_data_bytes = None;
        loop {
            let (id, size) = read_chunk_head(&mut input)?;
            match &id {
                b"ds64" => large_data_bytes = Some(read_ds64(&mut input, size)?),
                b"fmt " => format = Some(read_fmt(&mut input, size)?),
                b"data" => {
                    let data_bytes = match (size, large_data_bytes) {
                        (SIZE_ELSEWHERE, Some(large)) => Some(large),
                        (SIZE_ELSEWHERE, None) if is_rf64 => return Err(Error::ChunkMissing("ds64")),
                        (SIZE_ELSEWHERE, None) => None,
                        (size, _) => Some(u64::from(size)),
                    };
                    return Ok(Self { input, format: format.ok_or(Error::ChunkMissing("fmt "))?, data_bytes });
                }
                _ => skip(&mut input, u64::from(size).next_multiple_of(2))?,
            }
        }
    }

    /// What the audio is made of.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Frames of the audio; nothing when the program that wrote the file did not know.
    pub fn frames(&self) -> Option<u64> {
        self.data_bytes.map(|bytes| bytes / u64::from(self.format.frame_bytes()))
    }

    /// The audio as it is stored.
    pub fn into_bytes(self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.for_each_block(|block| bytes.extend_from_slice(block))?;
        Ok(bytes)
    }

    /// The audio as linear samples, one list a channel.
    pub fn into_channels(self) -> Result<Vec<Vec<i16>>, Error> {
        let (encoding, count) = (self.format.encoding, usize::from(self.format.channels));
        let mut channels = vec![Vec::new(); count];
        let mut samples = Vec::with_capacity(BLOCK_BYTES);
        self.for_each_block(|block| {
            samples.clear();
            match encoding {
                Encoding::Pcm16 => samples.extend(linear::from_wav(block)),
                Encoding::Alaw => samples.extend(block.iter().map(|&c| g711::alaw_decode(c))),
                Encoding::Ulaw => samples.extend(block.iter().map(|&c| g711::ulaw_decode(c))),
            }
            for frame in samples.chunks_exact(count) {
                for (channel, &sample) in channels.iter_mut().zip(frame) {
                    channel.push(sample);
                }
            }
        })?;
        Ok(channels)
    }

    /// Hands over the audio in blocks of whole frames.
    fn for_each_block(mut self, mut take: impl FnMut(&[u8])) -> Result<(), Error> {
        let frame_bytes = self.format.frame_bytes() as usize;
        let mut block = vec![0; BLOCK_BYTES.next_multiple_of(frame_bytes)];
        let mut left = self.data_bytes.unwrap_or(u64::MAX);
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            let read = read_up_to(&mut self.input, &mut block[..wanted])?;
            take(&block[..read - read % frame_bytes]);
            left -= read as u64;
            if read < wanted {
                return if self.data_bytes.is_some() { Err(Error::CutOff("audio")) } else { Ok(()) };
            }
        }
        Ok(())
    }
}

/// Reads the first 12 bytes; whether the file is RF64.
fn read_riff(input: &mut impl Read) -> Result<bool, Error> {
    let mut head = [0; 12];
    let read = read_up_to(input, &mut head)?;
    let is_rf64 = &head[..4] == b"RF64";
    if !(is_rf64 || &head[..4] == b"RIFF") || &head[8..] != b"WAVE" {
        return Err(Error::NotWav { found: head[..read].escape_ascii().to_string() });
    }
    Ok(is_rf64)
}

fn read_chunk_head(input: &mut impl Read) -> Result<([u8; 4], u32), Error> {
    let mut head = [0; 8];
    match read_up_to(input, &mut head)? {
        0 => Err(Error::ChunkMissing("data")),
        8 => Ok((head[..4].try_into().expect("4 bytes"), u32::from_le_bytes(head[4..].try_into().expect("4 bytes")))),
        _ => Err(Error::CutOff("header")),
    }
}

/// The size of the audio in a `ds64` chunk.
fn read_ds64(input: &mut impl Read, size: u32) -> Result<u64, Error> {
    if size < DS64_BYTES {
        return Err(Error::ChunkDamaged { chunk: "ds64", what: format!("{size} bytes long instead of {DS64_BYTES}") });
    }
    let mut sizes = [0; 16];
    input.read_exact(&mut sizes).map_err(cut_off_header)?;
    skip(input, u64::from(size).next_multiple_of(2) - 16)?;
    Ok(u64::from_le_bytes(sizes[8..].try_into().expect("8 bytes")))
}

fn read_fmt(input: &mut impl Read, size: u32) -> Result<Format, Error> {
    if !(16..=FMT_BYTES_MAX).contains(&size) {
        return Err(Error::ChunkDamaged { chunk: "fmt ", what: format!("{size} bytes long instead of 16 to 40") });
    }
    let mut fmt = vec![0; size.next_multiple_of(2) as usize];
    input.read_exact(&mut fmt).map_err(cut_off_header)?;
    let field = |at: usize| u16::from_le_bytes([fmt[at], fmt[at + 1]]);
    let format_tag = match field(0) {
        FORMAT_EXTENSIBLE if fmt.len() > EXTENSIBLE_TAG_AT + 1 => field(EXTENSIBLE_TAG_AT),
        tag => tag,
    };
    let (channels, bits_per_sample) = (field(2), field(14));
    let encoding = Encoding::ALL
        .into_iter()
        .find(|e| e.format_tag() == format_tag && e.sample_bytes() * 8 == bits_per_sample)
        .ok_or(Error::Encoding { format_tag, bits_per_sample })?;
    let sample_rate_hz = u32::from_le_bytes(fmt[4..8].try_into().expect("4 bytes"));
    if channels == 0 || sample_rate_hz == 0 {
        let what = format!("{channels} channels at {sample_rate_hz} Hz");
        return Err(Error::ChunkDamaged { chunk: "fmt ", what });
    }
    Ok(Format { encoding, channels, sample_rate_hz })
}

fn skip(input: &mut impl Read, bytes: u64) -> Result<(), Error> {
    let skipped = io::copy(&mut input.take(bytes), &mut io::sink())?;
    // A last chunk of odd length may lack its padding byte.
    if skipped + 1 < bytes { Err(Error::CutOff("header")) } else { Ok(()) }
}

fn cut_off_header(e: io::Error) -> Error {
    if e.kind() == io::ErrorKind::UnexpectedEof { Error::CutOff("header") } else { e.into() }
}

/// Fills `buffer` as far as there is input.
fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::wav::WavWriter;

    fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut c = [&id[..], &(body.len() as u32).to_le_bytes(), body].concat();
        c.resize(c.len().next_multiple_of(2), 0);
        c
    }

    fn file(kind: &[u8; 4], chunks: &[Vec<u8>]) -> Vec<u8> {
        [&kind[..], &[0; 4], b"WAVE", &chunks.concat()].concat()
    }

    fn fmt(format_tag: u16, channels: u16, bits_per_sample: u16) -> Vec<u8> {
        let mut body = [format_tag.to_le_bytes(), channels.to_le_bytes()].concat();
        body.extend(8_000u32.to_le_bytes());
        body.extend([0; 6]);
        body.extend(bits_per_sample.to_le_bytes());
        chunk(b"fmt ", &body)
    }

    #[test]
    fn reads_what_others_write() {
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: 44_100,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut bytes = Cursor::new(Vec::new());
        let mut hound = hound::WavWriter::new(&mut bytes, spec).unwrap();
        for n in 0..20_000i16 {
            hound.write_sample(n).unwrap();
            hound.write_sample(-n).unwrap();
        }
        hound.finalize().unwrap();
        let reader = WavReader::new(&bytes.get_ref()[..]).unwrap();
        assert_eq!((reader.format(), reader.frames()), (Format::stereo(Encoding::Pcm16, 44_100), Some(20_000)));
        let channels = reader.into_channels().unwrap();
        assert!(channels[0].iter().copied().eq(0..20_000) && channels[1].iter().copied().eq((0..20_000).map(|n| -n)));
    }

    #[test]
    fn other_chunks_and_streamed_lengths_are_taken_as_they_come() {
        let mut streamed = chunk(b"data", &[0xD5, 0x55]);
        streamed[4..8].fill(0xFF);
        let alaw = fmt(6, 1, 8);
        for (name, bytes) in [
            ("plain", file(b"RIFF", &[alaw.clone(), chunk(b"data", &[0xD5, 0x55])])),
            ("odd chunk", file(b"RIFF", &[chunk(b"LIST", b"odd"), alaw.clone(), chunk(b"data", &[0xD5, 0x55])])),
            ("chunk behind", file(b"RIFF", &[alaw.clone(), chunk(b"data", &[0xD5, 0x55]), chunk(b"LIST", b"tail")])),
            ("to the end", file(b"RIFF", &[alaw.clone(), streamed])),
        ] {
            let channels = WavReader::new(&bytes[..]).unwrap().into_channels().unwrap();
            assert_eq!(channels, [[8, -8]], "{name}");
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let data = chunk(b"data", &[0; 4]);
        let mut cut = file(b"RIFF", &[fmt(1, 1, 16), data.clone()]);
        cut.pop();
        let mut no_ds64 = file(b"RF64", &[fmt(1, 1, 16), data.clone()]);
        let size_at = no_ds64.len() - 8;
        no_ds64[size_at..size_at + 4].fill(0xFF);
        for (bytes, message) in [
            (b"OggS".to_vec(), "not a WAV file: it begins with \"OggS\""),
            (Vec::new(), "not a WAV file: it begins with \"\""),
            (file(b"RIFF", &[]), "has no `data` chunk"),
            (file(b"RIFF", std::slice::from_ref(&data)), "has no `fmt ` chunk"),
            (file(b"RIFF", &[fmt(1, 1, 24), data.clone()]), "encoding (format 1, 24 bits)"),
            (file(b"RIFF", &[fmt(1, 0, 16), data.clone()]), "0 channels at 8000 Hz"),
            (file(b"RIFF", &[chunk(b"fmt ", &[0; 4]), data.clone()]), "4 bytes long"),
            (file(b"RF64", &[chunk(b"ds64", &[0; 4]), data]), "4 bytes long instead of 28"),
            (no_ds64, "has no `ds64` chunk"),
            (b"RIFF\0\0\0\0WAVEfmt ".to_vec(), "cut off inside its header"),
            (cut, "cut off inside its audio"),
        ] {
            let error = WavReader::new(&bytes[..]).and_then(WavReader::into_channels).unwrap_err().to_string();
            assert!(error.contains(message), "{error:?} should say {message:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200), damage in 0usize..80) {
            let mut bytes = file(b"RF64", &[chunk(b"ds64", &[9; 28]), fmt(7, 2, 8), chunk(b"data", &body)]);
            let _ = WavReader::new(&body[..]).and_then(WavReader::into_channels);
            bytes[damage] ^= 0xA5;
            let _ = WavReader::new(&bytes[..]).and_then(WavReader::into_channels);
        }

        #[test]
        fn what_is_written_is_read(
            encoding in prop::sample::select(&Encoding::ALL[..]),
            is_stereo: bool,
            sample_rate_hz in 1u32..192_000,
            frames in 0usize..500,
        ) {
            let format = if is_stereo { Format::stereo(encoding, sample_rate_hz) } else { Format::mono(encoding, sample_rate_hz) };
            let audio: Vec<u8> = (0..frames * format.frame_bytes() as usize).map(|n| n as u8).collect();
            let mut writer = WavWriter::new(Cursor::new(Vec::new()), format).unwrap();
            writer.write(&audio).unwrap();
            prop_assert_eq!(writer.frames(), frames as u64);
            let bytes = writer.finish().unwrap().into_inner();
            let reader = WavReader::new(&bytes[..]).unwrap();
            prop_assert_eq!((reader.format(), reader.frames()), (format, Some(frames as u64)));
            prop_assert_eq!(reader.into_bytes().unwrap(), audio);
        }
    }
}
