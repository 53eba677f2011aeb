//! The modules of Asterisk that captures need, and what drives its clock for audio.

use std::collections::BTreeSet;

use aimg_ari::{Http, request};
use aimg_core::{AriLink, Codec, TapMode};
use aimg_store::Pbx;

use super::finding::{Area, Failure, Finding};

/// What is missing without a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    /// Every capture.
    Always,
    /// Captures by hook.
    ByHook,
    /// An event stream that Asterisk opens.
    ByAccept,
    /// Captures in an encoding.
    Encoded(Codec),
    /// Something of lesser weight.
    Lesser,
}

/// A module, who needs it, and what is missing without it.
type Row = (&'static str, Needed, &'static str);

/// Modules, in the order in which they load, with what is lost without each.
const MODULES: &[Row] = &[
    ("res_rtp_asterisk.so", Needed::Always, "no RTP at all"),
    ("res_rtp_multicast.so", Needed::Always, "chan_rtp does not load"),
    ("chan_rtp.so", Needed::Always, "no external media channels"),
    ("res_stasis.so", Needed::Always, "no Stasis applications"),
    ("res_stasis_snoop.so", Needed::Always, "no snoop channels"),
    ("res_http_websocket.so", Needed::Always, "no events over ARI"),
    ("res_ari_channels.so", Needed::Always, "no requests about channels"),
    ("res_ari_bridges.so", Needed::Always, "no requests about bridges"),
    ("res_ari_events.so", Needed::Always, "no events over ARI"),
    ("res_ari_applications.so", Needed::Lesser, "nobody can tell who has the application"),
    ("app_stasis.so", Needed::ByHook, "no Stasis() in the dialplan"),
    (
        "res_websocket_client.so",
        Needed::ByAccept,
        "Asterisk cannot connect to us; it is of 20.15, 21.10, 22.5 and 23.0",
    ),
    ("bridge_simple.so", Needed::Lesser, "bridges of two are mixed by softmix, at more cost"),
    ("codec_ulaw.so", Needed::Encoded(Codec::Ulaw), "no µ-law"),
    ("codec_alaw.so", Needed::Encoded(Codec::Alaw), "no A-law"),
    ("codec_resample.so", Needed::Encoded(Codec::Slin16), "no audio of another sample rate"),
];

/// Timing modules, the one that Asterisk prefers first.
const TIMERS: [&str; 4] =
    ["res_timing_timerfd.so", "res_timing_kqueue.so", "res_timing_dahdi.so", "res_timing_pthread.so"];

/// Where all of them come from.
const PACKAGE: &str = "package asterisk-modules of Debian and Ubuntu";

/// Looks at all modules.
pub(super) async fn examine(http: &Http, pbx: &Pbx) -> Vec<Finding> {
    match http.call(request::asterisk::modules()).await {
        Ok(modules) => {
            let running = modules.iter().filter(|module| module.is_running());
            let running = running.map(|module| module.name.as_str()).collect();
            judge(&running, pbx.tap_mode, pbx.codec, pbx.ari_link)
        }
        Err(error) => vec![Finding::warning(Area::Modules, format!("the modules could not be seen: {error}"))],
    }
}

fn judge(running: &BTreeSet<&str>, tap: TapMode, codec: Codec, link: AriLink) -> Vec<Finding> {
    let wanted = MODULES.iter().filter(|(_, needed, _)| match needed {
        Needed::ByHook => tap == TapMode::Hook,
        Needed::ByAccept => link == AriLink::Accept,
        Needed::Encoded(encoding) => *encoding == codec,
        Needed::Always | Needed::Lesser => true,
    });
    let (there, absent): (Vec<&Row>, Vec<&Row>) = wanted.partition(|(name, ..)| running.contains(name));
    let there: Vec<&str> = there.into_iter().map(|(name, ..)| *name).collect();
    let mut found = vec![Finding::ok(Area::Modules, format!("running: {}", there.join(", ")))];
    found.extend(absent.into_iter().map(|(name, needed, loss)| missing(name, *needed, loss)));
    found.push(timing(running));
    found
}

