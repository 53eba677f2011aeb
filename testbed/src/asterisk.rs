//! One running Asterisk.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::config::{self, Config, Ports};
use crate::guarded::{Guarded, Rights, Signal, last_lines};
use crate::privilege::as_root;
use crate::workdir::WorkDir;
use crate::{Error, Namespace, PortBlock, Root, Speech, Version, boot, wait_until};

/// What runs in the private mount namespace before Asterisk takes the process over: $1 the root, $2 the instance's
/// directory, then Asterisk's arguments. The mounts end with the process.
const ENTER: &str = r#"
root=$1; dir=$2; shift 2
mount --rbind /dev "$root/dev" && mount --bind /proc "$root/proc" && mount --bind "$dir" "$root/mnt" &&
exec chroot "$root" /usr/sbin/asterisk -C /mnt/etc/asterisk.conf "$@"
"#;

/// How long a start may take on a busy machine; alone it is a tenth of a second.
const BOOT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long Asterisk may take to hang up everything and end by itself.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a console command may take, in whole seconds.
const CLI_TIMEOUT_S: &str = "10";

/// Warnings and errors of Asterisk's log that an error shows.
const LOG_LINES_SHOWN: usize = 25;

/// Directories of an instance, as named in `asterisk.conf`.
const DIRS: [&str; 6] = ["etc", "lib", "spool", "run", "log", "sounds"];

/// What a test may want to be different.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Stasis app that the dialplan's hook enters.
    pub app: String,
    /// Modules that are not loaded, such as `chan_rtp.so`.
    pub without_modules: Vec<String>,
    /// What the context `answer-at-once` plays.
    pub speech: Option<Speech>,
    /// Text at the end of files in its configuration directory, by their names; one that is not there is made. Asterisk
    /// sees the directory as `/mnt/etc`. What the templates leave open can be used, such as `{{ami_tls_port}}`.
    pub additions: Vec<(String, String)>,
    /// The network namespace that it runs in; none: on this machine's loopback. The phones have to be there too.
    pub namespace: Option<Namespace>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            app: "aimg".to_owned(),
            without_modules: Vec::new(),
            speech: None,
            additions: Vec::new(),
            namespace: None,
        }
    }
}

/// How to reach an instance: what a PBX of the gateway needs, and SIPp.
#[derive(Clone, Debug, Serialize)]
pub struct Access {
    /// Where AMI and ARI are: 127.0.0.1, or the address of its namespace.
    pub host: String,
    /// AMI's TCP port.
    pub ami_port: u16,
    /// The TCP port of ARI, under `/ari`.
    pub http_port: u16,
    /// The UDP port of SIP.
    pub sip_port: u16,
    /// The user of AMI and of ARI.
    pub user: String,
    /// The user's secret, for both.
    pub secret: String,
    /// The Stasis app that the dialplan's hook enters.
    pub app: String,
}

impl Access {
    /// Where ARI is.
    pub fn ari_url(&self) -> String {
        format!("http://{}:{}/ari", self.host, self.http_port)
    }
}

/// A channel, as `core show channels concise` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Such as `PJSIP/tap-ami-00000001`.
    pub name: String,
    /// Where it is in the dialplan.
    pub context: String,
    /// The number that it called, unless the dialplan went elsewhere.
    pub exten: String,
    /// Such as `Ring` or `Up`.
    pub state: String,
    /// The application that has it, such as `Dial`; empty in none.
    pub application: String,
    /// Its Uniqueid.
    pub uniqueid: String,
}

/// A bridge, as `bridge show all` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its id.
    pub id: String,
    /// How many channels are in it.
    pub channels: u32,
}

/// A running Asterisk with its own ports and directories. It ends when this is dropped.
#[derive(Debug)]
pub struct Asterisk {
    // In this order: the process ends, its directory goes, its ports are free.
    process: Guarded,
    dir: WorkDir,
    _block: PortBlock,
    version: Version,
    root: Root,
    access: Access,
    ports: Ports,
    namespace: Option<Namespace>,
}

