//! The reducer against a small model of Asterisk, in virtual time.

#![allow(clippy::unwrap_used)]

mod world;

mod adoption;
mod hands;
mod hook;
mod orders;
mod quota;
mod races;
mod shared;
