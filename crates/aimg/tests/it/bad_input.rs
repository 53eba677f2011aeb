//! What people and machines get wrong: each time one clear sentence with the cure, the exit code of `aimg --help`, and
//! nothing recorded is lost.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use aimg_core::TapMode;
use aimg_testbed::{Access, Asterisk, Options, Version};
use sea_orm::{ConnectionTrait, Database};

use crate::home::Home;

/// The exit codes that `aimg --help` lists.
const USAGE: i32 = 64;
const UNAVAILABLE: i32 = 69;
const CANNOT_CREATE: i32 = 73;
const TRY_AGAIN: i32 = 75;
const REFUSED: i32 = 77;
const NEWER: i32 = 78;

/// `pbx test` and `serve` say it both, in words and by exit code.
fn is_refused(ami_secret: &str, ari_password: &str, words: &[&str]) {
    let asterisk = Asterisk::start(Version::V22, &Options::default()).unwrap();
    let home = Home::new();
    home.add_pbx_with(asterisk.access(), TapMode::Ami, ami_secret, ari_password);
    home.run(home.aimg(&["pbx", "test", "office"])).failed_with(REFUSED, words);
    home.serve().ends_by_itself().failed_with(REFUSED, words);
}

#[test]
fn a_wrong_ami_secret_is_told() {
    is_refused("wrong", "testbed", &["refused Login of user `aimg`", "check in manager.conf that [aimg] exists"]);
}

#[test]
fn a_wrong_ari_password_is_told() {
    is_refused("testbed", "wrong", &["ARI user `aimg` (401)", "check [aimg] in its ari.conf"]);
}

#[test]
fn an_unreachable_host_is_told_and_tried_again() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let access = Access {
        host: "127.0.0.1".to_owned(),
        ami_port: closed,
        http_port: closed,
        sip_port: closed,
        user: "aimg".to_owned(),
        secret: "testbed".to_owned(),
        app: "aimg".to_owned(),
    };
    let home = Home::new();
    home.add_pbx(&access, TapMode::Ami);
    let words = [&format!("cannot connect to Asterisk at 127.0.0.1:{closed}"), "check host, port"];
    home.run(home.aimg(&["pbx", "test", "office"])).failed_with(UNAVAILABLE, &words);
    let gateway = home.serve();
    gateway.wait_for_log("AMI is down");
    gateway.wait_for_log("ARI is down");
    let ended = gateway.terminate().succeeded();
    assert!(words.iter().all(|w| ended.stderr.contains(w)), "{}", ended.stderr);
}

#[test]
fn an_asterisk_without_chan_rtp_is_told() {
    let without_modules = vec!["chan_rtp.so".to_owned()];
    let asterisk = Asterisk::start(Version::V22, &Options { without_modules, ..Options::default() }).unwrap();
    let home = Home::new();
    home.add_pbx(asterisk.access(), TapMode::Ami);
    let words = ["runs without chan_rtp.so", "load = chan_rtp.so", "modules.conf"];
    home.run(home.aimg(&["pbx", "test", "office"])).failed_with(UNAVAILABLE, &words);
    home.serve().ends_by_itself().failed_with(UNAVAILABLE, &words);
}

#[test]
fn a_udp_port_in_use_is_told() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let home = Home::new();
    let mut serve = home.aimg(&["serve"]);
    serve.env("AIMG_MEDIA_PORT", &port);
    home.run(serve).failed_with(UNAVAILABLE, &[&port, "in use by another program", "another media port"]);
}

#[test]
fn a_directory_that_cannot_be_written_to_is_told() {
    // Root may write everywhere, but not into a file as if it were a directory.
    let home = Home::new();
    let file = home.data("not-a-directory");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "").unwrap();
    for setting in ["AIMG_SPOOL_DIR", "AIMG_RECORDINGS_DIR"] {
        for command in ["serve", "check"] {
            let mut command = home.aimg(&[command]);
            command.env(setting, &file);
            let told =
                home.run(command).failed_with(CANNOT_CREATE, &["not-a-directory", "cannot be written to"]).stderr;
            assert_eq!(told.matches("os error").count(), 1, "the cause is told once: {told}");
        }
    }
}

#[test]
fn a_database_of_a_newer_version_is_told_and_left_alone() {
    let home = Home::new();
    home.run(home.aimg(&["tenant", "add", "acme"])).succeeded();
    let url = format!("sqlite://{}", home.data("aimg.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let database = Database::connect(url).await.unwrap();
        let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_of_tomorrow', 0)";
        database.execute_unprepared(newer).await.unwrap();
        database.close().await.unwrap();
    });
    let before = fs::read(home.data("aimg.db")).unwrap();
    for arguments in [&["serve"][..], &["calls"], &["migrate"], &["check"], &["tenant", "list"]] {
        let words = ["written by a newer aimg", "m9999_of_tomorrow", "run that version"];
        home.run(home.aimg(arguments)).failed_with(NEWER, &words);
    }
    assert_eq!(fs::read(home.data("aimg.db")).unwrap(), before);
}

#[test]
fn wrong_settings_are_told_all_at_once() {
    let home = Home::new();
    for command in ["serve", "check"] {
        let mut command = home.aimg(&[command]);
        command.env("AIMG_MEDIA_PORT", "70000").env("AIMG_NODE", "Not A Node").env("DATABASE_URL", "mysql://db/x");
        let words = ["media.port", "70000", "up to 65535", "node", "Not A Node", "a-z and 0-9", "database.url"];
        home.run(command).failed_with(USAGE, &words);
    }
    assert!(!home.data("").exists(), "nothing is made with wrong settings");
    home.run(home.aimg(&["no-such-command"])).failed_with(USAGE, &["no-such-command"]);
    home.run(home.aimg(&["tenant", "add", "Not A Name"])).failed_with(USAGE, &["`Not A Name`", "a-z, 0-9 and -"]);
}

#[test]
fn a_second_gateway_in_the_same_directory_is_told() {
    let home = Home::new();
    let gateway = home.serve();
    home.run(home.aimg(&["serve"])).failed_with(TRY_AGAIN, &["in use by another running gateway", "stop that one"]);
    gateway.terminate_without_complaint();
}
