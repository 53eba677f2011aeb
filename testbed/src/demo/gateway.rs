//! The gateway of the demo: the program `aimg` with a data directory of its own, and nothing of this machine's settings.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::PATIENCE;
use super::interrupt::Interrupt;
use super::report::Certificate;
use crate::guarded::{Guarded, Rights, Signal, last_lines};
use crate::{Access, Error};

/// What the log says when the gateway follows the PBX.
const FOLLOWS: [&str; 2] = ["AMI is up", "ARI is up"];

/// How often something is looked for that the gateway has yet to do.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Lines of the gateway's log that an error shows.
const LOG_LINES_SHOWN: usize = 15;

/// The one recording of the demo.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) path: PathBuf,
    pub(super) certificate: Certificate,
}

/// What is needed of `aimg session show --json`.
#[derive(Debug, Deserialize)]
struct Detail {
    recordings: Vec<DetailRecording>,
    transcripts: Vec<DetailTranscript>,
}

#[derive(Debug, Deserialize)]
struct DetailTranscript {
    transcript: Transcript,
}

#[derive(Debug, Deserialize)]
struct Transcript {
    state: String,
}

#[derive(Debug, Deserialize)]
struct DetailRecording {
    path: PathBuf,
    certificate: Certificate,
}

/// An installation of the gateway; it runs from [`Gateway::start`] on, and ends when this is dropped.
#[derive(Debug)]
pub(super) struct Gateway {
    aimg: PathBuf,
    dir: PathBuf,
    serve: Option<Guarded>,
}

impl Gateway {
    /// Writes its settings into `dir`, which must be an absolute path.
    pub(super) fn new(aimg: &Path, dir: &Path) -> Result<Self, Error> {
        let gateway = Self { aimg: aimg.to_owned(), dir: dir.to_owned(), serve: None };
        // A string of JSON is one of TOML as well.
        let data_dir = serde_json::Value::from(dir.join("data").to_string_lossy());
        let models_dir = serde_json::Value::from(crate::cache_dir().join("models").to_string_lossy());
        let settings = format!(
            "data_dir = {data_dir}\n\n[media]\n# Any free port: other gateways may run here.\nport = 0\n\n[http]\nbind = \"127.0.0.1:0\"\n\n[speech.local]\nmodels_dir = {models_dir}\n"
        );
        fs::write(dir.join("aimg.toml"), settings).map_err(Error::io("cannot write aimg.toml"))?;
        Ok(gateway)
    }

    /// Adds a tenant and the PBX, and returns what the gateway says to that.
    pub(super) fn add_pbx(&self, access: &Access) -> Result<[String; 2], Error> {
        let tenant = self.aimg(&["tenant", "add", "demo"])?;
        let (ami_port, ari_url) = (access.ami_port.to_string(), access.ari_url());
        let pbx = self.aimg(&[
            "pbx",
            "add",
            "demo",
            "--tenant",
            "demo",
            "--tap",
            "hook",
            "--host",
            &access.host,
            "--ami-port",
            &ami_port,
            "--ami-user",
            &access.user,
            "--ami-secret",
            &access.secret,
            "--ari-url",
            &ari_url,
            "--ari-user",
            &access.user,
            "--ari-password",
            &access.secret,
            "--ari-app",
            &access.app,
        ])?;
        // What comes after the semicolon is what a person would do next.
        Ok([tenant, pbx].map(|said| said.split(';').next().unwrap_or_default().trim().to_owned()))
    }

    /// Starts it, and waits until it follows the PBX.
    pub(super) fn start(&mut self, interrupt: &Interrupt) -> Result<(), Error> {
        let command = self.command_line(&["serve"]);
        let serve = self.serve.insert(Guarded::spawn("the gateway", Rights::Own, command, &self.dir.join("aimg.log"))?);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = fs::read_to_string(self.dir.join("aimg.log")).unwrap_or_default();
            if FOLLOWS.iter().all(|line| log.contains(line)) {
                return Ok(());
            }
            if let Some(code) = serve.exit_code() {
                return Err(Error::Ended { what: "the gateway".to_owned(), code, log: serve.log_end() });
            }
            if Instant::now() >= deadline {
                let what = "the gateway's way to the PBX".to_owned();
                return Err(Error::TooLate { what, within: PATIENCE, log: serve.log_end() });
            }
            interrupt.sleep(LOOK_EVERY)?;
        }
    }

    /// Waits until the recording of a session is finished.
    pub(super) fn recording(&self, session: &str, interrupt: &Interrupt) -> Result<Recording, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let detail: Detail = self.json(&["session", "show", session])?;
            if let Some(DetailRecording { path, certificate }) = detail.recordings.into_iter().next() {
                return Ok(Recording { path: self.dir.join("data/recordings").join(path), certificate });
            }
            if Instant::now() >= deadline {
                let log = last_lines(&self.log_path(), LOG_LINES_SHOWN);
                return Err(Error::TooLate { what: "the recording".to_owned(), within: PATIENCE, log });
            }
            interrupt.sleep(LOOK_EVERY)?;
        }
    }

    /// Waits until the text of a session is there, if somebody writes it; for as long as it takes to say that much again.
    pub(super) fn transcript(&self, session: &str, interrupt: &Interrupt) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let detail: Detail = self.json(&["session", "show", session])?;
            let is_running = |told: &DetailTranscript| told.transcript.state == "running";
            if !detail.transcripts.iter().any(is_running) || Instant::now() >= deadline {
                return Ok(());
            }
            interrupt.sleep(LOOK_EVERY)?;
        }
    }

    /// Lets it end as SIGTERM does, with nothing left to do.
    pub(super) fn stop(mut self) -> Result<(), Error> {
        let Some(mut serve) = self.serve.take() else { return Ok(()) };
        serve.signal(Signal::Terminate)?;
        match serve.wait(PATIENCE)? {
            0 => Ok(()),
            code => Err(Error::Ended { what: "the gateway".to_owned(), code, log: serve.log_end() }),
        }
    }

    /// Its log.
    pub(super) fn log_path(&self) -> PathBuf {
        self.dir.join("aimg.log")
    }

    /// What a command of the program prints.
    pub(super) fn aimg(&self, arguments: &[&str]) -> Result<String, Error> {
        let line = self.command_line(arguments);
        let output = Command::new(&line[0])
            .args(&line[1..])
            .stdin(Stdio::null())
            .output()
            .map_err(Error::io(format!("cannot run {}", self.aimg.display())))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let output = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        Err(Error::Gateway { command: arguments[..arguments.len().min(2)].join(" "), output })
    }

    /// The same, as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T, Error> {
        let output = self.aimg(&[arguments, &["--json"]].concat())?;
        serde_json::from_str(&output)
            .map_err(|e| Error::Gateway { command: arguments.join(" "), output: format!("{e} in {output}") })
    }

    /// In its own directory, where its settings are, and without this machine's environment.
    fn command_line(&self, arguments: &[&str]) -> Vec<OsString> {
        let mut line: Vec<OsString> = ["env", "--ignore-environment", "--chdir"].map(OsString::from).into();
        line.extend([self.dir.clone().into(), self.aimg.clone().into()]);
        line.extend(arguments.iter().map(OsString::from));
        line
    }
}
