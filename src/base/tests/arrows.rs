//! The arrows of the house (docs/ARCHITECTURE.md): who may import whom, what pure crates may depend on, and that
//! they say what makes them pure. Reads `cargo metadata` of this workspace.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use serde_json::Value;

/// An importer may use what stands right of it, nothing else. `*` is everything.
const ARROWS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("totem", &["base"]),
    ("quorum", &["base"]),
    ("policy", &["base"]),
    ("fencing", &["base"]),
    ("lifecycle", &["base"]),
    ("cluster", &["policy", "quorum", "fencing", "lifecycle", "base"]),
    ("api", &["base"]),
    ("compile", &["api", "policy", "base"]),
    ("cib", &["policy", "base"]),
    ("bmcsim", &["base"]),
    ("drivers", &["lifecycle", "fencing", "base"]),
    ("devapi", &["api", "base"]),
    ("controller", &["compile", "api", "policy", "base"]),
    (
        "agent",
        &[
            "compile",
            "cluster",
            "totem",
            "quorum",
            "policy",
            "fencing",
            "lifecycle",
            "drivers",
            "api",
            "base",
        ],
    ),
    (
        "sim",
        &[
            "base",
            "totem",
            "quorum",
            "policy",
            "fencing",
            "lifecycle",
            "cluster",
            "compile",
            "api",
            "controller",
        ],
    ),
    ("cli", &["*"]),
    ("e2e", &["*"]),
];

/// Crates without sockets, clocks or randomness of their own (DESIGN.md section 5).
const PURE: &[&str] = &["base", "totem", "quorum", "policy", "fencing", "lifecycle", "cluster"];

/// What a pure crate may use from outside the house.
const PURE_MAY_USE: &[&str] = &["serde", "thiserror", "tracing", "indexmap", "postcard"];

struct Package {
    root: PathBuf,
    /// (name, is a dev-dependency)
    dependencies: Vec<(String, bool)>,
}

#[test]
fn every_crate_imports_only_what_its_arrow_allows() {
    let house = house();
    let mut wrong = Vec::new();
    for (name, package) in &house {
        let Some((_, allowed)) = ARROWS.iter().find(|(importer, _)| importer == name) else {
            wrong.push(format!(
                "{name}: has no row in ARROWS; add it here and in docs/ARCHITECTURE.md"
            ));
            continue;
        };
        for (dependency, dev) in &package.dependencies {
            let ours = house.contains_key(dependency);
            if ours && !dev && !allowed.contains(&"*") && !allowed.contains(&dependency.as_str()) {
                wrong.push(format!("{name} -> {dependency}: not an arrow of the house"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_crates_depend_on_nothing_that_acts() {
    let house = house();
    let mut wrong = Vec::new();
    for name in PURE {
        let package = &house[*name];
        for (dependency, dev) in &package.dependencies {
            let jiff_in_policy = *name == "policy" && dependency == "jiff";
            if !dev
                && !house.contains_key(dependency)
                && !jiff_in_policy
                && !PURE_MAY_USE.contains(&dependency.as_str())
            {
                wrong
                    .push(format!("{name} -> {dependency}: pure crates use {PURE_MAY_USE:?} only"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_crates_cannot_name_a_clock_or_a_socket() {
    let house = house();
    for name in PURE {
        let root =
            fs::read_to_string(house[*name].root.join("lib.rs")).expect("every crate has a lib.rs");
        assert!(root.contains("#![no_std]"), "{name}: lib.rs must say #![no_std]");
        assert!(root.contains("#![forbid(unsafe_code)]"), "{name}: lib.rs must forbid unsafe code");
    }
}

fn house() -> BTreeMap<String, Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| {
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            let dependencies = package["dependencies"]
                .as_array()
                .expect("dependencies")
                .iter()
                .map(|d| (text(&d["name"]), d["kind"].as_str() == Some("dev")))
                .collect();
            let root = manifest.parent().expect("a manifest lies in a folder").to_owned();
            (text(&package["name"]), Package { root, dependencies })
        })
        .collect()
}

#[test]
fn the_drawings_name_files_that_exist() {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut wrong = Vec::new();
    for page in ["docs/ARCHITECTURE.md", "docs/failure.md"] {
        let text = fs::read_to_string(root.join(page)).expect(page);
        let named = text.split(|c: char| !c.is_ascii_alphanumeric() && !"/._-".contains(c));
        let mut files =
            named.filter(|word| word.starts_with("src/") && word.ends_with(".rs")).peekable();
        assert!(files.peek().is_some(), "{page} names no file: the test looks for the wrong words");
        wrong.extend(files.filter(|f| !root.join(f).exists()).map(|f| format!("{page}: {f}")));
    }
    assert!(wrong.is_empty(), "moved or gone, correct the page:\n{}", wrong.join("\n"));
}