impl Asterisk {
    /// Starts one and waits until it is fully booted.
    pub fn start(version: Version, options: &Options) -> Result<Self, Error> {
        let root = Root::of(version)?;
        let block = PortBlock::reserve(config::PORTS)?;
        let ports = Ports::of(&block);
        let dir = WorkDir::of(&block)?;
        for name in DIRS {
            fs::create_dir(dir.path().join(name)).map_err(Error::io("cannot make a directory for an Asterisk"))?;
        }
        let access = Access {
            host: options.namespace.as_ref().map_or(Ipv4Addr::LOCALHOST, Namespace::address).to_string(),
            ami_port: ports.ami,
            http_port: ports.http,
            sip_port: ports.sip,
            user: "aimg".to_owned(),
            // Loopback only, and gone with the instance.
            secret: "testbed".to_owned(),
            app: options.app.clone(),
        };
        Config {
            root: &root,
            ports,
            host: &access.host,
            gateway: &options.namespace.as_ref().map_or(Ipv4Addr::LOCALHOST, Namespace::peer).to_string(),
            user: &access.user,
            secret: &access.secret,
            app: &access.app,
            without_modules: &options.without_modules,
            additions: &options.additions,
        }
        .write(&dir.path().join("etc"))?;
        let speech = match &options.speech {
            Some(speech) => speech.clone(),
            None => Speech::callee()?,
        };
        // The suffix is how Asterisk knows raw µ-law.
        speech.write_ulaw(&dir.path().join("sounds/callee.ulaw"))?;
        let namespace = options.namespace.clone();
        let process = spawn(version, &root, dir.path(), namespace.as_ref())?;
        let mut asterisk = Self { process, dir, _block: block, version, root, access, ports, namespace };
        asterisk.wait_until_up()?;
        Ok(asterisk)
    }

    /// Which version it is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How to reach it.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// A directory for what it is to play, and the path under which it sees that.
    pub fn said_dir(&self) -> (std::path::PathBuf, std::path::PathBuf) {
        (self.dir.path().join("said"), "/mnt/said".into())
    }

    /// The UDP ports that its RTP comes from: the first and the last.
    pub fn rtp_ports(&self) -> (u16, u16) {
        (self.ports.rtp_first, self.ports.rtp_last)
    }

    /// A TCP port for AMI with TLS; nobody listens there unless [`Options::additions`] say so.
    pub fn ami_tls_port(&self) -> u16 {
        self.ports.ami_tls
    }

    /// A TCP port for ARI with TLS; the same holds for it.
    pub fn http_tls_port(&self) -> u16 {
        self.ports.http_tls
    }

    /// Its process id, as this machine sees it.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its log file: notices, warnings, errors, and each step of the dialplan with milliseconds.
    pub fn log_path(&self) -> PathBuf {
        self.dir.path().join("log/asterisk.log")
    }

    /// What a console command prints.
    pub fn cli(&self, command: &str) -> Result<String, Error> {
        let mut entered = as_root("timeout");
        entered.args([CLI_TIMEOUT_S, "unshare", "--mount", "sh", "-c", ENTER, "enter"]);
        let output = entered
            .args([self.root.path(), self.dir.path()])
            .args(["-rx", command])
            .output()
            .map_err(Error::io(format!("cannot run the Asterisk command `{command}`")))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let output = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
        Err(Error::Cli { command: command.to_owned(), output })
    }

    /// Every channel it has.
    pub fn channels(&self) -> Result<Vec<Channel>, Error> {
        Ok(self.cli("core show channels concise")?.lines().filter_map(parse_channel).collect())
    }

    /// Every bridge it has.
    pub fn bridges(&self) -> Result<Vec<Bridge>, Error> {
        Ok(self.cli("bridge show all")?.lines().filter_map(parse_bridge).collect())
    }

