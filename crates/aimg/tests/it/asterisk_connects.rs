//! Asterisk opens ARI's event stream to us, set up by the lines that `pbx show` prints.

use std::time::Duration;

use aimg_testbed::{Asterisk, Context, Options, PortBlock, Version};

use crate::bench::{Bench, all_went_well, callee};
use crate::home::Home;

/// The testbed's user and secret.
const USER: &str = "aimg";
const SECRET: &str = "testbed";

/// The lines for a file, out of what is printed for several.
fn lines_for(file: &str, printed: &str) -> (String, String) {
    let (_, from) =
        printed.split_once(&format!("; {file}\n")).unwrap_or_else(|| panic!("nothing for {file}: {printed}"));
    let lines = from.split("\n; ").next().unwrap().replace("<the ARI password>", SECRET);
    (file.to_owned(), lines)
}

#[test]
fn asterisk_connects_to_us_and_its_calls_are_captured() {
    let ports = PortBlock::reserve(1).unwrap();
    let listen = format!("127.0.0.1:{}", ports.first());
    let home = Home::with_settings(&format!("[ari]\nlisten = \"{listen}\"\n"));
    home.run(home.aimg(&["tenant", "add", "acme"])).succeeded();
    let mut add = home.aimg(&["pbx", "add", "office", "--tenant", "acme", "--host", "127.0.0.1", "--tap", "hook"]);
    add.args(["--ami-user", USER, "--ari-user", USER, "--ari-link", "accept"])
        .env("AIMG_AMI_SECRET", SECRET)
        .env("AIMG_ARI_PASSWORD", SECRET);
    home.run(add).succeeded();
    let printed = home.run(home.aimg(&["pbx", "show", "office"])).succeeded().stdout;
    let additions = ["websocket_client.conf", "ari.conf"].map(|file| lines_for(file, &printed)).to_vec();
    let bench =
        Bench { asterisk: Asterisk::start(Version::V22, &Options { additions, ..Options::default() }).unwrap(), home };
    let (home, access) = (&bench.home, bench.asterisk.access());
    assert_eq!((access.user.as_str(), access.secret.as_str()), (USER, SECRET));
    let (ami_port, ari_url) = (access.ami_port.to_string(), access.ari_url());
    home.run(home.aimg(&["pbx", "set", "office", "--ami-port", &ami_port, "--ari-url", &ari_url])).succeeded();

    let gateway = home.serve_linked();
    assert!(gateway.log().contains("Asterisk is expected to open ARI's event stream"), "{}", gateway.log());
    let mut callee = callee(1);
    let mut caller = bench.caller(Context::TapHook, &callee).talks_for(Duration::from_secs(1)).start().unwrap();
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    let certificate = &home.finished_call().recordings[0].certificate;
    assert!(certificate.complete, "{:?}", certificate.reasons);
    let doctor = home.run(home.aimg(&["doctor"])).succeeded().stdout;
    assert!(doctor.contains(&format!("Asterisk opens ARI's event stream to {listen}")), "{doctor}");
    gateway.terminate_without_complaint();
}
