//! What happens to one channel: its dialplan, variables, audio and end.

use std::time::Duration;

use aimg_core::Uniqueid;
use smol_str::SmolStr;

use super::Event;
use super::fields::{Fields, debug_shows};
use crate::{ChannelSnapshot, ListedChannel};

/// A step of the dialplan.
#[derive(Clone, PartialEq, Eq)]
pub struct NewExten {
    /// The channel that entered it.
    pub channel: ChannelSnapshot,
    /// The application about to run.
    pub application: SmolStr,
    /// Its arguments.
    pub application_data: SmolStr,
}
debug_shows!(NewExten: channel, application);

/// A variable that was set.
#[derive(Clone, PartialEq, Eq)]
pub struct VarSet {
    /// Whose it is; a global variable has none.
    pub channel: Option<ChannelSnapshot>,
    /// Its name.
    pub variable: SmolStr,
    /// Its value.
    pub value: SmolStr,
}
debug_shows!(VarSet: channel, variable);

/// Another name for a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// The channel.
    pub uniqueid: Uniqueid,
    /// The name it had.
    pub name_before: SmolStr,
    /// The name it has.
    pub name: SmolStr,
}

/// The end of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hangup {
    /// The channel.
    pub channel: ChannelSnapshot,
    /// The Q.850 cause; 0 when Asterisk tells none.
    pub cause: u16,
    /// The cause in Asterisk's words; empty in a request.
    pub cause_text: SmolStr,
}

/// A channel put the other side on hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The channel.
    pub channel: ChannelSnapshot,
    /// The class of music it asked for; empty when none.
    pub music_class: SmolStr,
}

/// A keypress (class `dtmf`).
#[derive(Clone, PartialEq, Eq)]
pub struct Dtmf {
    /// The channel.
    pub channel: ChannelSnapshot,
    /// The key: `0` to `9`, `*`, `#`, `A` to `D`.
    pub digit: SmolStr,
    /// Whether Asterisk got it from the channel; else it sent it.
    pub received: bool,
    /// How long the key was held; zero at its beginning.
    pub duration: Duration,
}
// Digits may be a PIN.
debug_shows!(Dtmf: channel, received, duration);

/// Music began to play to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MusicOnHold {
    /// Who hears it.
    pub channel: ChannelSnapshot,
    /// The class of music.
    pub music_class: SmolStr,
}

/// Somebody stopped talking (the dialplan's `TALK_DETECT`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Talked {
    /// Who.
    pub channel: ChannelSnapshot,
    /// How long it was.
    pub duration: Duration,
}

/// The two halves of a Local channel, as they are joined or taken out of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPair {
    /// The half that was asked for, `;1`.
    pub one: ChannelSnapshot,
    /// The half that runs the dialplan, `;2`.
    pub two: ChannelSnapshot,
    /// The channel that takes the place of the first half; only at the beginning of an optimisation.
    pub source: Option<ChannelSnapshot>,
    /// The number of the optimisation, the same at its beginning and end; 0 when they are only joined.
    pub id: u32,
    /// Whether an optimisation ended well; whether it may happen at all when they are only joined.
    pub optimized: bool,
}

pub(super) fn read(name: &str, f: Fields<'_>) -> Option<Event> {
    Some(match name {
        "Newchannel" => Event::NewChannel(f.channel()?),
        "Newstate" => Event::NewState(f.channel()?),
        "Newexten" => Event::NewExten(Box::new(NewExten {
            channel: f.channel()?,
            application: f.text("Application"),
            application_data: f.text("AppData"),
        })),
        "VarSet" => Event::VarSet(Box::new(VarSet {
            channel: f.channel(),
            variable: f.text("Variable"),
            value: f.unescaped("Value"),
        })),
        "NewCallerid" => Event::NewCallerid(f.channel()?),
        "NewConnectedLine" => Event::NewConnectedLine(f.channel()?),
        "Rename" => Event::Rename(Rename {
            uniqueid: f.uniqueid("Uniqueid")?,
            name_before: f.text("Channel"),
            name: f.text("Newname"),
        }),
        "HangupRequest" | "SoftHangupRequest" => Event::HangupRequest(hangup(f)?),
        "Hangup" => Event::Hangup(hangup(f)?),
        "CoreShowChannel" => Event::CoreShowChannel(Box::new(ListedChannel::read(f.0)?)),
        "Hold" => Event::Hold(Box::new(Hold { channel: f.channel()?, music_class: f.text("MusicClass") })),
        "Unhold" => Event::Unhold(f.channel()?),
        "DTMFBegin" => Event::DtmfBegin(dtmf(f)?),
        "DTMFEnd" => Event::DtmfEnd(dtmf(f)?),
        "MusicOnHoldStart" => {
            Event::MusicOnHoldStart(Box::new(MusicOnHold { channel: f.channel()?, music_class: f.text("Class") }))
        }
        "MusicOnHoldStop" => Event::MusicOnHoldStop(f.channel()?),
        "ChannelTalkingStart" => Event::ChannelTalkingStart(f.channel()?),
        "ChannelTalkingStop" => Event::ChannelTalkingStop(Box::new(Talked {
            channel: f.channel()?,
            duration: Duration::from_millis(f.number("Duration")),
        })),
        "LocalBridge" => Event::LocalBridge(local_pair(f, "LocalOptimization")?),
        "LocalOptimizationBegin" => Event::LocalOptimizationBegin(local_pair(f, "")?),
        "LocalOptimizationEnd" => Event::LocalOptimizationEnd(local_pair(f, "Success")?),
        _ => return None,
    })
}

