//! An installation of `aimg` as it is, from the build's own directory: its data, its command line, its gateway.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aimg_core::{SessionRow, TapMode};
use aimg_testbed::{Access, wait_until};
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// How long the gateway may take for what it was told.
const PATIENCE: Duration = Duration::from_secs(30);

/// Its directory goes with it.
#[derive(Debug)]
pub(crate) struct Installation {
    dir: TempDir,
    program: PathBuf,
}

impl Installation {
    /// One with a tenant and a PBX.
    pub(crate) fn beside(access: &Access, tap: TapMode) -> Result<Self> {
        let build = std::env::current_exe()?.parent().context("no directory")?.to_owned();
        // In the build's directory: where spools are, there must be a real disk.
        let installation = Self { dir: tempfile::tempdir_in(&build)?, program: build.join("aimg") };
        std::fs::write(installation.path("aimg.toml"), "")?;
        installation.add_tenant_with_pbx("acme", "office", access, tap)?;
        Ok(installation)
    }

    /// Adds a tenant and its PBX.
    pub(crate) fn add_tenant_with_pbx(&self, tenant: &str, pbx: &str, access: &Access, tap: TapMode) -> Result<()> {
        self.text(self.command(&["tenant", "add", tenant]))?;
        let mut add = self.command(&["pbx", "add", pbx, "--tenant", tenant, "--host", &access.host]);
        add.args(["--ami-port", &access.ami_port.to_string(), "--ami-user", &access.user])
            .args(["--ari-url", &access.ari_url(), "--ari-user", &access.user, "--ari-app", &access.app])
            .args(["--tap", tap.name()])
            .env("AIMG_AMI_SECRET", &access.secret)
            .env("AIMG_ARI_PASSWORD", &access.secret);
        self.text(add).map(drop)
    }

    /// Adds somebody who may do everything.
    pub(crate) fn add_superuser(&self, name: &str, password: &str) -> Result<()> {
        let mut add = self.command(&["createsuperuser", "--name", name]);
        add.env("AIMG_SUPERUSER_PASSWORD", password);
        self.text(add).map(drop)
    }

    /// Starts the gateway and waits until it follows its PBX.
    pub(crate) fn serve(&self) -> Result<Gateway> {
        self.serve_with(&[], &["AMI is up", "ARI is up"])
    }

    /// The same with these variables in its environment, until it has logged these words.
    pub(crate) fn serve_with(&self, variables: &[(&str, &str)], words: &[&str]) -> Result<Gateway> {
        let log = self.path("serve.log");
        let mut command = self.command(&["serve", "--json"]);
        command.envs(variables.iter().copied());
        let mut process = command.stdout(Stdio::piped()).stderr(File::create(&log)?).spawn()?;
        let mut ready = String::new();
        BufReader::new(process.stdout.take().context("no standard output")?).read_line(&mut ready)?;
        let ready: Ready = serde_json::from_str(&ready).with_context(|| ready.clone())?;
        let gateway = Gateway { process, http: ready.http };
        let linked = wait_until(PATIENCE, || {
            let log = std::fs::read_to_string(&log).ok()?;
            words.iter().all(|up| log.contains(up)).then_some(())
        });
        linked.with_context(|| format!("not linked: {}", std::fs::read_to_string(&log).unwrap_or_default()))?;
        Ok(gateway)
    }

    /// Waits until so many calls are over and recorded; the ids of their sessions.
    pub(crate) fn recorded(&self, calls: usize) -> Result<Vec<String>> {
        let recordings = self.path("data/recordings");
        wait_until(PATIENCE, || (certificates(&recordings) == calls).then_some(()))
            .with_context(|| format!("{} of {calls} calls are recorded", certificates(&recordings)))?;
        let over = wait_until(PATIENCE, || {
            let rows: Vec<SessionRow> = self.json(&["calls", "--all", "--limit", "1000", "--json"]).ok()?;
            (rows.len() == calls && rows.iter().all(|row| row.state.is_over())).then_some(rows)
        });
        Ok(over.context("not all calls are over")?.iter().map(|row| row.id.to_string()).collect())
    }

    /// What a command prints.
    pub(crate) fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        Ok(serde_json::from_str(&self.text(self.command(arguments))?)?)
    }

    fn text(&self, mut command: Command) -> Result<String> {
        let output = command.output().with_context(|| format!("{} cannot be run", self.program.display()))?;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("AIMG_DATA_DIR", self.path("data"))
            .env("AIMG_MEDIA_PORT", "0")
            .arg("--config")
            .arg(self.path("aimg.toml"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// How many certificates there are in a directory and below.
fn certificates(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let count = |path: PathBuf| {
        if path.is_dir() { certificates(&path) } else { usize::from(path.extension().is_some_and(|e| e == "json")) }
    };
    entries.map(count).sum()
}

/// A running `aimg serve`; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Child,
    http: Option<SocketAddr>,
}

/// What its first line of output says.
#[derive(Deserialize)]
struct Ready {
    http: Option<SocketAddr>,
}

impl Gateway {
    /// Where it serves HTTP.
    pub(crate) const fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// What the process that does the work has for itself in memory.
    pub(crate) fn worker_memory_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.worker()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
        let kib: u64 = line.split_whitespace().next().context("no number")?.parse()?;
        Ok(kib * 1_024)
    }

    /// The CPU time that it took so far, in seconds.
    pub(crate) fn worker_cpu_s(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.worker()?))?;
        let (_, fields) = stat.rsplit_once(") ").context("no name")?;
        // Of proc(5)'s fields 14 and 15, utime and stime, in ticks of 10 ms.
        let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(ticks as f64 / 100.0)
    }

    fn worker(&self) -> Result<u32> {
        // Any of the parent's threads may have started it.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id()))?;
        let children = tasks.flatten().filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok());
        Ok(children.collect::<String>().split_whitespace().next().context("there is no worker")?.parse()?)
    }

    /// Stops it.
    pub(crate) fn terminate(mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.process.id())?), Signal::SIGTERM)?;
        wait_until(PATIENCE, || self.process.try_wait().ok().flatten()).context("the gateway does not end")?;
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Both fail for one that has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
