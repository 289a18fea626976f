//! Whom a policy or a binding is about.

use serde_json::Value;

use super::Asked;
use crate::meta::{self, Key};
use crate::verbs::{Part, World};

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

fn holds_word(rule: &Value, field: &str, fits: impl Fn(&str) -> bool) -> bool {
    list(rule, field).filter_map(Value::as_str).any(|word| word == "*" || fits(word))
}

/// Whether `matchConstraints` or `matchResources` say that a request is meant. A binding without rules means all that its
/// policy means.
pub(super) fn means(
    world: &World<'_>,
    asked: &Asked<'_>,
    resources: &Value,
    binding: bool,
) -> bool {
    let rules = resources["resourceRules"].as_array().map_or(&[][..], Vec::as_slice);
    let by_rule =
        binding && rules.is_empty() || rules.iter().any(|r| rule(world, asked, r, resources));
    by_rule
        && !list(resources, "excludeResourceRules").any(|r| rule(world, asked, r, resources))
        && namespace(world, asked, &resources["namespaceSelector"])
        && object(asked, &resources["objectSelector"])
}

fn rule(world: &World<'_>, asked: &Asked<'_>, rule: &Value, resources: &Value) -> bool {
    let resource = &asked.request.resource;
    let plural = resource.plural.as_str();
    // equivalent: a rule for one version also means the others
    let equivalent = resources["matchPolicy"] != "Exact";
    let version = |v: &str| {
        v == resource.version
            || equivalent && world.catalog.find(&resource.group, v, plural).is_some()
    };
    let part = if asked.request.part == Part::Status { "status" } else { "" };
    let named = |word: &str| {
        let (kind, sub) = word.split_once('/').unwrap_or((word, ""));
        (kind == "*" || kind == plural) && (sub == "*" || sub == part)
    };
    // `*` alone means no subresources
    let resources = list(rule, "resources").filter_map(Value::as_str).any(named);
    let names: Vec<&str> = list(rule, "resourceNames").filter_map(Value::as_str).collect();
    let scope = match rule["scope"].as_str() {
        Some("Cluster") => !resource.namespaced,
        Some("Namespaced") => resource.namespaced,
        _ => true,
    };
    scope
        && resources
        && holds_word(rule, "apiGroups", |g| g == resource.group)
        && holds_word(rule, "apiVersions", version)
        && holds_word(rule, "operations", |o| o == asked.operation)
        && (names.is_empty() || names.contains(&asked.request.key.name.as_str()))
}

fn namespace(world: &World<'_>, asked: &Asked<'_>, selector: &Value) -> bool {
    let resource = &asked.request.resource;
    if resource.is("", "namespaces") {
        return selects(selector, asked.object.or(asked.old).unwrap_or(&Value::Null));
    }
    if !resource.namespaced {
        return true;
    }
    let key = Key::new("", &asked.request.key.namespace);
    world.state.get("namespaces", &key).is_some_and(|found| selects(selector, found))
}

fn object(asked: &Asked<'_>, selector: &Value) -> bool {
    [asked.object, asked.old].into_iter().flatten().any(|o| selects(selector, o))
}

/// A label selector; an absent or empty one selects everything.
pub(super) fn selects(selector: &Value, object: &Value) -> bool {
    let labels = meta::labels(object);
    let label = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
    let exact = selector["matchLabels"].as_object().into_iter().flatten();
    exact.into_iter().all(|(key, value)| label(key) == value.as_str())
        && list(selector, "matchExpressions").all(|e| {
            let found = label(e["key"].as_str().unwrap_or_default());
            let among = || found.is_some_and(|f| list(e, "values").any(|v| v == f));
            match e["operator"].as_str().unwrap_or_default() {
                "In" => among(),
                "NotIn" => !among(),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}
