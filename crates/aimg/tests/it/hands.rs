//! Calls that change hands: whose conversation goes on is recorded, once, and the sessions say what became of them.
//!
//! All stories are played at once on one Asterisk and one gateway, each with phones of its own.

use std::thread;
use std::time::Duration;

use aimg_ami::{Action, ListedChannel, NewMember, Originate, Place, Target};
use aimg_audio::level::rms_dbfs;
use aimg_core::{CallEventKind, CallState, SessionId, TapMode, TransferKind, Uniqueid};
use aimg_testbed::{Callee, Caller, Context, Options, Sipp, Version};

use crate::bench::{Bench, all_went_well};
use crate::driver::Driver;
use crate::gateway::Gateway;
use crate::home::{Detail, Recording};
use crate::stereo::{Stereo, samples};
use crate::voice::Voice::{Ann, Bob, Cid, Music};
use crate::voice::{LIKENESS_MIN, Voice};
use crate::waiting::eventually;

/// How long each two talk.
const TALK: Duration = Duration::from_millis(2_500);
/// How long a caller talks whom somebody else hangs up.
const FOR_LONG: Duration = Duration::from_secs(90);

/// A small machine sets up the calls of so many stories one after the other. No story is over before the last has begun: the
/// numbers of its phones would be given to others.
const BEGIN_APART: Duration = Duration::from_millis(250);

/// What all stories are played with.
struct Stage {
    bench: Bench,
    gateway: Gateway,
    driver: Driver,
}

/// What is checked when all calls are over.
type Check = Box<dyn FnOnce(&Stage, &[Detail]) + Send>;
type Story = fn(&Stage) -> Check;

fn number_of(phone: &Sipp) -> String {
    phone.port().to_string()
}

fn to(number: impl Into<String>) -> Place {
    Place::new(Context::CallFeatures.name(), number)
}

fn phone(voice: Voice) -> Sipp {
    Callee::new().says(voice.speech()).start().unwrap()
}

impl Stage {
    fn new(version: Version) -> Self {
        let options = Options { speech: Some(Music.speech()), ..Options::default() }.with_call_features();
        let bench = Bench::with(version, TapMode::Ami, &options);
        let gateway = bench.home.serve_linked();
        let driver = Driver::connect(&bench.asterisk);
        Self { bench, gateway, driver }
    }

    fn caller(&self, voice: Voice, number: &str) -> Caller {
        let caller = Caller::new(self.bench.asterisk.access().sip_port, Context::CallFeatures, 0);
        caller.dials(number).says(voice.speech()).talks_for(FOR_LONG)
    }

    fn calls(&self, voice: Voice, number: &str) -> Sipp {
        self.caller(voice, number).start().unwrap()
    }

    /// Ann calls Bob, and they talk.
    fn ann_and_bob_talk(&self) -> Talk {
        let bob = phone(Bob);
        let ann = self.calls(Ann, &number_of(&bob));
        let channels = [self.driver.callee(bob.port()), self.driver.caller_of(&number_of(&bob))];
        thread::sleep(TALK);
        let [bobs, anns] = channels;
        Talk { number: number_of(&bob), anns, bobs, _phones: [ann, bob] }
    }

    /// Cid answers, talks, and whoever is with him then is hung up by his hanging up.
    fn cid_talks_and_hangs_up(&self, cid: &Sipp) {
        let channel = self.driver.callee(cid.port());
        thread::sleep(TALK);
        self.driver.hang_up(&channel);
    }

    /// But for the car park, which keeps its bridge.
    #[track_caller]
    fn wait_until_asterisk_is_empty(&self) {
        let asterisk = &self.bench.asterisk;
        eventually("Asterisk has no channel left, and no bridge of a call", || {
            let (channels, bridges) = (asterisk.channels().unwrap(), asterisk.bridges().unwrap());
            let empty = channels.is_empty() && bridges.len() <= 1 && bridges.iter().all(|b| !b.id.starts_with("aimg-"));
            if empty { Ok(()) } else { Err(format!("{channels:?} {bridges:?}")) }
        });
    }

