//! `capture`: what a packet costs a shard, beside what it costs to receive it at all.
//!
//! The receiver is stopped (SIGSTOP), a burst is put into its socket, and it goes on: so both kinds find full batches,
//! as a shard at its limit does, nothing is dropped, and the generator does not compete with what is measured. The two
//! kinds take turns; of several rounds the fastest counts, because whatever disturbs makes it slower.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::chart::{Chart, Line, grouped};
use crate::receiver::Kind;
use crate::report::{Report, rounded};
use crate::subject::Subject;

const FLOWS: [usize; 5] = [1, 10, 100, 1_000, 10_000];

/// The flows for which the aim is set.
const FLOWS_OF_AIM: usize = 1_000;
const RATIO_AIM: f64 = 0.65;

/// Packets of a round.
const ROUND_PACKETS: usize = 240_000;
const ROUNDS: usize = 5;

/// Packets a CPU-second of both kinds.
#[derive(Clone, Copy, Debug)]
struct Speeds {
    bare_pps: f64,
    shard_pps: f64,
}

impl Speeds {
    fn ratio(self) -> f64 {
        self.shard_pps / self.bare_pps
    }
}

/// Measures.
pub(crate) fn run() -> Result<Report> {
    let mut by_flows = Vec::new();
    for flows in FLOWS {
        by_flows.push((flows, measure(flows)?));
    }
    Ok(report(&by_flows))
}

fn report(by_flows: &[(usize, Speeds)]) -> Report {
    let mut report = Report::default();
    for (flows, speeds) in by_flows {
        report.say(format!(
            "{:>6} flows: shard {:>9} packets a CPU-second, bare loop {:>9}, ratio {:.2}",
            grouped(*flows as f64),
            grouped(rounded(speeds.shard_pps)),
            grouped(rounded(speeds.bare_pps)),
            speeds.ratio()
        ));
        if *flows == FLOWS_OF_AIM {
            report.figure("floor_pps_cpu", rounded(speeds.bare_pps));
            report.figure("capture_pps_cpu", rounded(speeds.shard_pps));
            report.figure("ratio", rounded(speeds.ratio()));
            report.aim(format!("ratio at 1,000 flows at least {RATIO_AIM}"), speeds.ratio() >= RATIO_AIM);
        }
    }
    let entry = |(flows, s): &(usize, Speeds)| {
        json!({
            "flows": flows,
            "floor_pps_cpu": rounded(s.bare_pps),
            "capture_pps_cpu": rounded(s.shard_pps),
            "ratio": rounded(s.ratio()),
        })
    };
    report.figure("by_flows", by_flows.iter().map(entry).collect::<Vec<_>>());
    let line = |name: &str, speed: fn(&Speeds) -> f64| Line {
        name: name.into(),
        points: by_flows.iter().map(|(flows, s)| (*flows as f64, speed(s))).collect(),
    };
    report.charts.push(Chart {
        file: "capture",
        title: "Packets a CPU-second by flows",
        across: "flows",
        up: "packets a CPU-second",
        lines: vec![line("bare recvmmsg loop", |s| s.bare_pps), line("shard: receive, ledger, spool", |s| s.shard_pps)],
    });
    report
}

fn measure(flows: usize) -> Result<Speeds> {
    let mut bare = Subject::start(Kind::Bare, flows, chunk_bytes(flows))?;
    let mut shard = Subject::start(Kind::Shard, flows, chunk_bytes(flows))?;
    let mut best = Speeds { bare_pps: 0.0, shard_pps: 0.0 };
    for _ in 0..ROUNDS {
        best.bare_pps = best.bare_pps.max(round(&mut bare, burst_packets(flows))?);
        best.shard_pps = best.shard_pps.max(round(&mut shard, burst_packets(flows))?);
    }
    Ok(best)
}

/// Packets in a burst: what the flows send in 20 ms, so that a shard has about one tick in a burst, as at real pace. With
/// few flows more, for full batches; always less than the receive buffer holds.
const fn burst_packets(flows: usize) -> usize {
    if flows < 4_000 { 4_000 } else { flows }
}

/// Packets a CPU-second over one round.
fn round(subject: &mut Subject, burst_packets: usize) -> Result<f64> {
    // The first burst finds cold caches and, in a new spool, the flows' first packets.
    burst(subject, burst_packets)?;
    let mut used = Duration::ZERO;
    let bursts = ROUND_PACKETS / burst_packets;
    for _ in 0..bursts {
        used += burst(subject, burst_packets)?;
    }
    Ok((bursts * burst_packets) as f64 / used.as_secs_f64())
}

/// The CPU time that one burst takes.
fn burst(subject: &mut Subject, packets: usize) -> Result<Duration> {
    subject.signal(Signal::SIGSTOP)?;
    let sent = subject.send(packets);
    let before = subject.used();
    subject.signal(Signal::SIGCONT)?;
    sent?;
    subject.await_all()?;
    Ok(subject.used()? - before?)
}

/// A burst must not outrun the keeper: with few flows, each takes as much of it as thousands of them take of seconds of
/// real traffic.
const fn chunk_bytes(flows: usize) -> u32 {
    if flows < 100 { 16 << 20 } else { 256 << 10 }
}
