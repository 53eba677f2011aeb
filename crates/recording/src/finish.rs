//! Turns the spools of a part into its recording and its certificate.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use aimg_audio::wav::{Format, WavWriter};
use aimg_core::{CaptureOrder, Codec, Direction, PbxId, Timestamp, Uniqueid};
use sha2::{Digest, Sha256};

use crate::atomic_file::AtomicFile;
use crate::certificate::{CERTIFICATE_VERSION, Certificate, FlowCertificate, head_gap_ms};
use crate::replay::{Replayed, Spool, keep_damaged};
use crate::timeline::Extent;
use crate::track::{Track, encoding_of, silence_byte};
use crate::{Error, Manifest, PartDir, RecordingPath};

/// A recording that is finished: both files are on the disk.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The recording.
    pub wav: PathBuf,
    /// The certificate beside it.
    pub certificate_path: PathBuf,
    /// What is in it.
    pub certificate: Certificate,
    /// Length of the recording's file.
    pub bytes: u64,
}

/// Makes the recording and the certificate of a part whose spools nobody writes any more.
///
/// The spools stay, except those whose header is unreadable, which move to the damaged ones. Doing it again gives the
/// same files. Only the index of the packets is in memory, 32 bytes each, never the audio.
///
/// What is damaged or missing becomes silence and a reason in the certificate. Errors are: a spool of a newer gateway
/// ([`Error::NewerSpool`]), a part in which nothing at all can be read ([`Error::NothingReadable`]), and whatever the
/// disk refuses.
pub fn finish(part: &PartDir, recordings_dir: &Path) -> Result<Finished, Error> {
    let spools = [Spool::open(part, Direction::Caller)?, Spool::open(part, Direction::Callee)?];
    let call = Call::known(part, &spools)?;
    let mut reasons = call.reasons.clone();

    let mut flows = [None, None];
    let mut damaged = Vec::new();
    let mut corrupt_bytes = [0; 2];
    for (direction, spool) in Direction::BOTH.into_iter().zip(spools) {
        match spool.in_codec(call.codec)? {
            Spool::Readable(readable) => flows[direction.index()] = Some(readable.replay()?),
            Spool::Nothing { reason } => reasons.push(reason),
            Spool::Damaged { reason, bytes } => {
                corrupt_bytes[direction.index()] = bytes;
                reasons.push(reason.clone());
                damaged.push((direction, reason));
            }
        }
    }

    let stereo = Stereo::align(&flows, call.codec);
    let path = RecordingPath::new(part.tenant(), part.session(), part.part(), call.opened_at);
    let wav = recordings_dir.join(path.wav());
    let (sha256, bytes) = stereo.write(&wav, recordings_dir)?;

    let certificates: [FlowCertificate; 2] = [0, 1].map(|i| match &flows[i] {
        Some(flow) => flow_certificate(flow, stereo.extents[i], call.codec),
        None => FlowCertificate { corrupt_bytes: corrupt_bytes[i], ..FlowCertificate::default() },
    });
    let duration_ms = stereo.samples() * 1_000 / u64::from(call.codec.sample_rate_hz());
    let certificate = certify(part, call, path.wav(), sha256, duration_ms, certificates, reasons);
    let certificate_path = recordings_dir.join(path.certificate());
    store_certificate(&certificate, &certificate_path, recordings_dir)?;

    // Last, since the certificate is made from where they are or where they were moved to, but is to be there first.
    for (direction, reason) in damaged {
        keep_damaged(part, direction, &reason)?;
    }
    Ok(Finished { wav, certificate_path, certificate, bytes })
}

/// What is known of the call beside its packets.
struct Call {
    pbx: PbxId,
    channel: Option<Uniqueid>,
    codec: Codec,
    opened_at: Timestamp,
    answered_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    adopted: bool,
    moved_at: Option<Timestamp>,
    begun_by: Option<CaptureOrder>,
    ended_by: Option<CaptureOrder>,
    reasons: Vec<String>,
}

impl Call {
    /// From the manifest, or else from the header of a spool.
    fn known(part: &PartDir, spools: &[Spool; 2]) -> Result<Self, Error> {
        const ADOPTED: &str =
            "the capture began in the middle of the call; what came before is in the part before, if anywhere";
        const STOPPED: &str = "the capture ended before the call did; everything received before is here";
        let problem = match Manifest::load(part) {
            Ok(Some(m)) => {
                let mut reasons = Vec::new();
                if m.ended_at.is_none() {
                    reasons.push(STOPPED.to_owned());
                }
                if m.adopted {
                    reasons.push(ADOPTED.to_owned());
                }
                return Ok(Self {
                    pbx: m.pbx,
                    channel: m.channel,
                    codec: m.codec,
                    opened_at: m.opened_at,
                    answered_at: m.answered_at,
                    ended_at: m.ended_at,
                    adopted: m.adopted,
                    moved_at: m.moved_at,
                    begun_by: m.begun_by,
                    ended_by: m.ended_by,
                    reasons,
                });
            }
            Ok(None) => "the call's manifest does not exist".to_owned(),
            Err(Error::Manifest { source, .. }) => format!("the call's manifest cannot be read ({source})"),
            Err(other) => return Err(other),
        };
        let Some(meta) = spools.iter().find_map(Spool::meta) else {
            return Err(Error::NothingReadable { path: part.path() });
        };
        Ok(Self {
            pbx: meta.pbx,
            channel: None,
            codec: meta.codec,
            opened_at: meta.opened_at,
            answered_at: None,
            ended_at: None,
            adopted: false,
            moved_at: None,
            begun_by: None,
            ended_by: None,
            reasons: vec![format!("{problem}: when the call was answered and when it ended is unknown")],
        })
    }
}

