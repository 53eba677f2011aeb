//! What can be asked of a call, and what is answered.

use std::fmt;
use std::time::Duration;

use aimg_core::{CaptureOrder, PbxId, SessionId, Uniqueid};

use super::{ControlError, Say};

/// Who of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// The session's first channel, or the one in whose place the call goes on.
    Caller,
    /// Whom the caller talks with, or is about to.
    Callee,
    /// This channel of the call.
    Channel(Uniqueid),
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caller => f.write_str("caller"),
            Self::Callee => f.write_str("callee"),
            Self::Channel(channel) => write!(f, "channel {channel}"),
        }
    }
}

/// Who hears what is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// One party.
    One(Party),
    /// Caller and callee.
    Both,
}

/// Which of a party's audio is muted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MutedSide {
    /// What it says.
    Says,
    /// What it hears.
    Hears,
    /// Both.
    Both,
}

/// A place in the dialplan.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    /// The extension: a number that is dialled there.
    pub exten: String,
    /// The context; that in which the call began unless told.
    pub context: Option<String>,
}

impl fmt::Debug for Destination {
    /// Without the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination").field("context", &self.context).finish_non_exhaustive()
    }
}

/// How a call is sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// Whom `by` talks with is sent there, and `by` is out of the call.
    Blind {
        /// Who sends.
        by: Party,
        /// Where to.
        to: Destination,
    },
    /// `by` calls there first, while the other one waits.
    Attended {
        /// Who sends.
        by: Party,
        /// Whom it calls.
        to: Destination,
    },
    /// An attended transfer is done: who waits talks with whom `by` called, and `by` is hung up.
    Complete {
        /// Who sends.
        by: Party,
    },
    /// An attended transfer is given up: `by` talks with who waits.
    Cancel {
        /// Who sends.
        by: Party,
    },
}

/// What somebody does who listens by phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenMode {
    /// Hears both parties, and is heard by nobody.
    Listen,
    /// Is heard by the party that is listened at.
    Whisper,
    /// Is heard by both.
    Barge,
}

/// Something to be done with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallCommand {
    /// End one party's channel, or, with nobody named, all.
    HangUp {
        /// Whose.
        party: Option<Party>,
    },
    /// Answer the caller, who waits in our Stasis application.
    Answer,
    /// Music for this party; it and the others do not hear each other.
    Hold {
        /// Who waits.
        party: Party,
        /// The class of musiconhold.conf; the default one unless told.
        music: Option<String>,
    },
    /// End that.
    Unhold {
        /// Who waits.
        party: Party,
    },
    /// Mute a party.
    Mute {
        /// Who.
        party: Party,
        /// Which of its audio.
        side: MutedSide,
    },
    /// Let it be heard again.
    Unmute {
        /// Who.
        party: Party,
        /// Which of its audio.
        side: MutedSide,
    },
    /// Press keys, as this party hears them.
    Dtmf {
        /// Who.
        party: Party,
        /// 0-9, A-D, # and *; at most [`super::DIGITS_MAX`].
        digits: String,
        /// How long each is pressed.
        duration: Duration,
    },
    /// Play something into the call; the parties hear each other all the while.
    Play {
        /// Who hears it.
        to: Audience,
        /// One after the other: `sound:NAME`, `digits:…`, `number:…`, `characters:…`, `tone:NAME`, or an address of a host
        /// that the configuration allows. At most [`super::MEDIA_MAX`].
        media: Vec<String>,
    },
    /// Say something into the call; played as [`CallCommand::Play`] plays.
    Say {
        /// Who hears it.
        to: Audience,
        /// What, and how.
        say: Say,
        /// Whether what is being played into the call ends before.
        interrupts: bool,
    },
    /// End what is played.
    StopPlay {
        /// As [`Done::Playing`] named it; nothing for all of the call.
        playback: Option<String>,
    },
    /// Send the call on.
    Transfer(Transfer),
    /// Let a party talk with one of another call, of the same tenant and PBX.
    Bridge {
        /// Who.
        party: Party,
        /// The other call.
        with: SessionId,
        /// Who of that.
        with_party: Party,
    },
    /// Call a phone and let it hear the call.
    Listen {
        /// The phone, such as `PJSIP/alice`.
        endpoint: String,
        /// At whose channel.
        party: Party,
        /// What it may do.
        mode: ListenMode,
        /// How long it may ring; at most [`super::RING_MAX`].
        ring: Duration,
    },
    /// Start, stop, pause or resume the recording.
    Record(CaptureOrder),
}

impl CallCommand {
    /// Its name, as the audit log has it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::HangUp { .. } => "hangup",
            Self::Answer => "answer",
            Self::Hold { .. } => "hold",
            Self::Unhold { .. } => "unhold",
            Self::Mute { .. } => "mute",
            Self::Unmute { .. } => "unmute",
            Self::Dtmf { .. } => "dtmf",
            Self::Play { .. } => "play",
            Self::Say { .. } => "say",
            Self::StopPlay { .. } => "play_stop",
            Self::Transfer(_) => "transfer",
            Self::Bridge { .. } => "bridge",
            Self::Listen { .. } => "snoop",
            Self::Record(_) => "recording",
        }
    }
}

