//! SPEC-ERRORS.md as data: each row of `wrong_specs.yaml` as create, as update of a good object, then reverted.

use api::check::{check, faults};
use serde::Deserialize;
use serde_json::Value;

/// One wrong spec.
#[derive(Deserialize)]
struct Row {
    /// Row of SPEC-ERRORS.md, or a name of our own.
    row: String,
    /// Which of the good objects is spoilt.
    base: String,
    /// JSON pointers and the values put there; `null` removes.
    set: Vec<(String, Value)>,
    /// Path of the fault.
    path: String,
    /// The exact message.
    says: String,
    /// Only an update is wrong.
    #[serde(default)]
    update_only: bool,
}

#[derive(Deserialize)]
struct Table {
    good: std::collections::BTreeMap<String, Value>,
    rows: Vec<Row>,
}

fn table() -> Table {
    serde_yaml::from_str(include_str!("wrong_specs.yaml")).expect("the table can be read")
}

#[test]
fn every_good_object_is_taken() {
    for (name, object) in table().good {
        assert_eq!(faults(&object), [], "{name}");
    }
}

#[test]
fn every_wrong_spec_gets_its_message_on_create_and_on_update_and_recovers() {
    let table = table();
    let mut wrong = Vec::new();
    for row in &table.rows {
        let good = &table.good[&row.base];
        let bad = spoil(good, &row.set);
        let mut stored = good.clone();
        assert_eq!(check(&mut stored, None), []);
        let says = |found: &[api::check::Fault]| {
            found.iter().any(|f| f.path == row.path && f.message == row.says)
        };
        let created = faults(&bad);
        if row.update_only != created.is_empty() || (!row.update_only && !says(&created)) {
            wrong.push(format!("row {} on create: {}", row.row, shown(&created)));
        }
        let updated = check(&mut bad.clone(), Some(&stored));
        if !says(&updated) {
            wrong.push(format!("row {} on update: {}", row.row, shown(&updated)));
        }
        if let Some(long) = created.iter().chain(&updated).find(|f| f.message.chars().count() > 200)
        {
            wrong.push(format!("row {}: longer than 200 characters: {long}", row.row));
        }
        let reverted = check(&mut stored.clone(), Some(&stored));
        assert_eq!(reverted, [], "row {}: the good object must be taken again", row.row);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_field_takes_every_nonsense_without_a_panic_and_is_refused_with_a_path() {
    let nonsense = [
        Value::Null,
        "".into(),
        0.into(),
        (-1).into(),
        i64::MAX.into(),
        "NaN".into(),
        ".nan".into(),
        "x".repeat(10_240).into(),
        "\u{202e}gnp.exe".into(),
        "a\u{200b}b".into(),
        "e\u{301}".into(),
        serde_json::json!([]),
        serde_json::json!({}),
        true.into(),
    ];
    for (name, good) in table().good {
        let mut paths = Vec::new();
        leaves(&good["spec"], "/spec".into(), &mut paths);
        for path in paths {
            for value in &nonsense {
                let bad = spoil(&good, &[(path.clone(), value.clone())]);
                for fault in faults(&bad) {
                    let text = fault.to_string();
                    let named = text.starts_with("spec") || text.starts_with("metadata.");
                    assert!(named, "{name} {path}: {fault}");
                    assert!(fault.message.chars().count() <= 200, "{name} {path}: {fault}");
                    let gap = fault.message.contains("cannot be checked here");
                    assert!(!gap, "{name} {path} = {value}: {fault}");
                }
            }
        }
    }
}

#[test]
fn a_secret_that_was_put_into_an_object_is_not_repeated() {
    let table = table();
    let canary = "Seč'r\"$(x)";
    let bad = spoil(&table.good["device"], &[("/spec/ipmi/password".into(), canary.into())]);
    let text = shown(&faults(&bad));
    assert!(text.contains("put credentials in a Secret"), "{text}");
    assert!(!text.contains("Se\u{10d}"), "{text}");
}

fn leaves(value: &Value, path: String, out: &mut Vec<String>) {
    out.push(path.clone());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(k, v)| leaves(v, format!("{path}/{k}"), out));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, v)| leaves(v, format!("{path}/{i}"), out));
        }
        _ => {}
    }
}

fn spoil(good: &Value, set: &[(String, Value)]) -> Value {
    let mut bad = good.clone();
    for (pointer, value) in set {
        let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
        let mut at = &mut bad;
        for step in parent.split('/').skip(1) {
            at = match at {
                Value::Array(items) => &mut items[step.parse::<usize>().expect("an index")],
                Value::Object(fields) => {
                    fields.entry(step).or_insert_with(|| Value::Object(serde_json::Map::new()))
                }
                other => panic!("{pointer}: {other} has no {step}"),
            };
        }
        match (at, value) {
            (Value::Array(items), value) => {
                let i: usize = last.parse().expect("an index");
                if i == items.len() { items.push(value.clone()) } else { items[i] = value.clone() }
            }
            (Value::Object(fields), Value::Null) => {
                fields.remove(last);
            }
            (Value::Object(fields), value) => {
                fields.insert(last.into(), value.clone());
            }
            (other, _) => panic!("{pointer}: {other} has no {last}"),
        }
    }
    bad
}

fn shown(faults: &[api::check::Fault]) -> String {
    faults.iter().map(|f| format!("[{}] {}", f.path, f.message)).collect::<Vec<_>>().join(" | ")
}
