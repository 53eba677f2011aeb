//! Whose a channel of a shared PBX is: rules that look at what the channel shows, in one order that a person can follow.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::TenantId;

/// The most rules of one PBX. Each of its channels is held against all of them at worst.
pub const RULES_MAX: usize = 1_000;

/// The most bytes of what a rule compares with: longer than any name that Asterisk takes.
const TEXT_BYTES_MAX: usize = 128;

/// Channels that Asterisk puts in another one's place are named after it.
const STAND_INS: [&str; 2] = ["AsyncGoto/", "Surrogate/"];

/// What of a channel a rule looks at. The order is that of trust: what only whoever configures the PBX can set comes before
/// what a caller chooses. A caller's number and SIP headers are no such thing, so no rule looks at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact {
    /// The `tenantid` of its PJSIP endpoint (Asterisk 18.25, 20.10, 21.5, 22.0).
    Tenantid,
    /// A channel variable that `channelvars` of manager.conf and ari.conf tells, as `NAME=VALUE`.
    Variable,
    /// Its technology and endpoint: `PJSIP/acme-trunk` of `PJSIP/acme-trunk-0000002a`.
    Endpoint,
    /// The dialplan context in which it appeared.
    Context,
    /// Its account code.
    Accountcode,
    /// The number that it dialled.
    Dialled,
    /// The argument after `tap` in the dialplan's `Stasis(<app>,tap,<argument>)`. It comes later than all else, so it speaks
    /// for a channel of which nothing else says whose it is, and must not contradict where something does.
    Hook,
}

impl Fact {
    /// All of them, in the order in which they are looked at.
    pub const ALL: [Self; 7] =
        [Self::Tenantid, Self::Variable, Self::Endpoint, Self::Context, Self::Accountcode, Self::Dialled, Self::Hook];

    /// The word for it in a rule.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hook => "hook",
            Self::Tenantid => "tenantid",
            Self::Variable => "variable",
            Self::Endpoint => "endpoint",
            Self::Context => "context",
            Self::Accountcode => "accountcode",
            Self::Dialled => "dialled",
        }
    }
}

/// What a channel shows to rules. What is empty is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChannelFacts {
    /// The argument after `tap` of the hook that it waits in.
    pub hook: String,
    /// The `tenantid` of its endpoint.
    pub tenantid: String,
    /// Names and values of its variables, as far as they are told.
    pub variables: Vec<(String, String)>,
    /// Its name, such as `PJSIP/acme-trunk-0000002a`.
    pub channel: String,
    /// The dialplan context.
    pub context: String,
    /// The account code.
    pub accountcode: String,
    /// The dialled number.
    pub dialled: String,
}

impl ChannelFacts {
    /// The technology and endpoint of its name, without the number that Asterisk gives each channel.
    pub fn endpoint(&self) -> &str {
        let name = STAND_INS.iter().find_map(|of| self.channel.strip_prefix(of)).unwrap_or(&self.channel);
        let whole = name.strip_suffix(";1").or_else(|| name.strip_suffix(";2")).unwrap_or(name);
        match whole.rsplit_once('-') {
            Some((endpoint, n)) if n.len() == 8 && n.bytes().all(|b| b.is_ascii_hexdigit()) => endpoint,
            _ => whole,
        }
    }
}

/// What a channel has to show to be a tenant's, written as `context:from-acme`; with `*` at the end, whatever begins so.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Claim {
    fact: Fact,
    text: String,
    /// Whatever begins with the text.
    is_prefix: bool,
}

impl Claim {
    /// What of a channel it looks at.
    pub fn fact(&self) -> Fact {
        self.fact
    }

    /// What it compares with: the part of its text after the first colon.
    pub fn pattern(&self) -> String {
        format!("{}{}", self.text, if self.is_prefix { "*" } else { "" })
    }

    /// Whether a channel shows it.
    pub fn holds(&self, channel: &ChannelFacts) -> bool {
        match self.fact {
            Fact::Hook => self.fits(&channel.hook),
            Fact::Tenantid => self.fits(&channel.tenantid),
            Fact::Variable => channel.variables.iter().any(|(name, value)| self.fits(&format!("{name}={value}"))),
            Fact::Endpoint => self.fits(channel.endpoint()),
            Fact::Context => self.fits(&channel.context),
            Fact::Accountcode => self.fits(&channel.accountcode),
            Fact::Dialled => self.fits(&channel.dialled),
        }
    }

