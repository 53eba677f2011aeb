//! A running `aimg serve`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddrV4;
use std::path::PathBuf;
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
}

/// The process. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    log: PathBuf,
    audio: SocketAddrV4,
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
        Self { child, log, audio: ready.audio[0] }
    }

    /// Where Asterisk sends audio to.
    pub(crate) fn audio(&self) -> SocketAddrV4 {
        self.audio
    }

    /// All it has logged.
    pub(crate) fn log(&self) -> String {
        read(&self.log)
    }

    /// Waits until it has logged something.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        eventually(&format!("the gateway logs `{text}`"), || {
            let log = self.log();
            if log.contains(text) { Ok(()) } else { Err(log) }
        });
    }

    /// Kills it with SIGKILL and returns when it is gone.
    pub(crate) fn kill9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it with SIGTERM.
    #[track_caller]
    pub(crate) fn terminate(self) -> Ended {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
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
        let ended = self.terminate().succeeded();
        let complaints: Vec<&str> =
            ended.stderr.lines().filter(|l| l.contains(" WARN ") || l.contains(" ERROR ")).collect();
        assert_eq!(complaints, [""; 0]);
        for nothing in ["rows.overflowed=0", "rows.refused=0"] {
            assert!(ended.stderr.contains(nothing), "{}", ended.stderr);
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
