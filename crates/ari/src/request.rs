//! Typed requests: each knows its method, path, query and body, and what its answer looks like. No IO.
//!
//! Path segments and query values are encoded to the unreserved characters of RFC 3986 §2.3: everything else becomes `%XX`,
//! `+` and space included, because Asterisk decodes paths and queries by different rules and agrees with itself only there.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::RequestLine;

pub mod applications;
pub mod asterisk;
pub mod bridges;
mod call;
pub mod channels;
pub mod device_states;
pub mod endpoints;
pub mod events;
pub mod mailboxes;
mod media;
pub mod playbacks;
pub mod recordings;
pub mod sounds;

pub use bridges::{BridgeKind, Membership};
pub use call::{Arrival, NewChannel, Originate};
pub use channels::{DialplanPlace, Digits, ExternalMedia, HangupReason, MuteDirection, Snoop, Spy};
pub use endpoints::Message;
pub use media::{IfExists, Play, Record};
pub use playbacks::Control;

/// What is done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read it; may be repeated.
    Get,
    /// Create it, or have it do something.
    Post,
    /// Set it; may be repeated.
    Put,
    /// Remove it; may be repeated.
    Delete,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        })
    }
}

/// A request whose answer is an `R`.
#[derive(Clone, Debug)]
pub struct Request<R> {
    method: Method,
    /// Encoded, begins with `/`.
    path: String,
    /// Encoded, without `?`; empty for none.
    query: String,
    body: Option<Value>,
    /// What to check when Asterisk fails inside (5xx) on it.
    on_server_error: Option<&'static str>,
    parse: fn(&[u8]) -> serde_json::Result<R>,
}

impl<R> Request<R> {
    /// Method and path, as errors name them.
    pub fn line(&self) -> RequestLine {
        RequestLine { method: self.method, path: self.path.clone() }
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Path and query below the base URL, encoded.
    pub fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// The encoded path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The JSON body, if there is one.
    pub fn body(&self) -> Option<&Value> {
        self.body.as_ref()
    }

    /// What to check when Asterisk fails on it.
    pub fn on_server_error(&self) -> Option<&'static str> {
        self.on_server_error
    }

    /// Reads the body of a successful answer.
    pub fn parse(&self, body: &[u8]) -> serde_json::Result<R> {
        (self.parse)(body)
    }

    fn query(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(name);
        self.query.push('=');
        encode_into(&mut self.query, &value.to_string());
        self
    }

    fn query_if(self, name: &'static str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    fn query_true(self, name: &'static str, wanted: bool) -> Self {
        if wanted { self.query(name, true) } else { self }
    }

    /// Items with commas between, unless there are none.
    fn query_list<T: AsRef<str>>(self, name: &'static str, items: &[T]) -> Self {
        let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
        if items.is_empty() { self } else { self.query(name, items.join(",")) }
    }

    fn with_body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    fn with_variables(self, variables: &BTreeMap<String, String>) -> Self {
        if variables.is_empty() { self } else { self.with_body(json!({"variables": variables})) }
    }
}

impl<R: DeserializeOwned> Request<R> {
    /// A request that is answered with JSON.
    fn json(method: Method, path: &[&str]) -> Self {
        let parse = |body: &[u8]| serde_json::from_slice(body);
        Self { method, path: encode_path(path), query: String::new(), body: None, on_server_error: None, parse }
    }
}

impl Request<Vec<u8>> {
    /// A request that is answered with a file.
    fn file(method: Method, path: &[&str]) -> Self {
        let parse = |body: &[u8]| Ok(body.to_vec());
        Self { method, path: encode_path(path), query: String::new(), body: None, on_server_error: None, parse }
    }
}

impl Request<()> {
    /// A request whose answer says nothing but that it is done.
    fn plain(method: Method, path: &[&str]) -> Self {
        let parse = |_: &[u8]| Ok(());
        Self { method, path: encode_path(path), query: String::new(), body: None, on_server_error: None, parse }
    }
}

fn encode_path(segments: &[&str]) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        encode_into(&mut path, segment);
    }
    path
}

