//! Every field of every kind, set to nonsense, on create and on update (SPEC-ERRORS.md, last section): refused with its path,
//! or taken and safe. The fields come from the schema itself, so that a new one is tried without anybody's doing.
//!
//! Safe: compile and controller do not panic, nothing that runs is taken away, and the old object can be put back. In CI
//! a part of it, chosen by `PALISADE_SEED`; all of it with `PALISADE_ALL=1`, and on a real server as in `wrong_specs.rs`.

mod house;

use std::{collections::BTreeMap, fmt::Write as _};

use api::client::Picture;
use base::SplitMix64;
use compile::{Objects, compile};
use controller::{dereference, desired};
use house::{API, Api};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use policy::revision::Revision;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// One in so many is asked of a server in CI.
const SHARE: u64 = 16;

#[derive(Deserialize)]
struct Table {
    good: BTreeMap<String, Value>,
}

/// A step from an object to one of its fields.
#[derive(Clone, Debug)]
enum Step {
    Field(String),
    Item(usize),
}

fn good() -> Vec<Value> {
    let text = include_str!("../../api/tests/wrong_specs.yaml");
    let table: Table = serde_yaml::from_str(text).expect("the table can be read");
    let record = json!({"apiVersion": API, "kind": "FencingOperation", "metadata": {"name": "ctl-2-1.2a"},
        "spec": {"clusterRef": {"name": "main"}, "node": "ctl-2", "nodeId": 2, "incident": "1.2a"}});
    let mut all: Vec<Value> = table.good.into_values().chain([record]).collect();
    for object in &mut all {
        object["metadata"]["namespace"] = "nonsense".into();
    }
    all
}

/// Every field below `schema`, with its own schema.
fn fields<'a>(schema: &'a Value, at: &[Step], out: &mut Vec<(Vec<Step>, &'a Value)>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = [at, &[Step::Field(name.clone())]].concat();
        out.push((path.clone(), inner));
        fields(inner, &path, out);
    }
    if let Some(inner) = schema.get("items") {
        let path = [at, &[Step::Item(0)]].concat();
        out.push((path.clone(), inner));
        fields(inner, &path, out);
    }
}

/// Some value of a schema: what a field needs around it.
fn some(schema: &Value) -> Value {
    if let Some(default) = schema.get("default") {
        return default.clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|all| all.first()) {
        return first.clone();
    }
    match schema["type"].as_str().unwrap_or_default() {
        "object" => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let names = required.iter().filter_map(Value::as_str);
            names
                .map(|n| (n.to_owned(), some(&schema["properties"][n])))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        "array" => json!([some(&schema["items"])]),
        "integer" | "number" => whole(schema, "minimum").unwrap_or(1).into(),
        "boolean" => false.into(),
        _ => {
            let text = schema["description"].as_str().unwrap_or_default();
            let example = text.split("Example: `").nth(1).and_then(|e| e.split('`').next());
            example.unwrap_or("a").into()
        }
    }
}

/// Limits are floating point numbers in a schema, and whole all the same.
fn whole(schema: &Value, key: &str) -> Option<i64> {
    schema[key].as_i64().or_else(|| format!("{:.0}", schema[key].as_f64()?).parse().ok())
}

/// `object` with `value` there; `None` removes. What is missing on the way is made.
fn with(object: &Value, schema: &Value, path: &[Step], value: Option<&Value>) -> Value {
    let mut out = object.clone();
    let (mut at, mut schema) = (&mut out, schema);
    let (last, way) = path.split_last().expect("a field");
    for step in way {
        (at, schema) = match step {
            Step::Field(name) => {
                let inner = &schema["properties"][name];
                if at[name].is_null() {
                    at[name] = some(inner);
                }
                (&mut at[name], inner)
            }
            Step::Item(i) => {
                let inner = &schema["items"];
                let items = at.as_array_mut().expect("a list");
                if items.len() <= *i {
                    items.push(some(inner));
                }
                (&mut items[*i], inner)
            }
        };
    }
    match (last, value) {
        (Step::Field(name), Some(value)) => at[name] = value.clone(),
        (Step::Field(name), None) => drop(at.as_object_mut().and_then(|o| o.remove(name))),
        (Step::Item(i), value) => {
            let items = at.as_array_mut().expect("a list");
            match value {
                Some(value) if items.len() > *i => items[*i] = value.clone(),
                Some(value) => items.push(value.clone()),
                None => items.clear(),
            }
        }
    }
    out
}

