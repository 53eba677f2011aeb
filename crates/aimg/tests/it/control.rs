//! Call control over REST and WebSocket: each command does to real calls what it says, as Asterisk and the phones tell.
//!
//! All stories are played at once on one Asterisk and one gateway, each with phones of its own; what phones heard is read
//! off the wire when all is over.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aimg_ami::{Action, ListedChannel};
use aimg_audio::g711::ULAW_SILENCE;
use aimg_audio::level::rms_dbfs;
use aimg_core::{CaptureOrder, SessionRow, TapMode, Timestamp, Uniqueid};
use aimg_testbed::{Asterisk, Callee, Caller, Context, Options, Sipp, Speech, Version};
use serde_json::{Value, json};

use crate::api::Api;
use crate::bench::Bench;
use crate::driver::Driver;
use crate::gateway::Gateway;
use crate::home::Detail;
use crate::live_events::Listener;
use crate::stereo::{Stereo, samples};
use crate::voice::Voice::{Ann, Bob, Cid, Music};
use crate::voice::{LIKENESS_MIN, Voice};
use crate::waiting::eventually;
use crate::wire::{Stream, Wire};

/// How long is listened each time.
const LISTEN: Duration = Duration::from_millis(1_700);
/// What takes effect does so within this time on the way to a phone.
const EFFECT: Duration = Duration::from_millis(250);
const FOR_LONG: Duration = Duration::from_secs(90);
/// Below this is silence.
const SILENCE_DBFS: f64 = -45.0;

/// A prompt that every installation has, and whose voice it is.
const PROMPT: (&str, Voice) = ("sound:basic-pbx-ivr-main", Music);

/// The id of nothing.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

struct Stage {
    bench: Bench,
    gateway: Gateway,
    driver: Driver,
    api: Api,
}

/// What is checked when all calls are over: what was heard, and what is recorded.
type Check = Box<dyn FnOnce(&Heard<'_>) + Send>;
type Story = fn(&Stage) -> Check;

/// All that was sent to phones, and all calls.
struct Heard<'a> {
    asterisk: &'a Asterisk,
    streams: Vec<Stream>,
    calls: Vec<Detail>,
    stage: &'a Stage,
}

impl Heard<'_> {
    /// What a phone heard between two moments.
    fn by(&self, phone: &Sipp, (from, to): (Timestamp, Timestamp)) -> Vec<i16> {
        let (first, last) = self.asterisk.rtp_ports();
        let to_phone = |s: &&Stream| {
            (phone.port()..phone.port() + 64).contains(&s.destination.port())
                && (first..=last).contains(&s.source.port())
        };
        self.streams.iter().filter(to_phone).flat_map(|s| samples(&s.between(from, to))).collect()
    }

    /// Fails unless a phone heard these voices and no others.
    #[track_caller]
    fn is(&self, phone: &Sipp, when: (Timestamp, Timestamp), expected: &[Voice]) {
        let audio = self.by(phone, when);
        let likeness = Voice::ALL.map(|voice| (voice, voice.likeness(&audio)));
        let heard: Vec<Voice> = likeness.iter().filter(|(_, l)| *l >= LIKENESS_MIN).map(|(voice, _)| *voice).collect();
        let streams = self.streams.iter().map(|s| {
            let (first, last) = (s.packets[0].at, s.packets[s.packets.len() - 1].at);
            format!("\n{} to {}: {} packets from {first} to {last}", s.source, s.destination, s.packets.len())
        });
        let said =
            format!("{likeness:.2?} at {} in {} samples from {} to {}", phone.port(), audio.len(), when.0, when.1);
        assert_eq!(heard, expected, "{said}{}", streams.collect::<String>());
    }

    /// Fails unless a phone heard the prompt. Asterisk may have it in another codec, and so it is not quite itself.
    #[track_caller]
    fn is_prompt(&self, phone: &Sipp, when: (Timestamp, Timestamp)) {
        let audio = self.by(phone, when);
        let likeness = PROMPT.1.likeness(&audio);
        assert!(likeness > 0.75 && rms_dbfs(&audio) > SILENCE_DBFS, "{likeness} at {} dBFS", rms_dbfs(&audio));
    }

    /// Fails unless a phone heard nothing: a muted channel's frames are not even sent.
    #[track_caller]
    fn is_silence(&self, phone: &Sipp, when: (Timestamp, Timestamp)) {
        let audio = self.by(phone, when);
        assert!(rms_dbfs(&audio) < SILENCE_DBFS, "{} dBFS", rms_dbfs(&audio));
    }

    #[track_caller]
    fn call(&self, session: &SessionRow) -> &Detail {
        self.calls.iter().find(|call| call.session.id == session.id).unwrap()
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
}

