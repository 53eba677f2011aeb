//! The rules of this repository.

#![allow(clippy::unwrap_used)]

mod files;
mod walls;
