//! Whether the schema of a definition is structural, and free of what this server cannot do.

use serde_json::Value;

use super::join;
use crate::failure::{Fault, FieldError};
use crate::limits::DEPTH_MAX;

/// Words of JSON schema that Kubernetes refuses in a definition.
const FORBIDDEN: &[&str] = &[
    "$ref",
    "definitions",
    "dependencies",
    "deprecated",
    "discriminator",
    "id",
    "patternProperties",
    "readOnly",
    "writeOnly",
    "xml",
];
/// Words that Kubernetes takes and this server does not evaluate: refused, so that nobody relies on them.
const NOT_EVALUATED: &[&str] = &["allOf", "anyOf", "oneOf", "not", "uniqueItems"];

/// The faults of a schema; `path` is that of the schema in its definition.
pub(crate) fn faults(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        let found = schema.get("type").cloned().unwrap_or_else(|| "".into());
        errors.push(
            FieldError::new(Fault::Invalid, join(path, "type"), super::validate::shown(&found))
                .because("must be object at the root"),
        );
        return errors;
    }
    walk(schema, path, Place { depth: 0, below_list: false }, &mut errors);
    errors
}

#[derive(Clone, Copy)]
struct Place {
    depth: usize,
    below_list: bool,
}

fn walk(schema: &Value, path: &str, place: Place, errors: &mut Vec<FieldError>) {
    let forbidden = |field: String, why: &str| {
        FieldError::new(Fault::Forbidden, field, "").because(why.to_owned())
    };
    if place.depth > DEPTH_MAX {
        errors.push(forbidden(path.to_owned(), "schema is too deep"));
        return;
    }
    let Some(fields) = schema.as_object() else {
        errors.push(forbidden(path.to_owned(), "must be a schema"));
        return;
    };
    for word in FORBIDDEN.iter().filter(|w| fields.contains_key(**w)) {
        errors.push(forbidden(join(path, word), "is not supported"));
    }
    let int_or_string =
        fields.get("x-kubernetes-int-or-string").and_then(Value::as_bool).unwrap_or(false);
    for word in NOT_EVALUATED.iter().filter(|w| fields.contains_key(**w)) {
        let harmless = *word == "uniqueItems" && fields[*word] == false
            || int_or_string && ["anyOf", "allOf"].contains(word);
        if !harmless {
            errors.push(forbidden(
                join(path, word),
                "devapi does not evaluate it; say it with CEL (x-kubernetes-validations)",
            ));
        }
    }
    let preserves = fields.get("x-kubernetes-preserve-unknown-fields").is_some_and(|p| *p == true);
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind.is_empty() && !int_or_string && !preserves {
        errors.push(
            FieldError::new(Fault::Required, join(path, "type"), "")
                .because("must not be empty for specified object fields"),
        );
    }
    lists(fields, kind, path, errors);
    if place.below_list && has_transition_rule(schema) {
        errors.push(forbidden(
            join(path, "x-kubernetes-validations"),
            "devapi does not evaluate rules with oldSelf below a list; put the rule above it",
        ));
    }
    let next = |below_list: bool| Place { depth: place.depth + 1, below_list };
    for (name, inner) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(inner, &format!("{path}.properties[{name}]"), next(place.below_list), errors);
    }
    if let Some(inner) = fields.get("additionalProperties").filter(|a| a.is_object()) {
        let path = join(path, "additionalProperties");
        walk(inner, &path, next(place.below_list), errors);
    }
    if let Some(inner) = fields.get("items") {
        walk(inner, &join(path, "items"), next(true), errors);
    }
}

fn lists(
    fields: &serde_json::Map<String, Value>,
    kind: &str,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if kind == "array" && !fields.contains_key("items") {
        errors.push(
            FieldError::new(Fault::Required, join(path, "items"), "").because("must be specified"),
        );
    }
    let Some(list) = fields.get("x-kubernetes-list-type").and_then(Value::as_str) else { return };
    let keys = fields.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
    if !["atomic", "map", "set"].contains(&list) {
        errors.push(
            FieldError::new(
                Fault::NotSupported,
                join(path, "x-kubernetes-list-type"),
                format!("{list:?}"),
            )
            .because(r#"supported values: "atomic", "map", "set""#),
        );
    }
    if list == "map" && keys.is_none_or(Vec::is_empty) {
        errors.push(
            FieldError::new(Fault::Required, join(path, "x-kubernetes-list-map-keys"), "")
                .because("must not be empty if x-kubernetes-list-type is map"),
        );
    }
}

fn has_transition_rule(schema: &Value) -> bool {
    schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|r| r.get("rule").and_then(Value::as_str))
        .any(|rule| rule.contains("oldSelf"))
}
