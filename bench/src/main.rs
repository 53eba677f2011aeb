//! `bench`: measures what the product promises, on this machine, beside what it is measured against.
//!
//! A benchmark measures, it does not test: the exit code says whether it could be run, the figures say the rest.
//! What the figures mean, and the last full run, is in `docs/benchmarks.md`.

mod capture;
mod chart;
mod generator;
mod receiver;
mod report;
mod thread_time;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::report::Report;

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
    /// The receiving side of `capture`, in a process of its own.
    #[command(hide = true)]
    Receiver(receiver::Role),
}

const ALL: [Bench; 1] = [Bench::Capture];

impl Bench {
    const fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Receiver(_) => "receiver",
        }
    }

    fn run(self) -> Result<Report> {
        match self {
            Self::Capture => capture::run(),
            Self::Receiver(role) => receiver::run(role).map(|()| Report::default()),
        }
    }
}

fn main() -> Result<()> {
    let Cli { bench, output } = Cli::parse();
    if let Some(Bench::Receiver(role)) = bench {
        return receiver::run(role);
    }
    let chosen = bench.map_or(ALL.to_vec(), |one| vec![one]);
    let mut all = serde_json::Map::new();
    for bench in chosen {
        let report = bench.run()?;
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
