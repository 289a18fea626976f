//! PATCH: merge, JSON, strategic merge, apply.

use serde_json::Value;

use super::update::{Managed, change};
use super::{FieldValidation, Plan, Request, World, admit, create};
use crate::apply;
use crate::failure::{Failure, Fault, FieldError};
use crate::meta;
use crate::patch::strategic;
use crate::schema::decode::{self, Decoded};

/// How a patch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Apply,
    Json,
    Merge,
    Strategic,
}

/// Operations of one JSON patch. Kubernetes' own limit.
const OPERATIONS_MAX: usize = 10_000;

/// Changes an object by a patch.
pub(crate) fn patch(
    world: &World<'_>,
    request: &Request,
    form: Form,
    body: &[u8],
) -> Result<Plan, Failure> {
    match form {
        Form::Apply => apply_patch(world, request, body),
        _ => other_patch(world, request, form, body),
    }
}

fn other_patch(
    world: &World<'_>,
    request: &Request,
    form: Form,
    body: &[u8],
) -> Result<Plan, Failure> {
    let resource = &request.resource;
    let old = request.found(world)?;
    let Decoded { object: patch, duplicates } = decode::json(body)?;
    let patched = match form {
        Form::Json => by_operations(&old, patch)?,
        Form::Merge => {
            if !patch.is_object() {
                return Err(Failure::bad_request("a merge patch is an object"));
            }
            let mut new = old.clone();
            json_patch::merge(&mut new, &patch);
            new
        }
        Form::Strategic if resource.custom => {
            return Err(Failure::new(
                415,
                "UnsupportedMediaType",
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            ));
        }
        Form::Strategic => strategic::patch(&old, &patch, resource.schema.root())?,
        Form::Apply => unreachable!("handled by the caller"),
    };
    let text = patched.to_string();
    let shaped = admit::shape(request, Decoded { object: patched, duplicates })?;
    if request.validation == FieldValidation::Strict && !shaped.complaints.is_empty() {
        let why = format!("strict decoding error: {}", shaped.complaints.join(", "));
        let cut: String = text.chars().take(2000).collect();
        let error = FieldError::new(Fault::Invalid, "patch", format!("{cut:?}")).because(why);
        return Err(Failure::invalid(resource, "", &[error]));
    }
    let name = meta::name(&shaped.object);
    if name != request.key.name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            request.key.name
        )));
    }
    let mut plan = change(world, request, &old, shaped.object, Managed::Track)?;
    plan.warnings.splice(0..0, shaped.warnings);
    Ok(plan)
}

fn by_operations(old: &Value, patch: Value) -> Result<Value, Failure> {
    let operations: json_patch::Patch = serde_json::from_value(patch)
        .map_err(|e| Failure::bad_request(format!("error decoding patch: {e}")))?;
    if operations.0.len() > OPERATIONS_MAX {
        return Err(Failure::too_large(OPERATIONS_MAX));
    }
    let mut new = old.clone();
    json_patch::patch(&mut new, &operations).map_err(|e| {
        let mut failure = Failure::new(
            422,
            "Invalid",
            format!("the server rejected our request due to an error in our request: {e}"),
        );
        failure.details = Some(serde_json::json!({}));
        failure
    })?;
    Ok(new)
}

fn apply_patch(world: &World<'_>, request: &Request, body: &[u8]) -> Result<Plan, Failure> {
    let resource = &request.resource;
    if request.manager.is_empty() {
        return Err(Failure::new(
            422,
            "Invalid",
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
    let decoded = decode::yaml(body)?;
    let text = |field: &str| decoded.object.get(field).and_then(Value::as_str).unwrap_or_default();
    if text("apiVersion").is_empty() || text("kind").is_empty() {
        return Err(Failure::bad_request(format!(
            "invalid object type: an applied object names its apiVersion and kind ({} {})",
            resource.api_version(),
            resource.kind
        )));
    }
    if meta::get(&decoded.object, "managedFields").is_some() {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    let shaped = admit::shape(request, decoded)?;
    if let Some(unknown) = shaped.unknown.first() {
        return Err(Failure::new(
            500,
            "",
            format!(
                "failed to create typed patch object ({}/{}; {}, Kind={}): .{unknown}: field not declared in schema",
                request.key.namespace,
                request.key.name,
                resource.api_version(),
                resource.kind
            ),
        ));
    }
    admit::strict(request, &shaped.complaints)?;
    let mut applied = shaped.object;
    let name = meta::name(&applied);
    if !name.is_empty() && name != request.key.name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            request.key.name
        )));
    }
    meta::set(&mut applied, "name", Some(request.key.name.as_str().into()));
    if resource.namespaced {
        meta::set(&mut applied, "namespace", Some(request.key.namespace.as_str().into()));
    }
    let (version, time) = (resource.api_version(), world.time());
    let writer = request.writer(&version, &time);
    let root = resource.schema.root();
    let live = request.live(world).map(|stored| resource.show(stored));
    let mut plan = match live {
        Some(old) => {
            let new = apply::apply(Some(&old), &applied, root, &writer, request.force)?;
            change(world, request, &old, new, Managed::Done)?
        }
        None if request.part == super::Part::Status => {
            return Err(Failure::not_found(resource, &request.key.name));
        }
        None => {
            if !meta::text(&applied, "uid").is_empty() {
                let why = "uid mismatch: the provided object specified a uid, and no existing object was found";
                return Err(Failure::conflict(resource, &request.key.name, why));
            }
            let new = apply::apply(None, &applied, root, &writer, request.force)?;
            create::finish(world, request, new, Managed::Done)?
        }
    };
    plan.warnings.splice(0..0, shaped.warnings);
    Ok(plan)
}
