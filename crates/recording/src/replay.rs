//! Reads a spool once, from front to back: the ledger is built again as the shard built it, and every packet that was
//! kept gets its entry in the index.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use aimg_audio::payload;
use aimg_core::{Codec, Direction, Timestamp};
use aimg_rtp::{Arrival, Ledger, LedgerBuilder, Packet, StreamFacts, Verdict};
use aimg_spool::{ChunkReader, FlowMeta, HEADER_BYTES, Header, LiveCounters, Record, SpoolError, encoded_bytes};

use crate::timeline::{Arrived, Sequence};
use crate::{Error, PartDir};

/// More packets than any call has.
const DROPPED_BY_US_MAX: u64 = 1 << 32;

/// A spool file whose header has been looked at.
#[derive(Debug)]
pub(crate) enum Spool {
    /// Its records can be read.
    Readable(Readable),
    /// The file holds nothing, or does not exist.
    Nothing {
        /// Why, as a sentence for the certificate.
        reason: String,
    },
    /// Nobody can tell what is in it.
    Damaged {
        /// Why, as a sentence for the certificate.
        reason: String,
        /// Its length.
        bytes: u64,
    },
}

/// A spool whose records can be read.
#[derive(Debug)]
pub(crate) struct Readable {
    file: File,
    path: PathBuf,
    header: Header,
    counters: LiveCounters,
}

impl Spool {
    /// Looks at the spool of a direction, where it is or where an earlier attempt moved it because it is damaged.
    pub(crate) fn open(part: &PartDir, direction: Direction) -> Result<Self, Error> {
        let nothing = |why: &str| Ok(Self::Nothing { reason: format!("the spool of the {direction}'s audio {why}") });
        let Some((file, path)) = open_first([part.spool_path(direction), part.damaged_path(direction)])? else {
            return nothing("does not exist");
        };
        let mut page = Vec::with_capacity(HEADER_BYTES);
        (&file).take(HEADER_BYTES as u64).read_to_end(&mut page).map_err(Error::io("read", &path))?;
        let header = match Header::decode(&page) {
            Ok(header) => header,
            Err(source @ SpoolError::Newer { .. }) => return Err(Error::NewerSpool { path, source }),
            Err(SpoolError::Short { .. }) => return nothing("is empty"),
            Err(error) => return Self::damaged(&file, &path, direction, &error.to_string()),
        };
        let FlowMeta { tenant, session, part: part_number, direction: meant_for, .. } = header.meta;
        if (tenant, session, part_number, meant_for) != (part.tenant(), part.session(), part.part(), direction) {
            return Self::damaged(&file, &path, direction, "its header names another flow than its place");
        }
        let counters = LiveCounters::decode(&page);
        Ok(Self::Readable(Readable { file, path, header, counters }))
    }

    /// A spool in another codec than its part is not what the gateway wrote there.
    pub(crate) fn in_codec(self, codec: Codec) -> Result<Self, Error> {
        match self {
            Self::Readable(spool) if spool.header.meta.codec != codec => {
                let what = format!("its header says {}, and the call is in {codec}", spool.header.meta.codec);
                Self::damaged(&spool.file, &spool.path, spool.header.meta.direction, &what)
            }
            other => Ok(other),
        }
    }

    fn damaged(file: &File, path: &Path, direction: Direction, what: &str) -> Result<Self, Error> {
        let bytes = file.metadata().map_err(Error::io("read", path))?.len();
        let reason = format!("the spool of the {direction}'s audio is kept unread in the damaged spools: {what}");
        Ok(Self::Damaged { reason, bytes })
    }

    /// What the header says of the flow, if it can be read.
    pub(crate) fn meta(&self) -> Option<&FlowMeta> {
        match self {
            Self::Readable(spool) => Some(&spool.header.meta),
            Self::Nothing { .. } | Self::Damaged { .. } => None,
        }
    }
}

/// Opens the first of these files that exists.
fn open_first(paths: [PathBuf; 2]) -> Result<Option<(File, PathBuf)>, Error> {
    for path in paths {
        match File::open(&path) {
            Ok(file) => return Ok(Some((file, path))),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("read", &path)(e)),
        }
    }
    Ok(None)
}

