//! `attach`: from a call's Newchannel to the first packet of both its directions, through the whole program, beside a real
//! Asterisk 22 with real SIP calls.
//!
//! The time begins when the gateway has read Newchannel and ends with the kernel's stamp of the first packet of the later
//! direction, both on the gateway's own clock, as its session and its certificate tell them.

use std::time::Duration;

use aimg_core::{CallEvent, CallEventKind, SessionRow, TapMode, Timestamp};
use aimg_recording::Certificate;
use aimg_testbed::{Asterisk, Callee, Caller, Context, Options, Version};
use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::installation::Installation;
use crate::report::{Report, rounded};

const P99_AIM_MS: f64 = 40.0;

/// How calls come.
#[derive(Clone, Copy)]
struct Load {
    words: &'static str,
    calls: u16,
    calls_per_second: u16,
    talk: Duration,
}

/// Each is over before the next begins.
const ALONE: Load =
    Load { words: "one after the other", calls: 200, calls_per_second: 4, talk: Duration::from_millis(150) };
/// Ten at any time.
const STREAM: Load = Load { words: "5 a second", calls: 100, calls_per_second: 5, talk: Duration::from_secs(2) };

/// What `aimg session show --json` prints, as far as it matters here.
#[derive(Deserialize)]
struct Detail {
    session: SessionRow,
    events: Vec<CallEvent>,
    recordings: Vec<Recording>,
}

#[derive(Deserialize)]
struct Recording {
    certificate: Certificate,
}

/// Milliseconds from a call's Newchannel.
struct Attached {
    /// To our requests.
    requested_ms: f64,
    /// To the first packet of both directions; infinite when the call was over before.
    flowing_ms: f64,
    /// What may be missing behind the answer; nothing when no packet came.
    head_gap_ms: Option<u64>,
}

/// Measures.
pub(crate) fn run() -> Result<Report> {
    let mut report = Report::default();
    for (tap, context) in [(TapMode::Ami, Context::TapAmi), (TapMode::Hook, Context::TapHook)] {
        let mut figures = Value::Null;
        for load in [ALONE, STREAM] {
            let calls = measure(tap, context, load)?;
            let requested = percentiles(calls.iter().map(|c| c.requested_ms));
            let flowing = percentiles(calls.iter().map(|c| c.flowing_ms));
            let head_gap_ms_max = calls.iter().filter_map(|c| c.head_gap_ms).max().unwrap_or(0);
            let missed = calls.iter().filter(|c| c.flowing_ms.is_infinite()).count();
            report.say(format!(
                "by {}, {} calls {}: p50 {:.1} ms, p99 {:.1} ms (asked of Asterisk at {:.1} and {:.1} ms); head gap at \
                 most {head_gap_ms_max} ms; {missed} were over before",
                tap.name(),
                load.calls,
                load.words,
                flowing.p50_ms,
                flowing.p99_ms,
                requested.p50_ms,
                requested.p99_ms
            ));
            let of_load = json!({
                "p50_ms": rounded(flowing.p50_ms),
                "p99_ms": rounded(flowing.p99_ms),
                "head_gap_ms_max": head_gap_ms_max,
                "calls_missed": missed,
                "requested_p50_ms": rounded(requested.p50_ms),
                "requested_p99_ms": rounded(requested.p99_ms),
            });
            if figures.is_null() {
                figures = of_load;
                report.aim(format!("{}: p99 at most {P99_AIM_MS} ms", tap.name()), flowing.p99_ms <= P99_AIM_MS);
                if tap == TapMode::Hook {
                    report.aim("hook: nothing of the head is missing", head_gap_ms_max == 0 && missed == 0);
                }
            } else {
                figures["stream"] = of_load;
            }
        }
        report.figure(tap.name(), figures);
    }
    Ok(report)
}

struct Percentiles {
    p50_ms: f64,
    p99_ms: f64,
}

/// The nearest of those that were measured.
fn percentiles(values_ms: impl Iterator<Item = f64>) -> Percentiles {
    let mut sorted: Vec<f64> = values_ms.collect();
    sorted.sort_by(f64::total_cmp);
    let nearest = |share: f64| sorted[(share * sorted.len() as f64).ceil() as usize - 1];
    Percentiles { p50_ms: nearest(0.5), p99_ms: nearest(0.99) }
}

/// One or more calls.
fn measure(tap: TapMode, context: Context, load: Load) -> Result<Vec<Attached>> {
    let asterisk = Asterisk::start(Version::V22, &Options::default())?;
    let installation = Installation::beside(asterisk.access(), tap)?;
    let gateway = installation.serve()?;
    let mut callee = Callee::new().calls(load.calls).start()?;
    let caller = Caller::new(asterisk.access().sip_port, context, callee.port()).calls(load.calls);
    let mut caller = caller.calls_per_second(load.calls_per_second).talks_for(load.talk).start()?;
    let longest = load.talk + Duration::from_secs(u64::from(load.calls / load.calls_per_second) + 30);
    caller.wait(longest)?.require_success()?;
    callee.wait(longest)?.require_success()?;
    let sessions = installation.recorded(usize::from(load.calls))?;
    let attached =
        sessions.iter().map(|id| attached(&installation.json(&["session", "show", id, "--json"])?)).collect();
    gateway.terminate()?;
    asterisk.stop()?;
    attached
}

fn attached(detail: &Detail) -> Result<Attached> {
    let Detail { session, events, recordings } = detail;
    let [Recording { certificate }] = &recordings[..] else {
        anyhow::bail!("call {} has {} recordings", session.id, recordings.len())
    };
    let flowing_at = certificate.caller.first_packet_at.zip(certificate.callee.first_packet_at).map(|(a, b)| a.max(b));
    let requested = events.iter().find(|e| matches!(e.kind, CallEventKind::TapRequested { .. }));
    let requested_at = requested.with_context(|| format!("call {} was not tapped", session.id))?.at;
    let since_ms = |at: Timestamp| at.micros_since(session.started_at) as f64 / 1e3;
    let flowing_ms = flowing_at.map_or(f64::INFINITY, since_ms);
    ensure!(flowing_ms > 0.0, "call {} flowed before it began", session.id);
    Ok(Attached { requested_ms: since_ms(requested_at), flowing_ms, head_gap_ms: certificate.head_gap_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let of = |values: &[f64]| {
            let Percentiles { p50_ms, p99_ms } = percentiles(values.iter().copied());
            (p50_ms, p99_ms)
        };
        assert_eq!(of(&[3.0]), (3.0, 3.0));
        assert_eq!(of(&(1..=200).rev().map(f64::from).collect::<Vec<_>>()), (100.0, 198.0));
    }
}
