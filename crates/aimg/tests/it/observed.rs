//! What an operator sees of a gateway at work: a call in the log and in the metrics, and alarms that come and go.

use std::net::SocketAddr;
use std::time::Duration;

use aimg_core::{Direction, TapMode};
use aimg_testbed::{Context, Version};
use serde_json::Value;

use crate::bench::{Bench, all_went_well, callee};
use crate::operator::{Scrape, readiness};
use crate::waiting::eventually;

const READY: u16 = 200;
const NOT_READY: u16 = 503;

/// Numbers that are nothing else by chance.
const CALLER: &str = "493020180411";
const DIALLED: &str = "498917760319";
const CALLEE: &str = "494069315571";

/// Gives the PBX a number of its own: who calls it is somebody, and so is who is called.
fn add_number(bench: &Bench, callee_port: u16) {
    let app = &bench.asterisk.access().app;
    let steps = [
        format!("Set(CALLERID(num)={CALLER})"),
        format!("Stasis({app},tap)"),
        format!("Dial(PJSIP/callee/sip:{CALLEE}@127.0.0.1:{callee_port})"),
    ];
    for (step, number) in steps.iter().zip(1..) {
        let context = Context::TapHook;
        bench.asterisk.cli(&format!("dialplan add extension {DIALLED},{number},{step} into {context}")).unwrap();
    }
}

/// The lines of a log, each of them an object with time, level, target and fields.
#[track_caller]
fn parsed(log: &str) -> Vec<Value> {
    let parse = |line: &str| {
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];
        assert!(parsed["level"].as_str().is_some_and(|level| levels.contains(&level)), "{line}");
        assert!(parsed["timestamp"].is_string() && parsed["target"].is_string(), "{line}");
        assert!(parsed["fields"]["message"].is_string(), "{line}");
        parsed
    };
    log.lines().map(parse).collect()
}

#[test]
fn a_call_is_followed_in_the_log_and_counted_as_its_certificate_says() {
    let bench = Bench::new(Version::V22, TapMode::Hook);
    let secret = bench.asterisk.access().secret.clone();
    // All that anybody could ever be told.
    let gateway = bench.home.serve_linked_with(&[("AIMG_LOG_FORMAT", "json"), ("AIMG_LOG", "trace")]);
    let mut callee = callee(1);
    add_number(&bench, callee.port());
    let caller = bench.caller(Context::TapHook, &callee).dials(DIALLED).talks_for(Duration::from_secs(1));
    [&mut caller.start().unwrap(), &mut callee].into_iter().for_each(all_went_well);
    let id = bench.home.finished_call().session.id;
    let scrape = eventually("no call is live", || {
        let scrape = Scrape::of(gateway.http());
        if scrape.value("aimg_call_live", &[]) == Some(0.0) { Ok(scrape) } else { Err(format!("{scrape:?}")) }
    });
    let log = gateway.terminate().succeeded().stderr;
    let call = bench.home.session(id);

    assert_eq!(call.session.dialled_number.as_deref(), Some(DIALLED), "the gateway knows what it must not tell");
    let lines = parsed(&log);
    for told in [CALLER, DIALLED, CALLEE, secret.as_str(), "authorization"] {
        let line = log.lines().find(|line| line.to_lowercase().contains(told));
        assert_eq!(line, None, "it tells {told}");
    }
    let id = id.to_string();
    let of_call = lines.iter().map(|line| &line["fields"]).filter(|fields| fields["session.id"] == id.as_str());
    let of_call: Vec<&Value> = of_call.filter(|fields| fields["event"].is_string()).collect();
    let [tenant, pbx] = [call.session.tenant.to_string(), call.session.pbx.to_string()];
    assert!(of_call.iter().all(|f| f["tenant.id"] == tenant.as_str() && f["pbx.id"] == pbx.as_str()), "{of_call:?}");
    let mut logged: Vec<&str> = of_call.iter().filter_map(|fields| fields["event"].as_str()).collect();
    let mut stored: Vec<&str> = call.events.iter().map(|event| event.kind.name()).collect();
    assert!(logged.first() == Some(&"state") && logged.contains(&"recording_ready"), "{logged:?}");
    logged.sort_unstable();
    stored.sort_unstable();
    assert_eq!(logged, stored, "by the session's id one finds all that happened to the call");

    let [recording] = &call.recordings[..] else { panic!("one recording: {:?}", call.recordings) };
    let certificate = &recording.certificate;
    let sample = |name: &str, more: &[(&str, &str)]| {
        let pbx = [("tenant", tenant.as_str()), ("pbx", pbx.as_str()), ("pbx_name", "office")];
        scrape.value(name, &[&pbx, more].concat())
    };
    for direction in Direction::BOTH {
        let ledger = certificate.flow(direction).ledger;
        let direction = direction.to_string();
        let class = [("direction", direction.as_str()), ("codec", "ulaw")];
        assert!(ledger.received > 0, "{ledger:?}");
        for (what, count) in [("expected", ledger.expected), ("received", ledger.received), ("lost", ledger.lost)] {
            let counted = sample("aimg_recording_packets_total", &[&class[..], &[("what", what)]].concat());
            assert_eq!(counted, Some(count as f64), "{what} of the {direction}'s");
        }
    }
    let complete = if recording.complete { ["true", "false"] } else { ["false", "true"] };
    for (complete, count) in complete.into_iter().zip([1.0, 0.0]) {
        assert_eq!(sample("aimg_recording_finished_total", &[("complete", complete)]), Some(count), "{complete}");
    }
    assert_eq!(sample("aimg_recording_bytes_total", &[]), Some(recording.bytes as f64));
    let gap_s = certificate.head_gap_ms.expect("it was answered") as f64 / 1_000.0;
    assert_eq!(sample("aimg_capture_head_gap_seconds_sum", &[]), Some(gap_s));
    for histogram in ["aimg_capture_attach_seconds", "aimg_capture_head_gap_seconds"] {
        assert_eq!(sample(&format!("{histogram}_count"), &[]), Some(1.0), "{histogram}");
        assert_eq!(sample(&format!("{histogram}_bucket"), &[("le", "+Inf")]), Some(1.0), "{histogram}");
    }
    for event in ["detected", "ended", "recording_ready"] {
        assert_eq!(sample("aimg_call_events_total", &[("event", event)]), Some(1.0), "{event}");
    }
}

