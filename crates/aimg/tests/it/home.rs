//! One installation of `aimg`: its data directory, and its command line with nothing of the developer's own settings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aimg_core::{CallEvent, CallEventKind, LegRow, SessionId, SessionRow, TapMode};
use aimg_recording::Certificate;
use aimg_testbed::{Access, Disk, Namespace};
use serde::Deserialize;
use tempfile::TempDir;

use crate::gateway::Gateway;
use crate::waiting::eventually;

/// How long a command may take, a busy machine included.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(20);

/// What a program left when it had ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; nothing when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// What `aimg session show --json` prints.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Detail {
    pub(crate) session: SessionRow,
    pub(crate) legs: Vec<LegRow>,
    pub(crate) events: Vec<CallEvent>,
    pub(crate) recordings: Vec<Recording>,
}

impl Detail {
    /// Whether something of the kind happened.
    pub(crate) fn has(&self, kind: impl Fn(&CallEventKind) -> bool) -> bool {
        self.count(kind) > 0
    }

    fn count(&self, kind: impl Fn(&CallEventKind) -> bool) -> usize {
        self.events.iter().filter(|e| kind(&e.kind)).count()
    }

    /// Whether each capture that was begun, and not denied, is recorded, and all that is known of it written.
    fn is_recorded(&self) -> bool {
        let denied = self.count(|k| matches!(k, CallEventKind::QuotaExceeded { .. }));
        let begun = self.count(|k| matches!(k, CallEventKind::TapRequested { .. })) - denied;
        let ready = self.count(|k| matches!(k, CallEventKind::RecordingReady { .. }));
        self.recordings.len() == begun && ready == begun
    }
}

/// A recording as `aimg session show --json` prints it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Recording {
    pub(crate) part: u16,
    pub(crate) path: PathBuf,
    pub(crate) complete: bool,
    pub(crate) bytes: u64,
    pub(crate) certificate: Certificate,
}

/// An installation. Its directory goes with it.
#[derive(Debug)]
pub(crate) struct Home {
    dir: TempDir,
    /// Where its spools are until they are on the disk.
    memory: TempDir,
    runs: AtomicUsize,
}

impl Home {
    /// An installation with no tenant and no PBX yet.
    pub(crate) fn new() -> Self {
        Self::with_settings("")
    }

    /// The same with a configuration file of this text.
    pub(crate) fn with_settings(toml: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("aimg-home-").tempdir().unwrap();
        // Named on each command line: a file of this machine's must not be read instead.
        fs::write(dir.path().join("aimg.toml"), toml).unwrap();
        let memory = tempfile::Builder::new().prefix("aimg-home-").tempdir_in("/dev/shm").unwrap();
        Self { dir, memory, runs: AtomicUsize::new(0) }
    }

    /// Writes its configuration file.
    pub(crate) fn write_settings(&self, toml: &str) {
        fs::write(self.dir.path().join("aimg.toml"), toml).unwrap();
    }

    /// Adds a tenant, and a PBX of it with right credentials.
    pub(crate) fn add_pbx(&self, access: &Access, tap: TapMode) {
        self.add_pbx_with(access, tap, &access.secret, &access.secret);
    }

    /// The same with these secrets.
    pub(crate) fn add_pbx_with(&self, access: &Access, tap: TapMode, ami_secret: &str, ari_password: &str) {
        self.run(self.aimg(&["tenant", "add", "acme"])).succeeded();
        self.pbx_add("office", access, tap, ami_secret, ari_password);
    }

    /// Adds another PBX of the same tenant.
    pub(crate) fn add_second_pbx(&self, access: &Access, tap: TapMode) {
        self.pbx_add("branch", access, tap, &access.secret, &access.secret);
    }

    /// Adds the tenants acme and rival, and a PBX that they share, without rules.
    pub(crate) fn add_shared_pbx(&self, access: &Access, tap: TapMode) {
        for tenant in ["acme", "rival"] {
            self.run(self.aimg(&["tenant", "add", tenant])).succeeded();
        }
        self.pbx_add_for("shared", &["--shared"], access, tap, &access.secret, &access.secret);
    }

    fn pbx_add(&self, name: &str, access: &Access, tap: TapMode, ami_secret: &str, ari_password: &str) {
        self.pbx_add_for(name, &["--tenant", "acme"], access, tap, ami_secret, ari_password);
    }