/// Who is called first when a call is made.
#[derive(Clone, PartialEq, Eq)]
pub enum First {
    /// A number, dialled in the context to which the call goes.
    Number(String),
    /// An endpoint, such as `PJSIP/alice`.
    Endpoint(String),
}

/// A call to be made: `first` is called, and when it answers, it goes to `to`.
#[derive(Clone, PartialEq, Eq)]
pub struct NewCall {
    /// The PBX that makes it.
    pub pbx: PbxId,
    /// Who is called first.
    pub first: First,
    /// The number that it is then connected to.
    pub exten: String,
    /// The context of the dialplan in which that is dialled.
    pub context: String,
    /// Who calls, as `first` sees it: `Reception <100>`.
    pub caller_id: Option<String>,
    /// How long `first` may ring; at most [`super::RING_MAX`].
    pub ring: Duration,
}

/// What Asterisk did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// These channels are gone, each with its Q.850 cause where Asterisk told one.
    HungUp {
        /// The channels.
        channels: Vec<(Uniqueid, Option<u16>)>,
    },
    /// The channel is up.
    Answered {
        /// Which.
        channel: Uniqueid,
    },
    /// The channel hears music.
    Held {
        /// Which.
        channel: Uniqueid,
    },
    /// It hears the call again.
    Unheld {
        /// Which.
        channel: Uniqueid,
    },
    /// The channel is muted.
    Muted {
        /// Which.
        channel: Uniqueid,
        /// Which of its audio.
        side: MutedSide,
    },
    /// It is not any more.
    Unmuted {
        /// Which.
        channel: Uniqueid,
        /// Which of its audio.
        side: MutedSide,
    },
    /// The keys were pressed.
    Pressed {
        /// On this channel.
        channel: Uniqueid,
        /// How many.
        digits: usize,
    },
    /// It is being played.
    Playing {
        /// Its name, to stop it by.
        playback: String,
        /// By this channel: to its party, or to both parties.
        channel: Uniqueid,
    },
    /// It is played no more.
    PlayStopped {
        /// What was being played.
        playbacks: Vec<String>,
    },
    /// The call was sent on.
    Transferred {
        /// Who was sent; nobody when several were, or Asterisk did not tell.
        channel: Option<Uniqueid>,
    },
    /// An attended transfer has begun: the transferring channel calls.
    Consulting {
        /// That channel.
        channel: Uniqueid,
    },
    /// An attended transfer was given up.
    TransferCancelled {
        /// The channel that transferred.
        channel: Uniqueid,
    },
    /// The two talk.
    Bridged {
        /// In this bridge.
        bridge: String,
        /// Each of them.
        channels: [Uniqueid; 2],
    },
    /// A phone hears the call, or is being called for that.
    Listening {
        /// The phone's channel: its end ends the listening.
        phone: Uniqueid,
        /// The channel that is listened at.
        channel: Uniqueid,
        /// It was picked up; else it rings, and hears the call when it is.
        connected: bool,
    },
    /// The recording stands so.
    Recording {
        /// The part that is being recorded; nothing when none is.
        part: Option<u16>,
    },
    /// The call is being made.
    Calling {
        /// Its first channel.
        channel: Uniqueid,
        /// Its session; nothing where that is not seen before the call passes the hook.
        session: Option<SessionId>,
    },
}

/// What may not be in an argument, whatever it means there.
fn is_plain(text: &str, longest: usize, more: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
    (1..=longest).contains(&text.len()) && text.chars().all(fits)
}

/// A number that is dialled in the dialplan.
pub(super) fn check_exten(field: &'static str, exten: &str) -> Result<(), ControlError> {
    let why = "1 to 80 of letters, digits, + * # _ . -";
    if is_plain(exten, 80, "+*#_.-") { Ok(()) } else { Err(ControlError::invalid(field, why)) }
}

/// The name of a context, or of a class of music.
pub(super) fn check_name(field: &'static str, name: &str) -> Result<(), ControlError> {
    let why = "1 to 80 of letters, digits, _ . -";
    if is_plain(name, 80, "_.-") { Ok(()) } else { Err(ControlError::invalid(field, why)) }
}

/// Whom Asterisk can call.
pub(super) fn check_endpoint(endpoint: &str) -> Result<(), ControlError> {
    const TECHNOLOGIES: [&str; 5] = ["PJSIP", "SIP", "IAX2", "DAHDI", "Local"];
    let (technology, resource) = endpoint.split_once('/').unwrap_or_default();
    if TECHNOLOGIES.contains(&technology) && is_plain(resource, 160, "+*#_.-@:/;") {
        return Ok(());
    }
    Err(ControlError::invalid("endpoint", "such as PJSIP/alice: PJSIP, SIP, IAX2, DAHDI or Local, `/`, and a name"))
}

