//! What is fuzzed: one line of the table for each target, one function that panics when a promise is broken.
//!
//! `cargo fuzz run -s none --fuzz-dir e2e/fuzz NAME -- -max_total_time=600`, from the repository's root. What was found
//! once lies in `corpus/NAME` and is run by `cargo test -p e2e --test fuzz_corpus`. A new target needs its line here, a
//! `[[bin]]` entry with its file of five lines, and a folder in `corpus`.

#[path = "../../src/policy/tests/laws/generate/mod.rs"]
mod generate;

use generate::Mood;
use policy::Model;

/// Takes any bytes.
pub(crate) type Target = fn(&[u8]);

/// All targets by name.
pub(crate) const TARGETS: &[(&str, Target)] = &[("cib", cib), ("model", model)];

/// Runs the target called `name`.
pub(crate) fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.expect("every binary and every folder has its line in the table");
    target(data);
}

/// A file from anywhere: read, planned, and the plan judged.
fn cib(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match cib::read(text) {
        Ok(cib) => drop(planned(&cib.model)),
        Err(error) => {
            let lines = text.lines().count().max(1);
            assert!(error.line >= 1 && error.line as usize <= lines + 1, "{error}");
            assert!(!error.message.is_empty());
        }
    }
}

/// A cluster out of choices: always valid, so it has to be planned, and soundly.
fn model(data: &[u8]) {
    let (calm, rest) =
        data.split_first().map_or((true, data), |(first, rest)| (first % 4 == 0, rest));
    let mood = if calm { Mood::Calm } else { Mood::Wild };
    let model = generate::model(rest, mood);
    let plan = planned(&model).expect("a valid model of what the engine plans");
    let found = policy::check::check(&model, &plan);
    assert!(found.is_empty(), "{found:#?}");
}

/// The plan; the same one again for the same model.
fn planned(model: &Model) -> Option<policy::Plan> {
    let plan = policy::schedule(model).ok();
    assert_eq!(plan, policy::schedule(model).ok(), "the plan is no function of the model");
    plan
}
