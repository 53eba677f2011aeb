//! The AsyncAPI document, made from the messages and topics themselves: `/api/v1/asyncapi.json`.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::audio::HEADER_BYTES;
use super::limits::End;
use super::message::{ClientMessage, ServerMessage};
use super::topic::TopicKind;

const DESCRIPTION: &str = "What happens to calls, as it happens. A client connects to `/api/v1/ws` with \
    `Authorization: Bearer …` (an access token or an API key), with its session cookie from a page of this service, or sends \
    `authenticate` as its first message. Then it subscribes to topics. Notices have a `seq`: a client that was cut off sends \
    `resume` with the last one and the `epoch` of its `welcome`, and gets what it missed, or `resync`. See \
    docs/websocket.md.";

/// What the messages are made of.
#[derive(OpenApi)]
#[openapi(components(schemas(ClientMessage, ServerMessage)))]
struct Schemas;

/// Answers with the document.
pub(crate) async fn asyncapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], asyncapi_json()).into_response()
}

/// The AsyncAPI document of this version, as JSON.
pub fn asyncapi_json() -> String {
    serde_json::to_string_pretty(&document()).expect("it was made of JSON")
}

fn document() -> Value {
    let schemas = serde_json::to_value(Schemas::openapi().components.unwrap_or_default()).unwrap_or_default();
    let schemas = schemas["schemas"].as_object().cloned().unwrap_or_default();
    let (received, mut sent) = (messages(&schemas, "ClientMessage"), messages(&schemas, "ServerMessage"));
    sent.insert("audio".to_owned(), audio_message());
    let refs = |of: &Map<String, Value>, at: &str| -> Vec<Value> {
        of.keys().map(|name| json!({ "$ref": format!("{at}/{name}") })).collect()
    };
    let in_channel = "#/channels/live/messages";
    let (to_gateway, to_client) = (refs(&received, in_channel), refs(&sent, in_channel));
    let all: Map<String, Value> = received.into_iter().chain(sent).collect();
    let of_channel = |name: &String| (name.clone(), json!({ "$ref": format!("#/components/messages/{name}") }));
    let topics = TopicKind::ALL.map(
        |kind| json!({ "topic": kind.pattern(), "permission": kind.permission().name(), "description": kind.words() }),
    );
    let ends = End::ALL.into_iter().filter_map(End::close);
    let ends: Vec<Value> = ends.map(|(code, reason)| json!({ "code": code, "reason": reason })).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": { "title": "aiMediaGateway", "version": env!("CARGO_PKG_VERSION"), "description": DESCRIPTION },
        "defaultContentType": "application/json",
        "channels": {
            "live": {
                "address": "/api/v1/ws",
                "description": "Text messages of JSON, told apart by `type`; audio is binary.",
                "messages": all.keys().map(of_channel).collect::<Map<_, _>>(),
                "x-topics": topics,
                "x-close-codes": ends,
            }
        },
        "operations": {
            "say": { "action": "receive", "channel": { "$ref": "#/channels/live" }, "messages": to_gateway },
            "tell": { "action": "send", "channel": { "$ref": "#/channels/live" }, "messages": to_client },
        },
        "components": { "messages": all, "schemas": schemas },
    })
}

/// The one message that is no JSON.
fn audio_message() -> Value {
    let layout = format!(
        "20 ms of a call behind a header of {HEADER_BYTES} bytes, numbers little-endian: version (u8, 1); flags (u8: 1 packets \
         were lost and are silence, 2 nothing came and it is silence, 4 audio was skipped before it because the client is too \
         slow); part of the session's capture (u16); sequence of the topic's messages from 0 (u32); position of the first \
         sample in the recording of that part, in samples (u64); session (16 bytes)"
    );
    json!({
        "name": "audio",
        "summary": "What is said in a call, as it is said.",
        "contentType": "application/octet-stream",
        "payload": { "type": "string", "format": "binary", "description": layout },
    })
}

/// A message for each `type` that a schema knows, named by it.
fn messages(schemas: &Map<String, Value>, of: &str) -> Map<String, Value> {
    let variants = schemas.get(of).and_then(|schema| schema["oneOf"].as_array()).into_iter().flatten();
    let message = |variant: &Value| {
        let tag =
            variant["allOf"].as_array()?.iter().find_map(|part| part["properties"]["type"]["enum"][0].as_str())?;
        let summary = variant["description"].as_str().unwrap_or_default();
        Some((tag.to_owned(), json!({ "name": tag, "summary": summary, "payload": variant })))
    };
    variants.filter_map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_in_the_document_and_every_reference_leads_somewhere() {
        let document = document();
        let names: Vec<_> = document["components"]["messages"].as_object().unwrap().keys().cloned().collect();
        for name in
            ["authenticate", "subscribe", "unsubscribe", "resume", "welcome", "resync", "lagged", "call", "quota"]
        {
            assert!(names.iter().any(|n| n == name), "{name} is not among {names:?}");
        }
        let text = document.to_string();
        for reference in text.split(r##""$ref":"#"##).skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
        }
    }

    #[test]
    fn the_document_is_the_one_that_was_agreed_on() {
        insta::assert_snapshot!("asyncapi", asyncapi_json());
    }
}
