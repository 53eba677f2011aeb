//! A process that ends with its handle, and with this process however it dies.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::privilege::as_root;
use crate::{Error, wait_until};

/// The shell between us and the program. Its standard input is a pipe from us: when that closes, for whatever reason,
/// the program is killed; and when the shell itself is killed, the kernel kills the program. (A parent-death signal
/// towards us would not do: it follows the thread that started the program, and a test's threads come and go.)
const GUARD: &str = r#"
exec 3<&0
log=$1; shift
setpriv --pdeathsig KILL "$@" </dev/null 3<&- >>"$log" 2>&1 &
pid=$!
echo $pid
# From here on only the shell's own remarks about killed programs would come.
exec 2>/dev/null
( read -r _ <&3; kill -KILL $pid ) >/dev/null &
guard=$!
exec 3<&-
wait $pid
code=$?
kill $guard
exit $code
"#;

/// Lines of a log that an error shows.
const LOG_LINES_SHOWN: usize = 25;

/// How long a killed process may take to be gone: it is a matter of the kernel alone.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// A signal that tests send.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
    Stop,
    Continue,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}

/// Whose rights a program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    Own,
    Root,
}

/// One running program. Dropping it kills the program and waits until it is gone.
#[derive(Debug)]
pub(crate) struct Guarded {
    what: String,
    shell: Child,
    pid: u32,
    rights: Rights,
    log: PathBuf,
    code: Option<i32>,
}

impl Guarded {
    /// Starts `command` (program and arguments) with its output appended to `log`. `what` names it in errors.
    pub(crate) fn spawn<S: AsRef<OsStr>>(
        what: impl Into<String>,
        rights: Rights,
        command: impl IntoIterator<Item = S>,
        log: &Path,
    ) -> Result<Self, Error> {
        let what = what.into();
        let failed = || Error::io(format!("cannot start {what}"));
        let mut shell = match rights {
            Rights::Own => Command::new("sh"),
            Rights::Root => as_root("sh"),
        };
        let mut shell = shell
            .args(["-c", GUARD, "guard"])
            .arg(log)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            // Ctrl-C in a terminal is ours to handle, not the program's.
            .process_group(0)
            .spawn()
            .map_err(failed())?;
        let mut first_line = String::new();
        let said = shell.stdout.as_mut().expect("stdout is piped");
        BufReader::new(said).read_line(&mut first_line).map_err(failed())?;
        let Ok(pid) = first_line.trim().parse() else {
            drop(shell.stdin.take());
            let status = shell.wait().map_err(failed())?;
            let log = "the shell that guards it did not start; without root's rights `sudo -n true` must work".into();
            return Err(Error::Ended { what, code: status.code().unwrap_or(-1), log });
        };
        Ok(Self { what, shell, pid, rights, log: log.to_owned(), code: None })
    }

    /// The program's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The end of what the program wrote.
    pub(crate) fn log_end(&self) -> String {
        last_lines(&self.log, LOG_LINES_SHOWN)
    }

    /// The exit code once the program has ended; 128 and the signal's number when it was killed.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        if self.code.is_none() {
            self.code = self.shell.try_wait().ok().flatten().map(|status| status.code().unwrap_or(-1));
        }
        self.code
    }

    /// Waits for the program to end by itself.
    pub(crate) fn wait(&mut self, within: Duration) -> Result<i32, Error> {
        wait_until(within, || self.exit_code()).ok_or_else(|| Error::TooLate {
            what: format!("the end of {}", self.what),
            within,
            log: self.log_end(),
        })
    }

    /// Sends a signal; nothing happens when the program has ended.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        if self.exit_code().is_some() {
            return Ok(());
        }
        let mut kill = match self.rights {
            Rights::Own => Command::new("sh"),
            Rights::Root => as_root("sh"),
        };
        kill.args(["-c", r#"kill -"$1" "$2""#, "kill", signal.name(), &self.pid.to_string()])
            .stderr(Stdio::null())
            .status()
            .map(drop)
            .map_err(Error::io(format!("cannot send {} to {}", signal.name(), self.what)))
    }

    /// Kills the program and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // The guard's pipe.
        drop(self.shell.stdin.take());
        if wait_until(KILL_TIMEOUT, || self.exit_code()).is_none() {
            eprintln!("{} (process {}) does not die", self.what, self.pid);
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines of a text file; a sentence when it cannot be read.
pub(crate) fn last_lines(file: &Path, lines: usize) -> String {
    let text = match fs::read(file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) => return format!("(no log in {}: {e})", file.display()),
    };
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(dir: &tempfile::TempDir) -> Guarded {
        let log = dir.path().join("log");
        let command = ["sh", "-c", "echo here; exec sleep 300"];
        let program = Guarded::spawn("a sleeper", Rights::Own, command, &log).unwrap();
        wait_until(KILL_TIMEOUT, || (program.log_end() == "here").then_some(())).expect("it runs");
        program
    }

    fn is_alive(pid: u32) -> bool {
        // A zombie that waits for its parent is gone for our purposes.
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
    }

    #[test]
    fn a_program_ends_with_its_handle() {
        let dir = tempfile::tempdir().unwrap();
        let program = sleeper(&dir);
        let pid = program.pid();
        assert!(is_alive(pid));
        drop(program);
        assert!(!is_alive(pid));
    }

    #[test]
    fn a_program_ends_with_its_guard() {
        let dir = tempfile::tempdir().unwrap();
        let mut program = sleeper(&dir);
        let pid = program.pid();
        program.shell.kill().unwrap();
        wait_until(KILL_TIMEOUT, || (!is_alive(pid)).then_some(())).expect("killed by the kernel");
        assert!(program.exit_code().is_some() || program.wait(KILL_TIMEOUT).is_ok());
    }

    #[test]
    fn a_stopped_program_can_be_killed() {
        let dir = tempfile::tempdir().unwrap();
        let mut program = sleeper(&dir);
        program.signal(Signal::Stop).unwrap();
        assert!(program.exit_code().is_none());
        program.kill();
        assert_eq!(program.exit_code(), Some(128 + 9));
    }

    #[test]
    fn exit_code_and_output_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut program = Guarded::spawn("it", Rights::Own, ["sh", "-c", "echo said; exit 7"], &log).unwrap();
        assert_eq!(program.wait(KILL_TIMEOUT).unwrap(), 7);
        assert_eq!(program.log_end(), "said");
    }
}
