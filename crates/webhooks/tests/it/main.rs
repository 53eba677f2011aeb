//! A dispatcher at work, with real receivers.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod arriving;
mod crashing;
mod failing;
mod fixture;
mod receiver;
mod signed;
