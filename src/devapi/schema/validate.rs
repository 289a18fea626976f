//! Structural validation, in the words of a Kubernetes API server.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use regex::Regex;
use serde_json::{Map, Value};

use super::{ListType, Node, join};
use crate::failure::{Fault, FieldError};
use crate::limits::FIELD_ERRORS_MAX;

/// Compiled patterns that a thread keeps.
const PATTERNS_KEPT_MAX: usize = 512;

/// Every structural fault of `value`. What is as it was in `old` has none (Kubernetes calls that ratcheting).
pub(crate) fn validate(
    value: &Value,
    old: Option<&Value>,
    node: Node<'_>,
    path: &str,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(value, old, node, path, &mut errors);
    errors.truncate(FIELD_ERRORS_MAX);
    errors
}

fn walk(
    value: &Value,
    old: Option<&Value>,
    node: Node<'_>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if errors.len() >= FIELD_ERRORS_MAX || old == Some(value) {
        return;
    }
    if value.is_null() && node.flag("nullable") {
        return;
    }
    let expected = node.kind();
    if !of_type(value, node, expected) {
        let found = kind_of(value);
        let expected = if node.int_or_string() { "integer,string" } else { expected };
        let detail = format!("{path} in body must be of type {expected}: \"{found}\"");
        errors.push(
            FieldError::new(Fault::TypeInvalid, path, format!("\"{found}\"")).because(detail),
        );
        return;
    }
    allowed(value, node, path, errors);
    match value {
        Value::Object(fields) => object(fields, old, node, path, errors),
        Value::Array(items) => list(items, old, node, path, errors),
        Value::String(text) => string(text, node, path, errors),
        Value::Number(number) => {
            numeric(number.as_f64().unwrap_or(f64::NAN), value, node, path, errors)
        }
        _ => {}
    }
}

fn of_type(value: &Value, node: Node<'_>, expected: &str) -> bool {
    if node.int_or_string() {
        return value.is_string() || is_integer(value) || value.is_number() && expected.is_empty();
    }
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => is_integer(value),
        "number" => value.is_number(),
        _ => true,
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|f| f.fract() == 0.0)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A value as messages show it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Null => "null".to_owned(),
        Value::Array(_) | Value::Object(_) => {
            let text = value.to_string();
            let cut: String = text.chars().take(400).collect();
            if cut.len() < text.len() { format!("{cut}...") } else { text }
        }
        other => other.to_string(),
    }
}

fn allowed(value: &Value, node: Node<'_>, path: &str, errors: &mut Vec<FieldError>) {
    let Some(values) = node.get("enum").and_then(Value::as_array) else { return };
    if !values.contains(value) {
        let supported: Vec<String> = values.iter().map(shown).collect();
        errors.push(
            FieldError::new(Fault::NotSupported, path, shown(value))
                .because(format!("supported values: {}", supported.join(", "))),
        );
    }
}

fn object(
    fields: &Map<String, Value>,
    old: Option<&Value>,
    node: Node<'_>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let required = node.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            errors.push(FieldError::new(Fault::Required, join(path, name), ""));
        }
    }
    let limit = |key: &str| node.get(key).and_then(Value::as_u64);
    let count = fields.len() as u64;
    if let Some(max) = limit("maxProperties").filter(|max| count > *max) {
        errors.push(
            FieldError::new(Fault::TooMany, path, count.to_string())
                .because(format!("must have at most {max} items")),
        );
        return;
    }
    if let Some(min) = limit("minProperties").filter(|min| count < *min) {
        errors.push(
            FieldError::new(Fault::Invalid, path, count.to_string())
                .because(format!("{path} in body should have at least {min} properties")),
        );
    }
    for (name, field) in fields {
        if let Some(inner) = node.property(name).or_else(|| node.additional()) {
            walk(field, old.and_then(|o| o.get(name)), inner, &join(path, name), errors);
        }
    }
}

fn list(
    items: &[Value],
    old: Option<&Value>,
    node: Node<'_>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let limit = |key: &str| node.get(key).and_then(Value::as_u64);
    let count = items.len() as u64;
    if let Some(max) = limit("maxItems").filter(|max| count > *max) {
        errors.push(
            FieldError::new(Fault::TooMany, path, count.to_string())
                .because(format!("must have at most {max} items")),
        );
        return;
    }
    if let Some(min) = limit("minItems").filter(|min| count < *min) {
        errors.push(
            FieldError::new(Fault::Invalid, path, count.to_string())
                .because(format!("{path} in body should have at least {min} items")),
        );
    }
    if let Some(inner) = node.items() {
        for (i, item) in items.iter().enumerate() {
            walk(item, before(item, old, node), inner, &format!("{path}[{i}]"), errors);
        }
    }
    twice(items, node, path, errors);
}

