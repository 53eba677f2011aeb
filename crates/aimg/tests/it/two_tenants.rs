//! Two tenants on one Asterisk, each with people and programs who try all that can be named of the other: over REST, over the
//! WebSocket, by ear and by webhook nothing of one is ever seen by the other. A call that nobody claims is seen by neither.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use aimg_core::{TapMode, TenantScope};
use aimg_store::SessionDetail;
use aimg_testbed::{Callee, Sipp, Speech};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{Client, Listener, PASSWORD, Told};
use crate::home::Home;
use crate::sharing::Sharing;
use crate::stereo::{Stereo, samples};
use crate::voice::LIKENESS_MIN;
use crate::voice::Voice::{self, Ann, Bob, Cid};
use crate::waiting::eventually;
use crate::webhooks::{Receiver, SETTINGS, add_webhook};

/// Who is known by what: two kinds of rules for each, and a line that both use.
const RULES: [(&str, &str); 5] = [
    ("acme", "tenantid:acme-*"),
    ("acme", "variable:TENANT=acme"),
    ("acme", "dialled:4989*"),
    ("rival", "accountcode:rival-0042"),
    ("rival", "dialled:4930*"),
];
/// Endpoints and what the numbers begin with that they dial; the callee's port follows.
const ACMES: [(&str, &str); 3] = [("by-tenantid", "49401"), ("by-variable", "49402"), ("by-number", "4989")];
const RIVALS: [(&str, &str); 2] = [("by-accountcode", "49501"), ("by-number", "4930")];
const NOBODYS: (&str, &str) = ("by-number", "4955");
/// Whoever asks is done before.
const FOR_LONG: Duration = Duration::from_secs(90);
/// What callers say again and again: 2 s of their voices.
const SAID_BYTES: usize = 2 * 8_000;
/// In 3 s of µ-law there is enough of it to know a voice by.
const HEARD_BYTES: usize = 3 * 8_000;
/// Requests of all kinds are many here.
const LIMITS: &str = "[http]\naccount_requests_per_second = 1000\naddress_requests_per_second = 1000\n";

/// A tenant's people and programs.
struct Tenant {
    name: &'static str,
    scope: TenantScope,
    callers: Vec<Sipp>,
    voice: Voice,
    /// By user and by API key.
    clients: [Client; 2],
    /// A WebSocket of each.
    listeners: [Listener; 2],
    receiver: Receiver,
    /// Ids and names of its accounts.
    words: BTreeSet<String>,
}

/// Makes a tenant's admin, its key and its webhook, and opens their WebSockets.
async fn settle(root: &Client, address: SocketAddr, sharing: &Sharing, name: &'static str) -> Tenant {
    let (id, voice) = if name == "acme" { (sharing.acme, Ann) } else { (sharing.rival, Cid) };
    let user = format!("admin-of-{name}");
    let new = json!({ "tenant": id.to_string(), "name": user, "role": "tenant_admin", "password": PASSWORD });
    let made = root.post("/users", new, StatusCode::CREATED).await;
    let admin = Client::log_in(address, &user).await;
    let new = json!({ "name": format!("program-of-{name}"), "role": "tenant_admin" });
    let key = admin.post("/api-keys", new, StatusCode::CREATED).await;
    let program = admin.with(key["secret"].as_str().unwrap());
    let ids = [&made["id"], &key["key"]["id"]].map(|id| id.as_str().unwrap().to_owned());
    let named = [name.to_owned(), user, format!("program-of-{name}"), id.to_string()];
    let mut listeners = [admin.listens().await, program.listens().await];
    for listener in &mut listeners {
        listener.subscribes(&["calls", "notifications", "system"].map(str::to_owned)).await;
    }
    Tenant {
        name,
        scope: TenantScope::Tenant(id),
        callers: Vec::new(),
        voice,
        clients: [admin, program],
        listeners,
        receiver: Receiver::start(),
        words: ids.into_iter().chain(named).collect(),
    }
}

/// All that calls are known by: ids, channels, numbers, files.
fn words_of(calls: &[SessionDetail]) -> BTreeSet<String> {
    let of_call = |call: &SessionDetail| {
        let row = &call.session.row;
        let legs = call.legs.iter().flat_map(|leg| [leg.uniqueid.to_string(), leg.name.clone()]);
        let known = [row.id.to_string(), row.uniqueid.to_string()].into_iter().chain(row.dialled_number.clone());
        known.chain(legs).chain(call.recordings.iter().map(|r| r.path.clone())).collect::<Vec<_>>()
    };
    calls.iter().flat_map(of_call).collect()
}

