//! `aimg doctor`: says before the first call whether calls will be captured, and leaves nothing behind.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use aimg_core::TapMode;
use aimg_testbed::{Access, Asterisk, Context, Options, PortBlock, Version};
use serde_json::Value;

use crate::bench::{Bench, all_went_well, callee};
use crate::home::Home;
use crate::waiting::eventually;

/// Users beside the usual one, with the same secret: one that ARI lets only look, one that AMI tells of no channel, and
/// one that may run commands.
const OTHER_USERS: [(&str, &str); 5] = [
    (
        "ari.conf",
        "[looker]\ntype = user\nread_only = yes\npassword = {{secret}}\n[deaf]\ntype = user\npassword = {{secret}}",
    ),
    ("manager.conf", "[looker]\nsecret = {{secret}}\nread = call,system\nwrite = system,reporting,call"),
    ("manager.conf", "[deaf]\nsecret = {{secret}}\nread = system\nwrite = reporting"),
    ("ari.conf", "[boss]\ntype = user\npassword = {{secret}}"),
    ("manager.conf", "[boss]\nsecret = {{secret}}\nread = all\nwrite = all"),
];

/// What the doctor printed, and its exit code.
struct Examined {
    code: Option<i32>,
    report: Value,
}

impl Examined {
    fn by(home: &Home, environment: &[(&str, &str)]) -> Self {
        let mut command = home.aimg(&["doctor", "--json"]);
        command.envs(environment.iter().copied());
        let ended = home.run(command);
        let report = serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
        Self { code: ended.code, report }
    }

    /// Findings of this machine and of the only PBX, of one level: area, sentence, and the lines that cure it.
    fn findings(&self, level: &str) -> Vec<(&str, &str, String)> {
        let machine = self.report["machine"].as_array().unwrap();
        let pbx = self.report["pbxs"][0]["findings"].as_array().unwrap();
        let told = machine.iter().chain(pbx).filter(|f| f["level"] == level);
        told.map(|f| (f["area"].as_str().unwrap(), f["what"].as_str().unwrap(), f["cure"]["lines"].to_string()))
            .collect()
    }

    /// Fails unless it ended with this code, calls will not be captured, and a problem has these words and this cure.
    #[track_caller]
    fn found_problem(&self, code: i32, words: &str, cure: &str) {
        let problems = self.findings("problem");
        let told = problems.iter().any(|(_, what, lines)| what.contains(words) && lines.contains(cure));
        assert!(told, "`{words}` with `{cure}` is not in {problems:#?}");
        assert_eq!((self.code, &self.report["captured"]), (Some(code), &Value::Bool(false)), "{problems:#?}");
    }
}

fn bench_with_other_users(user: &str) -> Bench {
    let additions = OTHER_USERS.map(|(file, text)| (file.to_owned(), text.to_owned())).to_vec();
    let asterisk = Asterisk::start(Version::V22, &Options { additions, ..Options::default() }).unwrap();
    let home = Home::new();
    home.add_pbx(&Access { user: user.to_owned(), ..asterisk.access().clone() }, TapMode::Ami);
    Bench { home, asterisk }
}

fn all_is_well(version: Version) {
    let bench = Bench::new(version, TapMode::Hook);
    let examined = Examined::by(&bench.home, &[("AIMG_MEDIA_SHARDS", "2")]);
    assert_eq!(examined.findings("problem"), [], "nothing keeps calls from being captured");
    assert_eq!((examined.code, &examined.report["captured"]), (Some(0), &Value::Bool(true)));
    let told = examined.report["pbxs"][0]["asterisk"].as_str().unwrap();
    assert!(told.starts_with(version.name()), "{told}");

    let ok = examined.findings("ok");
    let receives = ok.iter().filter(|(area, what, _)| *area == "route" && what.contains("receives")).count();
    assert_eq!(receives, 2, "packets came to both shards: {ok:#?}");
    for area in ["machine", "version", "ami", "ari", "modules", "http", "timing", "dialplan", "media", "route"] {
        assert!(examined.report.to_string().contains(&format!("\"area\":\"{area}\"")), "nothing is told of {area}");
    }
    for words in ["events of class call: one came", "write classes proved: call, system", "removed again"] {
        assert!(ok.iter().any(|(_, what, _)| what.contains(words)), "`{words}` is not in {ok:#?}");
    }
    for (area, what, lines) in examined.findings("warning") {
        let expected = match area {
            // What this machine is, and how busy: not Asterisk's doing.
            "machine" | "timing" => true,
            "media" => what.contains("are enough for 79 captured calls"),
            "version" => version == Version::V16,
            _ => false,
        };
        assert!(expected, "{area}: {what}: {lines}");
    }
    bench.wait_until_asterisk_is_empty();
    assert_eq!(doctor_apps(&bench), "", "its application is gone too");
}

