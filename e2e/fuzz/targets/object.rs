//! Target `object`: custom resources out of any JSON, checked, compiled, and compiled again.
//!
//! What a server takes never stops the compiler; equal objects give an equal revision, in whatever order they come;
//! nothing changes when nothing changed (CLUSTER.md section 7).

use std::sync::OnceLock;

use api::check::{check, faults};
use compile::{Compiled, Objects, compile};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::script::Script;

const OBJECTS_MAX: usize = 16;
/// Words that mean something somewhere.
const WORDS: &[&str] = &[
    "",
    "n1",
    "n2",
    "n9",
    "web",
    "public",
    "quickstart",
    "Stop",
    "Retain",
    "Address",
    "Process",
    "Single",
    "Group",
    "Clone",
    "Promotable",
    "10.92.0.100",
    "fd00::1",
    "127.0.0.1",
    "::",
    "10s",
    "0s",
    "99999999h",
    "-1s",
    "INFINITY",
    "-INFINITY",
    "Started",
    "Mandatory",
    "\u{0}",
    "../x",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];
/// Names of fields, so that the structure is reached that the quickstart does not have.
const FIELDS: &[&str] = &[
    "spec",
    "metadata",
    "name",
    "members",
    "links",
    "nodeId",
    "networks",
    "clusterRef",
    "resource",
    "group",
    "clone",
    "promotable",
    "timeouts",
    "monitors",
    "meta",
    "deletionPolicy",
    "order",
    "colocation",
    "location",
    "rules",
    "score",
    "with",
    "targets",
    "level",
    "delay",
    "fencing",
    "quorum",
    "token",
    "standby",
    "maintenance",
    "attributes",
    "first",
    "then",
    "resources",
];

pub(crate) fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let objects = if script.below(4) == 0 {
        match serde_json::from_slice(script.rest()) {
            Ok(Value::Array(objects)) => objects,
            Ok(object) => vec![object],
            Err(_) => return,
        }
    } else {
        edited(&mut script)
    };
    judge(objects.into_iter().take(OBJECTS_MAX).collect());
}

fn judge(objects: Vec<Value>) {
    let mut taken = Vec::new();
    for mut object in objects {
        let before = faults(&object);
        let found = check(&mut object, None);
        assert_eq!(before, found, "the check is no function of the object");
        if found.is_empty() {
            assert!(check(&mut object, None).is_empty(), "what was taken is refused: {object}");
            taken.push(object);
        }
    }
    one_of_each(&mut taken);
    let typed = typed(&taken);
    taken.reverse();
    let reversed = self::typed(&taken);
    let first = compile(&typed, None);
    let second = compile(&reversed, None);
    assert_eq!(first.revision, second.revision, "the order of objects decides");
    let Compiled { revision: Some(revision), verdicts } = first else { return };
    assert_eq!(verdicts.iter().count(), typed.len(), "an object without a verdict");
    let again = compile(&typed, Some(&revision));
    assert_eq!(again.revision.as_ref(), Some(&revision), "nothing changed, and yet it did");
    let bytes = postcard::to_allocvec(&revision).expect("our own type");
    assert_eq!(postcard::from_bytes(&bytes).as_ref(), Ok(&revision));
}

fn typed(objects: &[Value]) -> Objects {
    let mut all = Objects::default();
    for object in objects {
        match object["kind"].as_str() {
            Some("HACluster") => all.cluster = Some(one(object)),
            Some("HANode") => all.nodes.push(one(object)),
            Some("FenceDevice") => all.devices.push(one(object)),
            Some("ResourcePlacement") => all.placements.push(one(object)),
            Some("PlacementConstraint") => all.constraints.push(one(object)),
            Some("VirtualIP") => all.addresses.push(one(object)),
            _ => {}
        }
    }
    let name = all.cluster.as_ref().and_then(|c| c.metadata.name.clone()).unwrap_or_default();
    all.of_cluster(&name)
}

