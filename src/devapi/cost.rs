//! What a rule costs at most, as far as its schema says: whoever writes one that can never be afforded hears of it then.
//!
//! Kubernetes estimates each rule of a definition before it takes it (10 million units at most, of a request of 3 MiB). This is
//! the least that its estimate can come to: the turns of loops alone, each for one unit, over lists and maps whose length
//! the schema bounds or that could fill a request. What is refused here is refused there, in the same words, for it is beyond
//! the limit by more than a hundred times; what is taken here may still be refused there.

use kube::core::cel::cel::{
    Program,
    common::ast::{ComprehensionExpr, Expr},
};
use serde_json::Value;

use crate::failure::{Fault, FieldError};

/// Units of one rule. Kubernetes' own limit.
const RULE_MAX: f64 = 10_000_000.0;
/// Units of all rules of one schema. Kubernetes' own limit.
const ALL_MAX: f64 = 100_000_000.0;
/// Of those that a schema cannot afford together, Kubernetes names so many.
const NAMED_MAX: usize = 4;
/// Beyond the limit by so many times Kubernetes says "more than" and no figure.
const BEYOND: f64 = 100.0;
/// Bytes of a request. Kubernetes' own limit.
const REQUEST_BYTES: f64 = 3.0 * 1024.0 * 1024.0;

/// The rules of a schema that no object could afford.
pub(crate) fn faults(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut found = Vec::new();
    each(schema, path, 1.0, &mut found);
    let forbidden = |field: &str, why: &str| {
        FieldError::new(Fault::Forbidden, field.to_owned(), "").because(why.to_owned())
    };
    let beyond = |what: &str| {
        format!(
            "{what} exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, \
             maxProperties, and maxLength where arrays, maps, and strings are declared)"
        )
    };
    let each = found.iter().map(|(_, field)| forbidden(field, &beyond("estimated rule cost")));
    let mut errors: Vec<FieldError> = each.collect();
    let all: f64 = found.iter().map(|(cost, _)| cost).sum();
    if all > ALL_MAX * BEYOND {
        found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        errors.extend(found.iter().take(NAMED_MAX).map(|(_, field)| forbidden(field, why)));
        let total =
            "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.push(forbidden(path, &beyond(total)));
    }
    errors
}

/// Adds what the rules cost that are beyond their limit, each with its field. `times`: how often this place may be there in one
/// object.
fn each(schema: &Value, path: &str, times: f64, found: &mut Vec<(f64, String)>) {
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    for (i, rule) in rules.into_iter().flatten().enumerate() {
        let program = rule["rule"].as_str().and_then(|text| Program::compile(text).ok());
        // what is no CEL is told elsewhere
        let Some(program) = program else { continue };
        let mut names = vec![("self".to_owned(), schema), ("oldSelf".to_owned(), schema)];
        let cost = turns(&program.expression().expr, &mut names) * times;
        if cost > RULE_MAX * BEYOND {
            found.push((cost, format!("{path}.x-kubernetes-validations[{i}].rule")));
        }
    }
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        each(inner, &format!("{path}.properties[{name}]"), times, found);
    }
    for word in ["additionalProperties", "items"] {
        if let Some(inner) = schema.get(word).filter(|inner| inner.is_object()) {
            each(inner, &format!("{path}.{word}"), times * length(schema), found);
        }
    }
}

/// How often loops turn, at least as often as Kubernetes thinks: what is not understood turns once.
fn turns(expr: &Expr, names: &mut Vec<(String, &Value)>) -> f64 {
    match expr {
        Expr::Comprehension(inner) => looped(inner, names),
        Expr::Call(call) => {
            let target = call.target.as_ref().map_or(0.0, |target| turns(&target.expr, names));
            target + call.args.iter().map(|arg| turns(&arg.expr, names)).sum::<f64>()
        }
        Expr::Select(select) => turns(&select.operand.expr, names),
        Expr::List(list) => list.elements.iter().map(|e| turns(&e.expr, names)).sum(),
        _ => 0.0,
    }
}

fn looped(inner: &ComprehensionExpr, names: &mut Vec<(String, &Value)>) -> f64 {
    let over = place(&inner.iter_range.expr, names);
    let before = turns(&inner.iter_range.expr, names);
    let member = over.and_then(|schema| schema.get("items"));
    let known = names.len();
    // a name of a loop hides one outside; the key of a map, and what is not known, is no place
    names.push((inner.iter_var.clone(), member.unwrap_or(&Value::Null)));
    if let Some(second) = &inner.iter_var2 {
        names.push((second.clone(), &Value::Null));
    }
    let each = 1.0 + turns(&inner.loop_cond.expr, names) + turns(&inner.loop_step.expr, names);
    names.truncate(known);
    before + over.map_or(1.0, length) * each
}

