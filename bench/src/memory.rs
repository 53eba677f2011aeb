//! `memory`: what a captured session takes beside its spool.
//!
//! A session is two flows of a media plane with packets in both. Counted is what the process has for itself (RssAnon)
//! and the tables that map its spools (VmPTE); the mapped pages are the spool's, in the page cache.

use std::fs;

use anyhow::{Context, Result};
use serde_json::json;

use crate::chart::grouped;
use crate::receiver::Kind;
use crate::report::{Report, rounded};
use crate::subject::Subject;

const SESSIONS: [usize; 2] = [1_000, 5_000];
const BYTES_AIM: f64 = 32.0 * 1_024.0;
const CHUNK_BYTES: u32 = 256 << 10;

/// Packets of each flow, in rounds that the receive buffer holds.
const PACKETS: usize = 50;

/// Measures.
pub(crate) fn run() -> Result<Report> {
    let mut report = Report::default();
    let alone = resident_bytes(1)?;
    let mut worst: f64 = 0.0;
    let mut by_sessions = Vec::new();
    for sessions in SESSIONS {
        let each = (resident_bytes(sessions)? - alone) / (sessions - 1) as f64;
        let count = grouped(sessions as f64);
        report.say(format!("{count:>6} sessions: {} bytes each beside the spool", grouped(rounded(each))));
        by_sessions.push(json!({ "sessions": sessions, "bytes_per_session": rounded(each) }));
        worst = worst.max(each);
    }
    report.figure("bytes_per_session", rounded(worst));
    report.figure("by_sessions", by_sessions);
    report.aim("at most 32 KiB a session", worst <= BYTES_AIM);
    Ok(report)
}

fn resident_bytes(sessions: usize) -> Result<f64> {
    let mut shard = Subject::start(Kind::Shard, 2 * sessions, CHUNK_BYTES)?;
    for _ in 0..PACKETS {
        shard.send(2 * sessions)?;
        shard.await_all()?;
    }
    let status = fs::read_to_string(format!("/proc/{}/status", shard.pid()))?;
    let kib = |key: &str| -> Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
        Ok(line.split_whitespace().next().context("no number")?.parse()?)
    };
    Ok((kib("RssAnon:")? + kib("VmPTE:")?) * 1_024.0)
}