    /// Who is heard from the tapped channel, and who is heard there.
    fn heard(&self, recording: &Recording) -> [Vec<Voice>; 2] {
        let stereo = Stereo::read(&self.bench.home.recording_path(recording));
        [stereo.left, stereo.right].map(|channel| {
            let channel = samples(&channel);
            let likeness = Voice::ALL.map(|voice| (voice, voice.likeness(&channel)));
            // Shown when the test fails.
            println!("{}: {likeness:.2?}", recording.path.display());
            likeness.into_iter().filter(|(_, likeness)| *likeness >= LIKENESS_MIN).map(|(voice, _)| voice).collect()
        })
    }

    /// Fails unless a session was recorded at these channels, one part after the other, and these were heard: from the
    /// channel nobody else, toward it perhaps others too.
    #[track_caller]
    fn is_recorded(&self, call: &Detail, expected: &[(&ListedChannel, &[Voice], &[Voice])]) {
        let parts: Vec<_> = call.recordings.iter().map(|r| (r.part, r.certificate.channel.clone())).collect();
        let channels: Vec<_> = (0..).zip(expected.iter().map(|(c, ..)| Some(c.channel.uniqueid.clone()))).collect();
        assert_eq!(parts, channels, "{}", told(call));
        for (recording, (_, from, toward)) in call.recordings.iter().zip(expected) {
            let [heard_from, heard_toward] = self.heard(recording);
            let all = toward.iter().all(|voice| heard_toward.contains(voice));
            let words = recording.certificate.in_words();
            assert!(
                heard_from == *from && all,
                "part {}: {heard_from:?} {heard_toward:?} {words}{}",
                recording.part,
                told(call)
            );
            assert_eq!(recording.certificate.adopted, recording.part > 0);
        }
    }
}

/// A call between Ann, who called, and Bob.
struct Talk {
    number: String,
    anns: ListedChannel,
    bobs: ListedChannel,
    _phones: [Sipp; 2],
}

fn id(channel: &ListedChannel) -> Uniqueid {
    channel.channel.uniqueid.clone()
}

/// What happened to a call, for a test that fails.
fn told(call: &Detail) -> String {
    call.events.iter().map(|e| format!("\n{} {}", e.at, e.kind)).collect()
}

/// The session whose caller dialled a number.
#[track_caller]
fn dialled<'a>(calls: &'a [Detail], number: &str) -> &'a Detail {
    let found: Vec<_> = calls.iter().filter(|c| c.session.dialled_number.as_deref() == Some(number)).collect();
    let [call] = found[..] else { panic!("{} sessions dialled {number}", found.len()) };
    call
}

#[track_caller]
fn says(call: &Detail, kinds: &[CallEventKind]) {
    for kind in kinds {
        assert_eq!(call.events.iter().filter(|e| e.kind == *kind).count(), 1, "{kind:?} in {}", told(call));
    }
}

/// Fails unless the younger call went on in the older one, and both say so.
#[track_caller]
fn is_joined(younger: &Detail, older: &Detail) {
    let [from, into]: [SessionId; 2] = [younger.session.id, older.session.id];
    says(younger, &[CallEventKind::JoinedInto { into }]);
    says(older, &[CallEventKind::JoinedFrom { from }]);
    assert!(younger.session.ended_at < older.session.ended_at);
}

fn blind_transfer_by_the_caller(stage: &Stage) -> Check {
    let (talk, cid) = (stage.ann_and_bob_talk(), phone(Cid));
    stage.driver.act(Action::blind_transfer(&talk.anns.channel.name, &to(number_of(&cid))));
    stage.cid_talks_and_hangs_up(&cid);
    Box::new(move |stage, calls| {
        let call = dialled(calls, &talk.number);
        stage.is_recorded(call, &[(&talk.anns, &[Ann], &[Bob]), (&talk.bobs, &[Bob], &[Cid])]);
        let transferred = CallEventKind::Transferred { how: TransferKind::Blind, by: id(&talk.anns) };
        says(call, &[transferred, CallEventKind::CaptureMoved { channel: id(&talk.bobs) }]);
        assert_eq!(call.legs.len(), 3);
    })
}

