//! Tells webhooks what happened: signed, again and again until it arrives.
//!
//! What is to be told is in the store, written with the event itself. A [`Dispatcher`] takes it from there, a few messages of
//! each webhook at once, so that a receiver that is slow delays nobody but itself; a [`Courier`] signs and sends one. The
//! headers and the signature are those of Standard Webhooks (<https://www.standardwebhooks.com>).
//!
//! Left to others: what is told to whom (`store`), which addresses may be reached (`outbound`), and what people see and
//! change of it (`api`).

mod clock;
mod courier;
mod dispatcher;
mod schedule;
mod secret;

pub use clock::now;
pub use courier::{Answer, Courier, Failure, Message};
pub use dispatcher::{Config, Dispatcher, Observation, Watch};
pub use schedule::Schedule;
pub use secret::{SecretError, make_secret, sign};
