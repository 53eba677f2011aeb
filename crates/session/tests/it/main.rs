//! The reducer against a small model of Asterisk, in virtual time.

mod world;

mod adoption;
mod hook;
mod races;
