//! CEL rules of definitions (`x-kubernetes-validations`), compiled once.

use std::collections::BTreeSet;

use kube::core::cel::{CompiledSchema, ErrorKind, ValidationError, Validator, compile_schema};
use serde_json::Value;

use crate::budget::Budget;
use crate::failure::{Fault, FieldError};

/// The compiled rules of one version of a definition.
pub(crate) struct Rules {
    compiled: CompiledSchema,
    any: bool,
    /// Rules that tell of another field than the one that they are about.
    elsewhere: BTreeSet<String>,
    budget: Budget,
}

/// Rules that an object breaks.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    /// Refused.
    pub(crate) now: Vec<FieldError>,
    /// So before: told, and let through.
    pub(crate) before: Vec<FieldError>,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rules")
    }
}

impl Rules {
    /// Compiles; the faults of rules that are no CEL.
    pub(crate) fn compile(schema: &Value, path: &str) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let any = each(schema, path, &mut errors);
        if errors.is_empty() {
            let mut elsewhere = BTreeSet::new();
            told_elsewhere(schema, &mut elsewhere);
            Ok(Self {
                compiled: compile_schema(schema),
                any,
                elsewhere,
                budget: Budget::of(schema),
            })
        } else {
            Err(errors)
        }
    }

    /// Whether there is any rule.
    pub(crate) fn any(&self) -> bool {
        self.any
    }

    /// Every rule that `object` breaks, as a create or, with `old`, as an update; and those that it broke before.
    pub(crate) fn broken(&self, object: &Value, old: Option<&Value>) -> Broken {
        let mut broken = Broken::default();
        // before the library evaluates them, which would go on to the end
        if let Some(spent) = self.budget.spent(object, old) {
            broken
                .now
                .push(FieldError::new(Fault::Invalid, spent.path, spent.kind).because(spent.why));
            return broken;
        }
        let Err(errors) = Validator::new().validate_compiled(&self.compiled, object, old) else {
            return broken;
        };
        for error in errors.into_vec() {
            if self.unchanged(&error, object, old) {
                broken.before.push(said(error, object));
            } else {
                broken.now.push(said(error, object));
            }
        }
        broken
    }

    /// Whether what is wrong was so before, which an update may leave as it is (ratcheting). Not so for rules between old
    /// and new; and in lists, whose members cannot be told apart here, everything counts as changed.
    fn unchanged(&self, error: &ValidationError, object: &Value, old: Option<&Value>) -> bool {
        let path = error.field_path.as_str();
        old.is_some_and(|old| {
            let ratchets = !error.rule.contains("oldSelf")
                && !self.elsewhere.contains(&error.rule)
                && !path.is_empty()
                && !path.contains('[');
            ratchets && at(object, path).is_some() && at(object, path) == at(old, path)
        })
    }
}

/// Compiles the rules of each place by itself: only so the library tells all of them. Whether there was one.
fn each(schema: &Value, path: &str, errors: &mut Vec<FieldError>) -> bool {
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    for (i, rule) in rules.into_iter().flatten().enumerate() {
        let alone = serde_json::json!({"type": schema["type"], "x-kubernetes-validations": [rule]});
        for error in compile_schema(&alone).compilation_errors() {
            let field = format!("{path}.x-kubernetes-validations[{i}].rule");
            let value = crate::schema::validate::shown(&rule["rule"]);
            errors.push(
                FieldError::new(Fault::Invalid, field, value)
                    .because(format!("compilation failed: {error}")),
            );
        }
    }
    let mut any = rules.is_some_and(|r| !r.is_empty());
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        any |= each(inner, &format!("{path}.properties[{name}]"), errors);
    }
    for word in ["additionalProperties", "items"] {
        if let Some(inner) = schema.get(word).filter(|i| i.is_object()) {
            any |= each(inner, &format!("{path}.{word}"), errors);
        }
    }
    any
}

fn told_elsewhere(schema: &Value, out: &mut BTreeSet<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        if let (Some(text), true) = (rule["rule"].as_str(), rule.get("fieldPath").is_some()) {
            out.insert(text.to_owned());
        }
    }
    match schema {
        Value::Object(fields) => fields.values().for_each(|inner| told_elsewhere(inner, out)),
        Value::Array(items) => items.iter().for_each(|inner| told_elsewhere(inner, out)),
        _ => {}
    }
}

fn said(error: ValidationError, object: &Value) -> FieldError {
    let detail = match error.kind {
        ErrorKind::ValidationFailure => error.message,
        // refused, as the server would a rule that fails to run; and told whose fault it is
        kind => format!("rule cannot be evaluated by devapi ({kind:?}): {}", error.message),
    };
    let fault = match error.reason.as_deref() {
        Some("FieldValueRequired") => Fault::Required,
        Some("FieldValueForbidden") => Fault::Forbidden,
        Some("FieldValueDuplicate") => Fault::Duplicate,
        _ => Fault::Invalid,
    };
    // objects and lists are left to the rule's message, as the server does since 1.36
    let value = match at(object, &error.field_path) {
        Some(Value::Array(_) | Value::Object(_)) | None => String::new(),
        Some(scalar) => crate::schema::validate::shown(scalar),
    };
    let field = if error.field_path.is_empty() { "<nil>".into() } else { error.field_path };
    FieldError::new(fault, field, value).because(detail)
}

/// The value at a path like `spec.members[0].name`.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut here = object;
    for step in path.split('.').filter(|s| !s.is_empty()) {
        let mut parts = step.split('[');
        if let Some(name) = parts.next().filter(|n| !n.is_empty()) {
            here = here.get(name)?;
        }
        for index in parts {
            let index = index.trim_end_matches(']').trim_matches('"');
            here = match index.parse::<usize>() {
                Ok(i) => here.get(i)?,
                Err(_) => here.get(index)?,
            };
        }
    }
    Some(here)
}
