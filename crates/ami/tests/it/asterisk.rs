//! The client beside real Asterisk servers: what they tell and do is what our types say.
//!
//! Calls are made of Local channels, so that no phone is needed. The installations have to be there
//! (`scripts/lib/setup.sh`).

use std::cell::RefCell;
use std::time::Duration;

use aimg_ami::{
    Action, ChannelSnapshot, ChannelState, Client, Config, DeviceState, Event, EventFilter, Events, LinkChange,
    Manager, Muted, NewMember, Notice, Originate, Place, Target, Trust,
};
use aimg_core::Uniqueid;
use aimg_testbed::{Asterisk, Options, Version};
use secrecy::SecretString;
use tokio::sync::mpsc;

use crate::fake_asterisk::{down, up, within};
use crate::tls::Certificate;

/// A user that may do everything, and TLS with a certificate of the test.
const MANAGER: &str = "\
[general](+)
tlsenable = yes
tlsbindaddr = 127.0.0.1:{{ami_tls_port}}
tlscertfile = /mnt/etc/ami.pem
tlsprivatekey = /mnt/etc/ami.pem

[watcher]
secret = testbed
deny = 0.0.0.0/0.0.0.0
permit = 127.0.0.1/255.255.255.255
read = all
write = all
writetimeout = 5000
";

/// What the dialplan and the actions below need beside the testbed's own.
const MODULES: [&str; 13] = [
    "res_pjsip_outbound_registration.so",
    "app_directed_pickup.so",
    "app_confbridge.so",
    "bridge_holding.so",
    "app_senddtmf.so",
    "app_userevent.so",
    "func_devstate.so",
    "res_musiconhold.so",
    "res_monitor.so",
    "app_queue.so",
    "res_parking.so",
    "res_mutestream.so",
    "res_manager_devicestate.so",
];

/// 100 tells everybody and waits, 200 and 201 wait in queues, 300 waits, 400 is a lamp, 500 calls 501, which only rings, 502
/// takes that call, 600 is a conference, 700 calls 300 and may transfer.
const EXTENSIONS: &str = "\
[ami]
exten => 100,1,Answer()
 same => n,Set(GREETING=hello)
 same => n,UserEvent(Lamp,Colour: red)
 same => n,Wait(60)
exten => 200,1,Answer()
 same => n,Queue(sales)
exten => 201,1,Answer()
 same => n,Queue(slow)
exten => 300,1,Answer()
 same => n,Wait(60)
exten => 400,hint,Custom:lamp
exten => 500,1,Dial(Local/501@ami/n,60)
exten => 501,1,Ringing()
 same => n,Wait(60)
exten => 502,1,PickupChan(Local/501@ami)
exten => 700,1,Answer()
 same => n,Dial(Local/300@ami/n,60,tT)
exten => 600,1,Answer()
 same => n,ConfBridge(9)
";

const QUEUES: &str = "[general]\n[sales]\nstrategy = ringall\n[slow]\nstrategy = ringall\ntimeout = 1\n";
const PARKING: &str =
    "[general]\n[default]\nparkext => 700\nparkpos => 701-720\ncontext => parkedcalls\nparkingtime => 45\n";
const CONFERENCES: &str = "[general]\n[default_user]\ntype = user\nquiet = yes\n[default_bridge]\ntype = bridge\n";
const MUSIC: &str = "[default]\nmode = files\ndirectory = /usr/share/asterisk/sounds/en\n";

fn start(version: Version, certificate: &Certificate) -> Asterisk {
    let modules: String = MODULES.iter().map(|module| format!("load = {module}\n")).collect();
    let pem = certificate.pem.clone() + &certificate.key.serialize_pem();
    let additions = [
        ("manager.conf", MANAGER),
        ("modules.conf", &modules),
        ("extensions.conf", EXTENSIONS),
        ("queues.conf", QUEUES),
        ("res_parking.conf", PARKING),
        ("musiconhold.conf", MUSIC),
        ("confbridge.conf", CONFERENCES),
        ("features.conf", "[general]\n[featuremap]\natxfer = *2\n"),
        ("ami.pem", &pem),
    ];
    let additions = additions.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
    Asterisk::start(version, &Options { additions, ..Options::default() }).unwrap()
}

