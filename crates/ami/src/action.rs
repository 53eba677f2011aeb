//! Actions: what Asterisk is asked, checked before it is sent. No IO.
//!
//! A value that could end its line is refused, so nobody's input can become another header or action. What is not here can
//! be had by [`Action::new`] and [`Action::header`].

mod call;
mod queue;
mod system;

use std::fmt;
use std::fmt::Write;

use aimg_core::Uniqueid;
use md5::{Digest, Md5};
use secrecy::{ExposeSecret, SecretString};

pub use self::call::{Muted, Originate, Place, Target};
pub use self::queue::NewMember;
use crate::InvalidAction;

/// Bytes of a line that Asterisk takes, line ending included; it throws a longer line's message away.
const LINE_BYTES_MAX: usize = 1024;

/// Headers that Asterisk takes, `Action` and `ActionID` included.
const HEADERS_MAX: usize = 128;

/// An action and its headers, all of which Asterisk can read. Its ActionID is added by who sends it.
#[derive(Clone)]
pub struct Action {
    name: &'static str,
    /// `Key: value\r\n` lines, `Action` first.
    text: String,
    headers: usize,
}

impl Action {
    /// An action without headers. Its name is the program's own, never somebody's input.
    pub fn new(name: &'static str) -> Self {
        Self { name, text: format!("Action: {name}\r\n"), headers: 1 }
    }

    /// Adds a header; a key may repeat. Values of a `Variable` header are split at commas by Asterisk: quote them.
    pub fn header(mut self, key: &str, value: &str) -> Result<Self, InvalidAction> {
        if key.is_empty() || key.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control()) {
            return Err(InvalidAction::Key { key: key.to_owned() });
        }
        if ["Action", "ActionID"].iter().any(|own| own.eq_ignore_ascii_case(key)) {
            return Err(InvalidAction::Reserved { key: key.to_owned() });
        }
        if value.contains(['\r', '\n', '\0']) {
            return Err(InvalidAction::Value { key: key.to_owned() });
        }
        if key.len() + value.len() + ": \r\n".len() > LINE_BYTES_MAX {
            return Err(InvalidAction::LineTooLong { key: key.to_owned(), bytes_max: LINE_BYTES_MAX });
        }
        // One is left for the ActionID.
        if self.headers + 1 >= HEADERS_MAX {
            return Err(InvalidAction::TooManyHeaders { headers_max: HEADERS_MAX });
        }
        for part in [key, ": ", value, "\r\n"] {
            self.text.push_str(part);
        }
        self.headers += 1;
        Ok(self)
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Appends the action to `out` as it goes over the wire.
    pub fn encode(&self, action_id: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(format!("ActionID: {action_id}\r\n\r\n").as_bytes());
    }

    /// Logs in with the secret itself. `events` is the mask of events wanted: classes such as `call,system`, or `off`.
    pub fn login_plain(user: &str, secret: &SecretString, events: &str) -> Result<Self, InvalidAction> {
        Self::new("Login").header("Username", user)?.header("Secret", secret.expose_secret())?.header("Events", events)
    }

    /// Asks for a challenge, to log in without sending the secret.
    pub fn challenge() -> Self {
        Self::fixed("Challenge", "AuthType", "MD5")
    }

    /// Logs in by answering a challenge. `events` is the mask of events wanted.
    pub fn login_md5(user: &str, secret: &SecretString, challenge: &str, events: &str) -> Result<Self, InvalidAction> {
        Self::new("Login")
            .header("AuthType", "MD5")?
            .header("Username", user)?
            .header("Key", &md5_key(challenge, secret))?
            .header("Events", events)
    }

    /// Asks whether anybody is there.
    pub fn ping() -> Self {
        Self::new("Ping")
    }

    /// Sets the mask of events wanted: classes such as `call,system`, `on` or `off`.
    pub fn events(mask: &str) -> Result<Self, InvalidAction> {
        Self::new("Events").header("EventMask", mask)
    }