    fn pbx_add_for(
        &self,
        name: &str,
        of: &[&str],
        access: &Access,
        tap: TapMode,
        ami_secret: &str,
        ari_password: &str,
    ) {
        let mut add = self.aimg(&["pbx", "add", name, "--host", &access.host]);
        add.args(of)
            .args(["--ami-port", &access.ami_port.to_string(), "--ami-user", &access.user])
            .args(["--ari-url", &access.ari_url(), "--ari-user", &access.user, "--ari-app", &access.app])
            .args(["--tap", tap.name()])
            .env("AIMG_AMI_SECRET", ami_secret)
            .env("AIMG_ARI_PASSWORD", ari_password);
        self.run(add).succeeded();
    }

    /// Lets captures and recordings be on this disk, and keeps so many bytes of it free.
    pub(crate) fn captures_to(&self, disk: &Disk, reserve_bytes: u64) {
        fs::write(self.dir.path().join("aimg.toml"), format!("[disk]\nreserve_bytes = {reserve_bytes}\n")).unwrap();
        fs::create_dir_all(self.data("")).unwrap();
        for name in ["spool", "recordings"] {
            fs::create_dir(disk.path().join(name)).unwrap();
            std::os::unix::fs::symlink(disk.path().join(name), self.data(name)).unwrap();
        }
    }

