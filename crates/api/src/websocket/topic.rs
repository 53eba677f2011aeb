//! What a client can subscribe to.

use std::fmt;
use std::str::FromStr;

use aimg_cluster::{News, Notice};
use aimg_core::{CallEventKind, Permission, SessionId, TenantId};
use aimg_gateway::{ListenSpec, Rate, SampleFormat, Side};

/// Characters of a dialled number.
const NUMBER_CHARS_MAX: usize = 64;

/// The kinds of topics, each with what it takes and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicKind {
    /// Every call.
    Calls,
    /// One call.
    Call,
    /// What is said in one call.
    Transcripts,
    /// What is said in calls to one number.
    TranscriptsDialled,
    /// What one call sounds like.
    Audio,
    /// PBXs and alarms.
    System,
    /// What a person should be told of.
    Notifications,
}

impl TopicKind {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Calls,
        Self::Call,
        Self::Transcripts,
        Self::TranscriptsDialled,
        Self::Audio,
        Self::System,
        Self::Notifications,
    ];

    /// How it is written.
    pub(crate) const fn pattern(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Call => "call:{session}",
            Self::Transcripts => "transcripts:{session}",
            Self::TranscriptsDialled => "transcripts:dialled:{number}",
            Self::Audio => "audio:{session}:{side}:{rate}:{encoding}",
            Self::System => "system",
            Self::Notifications => "notifications",
        }
    }

    /// What it takes to subscribe.
    pub(crate) const fn permission(self) -> Permission {
        match self {
            Self::Calls | Self::Call | Self::Notifications => Permission::CallsMonitor,
            Self::Transcripts | Self::TranscriptsDialled => Permission::RecordingsListen,
            Self::Audio => Permission::CallsListen,
            Self::System => Permission::TenantsRead,
        }
    }

    /// What it brings, for people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Calls => "Everything that happens to calls: messages of type `call`.",
            Self::Call => "The same of one call.",
            Self::Transcripts => "What is said in one call, as it is recognised: messages of type `transcript`.",
            Self::TranscriptsDialled => "The same of every call to one number.",
            Self::Audio => {
                "What one call sounds like while it lasts, as binary messages; `audio_ended` follows them. `side` is caller, \
                 callee, both (left and right) or mixed, `rate` 8000 or 16000, `encoding` ulaw or pcm16 (little-endian). Of a \
                 session a connection has one such topic."
            }
            Self::System => "How PBXs are connected and which alarms are up: messages of type `link` and `alarm`.",
            Self::Notifications => {
                "What a person should be told of: recordings that are ready or failed, captures that failed (type `call`), \
                 quotas that are used up (type `quota`)."
            }
        }
    }
}

/// A topic. Which tenant's is said beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Calls,
    Call(SessionId),
    Transcripts(SessionId),
    TranscriptsDialled(String),
    Audio(SessionId, ListenSpec),
    System,
    Notifications,
}

impl Topic {
    pub(crate) const fn kind(&self) -> TopicKind {
        match self {
            Self::Calls => TopicKind::Calls,
            Self::Call(_) => TopicKind::Call,
            Self::Transcripts(_) => TopicKind::Transcripts,
            Self::TranscriptsDialled(_) => TopicKind::TranscriptsDialled,
            Self::Audio(..) => TopicKind::Audio,
            Self::System => TopicKind::System,
            Self::Notifications => TopicKind::Notifications,
        }
    }

    /// The session that is listened to, where it is one.
    pub(crate) const fn audio_session(&self) -> Option<SessionId> {
        match self {
            Self::Audio(session, _) => Some(*session),
            _ => None,
        }
    }