fn config(asterisk: &Asterisk) -> Config {
    let mut config = Config::new("127.0.0.1", "watcher", SecretString::from("testbed"));
    config.port = asterisk.access().ami_port;
    config.event_mask = "on".to_owned();
    config
}

/// The events of a link, all kept, so that their order among each other does not matter.
struct Watch {
    events: Events,
    seen: Vec<Event>,
}

impl Watch {
    async fn start(config: Config) -> (Client, Self) {
        let (client, mut events) = Client::start(config);
        up(&mut events).await;
        (client, Self { events, seen: Vec::new() })
    }

    /// What `pick` makes of the first event that it knows, seen or to come.
    async fn until<T>(&mut self, what: &str, pick: impl Fn(&Event) -> Option<T>) -> T {
        if let Some(found) = self.seen.iter().find_map(&pick) {
            return found;
        }
        let found = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                match self.events.next().await {
                    Some(Notice::Event { event, .. }) => {
                        let found = pick(&event);
                        self.seen.push(event);
                        if let Some(found) = found {
                            return found;
                        }
                    }
                    other => panic!("the link ended before {what}: {other:?}"),
                }
            }
        })
        .await;
        found.unwrap_or_else(|_| panic!("no {what}; seen: {:?}", self.seen))
    }

    async fn is_seen(&mut self, what: &str, fits: impl Fn(&Event) -> bool) {
        self.until(what, |event| fits(event).then_some(())).await;
    }
}

/// Sends what must be done.
async fn done(client: &Client, action: Result<Action, aimg_ami::InvalidAction>) {
    within(client.send(action.unwrap())).await.unwrap();
}

/// A channel of this id that is answered and goes through the dialplan at an extension of ours; its other half waits.
async fn call(client: &Client, watch: &mut Watch, id: &str, exten: &str) -> Uniqueid {
    let uniqueid = Uniqueid::new(id);
    let mut call = Originate::new("Local/300@ami/n", Target::Place(Place::new("ami", exten)));
    call.channel_id = Some(uniqueid.clone());
    // Not beginning as the id itself: `Bridge` takes any channel that begins so.
    call.other_channel_id = Some(Uniqueid::new(format!("other-{id}")));
    done(client, Action::originate(&call)).await;
    watch
        .is_seen("OriginateResponse", |event| {
            matches!(event, Event::OriginateResponse(told) if told.success && told.uniqueid.as_ref() == Some(&uniqueid))
        })
        .await;
    uniqueid
}

