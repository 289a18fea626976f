//! Names, versions and owners: the fields of `metadata` that the server reads and writes.

use serde_json::{Map, Value};

/// Where an object lies in its table. The namespace of a cluster-wide object is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace, or empty.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// A text of the metadata, empty if absent.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, "name")
}

pub(crate) fn key(object: &Value) -> Key {
    Key::new(text(object, "namespace"), text(object, "name"))
}

pub(crate) fn get<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.get("metadata").and_then(|m| m.get(field)).filter(|v| !v.is_null())
}

/// The metadata, made if it is missing or no object.
pub(crate) fn of(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let fields = object.as_object_mut().expect("made an object above");
    let metadata = fields.entry("metadata".to_owned()).or_insert_with(|| Value::Object(Map::new()));
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut().expect("made an object above")
}

/// Sets or, with `None`, removes a field of the metadata.
pub(crate) fn set(object: &mut Value, field: &str, value: Option<Value>) {
    let metadata = of(object);
    match value {
        Some(value) => {
            metadata.insert(field.to_owned(), value);
        }
        None => {
            metadata.remove(field);
        }
    }
}

pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    get(object, "finalizers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

pub(crate) fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    let value = (!finalizers.is_empty())
        .then(|| Value::Array(finalizers.iter().map(|f| Value::from(f.as_str())).collect()));
    set(object, "finalizers", value);
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    get(object, "deletionTimestamp").is_some()
}

pub(crate) fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    get(object, "ownerReferences").and_then(Value::as_array).into_iter().flatten()
}

pub(crate) fn labels(object: &Value) -> Option<&Map<String, Value>> {
    get(object, "labels").and_then(Value::as_object)
}
