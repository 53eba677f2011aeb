//! Defects of Asterisk releases that touch captures. The whole table; keep it sorted by how much they hurt.
//!
//! A fix is named by the first release of each branch that has it. A branch that is not named has the fix when it is
//! newer than all that are, and never got it otherwise.

use std::fmt;

use aimg_core::Codec;

use super::finding::{Area, Failure, Finding};

/// The number of an Asterisk release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release {
    major: u16,
    minor: u16,
    patch: u16,
}

impl Release {
    /// Reads what Asterisk calls itself, such as `22.10.1`, `16.28.0~dfsg-0+deb11u4` or `certified/18.9-cert5`. Nothing for
    /// a build of a branch, such as `GIT-master-1a2b3c4`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("certified/").or_else(|| text.strip_prefix("certified-")).unwrap_or(text);
        let end = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
        let mut numbers = text[..end].trim_end_matches('.').split('.').map(str::parse);
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Self { major, minor, patch: numbers.next().and_then(Result::ok).unwrap_or(0) })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch > 0 { write!(f, ".{}", self.patch) } else { Ok(()) }
    }
}

/// Which captures an issue touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touches {
    /// Nothing can be captured.
    Everything,
    /// All of them, somewhat.
    Each,
    /// Those in one encoding.
    Encoded(Codec),
    /// None, for this reason.
    Nothing(&'static str),
}

/// One defect.
#[derive(Debug)]
pub(crate) struct KnownIssue {
    /// Number on Asterisk's tracker.
    id: &'static str,
    /// What happens.
    effect: &'static str,
    /// The first branch with what it is about.
    since: u16,
    /// The first releases without it, by branch; empty while it is open.
    fixed_in: &'static [(u16, u16)],
    touches: Touches,
    /// What helps short of an upgrade.
    relief: Option<&'static str>,
}

/// The table.
const KNOWN_ISSUES: &[KnownIssue] = &[
    KnownIssue {
        id: "no externalMedia",
        effect: "there are no external media channels, nothing can be captured",
        since: 0,
        fixed_in: &[(16, 6), (17, 1)],
        touches: Touches::Everything,
        relief: None,
    },
    KnownIssue {
        id: "#1757",
        effect: "Asterisk crashes when its RTP ports are used up",
        since: 0,
        fixed_in: &[],
        touches: Touches::Nothing("while the range of rtp.conf is wide enough, which is looked at"),
        relief: None,
    },
    KnownIssue {
        id: "#1638",
        effect: "memory leaks with each snoop and RTP channel",
        since: 0,
        fixed_in: &[(20, 18), (22, 8), (23, 2)],
        touches: Touches::Each,
        relief: Some("restart Asterisk from time to time (core restart when convenient)"),
    },
    KnownIssue {
        id: "#362",
        effect: "each ARI request may wait 200 ms: tap by AMI misses up to that much of a call that answers at once",
        since: 0,
        fixed_in: &[(18, 21), (20, 6), (21, 1)],
        touches: Touches::Each,
        relief: Some("tap by hook loses nothing: aimg pbx add … --tap hook"),
    },
    KnownIssue {
        id: "#801",
        effect: "ARI requests may still wait 200 ms",
        since: 0,
        fixed_in: &[(18, 25), (20, 10), (21, 5)],
        touches: Touches::Each,
        relief: Some("tap by hook loses nothing: aimg pbx add … --tap hook"),
    },
    KnownIssue {
        id: "ASTERISK-30252",
        effect: "snoops of one direction crackle",
        since: 0,
        fixed_in: &[(16, 30), (18, 16), (19, 8), (20, 1)],
        touches: Touches::Each,
        relief: None,
    },
    KnownIssue {
        id: "#394",
        effect: "audio asked for as slin comes as µ-law: every packet is thrown away",
        since: 0,
        fixed_in: &[(18, 21), (20, 6), (21, 1)],
        touches: Touches::Encoded(Codec::Slin),
        relief: Some("use another encoding: aimg pbx add … --codec ulaw"),
    },
    KnownIssue {
        id: "#851",
        effect: "snoops of both directions at once lose audio",
        since: 0,
        fixed_in: &[(20, 12), (21, 7), (22, 2)],
        touches: Touches::Nothing("aimg snoops each direction for itself"),
        relief: None,
    },
    KnownIssue {
        id: "#1384, #1587, #1643, #1785, #1941",
        effect: "chan_websocket crashes, hangs and makes noise",
        since: 20,
        fixed_in: &[(20, 20), (22, 10), (23, 4)],
        touches: Touches::Nothing("aimg takes audio by RTP"),
        relief: None,
    },
    KnownIssue {
        id: "#2089, #2078",
        effect: "AudioSocket calls fall silent and hold up ARI",
        since: 18,
        fixed_in: &[],
        touches: Touches::Nothing("aimg takes audio by RTP"),
        relief: None,
    },
];

impl KnownIssue {
    /// Whether a release has it.
    fn is_in(&self, release: Release) -> bool {
        let fixes = self.fixed_in;
        let unfixed = match fixes.iter().find(|(major, _)| *major == release.major) {
            Some((_, minor)) => release.minor < *minor,
            // A branch that ended before it was fixed there.
            None => fixes.is_empty() || fixes.iter().any(|(major, _)| *major > release.major),
        };
        release.major >= self.since && unfixed
    }

