//! Every request, as it goes over the wire, and as Asterisk itself describes it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use aimg_ari::model::EventType;
use aimg_ari::request::{
    Arrival, BridgeKind, Control, DialplanPlace, Digits, ExternalMedia, HangupReason, IfExists, Membership, Message,
    MuteDirection, NewChannel, Originate, Play, Record, Request, Snoop, Spy, applications, asterisk, bridges, channels,
    device_states, endpoints, events, mailboxes, playbacks, recordings, sounds,
};
use aimg_ari::{BridgeId, PlaybackId};
use aimg_core::{Codec, Uniqueid};
use aimg_testbed::{Root, Version};
use serde_json::Value;

/// Method, target and body in one line.
fn sent<R>(request: &Request<R>) -> String {
    let body = request.body().map(|body| format!(" {body}")).unwrap_or_default();
    format!("{} {}{body}", request.method(), request.target())
}

/// Every request with everything it can carry, and what it is on the wire.
fn every() -> Vec<(String, &'static str)> {
    let mut all = about_channels();
    all.extend(about_control());
    all.extend(about_bridges());
    all.extend(about_asterisk());
    all.extend(about_objects());
    all
}

fn variables() -> BTreeMap<String, String> {
    [("A".to_owned(), "1".to_owned())].into()
}

