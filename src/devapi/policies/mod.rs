//! ValidatingAdmissionPolicies: what they deny, what they warn of.
//!
//! ```text
//!   request, object, oldObject ─▶ bindings that mean it ─▶ params ─▶ match conditions ─▶ validations ─▶ denied | warnings
//! ```
//!
//! Never silent: an expression that this server cannot evaluate is refused when the policy is written (501), and one that fails
//! while it is evaluated counts as its policy's `failurePolicy` says.

mod cel;
mod matching;

use serde_json::{Value, json};

use crate::failure::{Failure, Fault, FieldError};
use crate::meta::Key;
use crate::resource::Resource;
use crate::verbs::{Part, Request, World};
pub(crate) use cel::of_json;
use cel::{Refused, Scope};

pub(crate) const GROUP: &str = "admissionregistration.k8s.io";
const POLICIES: &str = "validatingadmissionpolicies.admissionregistration.k8s.io";
const BINDINGS: &str = "validatingadmissionpolicybindings.admissionregistration.k8s.io";

/// A write before it is carried out.
struct Asked<'a> {
    request: &'a Request,
    operation: &'static str,
    object: Option<&'a Value>,
    old: Option<&'a Value>,
}

/// What a policy says of a write.
enum Said {
    /// A validation does not hold: message and reason.
    Broken(String, String),
    /// It cannot be said.
    Failed(String),
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Asks all policies. What some of them only warn of is returned.
pub(crate) fn admit(
    world: &World<'_>,
    request: &Request,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    // policies do not judge policies: nobody could take back one that denies everything
    if request.resource.group == GROUP {
        return Ok(warnings);
    }
    let operation = match (object, old) {
        (None, _) => "DELETE",
        (_, None) => "CREATE",
        _ => "UPDATE",
    };
    let asked = Asked { request, operation, object, old };
    for (key, policy) in world.state.list(POLICIES, "") {
        let bound: Vec<(&str, &Value)> = world
            .state
            .list(BINDINGS, "")
            .map(|(k, b)| (k.name.as_str(), &b["spec"]))
            .filter(|(_, b)| text(b, "policyName") == key.name)
            .collect();
        let spec = &policy["spec"];
        if bound.is_empty() || !matching::means(world, &asked, &spec["matchConstraints"], false) {
            continue;
        }
        for (binding, spec_of) in bound {
            if !matching::means(world, &asked, &spec_of["matchResources"], true) {
                continue;
            }
            for said in judge(world, &asked, spec, spec_of) {
                let (message, reason) = match said {
                    Said::Broken(message, reason) => (message, reason),
                    Said::Failed(_) if spec["failurePolicy"] == "Ignore" => continue,
                    Said::Failed(message) => (message, String::new()),
                };
                let acts = |action: &str| list(spec_of, "validationActions").any(|a| a == action);
                let policy = &key.name;
                if acts("Deny") {
                    let why = format!(
                        "ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {message}"
                    );
                    return Err(denied(request, &why, &reason));
                }
                if acts("Warn") {
                    warnings.push(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {message}"
                    ));
                }
                if acts("Audit") {
                    tracing::info!(policy, binding, message, "a policy is broken");
                }
            }
        }
    }
    Ok(warnings)
}

fn denied(request: &Request, why: &str, reason: &str) -> Failure {
    let mut failure = Failure::forbidden(&request.resource, &request.key.name, why);
    (failure.code, failure.reason) = match reason {
        "Forbidden" => (403, "Forbidden"),
        "Unauthorized" => (401, "Unauthorized"),
        "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
        _ => (422, "Invalid"),
    };
    if let Some(details) = &mut failure.details {
        details["causes"] = json!([{"message": why}]);
    }
    failure
}

fn judge(world: &World<'_>, asked: &Asked<'_>, policy: &Value, binding: &Value) -> Vec<Said> {
    let facts = facts(world, asked);
    let params = match params(world, asked, policy, binding) {
        Ok(params) => params,
        Err(why) => return vec![Said::Failed(why)],
    };
    let mut said = Vec::new();
    for params in &params {
        let scope = scope(&facts, params, policy);
        match conditions(&scope, policy) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(why) => {
                said.push(Said::Failed(why));
                continue;
            }
        }
        said.extend(list(policy, "validations").filter_map(|v| validation(&scope, v)));
    }
    said
}

fn validation(scope: &Scope, validation: &Value) -> Option<Said> {
    let expression = text(validation, "expression");
    match scope.holds(expression) {
        Ok(true) => None,
        Err(why) => {
            Some(Said::Failed(format!("expression '{expression}' resulted in error: {why}")))
        }
        Ok(false) => {
            let own = validation["messageExpression"].as_str().and_then(|m| scope.text(m));
            let message = own.unwrap_or_else(|| match text(validation, "message").trim() {
                "" => format!("failed expression: {}", expression.trim()),
                message => message.to_owned(),
            });
            Some(Said::Broken(message, text(validation, "reason").to_owned()))
        }
    }
}

/// All hold; one that does not ends it, whatever the others come to.
fn conditions(scope: &Scope, policy: &Value) -> Result<bool, String> {
    let mut failed = None;
    for condition in list(policy, "matchConditions") {
        match scope.holds(text(condition, "expression")) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(why) => {
                failed = Some(format!("match condition '{}': {why}", text(condition, "name")))
            }
        }
    }
    failed.map_or(Ok(true), Err)
}

/// What every expression may look at, without params.
struct Facts {
    object: Value,
    old: Value,
    request: Value,
    namespace: Value,
}