    /// Whether a notice is of this topic, whoever's it is.
    fn holds(&self, notice: &Notice) -> bool {
        match (self, &notice.news) {
            (Self::Calls, News::Call { .. }) => true,
            (Self::Call(session), News::Call { .. }) | (Self::Transcripts(session), News::Segment(_)) => {
                notice.session == Some(*session)
            }
            (Self::TranscriptsDialled(number), News::Segment(segment)) => segment.dialled.as_ref() == Some(number),
            (Self::System, News::Link(_) | News::Alarm(_)) | (Self::Notifications, News::Quota(_)) => true,
            (Self::Notifications, News::Call { event, .. }) => matches!(
                event,
                CallEventKind::RecordingReady { .. }
                    | CallEventKind::RecordingFailed { .. }
                    | CallEventKind::TapFailed { .. }
            ),
            _ => false,
        }
    }
}

/// A topic of a tenant; of all that are in reach, where none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscribed {
    pub(crate) topic: Topic,
    pub(crate) tenant: Option<TenantId>,
}

impl Subscribed {
    /// Whether a notice is to be sent.
    pub(crate) fn wants(&self, notice: &Notice) -> bool {
        self.topic.holds(notice) && self.tenant.is_none_or(|tenant| notice.tenant == Some(tenant))
    }
}

/// A text that names no topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no topic; there are {all}", all = TopicKind::ALL.map(TopicKind::pattern).join(", "))]
pub(crate) struct UnknownTopic(String);

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<Self, UnknownTopic> {
        let unknown = || UnknownTopic(text.chars().take(NUMBER_CHARS_MAX).collect());
        let session = |id: &str| id.parse().map_err(|_| unknown());
        match text.split_once(':') {
            None => match text {
                "calls" => Ok(Self::Calls),
                "system" => Ok(Self::System),
                "notifications" => Ok(Self::Notifications),
                _ => Err(unknown()),
            },
            Some(("call", id)) => session(id).map(Self::Call),
            Some(("audio", rest)) => audio_of(rest).ok_or_else(unknown),
            Some(("transcripts", rest)) => match rest.strip_prefix("dialled:") {
                Some(number) if !number.is_empty() && number.chars().count() <= NUMBER_CHARS_MAX => {
                    Ok(Self::TranscriptsDialled(number.to_owned()))
                }
                Some(_) => Err(unknown()),
                None => session(rest).map(Self::Transcripts),
            },
            Some(_) => Err(unknown()),
        }
    }
}

/// The words of an audio topic.
const SIDES: [(&str, Side); 4] =
    [("caller", Side::Caller), ("callee", Side::Callee), ("both", Side::Both), ("mixed", Side::Mixed)];
const RATES: [(&str, Rate); 2] = [("8000", Rate::Hz8000), ("16000", Rate::Hz16000)];
const ENCODINGS: [(&str, SampleFormat); 2] = [("ulaw", SampleFormat::Ulaw), ("pcm16", SampleFormat::Pcm16)];

/// What stands behind `audio:`.
fn audio_of(text: &str) -> Option<Topic> {
    let mut parts = text.split(':');
    let session = parts.next()?.parse().ok()?;
    let spec = ListenSpec {
        side: meant(&SIDES, parts.next()?)?,
        rate: meant(&RATES, parts.next()?)?,
        samples: meant(&ENCODINGS, parts.next()?)?,
    };
    parts.next().is_none().then_some(Topic::Audio(session, spec))
}

fn meant<T: Copy>(words: &[(&str, T)], word: &str) -> Option<T> {
    words.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
}

