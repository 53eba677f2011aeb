//! `aimg serve`: a small parent that outlives its worker.
//!
//! It holds the media plane's sockets, so that packets wait in the kernel while a worker is replaced, and nothing else:
//! what it does not do cannot kill it.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use aimg_media::Clock;
use anyhow::Context;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::exit;
use crate::settings::Settings;

/// A worker that lived shorter died of something that its successor may die of, too.
const SHORT_LIFE: Duration = Duration::from_secs(2);
/// So many short lives in a row, and the next worker does not take over: it finishes what the others left.
const SHORT_LIVES_MAX: u32 = 5;
/// Before a worker is started after a short life; doubled by each further one.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a port may take to be free that the worker of a killed parent still has.
const PORT_PATIENCE: Duration = Duration::from_secs(1);

/// Why the worker ended, where that ends the parent too.
#[derive(Debug, thiserror::Error)]
#[error("the worker has said why")]
pub(crate) struct WorkerEnded(pub(crate) u8);

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let sockets = bind(settings).await?;
    // Read once for all workers: a call that outlives one must not have its times torn where the system's was set.
    let clock = Clock::anchored();
    let mut signals = Signals::new()?;
    let (mut takeover, mut short_lives) = (false, 0);
    loop {
        let born = Instant::now();
        let mut worker = start(&sockets, clock, takeover)?;
        // Open as long as this process lives, or the worker ends itself; waiting for the worker would close it.
        let _alive = worker.stdin.take();
        let (status, asked) = attend(&mut worker, &mut signals).await?;
        match asked {
            Asked::Stop => return ended(status),
            Asked::Nothing if is_deliberate(status) => return ended(status),
            Asked::Replace => {}
            Asked::Nothing => eprintln!("aimg: the worker ended ({status}); another one takes over"),
        }
        short_lives = if born.elapsed() < SHORT_LIFE && asked == Asked::Nothing { short_lives + 1 } else { 0 };
        takeover = short_lives < SHORT_LIVES_MAX;
        if short_lives > 1 {
            let pause = (PAUSE * 2u32.saturating_pow(short_lives)).min(PAUSE_MAX);
            if let Ok((_, Asked::Stop)) = tokio::time::timeout(pause, signals.next()).await {
                return Ok(());
            }
        }
    }
}

/// What the media plane is set up with.
pub(crate) fn media_config(settings: &Settings) -> aimg_media::Config {
    let media = &settings.media;
    aimg_media::Config {
        bind: media.bind,
        advertise: media.advertise,
        port: media.port,
        shards: media.shards,
        recv_buffer_bytes: media.recv_buffer_bytes,
        flows_max: media.flows_max,
        ..aimg_media::Config::default()
    }
}

async fn bind(settings: &Settings) -> anyhow::Result<Vec<UdpSocket>> {
    let config = media_config(settings);
    let until = Instant::now() + PORT_PATIENCE;
    let sockets = loop {
        match aimg_media::bind_ports(&config) {
            Err(aimg_media::Error::PortInUse { .. }) if Instant::now() < until => {
                tokio::time::sleep(PORT_PATIENCE / 20).await;
            }
            bound => break bound?,
        }
    };
    for socket in &sockets {
        // The worker inherits it under the same number.
        fcntl_setfd(socket, FdFlags::empty()).context("a socket cannot be given to the worker")?;
    }
    Ok(sockets)
}

/// Starts a worker: this very command, with the sockets. What the program is on the disk is what runs.
fn start(sockets: &[UdpSocket], clock: Clock, takeover: bool) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("the path of aimg itself is not known")?;
    let fds = sockets.iter().map(|s| s.as_raw_fd().to_string()).collect::<Vec<_>>().join(",");
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).arg("--worker").arg(fds);
    command.arg("--clock").arg(clock.ahead_us().to_string()).stdin(Stdio::piped());
    if takeover {
        command.arg("--takeover");
    }
    command.spawn().context("the worker cannot be started")
}

/// What the worker was told before it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    Stop,
    Replace,
}

/// Passes signals on until the worker has ended.
async fn attend(worker: &mut Child, signals: &mut Signals) -> anyhow::Result<(ExitStatus, Asked)> {
    let mut asked = Asked::Nothing;
    loop {
        tokio::select! {
            status = worker.wait() => return Ok((status.context("the worker's end cannot be seen")?, asked)),
            (signal, next) = signals.next() => {
                // A stop is not taken back by an upgrade.
                asked = if asked == Asked::Stop { asked } else { next };
                let pid = worker.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
                if let Some(pid) = pid {
                    let _ = kill_process(pid, signal);
                }
            }
        }
    }
}

/// Whether a worker ended because it wanted to, and has said why. Anything else (a signal, a defect) is a death.
fn is_deliberate(status: ExitStatus) -> bool {
    status.code().and_then(|code| u8::try_from(code).ok()).is_some_and(exit::is_deliberate)
}

fn ended(status: ExitStatus) -> anyhow::Result<()> {
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(0) => Ok(()),
        code => Err(WorkerEnded(code.unwrap_or(exit::DEFECT)).into()),
    }
}

/// The signals that a parent passes on.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> (Signal, Asked) {
        tokio::select! {
            _ = self.terminate.recv() => (Signal::TERM, Asked::Stop),
            _ = self.interrupt.recv() => (Signal::TERM, Asked::Stop),
            _ = self.hangup.recv() => (Signal::HUP, Asked::Replace),
        }
    }
}
