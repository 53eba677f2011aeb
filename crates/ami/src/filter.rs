//! Which events Asterisk sends at all.

/// A rule that Asterisk keeps for a connection. An event is sent when it fits one of the rules of kind *only* (or there is
/// none of them), and none of kind *except*. Items of lists are always sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFilter(String);

impl EventFilter {
    /// Sends the events of these names and, apart from further filters of this kind, no others. A name is made of letters,
    /// digits and `_`; other characters are left out.
    pub fn only_events<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self(named(names))
    }

    /// Does not send the events of these names.
    pub fn except_events<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self(format!("!{}", named(names)))
    }

    /// Sends events whose text, from `Event: ` to the last header, has a match of this extended regular expression (POSIX).
    pub fn only(regex: &str) -> Self {
        Self(regex.to_owned())
    }

    /// Does not send events whose text has a match of this extended regular expression (POSIX).
    pub fn except(regex: &str) -> Self {
        Self(format!("!{regex}"))
    }

    /// The rule as the action `Filter` takes it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The end of the line belongs to it, so that `Hangup` is not `HangupRequest`; it cannot be written in a header but as a
/// class of characters.
fn named<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let plain = |name: &str| name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let names: Vec<String> = names.into_iter().map(plain).collect();
    format!("^Event: ({})[[:cntrl:]]", names.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_as_asterisk_reads_them() {
        for (filter, expected) in [
            (EventFilter::only_events(["Hangup", "Newchannel"]), "^Event: (Hangup|Newchannel)[[:cntrl:]]"),
            (EventFilter::except_events(["VarSet"]), "!^Event: (VarSet)[[:cntrl:]]"),
            (EventFilter::only_events(["Odd.*\r\nName"]), "^Event: (OddName)[[:cntrl:]]"),
            (EventFilter::only("Channel: PJSIP/"), "Channel: PJSIP/"),
            (EventFilter::except("Channel: Snoop/"), "!Channel: Snoop/"),
        ] {
            assert_eq!(filter.as_str(), expected);
        }
    }
}