fn word_of<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calls | Self::System | Self::Notifications => f.write_str(self.kind().pattern()),
            Self::Call(session) => write!(f, "call:{session}"),
            Self::Transcripts(session) => write!(f, "transcripts:{session}"),
            Self::TranscriptsDialled(number) => write!(f, "transcripts:dialled:{number}"),
            Self::Audio(session, spec) => {
                let (side, encoding) = (word_of(&SIDES, spec.side), word_of(&ENCODINGS, spec.samples));
                write!(f, "audio:{session}:{side}:{}:{encoding}", spec.rate.hz())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use aimg_cluster::{AlarmNews, LinkNews, LinkSide, QuotaNews, Segment};
    use aimg_core::{Direction, Timestamp};

    use super::*;

    const SESSION: &str = "0198c1de-1111-7000-8000-000000000001";
    const OTHER: &str = "0198c1de-1111-7000-8000-000000000002";

    #[test]
    fn topics_are_read_as_they_are_written() {
        for text in ["calls", "system", "notifications", "transcripts:dialled:+49 89 1234:5"] {
            assert_eq!(text.parse::<Topic>().unwrap().to_string(), text);
        }
        let audio = ["caller:8000:ulaw", "both:16000:pcm16"].map(|form| format!("audio:{SESSION}:{form}"));
        for text in [format!("call:{SESSION}"), format!("transcripts:{SESSION}")].into_iter().chain(audio) {
            assert_eq!(text.parse::<Topic>().unwrap().to_string(), text);
        }
        for form in ["", ":caller", ":caller:8000", ":caller:44100:ulaw", ":caller:8000:ulaw:", ":who:8000:ulaw"] {
            assert!(format!("audio:{SESSION}{form}").parse::<Topic>().is_err(), "{form}");
        }
        let long = format!("transcripts:dialled:{}", "1".repeat(65));
        for text in ["", "call", "call:", "call:x", "transcripts", "transcripts:dialled:", "calls:x", "audio:", &long] {
            assert!(text.parse::<Topic>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_topic_holds_its_own_news_and_no_other() {
        let call = |event| News::Call { event, call: None };
        let segment = News::Segment(Segment {
            dialled: Some("4711".into()),
            speaker: Direction::Caller,
            start_ms: 0,
            end_ms: 1,
            text: "hello".into(),
            confidence: None,
            is_final: true,
        });
        let alarm = AlarmNews { alarm: "ami_down", severity: "critical", says: "", is_raised: true, reason: None };
        let link = LinkNews { pbx_name: "office".into(), side: LinkSide::Ami, is_up: true, state: "up", reason: None };
        let news = [
            (call(CallEventKind::HookEntered), vec!["calls", "call"]),
            (call(CallEventKind::RecordingReady { part: 0, complete: true }), vec!["calls", "call", "notifications"]),
            (call(CallEventKind::TapFailed { reason: String::new() }), vec!["calls", "call", "notifications"]),
            (segment, vec!["transcripts", "dialled"]),
            (News::Link(link), vec!["system"]),
            (News::Alarm(alarm), vec!["system"]),
            (News::Quota(QuotaNews { quota: "storage_bytes", max: 1, used: 2 }), vec!["notifications"]),
        ];
        let (session, other): (SessionId, SessionId) = (SESSION.parse().unwrap(), OTHER.parse().unwrap());
        let topics = [
            ("calls", Topic::Calls),
            ("call", Topic::Call(session)),
            ("call of another", Topic::Call(other)),
            ("transcripts", Topic::Transcripts(session)),
            ("transcripts of another", Topic::Transcripts(other)),
            ("dialled", Topic::TranscriptsDialled("4711".into())),
            ("dialled another", Topic::TranscriptsDialled("471".into())),
            ("system", Topic::System),
            ("notifications", Topic::Notifications),
        ];
        let tenant: TenantId = SESSION.parse().unwrap();
        for (news, expected) in news {
            let notice =
                Notice { tenant: Some(tenant), pbx: None, session: Some(session), at: Timestamp::default(), news };
            let held: Vec<_> = topics.iter().filter(|(_, t)| t.holds(&notice)).map(|(name, _)| *name).collect();
            assert_eq!(held, expected, "{notice:?}");
            for (of, wants) in [(None, true), (Some(tenant), true), (Some(OTHER.parse().unwrap()), false)] {
                let topic = topics.iter().find(|(name, _)| *name == expected[0]).unwrap().1.clone();
                assert_eq!(Subscribed { topic, tenant: of }.wants(&notice), wants, "{of:?}");
            }
        }
    }
}