/// What Asterisk knows of the doctor's application.
fn doctor_apps(bench: &Bench) -> String {
    let apps = bench.asterisk.cli("ari show apps").unwrap();
    apps.lines().filter(|line| line.contains("doctor")).collect()
}

#[test]
fn all_is_well_on_asterisk_22() {
    all_is_well(Version::V22);
}

#[test]
fn all_is_well_on_asterisk_16() {
    all_is_well(Version::V16);
}

#[test]
fn every_pbx_is_looked_at_by_itself() {
    let bench = Bench::new(Version::V22, TapMode::Ami);
    let options = Options { app: "elsewhere".to_owned(), ..Options::default() };
    let branch = Asterisk::start(Version::V16, &options).unwrap();
    // The hook of its dialplan is another application's.
    bench.home.add_second_pbx(&Access { app: "aimg".to_owned(), ..branch.access().clone() }, TapMode::Hook);
    let examined = Examined::by(&bench.home, &[]);
    assert_eq!(examined.code, Some(0), "{:#?}", examined.report);
    let pbxs = examined.report["pbxs"].as_array().unwrap();
    let names: Vec<_> = pbxs.iter().map(|pbx| pbx["pbx"].as_str().unwrap()).collect();
    assert_eq!(names, ["branch", "office"]);
    for pbx in pbxs {
        let receives = |f: &Value| f["area"] == "route" && f["what"].as_str().unwrap().contains("receives");
        assert!(pbx["findings"].as_array().unwrap().iter().any(receives), "{pbx:#}");
    }
    let hook = pbxs[0]["findings"].as_array().unwrap().iter().find(|f| f["area"] == "dialplan").unwrap();
    assert_eq!(hook["level"], "warning");
    assert_eq!(hook["cure"]["lines"][2], " same => n,Stasis(aimg,tap)");
    bench.wait_until_asterisk_is_empty();
}

#[test]
fn a_missing_module_is_named_with_the_line_that_loads_it() {
    let options = Options { without_modules: vec!["chan_rtp.so".to_owned()], ..Options::default() };
    let bench = Bench::with(Version::V22, TapMode::Ami, &options);
    let examined = Examined::by(&bench.home, &[]);
    examined.found_problem(69, "chan_rtp.so is not running", "load = chan_rtp.so");
    examined.found_problem(69, "no capture towards 127.0.0.1", "");
    bench.wait_until_asterisk_is_empty();
}

#[test]
fn wrong_secrets_are_refused_and_not_shown() {
    let asterisk = Asterisk::start(Version::V22, &Options::default()).unwrap();
    let right = asterisk.access().secret.as_str();
    let cases = [
        ("no-such-secret", right, "refused Login of user `aimg`", "secret = (as given"),
        (right, "no-such-secret", "denied GET /asterisk/info to ARI user `aimg` (401)", "password = (as given"),
    ];
    for (ami, ari, words, cure) in cases {
        let home = Home::new();
        home.add_pbx_with(asterisk.access(), TapMode::Ami, ami, ari);
        let examined = Examined::by(&home, &[]);
        examined.found_problem(77, words, cure);
        assert!(!examined.report.to_string().contains("no-such-secret"));
    }
}

#[test]
fn a_user_that_may_only_look_is_refused() {
    let bench = bench_with_other_users("looker");
    Examined::by(&bench.home, &[]).found_problem(77, "to ARI user `looker` (403)", "read_only = no");
    bench.wait_until_asterisk_is_empty();
}

#[test]
fn classes_that_are_missing_are_told_with_what_they_cost() {
    let bench = bench_with_other_users("deaf");
    let examined = Examined::by(&bench.home, &[]);
    examined.found_problem(77, "events of class call do not come", "read = call,system");
    // Without write class system nobody shows us settings.
    let unseen = examined.findings("warning");
    let told = unseen.iter().any(|(_, what, lines)| {
        what.contains("sessionlimit of http.conf could not be seen") && lines.contains("write = system,reporting,call")
    });
    assert!(told, "{unseen:#?}");
    bench.wait_until_asterisk_is_empty();
}

#[test]
fn what_is_not_there_is_told_with_where_it_should_be() {
    let home = Home::new();
    {
        let asterisk = Asterisk::start(Version::V22, &Options::default()).unwrap();
        home.add_pbx(asterisk.access(), TapMode::Ami);
        asterisk.stop().unwrap();
    }
    let examined = Examined::by(&home, &[]);
    examined.found_problem(69, "cannot connect to Asterisk", "bindaddr = 127.0.0.1");
    examined.found_problem(69, "was not sent", "bindport = ");
    let examined = Examined::by(&home, &[("AIMG_SPOOL_DIR", "/proc/no-such-place")]);
    examined.found_problem(73, "/proc/no-such-place", "mkdir -p /proc/no-such-place");
}

