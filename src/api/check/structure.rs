//! The structural half: unknown fields, types, enums, limits, required fields. Messages in our own words.

use serde_json::{Map, Value};

use super::{Fault, suggest};

/// Faults of one object that are collected; one file of nonsense must not fill a terminal.
const FAULTS_MAX: usize = 50;
/// Characters of a value that a message repeats.
const SHOWN_MAX: usize = 40;
/// Fields that hold secrets where people expect them; their value is never repeated.
const SECRET_FIELDS: &[&str] =
    &["password", "passwd", "secret", "token", "credentials", "username"];

/// What a server does with a null: the field counts as absent.
pub(super) fn prune_nulls(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, v| !v.is_null());
            for (name, field) in fields.iter_mut() {
                let inner = schema.get("properties").and_then(|p| p.get(name));
                prune_nulls(field, inner.unwrap_or(&Value::Null));
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|v| prune_nulls(v, schema.get("items").unwrap_or(&Value::Null))),
        _ => {}
    }
}

/// Every structural fault of an object.
pub(super) fn faults(object: &Value, schema: &Value) -> Vec<Fault> {
    let mut out = Vec::new();
    let Some(fields) = object.as_object() else { return out };
    for (name, value) in fields {
        match name.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                if let (Some(name), Some(inner)) = (
                    value.get("name").filter(|n| n.is_string()),
                    schema.pointer("/properties/metadata/properties/name"),
                ) {
                    walk(name, inner, "metadata.name", &mut out);
                }
            }
            _ => match schema.pointer(&format!("/properties/{name}")) {
                Some(inner) => walk(value, inner, name, &mut out),
                None => out.push(unknown(name, name, schema)),
            },
        }
    }
    required(fields, schema, "", &mut out);
    out.truncate(FAULTS_MAX);
    out
}

fn walk(value: &Value, schema: &Value, path: &str, out: &mut Vec<Fault>) {
    if out.len() >= FAULTS_MAX {
        return;
    }
    let expected = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    if !of_type(value, expected) {
        return push(out, path, format!("expected {expected}, got {}", shown_with_type(value)));
    }
    match value {
        Value::Object(fields) => object(fields, schema, path, out),
        Value::Array(items) => list(items, schema, path, out),
        Value::String(text) => string(text, schema, path, out),
        Value::Number(number) => numeric(number.as_f64().unwrap_or(f64::NAN), schema, path, out),
        _ => {}
    }
}

fn object(fields: &Map<String, Value>, schema: &Value, path: &str, out: &mut Vec<Fault>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, field) in fields {
        let inner = format!("{path}.{name}");
        match (properties.and_then(|p| p.get(name)), schema.get("additionalProperties")) {
            (Some(property), _) => walk(field, property, &inner, out),
            (None, Some(any)) => walk(field, any, &inner, out),
            (None, None) => out.push(unknown(&inner, name, schema)),
        }
    }
    required(fields, schema, path, out);
}

fn required(fields: &Map<String, Value>, schema: &Value, path: &str, out: &mut Vec<Fault>) {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in names.filter_map(Value::as_str).filter(|n| !fields.contains_key(*n)) {
        let has_default = schema.pointer(&format!("/properties/{name}/default")).is_some();
        if !has_default {
            let full = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let example = schema
                .pointer(&format!("/properties/{name}/description"))
                .and_then(Value::as_str)
                .and_then(|d| d.split("Example: ").nth(1))
                .map(|e| format!(", for example {}", e.trim_end_matches('.')))
                .unwrap_or_default();
            push(out, &full, format!("is required{example}"));
        }
    }
}

fn list(items: &[Value], schema: &Value, path: &str, out: &mut Vec<Fault>) {
    let limit = |key: &str| schema.get(key).and_then(Value::as_u64);
    let count = items.len() as u64;
    if let Some(min) = limit("minItems").filter(|min| count < *min) {
        let item = path.rsplit('.').next().unwrap_or(path).trim_end_matches('s');
        push(out, path, format!("at least {min} {item} is required"));
    }
    if let Some(max) = limit("maxItems").filter(|max| count > *max) {
        return push(out, path, format!("{count} items, at most {max}"));
    }
    let Some(inner) = schema.get("items") else { return };
    for (i, item) in items.iter().enumerate() {
        walk(item, inner, &format!("{path}[{i}]"), out);
    }
}

fn string(text: &str, schema: &Value, path: &str, out: &mut Vec<Fault>) {
    let limit = |key: &str| schema.get(key).and_then(Value::as_u64);
    let count = text.chars().count() as u64;
    if let Some(max) = limit("maxLength").filter(|max| count > *max) {
        return push(out, path, format!("{count} characters, at most {max}"));
    }
    if let Some(min) = limit("minLength").filter(|min| count < *min) {
        return push(out, path, format!("{count} characters, at least {min}"));
    }
    let Some(values) = schema.get("enum").and_then(Value::as_array) else { return };
    let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
    if values.contains(&text) {
        return;
    }
    let hint = suggest::closest(text, values.iter().copied());
    let why = match text.to_lowercase().as_str() {
        "cycle" | "forcerestart" | "powercycle" => {
            ": cannot prove power-off; use Reboot (off, verify, on) or Off".to_owned()
        }
        _ => suggest::did_you_mean(hint),
    };
    push(
        out,
        path,
        format!("unsupported value {}{why}; supported: {}", cut(text), values.join(", ")),
    );
}

fn numeric(number: f64, schema: &Value, path: &str, out: &mut Vec<Fault>) {
    let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
    let (min, max) = (limit("minimum"), limit("maximum"));
    if min.is_some_and(|m| number < m) || max.is_some_and(|m| number > m) {
        let range = match (min, max) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (None, Some(max)) => format!("at most {max}"),
            (None, None) => return,
        };
        push(out, path, format!("{number} is out of range: {range}"));
    }
}

fn unknown(path: &str, name: &str, schema: &Value) -> Fault {
    let known: Vec<&str> = schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|p| p.keys().map(String::as_str))
        .collect();
    let short: String = path.chars().take(120).collect();
    if SECRET_FIELDS.contains(&name.to_lowercase().as_str()) {
        let message =
            format!("unknown field {name:?}; put credentials in a Secret and use credentialsRef");
        return Fault { path: short, message };
    }
    if name == "insecureSkipVerify" {
        let message = format!(
            "unknown field {name:?}; a BMC's certificate is always checked: write certificateSha256, or put ca.crt into the Secret"
        );
        return Fault { path: short, message };
    }
    let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
    let hint = suggest::closest(name, known)
        .map(|h| if parent.is_empty() { h.to_owned() } else { format!("{parent}.{h}") });
    let message = format!("unknown field {}{}", cut(path), suggest::did_you_mean(hint.as_deref()));
    Fault { path: short, message }
}

fn of_type(value: &Value, expected: &str) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    }
}

fn shown_with_type(value: &Value) -> String {
    match value {
        Value::String(text) => format!("string {}", cut(text)),
        Value::Bool(b) => format!("boolean {b}"),
        Value::Number(n) => format!("number {n}"),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".into(),
        Value::Null => "null".into(),
    }
}

/// A value in quotes, cut and escaped: it may be 10 kB of anything.
fn cut(text: &str) -> String {
    let head: String = text.chars().take(SHOWN_MAX).collect();
    let dots = if head.len() < text.len() { "..." } else { "" };
    format!("{:?}", format!("{head}{dots}"))
}

fn push(out: &mut Vec<Fault>, path: &str, message: String) {
    out.push(Fault { path: path.to_owned(), message });
}
