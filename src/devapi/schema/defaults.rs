//! Defaults, filled in at every depth that exists.

use serde_json::Value;

use super::Node;

/// Completes `value`. A null where the schema has a default and allows no null counts as absent.
pub(crate) fn fill(value: &mut Value, node: Node<'_>) {
    match value {
        Value::Object(fields) => {
            for (name, own) in node.properties().into_iter().flatten() {
                let property = node.child(own);
                let Some(default) = property.default() else { continue };
                match fields.get(name) {
                    None => {}
                    Some(Value::Null) if !property.flag("nullable") => {}
                    Some(_) => continue,
                }
                fields.insert(name.clone(), default.clone());
            }
            for (name, field) in fields.iter_mut() {
                if let Some(inner) = node.field(name) {
                    fill(field, inner);
                }
            }
        }
        Value::Array(items) => {
            if let Some(inner) = node.items() {
                items.iter_mut().for_each(|item| fill(item, inner));
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
    fn defaults_fill_what_exists_and_make_no_parents() {
        let schema = Schema::new(
            json!({"type": "object", "properties": {
                "spec": {"type": "object", "properties": {
                    "n": {"type": "integer", "default": 3},
                    "o": {"type": "object", "default": {}, "properties": {"x": {"type": "string", "default": "y"}}},
                    "p": {"type": "object", "properties": {"x": {"type": "string", "default": "y"}}},
                    "nul": {"type": "string", "nullable": true, "default": "d"},
                }},
                "status": {"type": "object", "properties": {"x": {"type": "string", "default": "y"}}},
            }}),
            Arc::default(),
        );
        let mut value = json!({"spec": {"n": null, "nul": null}});
        fill(&mut value, schema.root());
        assert_eq!(value, json!({"spec": {"n": 3, "nul": null, "o": {"x": "y"}}}));
        let once = value.clone();
        fill(&mut value, schema.root());
        assert_eq!(value, once, "filling twice changes nothing");
    }
}
