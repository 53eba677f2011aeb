//! `ami`: events a second and allocations an event, from the socket to a consumer that takes typed events; beside
//! panoramisk and asterisk-rs-ami, which get the same bytes from the same server.
//!
//! A second is one of CPU time of the client's process, so that what else runs on the machine hardly matters. The clients
//! take turns; of several rounds each one's fastest counts.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::ami_client::Cost;
use crate::ami_server::Server;
use crate::chart::grouped;
use crate::report::{Report, rounded};

/// Events of a round: all fit into the clients' queues.
const EVENTS: u64 = 48_000;
const ROUNDS: usize = 5;
const VS_PANORAMISK_AIM: f64 = 20.0;

/// A Python that has panoramisk; `scripts/bench` makes one.
const PYTHON_VARIABLE: &str = "AIMG_BENCH_PYTHON";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rival {
    Ours,
    AsteriskRs,
    Panoramisk,
}

/// Measures.
pub(crate) fn run() -> Result<Report> {
    let python = std::env::var(PYTHON_VARIABLE)
        .with_context(|| format!("set {PYTHON_VARIABLE} to a Python with panoramisk, or use scripts/bench"))?;
    let server = Server::start()?;
    let mut best = [Rival::Ours, Rival::AsteriskRs, Rival::Panoramisk].map(|rival| (rival, Cost::default()));
    for _ in 0..ROUNDS {
        for (rival, best) in &mut best {
            let cost = round(&server, *rival, &python)?;
            if best.events == 0 || speed(&cost) > speed(best) {
                *best = cost;
            }
        }
    }
    Ok(report(best.map(|(_, cost)| cost)))
}

/// Events a CPU-second.
fn speed(cost: &Cost) -> f64 {
    cost.events as f64 / cost.cpu_s
}

fn report([ours, asterisk_rs, panoramisk]: [Cost; 3]) -> Report {
    let mut report = Report::default();
    for (name, cost) in [("aimg-ami", ours), ("asterisk-rs-ami", asterisk_rs), ("panoramisk", panoramisk)] {
        let (fast, wall) = (rounded(speed(&cost)), rounded(cost.events as f64 / cost.wall_s));
        let allocations = cost.allocations as f64 / cost.events as f64;
        let (fast, wall) = (grouped(fast), grouped(wall));
        report.say(format!(
            "{name:>15}: {fast:>9} events a CPU-second, {wall:>9} a second by the clock, {allocations:.1} allocations each"
        ));
    }
    let (vs_asterisk_rs, vs_panoramisk) = (speed(&ours) / speed(&asterisk_rs), speed(&ours) / speed(&panoramisk));
    report.figure("events_per_s", rounded(speed(&ours)));
    report.figure("vs_panoramisk", rounded(vs_panoramisk));
    report.figure("vs_asterisk_rs", rounded(vs_asterisk_rs));
    report.figure("allocations_per_event", rounded(ours.allocations as f64 / ours.events as f64));
    report.figure(
        "asterisk_rs_allocations_per_event",
        rounded(asterisk_rs.allocations as f64 / asterisk_rs.events as f64),
    );
    report.figure("events_per_s_wall", rounded(ours.events as f64 / ours.wall_s));
    report.aim(format!("at least {VS_PANORAMISK_AIM} times panoramisk"), vs_panoramisk >= VS_PANORAMISK_AIM);
    report.aim("ahead of asterisk-rs-ami", vs_asterisk_rs > 1.0);
    report
}

fn round(server: &Server, rival: Rival, python: &str) -> Result<Cost> {
    let (port, events) = (server.port().to_string(), EVENTS.to_string());
    let mut command = match rival {
        Rival::Panoramisk => Command::new(python),
        Rival::Ours | Rival::AsteriskRs => Command::new(std::env::current_exe()?),
    };
    match rival {
        Rival::Panoramisk => command.args(["-c", include_str!("panoramisk_client.py"), &port, &events]),
        Rival::Ours => command.args(["ami-client", "--whose", "ours", "--port", &port, "--events", &events]),
        Rival::AsteriskRs => {
            command.args(["ami-client", "--whose", "asterisk-rs", "--port", &port, "--events", &events])
        }
    };
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut told = BufReader::new(process.stdout.take().context("no standard output")?).lines();
    let ready = told.next().context("the client has ended")??;
    ensure!(ready == "ready", "the client says {ready}");
    server.flood(usize::try_from(EVENTS)?)?;
    let cost: Cost = serde_json::from_str(&told.next().context("the client has ended")??)?;
    process.wait()?;
    ensure!(cost.events == EVENTS, "{rival:?} got {} of {EVENTS} events", cost.events);
    Ok(cost)
}
