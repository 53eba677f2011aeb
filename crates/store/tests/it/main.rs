//! The store on real SQLite files.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test, with its place")]

mod calls;
mod fixture;
mod isolation;
mod opening;
mod secrets;