/// Calls, keys, variables, user events, transfers and parking.
async fn calls(version: Version) {
    let asterisk = start(version, &Certificate::good());
    let (client, mut watch) = Watch::start(config(&asterisk)).await;

    let first = call(&client, &mut watch, "first", "100").await;
    watch.is_seen("Newchannel", |e| matches!(e, Event::NewChannel(c) if c.uniqueid == first)).await;
    watch.is_seen("LocalBridge", |e| matches!(e, Event::LocalBridge(pair) if pair.one.uniqueid == first)).await;
    watch.is_seen("VarSet", |e| matches!(e, Event::VarSet(v) if v.variable == "GREETING" && v.value == "hello")).await;
    watch
        .is_seen("UserEvent", |e| {
            matches!(e, Event::UserEvent(u) if u.name == "Lamp" && u.first("Colour") == Some("red") && u.channel.is_some())
        })
        .await;
    let name = first.as_str();

    done(&client, Action::setvar(Some(name), "COLOUR", "blue, dark")).await;
    let answer = client.send(Action::getvar(Some(name), "COLOUR").unwrap()).await.unwrap();
    assert_eq!(answer.first("Value"), Some("blue, dark"));
    done(&client, Action::mute_audio(name, Muted::In, true)).await;
    done(&client, Action::play_dtmf(name, '5', Some(Duration::from_millis(80)), true)).await;
    watch.is_seen("DTMFEnd", |e| matches!(e, Event::DtmfEnd(key) if key.digit == "5" && key.received)).await;

    done(&client, Action::redirect(name, &Place::new("ami", "300"))).await;
    watch
        .is_seen(
            "redirect",
            |e| matches!(e, Event::NewExten(step) if step.channel.uniqueid == first && step.channel.exten == "300"),
        )
        .await;

    let second = call(&client, &mut watch, "second", "300").await;
    done(&client, Action::bridge(name, second.as_str(), false)).await;
    let bridge = watch
        .until("BridgeEnter", |e| match e {
            Event::BridgeEnter(member) if member.channel.uniqueid == second => Some(member.bridge.id.clone()),
            _ => None,
        })
        .await;
    watch
        .is_seen(
            "BridgeEnter of the first",
            |e| matches!(e, Event::BridgeEnter(m) if m.channel.uniqueid == first && m.bridge.id == bridge),
        )
        .await;
    let members = client.list(Action::bridge_info(&bridge).unwrap()).await.unwrap();
    assert_eq!(members.len(), 2);
    done(&client, Action::blind_transfer(name, &Place::new("ami", "100"))).await;
    watch
        .is_seen("BlindTransfer", |e| {
            matches!(e, Event::BlindTransfer(t) if t.result == "Success" && t.transferer.uniqueid == first
                && t.transferee.as_ref().is_some_and(|c| c.uniqueid == second) && t.exten == "100")
        })
        .await;

    let third = call(&client, &mut watch, "third", "300").await;
    done(&client, Action::park(third.as_str(), None, Some(Duration::from_secs(30)), Some(second.as_str()))).await;
    let space = watch
        .until("ParkedCall", |e| match e {
            Event::ParkedCall(parked) if parked.parkee.uniqueid == third => Some(parked.space),
            _ => None,
        })
        .await;
    assert!((701..=720).contains(&space));
    assert_eq!(client.list(Action::parked_calls(None).unwrap()).await.unwrap().len(), 1);
    done(&client, Action::redirect(second.as_str(), &Place::new("parkedcalls", space.to_string()))).await;
    watch
        .is_seen("UnParkedCall", |e| {
            matches!(e, Event::UnParkedCall(p) if p.parkee.uniqueid == third
                && p.retriever.as_ref().is_some_and(|c| c.uniqueid == second))
        })
        .await;

    let fourth = call(&client, &mut watch, "fourth", "300").await;
    done(&client, Action::park(fourth.as_str(), None, None, Some(second.as_str()))).await;
    watch.is_seen("ParkedCall", |e| matches!(e, Event::ParkedCall(p) if p.parkee.uniqueid == fourth)).await;
    done(&client, Action::hangup(&fourth, 16)).await;
    watch.is_seen("ParkedCallGiveUp", |e| matches!(e, Event::ParkedCallGiveUp(p) if p.parkee.uniqueid == fourth)).await;
    watch.is_seen("Hangup", |e| matches!(e, Event::Hangup(h) if h.channel.uniqueid == fourth && h.cause == 16)).await;
}

/// Every action that has a function of ours is one that Asterisk knows.
async fn known(version: Version) {
    let asterisk = start(version, &Certificate::good());
    let (client, _watch) = Watch::start(config(&asterisk)).await;
    let known = client.send(Action::new("ListCommands")).await.unwrap();
    for name in [
        "Challenge Login Logoff Ping Events Filter Command UserEvent Reload ModuleCheck ListCommands",
        "CoreShowChannels CoreSettings CoreStatus Status BridgeList BridgeInfo BridgeDestroy BridgeKick",
        "Hangup Getvar Setvar Originate Redirect Atxfer CancelAtxfer BlindTransfer Bridge Park ParkedCalls",
        "PlayDTMF MuteAudio AbsoluteTimeout SendText",
        "QueueStatus QueueSummary QueueAdd QueueRemove QueuePause QueuePenalty QueueReload QueueReset",
        "DeviceStateList ExtensionStateList ExtensionState PresenceState",
        "PJSIPShowEndpoints PJSIPShowContacts PJSIPShowRegistrationsOutbound PJSIPQualify",
    ]
    .iter()
    .flat_map(|names| names.split(' '))
    {
        assert!(known.first(name).is_some(), "{version} knows no {name}");
    }
}

