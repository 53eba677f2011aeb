//! The call session reducer: what Asterisk, the media plane and the store report goes in, commands come out.
//!
//! One [`Switchboard`] holds the calls of one PBX. It does no IO, reads no clock and draws no random number; the gateway
//! executes its commands and feeds the results back as inputs. So every race of call set-up can be played in a test.
//!
//! What it leaves to others: sending the requests (`ari`), receiving the audio (`media`), keeping rows (`store`).

mod bridges;
mod call;
mod command;
mod gone;
mod input;
mod join;
mod legs;
mod outsiders;
mod rule;
mod switchboard;
mod tap;
mod tenants;
mod view;

pub use command::{Command, Request};
pub use input::{ChannelSeen, ChannelState, Entered, Input, KnownCall, Outcome, RunningPart};
pub use outsiders::{Unclaimed, UnclaimedWhy};
pub use rule::{CallFacts, CaptureRule, RuleError};
pub use switchboard::{CallCounts, Config, Switchboard};
pub use tenants::Tenants;
pub use view::{CallSeen, CaptureSeen, LegSeen};
