//! What operations take: JSON bodies, query parameters and ids, refused with the field at fault.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::problem::{Code, Problem};

/// A JSON body, in and out.
#[derive(Clone, Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(Code::UnsupportedMediaType, "send the body as `Content-Type: application/json`"));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|e| match e.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            _ => unreadable(&e),
        })?;
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
            let (path, source) = (e.path().to_string(), e.inner());
            match source.classify() {
                serde_json::error::Category::Data => refused(&path, source),
                _ => Problem::new(Code::BadRequest, format!("the body is no JSON: {source}")),
            }
        })?;
        reader.end().map_err(|e| Problem::new(Code::BadRequest, format!("the body is no JSON: {e}")))?;
        Ok(Self(value))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let named = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = named.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn too_large() -> Problem {
    Problem::new(Code::TooLarge, "the body is larger than this operation takes")
}

fn unreadable(e: &BytesRejection) -> Problem {
    Problem::new(Code::BadRequest, format!("the body cannot be read: {e}"))
}

/// What serde says, with the field at fault: where the path ends at a struct, the field that its words name.
fn refused(path: &str, source: &impl ToString) -> Problem {
    let words = source.to_string();
    let named = words.split('`').nth(1).filter(|_| words.contains(" field `"));
    let parent = (path != ".").then_some(path);
    let field = match (parent, named) {
        (Some(parent), Some(named)) if parent != named && !parent.ends_with(&format!(".{named}")) => {
            format!("{parent}.{named}")
        }
        (Some(parent), _) => parent.to_owned(),
        (None, Some(named)) => named.to_owned(),
        (None, None) => return Problem::new(Code::Invalid, words),
    };
    Problem::invalid(field, words)
}

/// Refuses a text of another length than 1 to `chars_max`, or with control characters.
pub(crate) fn check_text(field: &str, text: &str, chars_max: usize) -> Result<(), Problem> {
    if text.is_empty() || text.chars().count() > chars_max {
        return Err(Problem::invalid(field, format!("it has to have 1 to {chars_max} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::invalid(field, "it must not hold line breaks or other control characters"));
    }
    Ok(())
}

/// For a field that can be set to nothing: an absent one is not the same as null.
pub(crate) fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// Query parameters.
#[derive(Clone, Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = parts.uri.query().unwrap_or_default();
        let reader = serde_urlencoded::Deserializer::new(form_urlencoded::parse(text.as_bytes()));
        serde_path_to_error::deserialize(reader).map(Self).map_err(|e| refused(&e.path().to_string(), e.inner()))
    }
}

/// What is named in the path. Something that is no id is the id of nothing.
#[derive(Clone, Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let found = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        found.map(|path| Self(path.0)).map_err(|_| {
            Problem::new(Code::NotFound, format!("there is nothing at {}: part of it is no id", parts.uri.path()))
        })
    }
}

/// The version that `If-Match` names: the operation is refused as stale when somebody has changed the row since. Nothing
/// where it is absent or `*`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IfMatch(pub(crate) Option<i32>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(IF_MATCH) else { return Ok(Self(None)) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let version = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).and_then(|t| t.parse().ok());
        let malformed =
            || Problem::new(Code::BadRequest, "send the `ETag` that came with it, quotes included").at("If-Match");
        version.map(|version| Self(Some(version))).ok_or_else(malformed)
    }
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let words = "The `ETag` of what was read: refused when somebody has changed it since";
        let schema = ObjectBuilder::new().schema_type(Type::String);
        let header = ParameterBuilder::new().name("If-Match").parameter_in(ParameterIn::Header);
        vec![header.description(Some(words)).schema(Some(schema)).build()]
    }
}

/// A row with the version by which changes to it are told apart: its `ETag`.
#[derive(Clone, Debug)]
pub(crate) struct Versioned<T>(pub(crate) i32, pub(crate) T);

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        ([(ETAG, format!("\"{}\"", self.0))], Json(self.1)).into_response()
    }
}

/// Something that was made, with where it is.
#[derive(Clone, Debug)]
pub(crate) struct Created<T>(pub(crate) String, pub(crate) T);

impl<T: IntoResponse> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, [(axum::http::header::LOCATION, self.0)], self.1).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        _count: u8,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        _name: String,
        _inner: Inner,
    }

    async fn refusal(body: &'static str, content_type: &str) -> serde_json::Value {
        let request = Request::post("/").header(CONTENT_TYPE, content_type).body(Body::from(body)).unwrap();
        serde_json::to_value(Json::<Outer>::from_request(request, &()).await.unwrap_err()).unwrap()
    }

    #[tokio::test]
    async fn a_refused_body_names_the_field() {
        for (body, code, field) in [
            (r#"{"_name":"a"}"#, "invalid", Some("_inner")),
            (r#"{"_name":1,"_inner":{"_count":1}}"#, "invalid", Some("_name")),
            (r#"{"_name":"a","_inner":{"_count":300}}"#, "invalid", Some("_inner._count")),
            (r#"{"_name":"a","_inner":{}}"#, "invalid", Some("_inner._count")),
            (r#"{"_name":"a","_inner":{"_count":1,"x":1}}"#, "invalid", Some("_inner.x")),
            (r#"{"_name":"a","#, "bad_request", None),
            (r#"{"_name":"a","_inner":{"_count":1}} x"#, "bad_request", None),
        ] {
            let problem = refusal(body, "application/json; charset=utf-8").await;
            assert_eq!((problem["code"].as_str(), problem["field"].as_str()), (Some(code), field), "{body}: {problem}");
        }
        assert_eq!(refusal("{}", "text/plain").await["code"], "unsupported_media_type");
    }

    #[test]
    fn texts_are_bounded_and_of_one_line() {
        assert!(check_text("name", &"ä".repeat(5), 5).is_ok());
        for text in ["", "toolong", "a\r\nb", "a\0"] {
            assert!(check_text("name", text, 5).is_err(), "{text:?}");
        }
    }

    #[tokio::test]
    async fn if_match_takes_our_etags() {
        for (value, version) in
            [("\"3\"", Ok(Some(3))), ("*", Ok(None)), ("3", Err(())), ("W/\"3\"", Err(())), ("\"x\"", Err(()))]
        {
            let mut parts = Request::get("/").header(IF_MATCH, value).body(()).unwrap().into_parts().0;
            let read = IfMatch::from_request_parts(&mut parts, &()).await;
            assert_eq!(read.map(|m| m.0).map_err(|_| ()), version, "{value}");
        }
        assert_eq!(Versioned(3, ()).into_response().headers()[ETAG], "\"3\"");
    }
}
