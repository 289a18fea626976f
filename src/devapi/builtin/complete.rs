//! What the API server itself does with some of the built-in kinds: defaults, and fields that do not change.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::definition;
use crate::failure::{Fault, FieldError};
use crate::meta;
use crate::policies;
use crate::resource::Resource;
use crate::verbs::World;

/// Fills in what no schema says.
pub(crate) fn complete(
    world: &World<'_>,
    resource: &Resource,
    object: &mut Value,
    _old: Option<&Value>,
) {
    if resource.custom {
        return;
    }
    let default = |object: &mut Value, parent: &str, field: &str, value: Value| {
        if let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
            fields.entry(field.to_owned()).or_insert(value);
        }
    };
    match resource.kind.as_str() {
        "Secret" => {
            let plain = object.as_object_mut().and_then(|o| o.remove("stringData"));
            for (key, text) in plain.as_ref().and_then(Value::as_object).into_iter().flatten() {
                let bytes = text.as_str().unwrap_or_default();
                let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
                object["data"][key.as_str()] = encoded.into();
            }
            default(object, "", "type", json!("Opaque"));
        }
        "Namespace" => {
            let name = meta::name(object).to_owned();
            let metadata = meta::of(object);
            let labels = metadata.entry("labels").or_insert_with(|| json!({}));
            labels["kubernetes.io/metadata.name"] = name.into();
            if object.get("spec").is_none() {
                object["spec"] = json!({});
            }
            let first = object.pointer("/status/phase").is_none();
            if first {
                default(object, "/spec", "finalizers", json!(["kubernetes"]));
                object["status"]["phase"] = json!("Active");
            }
        }
        "Service" => {
            default(object, "/spec", "type", json!("ClusterIP"));
            default(object, "/spec", "sessionAffinity", json!("None"));
            let ports = object.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
            for port in ports.into_iter().flatten() {
                let number = port["port"].clone();
                default(port, "", "targetPort", number);
            }
        }
        "Lease" => default(object, "", "spec", json!({})),
        "Deployment" => default(object, "/spec", "replicas", json!(1)),
        "PriorityClass" => default(object, "", "preemptionPolicy", json!("PreemptLowerPriority")),
        "ValidatingAdmissionPolicy" | "ValidatingAdmissionPolicyBinding" => {
            policies::complete(resource, object);
        }
        "CustomResourceDefinition" => {
            definition::complete(object);
            definition::establish(object, &world.time());
        }
        _ => {}
    }
}

/// What is wrong with an object although its schema is met.
pub(crate) fn faults(resource: &Resource, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    if resource.custom {
        return Vec::new();
    }
    let mut errors = Vec::new();
    let mut fixed = |pointer: &str, field: &str| {
        if let Some(old) = old
            && old.pointer(pointer) != object.pointer(pointer)
        {
            let value = object
                .pointer(pointer)
                .map_or_else(|| "null".into(), crate::schema::validate::shown);
            errors
                .push(FieldError::new(Fault::Invalid, field, value).because("field is immutable"));
        }
    };
    match resource.kind.as_str() {
        "Secret" => {
            fixed("/type", "type");
            immutable(object, old, &["data"], &mut errors);
            keys(object, "data", &mut errors);
        }
        "ConfigMap" => {
            immutable(object, old, &["data", "binaryData"], &mut errors);
            keys(object, "data", &mut errors);
        }
        "Deployment" | "DaemonSet" => fixed("/spec/selector", "spec.selector"),
        "PriorityClass" => fixed("/value", "value"),
        "RoleBinding" | "ClusterRoleBinding" => fixed("/roleRef", "roleRef"),
        "Lease" => lease(object, &mut errors),
        "ValidatingAdmissionPolicy" => errors.extend(policies::faults(object)),
        "CustomResourceDefinition" => {
            for (pointer, field) in [
                ("/spec/group", "spec.group"),
                ("/spec/names/plural", "spec.names.plural"),
                ("/spec/names/kind", "spec.names.kind"),
                ("/spec/scope", "spec.scope"),
            ] {
                fixed(pointer, field);
            }
            errors.extend(definition::faults(object));
        }
        _ => {}
    }
    errors
}

fn immutable(object: &Value, old: Option<&Value>, fields: &[&str], errors: &mut Vec<FieldError>) {
    let Some(old) = old.filter(|o| o["immutable"] == true) else { return };
    let because = "field is immutable when `immutable` is set";
    if object["immutable"] != true {
        errors.push(FieldError::new(Fault::Forbidden, "immutable", "").because(because));
    }
    for field in fields.iter().filter(|f| old[**f] != object[**f]) {
        errors.push(FieldError::new(Fault::Forbidden, *field, "").because(because));
    }
}

fn keys(object: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for key in object[field].as_object().into_iter().flatten().map(|(k, _)| k) {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if key.is_empty() || key.len() > 253 || !key.chars().all(fine) || key == "." || key == ".."
        {
            errors.push(
                FieldError::new(Fault::Invalid, format!("{field}[{key}]"), format!("{key:?}")).because(
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name', \
                     or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                ),
            );
        }
    }
}

fn lease(object: &Value, errors: &mut Vec<FieldError>) {
    let number = |field: &str| object["spec"][field].as_i64();
    if let Some(n) = number("leaseDurationSeconds").filter(|n| *n <= 0) {
        errors.push(
            FieldError::new(Fault::Invalid, "spec.leaseDurationSeconds", n.to_string())
                .because("must be greater than 0"),
        );
    }
    if let Some(n) = number("leaseTransitions").filter(|n| *n < 0) {
        errors.push(
            FieldError::new(Fault::Invalid, "spec.leaseTransitions", n.to_string())
                .because("must be greater than or equal to 0"),
        );
    }
}