fn missing(name: &str, needed: Needed, loss: &str) -> Finding {
    let what = format!("{name} is not running ({PACKAGE}): {loss}");
    let finding = match needed {
        Needed::Lesser => Finding::warning(Area::Modules, what),
        _ => Finding::problem(Area::Modules, Failure::Unavailable, what),
    };
    load(finding, name)
}

fn load(finding: Finding, module: &str) -> Finding {
    finding
        .cured_by("modules.conf, section [modules]", [format!("load = {module}")])
        .then(format!("asterisk -rx 'module load {module}'"))
}

/// Snoop channels get a frame at each tick of a timer: without one they cannot be made.
fn timing(running: &BTreeSet<&str>) -> Finding {
    match TIMERS.iter().find(|name| running.contains(*name)) {
        Some(&name @ "res_timing_pthread.so") => {
            let what = format!("timing source: {name}, which costs a thread that wakes for every timer");
            load(Finding::warning(Area::Timing, what), TIMERS[0])
        }
        Some(name) => Finding::ok(Area::Timing, format!("timing source: {name}")),
        None => {
            let what = "Asterisk has no timing source: snoop channels cannot be made";
            load(Finding::problem(Area::Timing, Failure::Unavailable, what), TIMERS[0])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn what_is_missing_depends_on_what_is_captured() {
        let all: BTreeSet<&str> = MODULES.iter().map(|(name, ..)| *name).chain(TIMERS).collect();
        type Case<'a> = (&'a [&'a str], TapMode, Codec, &'a [(Level, &'a str)]);
        let cases: [Case<'_>; 7] = [
            (&[], TapMode::Hook, Codec::Ulaw, &[]),
            (&["chan_rtp.so"], TapMode::Ami, Codec::Ulaw, &[(Level::Problem, "load = chan_rtp.so")]),
            (&["app_stasis.so"], TapMode::Ami, Codec::Ulaw, &[]),
            (&["app_stasis.so"], TapMode::Hook, Codec::Ulaw, &[(Level::Problem, "load = app_stasis.so")]),
            (
                &["codec_alaw.so", "bridge_simple.so"],
                TapMode::Ami,
                Codec::Ulaw,
                &[(Level::Warning, "bridge_simple.so")],
            ),
            (&["res_websocket_client.so"], TapMode::Ami, Codec::Ulaw, &[]),
            (&TIMERS[..3], TapMode::Ami, Codec::Ulaw, &[(Level::Warning, "load = res_timing_timerfd.so")]),
        ];
        for (without, tap, codec, expected) in cases {
            let running = all.iter().copied().filter(|name| !without.contains(name)).collect();
            let found: Vec<_> =
                judge(&running, tap, codec, AriLink::Connect).into_iter().filter(|f| f.level > Level::Ok).collect();
            let fits = |(finding, (level, line)): (&Finding, &(Level, &str))| {
                finding.level == *level && finding.cure.as_ref().is_some_and(|cure| cure.lines[0].contains(line))
            };
            assert!(found.len() == expected.len() && found.iter().zip(expected).all(fits), "{without:?}: {found:#?}");
        }
        let running = all.iter().copied().filter(|name| *name != "res_websocket_client.so").collect();
        let accepting = judge(&running, TapMode::Ami, Codec::Ulaw, AriLink::Accept);
        assert!(
            accepting.iter().any(|f| f.level == Level::Problem && f.what.contains("connect to us")),
            "{accepting:#?}"
        );
        let none = judge(&BTreeSet::new(), TapMode::Ami, Codec::Ulaw, AriLink::Connect);
        assert!(none.last().is_some_and(|f| f.area == Area::Timing && f.level == Level::Problem), "{none:#?}");
    }
}