fn blind_transfer_by_the_callee(stage: &Stage) -> Check {
    let (talk, cid) = (stage.ann_and_bob_talk(), phone(Cid));
    stage.driver.act(Action::blind_transfer(&talk.bobs.channel.name, &to(number_of(&cid))));
    stage.cid_talks_and_hangs_up(&cid);
    Box::new(move |stage, calls| {
        let call = dialled(calls, &talk.number);
        stage.is_recorded(call, &[(&talk.anns, &[Ann], &[Bob]), (&talk.anns, &[Ann], &[Cid])]);
        says(call, &[CallEventKind::Transferred { how: TransferKind::Blind, by: id(&talk.bobs) }]);
    })
}

/// Bob asks Cid first. How often Ann changes bridges and company meanwhile is Asterisk's to decide.
fn attended_transfer_by_the_callee(stage: &Stage) -> Check {
    let (talk, cid) = (stage.ann_and_bob_talk(), phone(Cid));
    stage.driver.act(Action::attended_transfer(&talk.bobs.channel.name, &to(number_of(&cid))));
    let channel = stage.driver.callee(cid.port());
    thread::sleep(TALK);
    stage.driver.hang_up(&talk.bobs);
    thread::sleep(TALK);
    stage.driver.hang_up(&channel);
    Box::new(move |stage, calls| {
        let call = dialled(calls, &talk.number);
        let last = call.recordings.last().unwrap();
        assert_eq!(last.certificate.channel, Some(id(&talk.anns)), "{}", told(call));
        assert!(last.part > 0 && stage.heard(last)[1] == [Cid], "{}", told(call));
    })
}

/// Ann is sent to where she is in no bridge.
fn sent_to_music(stage: &Stage) -> Check {
    let talk = stage.ann_and_bob_talk();
    stage.driver.act(Action::blind_transfer(&talk.bobs.channel.name, &to("music")));
    thread::sleep(TALK);
    stage.driver.hang_up(&talk.anns);
    Box::new(move |stage, calls| {
        let call = dialled(calls, &talk.number);
        stage.is_recorded(call, &[(&talk.anns, &[Ann], &[Bob]), (&talk.anns, &[Ann], &[Music])]);
    })
}

/// Asterisk takes a callee that is sent elsewhere out of its bridge; the caller is hung up.
fn redirected_callee(stage: &Stage) -> Check {
    let (talk, cid) = (stage.ann_and_bob_talk(), phone(Cid));
    stage.driver.act(Action::redirect(&talk.bobs.channel.name, &to(number_of(&cid))));
    stage.cid_talks_and_hangs_up(&cid);
    Box::new(move |stage, calls| {
        let call = dialled(calls, &talk.number);
        let [before, after] = &call.recordings[..] else { panic!("two parts: {}", told(call)) };
        assert_eq!([before, after].map(|part| stage.heard(part)), [[vec![Ann], vec![Bob]], [vec![Bob], vec![Cid]]]);
    })
}

/// Ann has called Bob and Cid, and leaves them to each other.
fn attended_transfer_by_the_caller(stage: &Stage) -> Check {
    let cid = phone(Cid);
    let second = stage.calls(Ann, &number_of(&cid));
    let (cids, seconds) = (stage.driver.callee(cid.port()), stage.driver.caller_of(&number_of(&cid)));
    // The call to Cid is the older one.
    let talk = stage.ann_and_bob_talk();
    stage.driver.act(Action::bridge(&talk.bobs.channel.name, &cids.channel.name, false));
    stage.cid_talks_and_hangs_up(&cid);
    Box::new(move |stage, calls| {
        let (older, younger) = (dialled(calls, &number_of(&cid)), dialled(calls, &talk.number));
        stage.is_recorded(older, &[(&seconds, &[Ann], &[Cid]), (&cids, &[Cid], &[Bob])]);
        stage.is_recorded(younger, &[(&talk.anns, &[Ann], &[Bob])]);
        is_joined(younger, older);
        assert_eq!([older, younger].map(|call| call.legs.len()), [3, 2]);
        drop(second);
    })
}