#[test]
fn packets_that_do_not_come_are_told() {
    let bench = Bench::new(Version::V22, TapMode::Ami);
    // Asterisk can send there, and nobody hears it.
    let examined = Examined::by(&bench.home, &[("AIMG_MEDIA_ADVERTISE", "127.0.0.2")]);
    examined.found_problem(69, "no packet came from 127.0.0.1", "nft insert rule inet filter input");
    bench.wait_until_asterisk_is_empty();
}

#[test]
fn a_running_gateway_and_its_calls_are_not_disturbed() {
    let bench = Bench::new(Version::V22, TapMode::Hook);
    let gateway = bench.home.serve_linked();
    let mut callee = callee(1);
    let mut caller = bench.caller(Context::TapHook, &callee).start().unwrap();
    eventually("the call is being captured", || match bench.home.live_packets().as_slice() {
        [caller, callee] if *caller > 0 && *callee > 0 => Ok(()),
        packets => Err(format!("{packets:?}")),
    });
    let port = gateway.audio().port().to_string();
    let examined = Examined::by(&bench.home, &[("AIMG_MEDIA_PORT", &port)]);
    assert_eq!(examined.code, Some(0), "{:#?}", examined.findings("problem"));
    let ok = examined.findings("ok");
    assert!(ok.iter().any(|(_, what, _)| what.contains(&format!("UDP port {port} is in use"))), "{ok:#?}");
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    let call = bench.home.finished_call();
    assert!(call.recordings[0].complete, "{:?}", call.recordings[0].certificate);
    bench.wait_until_asterisk_is_empty();
    gateway.terminate_without_complaint();
}

/// Does something at the end of a scope, a panic included.
struct Finally<F: Fn()>(F);

impl<F: Fn()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn nat_between_is_told_with_the_address_that_packets_come_from() {
    let bench = Bench::new(Version::V22, TapMode::Ami);
    let ports = PortBlock::reserve(1).unwrap();
    let (told, heard) = ((Ipv4Addr::new(127, 0, 0, 2), ports.first()), (Ipv4Addr::LOCALHOST, ports.first()));
    // Asterisk sends to one address, and from that one its packets go on to us.
    let nat = UdpSocket::bind(told).unwrap();
    nat.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let done = AtomicBool::new(false);
    let examined = thread::scope(|scope| {
        scope.spawn(|| {
            let mut packet = [0; 2_048];
            while !done.load(Ordering::Relaxed) {
                if let Ok(length) = nat.recv(&mut packet) {
                    nat.send_to(&packet[..length], heard).unwrap();
                }
            }
        });
        let _at_end = Finally(|| done.store(true, Ordering::Relaxed));
        let port = ports.first().to_string();
        Examined::by(&bench.home, &[("AIMG_MEDIA_ADVERTISE", "127.0.0.2"), ("AIMG_MEDIA_PORT", port.as_str())])
    });
    let words = format!("came from 127.0.0.2:{}: there is NAT between", ports.first());
    examined.found_problem(69, &words, "network_mode: host");
    bench.wait_until_asterisk_is_empty();
}

#[test]
fn asterisk_tests_its_own_timer_where_it_may_be_asked() {
    let bench = bench_with_other_users("boss");
    let examined = Examined::by(&bench.home, &[]);
    assert_eq!(examined.code, Some(0), "{:#?}", examined.findings("problem"));
    let ok = examined.findings("ok");
    let told = ok.iter().any(|(area, what, _)| *area == "timing" && what.contains("timer ticks"));
    assert!(told, "{ok:#?}");
}

/// Starts the doctor and waits until something of it is in Asterisk.
fn half_way(bench: &Bench) -> Child {
    // Its packets do not come, so it waits for them a while.
    let mut doctor = bench.home.aimg(&["doctor"]);
    doctor.env("AIMG_MEDIA_ADVERTISE", "127.0.0.2");
    let child = doctor.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the doctor has channels", || match bench.asterisk.channels().unwrap().len() {
        0 => Err("none yet".to_owned()),
        _ => Ok(()),
    });
    child
}

#[test]
fn one_that_is_interrupted_leaves_nothing() {
    let bench = Bench::new(Version::V22, TapMode::Ami);
    let mut doctor = half_way(&bench);
    assert!(Command::new("kill").args(["-INT", &doctor.id().to_string()]).status().unwrap().success());
    assert_eq!(doctor.wait().unwrap().code(), Some(69));
    bench.wait_until_asterisk_is_empty();
}

#[test]
fn what_a_killed_one_left_is_removed_by_the_next() {
    let bench = Bench::new(Version::V22, TapMode::Ami);
    let mut doctor = half_way(&bench);
    doctor.kill().unwrap();
    doctor.wait().unwrap();
    assert_ne!(bench.asterisk.channels().unwrap(), [], "chan_rtp has no time-out");
    let examined = Examined::by(&bench.home, &[]);
    assert_eq!(examined.code, Some(0));
    let ok = examined.findings("ok");
    assert!(ok.iter().any(|(_, what, _)| what.contains("of a look that was killed are removed")), "{ok:#?}");
    bench.wait_until_asterisk_is_empty();
}