/// Listens for a while from here on.
fn listened() -> (Timestamp, Timestamp) {
    let from = now() + EFFECT;
    thread::sleep(EFFECT + LISTEN);
    (from, now())
}

/// The keys whose tones are heard, one after the other (ITU-T Q.23).
fn keys_in(audio: &[i16]) -> String {
    const LOW_HZ: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
    const HIGH_HZ: [f64; 3] = [1_209.0, 1_336.0, 1_477.0];
    const KEYS: [&str; 4] = ["123", "456", "789", "*0#"];
    /// 40 ms.
    const WINDOW: usize = 320;
    let mut keys = String::new();
    let mut before = None;
    for window in audio.chunks_exact(WINDOW) {
        let energy = window.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() * WINDOW as f64 / 2.0;
        // The share of the window's energy that is this tone.
        let share = |hz: f64| {
            let turn = std::f64::consts::TAU * hz / 8_000.0;
            let sum = |part: fn(f64) -> f64| {
                window.iter().enumerate().map(|(n, s)| f64::from(*s) * part(turn * n as f64)).sum::<f64>()
            };
            (sum(f64::sin).powi(2) + sum(f64::cos).powi(2)) / energy.max(1.0)
        };
        let loudest = |tones: &[f64]| {
            let shares = tones.iter().map(|hz| share(*hz)).enumerate();
            shares.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
        };
        let ((row, low), (column, high)) = (loudest(&LOW_HZ), loudest(&HIGH_HZ));
        let key = (low > 0.3 && high > 0.3).then(|| KEYS[row].chars().nth(column).unwrap());
        if key != before {
            keys.extend(key);
        }
        before = key;
    }
    keys
}

fn phone(voice: Voice) -> Sipp {
    Callee::new().says(voice.speech()).start().unwrap()
}

/// 10 s of it.
fn silence() -> Speech {
    Speech::from_ulaw(vec![ULAW_SILENCE; 80_000])
}

fn channel(of: &ListedChannel) -> &Uniqueid {
    &of.channel.uniqueid
}

/// Who talks with whom.
struct Talk {
    session: SessionRow,
    anns: ListedChannel,
    bobs: ListedChannel,
    ann: Sipp,
    bob: Sipp,
}

impl Stage {
    fn new(version: Version) -> Self {
        let options = Options { speech: Some(Music.speech()), ..Options::default() }.with_call_features();
        let bench = Bench::with(version, TapMode::Ami, &options);
        Api::add_superuser(&bench.home);
        let gateway = bench.home.serve_linked();
        let driver = Driver::connect(&bench.asterisk);
        let api = Api::log_in(gateway.http());
        Self { bench, gateway, driver, api }
    }

    fn calls(&self, says: Speech, number: &str) -> Sipp {
        let caller = Caller::new(self.bench.asterisk.access().sip_port, Context::CallFeatures, 0);
        caller.dials(number).says(says).talks_for(FOR_LONG).start().unwrap()
    }

    /// The session of a call that is going on.
    #[track_caller]
    fn session(&self, fits: impl Fn(&SessionRow) -> bool) -> SessionRow {
        eventually("the call has a session", || {
            let calls = self.bench.home.live_calls();
            calls.iter().find(|call| fits(call)).cloned().ok_or_else(|| format!("{calls:?}"))
        })
    }

    /// Ann calls Bob, and they talk.
    fn ann_and_bob_talk(&self) -> Talk {
        self.talk(Ann.speech(), Bob.speech())
    }

