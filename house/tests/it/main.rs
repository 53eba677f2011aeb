//! The rules of this repository.

#![allow(clippy::unwrap_used)]

mod corpora;
mod files;
mod walls;
