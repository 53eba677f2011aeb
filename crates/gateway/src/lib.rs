//! One running gateway: a link to each PBX, one media plane, the captures, and the journal that writes it all down.
//!
//! A [`Gateway`] wires the crates below it together: what Asterisk reports becomes an input of that PBX's reducer
//! ([`aimg_session::Switchboard`]), and the commands that come back are executed here: by requests to Asterisk
//! (`asterisk`), by flows and recordings (`capture`), by rows in the store (`journal`). A [`Monitor`] shows how that goes.
//!
//! What it leaves to others: deciding (`session`), receiving audio (`media`), making recordings (`recording`), the
//! protocols (`ami`, `ari`).

mod alarm;
mod ami_side;
mod ari_alone;
mod asterisk;
mod backlog;
mod capture;
mod config;
mod control;
mod disk;
pub mod doctor;
mod ears;
mod error;
#[cfg(test)]
mod fixture;
mod gateway;
mod herald;
mod inbox;
mod journal;
mod link;
mod links;
mod monitor;
mod outage;
mod pbx_config;
mod purge;
mod quota;
mod recovery;
mod scribe;
mod source;
mod tally;
mod translate;
mod unclaimed;
mod watch;

pub use alarm::{Alarm, AlarmState, HAPPENED_STAYS, Severity, Subject};
pub use backlog::BacklogCounts;
pub use config::{AriListen, Config, Parts, SaidDir};
pub use control::{
    Audience, CallCommand, Control, ControlError, DIGITS_MAX, Destination, Done, First, ListenMode, MEDIA_MAX,
    MutedSide, NewCall, Outcome, Party, RING_MAX, SAID_BYTES_MAX, Say, SayCounts, Transfer,
};
pub use disk::{DiskReport, DiskRoom};
pub use ears::{
    Ears, EarsCounts, Frame, Hearing, ListenSpec, Marks, NODE_LISTENERS_MAX, Rate, SESSION_LISTENERS_MAX, SampleFormat,
    Side, TENANT_LISTENERS_MAX, endless_wav_header,
};
pub use error::{Error, ListenError};
pub use gateway::{Gateway, Sockets, Stop};
pub use journal::JournalCounts;
pub use link::LinkState;
pub use monitor::{FlowClass, Impediment, JournalObservation, LinkObservation, Monitor, Observation, OpenFlows};
pub use pbx_config::{ami_config, ari_config, ari_entrance};
pub use scribe::SpeechCounts;
pub use tally::{BUCKETS_MS, CallTally, FlowTally, Histogram, Missing};
pub use unclaimed::{UNCLAIMED_KEPT_MAX, UnclaimedChannels};
pub use watch::{SEEN_MAX, Seen, Watch, WatchConfig};
