//! Every input that the fuzzers keep still holds. New ones are found by cargo-fuzz: see `docs/fuzzing.md`.

use std::fs;
use std::path::Path;

/// Files of all corpora together, so that the repository stays small.
const FILES_MAX: usize = 200;

type Target = fn(&[u8]);

/// The targets by the names of their corpora; `settings` is the program's own test, since a program has no library.
const TARGETS: [(&str, Target); 4] = [
    ("ami_frame", aimg_ami::fuzz::fuzz_frame),
    ("ari_event", |data| drop(aimg_ari::Event::parse(data))),
    ("rtp_flow", aimg_rtp::fuzz::fuzz_flow),
    ("spool_file", aimg_spool::fuzz::fuzz_file),
];

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    fs::read_dir(dir).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn every_kept_input_holds() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "the corpus of {name} is empty");
        inputs.iter().for_each(|input| target(input));
    }
}

#[test]
fn corpora_are_small() {
    let names = TARGETS.iter().map(|(name, _)| *name).chain(["settings"]);
    let files: usize = names.map(|name| corpus(name).len()).sum();
    assert!(files <= FILES_MAX, "{files} files: minimise them as docs/fuzzing.md says");
}