    /// The same with what each of them says.
    fn talk(&self, anns: Speech, bobs: Speech) -> Talk {
        let bob = Callee::new().says(bobs).start().unwrap();
        let number = bob.port().to_string();
        let ann = self.calls(anns, &number);
        let (bobs, anns) = (self.driver.callee(bob.port()), self.driver.caller_of(&number));
        let session = self.session(|call| call.uniqueid == *channel(&anns));
        Talk { session, anns, bobs, ann, bob }
    }

    /// Does what takes two who talk, as soon as the gateway knows of that: Asterisk may have told somebody else before.
    #[track_caller]
    fn done(&self, session: &SessionRow, command: &str, body: Value) -> Value {
        eventually("the gateway knows that they talk", || {
            let (status, done) = self.api.post(&format!("/call-sessions/{}/{command}", session.id), &body);
            assert!(status == 200 || done["code"] == "wrong_state", "{command} {body}: {done}");
            if status == 200 { Ok(done) } else { Err(done) }
        })
    }

    fn hang_up(&self, session: &SessionRow) -> Value {
        self.api.done(session.id, "hangup", json!({}))
    }
}

fn hold(stage: &Stage) -> Check {
    let (api, talk) = (&stage.api, stage.ann_and_bob_talk());
    let done = stage.done(&talk.session, "hold", json!({ "party": "caller" }));
    assert_eq!(done, json!({ "done": "held", "channel": channel(&talk.anns).as_str() }));
    let held = listened();
    assert_eq!(api.refused(talk.session.id, "hold", json!({ "party": "caller" })), (409, "wrong_state".to_owned()));
    api.done(talk.session.id, "unhold", json!({ "party": "caller" }));
    let talked = listened();
    assert_eq!(api.refused(talk.session.id, "unhold", json!({ "party": "caller" })), (409, "wrong_state".to_owned()));
    stage.hang_up(&talk.session);
    Box::new(move |heard| {
        heard.is(&talk.ann, held, &[Music]);
        heard.is_silence(&talk.bob, held);
        heard.is(&talk.ann, talked, &[Bob]);
        heard.is(&talk.bob, talked, &[Ann]);
    })
}

fn mute(stage: &Stage) -> Check {
    let (api, talk) = (&stage.api, stage.ann_and_bob_talk());
    api.done(talk.session.id, "mute", json!({ "party": "callee" }));
    let says = listened();
    api.done(talk.session.id, "unmute", json!({ "party": "callee" }));
    api.done(talk.session.id, "mute", json!({ "party": "callee", "side": "hears" }));
    let hears = listened();
    api.done(talk.session.id, "unmute", json!({ "party": "callee", "side": "both" }));
    let talked = listened();
    let (status, ended) = api.post("/call-sessions/bulk/hangup", &json!({ "ids": [talk.session.id] }));
    assert_eq!((status, &ended["results"][0]["done"]), (200, &json!(true)), "{ended}");
    Box::new(move |heard| {
        heard.is_silence(&talk.ann, says);
        heard.is(&talk.bob, says, &[Ann]);
        heard.is(&talk.ann, hears, &[Bob]);
        heard.is_silence(&talk.bob, hears);
        heard.is(&talk.bob, talked, &[Ann]);
    })
}

/// Bob says nothing: what Ann hears is what is played to her.
fn play(stage: &Stage) -> Check {
    let (api, talk) = (&stage.api, stage.talk(Ann.speech(), silence()));
    let id = talk.session.id;
    let done = stage.done(&talk.session, "play", json!({ "to": "caller", "media": [PROMPT.0] }));
    let to_ann = listened();
    let stopped = api.done(id, "play/stop", json!({ "playback": done["playback"] }));
    assert_eq!(stopped, json!({ "done": "play_stopped", "playbacks": [done["playback"]] }));
    let stopped = listened();
    assert_eq!(api.refused(id, "play/stop", json!({})), (409, "wrong_state".to_owned()));
    assert_eq!(api.refused(id, "play", json!({ "media": ["sound:there-is-none"] })), (409, "pbx_refused".to_owned()));
    for media in ["http://127.0.0.1/secret.wav", "sound:/etc/passwd", "sound:../x"] {
        assert_eq!(api.refused(id, "play", json!({ "media": [media] })), (422, "invalid".to_owned()), "{media}");
    }
    stage.hang_up(&talk.session);
    Box::new(move |heard| {
        heard.is_prompt(&talk.ann, to_ann);
        heard.is(&talk.bob, to_ann, &[Ann]);
        heard.is_silence(&talk.ann, stopped);
    })
}

