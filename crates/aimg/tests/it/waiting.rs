//! Waiting for what must come true, and saying what was there instead.

use std::fmt::Display;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Looking is a command of its own most of the time: more often would take the machine from what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until `look` finds what is wanted; fails with what it found last.
#[track_caller]
pub(crate) fn eventually<T, E: Display>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(instead) if Instant::now() >= deadline => panic!("never came true: {what}; instead: {instead}"),
            Err(_) => sleep(LOOK_EVERY),
        }
    }
}