/// Its maximum, whatever that is.
fn largest(schema: &Value) -> Value {
    let size = |key: &str| {
        let size = schema[key].as_u64().and_then(|n| usize::try_from(n).ok());
        size.unwrap_or(1).min(1000)
    };
    match schema["type"].as_str().unwrap_or_default() {
        "string" => "a".repeat(size("maxLength")).into(),
        "array" => vec![some(&schema["items"]); size("maxItems")].into(),
        "integer" | "number" => whole(schema, "maximum").unwrap_or(i64::MAX).into(),
        "boolean" => true.into(),
        _ => some(schema),
    }
}

/// What is put into a field. `None`: it is absent.
fn nonsense(schema: &Value, another: &Value) -> Vec<Option<Value>> {
    let texts =
        ["", "NaN", "\u{202e}gnp.exe", "a\u{200b}b", "e\u{301}\u{301}", "Se\u{10d}'r\"$(x)\n"];
    let mut all =
        vec![None, Some(Value::Null), Some(0.into()), Some((-1).into()), Some(largest(schema))];
    all.extend(texts.into_iter().map(|t| Some(t.into())));
    all.push(Some("x".repeat(10_240).into()));
    all.push(Some(another.clone()));
    all
}

fn shown(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        let _ = match step {
            Step::Field(name) if out.is_empty() => write!(out, "{name}"),
            Step::Field(name) => write!(out, ".{name}"),
            Step::Item(i) => write!(out, "[{i}]"),
        };
    }
    out
}

/// What is known before: all good objects, and what came of them.
struct World {
    picture: Picture,
    revision: Revision,
}

impl World {
    fn of(all: &[Value]) -> Self {
        let mut picture = Picture::default();
        for object in all {
            let mut object = object.clone();
            assert_eq!(api::check::check(&mut object, None), [], "{object}");
            put(&mut picture, object);
        }
        let objects = objects(&picture);
        let revision = compile(&objects, None).revision.expect("a revision");
        Self { picture, revision }
    }

    /// The controller and an agent with `object` in its new form: what must not be, if anything.
    fn survives(&self, mut object: Value) -> Option<String> {
        let kind = house::key_of(&object);
        if object["kind"].as_str().is_some_and(|k| k.starts_with("Fencing")) {
            return None; // requests and records: nobody compiles them
        }
        api::check::check(&mut object, None);
        let mut picture = self.picture.clone();
        put(&mut picture, object);
        let now = Time(Timestamp::from_second(1000).expect("in range"));
        for (name, objects) in dereference::clusters(&picture) {
            let _ = desired::actions(&name, &objects, &picture, &now);
        }
        let new = compile(&objects(&picture), Some(&self.revision)).revision?;
        // a placement or a device may change by its own object only, and a member by the cluster's
        for old in &self.revision.placements {
            let own = [format!("ResourcePlacement/{}", old.id), format!("VirtualIP/{}", old.id)];
            let cluster = kind.starts_with("HACluster/");
            let found = new.placements.iter().find(|p| p.id == old.id);
            if found.is_none() || (found != Some(old) && !own.contains(&kind) && !cluster) {
                return Some(format!("placement {} became {found:?}", old.id));
            }
        }
        for old in &self.revision.devices {
            let own = format!("FenceDevice/{}", old.device.name);
            let found = new.devices.iter().any(|d| d.device.name == old.device.name);
            if !found && kind != own {
                return Some(format!("device {} is gone", old.device.name));
            }
        }
        None
    }
}

fn put(picture: &mut Picture, mut value: Value) {
    fn typed<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).expect("what the check takes can be read")
    }
    let name = value["metadata"]["name"].as_str().expect("a name").to_owned();
    value["metadata"]["uid"] = house::key_of(&value).into();
    value["metadata"]["generation"] = 1.into();
    match value["kind"].as_str().unwrap_or_default() {
        "FenceDevice" => drop(picture.devices.insert(name, typed(value))),
        "HACluster" => drop(picture.clusters.insert(name, typed(value))),
        "HANode" => drop(picture.nodes.insert(name, typed(value))),
        "PlacementConstraint" => drop(picture.constraints.insert(name, typed(value))),
        "ResourcePlacement" => drop(picture.placements.insert(name, typed(value))),
        "VirtualIP" => drop(picture.addresses.insert(name, typed(value))),
        _ => {}
    }
}

