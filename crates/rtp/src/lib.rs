//! RTP as a receiver needs it: the packet, its place in the sequence, the ledger of a flow, its axis of samples, jitter.
//!
//! Nothing here does IO or reads a clock: arrival times and drop counters are arguments. Sockets belong to `media`,
//! what becomes of the payload to `recording`.
//!
//! Deliberately not done: RTCP (Asterisk's external media has none), SRTP, and inferring loss from RTP timestamps
//! (they jump when Asterisk changes the source of a bridge; only sequence numbers tell).

mod axis;
pub mod fuzz;
mod jitter;
mod ledger;
mod packet;
mod sequence;

pub use axis::Axis;
pub use jitter::Jitter;
pub use ledger::{Arrival, DUPLICATE_WINDOW, Ledger, LedgerBuilder, Outcome, REORDER_WINDOW, StreamFacts, Verdict};
pub use packet::{Packet, PacketError, PayloadType, SeqNo, Ssrc};
pub use sequence::{DROPOUT_MAX, EXTENDED_START, Place, SequenceTracker};
