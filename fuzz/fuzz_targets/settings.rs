//! A configuration file: TOML, then after a zero byte what stands in `.env`.

#![no_main]

// A program has no library to take them from.
#[allow(dead_code, unused_imports)]
#[path = "../../crates/aimg/src"]
mod aimg {
    pub(crate) mod settings;
}

use std::sync::LazyLock;

use aimg::settings;

static DIR: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir_in("/dev/shm").expect("/dev/shm is there"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (toml, dotenv) = match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[][..]),
    };
    let places = settings::Places {
        config: Some(DIR.path().join("aimg.toml")),
        config_defaults: Vec::new(),
        dotenv: DIR.path().join(".env"),
    };
    std::fs::write(DIR.path().join("aimg.toml"), toml).expect("/dev/shm is writable");
    std::fs::write(&places.dotenv, dotenv).expect("/dev/shm is writable");
    match settings::Settings::load(&places, []) {
        Ok(settings) => drop(settings.report().len()),
        Err(error) => drop(error.to_string()),
    }
});
