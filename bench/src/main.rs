//! `bench`: measures what the product promises, on this machine, beside what it is measured against.
//!
//! A benchmark measures, it does not test: the exit code says whether it could be run, the figures say the rest.
//! What the figures mean, and the last full run, is in `docs/benchmarks.md`.

mod ami;
mod ami_client;
mod ami_server;
mod api;
mod attach;
mod capture;
mod capture_scale;
mod chart;
mod fanout;
mod fanout_clients;
mod generator;
mod installation;
mod memory;
mod receiver;
mod recover;
mod report;
mod speech;
mod subject;
mod thread_time;

use std::alloc::System;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::report::Report;

/// Counts allocations, for `ami`.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Measures what aiMediaGateway promises, on this machine.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Cli {
    #[command(subcommand)]
    bench: Option<Bench>,
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Debug)]
struct Output {
    /// Ends standard output with one JSON object.
    #[arg(long, global = true)]
    json: bool,
    /// Writes the plots, as SVG files, into this directory.
    #[arg(long, global = true, value_name = "DIR")]
    svg: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Subcommand)]
enum Bench {
    /// Packets a CPU-second: a shard beside a bare recvmmsg loop, 1 to 10,000 flows.
    Capture,
    /// Streams at real pace that one shard captures to disk.
    CaptureScale,
    /// How soon a call is captured, by AMI and by hook, beside a real Asterisk.
    Attach,
    /// AMI events a second, beside panoramisk and asterisk-rs-ami.
    Ami,
    /// Lists of calls and single calls over HTTP, a million calls in PostgreSQL.
    Api,
    /// Resident memory of a captured session.
    Memory,
    /// How long 1,000 half-written recordings take to finish.
    Recover,
    /// How soon 1,000 WebSocket clients hear of 1,000 events a second, and what an idle one takes.
    Fanout,
    /// Words that the local recogniser gets wrong, how soon it has a text, streams a core; how soon the voice begins.
    Speech,
    /// The receiving side of `capture`, in a process of its own.
    #[command(hide = true)]
    Receiver(receiver::Role),
    /// A client of `ami`, in a process of its own.
    #[command(hide = true)]
    AmiClient(ami_client::Role),
}

const ALL: [Bench; 9] = [
    Bench::Capture,
    Bench::CaptureScale,
    Bench::Attach,
    Bench::Ami,
    Bench::Api,
    Bench::Memory,
    Bench::Recover,
    Bench::Fanout,
    Bench::Speech,
];

impl Bench {
    const fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::CaptureScale => "capture-scale",
            Self::Attach => "attach",
            Self::Ami => "ami",
            Self::Api => "api",
            Self::Memory => "memory",
            Self::Recover => "recover",
            Self::Fanout => "fanout",
            Self::Speech => "speech",
            Self::Receiver(_) => "receiver",
            Self::AmiClient(_) => "ami-client",
        }
    }

    /// Measures; nothing is to be reported by what only serves another one.
    fn run(self) -> Result<Option<Report>> {
        match self {
            Self::Capture => capture::run().map(Some),
            Self::CaptureScale => capture_scale::run().map(Some),
            Self::Attach => attach::run().map(Some),
            Self::Ami => ami::run().map(Some),
            Self::Api => api::run().map(Some),
            Self::Memory => memory::run().map(Some),
            Self::Recover => recover::run().map(Some),
            Self::Fanout => fanout::run().map(Some),
            Self::Speech => speech::run().map(Some),
            Self::Receiver(role) => receiver::run(role).map(|()| None),
            Self::AmiClient(role) => ami_client::run(role).map(|()| None),
        }
    }
}

fn main() -> Result<()> {
    let Cli { bench, output } = Cli::parse();
    let chosen = bench.map_or(ALL.to_vec(), |one| vec![one]);
    let mut all = serde_json::Map::new();
    for bench in chosen {
        let Some(report) = bench.run()? else { return Ok(()) };
        report.print(bench.name());
        if let Some(dir) = &output.svg {
            report.draw(dir)?;
        }
        all.insert(bench.name().into(), report.figures.into());
    }
    if output.json {
        // Asked for one, the object is that one's.
        let object = bench.and_then(|one| all.remove(one.name())).unwrap_or(all.into());
        println!("{object}");
    }
    Ok(())
}