/// Pick-up, attended transfer and conference, by functions that the manager calls.
async fn handled(version: Version) {
    let asterisk = start(version, &Certificate::good());
    let manager = Manager::new(config(&asterisk));
    let (told, mut seen) = mpsc::unbounded_channel();
    // Only what one handler is told is in order.
    for pattern in ["Pickup", "Confbridge*", "Newstate", "Bridge*", "AttendedTransfer"] {
        let told = told.clone();
        manager.on(pattern, move |event| {
            let told = told.clone();
            async move { told.send(event).unwrap() }
        });
    }
    let (up_told, mut is_up) = mpsc::unbounded_channel();
    manager.on_link(move |change| {
        let up_told = up_told.clone();
        async move { up_told.send(matches!(change, LinkChange::Up(_))).unwrap() }
    });
    let client = manager.start();
    assert_eq!(within(is_up.recv()).await, Some(true));
    let originate = |id: &str, exten: &str| {
        let mut call = Originate::new("Local/300@ami/n", Target::Place(Place::new("ami", exten)));
        call.channel_id = Some(Uniqueid::new(id));
        Action::originate(&call)
    };
    let is = |id: &'static str| move |channel: &ChannelSnapshot| channel.uniqueid.as_str() == id;

    done(&client, originate("caller", "500")).await;
    until(
        &mut seen,
        |e| matches!(e, Event::NewState(c) if c.name.starts_with("Local/501@") && c.state == ChannelState::Ringing),
    )
    .await;
    done(&client, originate("taker", "502")).await;
    until(
        &mut seen,
        |e| matches!(e, Event::Pickup(p) if is("taker")(&p.channel) && p.target.name.starts_with("Local/501@")),
    )
    .await;

    done(&client, originate("asker", "700")).await;
    until_joined(&mut seen, "asker").await;
    done(&client, Action::attended_transfer("asker", &Place::new("ami", "300"))).await;
    // The asker talks to the target in a bridge of their own, until he leaves.
    until(&mut seen, |e| matches!(e, Event::BridgeLeave(m) if is("asker")(&m.channel))).await;
    until_joined(&mut seen, "asker").await;
    done(&client, Action::hangup(&Uniqueid::new("asker"), 16)).await;
    until(&mut seen, |e| {
        matches!(e, Event::AttendedTransfer(t) if t.result == "Success" && is("asker")(&t.first_transferer)
            && is("asker")(&t.second_transferer) && t.transferee.is_some() && t.destination == "Bridge")
    })
    .await;

    done(&client, originate("guest", "600")).await;
    until(&mut seen, |e| matches!(e, Event::ConferenceStart(c) if c.conference == "9")).await;
    until(&mut seen, |e| matches!(e, Event::ConferenceJoin(c) if c.channel.as_ref().is_some_and(is("guest")))).await;
    done(&client, Action::hangup(&Uniqueid::new("guest"), 16)).await;
    until(&mut seen, |e| matches!(e, Event::ConferenceLeave(c) if c.channel.as_ref().is_some_and(is("guest")))).await;
    until(&mut seen, |e| matches!(e, Event::ConferenceEnd(c) if c.conference == "9")).await;
}

/// Takes what handlers were told until the channel is in a bridge with another one, whichever of them entered first.
async fn until_joined(seen: &mut mpsc::UnboundedReceiver<Event>, id: &str) {
    let joined = RefCell::new(None);
    until(seen, |event| {
        let Event::BridgeEnter(member) = event else { return false };
        if member.channel.uniqueid.as_str() == id {
            joined.replace(Some(member.bridge.id.clone()));
        }
        joined.borrow().as_ref() == Some(&member.bridge.id) && member.bridge.channel_count == 2
    })
    .await;
}

/// Takes what handlers were told up to what fits.
async fn until(seen: &mut mpsc::UnboundedReceiver<Event>, fits: impl Fn(&Event) -> bool) {
    within(async { while !fits(&seen.recv().await.unwrap()) {} }).await;
}

