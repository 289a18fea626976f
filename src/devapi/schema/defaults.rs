//! Defaults, filled in at every depth that exists.

use serde_json::Value;

use super::Node;

/// Completes `value`. A null where the schema knows the field and allows no null counts as absent, with or without a default; in
/// a list it stays, and is refused.
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
            fields.retain(|name, value| {
                let inner = node.field(name).filter(|_| value.is_null());
                inner.is_none_or(|inner| inner.flag("nullable"))
            });
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

/// Whole numbers that came with a point or an exponent are kept without: `65535.0` is written as 65535.
pub(crate) fn whole(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(whole),
        Value::Array(items) => items.iter_mut().for_each(whole),
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < WHOLE_MAX);
            // Below the limit the digits of a whole number are those of an integer.
            if let Some(digits) = float.and_then(|f| format!("{f:.0}").parse::<i64>().ok()) {
                *value = digits.into();
            }
        }
        _ => {}
    }
}

/// From here on a server writes an exponent (2^63 is 9.2e18, and what is above stays a float here).
const WHOLE_MAX: f64 = 9e18;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;
    use serde_json::json;
    use std::sync::Arc;

    /// As Kubernetes 1.35 answered in the lab.
    #[test]
    fn a_null_is_dropped_where_none_is_allowed_and_stays_where_nothing_is_known_of_it() {
        let schema = Schema::new(
            json!({"type": "object", "properties": {
                "s": {"type": "string"},
                "nul": {"type": "string", "nullable": true},
                "o": {"type": "object", "properties": {"x": {"type": "string"}}},
                "m": {"type": "object", "additionalProperties": {"type": "string"}},
                "l": {"type": "array", "items": {"type": "string"}},
                "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }}),
            Arc::default(),
        );
        let mut value = json!({"s": null, "nul": null, "o": {"x": null}, "m": {"k": null}, "l": [null], "any": {"z": null}});
        fill(&mut value, schema.root());
        assert_eq!(value, json!({"nul": null, "o": {}, "m": {}, "l": [null], "any": {"z": null}}));
    }

    #[test]
    fn a_whole_number_is_kept_without_its_point() {
        let mut value = json!({"a": [65535.0, 1e3, -0.0, 2.5, 1e30, 1e-7], "b": 7});
        whole(&mut value);
        assert_eq!(value, json!({"a": [65535, 1000, 0, 2.5, 1e30, 1e-7], "b": 7}));
    }

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
