//! The media plane from outside: real UDP on loopback, real files.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod capture;
mod disk;
mod lifecycle;
mod listening;
mod rig;
mod sorting;
mod takeover;