    /// A file or directory of the data directory.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.dir.path().join("data").join(name)
    }

    /// A command of the program, ready to run.
    pub(crate) fn aimg(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aimg"));
        command
            .env_clear()
            .env("AIMG_DATA_DIR", self.dir.path().join("data"))
            .env("AIMG_MEMORY_DIR", self.memory.path())
            .env("AIMG_MEDIA_PORT", "0")
            .env("AIMG_HTTP_BIND", "127.0.0.1:0")
            .current_dir(self.dir.path())
            .arg("--config")
            .arg(self.dir.path().join("aimg.toml"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, mut command: Command) -> Ended {
        let [stdout, stderr] = [self.log("out"), self.log("err")];
        command.stdout(fs::File::create(&stdout).unwrap()).stderr(fs::File::create(&stderr).unwrap());
        let mut child = command.spawn().unwrap();
        let status = aimg_testbed::wait_until(COMMAND_TIME_MAX, || child.try_wait().unwrap()).unwrap_or_else(|| {
            child.kill().unwrap();
            panic!("{command:?} does not end: {}", read(&stderr))
        });
        Ended { code: status.code(), stdout: read(&stdout), stderr: read(&stderr) }
    }

    /// Starts the gateway and waits until its sockets are open.
    pub(crate) fn serve(&self) -> Gateway {
        self.serve_with(|_| {})
    }

    /// The same with more in its environment.
    pub(crate) fn serve_with(&self, more: impl FnOnce(&mut Command)) -> Gateway {
        let mut serve = self.aimg(&["serve", "--json"]);
        more(&mut serve);
        Gateway::start(serve, self.log("serve"))
    }

    /// Starts one part of the gateway and waits until its sockets are open.
    pub(crate) fn part(&self, name: &str) -> Gateway {
        Gateway::start(self.aimg(&[name, "--json"]), self.log(name))
    }

    /// Starts `ami-handler`; what it prints goes into a file.
    pub(crate) fn ami_handler(&self, arguments: &[&str]) -> (Gateway, Printed) {
        let command = self.aimg(&[&["ami-handler", "--json"], arguments].concat());
        let printed = self.log("printed");
        (Gateway::start_printing(command, self.log("ami"), &printed), Printed(printed))
    }

    /// Starts the gateway and waits until it follows its PBX.
    pub(crate) fn serve_linked(&self) -> Gateway {
        self.serve_linked_with(&[])
    }

    /// The same with these variables in its environment.
    pub(crate) fn serve_linked_with(&self, variables: &[(&str, &str)]) -> Gateway {
        let mut command = self.aimg(&["serve", "--json"]);
        command.envs(variables.iter().copied());
        let gateway = Gateway::start(command, self.log("serve"));
        gateway.wait_for_log("AMI is up");
        gateway.wait_for_log("ARI is up");
        gateway
    }

    /// Starts the gateway in a network namespace and waits until it follows its PBX.
    pub(crate) fn serve_linked_inside(&self, namespace: &Namespace) -> Gateway {
        let mut serve = self.aimg(&["serve", "--json"]);
        serve.env("AIMG_MEDIA_BIND", namespace.address().to_string());
        let mut serve = namespace.command(&serve);
        serve.stdin(Stdio::null());
        let gateway = Gateway::start(serve, self.log("serve"));
        gateway.wait_for_log("AMI is up");
        gateway.wait_for_log("ARI is up");
        gateway
    }

    /// The id of the only PBX.
    pub(crate) fn pbx_id(&self) -> String {
        let pbxs: Vec<serde_json::Value> = self.json(&["pbx", "list", "--json"]);
        pbxs[0]["id"].as_str().unwrap().to_owned()
    }

    /// Calls that are not over.
    pub(crate) fn live_calls(&self) -> Vec<SessionRow> {
        self.json(&["calls", "--limit", "1000", "--json"])
    }

    /// Packets received so far of each direction of calls that are not over.
    pub(crate) fn live_packets(&self) -> Vec<u64> {
        let calls: Vec<serde_json::Value> = self.json(&["calls", "--limit", "1000", "--json"]);
        let received = |c: &serde_json::Value, side: &str| c["live"][side]["received"].as_u64().unwrap_or(0);
        calls.iter().flat_map(|c| ["caller", "callee"].map(|side| received(c, side))).collect()
    }

    /// All calls there ever were, newest first.
    pub(crate) fn all_calls(&self) -> Vec<SessionRow> {
        self.json(&["calls", "--all", "--limit", "1000", "--json"])
    }

    /// All that is known of a call.
    pub(crate) fn session(&self, id: SessionId) -> Detail {
        self.json(&["session", "show", &id.to_string(), "--json"])
    }

    /// Waits until there are `count` calls, all of them over and each of their captures recorded; newest first.
    pub(crate) fn finished_calls(&self, count: usize) -> Vec<Detail> {
        let calls = eventually(&format!("{count} calls are over"), || {
            let calls = self.all_calls();
            let all_over = calls.len() == count && calls.iter().all(|c| c.state.is_over());
            if all_over { Ok(calls) } else { Err(format!("{calls:?}")) }
        });
        let recorded = |call: &SessionRow| {
            eventually(&format!("call {} is recorded", call.id), || {
                let detail = self.session(call.id);
                if detail.is_recorded() { Ok(detail) } else { Err(format!("{detail:?}")) }
            })
        };
        calls.iter().map(recorded).collect()
    }

    /// Waits until the only call is over and recorded.
    pub(crate) fn finished_call(&self) -> Detail {
        self.finished_calls(1).swap_remove(0)
    }

    /// The file of a recording.
    pub(crate) fn recording_path(&self, recording: &Recording) -> PathBuf {
        self.data("recordings").join(&recording.path)
    }

    /// The files in the spool that belong to calls.
    pub(crate) fn spool_files(&self) -> Vec<String> {
        let top = self.data("spool");
        files_below(&top).into_iter().filter(|f| f.parent() != Some(&top)).map(|f| f.display().to_string()).collect()
    }

    /// The ends of spools that are in memory.
    pub(crate) fn live_spools(&self) -> Vec<PathBuf> {
        let is_spool = |f: &PathBuf| f.extension().is_some_and(|e| e == "spool");
        files_below(self.memory.path()).into_iter().filter(is_spool).collect()
    }

    /// What a command prints as JSON.
    pub(crate) fn json<T: for<'a> Deserialize<'a>>(&self, arguments: &[&str]) -> T {
        let printed = self.run(self.aimg(arguments)).succeeded().stdout;
        serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {printed}"))
    }

    fn log(&self, name: &str) -> PathBuf {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        self.dir.path().join(format!("{run}.{name}"))
    }
}

/// What a program prints.
#[derive(Debug)]
pub(crate) struct Printed(PathBuf);

impl Printed {
    /// Its lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        read(&self.0).lines().map(str::to_owned).collect()
    }
}

impl Ended {
    /// Fails unless it ended well.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless it ended with this code and said all of these words on standard error.
    #[track_caller]
    pub(crate) fn failed_with(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in: {}", self.stderr);
        }
        self
    }
}

fn files_below(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![top.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { dirs.push(path) } else { found.push(path) }
        }
    }
    found
}

pub(crate) fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