    /// Lists all channels. Needs write class `system` or `reporting`.
    pub fn core_show_channels() -> Self {
        Self::new("CoreShowChannels")
    }

    /// Lists all channels with their variables, or one by its name. Needs write class `system`, `call` or `reporting`.
    pub fn status(channel: Option<&str>) -> Result<Self, InvalidAction> {
        Self::new("Status").optional("Channel", channel)
    }

    /// Lists all bridges.
    pub fn bridge_list() -> Self {
        Self::new("BridgeList")
    }

    /// Asks for Asterisk's version and name. Needs write class `system` or `reporting`.
    pub fn core_settings() -> Self {
        Self::new("CoreSettings")
    }

    /// Asks when Asterisk started. Needs write class `system` or `reporting`.
    pub fn core_status() -> Self {
        Self::new("CoreStatus")
    }

    /// Hangs a channel up, named by its id, with a Q.850 cause. Needs write class `system` or `call`.
    pub fn hangup(channel: &Uniqueid, cause: u16) -> Result<Self, InvalidAction> {
        Self::new("Hangup").header("Channel", channel.as_str())?.header("Cause", &cause.to_string())
    }

    /// Reads a variable or function of a channel, or a global one. Needs write class `call` or `reporting`.
    pub fn getvar(channel: Option<&str>, variable: &str) -> Result<Self, InvalidAction> {
        Self::new("Getvar").optional("Channel", channel)?.header("Variable", variable)
    }

    /// Sets a variable or function of a channel, or a global one. Needs write class `call`.
    pub fn setvar(channel: Option<&str>, variable: &str, value: &str) -> Result<Self, InvalidAction> {
        Self::new("Setvar").optional("Channel", channel)?.header("Variable", variable)?.header("Value", value)
    }

    /// Says goodbye: Asterisk closes the connection.
    pub fn logoff() -> Self {
        Self::new("Logoff")
    }

    fn optional(self, key: &str, value: Option<&str>) -> Result<Self, InvalidAction> {
        match value {
            Some(value) => self.header(key, value),
            None => Ok(self),
        }
    }

    fn fixed(name: &'static str, key: &'static str, value: &'static str) -> Self {
        Self::new(name).header(key, value).expect("the program's own header is short and on one line")
    }
}

impl fmt::Debug for Action {
    /// Values are left out: one may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Action({}, {} headers)", self.name, self.headers)
    }
}