/// A server holds one object of each name; and one cluster is compiled at a time.
fn one_of_each(objects: &mut Vec<Value>) {
    let key = |o: &Value| {
        let kind = o["kind"].as_str().unwrap_or_default().to_owned();
        let name = o["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if kind == "HACluster" { (kind, String::new()) } else { (kind, name) }
    };
    objects.sort_by_key(|object| (key(object), object.to_string()));
    objects.dedup_by_key(|object| key(object));
}

/// What the schema takes is what the type says.
fn one<K: DeserializeOwned>(object: &Value) -> K {
    serde_json::from_value(object.clone())
        .unwrap_or_else(|error| panic!("taken, and no object: {error}: {object}"))
}

fn quickstart() -> &'static [Value] {
    static OBJECTS: OnceLock<Vec<Value>> = OnceLock::new();
    OBJECTS.get_or_init(|| {
        let files = [
            include_str!("../../../manifests/quickstart/10-cluster.yaml"),
            include_str!("../../../manifests/quickstart/20-fence-devices.yaml"),
            include_str!("../../../manifests/quickstart/30-service.yaml"),
        ];
        let documents = files.iter().flat_map(|file| file.split("\n---\n"));
        let mut objects: Vec<Value> =
            documents.map(|text| serde_yaml::from_str(text).expect("the quickstart")).collect();
        objects.push(json!({
            "apiVersion": "palisade.dev/v1alpha1", "kind": "PlacementConstraint",
            "metadata": {"name": "away", "namespace": "palisade"},
            "spec": {"clusterRef": {"name": "quickstart"},
                "location": {"resource": "web", "node": "n1", "score": "-INFINITY"}},
        }));
        objects.push(json!({
            "apiVersion": "palisade.dev/v1alpha1", "kind": "HANode",
            "metadata": {"name": "n1", "namespace": "palisade"},
            "spec": {"clusterRef": {"name": "quickstart"}, "standby": true},
        }));
        objects
    })
}

/// The quickstart with changes: values replaced, fields put in and taken out, items repeated, objects repeated.
fn edited(script: &mut Script<'_>) -> Vec<Value> {
    let mut objects = quickstart().to_vec();
    while !script.is_empty() {
        let at = script.below(objects.len());
        if script.below(8) == 0 && objects.len() < OBJECTS_MAX {
            let mut copy = objects[at].clone();
            copy["metadata"]["name"] = json!(script.pick(WORDS));
            objects.push(copy);
            continue;
        }
        let depth = script.below(6);
        change_below(script, &mut objects[at]["spec"], depth);
    }
    objects
}

/// Goes down at most so far, and changes what stands there.
fn change_below(script: &mut Script<'_>, place: &mut Value, depth: usize) {
    let choice = usize::from(script.byte());
    let count = match &*place {
        Value::Object(map) => map.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    if depth == 0 || count == 0 {
        return change(script, place);
    }
    let next = match place {
        Value::Object(map) => map.values_mut().nth(choice % count),
        Value::Array(items) => items.get_mut(choice % count),
        _ => None,
    };
    if let Some(next) = next {
        change_below(script, next, depth - 1);
    }
}

fn change(script: &mut Script<'_>, place: &mut Value) {
    match (script.below(6), &mut *place) {
        (0, Value::Object(map)) => {
            let value = value(script, 2);
            map.insert(script.pick(FIELDS).to_owned(), value);
        }
        (1, Value::Object(map)) if !map.is_empty() => {
            let name = map.keys().nth(script.below(map.len())).cloned().unwrap_or_default();
            map.remove(&name);
        }
        (0, Value::Array(items)) => {
            let copies = script.below(100);
            let item = items.first().cloned().unwrap_or_default();
            items.extend(std::iter::repeat_n(item, copies));
        }
        (1, Value::Array(items)) => items.push(value(script, 2)),
        (2, Value::Array(items)) => items.reverse(),
        _ => *place = value(script, 2),
    }
}

fn value(script: &mut Script<'_>, depth: usize) -> Value {
    match script.below(if depth == 0 { 6 } else { 8 }) {
        0 => json!(script.pick(WORDS)),
        1 => json!(script.byte()),
        2 => json!(script.u64() as i64),
        3 => json!(script.below(2) == 1),
        4 => json!(String::from_utf8_lossy(script.bytes())),
        5 => Value::Null,
        6 => (0..script.below(4)).map(|_| value(script, depth - 1)).collect(),
        _ => {
            let mut map = Map::new();
            for _ in 0..script.below(4) {
                let name = script.pick(FIELDS).to_owned();
                map.insert(name, value(script, depth - 1));
            }
            Value::Object(map)
        }
    }
}