fn play_to_both(stage: &Stage) -> Check {
    let talk = stage.talk(silence(), silence());
    stage.done(&talk.session, "play", json!({ "media": [PROMPT.0] }));
    let to_both = listened();
    stage.hang_up(&talk.session);
    Box::new(move |heard| [&talk.ann, &talk.bob].into_iter().for_each(|phone| heard.is_prompt(phone, to_both)))
}

fn keys(stage: &Stage) -> Check {
    let bob = phone(Bob);
    // To this phone Asterisk sends keys as tones.
    let number = format!("keys-{}", bob.port());
    let ann = stage.calls(Ann.speech(), &number);
    let anns = stage.driver.caller_of(&number);
    let bobs = stage.driver.with(&anns);
    let session = stage.session(|call| call.uniqueid == *channel(&anns));
    let talk = Talk { session, anns, bobs, ann, bob };
    let from = now();
    let done =
        stage.api.done(talk.session.id, "dtmf", json!({ "party": "callee", "digits": "15#", "duration_ms": 200 }));
    assert_eq!(done, json!({ "done": "pressed", "channel": channel(&talk.bobs).as_str(), "digits": 3 }));
    let pressed = (from, now() + EFFECT);
    thread::sleep(EFFECT);
    let refused = stage.api.refused(talk.session.id, "dtmf", json!({ "party": "callee", "digits": "x" }));
    assert_eq!(refused, (422, "invalid".to_owned()));
    // One party's channel ends the call.
    let done = stage.api.done(talk.session.id, "hangup", json!({ "party": "callee" }));
    assert_eq!(done["channels"], json!([{ "channel": channel(&talk.bobs).as_str(), "cause": 16 }]));
    Box::new(move |heard| {
        let tones = |phone| keys_in(&heard.by(phone, pressed));
        assert_eq!((tones(&talk.bob), tones(&talk.ann)), ("15#".to_owned(), String::new()));
        let call = heard.call(&talk.session);
        assert_eq!(call.session.state.name(), "ended");
        let over = heard.stage.api.refused(talk.session.id, "hangup", json!({}));
        assert_eq!(over, (409, "wrong_state".to_owned()), "the call is over");
        let unknown = heard.stage.api.refused(NOBODY, "hangup", json!({}));
        assert_eq!(unknown, (404, "not_found".to_owned()));
    })
}

fn blind_transfer(stage: &Stage) -> Check {
    let (talk, cid) = (stage.ann_and_bob_talk(), phone(Cid));
    let to = json!({ "kind": "blind", "by": "callee", "exten": cid.port().to_string() });
    let done = stage.done(&talk.session, "transfer", to);
    assert_eq!(done, json!({ "done": "transferred", "channel": channel(&talk.anns).as_str() }));
    stage.driver.callee(cid.port());
    let talked = listened();
    stage.hang_up(&talk.session);
    Box::new(move |heard| {
        heard.is(&talk.ann, talked, &[Cid]);
        heard.is(&cid, talked, &[Ann]);
    })
}

fn attended_transfer(stage: &Stage) -> Check {
    let (talk, cid) = (stage.ann_and_bob_talk(), phone(Cid));
    let id = talk.session.id;
    let bobs = channel(&talk.bobs).as_str();
    let to = json!({ "kind": "attended", "by": bobs, "exten": cid.port().to_string() });
    assert_eq!(stage.done(&talk.session, "transfer", to), json!({ "done": "consulting", "channel": bobs }));
    stage.driver.callee(cid.port());
    let consulted = listened();
    let done = stage.api.done(id, "transfer", json!({ "kind": "complete", "by": bobs }));
    assert_eq!(done["done"], "transferred");
    let talked = listened();
    let session = stage.session(|call| call.uniqueid == *channel(&talk.anns));
    stage.hang_up(&session);
    Box::new(move |heard| {
        heard.is(&talk.bob, consulted, &[Cid]);
        heard.is(&talk.ann, talked, &[Cid]);
    })
}