fn objects(picture: &Picture) -> Objects {
    let mut all = Objects {
        cluster: picture.clusters.get("main").cloned(),
        nodes: picture.nodes.values().cloned().collect(),
        devices: picture.devices.values().cloned().collect(),
        placements: picture.placements.values().cloned().collect(),
        constraints: picture.constraints.values().cloned().collect(),
        addresses: picture.addresses.values().cloned().collect(),
        // what they are made into is what the placements of this test are
        balancers: Vec::new(),
    };
    compile::expand::services_in(&mut all);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_with_every_nonsense_is_refused_with_its_path_or_taken_and_safe() {
    let number = |name: &str| std::env::var(name).ok().and_then(|s| s.parse::<u64>().ok());
    let mut dice = SplitMix64::new(number("PALISADE_SEED").unwrap_or(1));
    let share = if number("PALISADE_ALL").is_some() { 1 } else { SHARE };
    let server = Api::start().await;
    let all = good();
    let world = World::of(&all);
    for namespace in ["nonsense", "nonsense-new"] {
        server.namespace(namespace).await;
    }
    let (mut wrong, mut tried, mut taken, mut names) = (Vec::new(), 0_usize, 0_usize, 0_usize);
    for object in &all {
        let made = server.create("nonsense", object, false).await;
        assert!(made.taken(), "{made:?}");
        let kind = object["kind"].as_str().expect("a kind");
        let name = object["metadata"]["name"].as_str().expect("a name");
        let schema = api::check::schema(kind).expect("a kind of ours");
        let mut paths = Vec::new();
        fields(&schema["properties"]["spec"], &[Step::Field("spec".into())], &mut paths);
        names += paths.len();
        // another field's valid value
        let values: Vec<Value> = paths.iter().map(|(_, schema)| some(schema)).collect();
        for (i, (path, inner)) in paths.iter().enumerate() {
            let another = &values[(i + 1) % values.len()];
            for (n, value) in nonsense(inner, another).into_iter().enumerate() {
                if dice.below(share) != 0 {
                    continue;
                }
                tried += 1;
                let at = shown(path);
                let what = format!("{kind} {at} #{n}");
                let bad = with(object, schema, path, value.as_ref());
                let local = api::check::faults(&bad);
                let mut new = bad.clone();
                new["metadata"]["namespace"] = "nonsense-new".into();
                let created = server.create("nonsense-new", &new, true).await;
                let before = server.get(kind, "nonsense", name).await;
                let version = &before["metadata"]["resourceVersion"];
                let mut update = bad.clone();
                update["metadata"]["resourceVersion"] = version.clone();
                let updated = server.replace("nonsense", &update).await;
                for (how, answer) in [("create", &created), ("update", &updated)] {
                    if !answer.taken() && !(400..500).contains(&answer.code) {
                        wrong.push(format!("{what} on {how}: {answer:?}"));
                    }
                    // the path, or that of what is around it: a rule of the object sees more than one field
                    let said = answer.message();
                    if !answer.taken() && !said.contains("spec") && !said.contains("metadata.") {
                        wrong.push(format!("{what} on {how} names no path: {said}"));
                    }
                }
                if created.taken() != local.is_empty() {
                    wrong.push(format!(
                        "{what}: the server says {:?}, the local check {local:?}",
                        created.message()
                    ));
                }
                if !created.taken() {
                    let after = server.get(kind, "nonsense", name).await;
                    let same = after["metadata"]["resourceVersion"] == *version;
                    if !updated.taken() && !same {
                        wrong.push(format!("{what}: refused, and changed all the same"));
                    }
                } else if let Some(harm) = world.survives(bad.clone()) {
                    wrong.push(format!("{what}: {harm}"));
                }
                if updated.taken() {
                    taken += 1;
                    let version = &updated.body["metadata"]["resourceVersion"];
                    let mut back = object.clone();
                    back["metadata"]["resourceVersion"] = version.clone();
                    let back = server.replace("nonsense", &back).await;
                    if !back.taken() || back.body["spec"] != before["spec"] {
                        wrong.push(format!("{what}: the old object is not taken back: {back:?}"));
                    }
                }
            }
        }
    }
    eprintln!("{names} fields, {tried} tried, {taken} taken as updates");
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(names > 150 && taken > 10, "{names} fields, {taken} taken");
    server.stop().await;
}
