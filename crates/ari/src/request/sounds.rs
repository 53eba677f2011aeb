//! Requests about prompts.

use super::{Method, Request};
use crate::model::Sound;

/// Every prompt, or those of a language such as `en` and a format such as `gsm`.
pub fn list(language: Option<&str>, format: Option<&str>) -> Request<Vec<Sound>> {
    Request::json(Method::Get, &["sounds"]).query_if("lang", language).query_if("format", format)
}

/// One prompt.
pub fn one(id: &str) -> Request<Sound> {
    Request::json(Method::Get, &["sounds", id])
}