/// The beginning of what somebody says, so that whoever joins late knows the voice.
fn said_by(voice: Voice) -> Speech {
    Speech::from_ulaw(voice.speech().ulaw()[..SAID_BYTES].to_vec())
}

/// The words that stand in a text as such, and not as a part of longer ones.
fn found_in<'a>(words: &'a BTreeSet<String>, text: &str) -> Vec<&'a str> {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    let stands = |word: &str| {
        text.match_indices(word).any(|(at, _)| {
            let (before, behind) = (&text[..at], &text[at + word.len()..]);
            !is_part(before.chars().next_back()) && !is_part(behind.chars().next())
        })
    };
    words.iter().map(String::as_str).filter(|word| stands(word)).collect()
}

/// The operations of the API's document: method, path with holes, permission, whether there is a body.
fn operations() -> Vec<(Method, String, String, bool)> {
    let document: Value = serde_json::from_str(&aimg_api::openapi_json()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters");
        let operation = |(method, operation): (&String, &Value)| {
            let permission = operation["x-permission"].as_str().unwrap().to_owned();
            let path = path.trim_start_matches("/api/v1").to_owned();
            (method.to_uppercase().parse().unwrap(), path, permission, operation.get("requestBody").is_some())
        };
        methods.map(operation).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// A body that an operation on a call or a recording takes.
fn body(path: &str, session: &str) -> Value {
    let command = path.trim_start_matches("/call-sessions/{id}/");
    match command {
        "hangup" | "answer" | "/recordings/{id}/re-transcribe" => json!({}),
        "hold" | "unhold" | "mute" | "unmute" => json!({ "party": "caller" }),
        "dtmf" => json!({ "party": "caller", "digits": "1" }),
        "play" => json!({ "media": ["sound:beep"] }),
        "say" => json!({ "text": "hello" }),
        "play/stop" => json!({ "playback": null }),
        "transfer" => json!({ "kind": "blind", "by": "callee", "exten": "200" }),
        "bridge" => json!({ "party": "caller", "with": session, "with_party": "caller" }),
        "snoop" => json!({ "endpoint": "PJSIP/callee", "party": "caller" }),
        "recording" => json!({ "order": "stop" }),
        other => panic!("{other} takes a body: write one down here"),
    }
}

impl Tenant {
    /// Fails if somebody of this tenant learns anything of the other one's calls; the words are the other one's.
    async fn learns_nothing(&self, own: &[SessionDetail], theirs: &[SessionDetail], words: &BTreeSet<String>) {
        for client in &self.clients {
            self.is_refused_all_of(client, theirs, words).await;
            self.reads_its_own_alone(client, own, theirs, words).await;
        }
    }

    /// Every operation on a call, a recording or a PBX of the other one.
    async fn is_refused_all_of(&self, client: &Client, theirs: &[SessionDetail], words: &BTreeSet<String>) {
        let mut refused = 0;
        for call in theirs {
            let (session, pbx) = (call.session.row.id.to_string(), call.session.row.pbx.to_string());
            for (method, path, permission, has_body) in operations() {
                let fill = match path.split('/').nth(1) {
                    Some("call-sessions") => session.clone(),
                    Some("recordings") => format!("{session}.0"),
                    Some("pbxs") => pbx.clone(),
                    _ => continue,
                };
                if !path.contains("{id}") || permission == "installation_run" {
                    continue;
                }
                let body = has_body.then(|| body(&path, &session));
                let named = path.replace("{id}", &fill);
                let (status, answer) = client.ask(method.clone(), &named, body).await;
                let who = format!("{} at {method} {path}: {answer}", self.name);
                assert_eq!(status, StatusCode::NOT_FOUND, "{who}");
                // What it named itself may come back.
                let told = found_in(words, &answer.replace(&session, ""));
                assert!(told.is_empty(), "{told:?} {who}");
                refused += 1;
            }
        }
        assert!(refused >= 20 * theirs.len(), "{refused}");
        let ids: Vec<_> = theirs.iter().map(|call| call.session.row.id.to_string()).collect();
        let removed = json!({ "action": "delete", "ids": ids });
        let (_, outcomes) = client.ask(Method::POST, "/call-sessions/bulk", Some(removed)).await;
        assert_eq!(outcomes.matches("\"code\":\"not_found\"").count(), ids.len(), "{outcomes}");
        let exported = json!({ "format": "csv", "ids": ids });
        let (_, file) = client.ask(Method::POST, "/call-sessions/export", Some(exported)).await;
        assert_eq!(file.lines().count(), 1, "the headline: {file}");
    }

    /// Everything that can be read without naming anything, and lists that are asked for what is the other one's.
    async fn reads_its_own_alone(
        &self,
        client: &Client,
        own: &[SessionDetail],
        theirs: &[SessionDetail],
        words: &BTreeSet<String>,
    ) {
        let mut read = String::new();
        for (method, path, _, _) in operations() {
            if method == Method::GET && !path.contains('{') {
                let (_, answer) = client.ask(method, &path, None).await;
                let told = found_in(words, &answer);
                assert!(told.is_empty(), "{} reads {told:?} at {path}: {answer}", self.name);
                read.push_str(&answer);
            }
        }
        let own_words = words_of(own);
        let missing: Vec<_> = own.iter().filter(|call| !read.contains(&call.session.row.id.to_string())).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(found_in(&own_words, &read).len() >= 3 * own.len(), "it reads its own");
        let found =
            async |q: &str| client.get(&format!("/call-sessions?q={q}")).await["items"].as_array().unwrap().len();
        for (calls, each) in [(own, 1), (theirs, 0)] {
            for call in calls {
                let row = &call.session.row;
                let (id, number) = (row.id.to_string(), row.dialled_number.clone().unwrap());
                assert_eq!([found(&id).await, found(&number).await], [each; 2], "{} looks for {row:?}", self.name);
            }
        }
    }

    /// Subscribes to all of its own and of the other one's that can be named.
    async fn subscribes(&mut self, own: &[SessionDetail], theirs: &[SessionDetail], other: TenantScope) {
        let audio = |call: &SessionDetail| format!("audio:{}:caller:8000:ulaw", call.session.row.id);
        for listener in &mut self.listeners {
            for call in theirs {
                let (id, number) = (call.session.row.id, call.session.row.dialled_number.clone().unwrap());
                // As silent as what does not exist.
                let named =
                    [format!("call:{id}"), format!("transcripts:{id}"), format!("transcripts:dialled:{number}")];
                listener.subscribes(&named).await;
                let refused = listener.asks(json!({ "type": "subscribe", "topics": [audio(call)] })).await;
                assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("wrong_state")), "{refused}");
                assert_eq!(refused["detail"].as_str().map(|d| d.contains(&id.to_string())), Some(true), "{refused}");
            }
            let TenantScope::Tenant(other) = other else { panic!("a tenant") };
            let of_other = json!({ "type": "subscribe", "topics": ["calls"], "tenant": other.to_string() });
            assert_eq!(listener.asks(of_other).await["code"], "not_found");
            for call in own {
                listener.subscribes(&[format!("call:{}", call.session.row.id), audio(call)]).await;
            }
        }
    }

    /// Fails unless it heard its own callers, over the WebSocket and over HTTP, and nobody else.
    async fn hears_its_own(&self, own: &[SessionDetail]) {
        let ids: BTreeSet<_> = own.iter().map(|call| call.session.row.id.to_string()).collect();
        for listener in &self.listeners {
            let heard_of = |session: &str| {
                let told = listener.told();
                let of_session = told.audio().filter(|(of, _)| of == session);
                of_session.flat_map(|(_, audio)| audio.to_vec()).collect::<Vec<u8>>()
            };
            for id in &ids {
                let what = format!("{} hears {id}", self.name);
                listener
                    .until(&what, |told| told.audio().filter(|(of, _)| of == id).count() >= HEARD_BYTES / 160)
                    .await;
                self.is_its_voice(&heard_of(id));
            }
        }
        let path = format!("/call-sessions/{}/audio.wav?side=caller&encoding=ulaw", own[0].session.row.id);
        let wav = self.clients[1].hears(&path, HEARD_BYTES + 1_000).await;
        self.is_its_voice(&wav[wav.len() - HEARD_BYTES..]);
    }

    fn is_its_voice(&self, ulaw: &[u8]) {
        let heard = samples(ulaw);
        let voices: Vec<_> = [Ann, Cid].into_iter().filter(|voice| voice.likeness(&heard) >= LIKENESS_MIN).collect();
        assert_eq!(voices, [self.voice], "in {} samples of {}", heard.len(), self.name);
    }

    /// Fails unless all that its WebSockets were told is its own, up to its recordings.
    async fn was_told_its_own_alone(&self, own: &[SessionDetail], words: &BTreeSet<String>) {
        let ids: BTreeSet<_> = own.iter().map(|call| call.session.row.id.to_string()).collect();
        for listener in &self.listeners {
            let is_told = |told: &Told, id: &str| {
                told.notices().any(|notice| notice["session"] == id && notice["event"] == "recording_ready")
            };
            let what = format!("{} is told of its recordings", self.name);
            listener.until(&what, |told| ids.iter().all(|id| is_told(told, id))).await;
            let told = listener.told();
            let sessions: BTreeSet<_> =
                told.notices().filter_map(|notice| notice["session"].as_str().map(str::to_owned)).collect();
            assert_eq!(sessions, ids);
            for notice in told.notices() {
                let strange = found_in(words, &notice.to_string());
                assert!(strange.is_empty(), "{} was told {strange:?}: {notice}", self.name);
            }
            assert!(told.audio().all(|(session, _)| ids.contains(&session)));
        }
        // What there was, for one who comes back.
        let mut later = self.clients[0].listens().await;
        let epoch = later.told().texts[0]["epoch"].clone();
        assert_eq!(later.asks(json!({ "type": "resume", "after": 0, "epoch": epoch })).await["type"], "resumed");
        later.subscribes(&["calls".to_owned()]).await;
        let ended = |told: &Told, id: &str| {
            told.notices().any(|notice| notice["session"] == id && notice["call"]["state"] == "ended")
        };
        later.until("it gets what it missed", |told| ids.iter().all(|id| ended(told, id))).await;
        for notice in later.told().notices() {
            let strange = found_in(words, &notice.to_string());
            assert!(strange.is_empty(), "{} was told {strange:?}: {notice}", self.name);
        }
    }

    /// The same of its webhook.
    fn webhook_told_its_own_alone(&self, own: &[SessionDetail], words: &BTreeSet<String>) {
        let ids: BTreeSet<_> = own.iter().map(|call| call.session.row.id.to_string()).collect();
        let received = eventually(&format!("the webhook of {} is told of its recordings", self.name), || {
            let received = self.receiver.received();
            let ready = received.iter().filter(|r| r.body.contains("\"recording.ready\"")).filter_map(|r| r.session());
            if ready.collect::<BTreeSet<_>>() == ids { Ok(received) } else { Err(format!("{received:?}")) }
        });
        for message in &received {
            let strange = found_in(words, &message.body);
            assert!(strange.is_empty(), "{} was told {strange:?}: {}", self.name, message.body);
            assert!(message.session().is_none_or(|id| ids.contains(&id)), "{}", message.body);
        }
    }
}

