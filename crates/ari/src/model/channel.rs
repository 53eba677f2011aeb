//! Channels, and what belongs to one.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use aimg_core::{Timestamp, Uniqueid};
use serde::Deserialize;

use super::Extra;

/// What a channel is doing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum ChannelState {
    /// Exists, and nothing more.
    Down,
    /// Reserved.
    Reserved,
    /// Off hook.
    OffHook,
    /// Digits are being dialled.
    Dialing,
    /// A call that came in and is not answered: we hear ringing.
    Ring,
    /// The far end's phone rings.
    Ringing,
    /// Answered.
    Up,
    /// Busy.
    Busy,
    /// Any other word of Asterisk's.
    Other(String),
}

impl From<String> for ChannelState {
    fn from(word: String) -> Self {
        match word.as_str() {
            "Down" => Self::Down,
            "Rsrvd" => Self::Reserved,
            "OffHook" => Self::OffHook,
            "Dialing" => Self::Dialing,
            "Ring" => Self::Ring,
            "Ringing" => Self::Ringing,
            "Up" => Self::Up,
            "Busy" => Self::Busy,
            _ => Self::Other(word),
        }
    }
}

/// A party of a call; an unknown one has empty fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Party {
    /// The display name.
    #[serde(default)]
    pub name: String,
    /// The number.
    #[serde(default)]
    pub number: String,
}

/// Where in the dialplan a channel is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Dialplan {
    /// The context.
    #[serde(default)]
    pub context: String,
    /// The extension.
    #[serde(default)]
    pub exten: String,
    /// The priority; −1 before the dialplan began.
    #[serde(default)]
    pub priority: i64,
    /// The running application; empty on old versions.
    #[serde(default)]
    pub app_name: String,
    /// Its arguments; empty on old versions.
    #[serde(default)]
    pub app_data: String,
}

/// A channel. Its Linkedid is not here: Asterisk does not tell it over ARI.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Channel {
    /// Asterisk's Uniqueid, or the id that we minted.
    pub id: Uniqueid,
    /// Such as `PJSIP/alice-00000001`.
    pub name: String,
    /// What it is doing.
    pub state: ChannelState,
    /// The party at the channel's end.
    #[serde(default)]
    pub caller: Party,
    /// The party it is connected to.
    #[serde(default)]
    pub connected: Party,
    /// Where it is in the dialplan.
    #[serde(default)]
    pub dialplan: Dialplan,
    /// The account code, mostly empty.
    #[serde(default)]
    pub accountcode: String,
    /// When Asterisk created it, by Asterisk's clock.
    #[serde(default, deserialize_with = "crate::time::deserialize")]
    pub creationtime: Option<Timestamp>,
    /// The language, such as `en`.
    #[serde(default)]
    pub language: String,
    /// The variables that ari.conf's `channelvars` names, and those of an externalMedia channel.
    #[serde(default)]
    pub channelvars: BTreeMap<String, String>,
    /// The tenant id of the endpoint (Asterisk 18.25, 20.10, 21.5, 22.0 and later, where one is set).
    #[serde(default)]
    pub tenantid: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Channel {
    /// The address from which Asterisk will send the RTP of this externalMedia channel: known from the reply that created
    /// it, before the first packet. Nothing for other channels, and for an address that could never be a source.
    pub fn rtp_source(&self) -> Option<SocketAddr> {
        let address = self.channelvars.get("UNICASTRTP_LOCAL_ADDRESS")?;
        let ip: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
        let port: u16 = self.channelvars.get("UNICASTRTP_LOCAL_PORT")?.parse().ok()?;
        (!ip.is_unspecified() && port != 0).then(|| SocketAddr::new(ip, port))
    }
}

/// The RTP statistics of a channel, as Asterisk counts them. What it does not know for a channel is absent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct RtpStatistics {
    /// Packets that Asterisk sent.
    #[serde(default)]
    pub txcount: Option<u64>,
    /// Packets that Asterisk received.
    #[serde(default)]
    pub rxcount: Option<u64>,
    /// Packets that the far end reports as lost.
    #[serde(default)]
    pub txploss: Option<i64>,
    /// Packets that Asterisk found lost.
    #[serde(default)]
    pub rxploss: Option<i64>,
    /// Jitter that Asterisk measured, seconds.
    #[serde(default)]
    pub rxjitter: Option<f64>,
    /// Jitter that the far end reports, seconds.
    #[serde(default)]
    pub txjitter: Option<f64>,
    /// Round-trip time, seconds.
    #[serde(default)]
    pub rtt: Option<f64>,
    /// The SSRC that Asterisk sends with.
    #[serde(default)]
    pub local_ssrc: Option<u32>,
    /// The SSRC that Asterisk receives.
    #[serde(default)]
    pub remote_ssrc: Option<u32>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The value of a channel variable or function.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Variable {
    /// The value; an unset variable is empty.
    pub value: String,
}

/// Several variables of a channel or bridge (Asterisk 20.20, 22.10, 23.4 and later).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Variables {
    /// The values, by name.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::json;

    use super::*;

    fn channel(vars: Value) -> Channel {
        serde_json::from_value(json!({"id": "1.2", "name": "UnicastRTP/x", "state": "Down", "channelvars": vars}))
            .unwrap()
    }

    #[test]
    fn rtp_source_comes_from_the_reply() {
        let cases = [
            (
                json!({"UNICASTRTP_LOCAL_ADDRESS": "127.0.0.1", "UNICASTRTP_LOCAL_PORT": "14562"}),
                Some("127.0.0.1:14562"),
            ),
            (json!({"UNICASTRTP_LOCAL_ADDRESS": "::1", "UNICASTRTP_LOCAL_PORT": "14562"}), Some("[::1]:14562")),
            (json!({"UNICASTRTP_LOCAL_ADDRESS": "[::1]", "UNICASTRTP_LOCAL_PORT": "14562"}), Some("[::1]:14562")),
            (json!({"UNICASTRTP_LOCAL_ADDRESS": "0.0.0.0", "UNICASTRTP_LOCAL_PORT": "14562"}), None),
            (json!({"UNICASTRTP_LOCAL_ADDRESS": "127.0.0.1", "UNICASTRTP_LOCAL_PORT": "0"}), None),
            (json!({"UNICASTRTP_LOCAL_ADDRESS": "127.0.0.1", "UNICASTRTP_LOCAL_PORT": "70000"}), None),
            (json!({"UNICASTRTP_LOCAL_ADDRESS": "pbx", "UNICASTRTP_LOCAL_PORT": "14562"}), None),
            (json!({"UNICASTRTP_LOCAL_ADDRESS": "127.0.0.1"}), None),
            (json!({}), None),
        ];
        for (vars, expected) in cases {
            assert_eq!(channel(vars.clone()).rtp_source(), expected.map(|s| s.parse().unwrap()), "{vars}");
        }
    }

    #[test]
    fn unknown_fields_are_kept() {
        let channel: Channel = serde_json::from_value(
            json!({"id": "1.2", "name": "PJSIP/a-1", "state": "Pre-ring", "protocol_id": "abc", "future": {"x": [1]}}),
        )
        .unwrap();
        assert_eq!(channel.state, ChannelState::Other("Pre-ring".into()));
        assert_eq!(channel.extra["protocol_id"], "abc");
        assert_eq!(channel.extra["future"], json!({"x": [1]}));
    }
}
