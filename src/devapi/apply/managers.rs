//! `metadata.managedFields`: who owns which fields.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::set::Set;
use crate::meta;

/// Who owns fields. Appliers are one manager whatever version they write; updaters one per version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Manager {
    pub(crate) applies: bool,
    pub(crate) name: String,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
}

impl Manager {
    /// As conflicts name it.
    pub(super) fn shown(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if !self.applies {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// What a manager owns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Owned {
    pub(crate) set: Set,
    /// When it last changed.
    pub(crate) time: String,
    /// The version written last (appliers are not told apart by it).
    pub(crate) api_version: String,
}

/// All managers of one object.
pub(crate) type Managers = BTreeMap<Manager, Owned>;

/// Reads the managers of an object.
pub(crate) fn read(object: &Value) -> Managers {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    meta::get(object, "managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|entry| entry["fieldsType"] == "FieldsV1")
        .map(|entry| {
            let applies = entry["operation"] == "Apply";
            let api_version = text(entry, "apiVersion");
            let manager = Manager {
                applies,
                name: text(entry, "manager"),
                api_version: if applies { String::new() } else { api_version.clone() },
                subresource: text(entry, "subresource"),
            };
            let set = Set::from_json(&entry["fieldsV1"]);
            (manager, Owned { set, time: text(entry, "time"), api_version })
        })
        .collect()
}

/// Whether a writer asks to forget all managers.
pub(crate) fn is_reset(object: &Value) -> bool {
    match meta::get(object, "managedFields").and_then(Value::as_array).map(Vec::as_slice) {
        Some([entry]) => entry.as_object().is_some_and(serde_json::Map::is_empty),
        _ => false,
    }
}

/// Writes the managers: appliers first, then by time and name.
pub(crate) fn write(object: &mut Value, managers: &Managers) {
    let mut entries: Vec<(&Manager, &Owned)> =
        managers.iter().filter(|(_, owned)| !owned.set.is_empty()).collect();
    entries.sort_by(|(a, x), (b, y)| {
        (!a.applies, &x.time, &a.name, &x.api_version, &a.subresource).cmp(&(
            !b.applies,
            &y.time,
            &b.name,
            &y.api_version,
            &b.subresource,
        ))
    });
    let entries: Vec<Value> = entries
        .into_iter()
        .map(|(manager, owned)| {
            let mut entry = json!({
                "manager": manager.name,
                "operation": if manager.applies { "Apply" } else { "Update" },
                "apiVersion": owned.api_version,
                "time": owned.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": owned.set.to_json(),
            });
            if !manager.subresource.is_empty() {
                entry["subresource"] = manager.subresource.clone().into();
            }
            entry
        })
        .collect();
    meta::set(object, "managedFields", (!entries.is_empty()).then_some(Value::Array(entries)));
}
