//! Actions upon calls: make them, move them, join them, end them.
//!
//! A channel is named by its name or its Uniqueid. All need write class `call` unless they say otherwise.

use std::time::Duration;

use aimg_core::Uniqueid;

use super::Action;
use crate::InvalidAction;

/// A place in the dialplan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The context.
    pub context: String,
    /// The extension.
    pub exten: String,
    /// The priority, by number or label.
    pub priority: String,
}

impl Place {
    /// The first priority of an extension.
    pub fn new(context: impl Into<String>, exten: impl Into<String>) -> Self {
        Self { context: context.into(), exten: exten.into(), priority: "1".to_owned() }
    }
}

/// What an originated channel does once it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Goes through the dialplan.
    Place(Place),
    /// Runs one application, and ends with it.
    Application {
        /// Its name, such as `Playback`. Some, such as `System`, need write class `system` too.
        name: String,
        /// Its arguments.
        data: String,
    },
}

/// A call to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Originate {
    /// Whom to call, such as `PJSIP/alice` or `Local/200@inside`.
    pub channel: String,
    /// What the channel does once it is answered.
    pub target: Target,
    /// How long it may ring. Default 30 s.
    pub timeout: Duration,
    /// The caller id it shows, such as `Ann <100>`. Default none.
    pub caller_id: Option<String>,
    /// Variables of the channel; values without comma, at which Asterisk would cut them. Default none.
    pub variables: Vec<(String, String)>,
    /// Its account code. Default none.
    pub account: Option<String>,
    /// The id of the channel, to know it from its first event on. Default is one that Asterisk makes.
    pub channel_id: Option<Uniqueid>,
    /// The id of the other half, when the channel is a Local one. Default is one that Asterisk makes.
    pub other_channel_id: Option<Uniqueid>,
    /// Whether the target begins with early media, before the answer. Default no.
    pub early_media: bool,
    /// The codecs it may have, such as `ulaw,alaw`. Default is the endpoint's.
    pub codecs: Option<String>,
}

impl Originate {
    /// A call with the defaults.
    pub fn new(channel: impl Into<String>, target: Target) -> Self {
        Self {
            channel: channel.into(),
            target,
            timeout: Duration::from_secs(30),
            caller_id: None,
            variables: Vec::new(),
            account: None,
            channel_id: None,
            other_channel_id: None,
            early_media: false,
            codecs: None,
        }
    }
}

/// Which direction of a channel's audio is muted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Muted {
    /// What comes from it.
    In,
    /// What goes to it.
    Out,
    /// Both.
    All,
}

impl Action {
    /// Makes a call. Asterisk answers at once; how it came out is told by [`crate::Event::OriginateResponse`]. Needs write
    /// class `originate`.
    pub fn originate(call: &Originate) -> Result<Self, InvalidAction> {
        let mut action = Self::new("Originate").header("Channel", &call.channel)?.header("Async", "true")?;
        action = match &call.target {
            Target::Place(place) => action.place("", place)?,
            Target::Application { name, data } => action.header("Application", name)?.header("Data", data)?,
        };
        action = action.header("Timeout", &call.timeout.as_millis().to_string())?;
        for (name, value) in &call.variables {
            if name.contains([',', '=']) || value.contains(',') {
                return Err(InvalidAction::Variable { name: name.clone() });
            }
            action = action.header("Variable", &format!("{name}={value}"))?;
        }
        let ids = (call.channel_id.as_ref(), call.other_channel_id.as_ref());
        action
            .optional("CallerID", call.caller_id.as_deref())?
            .optional("Account", call.account.as_deref())?
            .optional("ChannelId", ids.0.map(Uniqueid::as_str))?
            .optional("OtherChannelId", ids.1.map(Uniqueid::as_str))?
            .optional("EarlyMedia", call.early_media.then_some("true"))?
            .optional("Codecs", call.codecs.as_deref())
    }

    /// Sends a channel to another place in the dialplan. One that it was in a bridge with goes on with its own dialplan.
    pub fn redirect(channel: &str, place: &Place) -> Result<Self, InvalidAction> {
        Self::new("Redirect").header("Channel", channel)?.place("", place)
    }

    /// Sends two channels of a bridge to places in the dialplan, so that neither hangs up for want of the other.
    pub fn redirect_both(
        channel: &str,
        place: &Place,
        other_channel: &str,
        other_place: &Place,
    ) -> Result<Self, InvalidAction> {
        Self::redirect(channel, place)?.header("ExtraChannel", other_channel)?.place("Extra", other_place)
    }

