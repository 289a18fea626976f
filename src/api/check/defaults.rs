//! Defaults, filled in as a server does before its rules look.

use serde_json::Value;

/// Completes `value` with the defaults of `schema`, at every depth that exists.
pub fn fill(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) => {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
                if let Some(inner) = schema.get("additionalProperties") {
                    fields.values_mut().for_each(|v| fill(v, inner));
                }
                return;
            };
            for (name, property) in properties {
                if let (false, Some(default)) = (fields.contains_key(name), property.get("default"))
                {
                    fields.insert(name.clone(), default.clone());
                }
                if let Some(field) = fields.get_mut(name) {
                    fill(field, property);
                }
            }
        }
        Value::Array(items) => {
            if let Some(inner) = schema.get("items") {
                items.iter_mut().for_each(|v| fill(v, inner));
            }
        }
        _ => {}
    }
}
