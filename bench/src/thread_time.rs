//! The CPU time of single threads, from the scheduler's own account (/proc/…/schedstat, nanoseconds).

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// How long a thread is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A thread of some process.
#[derive(Debug)]
pub(crate) struct Thread(PathBuf);

impl Thread {
    /// The thread of process `pid` with that name (its first 15 bytes). Threads name themselves a moment after they
    /// were started, so it is waited for.
    pub(crate) fn named(pid: u32, name: &str) -> Result<Self> {
        let begin = Instant::now();
        loop {
            for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
                let path = entry?.path();
                if fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name) {
                    return Ok(Self(path.join("schedstat")));
                }
            }
            ensure!(begin.elapsed() < PATIENCE, "process {pid} has no thread {name}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The one that asks.
    pub(crate) fn own() -> Self {
        Self(PathBuf::from("/proc/thread-self/schedstat"))
    }

    /// The CPU time it has used, in the kernel and outside. Exact while the thread sleeps, else as of the last tick.
    pub(crate) fn used(&self) -> Result<Duration> {
        let text = fs::read_to_string(&self.0).with_context(|| format!("cannot read {}", self.0.display()))?;
        let nanoseconds = text.split_whitespace().next().and_then(|n| n.parse().ok());
        nanoseconds.map(Duration::from_nanos).with_context(|| format!("{} tells no time", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_uses_time() {
        let busy = std::thread::Builder::new().name("busy".into());
        let before = Instant::now();
        let thread = busy
            .spawn(|| {
                let own = Thread::named(std::process::id(), "busy").unwrap();
                while own.used().unwrap() < Duration::from_millis(20) {}
            })
            .unwrap();
        thread.join().unwrap();
        assert!(before.elapsed() >= Duration::from_millis(20));
    }
}