    fn finding(&self, release: Release, codec: Codec) -> Option<Finding> {
        let what = |more: &str| format!("Asterisk {release} has issue {}: {}{more}", self.id, self.effect);
        let found = match self.touches {
            Touches::Everything => Finding::problem(Area::Version, Failure::Unavailable, what("")),
            Touches::Each => Finding::warning(Area::Version, what("")),
            Touches::Encoded(touched) if touched == codec => {
                Finding::problem(Area::Version, Failure::Unavailable, what(""))
            }
            Touches::Encoded(_) => return None,
            Touches::Nothing(why) => return Some(Finding::ok(Area::Version, what(&format!("; no matter: {why}")))),
        };
        Some(found.cured_by(self.place(), self.relief))
    }

    fn place(&self) -> String {
        let fixed: Vec<String> = self.fixed_in.iter().map(|(major, minor)| format!("{major}.{minor}")).collect();
        match fixed.as_slice() {
            [] => "no release has a fix yet; meanwhile:".to_owned(),
            fixed if self.relief.is_some() => format!("upgrade Asterisk ({} or later), or:", fixed.join(", ")),
            fixed => format!("upgrade Asterisk ({} or later)", fixed.join(", ")),
        }
    }
}

/// What is known to be wrong with a release, as Asterisk tells its version, for captures in an encoding.
pub(crate) fn examine(version: &str, codec: Codec) -> Vec<Finding> {
    let Some(release) = Release::parse(version) else {
        let what = format!("Asterisk calls itself `{version}`, which is no release: its known issues cannot be told");
        return vec![Finding::warning(Area::Version, what)];
    };
    let mut found = vec![Finding::ok(Area::Version, format!("Asterisk {version}"))];
    let touching = KNOWN_ISSUES.iter().filter(|issue| issue.is_in(release));
    found.extend(touching.filter_map(|issue| issue.finding(release, codec)));
    found
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn touching(version: &str, codec: Codec, level: Level) -> Vec<&'static str> {
        let release = Release::parse(version).unwrap();
        let has = |issue: &&KnownIssue| issue.is_in(release);
        let at = |issue: &&KnownIssue| issue.finding(release, codec).is_some_and(|f| f.level == level);
        KNOWN_ISSUES.iter().filter(has).filter(at).map(|issue| issue.id).collect()
    }

    #[test]
    fn releases_are_read_as_asterisk_writes_them() {
        let release = |major, minor, patch| Some(Release { major, minor, patch });
        for (text, expected) in [
            ("22.10.1", release(22, 10, 1)),
            ("16.28.0~dfsg-0+deb11u4", release(16, 28, 0)),
            ("22.10.1~dfsg+~cs6.15.60671435-1", release(22, 10, 1)),
            ("18.9-cert5", release(18, 9, 0)),
            ("certified/18.9-cert5", release(18, 9, 0)),
            ("20.0.0-rc1", release(20, 0, 0)),
            ("GIT-master-1a2b3c4", None),
            ("22", None),
            ("", None),
            ("99999999.1", None),
        ] {
            assert_eq!(Release::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_came_later_is_not_in_an_older_release() {
        assert_eq!(touching("16.28.0", Codec::Ulaw, Level::Ok), ["#1757", "#851"]);
        assert_eq!(touching("18.26.4", Codec::Ulaw, Level::Ok), ["#1757", "#851", "#2089, #2078"]);
        assert_eq!(touching("22.10.1", Codec::Ulaw, Level::Ok), ["#1757", "#2089, #2078"]);
    }

    #[test]
    fn each_release_has_the_issues_that_were_not_fixed_in_its_branch() {
        let cases: [(&str, &[&str]); 9] = [
            ("16.28.0", &["#1638", "#362", "#801", "ASTERISK-30252"]),
            ("16.30.0", &["#1638", "#362", "#801"]),
            // Branch 19 ended before #362 was fixed anywhere, but has the fix of the crackling.
            ("19.8.1", &["#1638", "#362", "#801"]),
            ("17.9.0", &["#1638", "#362", "#801", "ASTERISK-30252"]),
            ("18.21.0", &["#1638", "#801"]),
            ("20.18.0", &[]),
            ("21.5.0", &["#1638"]),
            ("22.7.0", &["#1638"]),
            ("23.4.1", &[]),
        ];
        for (version, expected) in cases {
            assert_eq!(touching(version, Codec::Ulaw, Level::Warning), expected, "{version}");
            assert_eq!(touching(version, Codec::Ulaw, Level::Problem), [""; 0], "{version}");
        }
    }

    #[test]
    fn what_captures_nothing_is_a_problem() {
        assert_eq!(touching("16.28.0", Codec::Slin, Level::Problem), ["#394"]);
        assert_eq!(touching("22.10.1", Codec::Slin, Level::Problem), [""; 0]);
        for old in ["13.38.3", "16.5.0", "17.0.0"] {
            assert_eq!(touching(old, Codec::Ulaw, Level::Problem), ["no externalMedia"], "{old}");
        }
    }

    #[test]
    fn each_touching_issue_says_what_to_do() {
        for issue in KNOWN_ISSUES {
            let found = issue.finding(Release { major: 16, minor: 0, patch: 0 }, Codec::Slin).unwrap();
            assert!(found.level == Level::Ok || found.cure.is_some(), "{}", issue.id);
        }
        let [finding] = &examine("GIT-master-1a2b3c4", Codec::Ulaw)[..] else { panic!("one finding") };
        assert_eq!(finding.level, Level::Warning);
    }
}