    /// Begins an attended transfer on behalf of a channel in a bridge: Asterisk presses the keys of the feature for it. So
    /// features.conf must have keys for `atxfer`, and the Dial that made the call must allow transfers (`t`, `T`).
    pub fn attended_transfer(channel: &str, place: &Place) -> Result<Self, InvalidAction> {
        Self::new("Atxfer").header("Channel", channel)?.header("Exten", &place.exten)?.header("Context", &place.context)
    }

    /// Gives an attended transfer up. Since Asterisk 16.
    pub fn cancel_attended_transfer(channel: &str) -> Result<Self, InvalidAction> {
        Self::new("CancelAtxfer").header("Channel", channel)
    }

    /// Transfers whom a channel is in a bridge with, on behalf of that channel.
    pub fn blind_transfer(channel: &str, place: &Place) -> Result<Self, InvalidAction> {
        Self::new("BlindTransfer")
            .header("Channel", channel)?
            .header("Context", &place.context)?
            .header("Exten", &place.exten)
    }

    /// Joins two channels, wherever they are; `tone` beeps to the second. Asterisk (16 to 22) takes any channel whose name or
    /// Uniqueid *begins* so, such as `….12` for `….1`: rather give names.
    pub fn bridge(channel: &str, other_channel: &str, tone: bool) -> Result<Self, InvalidAction> {
        Self::new("Bridge")
            .header("Channel1", channel)?
            .header("Channel2", other_channel)?
            .header("Tone", if tone { "channel2" } else { "no" })
    }

    /// Lists the channels of a bridge, after an item about the bridge itself. Needs write class `system` or `call`.
    pub fn bridge_info(bridge: &str) -> Result<Self, InvalidAction> {
        Self::new("BridgeInfo").header("BridgeUniqueid", bridge)
    }

    /// Ends a bridge: its channels go on with their dialplan, or hang up.
    pub fn bridge_destroy(bridge: &str) -> Result<Self, InvalidAction> {
        Self::new("BridgeDestroy").header("BridgeUniqueid", bridge)
    }

    /// Takes a channel out of a bridge.
    pub fn bridge_kick(bridge: &str, channel: &str) -> Result<Self, InvalidAction> {
        Self::new("BridgeKick").header("BridgeUniqueid", bridge)?.header("Channel", channel)
    }

    /// Parks a channel in a car park (the default one when none is named). After `timeout` it goes to `called_back`, a
    /// channel's name; both are the car park's own when not given.
    pub fn park(
        channel: &str,
        lot: Option<&str>,
        timeout: Option<Duration>,
        called_back: Option<&str>,
    ) -> Result<Self, InvalidAction> {
        let timeout_ms = timeout.map(|timeout| timeout.as_millis().to_string());
        Self::new("Park")
            .header("Channel", channel)?
            .optional("Parkinglot", lot)?
            .optional("Timeout", timeout_ms.as_deref())?
            .optional("TimeoutChannel", called_back)
    }

    /// Lists parked calls, of one car park or all.
    pub fn parked_calls(lot: Option<&str>) -> Result<Self, InvalidAction> {
        Self::new("ParkedCalls").optional("ParkingLot", lot)
    }

    /// Presses a key on a channel: sent to it, or as if it came from it when `received`. The duration is that of the
    /// driver when not given.
    pub fn play_dtmf(
        channel: &str,
        digit: char,
        duration: Option<Duration>,
        received: bool,
    ) -> Result<Self, InvalidAction> {
        let duration_ms = duration.map(|duration| duration.as_millis().to_string());
        Self::new("PlayDTMF")
            .header("Channel", channel)?
            .header("Digit", digit.encode_utf8(&mut [0; 4]))?
            .optional("Duration", duration_ms.as_deref())?
            .optional("Receive", received.then_some("true"))
    }

    /// Mutes a channel's audio, or lets it be heard again. Needs write class `system`, and res_mutestream.
    pub fn mute_audio(channel: &str, direction: Muted, muted: bool) -> Result<Self, InvalidAction> {
        let direction = match direction {
            Muted::In => "in",
            Muted::Out => "out",
            Muted::All => "all",
        };
        Self::new("MuteAudio")
            .header("Channel", channel)?
            .header("Direction", direction)?
            .header("State", if muted { "on" } else { "off" })
    }

    /// Ends a channel after so many seconds from here; zero takes such an order back. Needs write class `system` or `call`.
    pub fn absolute_timeout(channel: &str, after: Duration) -> Result<Self, InvalidAction> {
        Self::new("AbsoluteTimeout").header("Channel", channel)?.header("Timeout", &after.as_secs().to_string())
    }

    /// Sends a text message to a channel.
    pub fn send_text(channel: &str, text: &str) -> Result<Self, InvalidAction> {
        Self::new("SendText").header("Channel", channel)?.header("Message", text)
    }

