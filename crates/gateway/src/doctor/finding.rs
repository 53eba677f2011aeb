//! What a diagnosis says: one sentence a finding, how bad it is, and what to write where.

use serde::Serialize;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// This machine: kernel limits, directories, disks.
    Machine,
    /// The release of Asterisk and its known defects.
    Version,
    /// The Manager Interface: reachable, permitted, set up well.
    Ami,
    /// The REST Interface: the same.
    Ari,
    /// Modules of Asterisk.
    Modules,
    /// Limits of Asterisk's HTTP server.
    Http,
    /// What drives Asterisk's clock for audio.
    Timing,
    /// The hook in the dialplan.
    Dialplan,
    /// Ports and addresses of the captured audio.
    Media,
    /// The way of real packets from Asterisk to a shard.
    Route,
}

impl Area {
    /// In lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Version => "version",
            Self::Ami => "ami",
            Self::Ari => "ari",
            Self::Modules => "modules",
            Self::Http => "http",
            Self::Timing => "timing",
            Self::Dialplan => "dialplan",
            Self::Media => "media",
            Self::Route => "route",
        }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Calls are captured; something can be better, or could not be seen.
    Warning,
    /// Calls will not be captured, or not whole.
    Problem,
}

impl Level {
    /// `ok`, `warning` or `problem`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// The kind of a problem, for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Asterisk cannot be reached, lacks something, or its packets do not come.
    Unavailable,
    /// Asterisk does not let us: credentials, classes, a read-only user.
    Refused,
    /// A directory of this machine cannot be written.
    NotWritable,
}

/// What makes it right: exact lines, and where they belong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cure {
    /// A file and its section, or what else is to be done with the lines.
    pub place: String,
    /// The lines.
    pub lines: Vec<String>,
    /// The command that makes them count; nothing where none is needed.
    pub then: Option<String>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub area: Area,
    /// How bad it is.
    pub level: Level,
    /// One sentence, without a full stop.
    pub what: String,
    /// How to make it right.
    pub cure: Option<Cure>,
    /// What kind of problem it is; only where it is one.
    pub failure: Option<Failure>,
}

impl Finding {
    /// As it should be.
    pub(crate) fn ok(area: Area, what: impl Into<String>) -> Self {
        Self { area, level: Level::Ok, what: what.into(), cure: None, failure: None }
    }

    /// Could be better.
    pub(crate) fn warning(area: Area, what: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::ok(area, what) }
    }

    /// Keeps calls from being captured.
    pub(crate) fn problem(area: Area, failure: Failure, what: impl Into<String>) -> Self {
        Self { level: Level::Problem, failure: Some(failure), ..Self::ok(area, what) }
    }

    /// With lines to write into a place.
    pub(crate) fn cured_by(
        mut self,
        place: impl Into<String>,
        lines: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.cure = Some(Cure { place: place.into(), lines: lines.into_iter().map(Into::into).collect(), then: None });
        self
    }

    /// With the command after that.
    pub(crate) fn then(mut self, command: impl Into<String>) -> Self {
        if let Some(cure) = &mut self.cure {
            cure.then = Some(command.into());
        }
        self
    }
}
