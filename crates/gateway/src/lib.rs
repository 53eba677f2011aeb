//! One running gateway: a link to each PBX, one media plane, the captures, and the journal that writes it all down.
//!
//! A [`Gateway`] wires the crates below it together: what Asterisk reports becomes an input of that PBX's reducer
//! ([`aimg_session::Switchboard`]), and the commands that come back are executed here: by requests to Asterisk
//! (`asterisk`), by flows and recordings (`capture`), by rows in the store (`journal`).
//!
//! What it leaves to others: deciding (`session`), receiving audio (`media`), making recordings (`recording`), the
//! protocols (`ami`, `ari`).

mod ami_side;
mod ari_alone;
mod asterisk;
mod backlog;
mod capture;
mod config;
mod disk;
pub mod doctor;
mod error;
#[cfg(test)]
mod fixture;
mod gateway;
mod inbox;
mod journal;
mod link;
mod links;
mod pbx_config;
mod recovery;
mod translate;
mod watch;

pub use config::{AriListen, Config, Parts};
pub use disk::{DiskReport, DiskRoom, Disks};
pub use error::Error;
pub use gateway::{Gateway, Sockets, Stop};
pub use pbx_config::{ami_config, ari_config, ari_entrance};
pub use watch::{SEEN_MAX, Seen, Watch, WatchConfig};
