//! The gateway's HTTP service: whether it is well (`/healthz`, `/readyz`) and what it counts (`/metrics`).
//!
//! One file a resource. What is told comes from a [`Monitor`](aimg_gateway::Monitor), which reads what the parts of the
//! gateway publish anyway: no request makes a call or the media plane wait.
//!
//! What it leaves to others: what is counted, and which alarms there are (`gateway`); settings and exit codes (`aimg`).

mod access;
mod config;
mod connections;
mod error;
mod health;
mod metrics;
mod server;

pub use config::Config;
pub use error::Error;
pub use server::{Server, bind};
