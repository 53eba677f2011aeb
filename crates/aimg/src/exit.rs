//! What the program's exit code says; the table is in `aimg --help`.

use aimg_gateway::doctor::Failure;
use aimg_media::Error as Media;
use aimg_recording::Error as Recording;
use aimg_speech::file::FileError;
use aimg_speech::models::ModelError;
use aimg_store::Error as Store;

use crate::commands::WorkerEnded;
use crate::settings::SettingsError;

/// Wrong usage, or a setting with a value that is not allowed.
pub(crate) const USAGE: u8 = 64;
const DATA: u8 = 65;
const NO_SUCH_THING: u8 = 66;
const UNAVAILABLE: u8 = 69;
pub(crate) const DEFECT: u8 = 70;
const CANNOT_CREATE: u8 = 73;
const IO: u8 = 74;
const TRY_AGAIN: u8 = 75;
const REFUSED: u8 = 77;
const NEWER: u8 = 78;

/// The exit code of an error, by the first cause that has one.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(of_cause).unwrap_or(DEFECT)
}

/// Whether an exit code says that the program ended by its own decision, and not of a defect.
pub(crate) fn is_deliberate(code: u8) -> bool {
    code == 0 || (code != DEFECT && (USAGE..=NEWER).contains(&code))
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if cause.is::<SettingsError>()
        || cause.is::<aimg_ari::ConfigError>()
        || cause.is::<Usage>()
        || cause.is::<aimg_tls::Error>()
    {
        return Some(USAGE);
    }
    if let Some(WorkerEnded(code)) = cause.downcast_ref::<WorkerEnded>() {
        return Some(*code);
    }
    if let Some(e) = cause.downcast_ref::<Media>() {
        return Some(of_media(e));
    }
    if let Some(e) = cause.downcast_ref::<aimg_api::Error>() {
        return Some(of_api(e));
    }
    if let Some(e) = cause.downcast_ref::<Store>() {
        return Some(of_store(e));
    }
    if let Some(e) = cause.downcast_ref::<aimg_accounts::Error>() {
        return Some(match e {
            aimg_accounts::Error::Store(e) => of_store(e),
            aimg_accounts::Error::WeakPassword(_) => USAGE,
            _ => DEFECT,
        });
    }
    if let Some(e) = cause.downcast_ref::<NotCaptured>() {
        return Some(match e.kind {
            Failure::Refused => REFUSED,
            Failure::NotWritable => CANNOT_CREATE,
            Failure::Unavailable => UNAVAILABLE,
        });
    }
    if let Some(e) = cause.downcast_ref::<Recording>() {
        return Some(of_recording(e));
    }
    if let Some(e) = cause.downcast_ref::<aimg_gateway::Error>() {
        return match e {
            aimg_gateway::Error::Refused { .. } => Some(REFUSED),
            aimg_gateway::Error::Unusable { .. } | aimg_gateway::Error::AriListen { .. } => Some(UNAVAILABLE),
            aimg_gateway::Error::Rule { .. } => Some(DATA),
            aimg_gateway::Error::Media(e) => Some(of_media(e)),
            aimg_gateway::Error::Recording(e) => Some(of_recording(e)),
            aimg_gateway::Error::Store(e) => Some(of_store(e)),
            _ => None,
        };
    }
    if let Some(e) = cause.downcast_ref::<aimg_ami::Error>() {
        return Some(if e.is_refusal() { REFUSED } else { UNAVAILABLE });
    }
    if let Some(e) = cause.downcast_ref::<aimg_ari::Error>() {
        return Some(match e {
            aimg_ari::Error::Denied { .. } => REFUSED,
            aimg_ari::Error::Config(_) => USAGE,
            _ => UNAVAILABLE,
        });
    }
    if let Some(e) = cause.downcast_ref::<aimg_speech::Error>() {
        return Some(of_speech(e));
    }
    if let Some(e) = cause.downcast_ref::<FileError>() {
        return Some(of_file(e));
    }
    if cause.is::<Interrupted>() {
        return Some(TRY_AGAIN);
    }
    if let Some(e) = cause.downcast_ref::<ModelError>() {
        return Some(of_model(e));
    }
    cause.is::<std::io::Error>().then_some(IO)
}

fn of_store(error: &Store) -> u8 {
    match error {
        Store::NewerDatabase { .. } => NEWER,
        Store::NotFound { .. } | Store::NoDatabase { .. } => NO_SUCH_THING,
        Store::NotWritable { .. } | Store::ReadOnly => CANNOT_CREATE,
        Store::Busy | Store::DiskFull | Store::Away { .. } | Store::Stale { .. } => TRY_AGAIN,
        Store::BadName(_)
        | Store::BadUserName(_)
        | Store::RoleAndTenant
        | Store::Conflict { .. }
        | Store::RuleTaken { .. }
        | Store::NotShared { .. }
        | Store::TooManyRules(_)
        | Store::InUse { .. }
        | Store::LastSuperAdmin { .. }
        | Store::EmptyKey { .. } => USAGE,
        Store::Denied { .. }
        | Store::KeyFileOpen { .. }
        | Store::NoKey
        | Store::Secret(_)
        | Store::OperatorOnly { .. } => REFUSED,
        Store::NotADatabase { .. } | Store::Damaged { .. } | Store::OlderDatabase { .. } => DATA,
        _ => IO,
    }
}

fn of_media(error: &Media) -> u8 {
    match error {
        Media::Config { .. } => USAGE,
        _ => UNAVAILABLE,
    }
}

fn of_api(error: &aimg_api::Error) -> u8 {
    match error {
        aimg_api::Error::PortInUse { .. } => UNAVAILABLE,
        aimg_api::Error::Bind { .. } => USAGE,
        _ => IO,
    }
}

fn of_recording(error: &Recording) -> u8 {
    match error {
        Recording::NotWritable { .. } => CANNOT_CREATE,
        Recording::SpoolTaken { .. } => TRY_AGAIN,
        _ => IO,
    }
}

fn of_speech(error: &aimg_speech::Error) -> u8 {
    match error.kind {
        aimg_speech::ErrorKind::Invalid => USAGE,
        aimg_speech::ErrorKind::Unauthorised => REFUSED,
        _ => UNAVAILABLE,
    }
}

fn of_file(error: &FileError) -> u8 {
    match error {
        FileError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => NO_SUCH_THING,
        FileError::TooLarge { .. } | FileError::Channels { .. } | FileError::Rate { .. } => USAGE,
        FileError::Wav { .. } => DATA,
        FileError::Provider(error) => of_speech(error),
        _ => IO,
    }
}

fn of_model(error: &ModelError) -> u8 {
    match error {
        ModelError::Name(_) => USAGE,
        ModelError::Unknown(_) | ModelError::Missing { .. } => NO_SUCH_THING,
        ModelError::Sum { .. } | ModelError::Length { .. } | ModelError::NotAModel(_) => DATA,
        ModelError::Fetch { .. } => UNAVAILABLE,
        _ => IO,
    }
}

/// Something that the user asked for cannot be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Ctrl-C, before there was a result.
#[derive(Debug, thiserror::Error)]
#[error("interrupted: nothing was changed")]
pub(crate) struct Interrupted;

/// What `aimg doctor` found.
#[derive(Debug, thiserror::Error)]
#[error("calls will not be captured, or not all of them: {problems} problem(s), see above")]
pub(crate) struct NotCaptured {
    /// How many.
    pub(crate) problems: usize,
    /// The kind that has to be mended first.
    pub(crate) kind: Failure,
}