fn facts(world: &World<'_>, asked: &Asked<'_>) -> Facts {
    let request = asked.request;
    let resource = &request.resource;
    let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let place =
        json!({"group": resource.group, "version": resource.version, "resource": resource.plural});
    let mut seen = json!({
        "kind": kind, "requestKind": kind, "resource": place, "requestResource": place,
        "name": request.key.name, "operation": asked.operation, "userInfo": request.user.info(),
        "dryRun": request.dry_run,
    });
    if resource.namespaced {
        seen["namespace"] = request.key.namespace.clone().into();
    }
    if request.part == Part::Status {
        seen["subResource"] = "status".into();
        seen["requestSubResource"] = "status".into();
    }
    let namespace = world.state.get("namespaces", &Key::new("", &request.key.namespace));
    let namespace = namespace.filter(|_| resource.namespaced);
    let shown = |o: Option<&Value>| o.cloned().unwrap_or(Value::Null);
    Facts {
        object: shown(asked.object),
        old: shown(asked.old),
        request: seen,
        namespace: namespace.map_or(Value::Null, |n| Value::clone(n)),
    }
}

fn scope(facts: &Facts, params: &Value, policy: &Value) -> Scope {
    let mut scope = Scope::new(&[
        ("object", &facts.object),
        ("oldObject", &facts.old),
        ("request", &facts.request),
        ("namespaceObject", &facts.namespace),
        ("params", params),
    ]);
    let variables: Vec<(&str, &str)> =
        list(policy, "variables").map(|v| (text(v, "name"), text(v, "expression"))).collect();
    scope.add_variables(&variables);
    scope
}

/// The objects that a policy is evaluated with, one after the other. `null` where it takes none.
fn params(
    world: &World<'_>,
    asked: &Asked<'_>,
    policy: &Value,
    binding: &Value,
) -> Result<Vec<Value>, String> {
    let (kind, reference) = (&policy["paramKind"], &binding["paramRef"]);
    if kind.is_null() || reference.is_null() {
        return Ok(vec![Value::Null]);
    }
    let version = text(kind, "apiVersion");
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = world
        .catalog
        .resources()
        .iter()
        .find(|r| r.group == group && r.version == version && r.kind == text(kind, "kind"))
        .ok_or_else(|| {
            format!("failed to configure policy: failed to find resource referenced by paramKind: '{group}/{version}, Kind={}'", text(kind, "kind"))
        })?;
    let mut namespace = "";
    if resource.namespaced {
        namespace = match text(reference, "namespace") {
            "" => &asked.request.key.namespace,
            own => own,
        };
        if namespace.is_empty() {
            return Err("failed to configure binding: cannot use namespaced paramRef in policy binding that matches \
                        cluster-scoped resources"
                .to_owned());
        }
    }
    let table = resource.table();
    let found: Vec<Value> = match reference["name"].as_str() {
        Some(name) => {
            let key = Key::new(namespace, name);
            world.state.get(&table, &key).into_iter().map(|o| resource.show(o)).collect()
        }
        None => world
            .state
            .list(&table, namespace)
            .filter(|(_, o)| matching::selects(&reference["selector"], o))
            .map(|(_, o)| resource.show(o))
            .collect(),
    };
    if found.is_empty() && reference["parameterNotFoundAction"] != "Allow" {
        return Err("failed to configure binding: no params found for policy binding with `Deny` \
                    parameterNotFoundAction"
            .to_owned());
    }
    Ok(found)
}

/// Fills in what Kubernetes fills in.
pub(crate) fn complete(resource: &Resource, object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let resources = if resource.kind == "ValidatingAdmissionPolicy" {
        spec.entry("failurePolicy").or_insert_with(|| "Fail".into());
        spec.get_mut("matchConstraints")
    } else {
        spec.get_mut("matchResources")
    };
    let Some(resources) = resources.and_then(Value::as_object_mut) else { return };
    resources.entry("matchPolicy").or_insert_with(|| "Equivalent".into());
    resources.entry("namespaceSelector").or_insert_with(|| json!({}));
    resources.entry("objectSelector").or_insert_with(|| json!({}));
    for field in ["resourceRules", "excludeResourceRules"] {
        for rule in resources.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(rule) = rule.as_object_mut() {
                rule.entry("scope").or_insert_with(|| "*".into());
            }
        }
    }
}

/// Every expression of a policy, with its place.
fn expressions(policy: &Value) -> Vec<(String, &str)> {
    const PLACES: [(&str, &[&str]); 4] = [
        ("variables", &["expression"]),
        ("matchConditions", &["expression"]),
        ("validations", &["expression", "messageExpression"]),
        ("auditAnnotations", &["valueExpression"]),
    ];
    let mut all = Vec::new();
    for (place, fields) in PLACES {
        for (i, item) in list(&policy["spec"], place).enumerate() {
            for field in fields {
                if let Some(expression) = item[*field].as_str() {
                    all.push((format!("spec.{place}[{i}].{field}"), expression));
                }
            }
        }
    }
    all
}

/// What is wrong with a policy: expressions that are no CEL.
pub(crate) fn faults(policy: &Value) -> Vec<FieldError> {
    let wrong = |(place, expression): (String, &str)| match cel::check(expression) {
        Err(Refused::Wrong(why)) => Some(
            FieldError::new(Fault::Invalid, place, format!("{expression:?}"))
                .because(format!("compilation failed: {why}")),
        ),
        _ => None,
    };
    expressions(policy).into_iter().filter_map(wrong).collect()
}

/// The refusal of a policy that Kubernetes would evaluate and this server cannot.
pub(crate) fn evaluable(policy: &Value) -> Result<(), Failure> {
    for (place, expression) in expressions(policy) {
        if let Err(Refused::NotHere(what)) = cel::check(expression) {
            return Err(Failure::not_implemented(&format!("{what} ({place})")));
        }
    }
    Ok(())
}