fn about_channels() -> Vec<(String, &'static str)> {
    let (id, other) = (Uniqueid::new("1.2"), Uniqueid::new("1.3"));
    let place = DialplanPlace { context: "in".into(), exten: "s".into(), priority: 1 };
    let mut originate = Originate::new(id.clone(), "PJSIP/a", Arrival::Dialplan(place.clone()));
    originate.other_id = Some(other.clone());
    originate.caller_id = Some("A <1>".into());
    originate.timeout_s = Some(-1);
    originate.originator = Some(Uniqueid::new("1.1"));
    originate.variables = variables();
    let arrival = Arrival::App { app: "aimg".into(), args: vec!["x".into(), "y".into()] };
    let mut to_app = Originate::new(id.clone(), "Local/s@in/n", arrival);
    to_app.formats = vec!["ulaw".into(), "alaw".into()];
    let mut create = NewChannel::new(id.clone(), "PJSIP/a", "aimg");
    create.other_id = Some(other.clone());
    create.args = vec!["x".into()];
    create.formats = vec!["ulaw".into()];
    create.variables = variables();
    let mut create_for = NewChannel::new(id.clone(), "PJSIP/a", "aimg");
    create_for.originator = Some(other.clone());
    let snoop =
        Snoop { id: other.clone(), app: "aimg".into(), args: vec!["x".into()], spy: Spy::None, whisper: Spy::Out };
    let external_host: SocketAddr = ([127, 0, 0, 1], 4000).into();
    let media = ExternalMedia {
        id: id.clone(),
        app: "aimg".into(),
        external_host,
        format: Codec::Ulaw,
        variables: variables(),
    };
    vec![
        (sent(&channels::list()), "GET /channels"),
        (sent(&channels::one(&id)), "GET /channels/1.2"),
        (
            sent(&channels::originate(&originate)),
            r#"POST /channels?channelId=1.2&otherChannelId=1.3&endpoint=PJSIP%2Fa&context=in&extension=s&priority=1&callerId=A%20%3C1%3E&timeout=-1&originator=1.1 {"variables":{"A":"1"}}"#,
        ),
        (
            sent(&channels::originate(&to_app)),
            "POST /channels?channelId=1.2&endpoint=Local%2Fs%40in%2Fn&app=aimg&appArgs=x%2Cy&formats=ulaw%2Calaw",
        ),
        (
            sent(&channels::create(&create)),
            r#"POST /channels/create?channelId=1.2&otherChannelId=1.3&endpoint=PJSIP%2Fa&app=aimg&appArgs=x&formats=ulaw {"variables":{"A":"1"}}"#,
        ),
        (
            sent(&channels::create(&create_for)),
            "POST /channels/create?channelId=1.2&endpoint=PJSIP%2Fa&app=aimg&originator=1.3",
        ),
        (sent(&channels::dial(&id, Some(&other), 30)), "POST /channels/1.2/dial?caller=1.3&timeout=30"),
        (sent(&channels::snoop(&id, &other, "aimg", Spy::In)), "POST /channels/1.2/snoop/1.3?spy=in&app=aimg"),
        (
            sent(&channels::snoop_as(&id, &snoop)),
            "POST /channels/1.2/snoop/1.3?spy=none&whisper=out&app=aimg&appArgs=x",
        ),
        (
            sent(&channels::external_media(&media)),
            r#"POST /channels/externalMedia?channelId=1.2&app=aimg&external_host=127.0.0.1%3A4000&encapsulation=rtp&transport=udp&connection_type=client&format=ulaw&direction=both {"variables":{"A":"1"}}"#,
        ),
        (sent(&channels::hangup(&id, HangupReason::Busy)), "DELETE /channels/1.2?reason=busy"),
        (sent(&channels::hangup_with_cause(&id, 17)), "DELETE /channels/1.2?reason_code=17"),
        (
            sent(&channels::continue_in_dialplan(&id, Some(&place))),
            "POST /channels/1.2/continue?context=in&extension=s&priority=1",
        ),
        (sent(&channels::move_to_app(&id, "other", &["x", "y"])), "POST /channels/1.2/move?app=other&appArgs=x%2Cy"),
        (sent(&channels::redirect(&id, "PJSIP/b")), "POST /channels/1.2/redirect?endpoint=PJSIP%2Fb"),
        (sent(&channels::variable(&id, "A")), "GET /channels/1.2/variable?variable=A"),
        (sent(&channels::set_variable(&id, "A", "1")), r#"POST /channels/1.2/variable {"value":"1","variable":"A"}"#),
        (sent(&channels::variables(&id, &["A", "B"])), "GET /channels/1.2/variables?variables=A%2CB"),
        (sent(&channels::set_variables(&id, &variables())), r#"POST /channels/1.2/variables {"variables":{"A":"1"}}"#),
        (sent(&channels::rtp_statistics(&id)), "GET /channels/1.2/rtp_statistics"),
    ]
}

fn about_control() -> Vec<(String, &'static str)> {
    let id = Uniqueid::new("1.2");
    let keys = Digits {
        digits: "12#".into(),
        before_ms: Some(1),
        between_ms: Some(2),
        duration_ms: Some(3),
        after_ms: Some(4),
    };
    let few = Digits { digits: "1".into(), ..Digits::default() };
    let play = Play {
        media: vec!["sound:a".into(), "digits:1".into()],
        language: Some("en".into()),
        offset_ms: Some(5),
        skip_ms: Some(6),
    };
    let mut record = Record::new("r/1", "wav");
    record.if_exists = IfExists::Overwrite;
    record.beep = true;
    record.terminate_on = Some("#".into());
    let playback = PlaybackId::new("p");
    vec![
        (sent(&channels::answer(&id)), "POST /channels/1.2/answer"),
        (sent(&channels::start_ringing(&id)), "POST /channels/1.2/ring"),
        (sent(&channels::stop_ringing(&id)), "DELETE /channels/1.2/ring"),
        (sent(&channels::progress(&id)), "POST /channels/1.2/progress"),
        (sent(&channels::dtmf(&id, &keys)), "POST /channels/1.2/dtmf?dtmf=12%23&before=1&between=2&duration=3&after=4"),
        (sent(&channels::dtmf(&id, &few)), "POST /channels/1.2/dtmf?dtmf=1"),
        (sent(&channels::mute(&id, MuteDirection::In)), "POST /channels/1.2/mute?direction=in"),
        (sent(&channels::unmute(&id, MuteDirection::Both)), "DELETE /channels/1.2/mute?direction=both"),
        (sent(&channels::hold(&id)), "POST /channels/1.2/hold"),
        (sent(&channels::unhold(&id)), "DELETE /channels/1.2/hold"),
        (sent(&channels::start_moh(&id, Some("quiet"))), "POST /channels/1.2/moh?mohClass=quiet"),
        (sent(&channels::start_moh(&id, None)), "POST /channels/1.2/moh"),
        (sent(&channels::stop_moh(&id)), "DELETE /channels/1.2/moh"),
        (sent(&channels::start_silence(&id)), "POST /channels/1.2/silence"),
        (sent(&channels::stop_silence(&id)), "DELETE /channels/1.2/silence"),
        (
            sent(&channels::play(&id, &playback, &play)),
            "POST /channels/1.2/play/p?media=sound%3Aa%2Cdigits%3A1&lang=en&offsetms=5&skipms=6",
        ),
        (
            sent(&channels::record(&id, &record)),
            "POST /channels/1.2/record?name=r%2F1&format=wav&maxDurationSeconds=0&maxSilenceSeconds=0&ifExists=overwrite&beep=true&terminateOn=%23",
        ),
        (
            sent(&channels::transfer_progress(&id, "channel_answered")),
            "POST /channels/1.2/transfer_progress?states=channel_answered",
        ),
        (sent(&playbacks::one(&playback)), "GET /playbacks/p"),
        (sent(&playbacks::stop(&playback)), "DELETE /playbacks/p"),
        (sent(&playbacks::control(&playback, Control::Pause)), "POST /playbacks/p/control?operation=pause"),
        (sent(&recordings::stored()), "GET /recordings/stored"),
        (sent(&recordings::stored_one("a/b")), "GET /recordings/stored/a%2Fb"),
        (sent(&recordings::remove_stored("r")), "DELETE /recordings/stored/r"),
        (sent(&recordings::file("r")), "GET /recordings/stored/r/file"),
        (sent(&recordings::copy("r", "s")), "POST /recordings/stored/r/copy?destinationRecordingName=s"),
        (sent(&recordings::live("r")), "GET /recordings/live/r"),
        (sent(&recordings::discard("r")), "DELETE /recordings/live/r"),
        (sent(&recordings::stop("r")), "POST /recordings/live/r/stop"),
        (sent(&recordings::pause("r")), "POST /recordings/live/r/pause"),
        (sent(&recordings::unpause("r")), "DELETE /recordings/live/r/pause"),
        (sent(&recordings::mute("r")), "POST /recordings/live/r/mute"),
        (sent(&recordings::unmute("r")), "DELETE /recordings/live/r/mute"),
    ]
}

fn about_bridges() -> Vec<(String, &'static str)> {
    let (id, channel) = (BridgeId::new("b"), Uniqueid::new("1.2"));
    let membership =
        Membership { role: Some("announcer".into()), absorbs_dtmf: true, is_mute: true, inhibits_connected_line: true };
    let kinds = [BridgeKind::Mixing, BridgeKind::DtmfEvents];
    vec![
        (sent(&bridges::list()), "GET /bridges"),
        (sent(&bridges::one(&id)), "GET /bridges/b"),
        (sent(&bridges::create(&id)), "POST /bridges/b?type=mixing"),
        (sent(&bridges::create_as(&id, &kinds, Some("n"))), "POST /bridges/b?type=mixing%2Cdtmf_events&name=n"),
        (sent(&bridges::add_channels(&id, &[&channel])), "POST /bridges/b/addChannel?channel=1.2"),
        (
            sent(&bridges::add_channels_as(&id, &[&channel], &membership)),
            "POST /bridges/b/addChannel?channel=1.2&role=announcer&absorbDTMF=true&mute=true&inhibitConnectedLineUpdates=true",
        ),
        (sent(&bridges::remove_channel(&id, &channel)), "POST /bridges/b/removeChannel?channel=1.2"),
        (sent(&bridges::destroy(&id)), "DELETE /bridges/b"),
        (
            sent(&bridges::play(&id, &PlaybackId::new("p"), &Play::one("digits:1"))),
            "POST /bridges/b/play/p?media=digits%3A1",
        ),
        (
            sent(&bridges::record(&id, &Record::new("r", "wav"))),
            "POST /bridges/b/record?name=r&format=wav&maxDurationSeconds=0&maxSilenceSeconds=0&ifExists=fail",
        ),
        (sent(&bridges::start_moh(&id, Some("quiet"))), "POST /bridges/b/moh?mohClass=quiet"),
        (sent(&bridges::stop_moh(&id)), "DELETE /bridges/b/moh"),
        (sent(&bridges::variable(&id, "A")), "GET /bridges/b/variable?variable=A"),
        (sent(&bridges::set_variable(&id, "A", "1")), r#"POST /bridges/b/variable {"value":"1","variable":"A"}"#),
        (sent(&bridges::variables(&id, &["A"])), "GET /bridges/b/variables?variables=A"),
        (sent(&bridges::set_variables(&id, &variables())), r#"POST /bridges/b/variables {"variables":{"A":"1"}}"#),
    ]
}

fn about_asterisk() -> Vec<(String, &'static str)> {
    let varset = [EventType { name: "ChannelVarset".into() }];
    vec![
        (sent(&applications::list()), "GET /applications"),
        (sent(&applications::one("aimg")), "GET /applications/aimg"),
        (
            sent(&applications::subscribe("aimg", &["channel:1.2"])),
            "POST /applications/aimg/subscription?eventSource=channel%3A1.2",
        ),
        (
            sent(&applications::unsubscribe("aimg", &["bridge:b"])),
            "DELETE /applications/aimg/subscription?eventSource=bridge%3Ab",
        ),
        (
            sent(&applications::filter("aimg", &[], &varset)),
            r#"PUT /applications/aimg/eventFilter {"allowed":[],"disallowed":[{"type":"ChannelVarset"}]}"#,
        ),
        (sent(&asterisk::info()), "GET /asterisk/info"),
        (sent(&asterisk::ping()), "GET /asterisk/ping"),
        (sent(&asterisk::modules()), "GET /asterisk/modules"),
        (sent(&asterisk::module("m.so")), "GET /asterisk/modules/m.so"),
        (sent(&asterisk::load_module("m.so")), "POST /asterisk/modules/m.so"),
        (sent(&asterisk::unload_module("m.so")), "DELETE /asterisk/modules/m.so"),
        (sent(&asterisk::reload_module("m.so")), "PUT /asterisk/modules/m.so"),
        (sent(&asterisk::log_channels()), "GET /asterisk/logging"),
        (
            sent(&asterisk::add_log_channel("x", "notice,warning")),
            "POST /asterisk/logging/x?configuration=notice%2Cwarning",
        ),
        (sent(&asterisk::remove_log_channel("x")), "DELETE /asterisk/logging/x"),
        (sent(&asterisk::rotate_log_channel("x")), "PUT /asterisk/logging/x/rotate"),
        (sent(&asterisk::variable("A")), "GET /asterisk/variable?variable=A"),
        (sent(&asterisk::set_variable("A", "1")), r#"POST /asterisk/variable {"value":"1","variable":"A"}"#),
        (sent(&asterisk::config("c", "t", "i")), "GET /asterisk/config/dynamic/c/t/i"),
        (
            sent(&asterisk::set_config("c", "t", "i", &variables())),
            r#"PUT /asterisk/config/dynamic/c/t/i {"fields":[{"attribute":"A","value":"1"}]}"#,
        ),
        (sent(&asterisk::remove_config("c", "t", "i")), "DELETE /asterisk/config/dynamic/c/t/i"),
    ]
}

fn about_objects() -> Vec<(String, &'static str)> {
    let message = Message { from: "sip:a".into(), body: "hi".into(), variables: variables() };
    vec![
        (sent(&device_states::list()), "GET /deviceStates"),
        (sent(&device_states::one("Stasis:x")), "GET /deviceStates/Stasis%3Ax"),
        (sent(&device_states::set("Stasis:x", "INUSE")), "PUT /deviceStates/Stasis%3Ax?deviceState=INUSE"),
        (sent(&device_states::remove("Stasis:x")), "DELETE /deviceStates/Stasis%3Ax"),
        (sent(&endpoints::list()), "GET /endpoints"),
        (sent(&endpoints::of_technology("PJSIP")), "GET /endpoints/PJSIP"),
        (sent(&endpoints::one("PJSIP", "a")), "GET /endpoints/PJSIP/a"),
        (
            sent(&endpoints::send_message("pjsip:b", &message)),
            r#"PUT /endpoints/sendMessage?to=pjsip%3Ab&from=sip%3Aa&body=hi {"variables":{"A":"1"}}"#,
        ),
        (
            sent(&endpoints::send_message_to("PJSIP", "b", &message)),
            r#"PUT /endpoints/PJSIP/b/sendMessage?from=sip%3Aa&body=hi {"variables":{"A":"1"}}"#,
        ),
        (
            sent(&endpoints::refer("pjsip:b", "sip:a", "sip:c", true)),
            "POST /endpoints/refer?to=pjsip%3Ab&from=sip%3Aa&refer_to=sip%3Ac&to_self=true",
        ),
        (
            sent(&endpoints::refer_endpoint("PJSIP", "b", "sip:a", "sip:c", false)),
            "POST /endpoints/PJSIP/b/refer?from=sip%3Aa&refer_to=sip%3Ac",
        ),
        (
            sent(&events::user_event("x", "aimg", &["channel:1.2"], &variables())),
            r#"POST /events/user/x?application=aimg&source=channel%3A1.2 {"variables":{"A":"1"}}"#,
        ),
        (sent(&events::claim(&Uniqueid::new("1.2"), "aimg")), "POST /events/claim?channelId=1.2&application=aimg"),
        (sent(&mailboxes::list()), "GET /mailboxes"),
        (sent(&mailboxes::one("x")), "GET /mailboxes/x"),
        (sent(&mailboxes::set("x", 1, 2)), "PUT /mailboxes/x?oldMessages=1&newMessages=2"),
        (sent(&mailboxes::remove("x")), "DELETE /mailboxes/x"),
        (sent(&sounds::list(Some("en"), Some("gsm"))), "GET /sounds?lang=en&format=gsm"),
        (sent(&sounds::one("a")), "GET /sounds/a"),
    ]
}

#[test]
fn every_request_is_encoded() {
    for (sent, expected) in every() {
        assert_eq!(sent, expected);
    }
}

/// One operation of Asterisk's own description of its API.
struct Operation {
    method: String,
    /// Such as `/channels/{channelId}/play`.
    path: String,
    /// The names of its query parameters and of its body's fields.
    parameters: Vec<String>,
    required: Vec<String>,
}

fn described(version: Version) -> Vec<Operation> {
    let dir = Root::of(version).unwrap().path().join("usr/share/asterisk/rest-api");
    let mut operations = Vec::new();
    for file in fs::read_dir(dir).unwrap() {
        let text = fs::read(file.unwrap().path()).unwrap();
        let resource: Value = serde_json::from_slice(&text).unwrap();
        // The list of resources has paths without operations.
        for api in resource["apis"].as_array().unwrap().iter().filter(|api| api["operations"].is_array()) {
            operations.extend(api["operations"].as_array().unwrap().iter().map(|described| operation(api, described)));
        }
    }
    operations
}

fn operation(api: &Value, described: &Value) -> Operation {
    let none = Vec::new();
    let parameters = described["parameters"].as_array().unwrap_or(&none);
    let names = |wanted: &dyn Fn(&Value) -> bool| {
        let found = parameters.iter().filter(|p| p["paramType"] != "path" && wanted(p));
        found.map(|p| p["name"].as_str().unwrap().to_owned()).collect()
    };
    Operation {
        method: described["httpMethod"].as_str().unwrap().to_owned(),
        path: api["path"].as_str().unwrap().to_owned(),
        parameters: names(&|_| true),
        required: names(&|p| p["required"] == true),
    }
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// How many segments of the path are literally the same; nothing when it is another path.
    fn likeness(&self, method: &str, path: &str) -> Option<usize> {
        let (own, other): (Vec<&str>, Vec<&str>) = (self.path.split('/').collect(), path.split('/').collect());
        let fits = own.len() == other.len() && own.iter().zip(&other).all(|(a, b)| a.starts_with('{') || a == b);
        (self.method == method && fits).then(|| own.iter().zip(&other).filter(|(a, b)| a == b).count())
    }
}

/// The description of a request: of several that fit, that with the fewest placeholders.
fn description_of<'a>(operations: &'a [Operation], sent: &str) -> Option<&'a Operation> {
    let mut words = sent.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let path = target.split('?').next().unwrap();
    let fitting = operations.iter().filter_map(|o| o.likeness(method, path).map(|likeness| (likeness, o)));
    fitting.max_by_key(|(likeness, _)| *likeness).map(|(_, operation)| operation)
}

/// The names of what a request carries, in its query and its body.
fn carried(sent: &str) -> Vec<String> {
    let (line, body) = sent.split_once(" {").unwrap_or((sent, "}"));
    let query = line.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let mut names: Vec<String> =
        query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name.to_owned()).collect();
    let body: Value = serde_json::from_str(&format!("{{{body}")).unwrap();
    names.extend(body.as_object().unwrap().keys().cloned());
    names
}

#[test]
fn every_request_is_as_asterisk_22_describes_it() {
    let operations = described(Version::V22);
    for (sent, _) in every() {
        let operation = description_of(&operations, &sent).unwrap_or_else(|| panic!("{sent} does not exist"));
        let carried = carried(&sent);
        if operation.path.ends_with("/eventFilter") {
            // Its body is the filter itself.
            continue;
        }
        for name in &carried {
            assert!(operation.parameters.contains(name), "{} has no `{name}`: {sent}", operation.name());
        }
        for name in &operation.required {
            assert!(carried.contains(name), "{} needs `{name}`: {sent}", operation.name());
        }
    }
}

#[test]
fn asterisk_16_lacks_what_the_documentation_says() {
    let operations = described(Version::V16);
    let lacking: Vec<String> =
        every().into_iter().map(|(sent, _)| sent).filter(|sent| description_of(&operations, sent).is_none()).collect();
    let expected = [
        "/bridges/b/variable",
        "/channels/1.2/progress",
        "/channels/1.2/transfer_progress",
        "/channels/1.2/variables",
        "/endpoints/PJSIP/b/refer",
        "/endpoints/refer",
        "/events/claim",
    ];
    for sent in &lacking {
        assert!(expected.iter().any(|path| sent.contains(path)), "{sent}");
    }
    for path in expected {
        assert!(lacking.iter().any(|sent| sent.contains(path)), "{path}");
    }
}

/// What Asterisk offers and we leave: forms in which Asterisk chooses the id, video, and the event stream itself.
const LEFT: [&str; 8] = [
    "POST /bridges",
    "POST /bridges/{bridgeId}/play",
    "POST /bridges/{bridgeId}/videoSource/{channelId}",
    "DELETE /bridges/{bridgeId}/videoSource",
    "POST /channels/{channelId}",
    "POST /channels/{channelId}/play",
    "POST /channels/{channelId}/snoop",
    "GET /events",
];

#[test]
fn everything_that_asterisk_22_offers_can_be_asked() {
    let operations = described(Version::V22);
    let asked: Vec<String> =
        every().iter().filter_map(|(sent, _)| description_of(&operations, sent).map(Operation::name)).collect();
    for operation in &operations {
        let name = operation.name();
        assert!(asked.contains(&name) != LEFT.contains(&name.as_str()), "{name}");
    }
}
