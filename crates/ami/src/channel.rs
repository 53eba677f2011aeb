//! What a message tells of a channel or a bridge. No IO.

use std::fmt;
use std::time::Duration;

use aimg_core::Uniqueid;
use smol_str::{SmolStr, SmolStrBuilder};

use crate::Message;
use crate::frame::is_same_key;

/// What Asterisk writes for an empty field.
const EMPTY: &str = "<unknown>";

/// Asterisk's channel state, by the number in `ChannelState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChannelState {
    /// 0: there, but idle.
    #[default]
    Down,
    /// 1: down, but reserved.
    Reserved,
    /// 2: off hook.
    OffHook,
    /// 3: digits have been dialled.
    Dialing,
    /// 4: Asterisk is being called by it, and has not answered.
    Ring,
    /// 5: Asterisk calls it, and it rings.
    Ringing,
    /// 6: answered.
    Up,
    /// 7: busy.
    Busy,
    /// 8: digits have been dialled while off hook.
    DialingOffHook,
    /// 9: an incoming call before its ring.
    PreRing,
    /// Any other number.
    Other(u8),
}

impl ChannelState {
    /// The state of a number.
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Down,
            1 => Self::Reserved,
            2 => Self::OffHook,
            3 => Self::Dialing,
            4 => Self::Ring,
            5 => Self::Ringing,
            6 => Self::Up,
            7 => Self::Busy,
            8 => Self::DialingOffHook,
            9 => Self::PreRing,
            other => Self::Other(other),
        }
    }

    /// The number of the state.
    pub const fn number(self) -> u8 {
        match self {
            Self::Down => 0,
            Self::Reserved => 1,
            Self::OffHook => 2,
            Self::Dialing => 3,
            Self::Ring => 4,
            Self::Ringing => 5,
            Self::Up => 6,
            Self::Busy => 7,
            Self::DialingOffHook => 8,
            Self::PreRing => 9,
            Self::Other(other) => other,
        }
    }
}

/// A channel as an event or a list shows it. What Asterisk does not tell, or tells as `<unknown>`, is empty.
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelSnapshot {
    /// Its stable id.
    pub uniqueid: Uniqueid,
    /// The id of the oldest channel of its call; bridging may change it.
    pub linkedid: Uniqueid,
    /// Its name, such as `PJSIP/alice-00000001`; a transfer may change it.
    pub name: SmolStr,
    /// Its state.
    pub state: ChannelState,
    /// The caller's number.
    pub caller_number: SmolStr,
    /// The caller's name, as the phone sent it.
    pub caller_name: SmolStr,
    /// The number of whom it is connected to.
    pub connected_number: SmolStr,
    /// The name of whom it is connected to.
    pub connected_name: SmolStr,
    /// The account code of its endpoint.
    pub account_code: SmolStr,
    /// The dialplan context it is in.
    pub context: SmolStr,
    /// The extension it is in: the dialled number at first.
    pub exten: SmolStr,
    /// The dialplan priority it is at.
    pub priority: u32,
    /// The `tenantid` of its endpoint, where Asterisk has one (18.25, 20.10, 21.5, 22.0).
    pub tenantid: Option<SmolStr>,
    /// Names and values of the variables that `channelvars` of manager.conf names, as far as they are set.
    pub variables: Vec<(SmolStr, SmolStr)>,
}

