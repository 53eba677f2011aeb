//! SIP calls with speech both ways, and calls that go otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use aimg_testbed::{Asterisk, Callee, Caller, Capture, Context, Options, Packet, Sipp, Speech, Version, wait_until};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of an RTP header as SIPp and Asterisk send it.
const RTP_HEADER_BYTES: usize = 12;

fn start(version: Version) -> Asterisk {
    Asterisk::start(version, &Options::default()).unwrap()
}

fn caller(asterisk: &Asterisk, context: Context, callee: &Sipp) -> Caller {
    Caller::new(asterisk.access().sip_port, context, callee.port())
}

fn wait_for_channels(asterisk: &Asterisk, count: usize) {
    let seen = wait_until(PATIENCE, || (asterisk.channels().unwrap().len() == count).then_some(()));
    seen.unwrap_or_else(|| panic!("not {count} channels: {:?}\n{}", asterisk.channels(), asterisk.log_end()));
}

/// The audio of each destination port, in order of arrival.
fn heard(packets: Vec<Packet>) -> BTreeMap<u16, Vec<u8>> {
    let mut heard: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    for packet in packets {
        heard.entry(packet.destination.port()).or_default().extend(&packet.payload[RTP_HEADER_BYTES..]);
    }
    heard
}

/// Both versions, both ways of capture: each side hears what the other says, byte for byte, and nothing stays.
fn two_party_call(version: Version, context: Context) {
    let asterisk = start(version);
    let (first, last) = asterisk.rtp_ports();
    let capture = Capture::start(&format!("udp and src portrange {first}-{last} and udp[8] = 0x80")).unwrap();
    let mut callee = Callee::new().rings_for(Duration::from_millis(200)).start().unwrap();
    let mut caller = caller(&asterisk, context, &callee).talks_for(Duration::from_secs(2)).start().unwrap();
    wait_for_channels(&asterisk, 2);
    wait_until(PATIENCE, || asterisk.bridges().unwrap().iter().any(|b| b.channels == 2).then_some(())).unwrap();
    for sipp in [&mut caller, &mut callee] {
        assert_eq!(sipp.wait(PATIENCE).unwrap().require_success().unwrap().succeeded, 1);
    }
    wait_for_channels(&asterisk, 0);
    assert_eq!(asterisk.bridges().unwrap(), []);

    let captured = capture.stop().unwrap();
    assert_eq!(captured.dropped, 0);
    let heard = heard(captured.packets);
    assert_eq!(heard.len(), 2, "{:?}", heard.keys());
    for (sipp, said_by_the_other) in [(&caller, Speech::callee().unwrap()), (&callee, Speech::caller().unwrap())] {
        let ports = sipp.port()..sipp.port() + 64;
        let (_, audio) = heard.iter().find(|(port, _)| ports.contains(port)).expect("this side hears something");
        assert!(audio.len() > 8_000, "{} bytes", audio.len());
        assert!(said_by_the_other.ulaw().starts_with(audio), "what is heard is what was said, from its beginning");
    }
    asterisk.stop().unwrap();
}

#[test]
fn two_party_call_by_tap_ami_on_22() {
    two_party_call(Version::V22, Context::TapAmi);
}

#[test]
fn two_party_call_by_tap_ami_on_16() {
    two_party_call(Version::V16, Context::TapAmi);
}

#[test]
fn two_party_call_by_tap_hook_with_the_gateway_away_on_22() {
    two_party_call(Version::V22, Context::TapHook);
}

#[test]
fn two_party_call_by_tap_hook_with_the_gateway_away_on_16() {
    two_party_call(Version::V16, Context::TapHook);
}

#[test]
fn asterisk_answers_at_once_and_speaks() {
    for version in Version::ALL {
        let asterisk = start(version);
        let (first, last) = asterisk.rtp_ports();
        let capture = Capture::start(&format!("udp and src portrange {first}-{last} and udp[8] = 0x80")).unwrap();
        let mut caller = Caller::new(asterisk.access().sip_port, Context::AnswerAtOnce, 1000)
            .talks_for(Duration::from_secs(1))
            .start()
            .unwrap();
        caller.wait(PATIENCE).unwrap().require_success().unwrap();
        let heard = heard(capture.stop().unwrap().packets);
        let audio = heard.values().next().expect("the caller hears something");
        assert!(audio.len() > 4_000 && Speech::callee().unwrap().ulaw().starts_with(audio), "{version}");
    }
}

#[test]
fn callers_may_give_up() {
    let asterisk = start(Version::V22);
    let mut callee = Callee::new().calls(3).rings_for(PATIENCE).start().unwrap();
    let mut caller =
        caller(&asterisk, Context::TapAmi, &callee).calls(3).cancels_after(Duration::from_millis(300)).start().unwrap();
    for sipp in [&mut caller, &mut callee] {
        assert_eq!(sipp.wait(PATIENCE).unwrap().require_success().unwrap().succeeded, 3);
    }
    wait_for_channels(&asterisk, 0);
}

#[test]
fn callers_may_hang_up_at_once() {
    let asterisk = start(Version::V22);
    let mut callee = Callee::new().calls(3).start().unwrap();
    let mut caller = caller(&asterisk, Context::TapAmi, &callee).calls(3).talks_for(Duration::ZERO).start().unwrap();
    for sipp in [&mut caller, &mut callee] {
        assert_eq!(sipp.wait(PATIENCE).unwrap().require_success().unwrap().succeeded, 3);
    }
    wait_for_channels(&asterisk, 0);
}

#[test]
fn callees_may_refuse() {
    let asterisk = start(Version::V22);
    let mut callee = Callee::new().refuses().start().unwrap();
    let mut caller = caller(&asterisk, Context::TapAmi, &callee).start().unwrap();
    callee.wait(PATIENCE).unwrap().require_success().unwrap();
    let refused = caller.wait(PATIENCE).unwrap();
    assert_eq!((refused.succeeded, refused.failed), (0, 1));
    assert!(refused.log.contains("486"), "{}", refused.log);
    assert!(refused.require_success().is_err());
}

#[test]
fn twenty_calls_at_once() {
    let asterisk = start(Version::V22);
    let mut callee = Callee::new().calls(20).start().unwrap();
    let mut caller =
        caller(&asterisk, Context::TapAmi, &callee).calls(20).talks_for(Duration::from_secs(2)).start().unwrap();
    wait_for_channels(&asterisk, 40);
    for sipp in [&mut caller, &mut callee] {
        assert_eq!(sipp.wait(PATIENCE).unwrap().require_success().unwrap().succeeded, 20);
    }
    wait_for_channels(&asterisk, 0);
}
