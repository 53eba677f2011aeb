//! Who calls, who is called, and what they do: the scenarios of `testbed/sipp/`.

use std::fmt;
use std::time::Duration;

use crate::{Error, Namespace, Sipp, Speech};

/// A context of the testbed's dialplan: the way of capture a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// Dials the callee; the gateway is not in the dialplan.
    TapAmi,
    /// Enters the gateway's Stasis app, then dials the callee.
    TapHook,
    /// Answers at once and plays speech; nobody is dialled.
    AnswerAtOnce,
    /// Connects calls in the ways of a PBX; there with [`crate::Options::with_call_features`].
    CallFeatures,
}

impl Context {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::TapAmi, Self::TapHook, Self::AnswerAtOnce, Self::CallFeatures];

    /// The context's name, which is also that of the endpoint whose calls arrive there.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TapAmi => "tap-ami",
            Self::TapHook => "tap-hook",
            Self::AnswerAtOnce => "answer-at-once",
            Self::CallFeatures => "call-features",
        }
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Context {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|c| c.name() == s).ok_or_else(|| format!("`{s}` is no context of the testbed"))
    }
}

/// One or more callers, all doing the same.
#[derive(Clone, Debug)]
pub struct Caller {
    sip_port: u16,
    number: String,
    /// Whom it calls as: an endpoint of the Asterisk.
    endpoint: String,
    calls: u16,
    calls_per_second: u16,
    /// From the answer to the BYE, or from the last sign of progress to the CANCEL.
    patience: Duration,
    cancels: bool,
    speech: Option<Speech>,
    namespace: Option<Namespace>,
}

impl Caller {
    /// Calls the callee that listens on the port `number`, by way of a context of the Asterisk that listens on `sip_port`.
    /// Talks for 3 s.
    pub fn new(sip_port: u16, context: Context, number: u16) -> Self {
        Self {
            sip_port,
            number: number.to_string(),
            endpoint: context.name().to_owned(),
            calls: 1,
            calls_per_second: 100,
            patience: Duration::from_secs(3),
            cancels: false,
            speech: None,
            namespace: None,
        }
    }

    /// So many calls, side by side.
    #[must_use]
    pub fn calls(mut self, calls: u16) -> Self {
        self.calls = calls;
        self
    }

    /// Calls as this endpoint instead, and so by its context.
    #[must_use]
    pub fn by(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = endpoint.into();
        self
    }

    /// Calls this number instead.
    #[must_use]
    pub fn dials(mut self, number: impl Into<String>) -> Self {
        self.number = number.into();
        self
    }

    /// How fast they begin: 100 a second unless told otherwise.
    #[must_use]
    pub fn calls_per_second(mut self, rate: u16) -> Self {
        self.calls_per_second = rate;
        self
    }

    /// Hangs up so long after the answer; zero hangs up at once.
    #[must_use]
    pub fn talks_for(mut self, talk: Duration) -> Self {
        self.patience = talk;
        self.cancels = false;
        self
    }

    /// Gives up so long after the last sign of progress. The callee must not answer before, or the call counts as failed.
    #[must_use]
    pub fn cancels_after(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self.cancels = true;
        self
    }

    /// What each caller says, over and over; [`Speech::caller`] unless told otherwise.
    #[must_use]
    pub fn says(mut self, speech: Speech) -> Self {
        self.speech = Some(speech);
        self
    }

    /// Calls from the network namespace that the Asterisk is in.
    #[must_use]
    pub fn inside(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }

    /// Starts to call.
    pub fn start(self) -> Result<Sipp, Error> {
        let scenario =
            if self.cancels { include_str!("../sipp/uac-cancel.xml") } else { include_str!("../sipp/uac.xml") };
        let speech = match self.speech {
            Some(speech) => speech,
            None => Speech::caller()?,
        };
        let scenario = scenario
            .replace("{{from}}", &self.endpoint)
            .replace("{{talk_ms}}", &self.patience.as_millis().max(1).to_string());
        let mut arguments = vec![
            format!("127.0.0.1:{}", self.sip_port),
            "-s".to_owned(),
            self.number,
            "-r".to_owned(),
            self.calls_per_second.to_string(),
        ];
        if self.cancels {
            // Progress may come at any moment, also while the CANCEL is being sent, where no scenario can expect it.
            arguments.extend(["-default_behaviors", "all,-abortunexp"].map(str::to_owned));
        }
        Sipp::start("caller", &scenario, &speech, self.calls, &arguments, self.namespace.as_ref())
    }
}

/// One or more callees on one port, all doing the same.
#[derive(Clone, Debug)]
pub struct Callee {
    calls: u16,
    ring: Duration,
    refuses: bool,
    speech: Option<Speech>,
    namespace: Option<Namespace>,
}

impl Default for Callee {
    fn default() -> Self {
        Self { calls: 1, ring: Duration::from_millis(1), refuses: false, speech: None, namespace: None }
    }
}

impl Callee {
    /// Answers one call at once, and speaks until it is hung up.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes so many calls, side by side, and ends after them.
    #[must_use]
    pub fn calls(mut self, calls: u16) -> Self {
        self.calls = calls;
        self
    }

    /// Rings so long before it answers or refuses. A caller's CANCEL meanwhile counts as a call that went well.
    #[must_use]
    pub fn rings_for(mut self, ring: Duration) -> Self {
        self.ring = ring.max(Duration::from_millis(1));
        self
    }

    /// Is busy (486) after it has rung.
    #[must_use]
    pub fn refuses(mut self) -> Self {
        self.refuses = true;
        self
    }

    /// What each callee says, over and over; [`Speech::callee`] unless told otherwise.
    #[must_use]
    pub fn says(mut self, speech: Speech) -> Self {
        self.speech = Some(speech);
        self
    }

    /// Listens in the network namespace that the Asterisk is in.
    #[must_use]
    pub fn inside(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }

    /// Listens before it returns. The number to call is [`Sipp::port`].
    pub fn start(self) -> Result<Sipp, Error> {
        let scenario =
            if self.refuses { include_str!("../sipp/uas-reject.xml") } else { include_str!("../sipp/uas.xml") };
        let speech = match self.speech {
            Some(speech) => speech,
            None => Speech::callee()?,
        };
        let scenario = scenario.replace("{{ring_ms}}", &self.ring.as_millis().to_string());
        Sipp::start("callee", &scenario, &speech, self.calls, &[], self.namespace.as_ref())
    }
}
