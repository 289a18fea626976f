//! Finds the suite and plans its cases.

use std::{fs, path::PathBuf};

use policy::{Model, Plan};

/// One case that has a plan.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) model: Model,
    pub(crate) plan: Plan,
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("PALISADE_SCHEDULER_SUITE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/scheduler-suite")),
        PathBuf::from,
    );
    folder.join("xml").is_dir().then_some(folder)
}

/// Every case that the engine plans, by name; `None`, said aloud, where there is no suite.
pub(crate) fn planned() -> Option<Vec<Case>> {
    let Some(folder) = folder() else {
        eprintln!(
            "NOT RUN: no scheduler suite beside the workspace; set PALISADE_SCHEDULER_SUITE to its folder"
        );
        return None;
    };
    let mut files: Vec<PathBuf> = fs::read_dir(folder.join("xml"))
        .expect("the suite's folder can be read")
        .map(|entry| entry.expect("the suite's folder can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "xml"))
        .collect();
    files.sort();
    assert!(files.len() >= 500, "only {} cases: is this the whole suite?", files.len());
    let count = files.len();
    let mut cases = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).expect("cases are UTF-8");
        let mut model = cib::read(&text).unwrap_or_else(|e| panic!("{name}: {e}")).model;
        if model.now == 0 {
            // whatever the time: the rules judged here do not depend on it
            model.now = 1_700_000_000;
        }
        match policy::schedule(&model) {
            Ok(plan) => cases.push(Case { name, model, plan }),
            Err(policy::Error::Unsupported(_)) => {}
            Err(error) => panic!("{name}: {error}"),
        }
    }
    eprintln!("{} of {count} cases have a plan", cases.len());
    Some(cases)
}
