//! Fields that the schema does not know: removed, and told.

use serde_json::Value;

use super::{Node, join};

/// Removes what `node` does not know. Gives the paths, in the order of the object.
pub(crate) fn prune(value: &mut Value, node: Node<'_>) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(value, node, "", &mut unknown);
    unknown
}

fn walk(value: &mut Value, node: Node<'_>, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let keeps = node.keeps_unknown();
            let embedded = node.flag("x-kubernetes-embedded-resource");
            fields.retain(|name, _| {
                let known = keeps
                    || node.field(name).is_some()
                    || (embedded && ["apiVersion", "kind", "metadata"].contains(&name.as_str()));
                if !known {
                    unknown.push(join(path, name));
                }
                known
            });
            for (name, field) in fields.iter_mut() {
                if let Some(inner) = node.field(name) {
                    walk(field, inner, &join(path, name), unknown);
                }
            }
        }
        Value::Array(items) => {
            if let Some(inner) = node.items() {
                for (i, item) in items.iter_mut().enumerate() {
                    walk(item, inner, &format!("{path}[{i}]"), unknown);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn unknown_fields_go_at_every_depth_and_preserved_ones_stay() {
        let schema = Schema::new(
            json!({"type": "object", "properties": {
                "spec": {"type": "object", "properties": {
                    "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}},
                    "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                            "properties": {"known": {"type": "object", "properties": {}}}},
                    "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"b": {"type": "string"}}}},
                }},
            }}),
            Arc::default(),
        );
        let mut value = json!({"spec": {
            "list": [{"a": 1, "z": 2}], "any": {"x": {"y": 1}, "known": {"q": 1}},
            "map": {"k": {"b": "s", "c": 1}}, "typo": 1,
        }});
        let unknown = prune(&mut value, schema.root());
        assert_eq!(unknown, ["spec.typo", "spec.any.known.q", "spec.list[0].z", "spec.map.k.c"]);
        assert_eq!(
            value,
            json!({"spec": {"list": [{"a": 1}], "any": {"x": {"y": 1}, "known": {}}, "map": {"k": {"b": "s"}}}})
        );
    }
}
