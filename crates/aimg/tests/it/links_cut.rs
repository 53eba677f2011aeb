//! AMI, ARI or both are cut in the middle of calls, and come back: calls do not notice, and what is captured is whole.

use std::time::Duration;

use aimg_core::{CallEventKind, CallState, TapMode};
use aimg_testbed::{Callee, Caller, Context, Sipp, Tcp, Version};

use crate::bad_line::{BadLine, is_what_arrived};
use crate::bench::all_went_well;
use crate::home::Detail;
use crate::waiting::eventually;

/// A connection to Asterisk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Ami,
    Ari,
}

impl Link {
    const BOTH: [Self; 2] = [Self::Ami, Self::Ari];

    const fn name(self) -> &'static str {
        match self {
            Self::Ami => "AMI",
            Self::Ari => "ARI",
        }
    }

    fn port(self, line: &BadLine) -> u16 {
        let access = line.bench.asterisk.access();
        match self {
            Self::Ami => access.ami_port,
            Self::Ari => access.http_port,
        }
    }
}

/// A call with a number of its own.
struct Call {
    caller: Sipp,
    callee: Sipp,
}

impl Call {
    fn begin(line: &BadLine, context: Context, callee: Callee, talk: Duration) -> Self {
        let callee = callee.inside(line.network.pbx()).start().unwrap();
        let caller: Caller = line.caller(context, &callee).talks_for(talk);
        Self { caller: caller.start().unwrap(), callee }
    }

    #[track_caller]
    fn goes_well(mut self) -> u16 {
        [&mut self.caller, &mut self.callee].into_iter().for_each(all_went_well);
        self.callee.port()
    }

    /// Waits until it is up, both legs of it.
    #[track_caller]
    fn is_up(&self, line: &BadLine) {
        let number = self.callee.port().to_string();
        eventually("the call is up", || {
            let channels = line.bench.asterisk.channels().unwrap();
            let dials = channels.iter().any(|c| c.state == "Up" && c.exten == number && c.application == "Dial");
            if dials { Ok(()) } else { Err(format!("{channels:?}")) }
        });
    }
}

fn of(calls: &[Detail], number: u16) -> &Detail {
    let number = Some(number.to_string());
    calls.iter().find(|c| c.session.dialled_number == number).expect("there is a session of this call")
}

fn calls_outlive_a_reset(version: Version, cut: &[Link]) {
    let line = BadLine::new(version, TapMode::Ami);
    line.watch(0, &[]);
    let secs = Duration::from_secs;
    let rings = |ms| Callee::new().rings_for(Duration::from_millis(ms));
    let long = Call::begin(&line, Context::TapAmi, rings(500), secs(9));
    let short = Call::begin(&line, Context::TapAmi, rings(500), secs(3));
    let rings = Call::begin(&line, Context::TapAmi, rings(3_000), secs(6));
    line.bench.wait_until_captured(3);

    for link in cut {
        line.network.tcp(link.port(&line), Tcp::Reset);
    }
    let hooked = Call::begin(&line, Context::TapHook, Callee::new(), secs(7));
    hooked.is_up(&line);
    for link in cut {
        line.gateway.wait_for_log(&format!("{} is down", link.name()));
    }
    let short = short.goes_well();
    rings.is_up(&line);
    for link in cut {
        line.network.tcp(link.port(&line), Tcp::Carried);
    }
    for link in cut {
        line.gateway.wait_for_log_times(&format!("{} is up", link.name()), 2);
    }
    let [long, rings, hooked] = [long, rings, hooked].map(Call::goes_well);
    let calls = line.bench.home.finished_calls(4);
    line.bench.wait_until_asterisk_is_empty();
    assert_eq!(line.bench.home.live_calls(), []);
    assert_eq!(line.bench.home.spool_files(), [""; 0]);
    let flows = line.network.flows().unwrap();
    assert!(line.network.counts().iter().all(|c| c.cut > 0), "both ways were cut");

    assert!(calls.iter().all(|c| c.session.state == CallState::Ended));
    for number in [long, rings] {
        let [recording] = &of(&calls, number).recordings[..] else { panic!("one recording: {:?}", of(&calls, number)) };
        is_what_arrived(&line.bench, recording, &flows);
        assert!(recording.complete, "{:?}", recording.certificate.reasons);
    }
    is_what_arrived(&line.bench, &of(&calls, short).recordings[0], &flows);
    let hooked = of(&calls, hooked);
    let recording = hooked.recordings.last().expect("it was captured");
    is_what_arrived(&line.bench, recording, &flows);
    let captured_at_once = !cut.contains(&Link::Ari);
    assert_eq!(recording.complete, captured_at_once, "{:?}", recording.certificate.reasons);
    assert_eq!(hooked.has(|k| matches!(k, CallEventKind::HookReleased { ready: true })), captured_at_once);
}

