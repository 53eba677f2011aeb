//! Which calls of a tenant are captured.

use std::fmt;
use std::str::FromStr;

use aimg_core::CallDirection;
use regex::Regex;

/// A tenant's rule, written as `all`, `none`, `context:NAME[,NAME…]`, `dialled:REGEX`, `direction:inbound|outbound`.
#[derive(Clone, Debug)]
pub enum CaptureRule {
    /// Every call.
    All,
    /// No call.
    None,
    /// Calls whose first channel entered the dialplan in one of these contexts.
    Context(Vec<String>),
    /// Calls whose dialled number matches.
    Dialled(Regex),
    /// Calls of one direction.
    Direction(CallDirection),
}

/// What a rule may look at; known with the first Newchannel.
#[derive(Clone, Copy, Debug)]
pub struct CallFacts<'a> {
    /// The dialplan context in which the first channel appeared.
    pub context: &'a str,
    /// The number it dialled.
    pub dialled: &'a str,
    /// Whether it came in over a trunk.
    pub direction: CallDirection,
}

impl CaptureRule {
    /// Whether a call is captured.
    pub fn wants(&self, call: &CallFacts<'_>) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Context(names) => names.iter().any(|n| n == call.context),
            Self::Dialled(pattern) => pattern.is_match(call.dialled),
            Self::Direction(direction) => *direction == call.direction,
        }
    }
}

/// A text that is no rule.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// None of the forms.
    #[error(
        "`{0}` is no capture rule: use all, none, context:NAME[,NAME], dialled:REGEX, direction:inbound or direction:outbound"
    )]
    Unknown(String),
    /// The pattern does not compile.
    #[error("the pattern of `dialled:` does not compile: {0}")]
    Pattern(#[from] regex::Error),
}

impl FromStr for CaptureRule {
    type Err = RuleError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let unknown = || RuleError::Unknown(s.to_owned());
        match s.split_once(':') {
            None if s == "all" => Ok(Self::All),
            None if s == "none" => Ok(Self::None),
            Some(("context", names)) => {
                let names: Vec<String> = names.split(',').map(|n| n.trim().to_owned()).collect();
                if names.iter().any(String::is_empty) { Err(unknown()) } else { Ok(Self::Context(names)) }
            }
            Some(("dialled", pattern)) if !pattern.is_empty() => Ok(Self::Dialled(Regex::new(pattern)?)),
            Some(("direction", "inbound")) => Ok(Self::Direction(CallDirection::Inbound)),
            Some(("direction", "outbound")) => Ok(Self::Direction(CallDirection::Outbound)),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for CaptureRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::None => f.write_str("none"),
            Self::Context(names) => write!(f, "context:{}", names.join(",")),
            Self::Dialled(pattern) => write!(f, "dialled:{pattern}"),
            Self::Direction(direction) => write!(f, "direction:{}", direction.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: CallFacts<'_> =
        CallFacts { context: "from-trunk", dialled: "+4930123", direction: CallDirection::Inbound };

    #[test]
    fn rules_decide_by_their_one_fact() {
        for (rule, wanted) in [
            ("all", true),
            ("none", false),
            ("context:from-trunk,other", true),
            ("context:other", false),
            (r"dialled:^\+49", true),
            ("dialled:^555$", false),
            ("direction:inbound", true),
            ("direction:outbound", false),
        ] {
            let parsed: CaptureRule = rule.parse().unwrap();
            assert_eq!(parsed.wants(&CALL), wanted, "{rule}");
            assert_eq!(parsed.to_string(), rule);
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_forms_that_exist() {
        for text in ["", "some", "context:", "context:a,,b", "dialled:", "direction:both", "all:"] {
            let error = text.parse::<CaptureRule>().unwrap_err().to_string();
            assert!(error.contains("context:NAME"), "{error}");
        }
        assert!("dialled:(".parse::<CaptureRule>().unwrap_err().to_string().contains("does not compile"));
    }
}
