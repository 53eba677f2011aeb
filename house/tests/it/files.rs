//! What every source file keeps to.

use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 1_000;

/// The Rust sources of all crates, with their text.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    let mut dirs: Vec<PathBuf> = ["crates", "house", "testbed"].iter().map(|d| root.join(d)).collect();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(found.len() > 50, "the sources are not where they were");
    found
}

#[test]
fn files_tell_one_story() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines: split it", path.display());
    }
}

#[test]
fn files_begin_with_what_they_are_for() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{} does not say what it is for", path.display());
    }
}

#[test]
fn files_have_names_that_tell_something() {
    for (path, _) in sources() {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let says_nothing = ["utils", "util", "helpers", "helper", "common", "manager", "misc"];
        assert!(!says_nothing.contains(&stem), "{} has a name that tells nothing", path.display());
    }
}

#[test]
fn unsafe_code_is_in_media_only() {
    // Put together here, so that this file does not find itself.
    let (block, allow) = (["unsafe", " {"].concat(), ["allow(", "unsafe_code"].concat());
    for (path, text) in sources() {
        let elsewhere = !path.to_str().unwrap().contains("crates/media/");
        let found = text.contains(&block) || text.contains(&allow);
        assert!(!(elsewhere && found), "{} has unsafe code", path.display());
    }
}