    fn fits(&self, shown: &str) -> bool {
        if self.is_prefix { shown.starts_with(&self.text) } else { shown == self.text }
    }

    /// The whole before a beginning, a longer beginning before a shorter one: the more exact rule is asked first.
    fn rank(&self) -> (Fact, bool, Reverse<usize>, &str) {
        (self.fact, self.is_prefix, Reverse(if self.is_prefix { self.text.len() } else { 0 }), &self.text)
    }
}

impl PartialOrd for Claim {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Claim {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.fact.name(), self.pattern())
    }
}

impl FromStr for Claim {
    type Err = ClaimError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let unknown = || ClaimError::Unknown(s.to_owned());
        let (word, pattern) = s.split_once(':').ok_or_else(unknown)?;
        let fact = Fact::ALL.into_iter().find(|fact| fact.name() == word).ok_or_else(unknown)?;
        let (text, is_prefix) = pattern.strip_suffix('*').map_or((pattern, false), |text| (text, true));
        let is_named = match fact {
            Fact::Variable => text.find('=').is_some_and(|at| at > 0 && at + 1 < text.len()),
            Fact::Endpoint => text.find('/').is_some_and(|at| at > 0 && at + 1 < text.len()),
            _ => !text.is_empty(),
        };
        if !is_named {
            return Err(ClaimError::NoValue { rule: s.to_owned(), fact });
        }
        if text.len() > TEXT_BYTES_MAX || text.contains('*') || text.chars().any(char::is_control) {
            return Err(ClaimError::BadText(s.to_owned()));
        }
        Ok(Self { fact, text: text.to_owned(), is_prefix })
    }
}

impl TryFrom<String> for Claim {
    type Error = ClaimError;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<Claim> for String {
    fn from(claim: Claim) -> Self {
        claim.to_string()
    }
}

/// A text that is no rule.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// It looks at nothing that there is.
    #[error(
        "`{0}` is no rule of attribution: use hook:ARGUMENT, tenantid:ID, variable:NAME=VALUE, endpoint:TECH/NAME, context:NAME, accountcode:CODE or dialled:NUMBER, each with or without * at its end"
    )]
    Unknown(String),
    /// It would hold for every channel, or for none.
    #[error("`{rule}` names no {}: write what the channel shows, such as {}", fact.name(), example(*fact))]
    NoValue {
        /// The text.
        rule: String,
        /// What it looks at.
        fact: Fact,
    },
    /// What it compares with can be in no channel.
    #[error("`{0}` is no rule of attribution: use up to 128 bytes without control characters, and * at the end alone")]
    BadText(String),
}

const fn example(fact: Fact) -> &'static str {
    match fact {
        Fact::Hook => "hook:acme",
        Fact::Tenantid => "tenantid:acme",
        Fact::Variable => "variable:TENANT=acme",
        Fact::Endpoint => "endpoint:PJSIP/acme-*",
        Fact::Context => "context:from-acme",
        Fact::Accountcode => "accountcode:acme",
        Fact::Dialled => "dialled:+493012345*",
    }
}

/// Rules that cannot be those of one PBX.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttributionError {
    /// Two rules say the same of two tenants, or twice of one.
    #[error("rule `{claim}` is there twice, for tenants {} and {}", tenants[0], tenants[1])]
    Conflict {
        /// What both look for.
        claim: Box<Claim>,
        /// Whose channels these would be.
        tenants: [TenantId; 2],
    },
    /// There are too many.
    #[error("a PBX has at most {RULES_MAX} rules; use * at the end of one for what begins alike")]
    TooMany,
}

/// Whose a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This tenant's.
    Tenant(TenantId),
    /// No rule claims it.
    Nobody,
    /// The hook was given an argument that no rule knows, or that names another tenant than the other rules do: whoever wrote
    /// it meant a tenant, and nobody may guess which.
    WrongArgument,
}

/// A rule that was held against a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// What it looks for.
    pub rule: Claim,
    /// Whose channels these are.
    pub tenant: TenantId,
    /// Whether the channel shows it.
    pub holds: bool,
}

/// The rules of one PBX: the first that holds for a channel says whose it is.
///
/// Their order is that of [`Fact::ALL`]; of the same fact the whole comes before a beginning, and a longer beginning before a
/// shorter one. So two rules that hold for one channel never leave it open who wins, and the order in which they were made
/// does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribution(Vec<(Claim, TenantId)>);