fn parked_and_taken_out(stage: &Stage) -> Check {
    let talk = stage.ann_and_bob_talk();
    stage.driver.act(Action::park(&talk.anns.channel.name, None, None, None));
    stage.gateway.wait_for_log(&format!("channel {} parked", id(&talk.anns)));
    thread::sleep(TALK);
    // The only parked call is in the first space.
    const RETRIEVE: &str = "retrieve-701";
    let cid = stage.calls(Cid, RETRIEVE);
    let cids = stage.driver.caller_of(RETRIEVE);
    thread::sleep(TALK);
    stage.driver.hang_up(&cids);
    Box::new(move |stage, calls| {
        let (call, retriever) = (dialled(calls, &talk.number), dialled(calls, RETRIEVE));
        // Before, in the car park, and after.
        let parts: [(_, &[Voice], &[Voice]); 3] =
            [(&talk.anns, &[Ann], &[Bob]), (&talk.anns, &[Ann], &[]), (&talk.anns, &[Ann], &[Cid])];
        stage.is_recorded(call, &parts);
        is_joined(retriever, call);
        assert_eq!(retriever.recordings.len(), 1);
        let (channel, by) = (id(&talk.anns), Some(id(&cids)));
        says(call, &[CallEventKind::Parked { channel: channel.clone() }, CallEventKind::Unparked { channel, by }]);
        drop(cid);
    })
}

fn picked_up(stage: &Stage) -> Check {
    let bob = Callee::new().rings_for(FOR_LONG).start().unwrap();
    let ann = stage.calls(Ann, &number_of(&bob));
    let rang = id(&stage.driver.rings(bob.port()));
    let number = format!("pickup-{}", bob.port());
    let cid = stage.calls(Cid, &number);
    let anns = stage.driver.caller_of(&number_of(&bob));
    // The dialplan of who picks up has ended with that.
    let cids = stage.driver.with(&anns);
    thread::sleep(TALK);
    stage.driver.hang_up(&anns);
    Box::new(move |stage, calls| {
        let (call, taker) = (dialled(calls, &number_of(&bob)), dialled(calls, &number));
        stage.is_recorded(call, &[(&anns, &[Ann], &[Cid])]);
        is_joined(taker, call);
        says(call, &[CallEventKind::PickedUp { channel: rang, by: id(&cids) }]);
        assert_eq!(taker.recordings.len(), 1);
        drop([ann, cid]);
    })
}

/// Two phones ring, one answers; the caller hears music before.
fn queue(stage: &Stage) -> Check {
    let bob = Callee::new().rings_for(FOR_LONG).start().unwrap();
    let cid = Callee::new().says(Cid.speech()).rings_for(TALK).start().unwrap();
    for member in [&bob, &cid] {
        let interface = format!("Local/{}@{}", member.port(), Context::CallFeatures);
        stage.driver.act(Action::queue_add(&NewMember::new("sales", interface)));
    }
    let ann = stage.calls(Ann, "queue-sales");
    stage.driver.callee(cid.port());
    let anns = stage.driver.caller_of("queue-sales");
    stage.cid_talks_and_hangs_up(&cid);
    Box::new(move |stage, calls| {
        let call = dialled(calls, "queue-sales");
        stage.is_recorded(call, &[(&anns, &[Ann], &[Cid, Music])]);
        says(call, &[CallEventKind::QueueJoined { queue: "sales".into() }]);
        assert!(
            call.has(|k| matches!(k, CallEventKind::QueueAnswered { queue, channel: Some(_) } if queue == "sales"))
        );
        // The caller, and for each member a phone and the two halves of its Local channel.
        assert_eq!(call.legs.len(), 7);
        drop((ann, bob));
    })
}

fn conference(stage: &Stage) -> Check {
    const ROOM: &str = "room-9";
    let enters = |voice| stage.caller(voice, ROOM).talks_for(TALK * 2).start().unwrap();
    let first = enters(Ann);
    // Asterisk may not tell of who enters while the room is being made.
    stage.driver.caller_of(ROOM);
    let mut callers = [first, enters(Bob), enters(Cid)];
    callers.iter_mut().for_each(all_went_well);
    Box::new(|stage, calls| {
        let calls = calls.iter().filter(|c| c.session.dialled_number.as_deref() == Some(ROOM));
        let mut voices: Vec<Vec<Voice>> = Vec::new();
        for call in calls {
            let [recording] = &call.recordings[..] else { panic!("one part: {}", told(call)) };
            let [from, _] = stage.heard(recording);
            voices.push(from);
            let toward = Stereo::read(&stage.bench.home.recording_path(recording)).right;
            assert!(rms_dbfs(&samples(&toward)) > -40.0, "the others are heard");
            let channel = call.session.uniqueid.clone();
            let joined = CallEventKind::ConferenceJoined { conference: "9".into(), channel: channel.clone() };
            says(call, &[joined, CallEventKind::ConferenceLeft { conference: "9".into(), channel }]);
            assert_eq!(call.legs.len(), 1, "each is a call of its own");
        }
        voices.sort_by_key(|v| format!("{v:?}"));
        assert_eq!(voices, [[Ann], [Bob], [Cid]]);
    })
}