/// Moves the spool of a direction to the damaged ones, with a note of what is wrong with it. Done before, it is done.
pub(crate) fn keep_damaged(part: &PartDir, direction: Direction, reason: &str) -> Result<(), Error> {
    let (from, to) = (part.spool_path(direction), part.damaged_path(direction));
    if let Some(dir) = to.parent() {
        crate::atomic_file::create_dir(dir).map_err(Error::io("create the directory", dir))?;
    }
    let mut note = to.as_os_str().to_owned();
    note.push(".txt");
    fs::write(&note, reason).map_err(Error::io("write", Path::new(&note)))?;
    match fs::rename(&from, &to) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("move", &from)(e)),
        _ => Ok(()),
    }
}

/// What a flow comes to.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// The spool, for the packets themselves.
    pub(crate) file: File,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The packets that were kept.
    pub(crate) sequence: Sequence,
    /// Their ledger.
    pub(crate) ledger: Ledger,
    /// And the rest of what is known.
    pub(crate) stream: StreamFacts,
    /// When the first packet was received.
    pub(crate) first_packet_at: Option<Timestamp>,
    /// When the last packet was received.
    pub(crate) last_packet_at: Option<Timestamp>,
    /// Bytes of the spool that are damaged.
    pub(crate) corrupt_bytes: u64,
}

impl Readable {
    /// Reads all records.
    pub(crate) fn replay(self) -> Result<Replayed, Error> {
        let codec = self.header.meta.codec;
        let mut index = Index::new(codec);
        let mut chunk = vec![0; self.header.chunk_bytes as usize];
        let mut chunk_at = HEADER_BYTES as u64;
        let mut corrupt_bytes = 0;
        loop {
            let bytes = read_at(&self.file, &mut chunk, chunk_at).map_err(Error::io("read", &self.path))?;
            let mut records = ChunkReader::new(&chunk[..bytes]);
            while let Some(record) = records.next() {
                let record_at = records.records_end() - encoded_bytes(record.packet.len());
                let packet_at = chunk_at + (record_at + aimg_spool::RECORD_HEADER_BYTES) as u64;
                if !index.take(&record, packet_at) {
                    corrupt_bytes += encoded_bytes(record.packet.len()) as u64;
                }
            }
            corrupt_bytes += records.damage().corrupt_bytes;
            chunk_at += bytes as u64;
            if bytes < chunk.len() {
                break;
            }
        }
        // The counter is under no checksum; damaged, it must not overflow the sums it goes into.
        index.ledger.note_dropped_by_us(self.counters.dropped_by_us.min(DROPPED_BY_US_MAX));
        Ok(Replayed {
            file: self.file,
            path: self.path,
            sequence: Sequence::new(index.packets, codec.sample_rate_hz()),
            ledger: index.ledger.ledger(),
            stream: index.ledger.facts(),
            first_packet_at: index.first_packet_at,
            last_packet_at: index.last_packet_at,
            corrupt_bytes,
        })
    }
}

/// Collects the packets that were kept.
struct Index {
    codec: Codec,
    ledger: LedgerBuilder,
    packets: Vec<Arrived>,
    /// A packet far from the others, which the next one may show to be the first of a new count.
    stray: Option<Arrived>,
    first_packet_at: Option<Timestamp>,
    last_packet_at: Option<Timestamp>,
}

impl Index {
    fn new(codec: Codec) -> Self {
        Self {
            codec,
            ledger: LedgerBuilder::new(codec.sample_rate_hz()),
            packets: Vec::new(),
            stray: None,
            first_packet_at: None,
            last_packet_at: None,
        }
    }

    /// Books a record; false when it holds no RTP packet.
    fn take(&mut self, record: &Record<'_>, packet_at: u64) -> bool {
        let Ok(packet) = Packet::parse(record.packet) else {
            return false;
        };
        self.first_packet_at.get_or_insert(record.arrival);
        self.last_packet_at = Some(record.arrival);
        let outcome = self.ledger.observe(Arrival::of(&packet, record.arrival, record.kernel_drops));
        let arrived = Arrived {
            extended: outcome.extended,
            at: record.arrival,
            packet_at,
            packet_bytes: record.packet.len() as u32,
            samples: payload::samples(self.codec, packet.payload.len()) as u32,
        };
        let stray = self.stray.take();
        match outcome.verdict {
            Verdict::Duplicate => {}
            Verdict::Stray => self.stray = Some(arrived),
            Verdict::Restart { stray: first } => {
                self.packets.extend(stray.filter(|s| Some(s.extended) == first));
                self.packets.push(arrived);
            }
            Verdict::InOrder | Verdict::Gap { .. } | Verdict::Reordered | Verdict::Late => self.packets.push(arrived),
        }
        true
    }
}

/// Reads from `at` on as much as there is, up to the length of `buffer`.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
