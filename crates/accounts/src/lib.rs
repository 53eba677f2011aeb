//! Who somebody is, and what they may do: log-ins with a password, the tokens that follow, API keys.
//!
//! [`Accounts`] turns what a client shows into a [`Principal`], and nothing else does. A principal knows its tenant's scope
//! and its permissions; every operation asks it.
//!
//! Left to others: how a client shows it (headers, cookies, CSRF) and how often it may try (`api`), where accounts are kept
//! (`store`), what a role may do (`core`).

mod access_token;
mod accounts;
mod error;
mod opaque;
mod password;
mod principal;

pub use accounts::{Accounts, KeyRequest, LoggedIn, MadeKey, Policy};
pub use error::Error;
pub use password::PASSWORD_CHARS_MIN;
pub use principal::{Principal, Who};