/// Queues with their members and callers, device states, commands, and what managers tell each other.
async fn queues(version: Version) {
    let asterisk = start(version, &Certificate::good());
    let (client, mut watch) = Watch::start(config(&asterisk)).await;

    let member = NewMember { name: Some("Ann".to_owned()), paused: true, ..NewMember::new("sales", "Local/300@ami/n") };
    done(&client, Action::queue_add(&member)).await;
    watch.is_seen("QueueMemberAdded", |e| matches!(e, Event::QueueMemberAdded(m) if m.name == "Ann" && m.paused)).await;
    let caller = call(&client, &mut watch, "caller", "200").await;
    let is_caller = |channel: &Option<ChannelSnapshot>| channel.as_ref().is_some_and(|c| c.uniqueid == caller);
    watch
        .is_seen("QueueCallerJoin", |e| {
            matches!(e, Event::QueueCallerJoin(c) if c.channel.uniqueid == caller && (c.position, c.count) == (1, 1))
        })
        .await;
    watch
        .is_seen("MusicOnHoldStart", |e| matches!(e, Event::MusicOnHoldStart(m) if m.channel.uniqueid == caller))
        .await;
    let listed = client.list(Action::queue_status(Some("sales")).unwrap()).await.unwrap();
    let listed: Vec<Event> = listed.iter().map(Event::from).collect();
    assert!(listed.iter().any(|e| matches!(e, Event::QueueParams(q) if q.queue == "sales" && q.calls == 1)));
    assert!(listed.iter().any(|e| matches!(e, Event::QueueMember(m) if m.name == "Ann" && m.paused)));
    assert!(listed.iter().any(|e| matches!(e, Event::QueueEntry(c) if c.uniqueid == caller && c.position == 1)));
    let summary = client.list(Action::queue_summary(None).unwrap()).await.unwrap();
    assert!(summary.iter().any(|m| matches!(Event::from(m), Event::QueueSummary(q) if q.callers == 1)));

    done(&client, Action::queue_pause(Some("sales"), "Local/300@ami/n", false, None)).await;
    watch.is_seen("QueueMemberPause", |e| matches!(e, Event::QueueMemberPause(m) if !m.paused)).await;
    watch.is_seen("AgentCalled", |e| matches!(e, Event::AgentCalled(a) if is_caller(&a.caller))).await;
    watch
        .is_seen("AgentConnect", |e| {
            matches!(e, Event::AgentConnect(a) if is_caller(&a.caller) && a.agent.is_some() && a.member_name == "Ann")
        })
        .await;
    watch.is_seen("QueueCallerLeave", |e| matches!(e, Event::QueueCallerLeave(c) if c.count == 0)).await;
    done(&client, Action::hangup(&caller, 16)).await;
    watch.is_seen("AgentComplete", |e| matches!(e, Event::AgentComplete(a) if a.reason == "caller")).await;
    done(&client, Action::queue_remove("sales", "Local/300@ami/n")).await;
    watch.is_seen("QueueMemberRemoved", |e| matches!(e, Event::QueueMemberRemoved(m) if m.name == "Ann")).await;

    // A member who does not answer, and a caller who does not wait for ever.
    done(&client, Action::queue_add(&NewMember::new("slow", "Local/501@ami/n"))).await;
    let caller = call(&client, &mut watch, "patient", "201").await;
    let rang = watch
        .until("AgentRingNoAnswer", |e| match e {
            Event::AgentRingNoAnswer(a) if a.interface == "Local/501@ami/n" => Some(a.ring_time),
            _ => None,
        })
        .await;
    assert!((Duration::from_millis(500)..Duration::from_secs(10)).contains(&rang), "{rang:?}");
    done(&client, Action::hangup(&caller, 16)).await;
    watch
        .is_seen(
            "QueueCallerAbandon",
            |e| matches!(e, Event::QueueCallerAbandon(c) if c.channel.uniqueid == caller && c.original_position == 1),
        )
        .await;
    watch.is_seen("MusicOnHoldStop", |e| matches!(e, Event::MusicOnHoldStop(c) if c.uniqueid == caller)).await;

    done(&client, Action::setvar(None, "DEVICE_STATE(Custom:lamp)", "INUSE")).await;
    watch
        .is_seen(
            "DeviceStateChange",
            |e| matches!(e, Event::DeviceStateChange(d) if d.device == "Custom:lamp" && d.state == DeviceState::InUse),
        )
        .await;
    watch
        .is_seen(
            "ExtensionStatus",
            |e| matches!(e, Event::ExtensionStatus(x) if x.exten == "400" && x.status == 1 && x.status_text == "InUse"),
        )
        .await;
    let states = client.list(Action::device_state_list()).await.unwrap();
    assert!(states.iter().any(|m| matches!(Event::from(m), Event::DeviceStateChange(d) if d.device == "Custom:lamp")));

    done(&client, Action::user_event("Note", &[("Text", "hello")])).await;
    watch
        .is_seen("UserEvent", |e| {
            matches!(e, Event::UserEvent(u) if u.name == "Note" && u.first("Text") == Some("hello") && u.channel.is_none())
        })
        .await;
    done(&client, Action::reload(Some("app_queue.so"))).await;
    watch.is_seen("Reload", |e| matches!(e, Event::Reload { .. })).await;

    let uptime = client.command("core show uptime").await.unwrap();
    assert!(uptime.iter().any(|line| line.starts_with("System uptime: ")), "{uptime:?}");
    // More lines than any event has.
    assert!(client.command("manager show commands").await.unwrap().len() > 50);
    assert!(client.command("no such command").await.is_err());
    assert!(client.is_up());
}