/// The schema of a place that an expression names.
fn place<'a>(expr: &Expr, names: &[(String, &'a Value)]) -> Option<&'a Value> {
    match expr {
        Expr::Ident(name) => {
            names.iter().rev().find(|(known, _)| known == name).map(|(_, schema)| *schema)
        }
        Expr::Select(select) if !select.test => {
            place(&select.operand.expr, names)?.get("properties")?.get(&select.field)
        }
        _ => None,
    }
}

/// Members that a list or a map may have; 1 for anything else.
fn length(schema: &Value) -> f64 {
    let (word, member) = match schema.get("items") {
        Some(items) => ("maxItems", items),
        None => match schema.get("additionalProperties").filter(|inner| inner.is_object()) {
            Some(values) => ("maxProperties", values),
            None => return 1.0,
        },
    };
    // with a comma; a map's keys take more than nothing, and make it fewer, as their quotes and colon do
    let key = if word == "maxProperties" { 5.0 } else { 0.0 };
    let fits = (REQUEST_BYTES / (least_bytes(member) + key + 1.0)).floor();
    schema.get(word).and_then(Value::as_f64).map_or(fits, |most| most.min(fits))
}

/// What a value takes as JSON, at least: rather too much here, for fewer fit then.
fn least_bytes(schema: &Value) -> f64 {
    let required = || schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match schema["type"].as_str() {
        Some("object") => required().fold(2.0, |sum, name| {
            sum + f64::from(u32::try_from(name.len()).unwrap_or(u32::MAX))
                + 5.0
                + least_bytes(&schema["properties"][name])
        }),
        Some("boolean") => 5.0,
        // strings with a format or a least length, lists with members: whatever they are, no less than that
        Some("string") => {
            2.0 + schema["minLength"]
                .as_f64()
                .unwrap_or(0.0)
                .max(if schema.get("format").is_some() { 40.0 } else { 0.0 })
        }
        Some("array") => {
            2.0 + schema["minItems"].as_f64().unwrap_or(0.0) * (least_bytes(&schema["items"]) + 1.0)
        }
        _ => 8.0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(list: &Value, rule: &str) -> Value {
        json!({"type": "object", "properties": {"spec": {
            "type": "object",
            "properties": {"names": list},
            "x-kubernetes-validations": [{"rule": rule}],
        }}})
    }

    const PAIRS: &str = "self.names.all(a, self.names.exists(b, a != b))";

    #[test]
    fn a_rule_over_pairs_of_a_list_without_an_end_is_refused_and_with_one_it_is_not() {
        let endless = json!({"type": "array", "items": {"type": "string"}});
        let found = faults(&schema(&endless, PAIRS), "spec.validation.openAPIV3Schema");
        assert_eq!(found.len(), 3, "by itself, as part of all, and all");
        let said = format!("{:?}", found[0]);
        assert!(said.contains("properties[spec].x-kubernetes-validations[0].rule"), "{said}");
        assert!(said.contains("exceeds budget by factor of more than 100x"), "{said}");
        let bounded = json!({"type": "array", "maxItems": 256, "items": {"type": "string"}});
        assert!(faults(&schema(&bounded, PAIRS), "").is_empty());
        let one = "self.names.all(a, a.size() > 0)";
        assert!(faults(&schema(&endless, one), "").is_empty(), "a million turns can be afforded");
        assert!(faults(&schema(&endless, "self.names.size() > 0"), "").is_empty());
        assert!(faults(&schema(&endless, "[1, 2].all(a, [3].all(b, a < b))"), "").is_empty());
    }

    #[test]
    fn a_rule_below_a_list_counts_as_often_as_that_may_have_members() {
        let rule = json!([{"rule": "self.all(a, a != '')"}]);
        let inner =
            json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": rule});
        let outer = json!({"type": "array", "items": inner});
        assert_eq!(faults(&outer, "s").len(), 3);
        let outer = json!({"type": "array", "maxItems": 100, "items": inner});
        assert_eq!(faults(&outer, "s").len(), 0);
    }
}
