//! What happens, told to whoever wants to know, as it happens: the [`Bus`].
//!
//! Whoever has something to tell publishes a [`Notice`] and never waits. Whoever listens has a [`Subscription`] to one
//! stream: a tenant's, which holds that tenant's notices and nothing else, or the installation's, which holds all of them.
//! Each stream counts its notices and remembers the last ones, so that a listener who comes back gets what it missed, or
//! is told that nobody knows any more.
//!
//! What it leaves to others: which of them somebody may see (`api`), what lasts (`store`), the form in which a notice is
//! sent (`api`; made once for all listeners of a stream, see [`Published::form`]).

mod bus;
mod notice;
mod stream;
mod subscription;

pub use bus::{BEAT, Bus, BusCounts, Limits};
pub use notice::{AlarmNews, LinkNews, LinkSide, News, Notice, QuotaNews, Segment};
pub use stream::Published;
pub use subscription::{Gone, Subscription, TAKEN_MAX};
