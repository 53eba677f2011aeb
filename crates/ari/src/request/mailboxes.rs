//! Requests about mailboxes that applications keep. Needs `res_stasis_mailbox.so`.

use super::{Method, Request};
use crate::model::Mailbox;

/// Every mailbox.
pub fn list() -> Request<Vec<Mailbox>> {
    Request::json(Method::Get, &["mailboxes"])
}

/// One mailbox.
pub fn one(name: &str) -> Request<Mailbox> {
    Request::json(Method::Get, &["mailboxes", name])
}

/// Creates a mailbox or changes its counts; phones that subscribe to it show them.
pub fn set(name: &str, old_messages: u32, new_messages: u32) -> Request<()> {
    Request::plain(Method::Put, &["mailboxes", name])
        .query("oldMessages", old_messages)
        .query("newMessages", new_messages)
}

/// Removes a mailbox.
pub fn remove(name: &str) -> Request<()> {
    Request::plain(Method::Delete, &["mailboxes", name])
}
