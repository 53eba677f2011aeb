//! `aimg serve`: a small parent that outlives its worker.
//!
//! It holds the media plane's sockets, so that packets wait in the kernel while a worker is replaced, the listener for HTTP,
//! so that requests wait there too, and nothing else:
//! what it does not do cannot kill it.

use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
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
    let (mut past, mut deaths) = (Past::default(), 0);
    loop {
        let born = Instant::now();
        let mut worker = Worker::start(&sockets, clock, past.may_take_over(), deaths)?;
        let (status, asked) = attend(&mut worker.process, &mut signals).await?;
        let end = End { status, was_up: worker.was_up(), lived: born.elapsed() };
        match asked {
            Asked::Stop => return stopped(status),
            Asked::Nothing if past.gives_up_after(&end) => return ended(status),
            Asked::Replace => {}
            Asked::Nothing => {
                deaths += 1;
                tracing::error!(deaths, "the worker ended ({status}); another one takes over");
            }
        }
        past.add(&end, asked);
        if let Some(pause) = past.pause()
            && let Ok((_, Asked::Stop)) = tokio::time::timeout(pause, signals.next()).await
        {
            return Ok(());
        }
    }
}

/// How a worker ended.
#[derive(Debug)]
struct End {
    status: ExitStatus,
    /// It had begun to follow PBXs.
    was_up: bool,
    lived: Duration,
}

/// What became of the workers so far.
#[derive(Debug, Default)]
struct Past {
    /// There was one that had begun to follow PBXs: calls may be waiting for the next.
    was_up: bool,
    /// Deaths in a row, each soon after the start.
    short_lives: u32,
    /// Workers in a row that lived no longer, or could not start.
    failures: u32,
}

impl Past {
    fn may_take_over(&self) -> bool {
        self.was_up && self.short_lives < SHORT_LIVES_MAX
    }

    /// Whether a worker's end is this process's too: it has decided so and said why. One that could not even start, after
    /// another one was up, has no say in that: a locked database or a mistake in the settings passes, calls go on.
    fn gives_up_after(&self, end: &End) -> bool {
        is_deliberate(end.status) && (end.was_up || !self.was_up)
    }

    fn add(&mut self, end: &End, asked: Asked) {
        let short = end.lived < SHORT_LIFE && asked == Asked::Nothing;
        self.was_up |= end.was_up;
        self.failures = if short || !end.was_up { self.failures + 1 } else { 0 };
        self.short_lives = match short {
            true => self.short_lives + u32::from(!is_deliberate(end.status)),
            false => 0,
        };
    }

