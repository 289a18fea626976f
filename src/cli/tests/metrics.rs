//! Alert rules and the dashboard ask for metrics that the program exports, by the names that it gives them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use agent::metrics::{Metrics, NodeState, Resource, Said, State};
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../charts/palisade/files").join(name)
}

fn file(name: &str) -> String {
    let path = path(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names and labels of all samples that `/metrics` can have. What is known beforehand is there from the start; names of
/// members and resources are made here.
fn agent() -> Metrics {
    let agent = Metrics::new();
    let resource = || BTreeMap::from([(Resource { resource: "db".into() }, 1)]);
    for series in [
        &agent.resources.running,
        &agent.resources.failures,
        &agent.resources.stop_failed,
        &agent.resources.blocked,
    ] {
        series.replace(resource());
    }
    agent.ring.state.replace(BTreeMap::from([(State { state: "gather" }, 1)]));
    let state = NodeState { node: "n1".into(), state: "online" };
    agent.cluster.nodes.replace(BTreeMap::from([(state, 1)]));
    let said = Said { condition: "StateLost".into() };
    agent.cluster.conditions.replace(BTreeMap::from([(said, 1)]));
    let link = agent::metrics::Link { peer: "n1".into(), link: 0 };
    agent.ring.links.get_or_create(&link).inc();
    agent
}

fn exported() -> BTreeMap<String, BTreeSet<String>> {
    let agent = agent();
    let controller = controller::Metrics::new();
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

/// Prometheus' own judge of names, rules and the rules' tests.
#[test]
#[ignore = "needs promtool (Debian: prometheus): cargo test -p cli --test metrics -- --ignored"]
fn promtool_finds_nothing_to_complain_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |words: &[&str], from: Option<&str>| {
        let scrape = folder.path().join("scrape");
        fs::write(&scrape, from.unwrap_or_default()).expect("written");
        let mut promtool = std::process::Command::new("promtool");
        let promtool = promtool.args(words).stdin(fs::File::open(scrape).expect("open"));
        let done = promtool.output().expect("promtool runs");
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        assert!(done.status.success(), "{words:?}: {said}");
    };
    run(&["check", "metrics"], Some(&agent().encode()));
    run(&["check", "metrics"], Some(&controller::Metrics::new().text()));
    run(&["check", "rules", &path("rules.yaml").display().to_string()], None);
    run(&["test", "rules", &path("rules.test.yaml").display().to_string()], None);
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
    assert!(labels("palisade_build_info").contains("version"));
}

#[test]
fn every_alert_is_in_the_rules_own_tests_and_says_what_to_do() {
    let rules: Value = serde_yaml::from_str(&file("rules.yaml")).expect("YAML");
    let tests = file("rules.test.yaml");
    let runbooks = path("../../../docs/runbooks.md");
    let runbooks = fs::read_to_string(runbooks).expect("the runbooks");
    let alerts = rules["groups"][0]["rules"].as_array().expect("rules");
    for alert in alerts {
        let name = alert["alert"].as_str().expect("a name");
        let word = |word: &str| tests.contains(&format!("alertname: {word}}}"));
        assert!(word(name), "{name}: silent in health");
        let severity = alert["labels"]["severity"].as_str().expect("a severity");
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        for text in ["summary", "description", "runbook"] {
            assert!(alert["annotations"][text].is_string(), "{name} has no {text}");
        }
        let section = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook_section"], section, "{name}");
        let heading = format!("\n## {name}\nLook");
        assert!(runbooks.contains(&heading), "{name} has no section in docs/runbooks.md");
    }
}
