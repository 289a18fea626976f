//! What every written object goes through: shape, defaults, limits, rules.

use serde_json::{Map, Value};

use super::{FieldValidation, Request, World};
use crate::builtin::complete;
use crate::failure::{Failure, Fault, FieldError};
use crate::limits;
use crate::meta;
use crate::policies;
use crate::resource::Resource;
use crate::schema::decode::Decoded;
use crate::schema::{defaults, prune, validate};

/// An object whose shape is known to be right.
#[derive(Debug)]
pub(crate) struct Shaped {
    pub(crate) object: Value,
    pub(crate) warnings: Vec<String>,
    /// What strict decoding complains of.
    pub(crate) complaints: Vec<String>,
    /// Paths that the schema does not know.
    pub(crate) unknown: Vec<String>,
}

/// Takes a body for `request`: kind and version fit, unknown fields are gone and told.
pub(crate) fn shape(request: &Request, decoded: Decoded) -> Result<Shaped, Failure> {
    let resource = &request.resource;
    let mut object = decoded.object;
    if !object.is_object() {
        return Err(Failure::bad_request(format!(
            "the body is no object of kind {}: {}",
            resource.kind,
            validate::shown(&object)
        )));
    }
    identify(resource, &mut object)?;
    clean(resource, &mut object);
    let unknown = prune::prune(&mut object, resource.schema.root());
    let complaints: Vec<String> = unknown
        .iter()
        .map(|path| format!("unknown field {path:?}"))
        .chain(decoded.duplicates.iter().map(|path| format!("duplicate field {path:?}")))
        .collect();
    let warnings = match request.validation {
        FieldValidation::Warn => complaints.clone(),
        _ => Vec::new(),
    };
    Ok(Shaped { object, warnings, complaints, unknown })
}

/// The refusal of strict decoding, if it was asked for and has a reason.
pub(crate) fn strict(request: &Request, complaints: &[String]) -> Result<(), Failure> {
    if request.validation != FieldValidation::Strict || complaints.is_empty() {
        return Ok(());
    }
    let resource = &request.resource;
    Err(Failure::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
        resource.kind,
        resource.version,
        resource.kind,
        complaints.join(", ")
    )))
}

fn identify(resource: &Resource, object: &mut Value) -> Result<(), Failure> {
    let wanted = resource.api_version();
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if (version.is_empty() || kind.is_empty()) && resource.custom {
        return Err(Failure::bad_request(format!(
            "Object '{}' is missing in the body",
            if kind.is_empty() { "Kind" } else { "apiVersion" }
        )));
    }
    if !version.is_empty() && version != wanted {
        return Err(Failure::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({wanted})"
        )));
    }
    if !kind.is_empty() && kind != resource.kind {
        return Err(Failure::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {}: converting ({wanted}.{kind}) to ({wanted}.{}): \
             unknown conversion",
            resource.version, resource.kind, resource.kind
        )));
    }
    object["apiVersion"] = wanted.into();
    object["kind"] = resource.kind.clone().into();
    Ok(())
}

/// Nulls count as absent: everywhere in the built-in kinds, in the metadata of the others.
fn clean(resource: &Resource, object: &mut Value) {
    if resource.custom {
        if let Some(metadata) = object.get_mut("metadata") {
            drop_nulls(metadata);
        }
    } else {
        drop_nulls(object);
    }
    let metadata = meta::of(object);
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let hollow = metadata.get(field).is_some_and(|v| match v {
            Value::Object(o) => o.is_empty(),
            Value::Array(a) => a.is_empty(),
            _ => false,
        });
        if hollow {
            metadata.remove(field);
        }
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, v| !v.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Defaults, limits and rules. `old` is the object before an update. What it broke before is only warned of.
pub(crate) fn admit(
    world: &World<'_>,
    resource: &Resource,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<Vec<String>, Failure> {
    defaults::whole(object);
    defaults::fill(object, resource.schema.root());
    complete::complete(world, resource, object, old);
    let name = meta::name(object).to_owned();
    // what an update leaves as it was may stay, also when its definition has become stricter
    let kept = old.filter(|_| resource.custom);
    let structural = validate::validate(object, kept, resource.schema.root(), "");
    if !resource.custom
        && let Some(wrong) = structural
            .iter()
            .find(|e| e.fault == Fault::TypeInvalid || e.detail.contains("must be of type"))
    {
        return Err(Failure::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {}",
            resource.kind, resource.version, resource.kind, wrong.detail
        )));
    }
    let mut errors = structural;
    let mut warnings = Vec::new();
    errors.extend(metadata_errors(resource, object, old));
    errors.extend(own_name(resource, object));
    if errors.is_empty() {
        errors.extend(complete::faults(resource, object, old));
    }
    if let Some(rules) = resource.rules.as_ref().filter(|r| r.any()) {
        const BLOCKING: &[Fault] = &[
            Fault::NotSupported,
            Fault::Required,
            Fault::TooLong,
            Fault::TooMany,
            Fault::TypeInvalid,
        ];
        if errors.iter().any(|e| BLOCKING.contains(&e.fault)) {
            errors.push(FieldError::new(Fault::Invalid, "<nil>", "null").because(
                "some validation rules were not checked because the object was invalid; correct the existing errors \
                 to complete validation",
            ));
        } else {
            let broken = rules.broken(object, old);
            errors.extend(broken.now);
            warnings.extend(broken.before.iter().map(FieldError::text));
        }
    }
    if errors.is_empty() && resource.kind == "ValidatingAdmissionPolicy" && !resource.custom {
        policies::evaluable(object)?;
    }
    if !errors.is_empty() {
        errors.truncate(limits::FIELD_ERRORS_MAX);
        return Err(Failure::invalid(resource, &name, &errors));
    }
    let bytes = object.to_string().len();
    if bytes > limits::OBJECT_BYTES_MAX {
        return Err(Failure::too_large(limits::OBJECT_BYTES_MAX));
    }
    Ok(warnings)
}