/// A header's name and where its value goes.
type Field<T> = (&'static str, fn(&mut T, &str));

const CHANNEL_FIELDS: [Field<ChannelSnapshot>; 14] = [
    ("Channel", |c, v| c.name = text(v)),
    ("ChannelState", |c, v| c.state = ChannelState::from_number(v.parse().unwrap_or_default())),
    ("CallerIDNum", |c, v| c.caller_number = text(v)),
    ("CallerIDName", |c, v| c.caller_name = unescaped(v)),
    ("ConnectedLineNum", |c, v| c.connected_number = text(v)),
    ("ConnectedLineName", |c, v| c.connected_name = unescaped(v)),
    ("AccountCode", |c, v| c.account_code = text(v)),
    ("Context", |c, v| c.context = text(v)),
    ("Exten", |c, v| c.exten = text(v)),
    ("Priority", |c, v| c.priority = v.parse().unwrap_or_default()),
    ("Uniqueid", |c, v| c.uniqueid = Uniqueid::new(v)),
    ("Linkedid", |c, v| c.linkedid = Uniqueid::new(v)),
    ("Tenantid", |c, v| c.tenantid = Some(text(v)).filter(|t| !t.is_empty())),
    ("ChanVariable", |c, v| {
        c.variables.extend(v.split_once('=').filter(|(_, v)| !v.is_empty()).map(|(n, v)| (n.into(), unescaped(v))));
    }),
];

impl ChannelSnapshot {
    /// A channel of which nothing but its id is known.
    pub fn new(uniqueid: Uniqueid) -> Self {
        Self {
            linkedid: Uniqueid::new(""),
            uniqueid,
            name: SmolStr::default(),
            state: ChannelState::default(),
            caller_number: SmolStr::default(),
            caller_name: SmolStr::default(),
            connected_number: SmolStr::default(),
            connected_name: SmolStr::default(),
            account_code: SmolStr::default(),
            context: SmolStr::default(),
            exten: SmolStr::default(),
            priority: 0,
            tenantid: None,
            variables: Vec::new(),
        }
    }

    /// The channel whose headers begin with `prefix` (empty, or `Dest` in dial events), when the message tells one.
    pub fn read(message: &Message, prefix: &str) -> Option<Self> {
        let mut channel = Self::new(Uniqueid::new(""));
        read_fields(message, prefix, &CHANNEL_FIELDS, &mut channel);
        // A VarSet of a global variable has `Uniqueid: none`.
        (!matches!(channel.uniqueid.as_str(), "" | "none")).then_some(channel)
    }
}

impl fmt::Debug for ChannelSnapshot {
    /// Numbers and names are left out: they are not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSnapshot")
            .field("uniqueid", &self.uniqueid.as_str())
            .field("linkedid", &self.linkedid.as_str())
            .field("name", &self.name)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// A channel as `CoreShowChannels` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedChannel {
    /// The channel.
    pub channel: ChannelSnapshot,
    /// The dialplan application it runs; empty between two.
    pub application: SmolStr,
    /// How long it exists, in whole seconds; `None` when Asterisk's text is not understood.
    pub age: Option<Duration>,
    /// The id of the bridge it is in.
    pub bridge: Option<SmolStr>,
}

impl ListedChannel {
    /// Reads one item of the list.
    pub fn read(message: &Message) -> Option<Self> {
        Some(Self {
            channel: ChannelSnapshot::read(message, "")?,
            application: text(message.first("Application").unwrap_or_default()),
            age: message.first("Duration").and_then(clock_duration),
            bridge: message.first("BridgeId").map(text).filter(|id| !id.is_empty()),
        })
    }
}

/// A bridge as an event or a list shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeSnapshot {
    /// Its stable id.
    pub id: SmolStr,
    /// What it is for, such as `basic` or `stasis`.
    pub kind: SmolStr,
    /// How it mixes, such as `simple_bridge` or `softmix`; changes with its members.
    pub technology: SmolStr,
    /// What created it, such as `Stasis`.
    pub creator: SmolStr,
    /// The name its creator gave it.
    pub name: SmolStr,
    /// Channels in it.
    pub channel_count: u32,
}

const BRIDGE_FIELDS: [Field<BridgeSnapshot>; 6] = [
    ("UniqueID", |b, v| b.id = text(v)),
    ("Type", |b, v| b.kind = text(v)),
    ("Technology", |b, v| b.technology = text(v)),
    ("Creator", |b, v| b.creator = text(v)),
    ("Name", |b, v| b.name = text(v)),
    ("NumChannels", |b, v| b.channel_count = v.parse().unwrap_or_default()),
];

impl BridgeSnapshot {
    /// The bridge of the message, when it tells one.
    pub fn read(message: &Message) -> Option<Self> {
        Self::read_prefixed(message, "Bridge")
    }

    /// The bridge whose headers begin with `prefix`, when the message tells one.
    pub(crate) fn read_prefixed(message: &Message, prefix: &str) -> Option<Self> {
        let mut bridge = Self::default();
        read_fields(message, prefix, &BRIDGE_FIELDS, &mut bridge);
        (!bridge.id.is_empty()).then_some(bridge)
    }
}

/// One pass over the message for all fields. Asterisk tells them in the order of `fields`, so each is looked for where the
/// one before ends.
fn read_fields<T>(message: &Message, prefix: &str, fields: &[Field<T>], target: &mut T) {
    let mut next = 0;
    for (key, value) in message.headers() {
        let Some((head, rest)) = key.split_at_checked(prefix.len()) else { continue };
        if !is_same_key(head, prefix) {
            continue;
        }
        let (before, behind) = fields.split_at(next);
        let is_named = |(name, _): &Field<T>| is_same_key(name, rest);
        let found = behind.iter().position(is_named).map(|at| next + at).or_else(|| before.iter().position(is_named));
        if let Some(at) = found {
            let (_, put) = fields[at];
            put(target, value);
            next = at + 1;
        }
    }
}

/// A value, empty when unknown.
pub(crate) fn text(value: &str) -> SmolStr {
    if value == EMPTY { SmolStr::default() } else { value.into() }
}