/// Nothing arrives and nobody is told, so that only pings that stay unanswered tell: of AMI after 15 s, of ARI after 10.
fn calls_outlive_silence(version: Version) {
    let line = BadLine::new(version, TapMode::Hook);
    line.watch(0, &[]);
    let secs = Duration::from_secs;
    let rings = || Callee::new().rings_for(Duration::from_millis(500));
    let long = Call::begin(&line, Context::TapHook, rings(), secs(23));
    line.bench.wait_until_captured(1);

    line.network.tcp(Link::Ami.port(&line), Tcp::Swallowed);
    // The gateway hears of the hook over ARI, and of the call not at all.
    let unseen = Call::begin(&line, Context::TapHook, rings(), secs(1));
    unseen.is_up(&line);
    line.network.tcp(Link::Ari.port(&line), Tcp::Swallowed);
    // Nobody can let this one go on but the dialplan.
    let stuck = Call::begin(&line, Context::TapHook, rings(), secs(18));
    stuck.is_up(&line);
    let unseen = unseen.goes_well();
    for link in [Link::Ari, Link::Ami] {
        line.gateway.wait_for_log(&format!("{} is down", link.name()));
        line.network.tcp(link.port(&line), Tcp::Carried);
    }
    let log = line.gateway.log();
    assert_eq!(log.matches("a ping within").count(), 2, "{log}");
    for link in Link::BOTH {
        line.gateway.wait_for_log_times(&format!("{} is up", link.name()), 2);
    }
    let [long, stuck] = [long, stuck].map(Call::goes_well);
    let calls = line.bench.home.finished_calls(3);
    line.bench.wait_until_asterisk_is_empty();
    assert_eq!(line.bench.home.live_calls(), []);
    assert_eq!(line.bench.home.spool_files(), [""; 0]);
    let flows = line.network.flows().unwrap();
    for number in [long, unseen] {
        let call = of(&calls, number);
        is_what_arrived(&line.bench, &call.recordings[0], &flows);
        assert!(call.has(|k| matches!(k, CallEventKind::HookReleased { ready: true })));
    }
    let [recording] = &of(&calls, long).recordings[..] else { panic!("one recording: {:?}", of(&calls, long)) };
    assert!(recording.complete, "{:?}", recording.certificate.reasons);
    let stuck = of(&calls, stuck);
    assert_eq!((stuck.session.state, stuck.recordings.len()), (CallState::Ended, 0), "it was found, and never hooked");
}

#[test]
fn calls_outlive_a_reset_of_ami() {
    calls_outlive_a_reset(Version::V22, &[Link::Ami]);
}

#[test]
fn calls_outlive_a_reset_of_ari() {
    calls_outlive_a_reset(Version::V22, &[Link::Ari]);
}

#[test]
fn calls_outlive_a_reset_of_both_on_16() {
    calls_outlive_a_reset(Version::V16, &Link::BOTH);
}

#[test]
fn calls_outlive_silence_on_22() {
    calls_outlive_silence(Version::V22);
}
