//! `capture-scale`: streams at real pace that one shard captures to disk, while the generator shares the machine.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::chart::grouped;
use crate::receiver::Kind;
use crate::report::{Report, rounded};
use crate::subject::Subject;

/// Tried in this order, until one is not held.
const STREAMS: [usize; 3] = [4_000, 8_000, 10_000];
const STREAMS_AIM: usize = 8_000;
const STREAMS_PER_CORE_AIM: f64 = 10_000.0;

/// Longer than a chunk of a spool lasts, so that the keeper has its full load.
const LENGTH: Duration = Duration::from_secs(30);

/// A stream's packets are so far apart; the streams share the slots evenly, as calls do.
const PTIME: Duration = Duration::from_millis(20);
const SLOTS: u32 = 20;

/// How much longer the generator may take before what it does is no real pace.
const LATE_MAX: Duration = Duration::from_millis(500);

const CHUNK_BYTES: u32 = 256 << 10;

struct Held {
    streams: usize,
    cpu_share: f64,
}

/// Measures.
pub(crate) fn run() -> Result<Report> {
    let mut report = Report::default();
    let mut best = Held { streams: 0, cpu_share: 0.0 };
    for streams in STREAMS {
        match try_streams(streams) {
            Ok(held) => {
                report.say(format!(
                    "{:>6} streams for {} s: held, the shard's CPU share {:.2}",
                    grouped(streams as f64),
                    LENGTH.as_secs(),
                    held.cpu_share
                ));
                best = held;
            }
            Err(why) => {
                report.say(format!("{:>6} streams: not held: {why}", grouped(streams as f64)));
                break;
            }
        }
    }
    let per_core = if best.streams == 0 { 0.0 } else { best.streams as f64 / best.cpu_share };
    report.figure("streams", best.streams);
    report.figure("cpu_share", rounded(best.cpu_share));
    report.figure("streams_per_core", rounded(per_core));
    report.say(format!("by its CPU time a core carries {} streams", grouped(rounded(per_core))));
    report.aim("at least 8,000 streams held", best.streams >= STREAMS_AIM);
    report.aim("CPU for at least 10,000 streams a core", per_core >= STREAMS_PER_CORE_AIM);
    Ok(report)
}

/// An error says why the streams were not held.
fn try_streams(streams: usize) -> Result<Held> {
    let mut shard = Subject::start(Kind::Shard, streams, CHUNK_BYTES)?;
    // The flows' first packets are another matter.
    shard.send(streams)?;
    shard.await_all()?;
    let before = shard.used()?;
    let begin = Instant::now();
    let slot = PTIME / SLOTS;
    let slots = (LENGTH.as_micros() / slot.as_micros()) as u32;
    for n in 0..slots {
        std::thread::sleep((slot * n).saturating_sub(begin.elapsed()));
        // The remainder goes into the last slot of each turn.
        let share = streams / SLOTS as usize;
        shard.send(if n % SLOTS == SLOTS - 1 { streams - share * (SLOTS as usize - 1) } else { share })?;
    }
    let took = begin.elapsed();
    shard.await_all()?;
    anyhow::ensure!(took <= LENGTH + LATE_MAX, "the generator took {:.1} s", took.as_secs_f64());
    let cpu_share = (shard.used()? - before).as_secs_f64() / took.as_secs_f64();
    Ok(Held { streams, cpu_share })
}