/// A value that Asterisk has escaped as C does (names and variables), empty when unknown.
pub(crate) fn unescaped(value: &str) -> SmolStr {
    if !value.contains('\\') {
        return text(value);
    }
    let mut plain = SmolStrBuilder::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('a') => plain.push('\x07'),
            Some('b') => plain.push('\x08'),
            Some('f') => plain.push('\x0c'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some('v') => plain.push('\x0b'),
            Some(other) => plain.push(other),
            None => plain.push('\\'),
        }
    }
    plain.finish()
}

/// `hours:minutes:seconds`.
fn clock_duration(value: &str) -> Option<Duration> {
    let mut parts = value.split(':').map(|part| part.parse::<u32>().ok().map(u64::from));
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then(|| Duration::from_secs(hours * 3600 + minutes * 60 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::tests::message;

    #[test]
    fn a_channel_is_read_whatever_the_case_of_its_keys() {
        let m = message(
            "Event: Newchannel\r\nChannel: PJSIP/alice-00000001\r\nChannelState: 4\r\nChannelStateDesc: Ring\r\n\
             CallerIDNum: 100\r\nCallerIDName: \\\"A\\\" \\\\ B\r\nConnectedLineNum: <unknown>\r\nConnectedLineName: <unknown>\r\n\
             Language: en\r\nAccountCode: \r\nContext: from-inside\r\nExten: 200\r\nPriority: 1\r\nUniqueID: pbx-1.1\r\n\
             Linkedid: pbx-1.0\r\nTenantid: acme\r\n",
        );
        let channel = ChannelSnapshot::read(&m, "").unwrap();
        let expected = ChannelSnapshot {
            linkedid: Uniqueid::new("pbx-1.0"),
            name: "PJSIP/alice-00000001".into(),
            state: ChannelState::Ring,
            caller_number: "100".into(),
            caller_name: "\"A\" \\ B".into(),
            context: "from-inside".into(),
            exten: "200".into(),
            priority: 1,
            tenantid: Some("acme".into()),
            ..ChannelSnapshot::new(Uniqueid::new("pbx-1.1"))
        };
        assert_eq!(channel, expected);
        assert_eq!(ChannelSnapshot::read(&m, "Dest"), None);
    }

    #[test]
    fn a_prefix_selects_one_of_two_channels() {
        let m =
            message("Uniqueid: 1\r\nChannel: a\r\nDestUniqueid: 2\r\nDestChannel: b\r\nDestTenantid: <unknown>\r\n");
        let of = |prefix| ChannelSnapshot::read(&m, prefix).map(|c| (c.uniqueid, c.name));
        assert_eq!(of(""), Some((Uniqueid::new("1"), "a".into())));
        assert_eq!(of("Dest"), Some((Uniqueid::new("2"), "b".into())));
    }

    #[test]
    fn listed_channels_and_bridges_are_read() {
        let listed = |text: &str| ListedChannel::read(&message(text)).unwrap();
        let c = listed("Uniqueid: 1\r\nApplication: Dial\r\nDuration: 01:02:03\r\nBridgeId: b-1\r\n");
        assert_eq!(
            (c.application.as_str(), c.age, c.bridge.as_deref()),
            ("Dial", Some(Duration::from_secs(3723)), Some("b-1"))
        );
        let c = listed("Uniqueid: 1\r\nDuration: soon\r\nBridgeId: \r\n");
        assert_eq!((c.application.as_str(), c.age, c.bridge), ("", None, None));

        let b = BridgeSnapshot::read(&message(
            "BridgeUniqueid: b-1\r\nBridgeType: stasis\r\nBridgeTechnology: simple_bridge\r\nBridgeCreator: Stasis\r\n\
             BridgeName: <unknown>\r\nBridgeNumChannels: 2\r\n",
        ));
        let expected = BridgeSnapshot {
            id: "b-1".into(),
            kind: "stasis".into(),
            technology: "simple_bridge".into(),
            creator: "Stasis".into(),
            name: SmolStr::default(),
            channel_count: 2,
        };
        assert_eq!(b, Some(expected));
    }

    #[test]
    fn escapes_are_undone() {
        let cases =
            [("plain", "plain"), ("<unknown>", ""), (r"a\nb\t\\\'", "a\nb\t\\'"), (r"end\", r"end\"), (r"\é", "é")];
        for (value, expected) in cases {
            assert_eq!(unescaped(value), expected);
        }
    }

    #[test]
    fn states_keep_their_numbers() {
        for number in 0..=u8::MAX {
            assert_eq!(ChannelState::from_number(number).number(), number);
        }
    }

    #[test]
    fn debug_shows_no_phone_number() {
        let mut channel = ChannelSnapshot::new(Uniqueid::new("1"));
        channel.caller_number = "4930123456".into();
        assert!(!format!("{channel:?}").contains("4930123456"));
    }
}
