//! Alert rules and the dashboard ask for metrics that the program exports, by the names that it gives them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use agent::metrics::{Condition, Metrics, Outcome, Reason};
use serde_json::Value;

fn file(name: &str) -> String {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../charts/palisade/files").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names and labels of all samples that `/metrics` can have. A family is silent until its first event, so one of each is
/// made here that the ring part makes; one that nothing ever counts stays out.
fn exported() -> BTreeMap<String, BTreeSet<String>> {
    let agent = Metrics::new();
    agent.dropped.get_or_create(&Reason { reason: "forged" }).inc();
    agent.fencing.get_or_create(&Outcome { outcome: "failed" }).inc();
    agent.failover(&agent::status::Phases { detect: Some(500), ..Default::default() });
    agent.conditions.get_or_create(&Condition { condition: "FencerAway" }).set(1);
    let controller = controller::Metrics::new();
    controller.wrote("status");
    controller.refused("status");
    let text = agent.encode() + &controller.text();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once([' ', '{']).expect("a sample");
        let labels = rest.split(['{', ',', '}']).filter_map(|l| Some(l.split_once('=')?.0));
        found.entry(name.to_owned()).or_default().extend(labels.map(str::to_owned));
    }
    found
}

/// Metrics of ours that an expression names.
fn named(expression: &str) -> BTreeSet<String> {
    expression
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("palisade_"))
        .map(str::to_owned)
        .collect()
}

fn all_of<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key).and_then(Value::as_str));
            fields.values().for_each(|field| all_of(field, key, found));
        }
        Value::Array(items) => items.iter().for_each(|item| all_of(item, key, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_and_the_alerts_name_metrics_that_are_exported() {
    let exported = exported();
    let dashboard: Value = serde_json::from_str(&file("dashboard.json")).expect("JSON");
    let rules: Value = serde_yaml::from_str(&file("rules.yaml")).expect("YAML");
    let (mut expressions, mut queries) = (Vec::new(), Vec::new());
    all_of(&dashboard, "expr", &mut expressions);
    all_of(&dashboard, "query", &mut queries);
    let in_dashboard = expressions.len();
    all_of(&rules, "expr", &mut expressions);
    assert!(in_dashboard >= 20 && expressions.len() >= in_dashboard + 15, "{in_dashboard}");
    expressions.extend(queries);
    for expression in expressions {
        for name in named(expression) {
            assert!(exported.contains_key(&name), "{name} is not exported: {expression}");
        }
    }
}

/// Labels by which series are told apart must be the program's own, or those that every target has.
#[test]
fn the_alerts_match_labels_that_are_exported() {
    let exported = exported();
    let labels = |name: &str| exported.get(name).cloned().unwrap_or_default();
    assert!(labels("palisade_fencing_commands_total").contains("outcome"));
    assert!(labels("palisade_condition").contains("condition"));
    assert!(labels("palisade_ring_datagrams_dropped_total").contains("reason"));
    assert!(labels("palisade_controller_writes_refused_total").contains("what"));
    assert!(labels("palisade_agent_build").contains("version"));
}

#[test]
fn every_alert_is_in_the_rules_own_tests_and_says_what_to_do() {
    let rules: Value = serde_yaml::from_str(&file("rules.yaml")).expect("YAML");
    let tests = file("rules.test.yaml");
    let alerts = rules["groups"][0]["rules"].as_array().expect("rules");
    for alert in alerts {
        let name = alert["alert"].as_str().expect("a name");
        assert!(tests.matches(name).count() >= 2, "{name}: silent once and raised once");
        for text in ["summary", "description", "runbook"] {
            assert!(alert["annotations"][text].is_string(), "{name} has no {text}");
        }
    }
}
