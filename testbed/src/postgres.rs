//! A real PostgreSQL on a free loopback port, with its data in a directory that goes with it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::guarded::{Guarded, Rights, Signal};
use crate::privilege::is_root;
use crate::{Error, PortBlock, wait_until};

/// Where Debian's packages put each version's programs.
const VERSIONS_DIR: &str = "/usr/lib/postgresql";
const PACKAGE: &str = "postgresql";
/// From the start of a new server to its first answer.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// From the order to stop to the end.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// The user who owns a server's databases. A superuser, so row-level security does not bind it: programs under test come
/// as [`PROGRAM_USER`].
pub const SUPERUSER: &str = "postgres";
/// An ordinary user, to whom every database of [`Postgres::make_database`] belongs.
pub const PROGRAM_USER: &str = "aimg";

/// One PostgreSQL server. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Postgres {
    server: Option<Guarded>,
    programs: PathBuf,
    /// Not in the cache: the user that the server runs as may not reach it there.
    dir: TempDir,
    ports: PortBlock,
}

impl Postgres {
    /// Makes a cluster and starts its server. It trusts everybody on loopback, and does not wait for the disk.
    pub fn start() -> Result<Self, Error> {
        let programs = programs()?;
        let ports = PortBlock::reserve(1)?;
        let dir = tempfile::Builder::new().prefix("aimg-postgres-").tempdir();
        let dir = dir.map_err(Error::io("cannot make a temporary directory"))?;
        if is_root() {
            // The server refuses to run as root.
            run(Command::new("chown").arg(SUPERUSER).arg(dir.path()))?;
        }
        let mut postgres = Self { server: None, programs, dir, ports };
        let data = postgres.data();
        run(&mut command(postgres.as_server_user("initdb", |program| {
            vec![
                program,
                "-D".into(),
                data,
                "-U".into(),
                SUPERUSER.into(),
                "--auth=trust".into(),
                "--no-sync".into(),
                "--encoding=UTF8".into(),
                "--locale=C.UTF-8".into(),
            ]
        })))?;
        postgres.resume()?;
        postgres.sql("postgres", &format!("CREATE ROLE {PROGRAM_USER} LOGIN"))?;
        Ok(postgres)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.ports.first()
    }

    /// Makes an empty database that belongs to [`PROGRAM_USER`]; gives its address.
    pub fn make_database(&self, name: &str) -> Result<String, Error> {
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {PROGRAM_USER}"))?;
        Ok(format!("postgres://{PROGRAM_USER}@127.0.0.1:{}/{name}", self.port()))
    }

    /// Runs statements as the superuser; gives what they print, unaligned and without headers.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String, Error> {
        let port = self.port().to_string();
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &port])
            .args(["-U", SUPERUSER, "-d", database, "-c", statements]);
        run(&mut psql)
    }

    /// Stops the server at once, as a crash does; connections break.
    pub fn crash(&mut self) {
        self.server = None;
    }

    /// Stops the server as an administrator does: connections are told and closed.
    pub fn stop(&mut self) -> Result<(), Error> {
        if let Some(mut server) = self.server.take() {
            server.signal(Signal::Interrupt)?;
            server.wait(STOP_TIMEOUT)?;
        }
        Ok(())
    }

    /// Starts the server again after [`crash`](Self::crash) or [`stop`](Self::stop), on the same port.
    pub fn resume(&mut self) -> Result<(), Error> {
        let (data, port, sockets) = (self.data(), self.port().to_string(), self.dir.path().to_owned());
        let start = self.as_server_user("postgres", |program| {
            let mut words = vec![program, "-D".into(), data, "-p".into(), port, "-k".into(), text(&sockets)];
            for setting in ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=60", "shared_buffers=32MB"] {
                words.extend(["-c".into(), setting.into()]);
            }
            words
        });
        // A server that was killed leaves its children to find out; until then they hold the shared memory.
        let until = std::time::Instant::now() + START_TIMEOUT;
        loop {
            let log = self.dir.path().join("log");
            let mut server = Guarded::spawn("PostgreSQL", Rights::Own, &start, &log)?;
            let up = wait_until(START_TIMEOUT, || {
                let up = self.sql("postgres", "SELECT 1").is_ok();
                (up || server.exit_code().is_some()).then_some(up)
            });
            match up {
                Some(true) => {
                    self.server = Some(server);
                    return Ok(());
                }
                Some(false) if std::time::Instant::now() < until => continue,
                _ => {
                    let what = "the start of PostgreSQL".to_owned();
                    return Err(Error::TooLate { what, within: START_TIMEOUT, log: server.log_end() });
                }
            }
        }
    }

    fn data(&self) -> String {
        text(&self.dir.path().join("data"))
    }

    /// The words of a command, as a user that the server accepts.
    fn as_server_user(&self, program: &str, words: impl FnOnce(String) -> Vec<String>) -> Vec<String> {
        let words = words(text(&self.programs.join(program)));
        if !is_root() {
            return words;
        }
        let user = ["setpriv", "--reuid", SUPERUSER, "--regid", SUPERUSER, "--clear-groups", "--"];
        user.into_iter().map(str::to_owned).chain(words).collect()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
    }
}

/// The programs of the newest version that is installed.
fn programs() -> Result<PathBuf, Error> {
    let missing = Error::NoProgram { program: "postgres", package: PACKAGE };
    let Ok(versions) = std::fs::read_dir(VERSIONS_DIR) else { return Err(missing) };
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.flatten().map(|entry| entry.path()).max_by_key(version).ok_or(missing)?;
    Ok(newest.join("bin"))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn command<S: AsRef<OsStr>>(words: Vec<S>) -> Command {
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().expect("a command has a program"));
    command.args(words);
    command
}

/// Runs a command to its end; gives its output.
fn run(command: &mut Command) -> Result<String, Error> {
    let shown = format!("{command:?}");
    let output = command.output().map_err(Error::io(format!("cannot start {shown}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Ended { what: shown, code: output.status.code().unwrap_or(-1), log })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_keeps_its_data_over_a_crash_and_a_stop() {
        let mut postgres = Postgres::start().unwrap();
        let address = postgres.make_database("calls").unwrap();
        assert!(address.ends_with(&format!(":{}/calls", postgres.port())), "{address}");
        postgres.sql("calls", "CREATE TABLE t (n int); INSERT INTO t VALUES (7)").unwrap();
        postgres.crash();
        assert!(postgres.sql("calls", "SELECT 1").is_err());
        postgres.resume().unwrap();
        postgres.stop().unwrap();
        postgres.resume().unwrap();
        assert_eq!(postgres.sql("calls", "SELECT n FROM t").unwrap(), "7");
        let dir = postgres.dir.path().to_owned();
        drop(postgres);
        assert!(!dir.exists());
    }
}