fn bridge(stage: &Stage) -> Check {
    let (one, other) = (stage.ann_and_bob_talk(), stage.ann_and_bob_talk());
    // Both Anns are left to each other's Bobs' silence: Bob of the one talks with Ann of the other.
    let with = json!({ "party": "callee", "with": other.session.id.to_string(), "with_party": "caller" });
    let done = stage.api.done(one.session.id, "bridge", with);
    assert_eq!(done["channels"], json!([channel(&one.bobs).as_str(), channel(&other.anns).as_str()]));
    let together =
        stage.driver.with(&ListedChannel { bridge: done["bridge"].as_str().map(Into::into), ..one.bobs.clone() });
    assert_eq!(channel(&together), channel(&other.anns));
    let talked = listened();
    stage.driver.act(Action::hangup(channel(&one.bobs), 16));
    Box::new(move |heard| {
        heard.is(&one.bob, talked, &[Ann]);
        heard.is(&other.ann, talked, &[Bob]);
    })
}

fn snoop(stage: &Stage) -> Check {
    let (talk, cid) = (stage.ann_and_bob_talk(), phone(Cid));
    let endpoint = format!("PJSIP/callee/sip:callee@127.0.0.1:{}", cid.port());
    let body = json!({ "endpoint": endpoint, "party": "caller", "mode": "whisper" });
    let done = stage.api.done(talk.session.id, "snoop", body);
    assert_eq!((&done["done"], &done["connected"]), (&json!("listening"), &json!(true)), "{done}");
    let listens = listened();
    // Who listens is no part of the call.
    let legs = stage.bench.home.session(talk.session.id).legs;
    assert_eq!(legs.len(), 2, "{legs:?}");
    stage.hang_up(&talk.session);
    eventually("the phone that listened is hung up", || {
        let channels = stage.bench.asterisk.channels().unwrap();
        let phone = done["phone"].as_str().unwrap();
        if channels.iter().all(|c| c.uniqueid != phone) { Ok(()) } else { Err(format!("{channels:?}")) }
    });
    let refused =
        stage.api.refused(talk.session.id, "snoop", json!({ "endpoint": "PJSIP/a&PJSIP/b", "party": "caller" }));
    assert_eq!(refused.0, 409, "the call is over");
    Box::new(move |heard| {
        let hears = [Ann, Bob].map(|voice| voice.likeness(&heard.by(&cid, listens)));
        assert!(hears.iter().all(|l| *l > 0.4), "both parties: {hears:?}");
        // Voices are a little alike; what only Bob's voice would be is measured beside it.
        let [whispered, bob_alone] =
            [heard.by(&talk.ann, listens), Bob.speech().samples()].map(|channel| Cid.likeness_among_others(&channel));
        println!("{whispered} where Bob alone is {bob_alone}");
        assert!(whispered > bob_alone + 0.15, "{whispered} where Bob alone is {bob_alone}");
        heard.is(&talk.bob, listens, &[Ann]);
    })
}

fn click_to_call(stage: &Stage) -> Check {
    let (bob, cid) = (phone(Bob), phone(Cid));
    let pbx = stage.bench.home.pbx_id();
    let body = json!({ "pbx": pbx, "from": bob.port().to_string(), "to": cid.port().to_string(),
        "context": Context::CallFeatures.name(), "caller_id": "Click <99>" });
    let (status, done) = stage.api.post("/calls", &body);
    assert_eq!((status, &done["done"]), (201, &json!("calling")), "{done}");
    stage.driver.callee(cid.port());
    let talked = listened();
    let session = stage.session(|call| call.id.to_string() == done["session"].as_str().unwrap());
    assert_eq!(done["channel"], session.uniqueid.as_str());
    stage.hang_up(&session);
    let (status, _) = stage.api.post("/calls", &json!({ "pbx": NOBODY, "from": "1", "to": "2", "context": "a" }));
    assert_eq!(status, 404);
    Box::new(move |heard| {
        heard.is(&bob, talked, &[Cid]);
        heard.is(&cid, talked, &[Bob]);
        assert!(!heard.call(&session).recordings.is_empty(), "it is a call as any other");
    })
}

