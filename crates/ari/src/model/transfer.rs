//! Transfers: made by Asterisk, and asked of the application (`ChannelTransfer`, Asterisk 20.13, 21.8, 22.3 and later).

use serde::Deserialize;

use super::{Bridge, Channel, Extra};

/// Where the call is to go.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ReferTo {
    /// The destination that was asked for.
    #[serde(default)]
    pub requested_destination: RequestedDestination,
    /// The channel that it is, of an attended transfer.
    pub destination_channel: Option<Box<Channel>>,
    /// The channel that one is connected to.
    pub connected_channel: Option<Box<Channel>>,
    /// The bridge that they are in.
    pub bridge: Option<Box<Bridge>>,
}

/// Who transfers the call.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ReferredBy {
    /// The channel of the party that transfers.
    pub source_channel: Box<Channel>,
    /// The channel that it is connected to.
    pub connected_channel: Option<Box<Channel>>,
    /// The bridge that they are in.
    pub bridge: Option<Box<Bridge>>,
}

/// A destination as the protocol names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct RequestedDestination {
    /// The protocol's id of the call to replace, such as a SIP Call-ID.
    #[serde(default)]
    pub protocol_id: Option<String>,
    /// The number or user.
    #[serde(default)]
    pub destination: Option<String>,
}

/// An attended transfer: a party connected its first call with its second.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct AttendedTransfer {
    /// The party's channel of the first call.
    pub transferer_first_leg: Channel,
    /// The party's channel of the second call.
    pub transferer_second_leg: Channel,
    /// The bridge of the first call.
    pub transferer_first_leg_bridge: Option<Bridge>,
    /// The bridge of the second call.
    pub transferer_second_leg_bridge: Option<Bridge>,
    /// The channel that is transferred.
    pub transferee: Option<Channel>,
    /// The channel that it is connected to from here on.
    pub transfer_target: Option<Channel>,
    /// The channel that stands for the party that transfers.
    pub replace_channel: Option<Channel>,
    /// Such as `Success` or `Fail`.
    pub result: String,
    /// Such as `bridge`, `application`, `link` or `threeway`.
    #[serde(default)]
    pub destination_type: String,
    /// The bridge where all meet, for `bridge`.
    pub destination_bridge: Option<String>,
    /// The application that the transferee enters, for `application`.
    pub destination_application: Option<String>,
    /// Whether another program asked for it.
    #[serde(default)]
    pub is_external: bool,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}