/// Filters are Asterisk's own work: it is told what not to send.
async fn filtered(version: Version) {
    let asterisk = start(version, &Certificate::good());
    let mut config = config(&asterisk);
    config.event_filters =
        vec![EventFilter::only_events(["Newchannel", "Hangup"]), EventFilter::except("Uniqueid: (other-)?deaf")];
    let (_filtered, mut few) = Watch::start(config.clone()).await;
    config.event_filters.clear();
    let (client, mut all) = Watch::start(config).await;
    for id in ["deaf", "heard"] {
        let channel = call(&client, &mut all, id, "300").await;
        done(&client, Action::hangup(&channel, 16)).await;
    }
    let is_end = |e: &Event| matches!(e, Event::Hangup(h) if h.channel.uniqueid.as_str() == "heard");
    all.is_seen("Hangup", is_end).await;
    few.is_seen("Hangup", is_end).await;
    let passed = |e: &Event| match e {
        Event::NewChannel(c) => !c.uniqueid.as_str().ends_with("deaf"),
        Event::Hangup(h) => !h.channel.uniqueid.as_str().ends_with("deaf"),
        // Told to this connection at its login, not by the way of events.
        Event::FullyBooted => true,
        _ => false,
    };
    assert!(few.seen.iter().all(passed), "{:#?}", few.seen);
    assert!(all.seen.len() > few.seen.len());
}

/// TLS as Asterisk speaks it, by authority and by fingerprint.
async fn secured(version: Version) {
    let certificate = Certificate::good();
    let asterisk = start(version, &certificate);
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&asterisk);
    config.port = asterisk.ami_tls_port();
    config.ping_interval = Duration::from_millis(50);
    for tls in [certificate.trusted_by_authority(dir.path()), certificate.trusted_by_fingerprint()] {
        config.tls = Some(tls);
        let (client, mut watch) = Watch::start(config.clone()).await;
        let channel = call(&client, &mut watch, "secured", "300").await;
        done(&client, Action::hangup(&channel, 16)).await;
        watch.is_seen("Hangup", |e| matches!(e, Event::Hangup(h) if h.channel.uniqueid == channel)).await;
        assert!(client.command("manager show commands").await.unwrap().len() > 50);
        assert_eq!(client.counts().failures, 0);
    }

    config.tls = Some(Trust::Fingerprint(aimg_tls::fingerprint(b"another certificate")).into());
    let (_client, mut events) = Client::start(config.clone());
    let error = down(&mut events).await;
    assert!(error.to_string().contains(&aimg_tls::fingerprint(&certificate.der).to_string()), "{error}");
    // The port without TLS, asked for TLS.
    config.port = asterisk.access().ami_port;
    let (_client, mut events) = Client::start(config);
    let error = down(&mut events).await;
    assert!(error.to_string().contains("is it the port of TLS?"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_on_22() {
    calls(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_on_16() {
    calls(Version::V16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_on_22() {
    queues(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_on_16() {
    queues(Version::V16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_on_22() {
    known(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_on_16() {
    known(Version::V16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_on_22() {
    handled(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_on_16() {
    handled(Version::V16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_on_22() {
    filtered(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_on_16() {
    filtered(Version::V16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_on_22() {
    secured(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_on_16() {
    secured(Version::V16).await;
}