#[track_caller]
fn becomes_ready(http: SocketAddr) {
    eventually("it is ready, and nothing stands in the way", || match readiness(http) {
        (READY, reasons) if reasons.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn a_pbx_that_is_away_is_an_alarm_until_it_is_back() {
    let mut bench = Bench::new(Version::V22, TapMode::Ami);
    let gateway = bench.home.serve_linked();
    let http = gateway.http();
    let links = gateway.links_made();
    let alarms = || {
        let scrape = Scrape::of(http);
        ["ami_down", "ari_down"].map(|alarm| {
            let labels = [("alarm", alarm), ("severity", "critical"), ("pbx_name", "office")];
            ["aimg_alarm", "aimg_alarm_raised_total"].map(|name| scrape.value(name, &labels))
        })
    };
    becomes_ready(http);
    assert_eq!(alarms(), [[None; 2]; 2], "nothing was ever wrong");

    bench.asterisk.kill();
    eventually("both alarms are up", || match alarms() {
        [[Some(1.0), _], [Some(1.0), _]] => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let (status, reasons) = readiness(http);
    let sides: Vec<_> = reasons.iter().map(|(what, pbx, _)| (what.as_str(), pbx.as_str())).collect();
    assert_eq!((status, sides), (NOT_READY, vec![("ami", "office"), ("ari", "office")]));
    assert!(reasons.iter().all(|(_, _, why)| !why.is_empty()), "{reasons:?}");
    assert!(gateway.log().contains("AMI is down") && gateway.log().contains("ARI is down"));

    bench.asterisk.restart().unwrap();
    gateway.wait_until_linked(links, 1);
    eventually("both alarms are over", || match alarms() {
        [[Some(0.0), Some(ami)], [Some(0.0), Some(ari)]] if ami >= 1.0 && ari >= 1.0 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    becomes_ready(http);
    gateway.wait_for_log("over: AMI is down");
    gateway.wait_for_log("over: ARI is down");
    assert_eq!(gateway.terminate().code, Some(0));
}
