//! A running SIPp: one SIP port, one scenario, a number of calls.

use std::fs;
use std::time::Duration;

use crate::guarded::{Guarded, Rights, last_lines};
use crate::workdir::WorkDir;
use crate::{Error, Namespace, PortBlock, Speech, wait_until};

/// Ports before the first one for RTP: SIP itself and room to keep RTP's even.
const RTP_OFFSET: u16 = 4;

/// How long SIPp may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Lines of SIPp's error log that an error shows. One unexpected message has about 15.
const LOG_LINES_SHOWN: usize = 40;

/// What became of the calls of one SIPp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Caller or callee.
    pub what: &'static str,
    /// Calls that went as the scenario says.
    pub succeeded: u32,
    /// Calls that did not.
    pub failed: u32,
    /// What SIPp says about the failures.
    pub log: String,
}

impl Outcome {
    /// Fails unless every call went as the scenario says.
    pub fn require_success(self) -> Result<Self, Error> {
        if self.failed == 0 && self.succeeded > 0 {
            return Ok(self);
        }
        let Self { what, succeeded, failed, log } = self;
        Err(Error::CallsFailed { what, failed, calls: failed + succeeded, log })
    }
}

/// A SIPp process. It ends when this is dropped, without hanging anything up.
#[derive(Debug)]
pub struct Sipp {
    // In this order: the process ends, its directory goes, its ports are free.
    process: Guarded,
    dir: WorkDir,
    ports: PortBlock,
    what: &'static str,
}

impl Sipp {
    /// Runs a scenario, in which `{{speech}}` stands for the file of the speech, `calls` times.
    pub(crate) fn start(
        what: &'static str,
        scenario: &str,
        speech: &Speech,
        calls: u16,
        arguments: &[String],
        namespace: Option<&Namespace>,
    ) -> Result<Self, Error> {
        // Each call's audio has an even port of its own; RTP's calls come and go, so half as many again.
        let ports = PortBlock::reserve(RTP_OFFSET + 3 * calls)?;
        let dir = WorkDir::of(&ports)?;
        let file = |name: &str| dir.path().join(name);
        speech.write_ulaw(&file("speech.ul"))?;
        let scenario = scenario.replace("{{speech}}", &file("speech.ul").to_string_lossy());
        fs::write(file("scenario.xml"), scenario).map_err(Error::io("cannot write SIPp's scenario"))?;
        let (sip, rtp, calls) =
            (ports.first().to_string(), (ports.first() + RTP_OFFSET).to_string(), calls.to_string());
        let path = |name: &str| file(name).to_string_lossy().into_owned();
        let enter = namespace.map_or_else(Vec::new, |n| n.enter(Rights::Own));
        let command = enter
            .iter()
            .map(String::as_str)
            .chain(["sipp", "-sf", &path("scenario.xml"), "-m", &calls, "-l", &calls])
            .chain(["-i", "127.0.0.1", "-p", &sip, "-mi", "127.0.0.1", "-mp", &rtp])
            // No questions, no screen; what a failure needs is written to files.
            .chain(["-nostdin", "-trace_err", "-error_file", &path("errors")])
            .chain(["-trace_stat", "-stf", &path("statistics"), "-fd", "1"])
            .map(str::to_owned)
            .chain(arguments.iter().cloned())
            .collect::<Vec<_>>();
        let rights = if namespace.is_some() { Rights::Root } else { Rights::Own };
        let process = Guarded::spawn(format!("the {what}'s SIPp"), rights, command, &file("screen"))?;
        let mut sipp = Self { process, dir, ports, what };
        sipp.wait_until_listening()?;
        Ok(sipp)
    }

    /// The port of its SIP: a callee's number.
    pub fn port(&self) -> u16 {
        self.ports.first()
    }

    /// Waits until all its calls are over.
    pub fn wait(&mut self, within: Duration) -> Result<Outcome, Error> {
        self.process.wait(within).map_err(|e| match e {
            Error::TooLate { what, within, .. } => Error::TooLate { what, within, log: self.log() },
            other => other,
        })?;
        let [succeeded, failed] = self.counts();
        Ok(Outcome { what: self.what, succeeded, failed, log: self.log() })
    }

    /// Whether calls are still going on or expected.
    pub fn is_running(&mut self) -> bool {
        self.process.exit_code().is_none()
    }

    /// Kills it (SIGKILL): its calls stay up without audio, as with a phone that lost its power.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// A caller may be through before anybody looks, so its end counts as well.
    fn wait_until_listening(&mut self) -> Result<(), Error> {
        let port = self.port();
        let listening = wait_until(START_TIMEOUT, || match self.process.exit_code() {
            Some(code) => Some(code),
            None => is_bound(self.process.pid(), port).then_some(0),
        });
        let what = format!("the {}'s SIPp", self.what);
        match listening {
            // 0: all calls went well, 1: some did not. The rest are mistakes in the command or the scenario.
            Some(0 | 1) => Ok(()),
            // The guard's shell found no such program.
            Some(127) => Err(Error::NoProgram { program: "sipp", package: "sip-tester" }),
            Some(code) => Err(Error::Ended { what, code, log: self.log() }),
            None => {
                Err(Error::TooLate { what: format!("the start of {what}"), within: START_TIMEOUT, log: self.log() })
            }
        }
    }

    fn log(&self) -> String {
        let errors = self.dir.path().join("errors");
        if errors.exists() { last_lines(&errors, LOG_LINES_SHOWN) } else { self.process.log_end() }
    }

    /// Successful and failed calls, from the last line of SIPp's statistics.
    fn counts(&self) -> [u32; 2] {
        parse_counts(&fs::read_to_string(self.dir.path().join("statistics")).unwrap_or_default())
    }
}

/// Whether a UDP socket on loopback has the port, according to the kernel's table for a process.
fn is_bound(pid: u32, port: u16) -> bool {
    let entry = format!(" 0100007F:{port:04X} ");
    fs::read_to_string(format!("/proc/{pid}/net/udp")).is_ok_and(|table| table.contains(&entry))
}

fn parse_counts(statistics: &str) -> [u32; 2] {
    let mut lines = statistics.lines();
    let headline: Vec<&str> = lines.next().unwrap_or_default().split(';').collect();
    let last: Vec<&str> = lines.next_back().unwrap_or_default().split(';').collect();
    ["SuccessfulCall(C)", "FailedCall(C)"].map(|name| {
        let column = headline.iter().position(|h| *h == name);
        column.and_then(|i| last.get(i)).and_then(|n| n.parse().ok()).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_the_last_line() {
        let statistics = "StartTime;SuccessfulCall(P);SuccessfulCall(C);FailedCall(P);FailedCall(C);\n\
                          t;1;1;0;0;\n\
                          t;2;3;1;1;\n";
        for (text, expected) in [(statistics, [3, 1]), ("", [0, 0]), ("nonsense\nmore", [0, 0])] {
            assert_eq!(parse_counts(text), expected, "{text}");
        }
    }
}
