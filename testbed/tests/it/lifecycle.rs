//! Instances start fast, stand side by side, survive what tests do to them, and leave nothing behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aimg_testbed::{Asterisk, Options, Version, wait_until};

/// Alone it is a tenth of a second; the rest is for a busy machine.
const START_MAX: Duration = Duration::from_secs(5);

fn start(version: Version) -> Asterisk {
    Asterisk::start(version, &Options::default()).unwrap()
}

fn is_alive(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

#[test]
fn instances_stand_side_by_side_and_leave_nothing_behind() {
    let began = Instant::now();
    let mut running: Vec<Asterisk> = [Version::V22, Version::V16, Version::V22].map(start).into();
    assert!(began.elapsed() < START_MAX * 3, "{:?}", began.elapsed());
    for asterisk in &running {
        let uptime = asterisk.cli("core show version").unwrap();
        assert!(uptime.starts_with(&format!("Asterisk {}.", asterisk.version())), "{uptime}");
        assert_eq!(asterisk.channels().unwrap(), []);
        assert_eq!(asterisk.bridges().unwrap(), []);
    }

    let pids: Vec<u32> = running.iter().map(Asterisk::pid).collect();
    let dirs: Vec<PathBuf> = running.iter().map(|a| a.log_path().ancestors().nth(2).unwrap().to_owned()).collect();
    assert!(pids.iter().all(|&pid| is_alive(pid)) && dirs.iter().all(|dir| dir.exists()));
    running.pop().unwrap().stop().unwrap();
    drop(running);
    for pid in pids {
        wait_until(Duration::from_secs(5), || (!is_alive(pid)).then_some(())).expect("the process is gone");
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    for dir in dirs {
        assert!(!dir.exists());
        assert!(!mounts.contains(dir.to_str().unwrap()));
    }
    assert!(!mounts.contains("/asterisk-22/") && !mounts.contains("/asterisk-16/"));
}

#[test]
fn a_killed_instance_comes_back_with_the_same_ports() {
    let mut asterisk = start(Version::V22);
    let (pid, ami_port) = (asterisk.pid(), asterisk.access().ami_port);
    asterisk.kill();
    assert!(!is_alive(pid));
    asterisk.restart().unwrap();
    assert_ne!(asterisk.pid(), pid);
    assert_eq!(asterisk.access().ami_port, ami_port);
    assert_eq!(asterisk.channels().unwrap(), []);
}

#[test]
fn a_frozen_instance_answers_again_when_it_is_thawed() {
    let mut asterisk = start(Version::V22);
    asterisk.freeze().unwrap();
    let state = || fs::read_to_string(format!("/proc/{}/status", asterisk.pid())).unwrap();
    wait_until(Duration::from_secs(5), || state().contains("State:\tT").then_some(())).expect("it stops");
    asterisk.thaw().unwrap();
    assert_eq!(asterisk.channels().unwrap(), []);
}

#[test]
fn modules_can_be_left_out() {
    for version in Version::ALL {
        let without_modules = vec!["chan_rtp.so".to_owned()];
        let asterisk = Asterisk::start(version, &Options { without_modules, ..Options::default() }).unwrap();
        let loaded = asterisk.cli("module show like chan_").unwrap();
        assert!(loaded.contains("chan_pjsip.so") && !loaded.contains("chan_rtp.so"), "{version}: {loaded}");
    }
}

#[test]
fn an_instance_ends_with_the_process_that_started_it() {
    let mut testbed = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(["up", "--json", "--version", "16"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(testbed.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let access: serde_json::Value = serde_json::from_str(&line).unwrap();
    let ami = (Ipv4Addr::LOCALHOST, u16::try_from(access["ami_port"].as_u64().unwrap()).unwrap());
    assert!(TcpStream::connect(ami).is_ok());
    // SIGKILL: nothing of ours runs any more.
    testbed.kill().unwrap();
    testbed.wait().unwrap();
    wait_until(Duration::from_secs(5), || TcpStream::connect(ami).is_err().then_some(())).expect("Asterisk is gone");
}
