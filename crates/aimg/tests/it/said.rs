//! What is said into a real call is heard by whom it is said to, ends when it is interrupted, and is understood.

use std::fs::File;
use std::thread;
use std::time::Duration;

use aimg_audio::wav::{Encoding, Format, WavWriter};
use aimg_core::TapMode;
use aimg_testbed::{Callee, Context, Sipp, Speech, Version, WordErrors};
use serde_json::{Value, json};

use crate::api::Api;
use crate::bench::Bench;
use crate::home::Home;
use crate::transcripts::models_dir;
use crate::wire::{Stream, Wire};

const LONG: &str = "Thank you for calling. All of our agents are busy at the moment. Please do not hang up. \
                    You can also send us a letter, and we will read it when we have the time.";
const GREETING: &str = "Hello, you are now connected with our customer service.";

/// Longer than it takes to say that.
const GREETING_LASTS: Duration = Duration::from_secs(6);

/// Nobody says anything but the gateway.
fn silence() -> Speech {
    Speech::from_ulaw(vec![0xff; 8_000])
}

/// What a phone heard, as text.
fn heard(home: &Home, streams: &[Stream], phone: &Sipp) -> String {
    let to_phone = |s: &&Stream| (phone.port()..phone.port() + 64).contains(&s.destination.port());
    let stream = streams.iter().filter(to_phone).max_by_key(|stream| stream.packets.len()).expect("it heard something");
    let file = home.data(&format!("heard-{}.wav", phone.port()));
    let mut wav = WavWriter::new(File::create(&file).unwrap(), Format::mono(Encoding::Ulaw, 8_000)).unwrap();
    let [first, last] = [stream.packets.first(), stream.packets.last()].map(|packet| packet.unwrap().at);
    wav.write(&stream.between(first, last)).unwrap();
    wav.finish().unwrap();
    let transcript: Value = home.json(&["transcribe", file.to_str().unwrap(), "--json"]);
    let segments = transcript["segments"].as_array().unwrap_or_else(|| panic!("{transcript}"));
    segments.iter().map(|segment| segment["text"].as_str().unwrap()).collect::<Vec<_>>().join(" ").to_lowercase()
}

fn what_is_said_is_heard(version: Version) {
    let bench = Bench::new(version, TapMode::Ami);
    let (said_dir, seen_as) = bench.asterisk.said_dir();
    bench.home.write_settings(&format!(
        "[speech]\nsaid_dir = {said_dir:?}\nsaid_seen_as = {seen_as:?}\n[speech.local]\nmodels_dir = {:?}\n",
        models_dir()
    ));
    Api::add_superuser(&bench.home);
    let gateway = bench.home.serve_linked();
    let api = Api::log_in(gateway.http());
    let (status, _) = api.put("/settings/speech.recogniser", &json!({ "value": "off" }));
    assert_eq!(status, 200);
    let wire = Wire::tap(&bench.asterisk);
    let callee = Callee::new().says(silence()).start().unwrap();
    let caller =
        bench.caller(Context::TapAmi, &callee).says(silence()).talks_for(Duration::from_secs(60)).start().unwrap();
    bench.wait_until_captured(1);
    let session = bench.home.live_calls()[0].id;
    let say = |body: Value| {
        let said = api.done(session, "say", body);
        assert_eq!(said["done"], "playing", "{said}");
        said["playback"].as_str().unwrap().to_owned()
    };
    let first = say(json!({ "to": "caller", "text": LONG }));
    thread::sleep(Duration::from_secs(3));
    let second = say(json!({ "to": "both", "text": GREETING, "interrupt": true }));
    assert_ne!(first, second);
    assert_eq!(api.refused(session, "play/stop", json!({ "playback": first })).0, 409, "it was interrupted");
    thread::sleep(GREETING_LASTS);
    assert_eq!(api.refused(session, "play/stop", json!({ "playback": second })).0, 409, "it is over");
    assert_eq!(api.refused(session, "say", json!({ "text": "" })).0, 422);
    assert_eq!(api.refused(session, "say", json!({ "text": "hello", "provider": "nobody" })).0, 422);
    assert_eq!(api.refused(session, "say", json!({ "text": "hello", "voice": "../x" })).0, 422);
    api.done(session, "hangup", json!({}));
    bench.home.finished_call();
    let streams = wire.streams();
    let (callers, callees) = (heard(&bench.home, &streams, &caller), heard(&bench.home, &streams, &callee));
    println!("caller: {callers}\ncallee: {callees}");
    assert!(callers.contains("thank you for calling") && !callers.contains("letter"), "{callers}");
    let understood = WordErrors::between(GREETING, &callees);
    assert!(understood.errors <= 1, "{callees}");
    let greeted = callers.split_once("hello").unwrap_or_default().1;
    assert!(WordErrors::between(GREETING, &format!("hello{greeted}")).errors <= 1, "{callers}");
    gateway.terminate_without_complaint();
}

#[test]
fn what_is_said_is_heard_on_22() {
    what_is_said_is_heard(Version::V22);
}

#[test]
fn what_is_said_is_heard_on_16() {
    what_is_said_is_heard(Version::V16);
}