/// The answer to a challenge: lower-case hex of MD5 over challenge and secret.
fn md5_key(challenge: &str, secret: &SecretString) -> String {
    let digest = Md5::new().chain_update(challenge).chain_update(secret.expose_secret()).finalize();
    digest.iter().fold(String::with_capacity(32), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes all that is written");
        hex
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lines of an action, but its ActionID.
    pub(crate) fn lines(action: Result<Action, InvalidAction>) -> Vec<String> {
        let text = encoded(&action.unwrap());
        let lines = text.strip_suffix("\r\nActionID: 7\r\n\r\n").unwrap();
        lines.split("\r\n").map(str::to_owned).collect()
    }

    fn encoded(action: &Action) -> String {
        let mut out = Vec::new();
        action.encode(7, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn actions_go_over_the_wire_as_asterisk_reads_them() {
        let secret = SecretString::from("amp111");
        let id = Uniqueid::new("1763900000.12");
        let cases = [
            (Ok(Action::ping()), "Action: Ping\r\nActionID: 7\r\n\r\n"),
            (Ok(Action::challenge()), "Action: Challenge\r\nAuthType: MD5\r\nActionID: 7\r\n\r\n"),
            (
                Action::login_plain("aimg", &secret, "off"),
                "Action: Login\r\nUsername: aimg\r\nSecret: amp111\r\nEvents: off\r\nActionID: 7\r\n\r\n",
            ),
            (Action::hangup(&id, 16), "Action: Hangup\r\nChannel: 1763900000.12\r\nCause: 16\r\nActionID: 7\r\n\r\n"),
            (
                Action::setvar(Some("PJSIP/a-1"), "X", "1: 2"),
                "Action: Setvar\r\nChannel: PJSIP/a-1\r\nVariable: X\r\nValue: 1: 2\r\nActionID: 7\r\n\r\n",
            ),
            (Action::getvar(None, "X"), "Action: Getvar\r\nVariable: X\r\nActionID: 7\r\n\r\n"),
            (Action::status(None), "Action: Status\r\nActionID: 7\r\n\r\n"),
            (Action::events("call,system"), "Action: Events\r\nEventMask: call,system\r\nActionID: 7\r\n\r\n"),
        ];
        for (action, expected) in cases {
            assert_eq!(encoded(&action.unwrap()), expected);
        }
    }

    #[test]
    fn the_challenge_is_answered_by_md5() {
        // printf 840415273secret | md5sum
        let cases =
            [("840415273", "secret", "81c3ab5534a432bec402f6d988ee45b4"), ("", "", "d41d8cd98f00b204e9800998ecf8427e")];
        for (challenge, secret, expected) in cases {
            assert_eq!(md5_key(challenge, &SecretString::from(secret)), expected);
        }
    }

    #[test]
    fn what_asterisk_would_misread_is_refused() {
        let long = "x".repeat(LINE_BYTES_MAX - "Value: \r\n".len());
        let cases: [(&str, &str, Result<(), &str>); 12] = [
            ("Value", &long, Ok(())),
            ("Value", &format!("{long}x"), Err("the line of `Value` is longer")),
            ("Value", "a\rb", Err("the value of `Value` has a CR, LF or NUL")),
            ("Value", "a\n", Err("the value of `Value` has a CR, LF or NUL")),
            ("Value", "a\r\nAction: Originate", Err("the value of `Value` has a CR, LF or NUL")),
            ("Value", "a\0b", Err("the value of `Value` has a CR, LF or NUL")),
            ("", "a", Err("header name `` is empty")),
            ("Key: x", "a", Err("header name `Key: x`")),
            ("Key\r\nX", "a", Err("header name `Key\\r\\nX`")),
            ("actionid", "9", Err("`actionid` is set by the client")),
            ("Action", "Originate", Err("`Action` is set by the client")),
            ("Value", "", Ok(())),
        ];
        for (key, value, expected) in cases {
            let got = Action::new("Setvar").header(key, value).map(drop).map_err(|e| e.to_string());
            match expected {
                Ok(()) => assert_eq!(got, Ok(())),
                Err(begins) => assert!(got.clone().is_err_and(|e| e.starts_with(begins)), "{key:?}: {got:?}"),
            }
        }
    }

    #[test]
    fn headers_are_as_many_as_asterisk_takes() {
        let mut action = Action::new("Originate");
        for n in 0..HEADERS_MAX - 2 {
            action = action.header("Variable", &format!("v{n}=1")).unwrap();
        }
        assert_eq!(encoded(&action).lines().count(), HEADERS_MAX + 1);
        assert_eq!(action.header("Variable", "x=1").unwrap_err(), InvalidAction::TooManyHeaders { headers_max: 128 });
    }

    #[test]
    fn secrets_are_not_shown() {
        let action = Action::login_plain("aimg", &SecretString::from("amp111"), "off").unwrap();
        assert!(!format!("{action:?}").contains("amp111"));
        let refused = Action::login_plain("aimg", &SecretString::from("amp\n111"), "off").unwrap_err();
        assert!(!format!("{refused:?} {refused}").contains("amp"));
    }

    proptest! {
        #[test]
        fn no_value_makes_another_line(key in ".{0,20}", value in ".{0,40}") {
            if let Ok(action) = Action::new("Setvar").header(&key, &value) {
                let text = encoded(&action);
                prop_assert_eq!(text.matches('\n').count(), 4);
                prop_assert_eq!(text.matches('\r').count(), 4);
            }
        }
    }
}