/// The call goes by way of a Local channel, which Asterisk takes out.
fn forwarded(stage: &Stage) -> Check {
    let mut bob = phone(Bob);
    let number = format!("local-{}", bob.port());
    let mut ann = stage.caller(Ann, &number).talks_for(TALK).start().unwrap();
    let anns = stage.driver.caller_of(&number);
    [&mut ann, &mut bob].into_iter().for_each(all_went_well);
    Box::new(move |stage, calls| {
        let call = dialled(calls, &number);
        stage.is_recorded(call, &[(&anns, &[Ann], &[Bob])]);
        assert_eq!(call.legs.len(), 4);
    })
}

/// A click to call: the first channel is half of a Local channel. If Asterisk takes that out before it is tapped, Bob takes its
/// place; afterwards it stays.
fn originated(stage: &Stage) -> Check {
    let (bob, cid) = (phone(Bob), phone(Cid));
    let local = format!("Local/{}@{}", bob.port(), Context::CallFeatures);
    stage.driver.act(Action::originate(&Originate::new(&local, Target::Place(to(number_of(&cid))))));
    let bobs = stage.driver.callee(bob.port());
    stage.cid_talks_and_hangs_up(&cid);
    Box::new(move |stage, calls| {
        let call = calls.iter().find(|c| c.legs[0].name.starts_with(&local)).unwrap();
        let last = call.recordings.last().unwrap();
        let expected = if last.part == 0 { call.session.uniqueid.clone() } else { id(&bobs) };
        assert_eq!(last.certificate.channel.as_ref(), Some(&expected), "{}", told(call));
        assert_eq!(stage.heard(last), [[Bob], [Cid]]);
        drop(bob);
    })
}

fn calls_change_hands(version: Version, sessions: usize, stories: &[Story]) {
    let stage = Stage::new(version);
    let checks: Vec<Check> = thread::scope(|scope| {
        let begins = |(n, story): (usize, &Story)| {
            let (story, stage) = (*story, &stage);
            scope.spawn(move || {
                thread::sleep(BEGIN_APART * n as u32);
                story(stage)
            })
        };
        let played: Vec<_> = stories.iter().enumerate().map(begins).collect();
        played.into_iter().map(|story| story.join().unwrap()).collect()
    });
    stage.wait_until_asterisk_is_empty();
    let calls = stage.bench.home.finished_calls(sessions);
    assert!(calls.iter().all(|c| c.session.state == CallState::Ended));
    assert_eq!(stage.bench.home.live_calls(), []);
    assert_eq!(stage.bench.home.spool_files(), [""; 0]);
    for call in &calls {
        assert!(call.legs.iter().all(|leg| leg.left_at.is_some()), "{:#?}", call.legs);
        assert!(!call.has(|k| matches!(k, CallEventKind::TapFailed { .. })), "{}", told(call));
    }
    checks.into_iter().for_each(|check| check(&stage, &calls));
    stage.gateway.terminate_without_complaint();
}

#[test]
fn calls_change_hands_on_22() {
    let stories: [Story; 12] = [
        blind_transfer_by_the_caller,
        blind_transfer_by_the_callee,
        attended_transfer_by_the_callee,
        sent_to_music,
        redirected_callee,
        attended_transfer_by_the_caller,
        parked_and_taken_out,
        picked_up,
        queue,
        conference,
        forwarded,
        originated,
    ];
    calls_change_hands(Version::V22, 17, &stories);
}

#[test]
fn calls_change_hands_on_16() {
    let stories: [Story; 4] =
        [blind_transfer_by_the_caller, attended_transfer_by_the_caller, parked_and_taken_out, picked_up];
    calls_change_hands(Version::V16, 7, &stories);
}
