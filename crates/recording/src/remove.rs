//! A recording and its certificate, removed.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Component, Path};

use crate::Error;

/// Removes the recording at `wav`, relative to the recordings directory, and its certificate. What is gone already is gone.
///
/// A path that leads out of the directory is refused: it comes from a database that others may have written to.
pub fn remove(recordings_dir: &Path, wav: &str) -> Result<(), Error> {
    let relative = Path::new(wav);
    let path = recordings_dir.join(relative);
    let is_below = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if !is_below || relative.extension().is_none_or(|e| e != "wav") {
        let refused = io::Error::new(ErrorKind::InvalidInput, "it is no path of a recording");
        return Err(Error::io("remove the recording", &path)(refused));
    }
    for file in [path.with_extension("json"), path] {
        match fs::remove_file(&file) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io("remove the recording", &file)(e)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_go_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, recordings) = (dir.path().join("recordings/t/2026"), dir.path().join("recordings"));
        fs::create_dir_all(&inside).unwrap();
        for name in ["a.wav", "a.json", "a.1.wav", "a.1.json", "b.json"] {
            fs::write(inside.join(name), name).unwrap();
        }
        fs::write(dir.path().join("x.wav"), "x").unwrap();
        remove(&recordings, "t/2026/a.wav").unwrap();
        remove(&recordings, "t/2026/a.wav").unwrap();
        let mut left: Vec<_> =
            fs::read_dir(&inside).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["a.1.json", "a.1.wav", "b.json"]);
        let outside = dir.path().join("x.wav").display().to_string();
        for bad in ["../x.wav", "t/../../x.wav", &outside, "t/2026/b.json", "", "t"] {
            assert!(remove(&recordings, bad).is_err(), "{bad}");
        }
        assert!(dir.path().join("x.wav").exists() && inside.join("b.json").exists());
    }
}