/// A caller id such as `Reception <100>`.
pub(super) fn check_caller_id(caller_id: &str) -> Result<(), ControlError> {
    if caller_id.chars().count() <= 80 && !caller_id.contains(char::is_control) {
        return Ok(());
    }
    Err(ControlError::invalid("caller_id", "at most 80 characters, on one line"))
}

/// What ARI is to play for a piece of media; `hosts` are those from which Asterisk may fetch something.
pub(super) fn media_uri(media: &str, hosts: &[String]) -> Result<String, ControlError> {
    let refused = |why: &str| Err(ControlError::invalid("media", why));
    let (scheme, rest) = media.split_once(':').unwrap_or_default();
    let fits = match scheme {
        // A name below Asterisk's sounds: no path to anything else on its disk.
        "sound" => is_plain(rest, 200, "_-./") && !rest.starts_with('/') && !rest.split('/').any(|part| part == ".."),
        "digits" => is_plain(rest, 40, "*#"),
        "number" => is_plain(rest, 18, "") && rest.bytes().all(|b| b.is_ascii_digit()),
        "characters" => is_plain(rest, 80, ""),
        "tone" => is_plain(rest, 40, "_;=-"),
        "http" | "https" => {
            let is_text = media.len() <= 1_000 && media.bytes().all(|b| b.is_ascii_graphic() && b != b',');
            let Some(host) = rest.strip_prefix("//").filter(|_| is_text).and_then(host_of) else {
                return refused("an address is https://host/path, with neither user nor comma, at most 1000 bytes");
            };
            if !hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)) {
                return refused("Asterisk may fetch from no other hosts than those of the setting control.media_hosts");
            }
            return Ok(format!("sound:{media}"));
        }
        _ => return refused("begins with sound:, digits:, number:, characters:, tone:, http:// or https://"),
    };
    if fits { Ok(media.to_owned()) } else { refused("holds what does not belong into such a name") }
}

/// The host in what follows `//` of an address; nothing where there is a user, or no host.
fn host_of(rest: &str) -> Option<&str> {
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    if authority.contains('@') {
        return None;
    }
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    Some(host).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_is_asterisks_own_or_from_a_host_that_is_allowed() {
        let hosts = ["media.example".to_owned(), "10.0.0.1".to_owned()];
        for (media, uri) in [
            ("sound:demo-congrats", Some("sound:demo-congrats")),
            ("sound:en/digits/1", Some("sound:en/digits/1")),
            ("digits:123#", Some("digits:123#")),
            ("tone:ring", Some("tone:ring")),
            ("https://media.example/a.wav?x=1&y=2", Some("sound:https://media.example/a.wav?x=1&y=2")),
            ("http://MEDIA.example:8080/a.wav", Some("sound:http://MEDIA.example:8080/a.wav")),
            ("http://10.0.0.1/a.wav", Some("sound:http://10.0.0.1/a.wav")),
            ("http://10.0.0.2/a.wav", None),
            ("http://other.example/a.wav", None),
            ("http://media.example@other.example/a.wav", None),
            ("http://other.example\\media.example/a.wav", None),
            ("http://other.example#media.example/", None),
            ("http://media.example/a,b.wav", None),
            ("http:media.example/a.wav", None),
            ("http:///a.wav", None),
            ("sound:http://other.example/a.wav", None),
            ("sound:/etc/passwd", None),
            ("sound:../../voicemail/acme/1/msg0000", None),
            ("sound:", None),
            ("recording:secret", None),
            ("file:///etc/passwd", None),
            ("demo-congrats", None),
            ("number:12a", None),
        ] {
            assert_eq!(media_uri(media, &hosts).ok().as_deref(), uri, "{media}");
        }
    }

    #[test]
    fn what_asterisk_would_read_otherwise_is_refused() {
        for (endpoint, fits) in [
            ("PJSIP/alice", true),
            ("PJSIP/callee/sip:callee@127.0.0.1:5060", true),
            ("Local/200@inside/n", true),
            ("PJSIP/a&PJSIP/b", false),
            ("PJSIP/", false),
            ("alice", false),
            ("System/rm", false),
            ("PJSIP/a,b", false),
            ("PJSIP/a\r\nAction: Command", false),
        ] {
            assert_eq!(check_endpoint(endpoint).is_ok(), fits, "{endpoint}");
        }
        for (exten, fits) in [("+4930123", true), ("*72", true), ("", false), ("1,2", false), ("1&2", false)] {
            assert_eq!(check_exten("exten", exten).is_ok(), fits, "{exten}");
        }
        assert!(check_name("context", "from-inside").is_ok() && check_name("context", "a b").is_err());
        assert!(check_caller_id("Ännie <100>").is_ok() && check_caller_id("a\nb").is_err());
    }
}