    /// Freezes the process (SIGSTOP): its sockets stay open and nobody answers.
    pub fn freeze(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::Stop)
    }

    /// Lets a frozen process go on.
    pub fn thaw(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::Continue)
    }

    /// Whether its process has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.exit_code().is_none()
    }

    /// Kills the process (SIGKILL), as a crash would. [`Asterisk::restart`] brings it back.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends it if it runs, as `core stop now` would, and starts it anew with the same ports and configuration.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.end()?;
        self.process = spawn(self.version, &self.root, self.dir.path(), self.namespace.as_ref())?;
        self.wait_until_up()
    }

    /// Ends it as `core stop now` would: calls are hung up, AMI tells `Shutdown`.
    pub fn stop(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::Terminate)?;
        if wait_until(STOP_TIMEOUT, || self.process.exit_code()).is_none() {
            self.process.kill();
        }
        Ok(())
    }

    fn wait_until_up(&mut self) -> Result<(), Error> {
        let up = wait_until(BOOT_TIMEOUT, || match self.process.exit_code() {
            Some(code) => Some(Err(code)),
            None => self.is_up().then_some(Ok(())),
        });
        let what = || format!("Asterisk {}", self.version);
        match up {
            Some(Ok(())) => Ok(()),
            Some(Err(code)) => Err(Error::Ended { what: what(), code, log: self.log_end() }),
            None => Err(Error::TooLate {
                what: format!("the start of {}", what()),
                within: BOOT_TIMEOUT,
                log: self.log_end(),
            }),
        }
    }

    /// In a namespace its ports cannot be tried from here; its console is asked.
    fn is_up(&self) -> bool {
        match self.namespace {
            None => boot::is_up(&self.access),
            Some(_) => self.cli("core waitfullybooted").is_ok_and(|said| said.contains("fully booted")),
        }
    }

    /// What went wrong according to Asterisk, and the end of what it printed before it had a log.
    pub fn log_end(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let bad: Vec<&str> = log.lines().filter(|l| l.contains("] ERROR[") || l.contains("] WARNING[")).collect();
        let bad = &bad[bad.len().saturating_sub(LOG_LINES_SHOWN)..];
        format!("{}\n{}", last_lines(&self.dir.path().join("log/console"), LOG_LINES_SHOWN), bad.join("\n"))
    }
}

fn spawn(version: Version, root: &Root, dir: &Path, namespace: Option<&Namespace>) -> Result<Guarded, Error> {
    let enter = namespace.map_or_else(Vec::new, |n| n.enter(Rights::Root));
    let command = enter.iter().map(Path::new).chain(["unshare", "--mount", "sh", "-c", ENTER, "enter"].map(Path::new));
    let command = command.chain([root.path(), dir, Path::new("-f")]);
    Guarded::spawn(format!("Asterisk {version}"), Rights::Root, command, &dir.join("log/console"))
}

/// Channel!Context!Exten!Priority!State!Application!Data!…!Uniqueid; nothing in between has a `!` in our dialplan.
fn parse_channel(line: &str) -> Option<Channel> {
    let fields: Vec<&str> = line.split('!').collect();
    let [name, context, exten, _priority, state, application, .., uniqueid] = fields[..] else { return None };
    Some(Channel {
        name: name.to_owned(),
        context: context.to_owned(),
        exten: exten.to_owned(),
        state: state.to_owned(),
        application: if application == "(None)" { String::new() } else { application.to_owned() },
        uniqueid: uniqueid.to_owned(),
    })
}

/// `Bridge-ID Chans Type Technology Duration` under a headline; newer versions have a name, of any words, after the id.
fn parse_bridge(line: &str) -> Option<Bridge> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [id, .., channels, _type, _technology, _duration] = fields[..] else { return None };
    // The headline has a word here.
    Some(Bridge { id: id.to_owned(), channels: channels.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_read() {
        let line = "PJSIP/tap-ami-00000000!tap-ami!20500!1!Up!Dial!PJSIP/callee/sip:callee@127.0.0.1:20500,30!tap-ami!!!3!2!9d0!1795440995.0";
        assert_eq!(
            parse_channel(line).unwrap(),
            Channel {
                name: "PJSIP/tap-ami-00000000".into(),
                context: "tap-ami".into(),
                exten: "20500".into(),
                state: "Up".into(),
                application: "Dial".into(),
                uniqueid: "1795440995.0".into(),
            }
        );
        assert_eq!(parse_channel("No such command"), None);
    }

    #[test]
    fn bridges_are_read() {
        for (line, expected) in [
            ("Bridge-ID                            Chans Type            Technology      Duration", None),
            ("9d0f4a54-1d2b-4c0a                       2 basic           simple_bridge   00:00:02", Some(2)),
            ("c3200ada-a0eb-4b47 a name of 5 words   3 stasis          softmix         00:00:02", Some(3)),
            ("", None),
        ] {
            assert_eq!(parse_bridge(line).map(|b| b.channels), expected, "{line}");
        }
    }
}
