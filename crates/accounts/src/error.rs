//! Why somebody is not let in.

use aimg_core::{Permission, Timestamp};

/// Why somebody is not let in, or an account is not made. None of them tells whether a user exists.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Wrong name, wrong password, or a user who is not enabled.
    #[error("user name or password is wrong")]
    WrongCredentials,
    /// Too many wrong passwords; nobody looks at another one before `until`.
    #[error("too many wrong passwords; try again after {until}")]
    LockedOut {
        /// Until when.
        until: Timestamp,
    },
    /// A token or key that is unknown, damaged, expired or revoked.
    #[error("the token or key is not valid, or not any more; log in again, or use another key")]
    NotValid,
    /// A refresh token that was used before: all that came of the same log-in are worthless from here on.
    #[error("this refresh token was used before, so all tokens of its log-in are revoked; log in again")]
    Reused,
    /// The account is known, and may not.
    #[error("this takes the permission {0}, which this account does not have")]
    NotAllowed(Permission),
    /// A password that is too easy to guess.
    #[error("the password {0}; choose a longer one that is used nowhere else")]
    WeakPassword(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] aimg_store::Error),
    /// The machine gave no memory or no thread for hashing.
    #[error("the password could not be hashed: {0}")]
    Hashing(String),
}