    /// How long the next worker is waited with.
    fn pause(&self) -> Option<Duration> {
        (self.failures > 1).then(|| (PAUSE * 2u32.saturating_pow(self.failures)).min(PAUSE_MAX))
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

/// What a worker inherits.
struct Sockets {
    media: Vec<UdpSocket>,
    http: Option<TcpListener>,
}

async fn bind(settings: &Settings) -> anyhow::Result<Sockets> {
    let config = media_config(settings);
    let media_taken = |e: &aimg_media::Error| matches!(e, aimg_media::Error::PortInUse { .. });
    let media = patiently(|| aimg_media::bind_ports(&config), media_taken).await?;
    let http_taken = |e: &aimg_api::Error| matches!(e, aimg_api::Error::PortInUse { .. });
    let http = match settings.http.bind {
        Some(address) => Some(patiently(|| aimg_api::bind(address), http_taken).await?),
        None => None,
    };
    // The worker inherits them under the same numbers.
    for socket in media.iter().map(AsFd::as_fd).chain(http.as_ref().map(AsFd::as_fd)) {
        fcntl_setfd(socket, FdFlags::empty()).context("a socket cannot be given to the worker")?;
    }
    Ok(Sockets { media, http })
}

/// Tries again for a while where a port is taken.
async fn patiently<T, E>(bind: impl Fn() -> Result<T, E>, is_taken: impl Fn(&E) -> bool) -> Result<T, E> {
    let until = Instant::now() + PORT_PATIENCE;
    loop {
        match bind() {
            Err(error) if is_taken(&error) && Instant::now() < until => {
                tokio::time::sleep(PORT_PATIENCE / 20).await;
            }
            bound => return bound,
        }
    }
}

/// A worker, and the other end of its standard input. That is open as long as this process lives, or the worker ends itself.
#[derive(Debug)]
struct Worker {
    process: Child,
    line: UnixStream,
}

impl Worker {
    /// Starts this very command, with the sockets. What the program is on the disk is what runs.
    fn start(sockets: &Sockets, clock: Clock, takeover: bool, deaths: u32) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("the path of aimg itself is not known")?;
        let fds = sockets.media.iter().map(|s| s.as_raw_fd().to_string()).collect::<Vec<_>>().join(",");
        let (line, theirs) = UnixStream::pair().context("there is no line to the worker")?;
        line.set_nonblocking(true).context("the line to the worker cannot be read")?;
        let mut command = Command::new(program);
        command.args(std::env::args_os().skip(1)).arg("--worker").arg(fds);
        command.arg("--clock").arg(clock.ahead_us().to_string()).stdin(OwnedFd::from(theirs));
        command.arg("--deaths").arg(deaths.to_string());
        if let Some(http) = &sockets.http {
            command.arg("--http").arg(http.as_raw_fd().to_string());
        }
        if takeover {
            command.arg("--takeover");
        }
        Ok(Self { process: command.spawn().context("the worker cannot be started")?, line })
    }

    /// Whether it has said that it follows PBXs.
    fn was_up(&mut self) -> bool {
        self.line.read(&mut [0]).is_ok_and(|bytes| bytes > 0)
    }
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

/// A worker that is asked to stop before it is up has not begun anything, and dies of the signal.
fn stopped(status: ExitStatus) -> anyhow::Result<()> {
    if status.signal() == Some(Signal::TERM.as_raw()) { Ok(()) } else { ended(status) }
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

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: i32 = 9;
    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    fn killed(was_up: bool, lived: Duration) -> End {
        End { status: ExitStatus::from_raw(KILLED), was_up, lived }
    }

    fn decided(code: u8, was_up: bool) -> End {
        End { status: ExitStatus::from_raw(i32::from(code) << 8), was_up, lived: SHORT }
    }

    fn after(ends: &[End]) -> Past {
        let mut past = Past::default();
        for end in ends {
            assert!(!past.gives_up_after(end), "{end:?} after {past:?}");
            past.add(end, Asked::Nothing);
        }
        past
    }

    #[test]
    fn a_worker_decides_for_all_unless_it_only_could_not_follow_another() {
        let (try_again, unavailable) = (75, 69);
        for (past, end, gives_up) in [
            (after(&[]), decided(try_again, false), true),
            (after(&[]), killed(false, SHORT), false),
            (after(&[killed(false, SHORT)]), decided(try_again, false), true),
            (after(&[killed(true, LONG)]), decided(try_again, false), false),
            (after(&[killed(true, LONG), decided(try_again, false)]), decided(exit::USAGE, false), false),
            (after(&[killed(true, LONG)]), decided(unavailable, true), true),
            (after(&[]), decided(0, true), true),
            (after(&[killed(true, LONG)]), decided(exit::DEFECT, false), false),
        ] {
            assert_eq!(past.gives_up_after(&end), gives_up, "{end:?} after {past:?}");
        }
    }

    #[test]
    fn a_stop_that_comes_before_the_worker_is_up_is_a_stop() {
        let code = |raw| stopped(ExitStatus::from_raw(raw)).err().map(|error| exit::code(&error));
        for (raw, expected) in
            [(0, None), (15, None), (KILLED, Some(exit::DEFECT)), (i32::from(exit::USAGE) << 8, Some(exit::USAGE))]
        {
            assert_eq!(code(raw), expected, "{raw}");
        }
    }

    #[test]
    fn captures_are_taken_over_until_what_kills_may_be_in_them() {
        let short_lives = |n| (0..n).map(|_| killed(true, SHORT)).collect::<Vec<_>>();
        assert!(!after(&[killed(false, SHORT)]).may_take_over(), "nobody was up");
        assert!(after(&short_lives(SHORT_LIVES_MAX - 1)).may_take_over());
        assert!(!after(&short_lives(SHORT_LIVES_MAX)).may_take_over());
        let mut locked = short_lives(1);
        locked.extend((0..20).map(|_| decided(75, false)));
        assert!(after(&locked).may_take_over(), "a start that was refused has killed nobody");
    }

    #[test]
    fn the_pause_grows_to_its_bound_and_ends_with_a_long_life() {
        let pauses: Vec<_> =
            (1..9).map(|n| after(&(0..n).map(|_| killed(true, SHORT)).collect::<Vec<_>>()).pause()).collect();
        let ms = [0, 400, 800, 1600, 3200, 5000, 5000, 5000];
        assert_eq!(pauses, ms.map(|ms| (ms > 0).then(|| Duration::from_millis(ms))));
        assert_eq!(after(&[killed(true, SHORT), killed(true, SHORT), killed(true, LONG)]).pause(), None);
    }
}