fn over_the_websocket(stage: &Stage) -> Check {
    let (bob, cid) = (phone(Bob), phone(Cid));
    let mut socket = Listener::connect(&stage.api);
    let call = json!({ "pbx": stage.bench.home.pbx_id(), "from": bob.port().to_string(), "to": cid.port().to_string(),
        "context": Context::CallFeatures.name() });
    let done = socket.done(json!({ "type": "originate", "call": call }));
    stage.driver.callee(cid.port());
    let session = stage.session(|call| call.id.to_string() == done["session"].as_str().unwrap());
    let mut command = |command: Value| {
        socket.done(json!({ "type": "command", "session": session.id, "command": command }))["done"].take()
    };
    assert_eq!(command(json!({ "do": "mute", "party": "caller" })), "muted");
    let muted = listened();
    assert_eq!(command(json!({ "do": "hangup" })), "hung_up");
    Box::new(move |heard| {
        heard.is(&bob, muted, &[Cid]);
        heard.is_silence(&cid, muted);
    })
}

fn answered(stage: &Stage) -> Check {
    let ann = stage.calls(Ann.speech(), "wait");
    let session = stage.session(|call| call.dialled_number.as_deref() == Some("wait"));
    // Its channel enters the application only after the session began.
    let done = eventually("the caller is in the application", || {
        let (status, done) = stage.api.post(&format!("/call-sessions/{}/answer", session.id), &json!({}));
        if status == 200 { Ok(done) } else { Err(done) }
    });
    assert_eq!(done, json!({ "done": "answered", "channel": session.uniqueid.as_str() }));
    eventually("the call is answered", || {
        let session = stage.bench.home.session(session.id).session;
        session.answered_at.ok_or_else(|| format!("{session:?}"))
    });
    stage.hang_up(&session);
    Box::new(move |_| drop(ann))
}

fn recording(stage: &Stage) -> Check {
    let (api, talk) = (&stage.api, stage.ann_and_bob_talk());
    let id = talk.session.id;
    let order = |order: &str| api.done(id, "recording", json!({ "order": order }));
    let recorded = |session| {
        eventually("it is recorded", || {
            let is =
                stage.bench.home.session(session).has(|k| matches!(k, aimg_core::CallEventKind::FlowStarted { .. }));
            if is { Ok(()) } else { Err("no audio") }
        })
    };
    recorded(id);
    thread::sleep(LISTEN);
    assert_eq!(order("pause"), json!({ "done": "recording", "part": null }));
    let paused_at = now();
    assert_eq!(api.refused(id, "recording", json!({ "order": "pause" })), (409, "wrong_state".to_owned()));
    // Asterisk sends nothing of it any more, so nothing can be written.
    let ours = stage.bench.asterisk.channels().unwrap();
    let session = id.to_string();
    assert!(ours.iter().all(|c| !c.uniqueid.contains(&session)), "{ours:?}");
    thread::sleep(LISTEN);
    let resumed_at = now();
    assert_eq!(order("resume"), json!({ "done": "recording", "part": 1 }));
    thread::sleep(LISTEN);
    order("stop");
    stage.hang_up(&talk.session);
    Box::new(move |heard| {
        let call = heard.call(&talk.session);
        let [before, after] = &call.recordings[..] else { panic!("two parts: {:?}", call.recordings) };
        let by = [before, after].map(|r| (r.certificate.begun_by, r.certificate.ended_by));
        let (pause, resume, stop) = (CaptureOrder::Pause, CaptureOrder::Resume, CaptureOrder::Stop);
        assert_eq!(by, [(None, Some(pause)), (Some(resume), Some(stop))]);
        let last = before.certificate.caller.last_packet_at.unwrap();
        let first = after.certificate.caller.first_packet_at.unwrap();
        assert!(
            last < paused_at && first > resumed_at,
            "nothing of the pause: {last} {paused_at} {resumed_at} {first}"
        );
        assert!(after.complete, "what was not to be recorded is not missing: {:?}", after.certificate.reasons);
        for recording in [before, after] {
            let ledgers = [&recording.certificate.caller, &recording.certificate.callee].map(|f| f.ledger.missing());
            assert_eq!(ledgers, [0, 0]);
            let heard = Stereo::read(&heard.stage.bench.home.recording_path(recording));
            assert!(Ann.likeness(&samples(&heard.left)) >= LIKENESS_MIN);
        }
    })
}

