//! A running `aimg serve`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use aimg_testbed::wait_until;
use serde::Deserialize;

use crate::home::{Ended, read};
use crate::waiting::{PATIENCE, eventually};

/// The first line of its output.
#[derive(Deserialize)]
struct Ready {
    event: String,
    audio: Vec<SocketAddrV4>,
    http: Option<std::net::SocketAddr>,
    set_up: Option<String>,
}

/// The process. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    log: PathBuf,
    audio: SocketAddrV4,
    http: Option<std::net::SocketAddr>,
    set_up: Option<String>,
}

impl Gateway {
    /// Starts it with its log in a file, and waits until it says that it is ready.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Self {
        command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready: Ready = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}{}", read(&log)));
        assert_eq!(ready.event, "ready");
        Self { child, log, audio: ready.audio[0], http: ready.http, set_up: ready.set_up }
    }

    /// Starts a part that has no media plane, with what it prints and its log in files.
    pub(crate) fn start_printing(mut command: Command, log: PathBuf, printed: &Path) -> Self {
        command.stdout(File::create(printed).unwrap()).stderr(File::create(&log).unwrap());
        let child = command.spawn().unwrap();
        Self { child, log, audio: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), http: None, set_up: None }
    }

    /// Where Asterisk sends audio to.
    pub(crate) fn audio(&self) -> SocketAddrV4 {
        self.audio
    }

    /// Where it serves HTTP.
    pub(crate) fn http(&self) -> std::net::SocketAddr {
        self.http.expect("http.bind is not off")
    }

    /// Where the first user is made, if there is none.
    pub(crate) fn set_up_link(&self) -> Option<&str> {
        self.set_up.as_deref()
    }

    /// All it has logged.
    pub(crate) fn log(&self) -> String {
        read(&self.log)
    }

    /// Waits until it has logged something.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        self.wait_for_log_times(text, 1);
    }

    /// Waits until it has logged something so many times.
    #[track_caller]
    pub(crate) fn wait_for_log_times(&self, text: &str, times: usize) {
        eventually(&format!("the gateway logs `{text}` {times} times"), || {
            let log = self.log();
            if log.matches(text).count() >= times { Ok(()) } else { Err(log) }
        });
    }

    /// Kills the worker with SIGKILL and returns when another one is linked to as many PBXs.
    #[track_caller]
    pub(crate) fn kill9_worker(&self, pbxs: usize) {
        let before = self.links_made();
        self.kill9_worker_alone();
        self.wait_until_linked(before, pbxs);
    }

    /// How often it was linked so far, by AMI and by ARI.
    pub(crate) fn links_made(&self) -> [usize; 2] {
        let log = self.log();
        ["AMI is up", "ARI is up"].map(|up| log.matches(up).count())
    }

    /// Waits until it was linked so often since then.
    #[track_caller]
    pub(crate) fn wait_until_linked(&self, since: [usize; 2], times: usize) {
        eventually("it is linked", || {
            let linked = self.links_made().iter().zip(since).all(|(now, then)| *now >= then + times);
            if linked { Ok(()) } else { Err(self.log()) }
        });
    }

    /// Kills the worker with SIGKILL and returns when it is gone.
    #[track_caller]
    pub(crate) fn kill9_worker_alone(&self) {
        let worker = self.worker();
        signal(worker, "KILL");
        eventually("the worker is gone", || {
            if self.worker_if_any() == Some(worker) { Err("it is there") } else { Ok(()) }
        });
    }

    /// Replaces the worker, as an upgrade does.
    #[track_caller]
    pub(crate) fn upgrade(&self) {
        let before = self.worker();
        signal(self.child.id(), "HUP");
        eventually("another worker runs", || if self.worker() == before { Err("the same") } else { Ok(()) });
    }

    /// The process that does the work; its parent is the one that was started.
    #[track_caller]
    fn worker(&self) -> u32 {
        eventually("there is a worker", || self.worker_if_any().ok_or("nobody"))
    }

    fn worker_if_any(&self) -> Option<u32> {
        // Any of the parent's threads may have started it.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()?;
        let children = tasks.flatten().filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok());
        children.collect::<String>().split_whitespace().next()?.parse().ok()
    }

    /// The most memory that the worker had resident.
    pub(crate) fn memory_peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.worker())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Kills it and its worker, if it has one, with SIGKILL.
    pub(crate) fn kill9_with_worker(mut self) {
        let worker = self.worker_if_any();
        self.child.kill().unwrap();
        if let Some(worker) = worker {
            // It may have died of its parent's death.
            let _ = Command::new("kill").args(["-KILL", &worker.to_string()]).stderr(Stdio::null()).status();
        }
        self.child.wait().unwrap();
    }

    /// Kills it with SIGKILL and returns when it is gone.
    pub(crate) fn kill9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it with SIGTERM.
    #[track_caller]
    pub(crate) fn terminate(self) -> Ended {
        signal(self.child.id(), "TERM");
        self.ends_by_itself()
    }

    /// Waits until it ends.
    #[track_caller]
    pub(crate) fn ends_by_itself(mut self) -> Ended {
        let status = wait_until(PATIENCE, || self.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| panic!("the gateway does not end: {}", self.log()));
        Ended { code: status.code(), stdout: String::new(), stderr: self.log() }
    }

    /// Stops it and fails if it had to warn of anything while it ran.
    #[track_caller]
    pub(crate) fn terminate_without_complaint(self) {
        self.terminate_with_complaints_of(&[]);
    }

    /// Stops it and fails if it warned of anything but these alarms, or not of each of them.
    #[track_caller]
    pub(crate) fn terminate_with_complaints_of(self, alarms: &[&str]) {
        let ended = self.terminate().succeeded();
        let complaints = ended.stderr.lines().filter(|l| l.contains(" WARN ") || l.contains(" ERROR "));
        let expected = alarms.iter().map(|alarm| format!("alarm=\"{alarm}\"")).collect::<Vec<_>>();
        let (known, strange): (Vec<&str>, Vec<&str>) =
            complaints.partition(|line| expected.iter().any(|alarm| line.contains(alarm)));
        assert_eq!(strange, [""; 0]);
        assert!(expected.iter().all(|alarm| known.iter().any(|line| line.contains(alarm))), "{}", ended.stderr);
        for nothing in ["rows.overflowed=0", "rows.refused=0"] {
            assert!(ended.stderr.contains(nothing), "{}", ended.stderr);
        }
    }
}

#[track_caller]
fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap().success());
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
