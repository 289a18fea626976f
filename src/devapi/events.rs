//! Events have two forms, `v1` and `events.k8s.io/v1`, and one table: what one writer records, every reader sees.

use serde_json::{Value, json};

use crate::resource::Resource;

/// The field in `v1`, and in `events.k8s.io/v1`.
const PAIRS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("source", "deprecatedSource"),
];

fn is_new_form(resource: &Resource) -> bool {
    resource.is("events.k8s.io", "events")
}

/// An object of a request as it is stored (`v1`).
pub(crate) fn to_storage(resource: &Resource, mut object: Value) -> Value {
    if !is_new_form(resource) {
        return object;
    }
    rename(&mut object, |(old, new)| (new, old));
    object["apiVersion"] = json!("v1");
    object
}

/// A stored object as the form of `resource`; the caller sets kind and version.
pub(crate) fn from_storage(resource: &Resource, stored: &Value) -> Value {
    let mut object = stored.clone();
    if is_new_form(resource) {
        rename(&mut object, |pair| pair);
    }
    object
}

fn rename(
    object: &mut Value,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(fields) = object.as_object_mut() else { return };
    for pair in PAIRS {
        let (from, to) = direction(*pair);
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}