pub(crate) fn encode_into(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String does not fail");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use aimg_core::{Codec, Uniqueid};
    use proptest::prelude::*;
    use serde_json::json;
    use url::Url;

    use super::*;
    use crate::model::BridgeId;

    fn shown<R>(request: &Request<R>) -> String {
        let body = request.body().map(|b| format!(" {b}")).unwrap_or_default();
        format!("{} {}{body}", request.method(), request.target())
    }

    fn check<R>(request: &Request<R>, expected: &str) {
        assert_eq!(shown(request), expected);
    }

    #[test]
    fn applications_and_asterisk() {
        check(&applications::list(), "GET /applications");
        check(&applications::one("aimg"), "GET /applications/aimg");
        check(
            &applications::subscribe("aimg", &["channel:1.2", "bridge:"]),
            "POST /applications/aimg/subscription?eventSource=channel%3A1.2%2Cbridge%3A",
        );
        check(
            &applications::unsubscribe("aimg", &["endpoint:PJSIP/a b"]),
            "DELETE /applications/aimg/subscription?eventSource=endpoint%3APJSIP%2Fa%20b",
        );
        check(&asterisk::info(), "GET /asterisk/info");
        check(&asterisk::ping(), "GET /asterisk/ping");
        check(&asterisk::module("chan_rtp.so"), "GET /asterisk/modules/chan_rtp.so");
    }

    #[test]
    fn channels() {
        let id = Uniqueid::new("1763900000.12");
        check(&super::channels::list(), "GET /channels");
        check(&super::channels::one(&id), "GET /channels/1763900000.12");
        check(
            &super::channels::snoop(&id, &Uniqueid::new("aimg-n1-s-0si"), "aimg", Spy::In),
            "POST /channels/1763900000.12/snoop/aimg-n1-s-0si?spy=in&app=aimg",
        );
        check(
            &super::channels::variable(&id, "CHANNEL(linkedid)"),
            "GET /channels/1763900000.12/variable?variable=CHANNEL%28linkedid%29",
        );
        check(
            &super::channels::set_variable(&id, "X", "a+b c&d"),
            r#"POST /channels/1763900000.12/variable {"value":"a+b c&d","variable":"X"}"#,
        );
        check(&super::channels::continue_in_dialplan(&id, None), "POST /channels/1763900000.12/continue");
        let place = DialplanPlace { context: "from trunk".into(), exten: "+49".into(), priority: 2 };
        check(
            &super::channels::continue_in_dialplan(&id, Some(&place)),
            "POST /channels/1763900000.12/continue?context=from%20trunk&extension=%2B49&priority=2",
        );
        check(
            &super::channels::hangup(&id, HangupReason::NormalUnspecified),
            "DELETE /channels/1763900000.12?reason=normal_unspecified",
        );
        check(&super::channels::rtp_statistics(&id), "GET /channels/1763900000.12/rtp_statistics");
        check(&super::channels::answer(&id), "POST /channels/1763900000.12/answer");
    }

    #[test]
    fn external_media() {
        let external_host: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let media = |external_host, variables| ExternalMedia {
            id: Uniqueid::new("aimg-n1-s-0mi"),
            app: "aimg".into(),
            external_host,
            format: Codec::Ulaw,
            variables,
        };
        let expected = "POST /channels/externalMedia?channelId=aimg-n1-s-0mi&app=aimg&external_host=127.0.0.1%3A4000\
            &encapsulation=rtp&transport=udp&connection_type=client&format=ulaw&direction=both";
        check(&super::channels::external_media(&media(external_host, Default::default())), expected);
        check(
            &super::channels::external_media(&media(external_host, [("A".into(), "1".into())].into())),
            &format!(r#"{expected} {}"#, json!({"variables": {"A": "1"}})),
        );
        let v6 = super::channels::external_media(&media("[::1]:4000".parse().unwrap(), Default::default()));
        assert!(v6.target().contains("external_host=%5B%3A%3A1%5D%3A4000"), "{}", v6.target());
    }

    #[test]
    fn bridges() {
        let id = BridgeId::new("aimg-n1-s-0bi");
        let (a, b) = (Uniqueid::new("1.2"), Uniqueid::new("a,b"));
        check(&super::bridges::list(), "GET /bridges");
        check(&super::bridges::one(&id), "GET /bridges/aimg-n1-s-0bi");
        check(&super::bridges::create(&id), "POST /bridges/aimg-n1-s-0bi?type=mixing");
        check(&super::bridges::add_channels(&id, &[&a]), "POST /bridges/aimg-n1-s-0bi/addChannel?channel=1.2");
        check(
            &super::bridges::add_channels(&id, &[&a, &Uniqueid::new("3.4")]),
            "POST /bridges/aimg-n1-s-0bi/addChannel?channel=1.2%2C3.4",
        );
        check(&super::bridges::remove_channel(&id, &b), "POST /bridges/aimg-n1-s-0bi/removeChannel?channel=a%2Cb");
        check(&super::bridges::destroy(&id), "DELETE /bridges/aimg-n1-s-0bi");
    }

    #[test]
    fn answers_are_read() {
        assert_eq!(asterisk::ping().parse(b"{}").unwrap(), ());
        assert_eq!(super::bridges::destroy(&BridgeId::new("b")).parse(b"").unwrap(), ());
        assert!(super::channels::list().parse(b"{").is_err());
        assert_eq!(super::channels::list().parse(b"[]").unwrap(), []);
    }

    proptest! {
        #[test]
        fn any_id_stays_one_segment_and_comes_back(id in "\\PC{1,40}") {
            prop_assume!(id != "." && id != "..");
            let target = super::channels::answer(&Uniqueid::new(id.clone())).target();
            let url = Url::parse(&format!("http://h/ari{target}")).unwrap();
            let segments: Vec<&str> = url.path_segments().unwrap().collect();
            prop_assert_eq!(segments.len(), 4);
            let decoded: Vec<u8> = decode(segments[2]);
            prop_assert_eq!(decoded, id.into_bytes());
        }

        #[test]
        fn any_query_value_comes_back(value in any::<String>()) {
            let target = super::channels::variable(&Uniqueid::new("1.2"), &value).target();
            let url = Url::parse(&format!("http://h/ari{target}")).unwrap();
            let pairs: Vec<_> = url.query_pairs().collect();
            prop_assert_eq!(pairs.len(), 1);
            prop_assert_eq!(&pairs[0].1, &value);
        }
    }

    fn decode(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            } else {
                out.push(byte);
            }
        }
        out
    }
}
