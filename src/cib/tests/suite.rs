//! The engine against the reference suite (POLICY.md section 2), which is data that stays outside of this tree.
//!
//! Found by the environment variable `PALISADE_SCHEDULER_SUITE`, or beside the workspace. Absent, the test says so and
//! proves nothing. The floors are what was reached; they only ever rise.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use policy::{Plan, plan::Task};
use serde_json::Value;

/// Cases that must match in state (where everything is, who is fenced) and in what changes it, per tier.
const FLOORS: [(&str, usize, usize); 8] = [
    ("T1", 66, 66),
    ("T2", 80, 80),
    ("T3", 70, 70),
    ("T4", 47, 48),
    ("T5", 69, 69),
    ("T6", 76, 76),
    ("T7", 75, 76),
    ("T8", 80, 80),
];

fn suite() -> Option<PathBuf> {
    let candidate = match env::var_os("PALISADE_SCHEDULER_SUITE") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/scheduler-suite"),
    };
    candidate.join("tiers.json").is_file().then_some(candidate)
}

fn json(path: &Path) -> Value {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn plan(suite: &Path, expected: &Value) -> Option<Plan> {
    let text = fs::read_to_string(suite.join(expected["cib"].as_str()?)).ok()?;
    let cib::Cib { mut model, execution_date } = cib::read(&text).ok()?;
    let now = match &expected["time"] {
        Value::Number(seconds) => seconds.as_i64(),
        Value::String(text) => cib::parse_instant(text),
        _ => None,
    };
    model.now = now.or(execution_date).unwrap_or(1_700_000_000);
    let plan = policy::schedule(&model).ok()?;
    assert_eq!(Some(&plan), policy::schedule(&model).as_ref().ok(), "the same input, another plan");
    Some(plan)
}

type Places = BTreeMap<String, Vec<(String, String)>>;

/// Connections of guest nodes, which the reference does not show.
fn implicit(expected: &Value) -> BTreeSet<&str> {
    expected["implicit"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn expected_places(expected: &Value) -> Places {
    let implicit = implicit(expected);
    let mut places = Places::new();
    for (id, list) in expected["revised"]["placements"].as_object().into_iter().flatten() {
        if implicit.contains(id.as_str()) {
            continue;
        }
        let mut entry: Vec<(String, String)> = list
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|at| {
                Some((at["node"].as_str()?.to_owned(), at["role"].as_str()?.to_owned()))
            })
            .collect();
        entry.sort();
        if !entry.is_empty() {
            places.insert(id.clone(), entry);
        }
    }
    places
}

fn state_matches(plan: &Plan, expected: &Value) -> bool {
    let mut places = Places::new();
    let implicit = implicit(expected);
    for (id, list) in plan.placements.iter().filter(|(id, _)| !implicit.contains(id.as_str())) {
        let mut entry: Vec<(String, String)> =
            list.iter().map(|at| (at.node.clone(), at.role.as_str().to_owned())).collect();
        entry.sort();
        if !entry.is_empty() {
            places.insert(id.clone(), entry);
        }
    }
    let fenced: BTreeSet<&str> =
        expected["fenced"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    places == expected_places(expected)
        && fenced == plan.fenced.iter().map(String::as_str).collect()
}

fn changes(plan: &Plan) -> Vec<(String, String, String)> {
    let mut list: Vec<_> = plan
        .actions
        .iter()
        .filter(|action| !action.implied)
        .filter_map(|action| {
            let counts = matches!(
                action.task,
                Task::Start
                    | Task::Stop
                    | Task::Promote
                    | Task::Demote
                    | Task::MigrateTo { .. }
                    | Task::MigrateFrom { .. }
                    | Task::Reload
                    | Task::Fence { .. }
                    | Task::Unfence
                    | Task::Shutdown
            );
            counts.then(|| {
                (
                    action.task.operation().to_owned(),
                    action.resource.clone().unwrap_or_default(),
                    action.node.clone().unwrap_or_default(),
                )
            })
        })
        .collect();
    list.sort();
    list
}

fn expected_changes(expected: &Value) -> Vec<(String, String, String)> {
    let text = |action: &Value, key: &str| action[key].as_str().unwrap_or_default().to_owned();
    let mut list: Vec<_> = expected["graph"]["actions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|action| action["type"] != "pseudo")
        .filter(|action| {
            matches!(
                action["op"].as_str(),
                Some(
                    "start"
                        | "stop"
                        | "promote"
                        | "demote"
                        | "migrate_to"
                        | "migrate_from"
                        | "reload-agent"
                        | "fence"
                        | "unfence"
                        | "shutdown"
                )
            )
        })
        .map(|action| (text(action, "op"), text(action, "rsc"), text(action, "node")))
        .collect();
    list.sort();
    list
}

#[test]
fn plans_equal_the_reference_in_as_many_cases_as_ever() {
    let Some(suite) = suite() else {
        eprintln!("SKIPPED: no scheduler suite; set PALISADE_SCHEDULER_SUITE to its directory");
        return;
    };
    let tiers = json(&suite.join("tiers.json"));
    let cases = tiers["cases"].as_object().expect("an object of cases");
    for (tier, state_floor, change_floor) in FLOORS {
        let (mut states, mut actions, mut failed) = (0, 0, Vec::new());
        let names = cases.iter().filter(|(_, case)| {
            case["tier"].as_str().is_some_and(|name| name.starts_with(tier))
                && case["listed"].as_bool().unwrap_or(true)
        });
        for (name, _) in names {
            let expected = json(&suite.join(format!("expected/{name}.json")));
            let Some(plan) = plan(&suite, &expected) else {
                failed.push(name.as_str());
                continue;
            };
            let same = state_matches(&plan, &expected);
            states += usize::from(same);
            actions += usize::from(changes(&plan) == expected_changes(&expected));
            if !same {
                failed.push(name);
            }
        }
        assert!(
            states >= state_floor && actions >= change_floor,
            "{tier}: {states} states (floor {state_floor}), {actions} action sets (floor {change_floor}); \
             states differ in {failed:?}"
        );
    }
}
