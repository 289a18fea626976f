//! From what the derive writes to what a server takes without a warning: one pass over every schema.
//!
//! Invariants after it: no `nullable` (a null is pruned and defaulted like an absent field), integer formats that
//! Kubernetes knows, whole numbers as limits, conditions as a map by type.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Map, Value};

/// Longest name of an object by kind: names become parts of other names, and rules that look at them need a limit.
const NAME_MAX: [(&str, u16); 5] = [
    ("FenceDevice", 63),
    ("HACluster", 63),
    ("LoadBalancer", 63),
    ("ResourcePlacement", 128),
    ("VirtualIP", 100),
];

pub(crate) fn finish(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let kind = crd.spec.names.kind.as_str();
    let name_max = NAME_MAX.iter().find(|(k, _)| *k == kind).map_or(253, |(_, max)| *max);
    let mut value = serde_json::to_value(crd).expect("a definition is plain data");
    if let Some(versions) = value.pointer_mut("/spec/versions").and_then(Value::as_array_mut) {
        for version in versions {
            if let Some(root) = version.pointer_mut("/schema/openAPIV3Schema") {
                walk(root);
                root["properties"]["metadata"] = serde_json::json!({
                    "type": "object",
                    "properties": {"name": {"type": "string", "maxLength": name_max}},
                });
            }
        }
    }
    serde_json::from_value(value).expect("the pass keeps the shape of a definition")
}

fn walk(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else { return };
    node.remove("nullable");
    node.remove("title");
    formats(node);
    for key in ["properties"] {
        if let Some(children) = node.get_mut(key).and_then(Value::as_object_mut) {
            for (name, child) in children.iter_mut() {
                walk(child);
                if name == "conditions" {
                    by_type(child);
                }
            }
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = node.get_mut(key) {
            walk(child);
        }
    }
}

fn formats(node: &mut Map<String, Value>) {
    let format = match node.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16" | "int8" | "int16") => "int32",
        Some("uint32" | "uint64" | "uint") => "int64",
        _ => "",
    };
    if !format.is_empty() {
        node.insert("format".into(), format.into());
    }
    if let Some(Value::Array(values)) = node.get_mut("enum") {
        values.retain(|v| !v.is_null());
    }
}

fn by_type(list: &mut Value) {
    if let Some(list) = list.as_object_mut() {
        list.insert("x-kubernetes-list-type".into(), "map".into());
        list.insert("x-kubernetes-list-map-keys".into(), serde_json::json!(["type"]));
    }
}
