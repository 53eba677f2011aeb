//! `capture`: what a packet costs a shard, beside what it costs to receive it at all.
//!
//! The receiver is stopped (SIGSTOP), a burst is put into its socket, and it goes on: so both kinds find full batches,
//! as a shard at its limit does, nothing is dropped, and the generator does not compete with what is measured. The two
//! kinds take turns; of several rounds the fastest counts, because whatever disturbs makes it slower.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::chart::{Chart, Line, grouped};
use crate::generator::Generator;
use crate::receiver::{Kind, Received};
use crate::report::{Report, rounded};
use crate::thread_time::Thread;

const FLOWS: [usize; 5] = [1, 10, 100, 1_000, 10_000];

/// The flows for which the aim is set.
const FLOWS_OF_AIM: usize = 1_000;
const RATIO_AIM: f64 = 0.65;

/// Packets in a burst: less than either receive buffer holds, and what 4,000 flows send in 20 ms.
const BURST_PACKETS: usize = 4_000;

/// Bursts of a round.
const BURSTS: usize = 60;
const ROUNDS: usize = 5;

/// How long a burst may take.
const PATIENCE: Duration = Duration::from_secs(20);

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
    let mut bare = Receiver::start(Kind::Bare, flows)?;
    let mut shard = Receiver::start(Kind::Shard, flows)?;
    let mut best = Speeds { bare_pps: 0.0, shard_pps: 0.0 };
    for _ in 0..ROUNDS {
        best.bare_pps = best.bare_pps.max(bare.round()?);
        best.shard_pps = best.shard_pps.max(shard.round()?);
    }
    Ok(best)
}

/// A receiving process, and what sends to it.
struct Receiver {
    process: Child,
    thread: Thread,
    told: BufReader<ChildStdout>,
    generator: Generator,
    address: SocketAddrV4,
    sent: u64,
}

impl Receiver {
    fn start(kind: Kind, flows: usize) -> Result<Self> {
        let generator = Generator::new(flows)?;
        let kind_name = if kind == Kind::Bare { "bare" } else { "shard" };
        let mut process = Command::new(std::env::current_exe()?)
            .args(["receiver", "--kind", kind_name])
            .args(["--flows", &flows.to_string()])
            .args(["--source-port", &generator.port().to_string()])
            .args(["--chunk-bytes", &chunk_bytes(flows).to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut told = BufReader::new(process.stdout.take().context("no standard output")?);
        let mut line = String::new();
        told.read_line(&mut line)?;
        let port = line.trim_end().parse().context("the receiver could not start")?;
        let thread = Thread::named(process.id(), kind.thread())?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        Ok(Self { process, thread, told, generator, address, sent: 0 })
    }

    /// Packets a CPU-second over one round.
    fn round(&mut self) -> Result<f64> {
        // The first burst finds cold caches and, in a new spool, the flows' first packets.
        self.burst()?;
        let mut used = Duration::ZERO;
        for _ in 0..BURSTS {
            used += self.burst()?;
        }
        Ok((BURSTS * BURST_PACKETS) as f64 / used.as_secs_f64())
    }

    /// The CPU time that one burst takes.
    fn burst(&mut self) -> Result<Duration> {
        self.signal(Signal::SIGSTOP)?;
        let sent = self.generator.send(self.address, BURST_PACKETS);
        let before = self.thread.used();
        self.signal(Signal::SIGCONT)?;
        sent?;
        self.sent += BURST_PACKETS as u64;
        self.await_all()?;
        Ok(self.thread.used()? - before?)
    }

    fn await_all(&mut self) -> Result<()> {
        let begin = Instant::now();
        loop {
            let received = self.received()?;
            ensure!(received.not_kept == 0, "{} packets are not in a spool", received.not_kept);
            ensure!(received.kernel_dropped == 0, "the kernel dropped {} packets", received.kernel_dropped);
            if received.packets == self.sent {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                bail!("{} of {} packets came", received.packets, self.sent);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn received(&mut self) -> Result<Received> {
        self.process.stdin.as_mut().context("no standard input")?.write_all(b"\n")?;
        let mut line = String::new();
        self.told.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.process.id())?), signal)?)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It ends, and removes its spools, when its standard input does, which is closed by waiting. Should that fail,
        // there is nothing left to do.
        let _ = self.signal(Signal::SIGCONT);
        let _ = self.process.wait();
    }
}

/// A burst must not outrun the keeper: with few flows, each takes as much of it as thousands of them take of seconds of
/// real traffic.
const fn chunk_bytes(flows: usize) -> u32 {
    if flows < 100 { 16 << 20 } else { 256 << 10 }
}
