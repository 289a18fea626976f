//! Label and field selectors.

use serde_json::Value;

use crate::failure::Failure;
use crate::meta;
use crate::resource::Resource;
use crate::table::find;

/// Requirements of one selector: an object must meet all.
const REQUIREMENTS_MAX: usize = 64;

/// What a list or watch wants to see.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    /// Path, value, whether it must be equal.
    fields: Vec<(String, String, bool)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
    Over(String, i64),
    Under(String, i64),
}

impl Selector {
    /// Reads both selectors of a request.
    pub(crate) fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self, Failure> {
        Ok(Self {
            labels: label_requirements(labels)?,
            fields: field_requirements(resource, fields)?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether the object meets every requirement.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = meta::labels(object);
        let label = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
        self.labels.iter().all(|r| match r {
            Requirement::In(key, values) => {
                label(key).is_some_and(|v| values.iter().any(|w| w == v))
            }
            Requirement::NotIn(key, values) => {
                label(key).is_none_or(|v| values.iter().all(|w| w != v))
            }
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Missing(key) => label(key).is_none(),
            Requirement::Over(key, n) => {
                label(key).and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v > *n)
            }
            Requirement::Under(key, n) => {
                label(key).and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v < *n)
            }
        }) && self
            .fields
            .iter()
            .all(|(path, value, equal)| (field(object, path) == *value) == *equal)
    }
}

/// A field as selectors compare it: absent counts as empty, or as false where it is one.
fn field(object: &Value, path: &str) -> String {
    match find(path, object).first() {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None if path == ".spec.unschedulable" => "false".to_owned(),
        None => String::new(),
    }
}

fn field_requirements(
    resource: &Resource,
    text: &str,
) -> Result<Vec<(String, String, bool)>, Failure> {
    let mut out = Vec::new();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (name, value, equal) = if let Some((n, v)) = part.split_once("!=") {
            (n, v, false)
        } else if let Some((n, v)) = part.split_once("==") {
            (n, v, true)
        } else if let Some((n, v)) = part.split_once('=') {
            (n, v, true)
        } else {
            return Err(Failure::bad_request(format!(
                "invalid field selector {part:?}; can't understand it: write field=value or field!=value"
            )));
        };
        let path = match name {
            "metadata.name" => ".metadata.name".to_owned(),
            "metadata.namespace" if resource.namespaced => ".metadata.namespace".to_owned(),
            _ => match resource.selectable.iter().find(|(n, _)| n == name) {
                Some((_, path)) => path.clone(),
                None => {
                    return Err(Failure::bad_request(not_selectable(resource, name)));
                }
            },
        };
        out.push((path, value.to_owned(), equal));
    }
    limited(out)
}

/// As Kubernetes says it: kinds that have fields of their own to select by say it shorter.
fn not_selectable(resource: &Resource, name: &str) -> String {
    if resource.selectable.is_empty() && !resource.custom {
        let known = r#"only "metadata.name", "metadata.namespace""#;
        return format!("{name:?} is not a known field selector: {known}");
    }
    format!("field label not supported: {name}")
}

fn limited<T>(requirements: Vec<T>) -> Result<Vec<T>, Failure> {
    if requirements.len() > REQUIREMENTS_MAX {
        return Err(Failure::bad_request(format!(
            "the selector has {} requirements, at most {REQUIREMENTS_MAX}",
            requirements.len()
        )));
    }
    Ok(requirements)
}

fn label_requirements(text: &str) -> Result<Vec<Requirement>, Failure> {
    let mut out = Vec::new();
    for part in outside_brackets(text) {
        let part = part.trim();
        if !part.is_empty() {
            out.push(requirement(part)?);
        }
    }
    limited(out)
}

/// Splits at commas that stand in no brackets.
fn outside_brackets(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0usize, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[from..i]);
                from = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

fn requirement(part: &str) -> Result<Requirement, Failure> {
    let wrong = || {
        Failure::bad_request(format!(
            "unable to parse requirement {part:?}: write key, !key, key=value, key!=value, \
             key in (a,b) or key notin (a,b)"
        ))
    };
    let key = |text: &str| {
        let text = text.trim();
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if text.is_empty() || !text.chars().all(fine) { Err(wrong()) } else { Ok(text.to_owned()) }
    };
    if let Some(open) = part.find('(') {
        let inner = part[open + 1..].trim_end().strip_suffix(')').ok_or_else(wrong)?;
        let values = inner.split(',').map(|v| v.trim().to_owned()).collect();
        let head = part[..open].trim_end();
        return if let Some(k) = head.strip_suffix(" notin") {
            Ok(Requirement::NotIn(key(k)?, values))
        } else if let Some(k) = head.strip_suffix(" in") {
            Ok(Requirement::In(key(k)?, values))
        } else {
            Err(wrong())
        };
    }
    let one = |v: &str| {
        let v = v.trim();
        let odd = v.chars().find(|c| "=!<>()".contains(*c) || c.is_whitespace());
        match odd {
            None => Ok(vec![v.to_owned()]),
            Some(odd) => Err(Failure::bad_request(format!(
                "unable to parse requirement: found '{odd}', expected: identifier"
            ))),
        }
    };
    if let Some(k) = part.strip_prefix('!') {
        Ok(Requirement::Missing(key(k)?))
    } else if let Some((k, v)) = part.split_once("!=") {
        Ok(Requirement::NotIn(key(k)?, one(v)?))
    } else if let Some((k, v)) = part.split_once("==").or_else(|| part.split_once('=')) {
        Ok(Requirement::In(key(k)?, one(v)?))
    } else if let Some((k, v)) = part.split_once('>') {
        Ok(Requirement::Over(key(k)?, v.trim().parse().map_err(|_| wrong())?))
    } else if let Some((k, v)) = part.split_once('<') {
        Ok(Requirement::Under(key(k)?, v.trim().parse().map_err(|_| wrong())?))
    } else {
        Ok(Requirement::Exists(key(part)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use serde_json::json;

    fn matches(labels: &str, fields: &str) -> Result<bool, u16> {
        let catalog = Catalog::new([]);
        let secrets = catalog.find("", "v1", "secrets").expect("served");
        let object = json!({"metadata": {"name": "a", "namespace": "ns", "labels": {"x": "1", "y": "b"}},
                            "type": "Opaque"});
        Selector::parse(secrets, labels, fields).map(|s| s.matches(&object)).map_err(|f| f.code)
    }

    #[test]
    fn selectors_say_what_kubernetes_says() {
        let cases: &[(&str, &str, Result<bool, u16>)] = &[
            ("", "", Ok(true)),
            ("x=1", "", Ok(true)),
            ("x==1,y!=c", "", Ok(true)),
            ("z!=c", "", Ok(true)),
            ("x in (1, 2),y notin (c)", "", Ok(true)),
            ("x in (2)", "", Ok(false)),
            ("x", "", Ok(true)),
            ("!x", "", Ok(false)),
            ("x>0,x<2", "", Ok(true)),
            ("x in 2", "", Err(400)),
            ("x= =1", "", Err(400)),
            ("", "metadata.name=a,metadata.namespace=ns", Ok(true)),
            ("", "metadata.name!=a", Ok(false)),
            ("", "type=Opaque", Ok(true)),
            ("", "data.x=1", Err(400)),
            ("", "type", Err(400)),
        ];
        for (labels, fields, expected) in cases {
            assert_eq!(matches(labels, fields), *expected, "{labels:?} {fields:?}");
        }
    }
}
