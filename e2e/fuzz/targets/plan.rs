//! Targets `cib` (a file from anywhere) and `model` (a cluster out of choices).

#[path = "../../../src/policy/tests/laws/generate/mod.rs"]
mod generate;

use generate::Mood;
use policy::Model;

/// A file from anywhere: read, planned, and the plan judged.
pub(crate) fn cib(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match ::cib::read(text) {
        Ok(cib) => drop(planned(&cib.model)),
        Err(error) => {
            let lines = text.lines().count().max(1);
            assert!(error.line >= 1 && error.line as usize <= lines + 1, "{error}");
            assert!(!error.message.is_empty());
        }
    }
}

/// A cluster out of choices: always valid, so it has to be planned, and soundly.
pub(crate) fn model(data: &[u8]) {
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
