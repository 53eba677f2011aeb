//! HTTP requests to addresses that tenants name, from a machine that reaches more than they do.
//!
//! A [`Policy`] says which addresses may be reached; a [`Client`] holds to it. It resolves names itself, drops the addresses
//! that may not be reached, and connects to exactly those that are left: nothing is resolved a second time in between
//! (DNS rebinding). It follows no redirect, asks no proxy, and takes no address with user name and password.
//!
//! Left to others: what is sent, and what an answer means.

mod client;
mod lookup;
mod network;
mod policy;

pub use client::{Client, Config, Error};
pub use lookup::{Lookup, SystemLookup};
pub use network::{Network, ParseNetworkError};
pub use policy::{Policy, Refusal};
pub use reqwest::{RequestBuilder, Response};