impl Attribution {
    /// Sorts the rules; refuses two that look for the same.
    pub fn new(rules: impl IntoIterator<Item = (Claim, TenantId)>) -> Result<Self, AttributionError> {
        let mut rules: Vec<_> = rules.into_iter().collect();
        if rules.len() > RULES_MAX {
            return Err(AttributionError::TooMany);
        }
        rules.sort();
        if let Some([(claim, one), (_, other)]) = rules.array_windows().find(|[a, b]| a.0 == b.0) {
            return Err(AttributionError::Conflict { claim: Box::new(claim.clone()), tenants: [*one, *other] });
        }
        Ok(Self(rules))
    }

    /// The rules, in the order in which they are asked.
    pub fn rules(&self) -> impl Iterator<Item = (&Claim, TenantId)> {
        self.0.iter().map(|(claim, tenant)| (claim, *tenant))
    }

    /// Whose a channel is.
    pub fn owner(&self, channel: &ChannelFacts) -> Owner {
        match [false, true].map(|by_hook| self.claiming(channel, by_hook)) {
            [Some(tenant), _] if channel.hook.is_empty() => Owner::Tenant(tenant),
            [None, _] if channel.hook.is_empty() => Owner::Nobody,
            [None, Some(tenant)] => Owner::Tenant(tenant),
            [Some(tenant), Some(named)] if tenant == named => Owner::Tenant(tenant),
            _ => Owner::WrongArgument,
        }
    }

    /// The rules that were held against a channel until it was clear whose it is. Of those that hold, the first decides; where
    /// the hook has an argument there can be a second, for that.
    pub fn looked_at(&self, channel: &ChannelFacts) -> Vec<Looked> {
        let mut looked = Vec::new();
        for by_hook in [false, true] {
            if by_hook && channel.hook.is_empty() {
                break;
            }
            for (rule, tenant) in self.rules().filter(|(rule, _)| (rule.fact == Fact::Hook) == by_hook) {
                let holds = rule.holds(channel);
                looked.push(Looked { rule: rule.clone(), tenant, holds });
                if holds {
                    break;
                }
            }
        }
        looked
    }