/// What a member of a list was before: only lists that have keys can tell.
fn before<'a>(item: &Value, old: Option<&'a Value>, node: Node<'_>) -> Option<&'a Value> {
    let ListType::Map(keys) = node.list_type() else { return None };
    old?.as_array()?.iter().find(|o| keys.iter().all(|key| o.get(*key) == item.get(*key)))
}

/// Sets and maps hold each member once.
fn twice(items: &[Value], node: Node<'_>, path: &str, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (i, item) in items.iter().enumerate() {
        let identity = match node.list_type() {
            ListType::Atomic => return,
            ListType::Set => item.clone(),
            ListType::Map(keys) => {
                let mut identity = Map::new();
                for key in keys {
                    if let Some(value) = item.get(key) {
                        identity.insert(key.to_owned(), value.clone());
                    }
                }
                Value::Object(identity)
            }
        };
        if !seen.insert(identity.to_string()) {
            errors.push(FieldError::new(
                Fault::Duplicate,
                format!("{path}[{i}]"),
                shown(&identity),
            ));
        }
    }
}

fn string(text: &str, node: Node<'_>, path: &str, errors: &mut Vec<FieldError>) {
    let limit = |key: &str| node.get(key).and_then(Value::as_u64);
    let count = text.chars().count() as u64;
    if let Some(max) = limit("maxLength").filter(|max| count > *max) {
        let bytes = if max == 1 { "byte" } else { "bytes" };
        errors.push(
            FieldError::new(Fault::TooLong, path, "")
                .because(format!("may not be more than {max} {bytes}")),
        );
        return;
    }
    let invalid =
        |detail: String| FieldError::new(Fault::Invalid, path, format!("{text:?}")).because(detail);
    if let Some(min) = limit("minLength").filter(|min| count < *min) {
        errors.push(invalid(format!("{path} in body should be at least {min} chars long")));
    }
    if let Some(pattern) = node.get("pattern").and_then(Value::as_str)
        && !matches(pattern, text)
    {
        errors.push(invalid(format!("{path} in body should match '{pattern}'")));
    }
    if let Some(format) = node.get("format").and_then(Value::as_str)
        && !has_format(format, text)
    {
        errors.push(invalid(format!("{path} in body must be of type {format}: {text:?}")));
    }
}

/// The formats that a wrong value of would break a client's reader. Others are annotations here.
fn has_format(format: &str, text: &str) -> bool {
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "byte" => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(text).is_ok()
        }
        _ => true,
    }
}

/// A pattern that is no regular expression of this engine matches nothing: refused, never let through.
fn matches(pattern: &str, text: &str) -> bool {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Option<Regex>>> = RefCell::new(HashMap::new());
    }
    COMPILED.with_borrow_mut(|compiled| {
        if compiled.len() >= PATTERNS_KEPT_MAX {
            compiled.clear();
        }
        compiled
            .entry(pattern.to_owned())
            .or_insert_with(|| Regex::new(pattern).ok())
            .as_ref()
            .is_some_and(|regex| regex.is_match(text))
    })
}

fn numeric(number: f64, value: &Value, node: Node<'_>, path: &str, errors: &mut Vec<FieldError>) {
    let limit = |key: &str| node.get(key).and_then(Value::as_f64);
    let mut wrong = |detail: String| {
        errors.push(FieldError::new(Fault::Invalid, path, shown(value)).because(detail));
    };
    let (over, or_equal) = if node.flag("exclusiveMaximum") {
        (limit("maximum").filter(|max| number >= *max), "")
    } else {
        (limit("maximum").filter(|max| number > *max), "or equal to ")
    };
    if let Some(max) = over {
        wrong(format!("{path} in body should be less than {or_equal}{max}"));
    }
    let (under, or_equal) = if node.flag("exclusiveMinimum") {
        (limit("minimum").filter(|min| number <= *min), "")
    } else {
        (limit("minimum").filter(|min| number < *min), "or equal to ")
    };
    if let Some(min) = under {
        wrong(format!("{path} in body should be greater than {or_equal}{min}"));
    }
    if let Some(of) = limit("multipleOf").filter(|of| *of != 0.0 && (number / of).fract() != 0.0) {
        wrong(format!("{path} in body should be a multiple of {of}"));
    }
}