fn hangup(f: Fields<'_>) -> Option<Box<Hangup>> {
    Some(Box::new(Hangup { channel: f.channel()?, cause: f.number("Cause"), cause_text: f.text("Cause-txt") }))
}

fn dtmf(f: Fields<'_>) -> Option<Box<Dtmf>> {
    Some(Box::new(Dtmf {
        channel: f.channel()?,
        digit: f.optional("Digit")?,
        received: f.text("Direction") == "Received",
        duration: Duration::from_millis(f.number("DurationMs")),
    }))
}

fn local_pair(f: Fields<'_>, optimized: &str) -> Option<Box<LocalPair>> {
    Some(Box::new(LocalPair {
        one: f.channel_of("LocalOne")?,
        two: f.channel_of("LocalTwo")?,
        source: f.channel_of("Source"),
        id: f.number("Id"),
        optimized: f.flag(optimized),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::{event, with_id};

    #[test]
    fn audio_and_keys_of_a_channel_are_typed() {
        let music = |class: &str| Box::new(MusicOnHold { channel: with_id("1"), music_class: class.into() });
        let dtmf = |received, ms| {
            let duration = Duration::from_millis(ms);
            Box::new(Dtmf { channel: with_id("1"), digit: "#".into(), received, duration })
        };
        let pair = |source: Option<&str>, id, optimized| {
            Box::new(LocalPair { one: with_id("1"), two: with_id("2"), source: source.map(with_id), id, optimized })
        };
        let talked = Talked { channel: with_id("1"), duration: Duration::from_millis(1500) };
        let cases = [
            (
                "Event: Hold\r\nUniqueid: 1\r\nMusicClass: default\r\n",
                Event::Hold(Box::new(Hold { channel: with_id("1"), music_class: "default".into() })),
            ),
            ("Event: Unhold\r\nUniqueid: 1\r\n", Event::Unhold(with_id("1"))),
            ("Event: DTMFBegin\r\nUniqueid: 1\r\nDigit: #\r\nDirection: Received\r\n", Event::DtmfBegin(dtmf(true, 0))),
            (
                "Event: DTMFEnd\r\nUniqueid: 1\r\nDigit: #\r\nDurationMs: 120\r\nDirection: Sent\r\n",
                Event::DtmfEnd(dtmf(false, 120)),
            ),
            ("Event: MusicOnHoldStart\r\nUniqueid: 1\r\nClass: jazz\r\n", Event::MusicOnHoldStart(music("jazz"))),
            ("Event: MusicOnHoldStop\r\nUniqueid: 1\r\n", Event::MusicOnHoldStop(with_id("1"))),
            ("Event: ChannelTalkingStart\r\nUniqueid: 1\r\n", Event::ChannelTalkingStart(with_id("1"))),
            (
                "Event: ChannelTalkingStop\r\nUniqueid: 1\r\nDuration: 1500\r\n",
                Event::ChannelTalkingStop(Box::new(talked)),
            ),
            (
                "Event: LocalBridge\r\nLocalOneUniqueid: 1\r\nLocalTwoUniqueid: 2\r\nLocalOptimization: Yes\r\n",
                Event::LocalBridge(pair(None, 0, true)),
            ),
            (
                "Event: LocalOptimizationBegin\r\nLocalOneUniqueid: 1\r\nLocalTwoUniqueid: 2\r\nSourceUniqueid: 3\r\n\
                 DestUniqueId: 2\r\nId: 7\r\n",
                Event::LocalOptimizationBegin(pair(Some("3"), 7, false)),
            ),
            (
                "Event: LocalOptimizationEnd\r\nLocalOneUniqueid: 1\r\nLocalTwoUniqueid: 2\r\nSuccess: Yes\r\nId: 7\r\n",
                Event::LocalOptimizationEnd(pair(None, 7, true)),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(event(text), expected, "{text}");
        }
    }

    #[test]
    fn debug_shows_no_value_and_no_digit() {
        for text in [
            "Event: VarSet\r\nUniqueid: 1\r\nVariable: PIN\r\nValue: 4930123456\r\n",
            "Event: Newexten\r\nUniqueid: 1\r\nApplication: Dial\r\nAppData: PJSIP/4930123456\r\n",
            "Event: DTMFEnd\r\nUniqueid: 1\r\nDigit: 4930123456\r\n",
        ] {
            let shown = format!("{:?}", event(text));
            assert!(!shown.contains("4930123456") && !shown.starts_with("Other"), "{shown}");
        }
    }
}