    fn claiming(&self, channel: &ChannelFacts, by_hook: bool) -> Option<TenantId> {
        let mut asked = self.rules().filter(|(claim, _)| (claim.fact == Fact::Hook) == by_hook);
        asked.find(|(claim, _)| claim.holds(channel)).map(|(_, tenant)| tenant)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn tenant(n: u128) -> TenantId {
        TenantId::from_uuid(Uuid::from_u128(n))
    }

    fn claim(text: &str) -> Claim {
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    }

    fn rules(of: &[(&str, u128)]) -> Attribution {
        Attribution::new(of.iter().map(|(text, n)| (claim(text), tenant(*n)))).unwrap()
    }

    fn channel() -> ChannelFacts {
        ChannelFacts {
            hook: String::new(),
            tenantid: "t".into(),
            variables: vec![("OTHER".into(), "x".into()), ("TENANT".into(), "v".into())],
            channel: "PJSIP/acme-trunk-0000002a".into(),
            context: "from-acme".into(),
            accountcode: "a".into(),
            dialled: "4930123".into(),
        }
    }

    #[test]
    fn rules_are_read_and_written_alike() {
        for text in [
            "hook:acme",
            "tenantid:acme",
            "variable:TENANT=acme",
            "endpoint:PJSIP/acme-*",
            "context:from:acme",
            "accountcode:acme",
            "dialled:+4930*",
        ] {
            assert_eq!(claim(text).to_string(), text);
            let json = serde_json::to_string(&claim(text)).unwrap();
            assert_eq!(serde_json::from_str::<Claim>(&json).unwrap(), claim(text), "{json}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_cure() {
        let long = format!("context:{}", "x".repeat(TEXT_BYTES_MAX + 1));
        for (text, cure) in [
            ("", "context:NAME"),
            ("acme", "context:NAME"),
            ("caller:100", "context:NAME"),
            ("context:", "context:from-acme"),
            ("context:*", "context:from-acme"),
            ("endpoint:acme", "endpoint:PJSIP/acme-*"),
            ("endpoint:PJSIP/*", "endpoint:PJSIP/acme-*"),
            ("variable:TENANT", "variable:TENANT=acme"),
            ("variable:TENANT=*", "variable:TENANT=acme"),
            ("context:a*b", "at the end alone"),
            ("context:a**", "at the end alone"),
            ("context:a\nb", "control characters"),
            (&long, "128 bytes"),
        ] {
            let error = text.parse::<Claim>().unwrap_err().to_string();
            assert!(error.contains(cure), "{text}: {error}");
        }
    }

    #[test]
    fn the_order_is_that_of_trust_and_then_of_exactness() {
        let ordered = [
            "tenantid:t",
            "variable:TENANT=v",
            "endpoint:PJSIP/acme-trunk",
            "endpoint:PJSIP/acme-*",
            "endpoint:PJSIP/a*",
            "context:from-acme",
            "accountcode:a",
            "dialled:4930123",
            "dialled:49301*",
            "dialled:49*",
            "hook:acme",
        ];
        let mut left: Vec<(&str, u128)> = ordered.iter().copied().zip(1..).collect();
        left.reverse();
        // Each rule wins over all behind it, in whatever order they were made; the last one waits for a hook.
        for (n, text) in (1..).zip(ordered) {
            let attribution = rules(&left);
            assert_eq!(attribution.rules().next().map(|(claim, _)| claim.to_string()).as_deref(), Some(text));
            let hook = if text == "hook:acme" { "acme".to_owned() } else { String::new() };
            assert_eq!(attribution.owner(&ChannelFacts { hook, ..channel() }), Owner::Tenant(tenant(n)), "{text}");
            left.pop();
        }
        assert_eq!(rules(&left).owner(&channel()), Owner::Nobody);
    }

    #[test]
    fn what_a_channel_does_not_show_claims_nothing() {
        let all = ["tenantid:t*", "variable:TENANT=v*", "endpoint:P/a*", "context:f*", "accountcode:a*", "dialled:4*"];
        for text in all {
            assert_eq!(rules(&[(text, 1)]).owner(&ChannelFacts::default()), Owner::Nobody, "{text}");
        }
        assert_eq!(rules(&[("variable:OTHER=v", 1)]).owner(&channel()), Owner::Nobody, "another variable's value");
    }

    #[test]
    fn an_argument_is_never_guessed_at() {
        let attribution = rules(&[("hook:acme", 1), ("hook:rival", 2), ("context:from-acme", 1)]);
        let acme = Owner::Tenant(tenant(1));
        for (context, hook, owner, held) in [
            ("from-acme", "", acme, &["context:from-acme"][..]),
            ("from-acme", "acme", acme, &["context:from-acme", "hook:acme"]),
            ("from-acme", "rival", Owner::WrongArgument, &["context:from-acme", "hook:rival"]),
            ("from-acme", "acne", Owner::WrongArgument, &["context:from-acme"]),
            ("trunk", "acme", acme, &["hook:acme"]),
            ("trunk", "acne", Owner::WrongArgument, &[]),
            ("trunk", "", Owner::Nobody, &[]),
        ] {
            let channel = ChannelFacts { hook: hook.to_owned(), context: context.to_owned(), ..channel() };
            assert_eq!(attribution.owner(&channel), owner, "{context} {hook}");
            let looked = attribution.looked_at(&channel);
            let holds: Vec<String> = looked.iter().filter(|l| l.holds).map(|l| l.rule.to_string()).collect();
            assert_eq!(holds, held, "{context} {hook}");
        }
    }

    #[test]
    fn rules_that_conflict_are_refused_with_both_tenants() {
        let twice = [claim("context:a"), claim("dialled:1"), claim("context:a")].into_iter().zip([2, 3, 1].map(tenant));
        let conflict = Attribution::new(twice).unwrap_err();
        let tenants = [tenant(1), tenant(2)];
        assert_eq!(conflict, AttributionError::Conflict { claim: Box::new(claim("context:a")), tenants });
        let many = (0..=RULES_MAX).map(|n| (claim(&format!("dialled:{n}")), tenant(1)));
        assert_eq!(Attribution::new(many), Err(AttributionError::TooMany));
    }

    #[test]
    fn the_endpoint_is_the_name_without_its_number() {
        for (name, endpoint) in [
            ("PJSIP/acme-trunk-0000002a", "PJSIP/acme-trunk"),
            ("PJSIP/acme-trunk", "PJSIP/acme-trunk"),
            ("Local/200@inside-00000001;2", "Local/200@inside"),
            ("AsyncGoto/PJSIP/acme-00000001", "PJSIP/acme"),
            ("Surrogate/PJSIP/acme-00000001", "PJSIP/acme"),
            ("IAX2/acme-123", "IAX2/acme-123"),
            ("", ""),
        ] {
            assert_eq!(ChannelFacts { channel: name.to_owned(), ..ChannelFacts::default() }.endpoint(), endpoint);
        }
    }
}