    fn place(self, prefix: &str, place: &Place) -> Result<Self, InvalidAction> {
        self.header(&format!("{prefix}Context"), &place.context)?
            .header(&format!("{prefix}Exten"), &place.exten)?
            .header(&format!("{prefix}Priority"), &place.priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::tests::lines;

    #[test]
    fn calls_are_originated_without_waiting() {
        let mut call = Originate::new("PJSIP/a", Target::Place(Place::new("inside", "200")));
        let place = ["Context: inside", "Exten: 200", "Priority: 1"];
        assert_eq!(
            lines(Action::originate(&call)),
            [&["Action: Originate", "Channel: PJSIP/a", "Async: true"][..], &place, &["Timeout: 30000"]].concat()
        );
        call.target = Target::Application { name: "Playback".to_owned(), data: "beep".to_owned() };
        call.caller_id = Some("Ann <100>".to_owned());
        call.variables = vec![("A".to_owned(), "1=2".to_owned()), ("__B".to_owned(), String::new())];
        call.account = Some("acme".to_owned());
        call.channel_id = Some(Uniqueid::new("aimg-1"));
        call.other_channel_id = Some(Uniqueid::new("aimg-2"));
        call.early_media = true;
        call.codecs = Some("ulaw,alaw".to_owned());
        assert_eq!(
            lines(Action::originate(&call))[3..],
            [
                "Application: Playback",
                "Data: beep",
                "Timeout: 30000",
                "Variable: A=1=2",
                "Variable: __B=",
                "CallerID: Ann <100>",
                "Account: acme",
                "ChannelId: aimg-1",
                "OtherChannelId: aimg-2",
                "EarlyMedia: true",
                "Codecs: ulaw,alaw",
            ]
        );
        for (name, value) in [("A", "1,2"), ("A,B", "1"), ("A=B", "1")] {
            call.variables = vec![(name.to_owned(), value.to_owned())];
            let error = Action::originate(&call).unwrap_err();
            assert!(error.to_string().contains("Setvar"), "{error}");
        }
    }

    #[test]
    fn actions_upon_calls_go_over_the_wire_as_asterisk_reads_them() {
        let (place, other) = (Place::new("inside", "200"), Place::new("outside", "300"));
        let s = Duration::from_secs;
        let cases = [
            (Action::redirect("c", &place), "Action: Redirect|Channel: c|Context: inside|Exten: 200|Priority: 1"),
            (
                Action::redirect_both("c", &place, "d", &other),
                "Action: Redirect|Channel: c|Context: inside|Exten: 200|Priority: 1|ExtraChannel: d|ExtraContext: outside|\
                 ExtraExten: 300|ExtraPriority: 1",
            ),
            (Action::attended_transfer("c", &place), "Action: Atxfer|Channel: c|Exten: 200|Context: inside"),
            (Action::cancel_attended_transfer("c"), "Action: CancelAtxfer|Channel: c"),
            (Action::blind_transfer("c", &place), "Action: BlindTransfer|Channel: c|Context: inside|Exten: 200"),
            (Action::bridge("c", "d", false), "Action: Bridge|Channel1: c|Channel2: d|Tone: no"),
            (Action::bridge("c", "d", true), "Action: Bridge|Channel1: c|Channel2: d|Tone: channel2"),
            (Action::bridge_info("b"), "Action: BridgeInfo|BridgeUniqueid: b"),
            (Action::bridge_destroy("b"), "Action: BridgeDestroy|BridgeUniqueid: b"),
            (Action::bridge_kick("b", "c"), "Action: BridgeKick|BridgeUniqueid: b|Channel: c"),
            (Action::park("c", None, None, None), "Action: Park|Channel: c"),
            (
                Action::park("c", Some("lot"), Some(s(45)), Some("d")),
                "Action: Park|Channel: c|Parkinglot: lot|Timeout: 45000|TimeoutChannel: d",
            ),
            (Action::parked_calls(None), "Action: ParkedCalls"),
            (Action::play_dtmf("c", '#', None, false), "Action: PlayDTMF|Channel: c|Digit: #"),
            (
                Action::play_dtmf("c", '1', Some(Duration::from_millis(90)), true),
                "Action: PlayDTMF|Channel: c|Digit: 1|Duration: 90|Receive: true",
            ),
            (Action::mute_audio("c", Muted::In, true), "Action: MuteAudio|Channel: c|Direction: in|State: on"),
            (Action::mute_audio("c", Muted::All, false), "Action: MuteAudio|Channel: c|Direction: all|State: off"),
            (Action::absolute_timeout("c", s(9)), "Action: AbsoluteTimeout|Channel: c|Timeout: 9"),
            (Action::send_text("c", "hello"), "Action: SendText|Channel: c|Message: hello"),
        ];
        for (action, expected) in cases {
            assert_eq!(lines(action).join("|"), expected);
        }
    }
}
