//! One direction of a recording as a stream of samples: packets in their places, silence between them.

use std::os::unix::fs::FileExt;

use aimg_audio::wav::Encoding;
use aimg_audio::{g711, linear, payload};
use aimg_core::{Codec, Timestamp};
use aimg_rtp::Packet;

use crate::Error;
use crate::replay::Replayed;
use crate::timeline::{Arrived, Placed};

/// How the recording of a codec is stored: µ-law as Asterisk sent it, everything else as 16-bit PCM.
pub(crate) const fn encoding_of(codec: Codec) -> Encoding {
    match codec {
        Codec::Ulaw => Encoding::Ulaw,
        Codec::Alaw | Codec::Slin | Codec::Slin16 => Encoding::Pcm16,
    }
}

/// Delivers the samples of a direction from the origin on, encoded as the recording is.
#[derive(Debug)]
pub(crate) struct Track<'a> {
    flow: &'a Replayed,
    codec: Codec,
    placed: Placed<'a>,
    /// Bytes delivered.
    at: u64,
    /// The packet that begins at or before the end of what was delivered.
    current: Audio,
    /// Reused for every packet.
    packet: Vec<u8>,
    samples: Vec<i16>,
}

/// Encoded samples and their place, in bytes from the origin.
#[derive(Debug, Default)]
struct Audio {
    begin: u64,
    bytes: Vec<u8>,
}

impl Audio {
    fn end(&self) -> u64 {
        self.begin + self.bytes.len() as u64
    }
}

impl<'a> Track<'a> {
    pub(crate) fn new(flow: &'a Replayed, codec: Codec, origin: Timestamp) -> Self {
        Self {
            flow,
            codec,
            placed: flow.sequence.placed(origin),
            at: 0,
            current: Audio::default(),
            packet: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Fills `block` with the samples that follow those of the call before; behind the last packet is silence.
    pub(crate) fn fill(&mut self, block: &mut [u8]) -> Result<(), Error> {
        block.fill(silence_byte(self.codec));
        let block_end = self.at + block.len() as u64;
        loop {
            let from = self.current.begin.max(self.at);
            let to = self.current.end().min(block_end);
            if from < to {
                let audio = &self.current.bytes[offset(from, self.current.begin)..offset(to, self.current.begin)];
                block[offset(from, self.at)..offset(to, self.at)].copy_from_slice(audio);
            }
            if self.current.end() >= block_end || !self.next_packet()? {
                break;
            }
        }
        self.at = block_end;
        Ok(())
    }

    /// Makes the next packet the current one; false when there is none.
    fn next_packet(&mut self) -> Result<bool, Error> {
        let Some(place) = self.placed.next() else {
            return Ok(false);
        };
        let sample_bytes = u64::from(encoding_of(self.codec).sample_bytes());
        self.current.begin = u64::try_from(place.position).unwrap_or(0) * sample_bytes;
        self.read(place.packet)?;
        Ok(true)
    }

    /// Reads the packet's payload from the spool into the current audio.
    fn read(&mut self, arrived: Arrived) -> Result<(), Error> {
        self.packet.resize(arrived.packet_bytes as usize, 0);
        self.flow
            .file
            .read_exact_at(&mut self.packet, arrived.packet_at)
            .map_err(Error::io("read", &self.flow.path))?;
        self.current.bytes.clear();
        // It was parsed when it was indexed; should the file have changed since, its place stays silent.
        let payload = Packet::parse(&self.packet).map_or(&[][..], |packet| packet.payload);
        match encoding_of(self.codec) {
            Encoding::Ulaw => self.current.bytes.extend_from_slice(payload),
            Encoding::Pcm16 | Encoding::Alaw => {
                self.samples.clear();
                payload::decode(self.codec, payload, &mut self.samples);
                linear::to_wav(&self.samples, &mut self.current.bytes);
            }
        }
        Ok(())
    }
}

/// The byte that is silence in the recording of a codec.
pub(crate) const fn silence_byte(codec: Codec) -> u8 {
    match encoding_of(codec) {
        Encoding::Ulaw => g711::ULAW_SILENCE,
        Encoding::Alaw => g711::ALAW_SILENCE,
        Encoding::Pcm16 => 0,
    }
}

/// The way from `base` to `position`, both within a block or a packet of each other.
fn offset(position: u64, base: u64) -> usize {
    usize::try_from(position - base).expect("blocks and packets are short")
}
