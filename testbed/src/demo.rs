//! The demo: one real call, captured by a real gateway, shown while it lasts, and the certificate of its recording.
//!
//! The gateway is the program `aimg`, used as a person would use it: by its command line. What it kept stays in a directory
//! of its own; everything else ends with the demo.

mod gateway;
mod interrupt;
mod report;
mod screen;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, UNIX_EPOCH};

use aimg_core::{CallState, SessionRow, Timestamp};
use serde::Deserialize;

pub use interrupt::Interrupt;
pub use report::{Certificate, Report};
pub use screen::Screen;

use crate::{Asterisk, Callee, Caller, Context, Error, Options, Sipp, Version};
use gateway::{Gateway, Recording};
use report::Ledgers;

/// How long the callee rings, so that this can be seen.
const RING: Duration = Duration::from_secs(1);

/// How long anything but the talk itself may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the call is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A call as `aimg calls --json` prints it.
#[derive(Debug, Deserialize)]
struct Call {
    #[serde(flatten)]
    row: SessionRow,
    live: Option<Ledgers>,
}

/// What is wanted of a demo.
#[derive(Clone, Debug)]
pub struct Demo {
    /// The program `aimg`.
    pub aimg: PathBuf,
    /// Where each demo makes a directory of its own, which stays.
    pub dir: PathBuf,
    /// How long both talk.
    pub talk: Duration,
}

impl Demo {
    /// Places the call and returns when its recording is there and everything else is stopped.
    pub fn run(&self, screen: &mut Screen, interrupt: &Interrupt) -> Result<Report, Error> {
        let own = self.own_dir()?;
        screen.say(&format!("all that is recorded and logged stays in {}", own.display()));
        screen.say("starting Asterisk 22 …");
        let asterisk = Asterisk::start(Version::V22, &Options::default())?;
        interrupt.check()?;
        screen.say("starting the gateway …");
        let mut gateway = Gateway::new(&self.aimg, &own)?;
        for said in gateway.add_pbx(asterisk.access())? {
            screen.say(&said);
        }
        gateway.start(interrupt)?;
        screen.say("the gateway follows the PBX by AMI and ARI");

        let outcome = self.capture(&asterisk, &gateway, screen, interrupt);
        // In order also after a failure: the gateway then finishes what it has.
        screen.say("stopping the gateway and Asterisk …");
        gateway.stop()?;
        asterisk.stop()?;
        let (session, recording, words) = outcome?;
        Ok(Report { session, recording: recording.path, certificate: recording.certificate, words, dir: own })
    }

    /// Places the call, and waits for its recording: the session's id, the recording, and both in words.
    fn capture(
        &self,
        asterisk: &Asterisk,
        gateway: &Gateway,
        screen: &mut Screen,
        interrupt: &Interrupt,
    ) -> Result<(String, Recording, String), Error> {
        let session = self.call(asterisk, gateway, screen, interrupt)?;
        screen.say("the call is over; its recording is being finished …");
        let recording = gateway.recording(&session, interrupt)?;
        gateway.transcript(&session, interrupt)?;
        let words = gateway.aimg(&["session", "show", &session])?;
        Ok((session, recording, words))
    }

    /// Makes the directory of this demo, named by the time. Other demos may begin in the same second.
    fn own_dir(&self) -> Result<PathBuf, Error> {
        fs::create_dir_all(&self.dir).map_err(Error::io(format!("cannot make {}", self.dir.display())))?;
        let time: String = now().to_string().replace(':', "-").chars().take("2026-01-31T12-00-00".len()).collect();
        tempfile::Builder::new()
            .prefix(&format!("{time}-"))
            .tempdir_in(&self.dir)
            .and_then(|dir| dir.keep().canonicalize())
            .map_err(Error::io(format!("cannot make a directory in {}", self.dir.display())))
    }

    /// Places the call, shows it, and returns the session's id when both have hung up.
    fn call(
        &self,
        asterisk: &Asterisk,
        gateway: &Gateway,
        screen: &mut Screen,
        interrupt: &Interrupt,
    ) -> Result<String, Error> {
        let mut callee = Callee::new().rings_for(RING).start()?;
        screen.say(&format!("a SIP call: it rings for 1 s, then both speak for {} s …", self.talk.as_secs()));
        let mut caller =
            Caller::new(asterisk.access().sip_port, Context::TapHook, callee.port()).talks_for(self.talk).start()?;
        let session = watch(&mut caller, self.talk + RING + PATIENCE, gateway, screen, interrupt)?;
        caller.wait(PATIENCE)?.require_success()?;
        callee.wait(PATIENCE)?.require_success()?;
        session.ok_or_else(|| Error::Gateway {
            command: "calls".to_owned(),
            output: format!("the call went well, and the gateway saw none: {}", gateway.log_path().display()),
        })
    }
}

/// Shows the call until the caller is through. Its session's id, if the gateway had one.
fn watch(
    caller: &mut Sipp,
    within: Duration,
    gateway: &Gateway,
    screen: &mut Screen,
    interrupt: &Interrupt,
) -> Result<Option<String>, Error> {
    let deadline = Instant::now() + within;
    let mut session = None;
    let mut state = None;
    while caller.is_running() && Instant::now() < deadline {
        let calls: Vec<Call> = gateway.json(&["calls", "--once"])?;
        if let Some(call) = calls.first() {
            if session.is_none() {
                screen.say(&format!("session {}", call.row.id));
                session = Some(call.row.id.to_string());
            }
            let is_changed = state.replace(call.row.state) != Some(call.row.state);
            screen.live(&line(call), is_changed);
        }
        interrupt.sleep(LOOK_EVERY)?;
    }
    screen.leave_live();
    Ok(session)
}

/// The state of a call in one line.
fn line(call: &Call) -> String {
    let length_s = now().since(call.row.started_at).as_secs();
    let state: CallState = call.row.state;
    let packets = match &call.live {
        None => "no audio yet".to_owned(),
        Some(Ledgers { caller, callee }) => {
            let missing = match caller.missing() + callee.missing() {
                0 => "nothing missing".to_owned(),
                count => format!("{count} missing"),
            };
            format!("caller {} packets, callee {} packets, {missing}", caller.received, callee.received)
        }
    };
    format!("{}:{:02} {state}: {packets}", length_s / 60, length_s % 60)
}

fn now() -> Timestamp {
    Timestamp::default() + UNIX_EPOCH.elapsed().unwrap_or_default()
}
