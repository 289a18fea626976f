//! What is fuzzed: one line of the table for each target, one function that panics when a promise is broken.
//!
//! `cargo fuzz run -s none --fuzz-dir e2e/fuzz NAME -- -max_total_time=600`, from the repository's root. What was found
//! once lies in `corpus/NAME` and is run by `cargo test -p e2e --test fuzz_corpus`. A new target needs its line here, a
//! `[[bin]]` entry with its file of five lines, and a folder in `corpus`. docs/fuzzing.md says what each one promises.

mod bmc;
mod cluster;
mod frame;
mod local;
mod net;
mod object;
mod parts;
mod plan;
mod redfish;
mod ring;
mod script;
mod state;

/// Takes any bytes.
pub(crate) type Target = fn(&[u8]);

/// All targets by name.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("bmc", bmc::run),
    ("cib", plan::cib),
    ("cluster", cluster::run),
    ("frame", frame::run),
    ("local", local::run),
    ("model", plan::model),
    ("net", net::run),
    ("object", object::run),
    ("parts", parts::run),
    ("redfish", redfish::run),
    ("ring", ring::run),
    ("state", state::run),
];

/// Runs the target called `name`.
pub(crate) fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.expect("every binary and every folder has its line in the table");
    target(data);
}
