//! `recover`: how long it takes to finish what a killed process left.
//!
//! The parts are as a shard leaves them: the manifest without an end, both spools with whole chunks, the last half full.
//! They are finished and removed as the gateway does at its start, one after the other; its rows in the database are
//! not in the time.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use aimg_core::{Codec, Direction, Timestamp};
use aimg_recording::{Manifest, PartDir, finish, unfinished};
use aimg_spool::{FlowMeta, Header, Record, encode_into};
use anyhow::{Context, Result, ensure};

use crate::generator::PACKET_BYTES;
use crate::receiver::session;
use crate::report::{Report, rounded};

const RECORDINGS: usize = 1_000;
const SECONDS_AIM: f64 = 10.0;
const CHUNK_BYTES: u32 = 256 << 10;

/// Packets of a direction: 20 s of a call.
const PACKETS: u32 = 1_000;
const PTIME: Duration = Duration::from_millis(20);
const OPENED_AT: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

/// Measures.
pub(crate) fn run() -> Result<Report> {
    let directory = tempfile::tempdir_in(std::env::current_exe()?.parent().context("no directory")?)?;
    let (spool_dir, recordings_dir) = (directory.path().join("spool"), directory.path().join("recordings"));
    for number in 0..RECORDINGS {
        leave(number, &spool_dir)?;
    }
    fs::create_dir_all(&recordings_dir)?;
    let begin = Instant::now();
    let mut finished = 0;
    for part in unfinished(&spool_dir)? {
        let part = part?;
        let recording = finish(&part, &recordings_dir)?;
        let received = recording.certificate.caller.ledger.received + recording.certificate.callee.ledger.received;
        ensure!(received == 2 * u64::from(PACKETS), "{received} packets in a recording");
        part.discard()?;
        finished += 1;
    }
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(finished == RECORDINGS, "{finished} recordings were found");
    let call_seconds = PTIME.as_secs_f64() * f64::from(PACKETS);
    let mut report = Report::default();
    report.figure("seconds", rounded(seconds));
    report.figure("recordings", RECORDINGS);
    report.figure("call_seconds", rounded(call_seconds));
    report.say(format!("{RECORDINGS} recordings of {call_seconds} s each: {seconds:.1} s"));
    report.aim(format!("at most {SECONDS_AIM} s"), seconds <= SECONDS_AIM);
    Ok(report)
}

/// Leaves the part of session `number`.
fn leave(number: usize, spool_dir: &Path) -> Result<()> {
    let manifest = Manifest {
        tenant: "0198c1de-2222-7000-8000-000000000000".parse()?,
        pbx: "0198c1de-3333-7000-8000-000000000000".parse()?,
        session: session(number)?,
        part: 0,
        node: "bench".parse()?,
        channel: None,
        codec: Codec::Ulaw,
        opened_at: OPENED_AT,
        answered_at: Some(OPENED_AT),
        ended_at: None,
        adopted: false,
        moved_at: None,
        begun_by: None,
        ended_by: None,
    };
    let part = manifest.part_dir(spool_dir);
    manifest.store(&part)?;
    Direction::BOTH.into_iter().try_for_each(|direction| leave_spool(&manifest, &part, direction))
}

fn leave_spool(manifest: &Manifest, part: &PartDir, direction: Direction) -> Result<()> {
    let Manifest { tenant, pbx, session, codec, opened_at, .. } = *manifest;
    let meta = FlowMeta { tenant, session, part: 0, direction, codec, opened_at, pbx };
    let mut file = Header { meta, chunk_bytes: CHUNK_BYTES }.encode()?.to_vec();
    let mut chunk = vec![0; CHUNK_BYTES as usize];
    let mut used = 0;
    let mut packet = [0x55; PACKET_BYTES];
    packet[..2].copy_from_slice(&[0x80, 0]);
    for n in 0..PACKETS {
        packet[2..4].copy_from_slice(&(n as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(n * 160).to_be_bytes());
        packet[8..12].copy_from_slice(&7_u32.to_be_bytes());
        let record = Record { arrival: opened_at + PTIME * n, kernel_drops: 0, packet: &packet };
        used += encode_into(&mut chunk[used..], &record).context("the chunk is full")?;
    }
    file.extend_from_slice(&chunk);
    Ok(fs::write(part.spool_path(direction), file)?)
}
