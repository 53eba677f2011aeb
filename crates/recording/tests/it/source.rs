//! A capture with known packets, and what its recording holds.

use std::fs;
use std::path::{Path, PathBuf};

use aimg_audio::wav::WavReader;
use aimg_core::{Codec, Direction, Timestamp};
use aimg_recording::{Finished, Manifest, PartDir, finish};
use aimg_spool::{FlowMeta, HEADER_BYTES, Header, LiveCounters, Record, encode_into, encoded_bytes};
use tempfile::TempDir;

/// When captures begin: 2026-01-31T12:00:00Z.
pub(crate) const OPENED: Timestamp = Timestamp::from_micros(1_769_860_800_000_000);
/// Small, so that a few seconds are many chunks.
pub(crate) const CHUNK_BYTES: u32 = aimg_spool::CHUNK_BYTES_MIN;

/// A packet as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// Microseconds after [`OPENED`].
    pub(crate) at_us: i64,
    pub(crate) seq: u16,
    pub(crate) payload: Vec<u8>,
}

impl Packet {
    fn to_rtp(&self) -> Vec<u8> {
        let [high, low] = self.seq.to_be_bytes();
        // The RTP timestamp is nonsense on purpose: nothing may depend on it.
        [&[0x80, 0, high, low, 9, 9, 9, low, 0, 0, 0, 7], &self.payload[..]].concat()
    }
}

/// A payload whose bytes tell which packet of which direction it is, and are never silence.
pub(crate) fn payload(direction: Direction, number: usize, bytes: usize) -> Vec<u8> {
    let mut payload = vec![0x20 + direction.index() as u8; bytes];
    payload[..4].copy_from_slice(&[number as u8 & 0x7f, (number >> 7) as u8 & 0x7f, (number >> 14) as u8, 1]);
    payload
}

/// `count` packets of 20 ms of µ-law without a flaw; the first arrives at `first_ms`.
pub(crate) fn steady(direction: Direction, count: usize, first_ms: i64) -> Vec<Packet> {
    (0..count)
        .map(|i| Packet {
            at_us: (first_ms + i as i64 * 20) * 1_000,
            seq: 65_500u16.wrapping_add(i as u16),
            payload: payload(direction, i, 160),
        })
        .collect()
}

/// Directories of a gateway with one captured part in them.
pub(crate) struct Capture {
    _root: TempDir,
    pub(crate) recordings_dir: PathBuf,
    pub(crate) part: PartDir,
    pub(crate) manifest: Manifest,
}

impl Capture {
    /// A capture that was answered and ended properly.
    pub(crate) fn new(codec: Codec) -> Self {
        let root = tempfile::tempdir().unwrap();
        let id = |n: u8| format!("0198c1de-1111-7000-8000-00000000000{n}");
        let manifest = Manifest {
            tenant: id(1).parse().unwrap(),
            pbx: id(2).parse().unwrap(),
            session: id(3).parse().unwrap(),
            part: 0,
            node: "n1".parse().unwrap(),
            channel: Some(aimg_core::Uniqueid::new("1.1")),
            codec,
            opened_at: OPENED,
            answered_at: Some(after_opening(500)),
            ended_at: Some(after_opening(60_000)),
            adopted: false,
            moved_at: None,
            begun_by: None,
            ended_by: None,
        };
        let part = manifest.part_dir(root.path().join("spool"));
        manifest.store(&part).unwrap();
        Self { recordings_dir: root.path().join("recordings"), _root: root, part, manifest }
    }

    /// A µ-law capture of these packets.
    pub(crate) fn of(caller: &[Packet], callee: &[Packet]) -> Self {
        let capture = Self::new(Codec::Ulaw);
        capture.write(Direction::Caller, caller);
        capture.write(Direction::Callee, callee);
        capture
    }

    /// Stores a changed manifest.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Manifest)) {
        change(&mut self.manifest);
        self.manifest.store(&self.part).unwrap();
    }

    pub(crate) fn meta(&self, direction: Direction) -> FlowMeta {
        let Manifest { tenant, session, part, codec, opened_at, pbx, .. } = self.manifest;
        FlowMeta { tenant, session, part, direction, codec, opened_at, pbx }
    }

    /// Writes a spool as a shard does, its last chunk whole.
    pub(crate) fn write(&self, direction: Direction, packets: &[Packet]) {
        fs::write(self.part.spool_path(direction), spool(self.meta(direction), packets, 0)).unwrap();
    }

    pub(crate) fn finish(&self) -> Finished {
        finish(&self.part, &self.recordings_dir).unwrap()
    }

    /// The bytes of a µ-law recording's channel.
    pub(crate) fn channel(&self, direction: Direction) -> Vec<u8> {
        channel(&self.finish(), direction)
    }
}

/// The bytes of a µ-law recording's channel.
pub(crate) fn channel(finished: &Finished, direction: Direction) -> Vec<u8> {
    let file = fs::File::open(&finished.wav).unwrap();
    let frames = WavReader::new(file).unwrap().into_bytes().unwrap();
    frames.into_iter().skip(direction.index()).step_by(2).collect()
}

/// The bytes of a spool file.
pub(crate) fn spool(meta: FlowMeta, packets: &[Packet], dropped_by_us: u64) -> Vec<u8> {
    let mut page = Header { meta, chunk_bytes: CHUNK_BYTES }.encode().unwrap();
    LiveCounters { dropped_by_us, ..LiveCounters::default() }.encode_into(&mut page);
    let mut file = page.to_vec();
    let (mut at, mut end) = (HEADER_BYTES, HEADER_BYTES);
    for packet in packets {
        let rtp = packet.to_rtp();
        if at + encoded_bytes(rtp.len()) > end {
            at = end;
            end += CHUNK_BYTES as usize;
            file.resize(end, 0);
        }
        let arrival = Timestamp::from_micros(OPENED.as_micros() + packet.at_us);
        at += encode_into(&mut file[at..end], &Record { arrival, kernel_drops: 0, packet: &rtp }).unwrap();
    }
    file
}

pub(crate) fn after_opening(ms: i64) -> Timestamp {
    Timestamp::from_micros(OPENED.as_micros() + ms * 1_000)
}

/// Every file below a directory, with its bytes, in order.
pub(crate) fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}