/// Both directions on one axis.
struct Stereo<'a> {
    flows: &'a [Option<Replayed>; 2],
    codec: Codec,
    origin: Timestamp,
    extents: [Extent; 2],
}

impl<'a> Stereo<'a> {
    /// The axis begins with the first sample of either direction.
    fn align(flows: &'a [Option<Replayed>; 2], codec: Codec) -> Self {
        let begins = flows.iter().flatten().filter_map(|flow| flow.sequence.begins_at());
        let origin = begins.min().unwrap_or_default();
        let extent =
            |flow: &Option<Replayed>| flow.as_ref().map_or_else(Extent::default, |f| f.sequence.extent(origin));
        Self { flows, codec, origin, extents: flows.each_ref().map(extent) }
    }

    /// Length of the recording in samples.
    fn samples(&self) -> u64 {
        self.extents[0].samples.max(self.extents[1].samples)
    }

    /// Writes the recording; its SHA-256 in hexadecimal, and its length in bytes.
    fn write(&self, path: &Path, root: &Path) -> Result<(String, u64), Error> {
        let file = AtomicFile::create(path)?;
        let wav_error = |source| Error::Wav { path: path.to_owned(), source };
        let format = Format::stereo(encoding_of(self.codec), self.codec.sample_rate_hz());
        let mut wav = WavWriter::new(BufWriter::new(file.file()), format).map_err(wav_error)?;
        let mut tracks = self.flows.each_ref().map(|f| f.as_ref().map(|f| Track::new(f, self.codec, self.origin)));
        let sample_bytes = usize::from(format.encoding().sample_bytes());
        // A second at a time.
        let block_samples = u64::from(self.codec.sample_rate_hz());
        let mut frames = Vec::new();
        let mut left = self.samples();
        while left > 0 {
            let samples = left.min(block_samples);
            left -= samples;
            let bytes = samples as usize * sample_bytes;
            let [caller, callee] = &mut tracks;
            let (caller, callee) = (self.side(caller, bytes)?, self.side(callee, bytes)?);
            frames.clear();
            for (caller, callee) in caller.chunks_exact(sample_bytes).zip(callee.chunks_exact(sample_bytes)) {
                frames.extend_from_slice(caller);
                frames.extend_from_slice(callee);
            }
            wav.write(&frames).map_err(wav_error)?;
        }
        drop(wav.finish().map_err(wav_error)?);
        let digest = digest(file.file()).map_err(Error::io("read", path))?;
        file.commit(root)?;
        Ok(digest)
    }

    /// The next `bytes` bytes of a side; silence for one without packets.
    fn side(&self, track: &mut Option<Track<'_>>, bytes: usize) -> Result<Vec<u8>, Error> {
        let mut block = vec![silence_byte(self.codec); bytes];
        if let Some(track) = track {
            track.fill(&mut block)?;
        }
        Ok(block)
    }
}

/// SHA-256 of a whole file in hexadecimal, and its length in bytes.
fn digest(mut file: &File) -> io::Result<(String, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 64 * 1024];
    let mut length = 0;
    loop {
        let bytes = file.read(&mut block)?;
        if bytes == 0 {
            break;
        }
        hash.update(&block[..bytes]);
        length += bytes as u64;
    }
    Ok((hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(), length))
}

fn flow_certificate(flow: &Replayed, extent: Extent, codec: Codec) -> FlowCertificate {
    FlowCertificate {
        ledger: flow.ledger,
        stream: flow.stream,
        first_packet_at: flow.first_packet_at,
        last_packet_at: flow.last_packet_at,
        pauses: extent.pauses.count,
        pauses_ms: extent.pauses.samples * 1_000 / u64::from(codec.sample_rate_hz()),
        corrupt_bytes: flow.corrupt_bytes,
    }
}

fn certify(
    part: &PartDir,
    call: Call,
    recording: String,
    sha256: String,
    duration_ms: u64,
    [caller, callee]: [FlowCertificate; 2],
    mut reasons: Vec<String>,
) -> Certificate {
    reasons.extend(caller.reasons(Direction::Caller));
    reasons.extend(callee.reasons(Direction::Callee));
    // Before a recording that was asked for there was nothing to record.
    let heard_from = |at: &Timestamp| call.begun_by.is_none() || *at > call.opened_at;
    let head_gap_ms = head_gap_ms(call.answered_at.max(call.moved_at).filter(heard_from), [&caller, &callee]);
    if let Some(ms) = head_gap_ms.filter(|ms| *ms > 0) {
        reasons.push(match call.moved_at > call.answered_at {
            true => format!("up to {ms} ms after the call changed hands are not in this part"),
            false => format!("up to {ms} ms after the answer were not captured"),
        });
    }
    Certificate {
        version: CERTIFICATE_VERSION,
        tenant: part.tenant(),
        pbx: call.pbx,
        session: part.session(),
        part: part.part(),
        channel: call.channel,
        codec: call.codec,
        recording,
        sha256,
        duration_ms,
        opened_at: call.opened_at,
        answered_at: call.answered_at,
        ended_at: call.ended_at,
        adopted: call.adopted,
        moved_at: call.moved_at,
        begun_by: call.begun_by,
        ended_by: call.ended_by,
        caller,
        callee,
        head_gap_ms,
        complete: reasons.is_empty(),
        reasons,
    }
}

fn store_certificate(certificate: &Certificate, path: &Path, root: &Path) -> Result<(), Error> {
    let mut json = serde_json::to_vec_pretty(certificate).map_err(io::Error::from).map_err(Error::io("write", path))?;
    json.push(b'\n');
    let file = AtomicFile::create(path)?;
    file.file().write_all(&json).map_err(Error::io("write", path))?;
    file.commit(root)
}