/// What a definition asks of the names of its objects.
fn own_name(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let Some(own) = resource.schema.root().property("metadata").and_then(|m| m.get("x-devapi-own"))
    else {
        return Vec::new();
    };
    let definitions = Map::new();
    let node = crate::schema::Node::new(own, &definitions);
    validate::validate(&object["metadata"], None, node, "metadata")
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
    '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
    start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
    used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn is_label(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(fine) && !text.starts_with('-') && !text.ends_with('-')
}

fn name_fault(resource: &Resource, name: &str) -> Option<String> {
    if resource.group == "rbac.authorization.k8s.io" {
        let wrong = ["/", "%"].iter().find(|c| name.contains(**c));
        return wrong.map(|c| format!("may not contain '{c}'"));
    }
    if ["Namespace", "Service"].contains(&resource.kind.as_str()) {
        return (!is_label(name) || name.len() > 63).then(|| LABEL.to_owned());
    }
    if name.len() > 253 {
        return Some("must be no more than 253 bytes".to_owned());
    }
    (!name.split('.').all(is_label)).then(|| SUBDOMAIN.to_owned())
}

const KEY_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
    with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// What is wrong with the key of a label or an annotation.
fn key_fault(key: &str) -> Option<String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(p, n)| (Some(p), n));
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            return Some("prefix part must be non-empty".into());
        }
        if prefix.len() > 253 || !prefix.to_lowercase().split('.').all(is_label) {
            return Some(format!("prefix part {SUBDOMAIN}"));
        }
    }
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if name.is_empty() {
        Some("name part must be non-empty".into())
    } else if name.len() > 63 {
        Some("name part must be no more than 63 bytes".into())
    } else if !name.chars().all(fine) || !edge(name.chars().next()) || !edge(name.chars().last()) {
        Some(KEY_NAME.into())
    } else {
        None
    }
}

fn metadata_errors(resource: &Resource, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = meta::name(object);
    if old.is_none() {
        if name.is_empty() {
            errors.push(
                FieldError::new(Fault::Required, "metadata.name", "")
                    .because("name or generateName is required"),
            );
        } else if let Some(why) = name_fault(resource, name) {
            errors.push(
                FieldError::new(Fault::Invalid, "metadata.name", format!("{name:?}")).because(why),
            );
        }
    }
    let entries = |field: &str| meta::get(object, field).and_then(Value::as_object);
    for (_, value) in entries("labels").into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
        if !value.chars().all(fine) || !edge(value.chars().next()) || !edge(value.chars().last()) {
            errors.push(
                FieldError::new(Fault::Invalid, "metadata.labels", format!("{value:?}"))
                    .because(LABEL_VALUE),
            );
        } else if value.len() > 63 {
            errors.push(
                FieldError::new(Fault::Invalid, "metadata.labels", format!("{value:?}"))
                    .because("must be no more than 63 bytes"),
            );
        }
    }
    for field in ["labels", "annotations"] {
        for key in entries(field).into_iter().flatten().map(|(key, _)| key) {
            if let Some(why) = key_fault(key) {
                let path = format!("metadata.{field}");
                errors.push(FieldError::new(Fault::Invalid, path, format!("{key:?}")).because(why));
            }
        }
    }
    let annotations: usize = entries("annotations")
        .into_iter()
        .flatten()
        .map(|(k, v)| k.len() + v.to_string().len())
        .sum();
    if annotations > limits::ANNOTATIONS_BYTES_MAX {
        errors.push(
            FieldError::new(Fault::TooLong, "metadata.annotations", "")
                .because(format!("may not be more than {} bytes", limits::ANNOTATIONS_BYTES_MAX)),
        );
    }
    for field in ["labels", "annotations"] {
        let count = entries(field).map_or(0, Map::len);
        if count > limits::METADATA_ENTRIES_MAX {
            errors.push(
                FieldError::new(Fault::TooMany, format!("metadata.{field}"), count.to_string())
                    .because(format!("must have at most {} items", limits::METADATA_ENTRIES_MAX)),
            );
        }
    }
    for (i, owner) in meta::owners(object).enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
                errors.push(
                    FieldError::new(
                        Fault::Invalid,
                        format!("metadata.ownerReferences[{i}].{field}"),
                        "\"\"",
                    )
                    .because(format!("{field} must not be empty")),
                );
            }
        }
    }
    for finalizer in meta::finalizers(object) {
        if !finalizer.contains('/')
            && !["orphan", "foregroundDeletion", "kubernetes"].contains(&finalizer)
        {
            errors.push(
                FieldError::new(Fault::Invalid, "metadata.finalizers", format!("{finalizer:?}"))
                    .because("name is neither a standard finalizer name nor is it fully qualified"),
            );
        }
    }
    errors
}
