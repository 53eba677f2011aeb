//! Which crate may know which: arrows point down only.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The floors of the house, from the ground up. A crate may depend on crates of lower floors and on no neighbour.
const FLOORS: [&[&str]; 8] = [
    &["aimg-core"],
    &["aimg-audio", "aimg-rtp", "aimg-session", "aimg-spool", "aimg-tls"],
    &[
        "aimg-ami",
        "aimg-ari",
        "aimg-cluster",
        "aimg-media",
        "aimg-outbound",
        "aimg-recording",
        "aimg-speech",
        "aimg-store",
    ],
    &["aimg-accounts", "aimg-gateway", "aimg-webhooks"],
    &["aimg-api"],
    &["aimg"],
    &["aimg-testbed", "aimg-house"],
    &["aimg-bench"],
];

/// Pure crates: no socket, no clock, no runtime. Their clippy.toml bans the calls; this bans the crates.
const PURE: [&str; 5] = ["aimg-core", "aimg-audio", "aimg-rtp", "aimg-session", "aimg-spool"];
const IMPURE: [&str; 8] = ["tokio", "reqwest", "socket2", "libc", "memmap2", "sea-orm", "rand", "tracing"];

/// The normal dependencies of each crate of the workspace.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
    let normal = |p: &cargo_metadata::Package| {
        p.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal).map(|d| d.name.clone()).collect()
    };
    metadata.packages.iter().map(|p| (p.name.to_string(), normal(p))).collect()
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

#[test]
fn arrows_point_down_only() {
    let dependencies = dependencies();
    for (name, known) in &dependencies {
        let own = floor(name)
            .unwrap_or_else(|| panic!("{name} is on no floor: say where it belongs, here and in ARCHITECTURE.md"));
        for other in known.iter().filter(|d| dependencies.contains_key(*d)) {
            let below = floor(other).unwrap();
            assert!(below < own, "{name} (floor {own}) must not know {other} (floor {below})");
        }
    }
}

#[test]
fn every_named_crate_exists() {
    let dependencies = dependencies();
    for name in FLOORS.concat() {
        assert!(dependencies.contains_key(name), "{name} has a floor but does not exist");
    }
}

#[test]
fn pure_crates_know_no_socket_and_no_clock() {
    let dependencies = dependencies();
    for name in PURE {
        for impure in IMPURE {
            assert!(!dependencies[name].contains(impure), "{name} must not know {impure}");
        }
    }
}

#[test]
fn the_product_does_not_know_its_testbed() {
    for (name, known) in dependencies().iter().filter(|(name, _)| !["aimg-testbed", "aimg-bench"].contains(&&***name)) {
        assert!(!known.contains("aimg-testbed"), "{name} must not know aimg-testbed");
    }
}
