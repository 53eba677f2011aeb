//! Ctrl-C and its like, noticed where something is waited for: what was started is then stopped in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::Error;

/// How soon an interrupt is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether somebody wants this program to end.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches SIGINT, SIGTERM and SIGHUP from here on.
    pub fn catch() -> Result<Self, Error> {
        let failed = || Error::io("cannot catch signals");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed())?;
        let entered = runtime.enter();
        let catch = |kind| signal(kind).map_err(failed());
        let mut interrupt = catch(SignalKind::interrupt())?;
        let mut terminate = catch(SignalKind::terminate())?;
        let mut hangup = catch(SignalKind::hangup())?;
        drop(entered);
        let caught = Arc::new(AtomicBool::new(false));
        let noticed = Arc::clone(&caught);
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
            });
            noticed.store(true, Ordering::Relaxed);
        });
        Ok(Self(caught))
    }

    /// Fails when one came.
    pub fn check(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Sleeps so long; fails as soon as one comes.
    pub fn sleep(&self, length: Duration) -> Result<(), Error> {
        let until = Instant::now() + length;
        loop {
            self.check()?;
            match until.saturating_duration_since(Instant::now()) {
                Duration::ZERO => return Ok(()),
                rest => thread::sleep(rest.min(LOOK_EVERY)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_ends_a_sleep() {
        let interrupt = Interrupt(Arc::default());
        interrupt.sleep(Duration::from_millis(1)).unwrap();
        let flag = Arc::clone(&interrupt.0);
        let sleeper = thread::spawn(move || interrupt.sleep(Duration::from_secs(300)));
        flag.store(true, Ordering::Relaxed);
        assert!(matches!(sleeper.join().unwrap(), Err(Error::Interrupted)));
    }
}
