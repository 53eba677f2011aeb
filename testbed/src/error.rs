//! What can go wrong, by what one can do about it.

use std::path::PathBuf;
use std::time::Duration;

/// Why the testbed could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An installation has not been built on this machine.
    #[error(
        "no Asterisk {version} in {}: build it with `bash -c '. scripts/lib/setup.sh; need_asterisk_root {version}'`",
        path.display()
    )]
    NoRoot {
        /// 22 or 16.
        version: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A program is not installed.
    #[error("`{program}` is not installed: run `bash -c '. scripts/lib/setup.sh; need_apt {package}'`")]
    NoProgram {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// Every block of ports is taken.
    #[error("no {count} free ports in a row between {first} and {last}: stop other testbeds on this machine")]
    NoPorts {
        /// Ports asked for.
        count: u16,
        /// The first port that may be given out.
        first: u16,
        /// The last one.
        last: u16,
    },
    /// A prompt that the installation does not have.
    #[error("no prompt `{name}` as 8 kHz WAV in {}: take one that `ls` shows there", directory.display())]
    NoPrompt {
        /// The prompt.
        name: String,
        /// Where prompts are.
        directory: PathBuf,
    },
    /// A prompt that is not what prompts are.
    #[error("the prompt {} cannot be read", path.display())]
    BadPrompt {
        /// The file.
        path: PathBuf,
        /// Why.
        source: aimg_audio::Error,
    },
    /// A program ended when it should have gone on.
    #[error("{what} ended at once with exit code {code}:\n{log}")]
    Ended {
        /// The program and its task.
        what: String,
        /// Its exit code, 128 and the signal where it was killed.
        code: i32,
        /// The end of its log.
        log: String,
    },
    /// Something did not happen in time.
    #[error("{what} took more than {within:?}:\n{log}")]
    TooLate {
        /// What was waited for.
        what: String,
        /// How long.
        within: Duration,
        /// The end of the log of the program that should have done it.
        log: String,
    },
    /// Calls did not go as the scenario says.
    #[error("{failed} of {calls} calls of the {what} failed:\n{log}")]
    CallsFailed {
        /// Caller or callee.
        what: &'static str,
        /// Calls that failed.
        failed: u32,
        /// Calls in all.
        calls: u32,
        /// What SIPp says.
        log: String,
    },
    /// A command of Asterisk's own console failed.
    #[error("the Asterisk command `{command}` failed: {output}")]
    Cli {
        /// The command.
        command: String,
        /// What it said.
        output: String,
    },
    /// A command of the gateway failed.
    #[error("`aimg {command}` failed: {output}")]
    Gateway {
        /// The command.
        command: String,
        /// What it said.
        output: String,
    },
    /// Somebody pressed Ctrl-C, or the like.
    #[error("interrupted: everything that was started is stopped")]
    Interrupted,
    /// The kernel lost frames that a bad network was to carry.
    #[error("{frames} frames of a bad network were lost by this machine itself: it is too busy for this test")]
    Overflowed {
        /// How many.
        frames: u64,
    },
    /// A file that is no capture of Ethernet frames.
    #[error("{0} is no capture of tcpdump's on an Ethernet-like interface")]
    BadCapture(&'static str),
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Error {
    /// For `map_err`: names what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