#[test]
fn nothing_of_one_tenant_is_ever_seen_by_the_other() {
    let sharing = Sharing::with(Home::with_settings(&format!("{SETTINGS}{LIMITS}")), TapMode::Hook, &RULES);
    let home = &sharing.bench.home;
    let mut create = home.aimg(&["createsuperuser", "--name", "root"]);
    create.env("AIMG_SUPERUSER_PASSWORD", PASSWORD);
    home.run(create).succeeded();
    let gateway = home.serve_linked();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (root, mut watch) = runtime.block_on(async {
        let root = Client::log_in(gateway.http(), "root").await;
        let watch = root.listens().await;
        (root, watch)
    });
    runtime.block_on(watch.subscribes(&["calls", "notifications", "system"].map(str::to_owned)));
    let mut tenants = ["acme", "rival"].map(|name| runtime.block_on(settle(&root, gateway.http(), &sharing, name)));
    for tenant in &tenants {
        add_webhook(home, tenant.name, &tenant.receiver);
    }

    // All at once: three calls of acme, two of rival, and one that nobody claims.
    let callee = Callee::new().calls(6).says(Bob.speech()).start().unwrap();
    let call = |(endpoint, prefix): (&str, &str), voice: Voice| {
        let caller = sharing.caller(endpoint, &callee).dials(format!("{prefix}{}", callee.port()));
        caller.says(said_by(voice)).talks_for(FOR_LONG).start().unwrap()
    };
    let nobodys = call(NOBODYS, Bob);
    let callers = [ACMES.map(|line| call(line, Ann)).into(), RIVALS.map(|line| call(line, Cid)).into()];
    for (tenant, callers) in tenants.iter_mut().zip(callers) {
        tenant.callers = callers;
    }
    sharing.bench.wait_until_captured(ACMES.len() + RIVALS.len());
    eventually("nobody's call is connected", || {
        let channels = sharing.bench.asterisk.channels().unwrap();
        let number = format!("{}{}", NOBODYS.1, callee.port());
        if channels.iter().any(|c| c.exten == number && c.state == "Up") {
            Ok(())
        } else {
            Err(format!("{channels:?}"))
        }
    });

    let [acme, rival] = &mut tenants;
    let seen = |acme: &Tenant, rival: &Tenant| {
        let [acmes, rivals] = [acme, rival].map(|tenant| sharing.calls(tenant.scope));
        assert_eq!((acmes.len(), rivals.len()), (ACMES.len(), RIVALS.len()));
        assert_eq!(sharing.calls(TenantScope::Operator).len(), acmes.len() + rivals.len(), "nobody's is not there");
        let [of_acme, of_rival] = [(acme, &acmes), (rival, &rivals)]
            .map(|(tenant, calls)| tenant.words.union(&words_of(calls)).cloned().collect::<BTreeSet<_>>());
        let private = [&of_acme - &of_rival, &of_rival - &of_acme];
        assert!(private[0].len() >= 4 * ACMES.len() && private[1].len() >= 4 * RIVALS.len(), "{private:?}");
        (acmes, rivals, private)
    };
    let (acmes, rivals, [of_acme, of_rival]) = seen(acme, rival);
    runtime.block_on(async {
        acme.subscribes(&acmes, &rivals, rival.scope).await;
        rival.subscribes(&rivals, &acmes, acme.scope).await;
        acme.learns_nothing(&acmes, &rivals, &of_rival).await;
        rival.learns_nothing(&rivals, &acmes, &of_acme).await;
        acme.hears_its_own(&acmes).await;
        rival.hears_its_own(&rivals).await;
        // What was tried did nothing to any call; whose it is ends it.
        for (tenant, calls) in [(&*acme, &acmes), (&*rival, &rivals)] {
            for call in calls {
                let live = tenant.clients[0].get("/call-sessions/live").await;
                assert!(live.to_string().contains(&call.session.row.id.to_string()), "{live}");
                let hang_up = format!("/call-sessions/{}/hangup", call.session.row.id);
                tenant.clients[0].post(&hang_up, json!({}), StatusCode::OK).await;
            }
        }
    });
    home.finished_calls(acmes.len() + rivals.len());
    sharing.bench.asterisk.cli("channel request hangup all").unwrap();
    sharing.bench.wait_until_asterisk_is_empty();

    let (acmes, rivals, [of_acme, of_rival]) = seen(acme, rival);
    for (tenant, calls) in [(&*acme, &acmes), (&*rival, &rivals)] {
        for call in calls {
            let [recording] = &call.recordings[..] else { panic!("one recording: {call:?}") };
            let path = home.data("recordings").join(&recording.path);
            tenant.is_its_voice(&Stereo::read(&path).left);
        }
    }
    runtime.block_on(async {
        acme.learns_nothing(&acmes, &rivals, &of_rival).await;
        rival.learns_nothing(&rivals, &acmes, &of_acme).await;
        acme.was_told_its_own_alone(&acmes, &of_rival).await;
        rival.was_told_its_own_alone(&rivals, &of_acme).await;
    });
    acme.webhook_told_its_own_alone(&acmes, &of_rival);
    rival.webhook_told_its_own_alone(&rivals, &of_acme);

    // Who runs the installation sees both, and counts what is nobody's: the caller, and whom it called.
    let ids = |calls: &[SessionDetail]| calls.iter().map(|c| c.session.row.id.to_string()).collect::<BTreeSet<_>>();
    let told = watch.told();
    let sessions: BTreeSet<_> = told.notices().filter_map(|n| n["session"].as_str().map(str::to_owned)).collect();
    assert_eq!(sessions, &ids(&acmes) | &ids(&rivals));
    let pbx = acmes[0].session.row.pbx;
    let status = runtime.block_on(root.get(&format!("/pbxs/{pbx}/status")));
    let unclaimed = &status["unclaimed"];
    assert_eq!((&unclaimed["no_rule"], &unclaimed["wrong_argument"]), (&json!(2), &json!(0)), "{status}");
    assert_eq!(unclaimed["last"].as_array().unwrap().len(), 2, "{status}");
    drop(nobodys);
    gateway.terminate_without_complaint();
}
