//! Transcripts of files that were made a while ago, on the disk: asking again costs nothing.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::file::Transcript;

/// Transcripts that are kept at once; the oldest go first.
const TRANSCRIPTS_MAX: usize = 256;
/// How much of a file is read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// A directory of transcripts. Only its owner may read them.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
    age_max: Duration,
}

/// What a transcript was made of: the audio, and all that decides what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Of a file, and of whatever else decides, as words.
    pub fn of<'a>(path: &Path, what_decides: impl IntoIterator<Item = &'a str>) -> io::Result<Self> {
        let (mut file, mut sum, mut block) = (File::open(path)?, Sha256::new(), vec![0; BLOCK_BYTES]);
        loop {
            match file.read(&mut block)? {
                0 => break,
                read => sum.update(&block[..read]),
            }
        }
        // The audio is hashed by itself: no word can be taken for a part of it, or of another word.
        let mut all = Sha256::new_with_prefix(sum.finalize());
        for word in what_decides {
            all.update((word.len() as u64).to_le_bytes());
            all.update(word);
        }
        Ok(Self(all.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}

impl Cache {
    /// In a directory, which need not be there yet. Transcripts older than `age_max` are not given, and removed.
    pub fn new(directory: impl Into<PathBuf>, age_max: Duration) -> Self {
        Self { directory: directory.into(), age_max }
    }

    /// The transcript that was kept, if it is young enough. One that cannot be read is as good as none.
    pub fn find(&self, key: &Key, now: SystemTime) -> Option<Transcript> {
        let path = self.path(key);
        if is_older(&fs::metadata(&path).ok()?, self.age_max, now) {
            return None;
        }
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Keeps a transcript, and removes those that are too old or too many. Without an age nothing is kept.
    pub fn keep(&self, key: &Key, transcript: &Transcript, now: SystemTime) -> io::Result<()> {
        if !self.age_max.is_zero() {
            fs::create_dir_all(&self.directory)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(&serde_json::to_vec(transcript)?)?;
            file.persist(self.path(key))?;
        }
        self.clear(now)
    }

    fn clear(&self, now: SystemTime) -> io::Result<()> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let mut kept = Vec::new();
        for entry in entries {
            let entry = entry?;
            // Another process may have been faster.
            let Ok(about) = entry.metadata() else { continue };
            if is_older(&about, self.age_max, now) {
                let _ = fs::remove_file(entry.path());
            } else {
                kept.push((about.modified()?, entry.path()));
            }
        }
        kept.sort();
        for (_, path) in kept.iter().take(kept.len().saturating_sub(TRANSCRIPTS_MAX)) {
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.directory.join(format!("{}.json", key.0))
    }
}

fn is_older(about: &fs::Metadata, age_max: Duration, now: SystemTime) -> bool {
    let age = |since| now.duration_since(since).unwrap_or_else(|ahead| ahead.duration());
    // What was written while we looked at the clock is a little from the future; much of it is a clock that was set.
    about.modified().map_or(true, |since| age(since) >= age_max)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn transcript(provider: &str) -> Transcript {
        Transcript { provider: provider.to_owned(), channels: 1, duration_ms: 0, segments: Vec::new() }
    }

    #[test]
    fn a_transcript_is_kept_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let audio = dir.path().join("audio");
        fs::write(&audio, "audio").unwrap();
        let cache = Cache::new(dir.path().join("cache"), HOUR);
        let key = Key::of(&audio, ["local", "en"]).unwrap();
        // Looked at before it is written, as others may do.
        let now = SystemTime::now() - Duration::from_secs(1);
        assert_eq!(cache.find(&key, now), None);
        cache.keep(&key, &transcript("local"), now).unwrap();
        assert_eq!(cache.find(&key, now), Some(transcript("local")));
        assert_eq!(fs::metadata(cache.path(&key)).unwrap().permissions().mode() & 0o777, 0o600);
        for other in [now + HOUR + Duration::from_secs(60), now - HOUR] {
            assert_eq!(cache.find(&key, other), None);
        }

        fs::write(cache.path(&key), "half of").unwrap();
        assert_eq!(cache.find(&key, now), None);
        cache.clear(now + HOUR + Duration::from_secs(60)).unwrap();
        assert_eq!(fs::read_dir(&cache.directory).unwrap().count(), 0);

        let none = Cache::new(dir.path().join("none"), Duration::ZERO);
        none.keep(&key, &transcript("local"), now).unwrap();
        assert!(!none.directory.exists());
    }

    #[test]
    fn whatever_decides_makes_another_key() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        fs::write(&one, "one").unwrap();
        fs::write(&two, "two").unwrap();
        let key = |path: &Path, words: &[&str]| Key::of(path, words.iter().copied()).unwrap();
        let plain = key(&one, &["ab", "c"]);
        assert_eq!(plain, key(&one, &["ab", "c"]));
        for other in [key(&two, &["ab", "c"]), key(&one, &["a", "bc"]), key(&one, &["ab"]), key(&one, &["ab", "c", ""])]
        {
            assert_ne!(plain, other);
        }
    }

    #[test]
    fn the_oldest_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path(), HOUR);
        let now = SystemTime::now();
        let path = |n: usize| cache.path(&Key(n.to_string()));
        for n in 0..TRANSCRIPTS_MAX + 3 {
            let file = File::create(path(n)).unwrap();
            file.set_modified(now - Duration::from_secs(n as u64)).unwrap();
        }
        cache.clear(now).unwrap();
        let left = (0..TRANSCRIPTS_MAX + 3).filter(|&n| path(n).exists());
        assert!(left.eq(0..TRANSCRIPTS_MAX));
    }
}