fn control(version: Version, sessions: usize, stories: &[Story]) {
    let stage = Stage::new(version);
    let wire = Wire::tap(&stage.bench.asterisk);
    let checks: Vec<Check> = thread::scope(|scope| {
        let played: Vec<_> = stories.iter().map(|story| scope.spawn(|| story(&stage))).collect();
        played.into_iter().map(|story| story.join().unwrap()).collect()
    });
    eventually("nothing is left in Asterisk", || {
        let (channels, bridges) = (stage.bench.asterisk.channels().unwrap(), stage.bench.asterisk.bridges().unwrap());
        let empty = channels.is_empty() && bridges.iter().all(|b| !b.id.starts_with("aimg-"));
        if empty { Ok(()) } else { Err(format!("{channels:?} {bridges:?}")) }
    });
    let streams = wire.streams();
    let calls = stage.bench.home.finished_calls(sessions);
    let heard = Heard { asterisk: &stage.bench.asterisk, streams, calls, stage: &stage };
    checks.into_iter().for_each(|check| check(&heard));
    drop(heard);
    stage.gateway.terminate_without_complaint();
}

#[test]
fn commands_do_what_they_say_on_22() {
    let stories: [Story; 13] = [
        hold,
        mute,
        play,
        play_to_both,
        keys,
        blind_transfer,
        attended_transfer,
        bridge,
        snoop,
        click_to_call,
        over_the_websocket,
        answered,
        recording,
    ];
    control(Version::V22, 14, &stories);
}

#[test]
fn commands_do_what_they_say_on_16() {
    let stories: [Story; 3] = [hold, play, recording];
    control(Version::V16, 3, &stories);
}

#[test]
fn a_gateway_that_dies_leaves_nothing_of_its_commands() {
    let stage = Stage::new(Version::V22);
    let talk = stage.ann_and_bob_talk();
    stage.done(&talk.session, "hold", json!({ "party": "caller" }));
    let music = || stage.bench.asterisk.channels().unwrap().into_iter().any(|c| c.uniqueid.ends_with("em"));
    assert!(music());
    let wire = Wire::tap(&stage.bench.asterisk);
    stage.gateway.kill9_worker(1);
    eventually("the music is over", || if music() { Err("it plays") } else { Ok(()) });
    // Who was on hold and the other one hear each other again.
    let talked = listened();
    // The next worker does commands to the call, too.
    let done = eventually("the call is known", || {
        let (status, done) =
            stage.api.post(&format!("/call-sessions/{}/mute", talk.session.id), &json!({ "party": "callee" }));
        if status == 200 { Ok(done) } else { Err(done) }
    });
    assert_eq!(done["done"], "muted");
    let mut stage = stage;
    stage.bench.asterisk.kill();
    let refused = eventually("Asterisk is known to be gone", || {
        let (status, code) = stage.api.refused(talk.session.id, "mute", json!({ "party": "callee" }));
        if status == 503 { Ok(code) } else { Err(format!("{status} {code}")) }
    });
    assert_eq!(refused, "pbx_away");
    let heard = Heard { asterisk: &stage.bench.asterisk, streams: wire.streams(), calls: Vec::new(), stage: &stage };
    heard.is(&talk.ann, talked, &[Bob]);
    heard.is(&talk.bob, talked, &[Ann]);
}
