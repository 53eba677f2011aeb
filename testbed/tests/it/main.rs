//! Calls through both versions of Asterisk, as the tests of the gateway place them.
//!
//! The installations have to be there (`scripts/lib/setup.sh`): without them these tests fail and say how to build them.

mod calls;
mod lifecycle;
