//! Where settings are set: a TOML file, `.env`, the environment. Gathers the texts and remembers their origin.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problem;
use super::table::{ALL, About};

/// What our environment variables begin with, but for the few whose names come from elsewhere.
const PREFIX: &str = "AIMG_";
/// Variables of ours that are arguments of a command (`pbx add`), and where the testbed keeps its Asterisk.
const NO_SETTINGS: [&str; 3] = ["AIMG_AMI_SECRET", "AIMG_ARI_PASSWORD", "AIMG_CACHE"];

/// How many letters a key may be off for a suggestion.
const TYPOS_MAX: usize = 3;

/// The files that are looked at.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The TOML file that was asked for; it must be there.
    pub(crate) config: Option<PathBuf>,
    /// Where a TOML file may be when none was asked for; the first that is there is read.
    pub(crate) config_defaults: Vec<PathBuf>,
    /// The file of environment variables; it may be there.
    pub(crate) dotenv: PathBuf,
}

impl Places {
    /// The usual ones: `./aimg.toml`, else `/etc/aimg/aimg.toml`; and `./.env`.
    pub(crate) fn usual(config: Option<PathBuf>) -> Self {
        Self { config, config_defaults: vec!["aimg.toml".into(), "/etc/aimg/aimg.toml".into()], dotenv: ".env".into() }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// The TOML file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// `.env`.
    DotEnv,
    /// The environment.
    Environment,
}

impl Origin {
    /// The place in words, for one who has to change the value; `env` is the setting's variable.
    pub(super) fn place(&self, env: &str) -> String {
        match self {
            Self::Default | Self::File { .. } => self.to_string(),
            Self::DotEnv => format!("{env} in .env"),
            Self::Environment => format!("{env} in the environment"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::DotEnv => f.write_str(".env"),
            Self::Environment => f.write_str("environment"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A setting's text and where it was found.
pub(super) struct Found {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// All that was found.
#[derive(Default)]
pub(super) struct Gathered {
    /// By key.
    pub(super) found: BTreeMap<&'static str, Found>,
    /// Variables that look like ours and are not.
    pub(super) strangers: Vec<String>,
    pub(super) problems: Vec<Problem>,
}

/// Looks at all places; what is looked at later wins.
pub(super) fn gather(places: &Places, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Gathered {
    let mut gathered = Gathered::default();
    gathered.read_config(places);
    gathered.read_dotenv(&places.dotenv);
    gathered.read_environment(environment);
    gathered
}

impl Gathered {
    fn read_config(&mut self, places: &Places) {
        let path = places.config.as_ref().or_else(|| places.config_defaults.iter().find(|path| path.exists()));
        let Some(path) = path else { return };
        match std::fs::read_to_string(path) {
            Ok(text) => self.read_toml(path, &text),
            Err(source) => self.problems.push(Problem::Unreadable { path: path.clone(), source }),
        }
    }

    fn read_toml(&mut self, path: &Path, text: &str) {
        let origin = |offset| Origin::File { path: path.to_owned(), line: line_of(text, offset) };
        match DeTable::parse(text) {
            Ok(table) => self.read_table("", table.get_ref(), &origin),
            Err(e) => {
                let place = origin(e.span().map_or(0, |span| span.start)).to_string();
                self.problems.push(Problem::NotToml { place, message: e.message().to_owned() });
            }
        }
    }

    fn read_table(&mut self, prefix: &str, table: &DeTable<'_>, origin: &impl Fn(usize) -> Origin) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let origin_here = origin(name.span().start);
            match (value.get_ref(), ALL.iter().find(|about| about.key == key)) {
                (DeValue::Table(inner), None) => self.read_table(&format!("{key}."), inner, origin),
                (_, None) => {
                    let suggestion = nearest(&key);
                    self.problems.push(Problem::UnknownKey { key, place: origin_here.to_string(), suggestion });
                }
                (value, Some(about)) => match text_of(value) {
                    Some(text) => self.set(about, text, origin_here),
                    None => self.problems.push(Problem::Value {
                        key: about.key,
                        value: value.type_str().to_owned(),
                        place: origin_here.to_string(),
                        why: "not of a type it takes".to_owned(),
                        allowed: about.allowed,
                    }),
                },
            }
        }
    }

    fn read_dotenv(&mut self, path: &Path) {
        let lines = match dotenvy::from_path_iter(path) {
            Ok(lines) => lines,
            Err(e) if e.not_found() => return,
            Err(e) => return self.problems.push(dotenv_problem(path, e)),
        };
        for line in lines {
            match line {
                Ok((name, value)) => self.set_variable(&name, value, Origin::DotEnv),
                Err(e) => self.problems.push(dotenv_problem(path, e)),
            }
        }
    }

    fn read_environment(&mut self, environment: impl IntoIterator<Item = (OsString, OsString)>) {
        for (name, value) in environment {
            // Ours are ASCII; a name that is not even text is nobody's typo.
            let Some(name) = name.to_str() else { continue };
            match (value.into_string(), ALL.iter().find(|about| about.env == name)) {
                (Ok(value), _) => self.set_variable(name, value, Origin::Environment),
                (Err(_), Some(about)) => self.problems.push(Problem::NotUtf8 { name: about.env }),
                (Err(_), None) => {}
            }
        }
    }

    fn set_variable(&mut self, name: &str, value: String, origin: Origin) {
        match ALL.iter().find(|about| about.env == name) {
            // `NAME=` is how a compose file or a shell leaves a variable out.
            Some(_) if value.is_empty() => {}
            Some(about) => self.set(about, value, origin),
            None if name.starts_with(PREFIX) && !NO_SETTINGS.contains(&name) => self.strangers.push(name.to_owned()),
            None => {}
        }
    }

    fn set(&mut self, about: &About, text: String, origin: Origin) {
        self.found.insert(about.key, Found { text, origin });
    }
}

/// The text of a plain value or of a list of texts; a table, a float or a date is none.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string()),
        DeValue::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(Spanned::get_ref).map(DeValue::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn dotenv_problem(path: &Path, e: dotenvy::Error) -> Problem {
    let place = match &e {
        dotenvy::Error::LineParse(line, _) => dotenv_line(path, line),
        _ => None,
    };
    match e {
        dotenvy::Error::Io(source) => Problem::Unreadable { path: path.to_owned(), source },
        _ => Problem::NotDotEnv { place: place.unwrap_or_else(|| path.display().to_string()) },
    }
}

/// Where in the file the text is that could not be read; dotenvy tells the text alone.
fn dotenv_line(path: &Path, broken: &str) -> Option<String> {
    let text: String = std::fs::read_to_string(path).ok()?;
    let first = broken.lines().next()?.trim();
    let line = text.lines().position(|line| line.trim() == first)?;
    Some(format!("{}:{}", path.display(), line + 1))
}

/// The line of the byte at `offset`, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

/// The setting whose key, or whose key's last word, is most like `key`; none when nothing is like it.
fn nearest(key: &str) -> Option<&'static str> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let distances = |candidate: &str| {
        let whole = strsim::damerau_levenshtein(key, candidate);
        // A key in the wrong section is as near as one with a letter wrong; of two that are, the one in the likelier section.
        (whole.min(1 + strsim::damerau_levenshtein(&last(key), &last(candidate))), whole)
    };
    let ((distance, _), nearest) = ALL.iter().map(|about| (distances(about.key), about.key)).min()?;
    let far = TYPOS_MAX.min(last(key).len() / 2);
    (distance <= far.max(1)).then_some(nearest)
}
