//! The client against a server on the loopback that fails in every way that we could think of.

mod actions;
mod fake_asterisk;
mod link;
