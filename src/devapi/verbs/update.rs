//! PUT, and what all changes of an existing object share.

use serde_json::{Value, json};

use super::{Answer, Part, Plan, Request, World, admit, create, success};
use crate::apply;
use crate::failure::{Failure, Fault, FieldError};
use crate::meta;
use crate::policies;
use crate::schema::decode::Decoded;
use crate::storage::Change;

/// Replaces an object.
pub(crate) fn update(world: &World<'_>, request: &Request, body: Decoded) -> Result<Plan, Failure> {
    let resource = &request.resource;
    let shaped = admit::shape(request, body)?;
    admit::strict(request, &shaped.complaints)?;
    let new = shaped.object;
    let name = meta::name(&new);
    if name != request.key.name {
        return Err(Failure::bad_request(if name.is_empty() {
            "name must be provided".to_owned()
        } else {
            format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                request.key.name
            )
        }));
    }
    let namespace = meta::text(&new, "namespace");
    if resource.namespaced && !namespace.is_empty() && namespace != request.key.namespace {
        return Err(Failure::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if request.live(world).is_none() && resource.made_by_update() {
        let mut object = new;
        meta::set(&mut object, "resourceVersion", None);
        let object = Decoded { object, duplicates: Vec::new() };
        let mut plan = create::create(world, request, object)?;
        plan.warnings.splice(0..0, shaped.warnings);
        return Ok(plan);
    }
    let old = request.found(world)?;
    if meta::text(&new, "resourceVersion").is_empty() && !resource.unconditional_update {
        return Err(Failure::without_version(resource, name));
    }
    let mut plan = change(world, request, &old, new, Managed::Track)?;
    plan.warnings.splice(0..0, shaped.warnings);
    Ok(plan)
}

/// Who keeps book of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Managed {
    /// Whoever changes them owns them.
    Track,
    /// Apply has done it.
    Done,
}

/// Makes `new` of `old`, both as this version shows them. `new` is pruned already.
pub(crate) fn change(
    world: &World<'_>,
    request: &Request,
    old: &Value,
    new: Value,
    managed: Managed,
) -> Result<Plan, Failure> {
    let resource = &request.resource;
    let name = &request.key.name;
    let sent = meta::text(&new, "resourceVersion");
    if !sent.is_empty() && sent != "0" && sent != meta::text(old, "resourceVersion") {
        return Err(Failure::modified(resource, name));
    }
    let uid = meta::text(&new, "uid");
    if !uid.is_empty() && uid != meta::text(old, "uid") {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            meta::text(old, "uid")
        );
        return Err(Failure::conflict(resource, name, &why));
    }
    let mut new = parts(request, old, new);
    no_new_finalizers(request, old, &new)?;
    let mut warnings = admit::admit(world, resource, &mut new, Some(old))?;
    generation(request, old, &mut new);
    if managed == Managed::Track {
        let (version, time) = (resource.api_version(), world.time());
        let writer = request.writer(&version, &time);
        apply::track_update(Some(old), &mut new, resource.schema.root(), &writer)?;
    }
    warnings.extend(policies::admit(world, request, Some(&new), Some(old))?);
    if new == *old || request.dry_run {
        return Ok(Plan { warnings, ..Plan::shown(new) });
    }
    let gone = meta::is_deleting(&new)
        && meta::finalizers(&new).is_empty()
        && !(resource.kind == "Namespace" && resource.group.is_empty());
    if gone {
        let change = Change { new: None, ..request.store(new.clone()) };
        return Ok(Plan { answer: Answer::Object(new), ..Plan::written(200, change, warnings) });
    }
    Ok(Plan::written(200, request.store(new), warnings))
}

/// Which parts of `new` this door writes; the rest stays as it was.
fn parts(request: &Request, old: &Value, new: Value) -> Value {
    let mut out = new;
    let resource = &request.resource;
    match request.part {
        Part::Main => {
            if resource.status {
                put(&mut out, "status", old.get("status").cloned());
            }
        }
        Part::Status => {
            let sent = meta::get(&out, "managedFields").cloned();
            let status = out.get("status").cloned();
            let mut kept = old.clone();
            put(&mut kept, "status", status);
            if sent.is_some() {
                meta::set(&mut kept, "managedFields", sent);
            }
            out = kept;
        }
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "resourceVersion",
        "selfLink",
    ] {
        meta::set(&mut out, field, meta::get(old, field).cloned());
    }
    out
}

fn put(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(fields) = object.as_object_mut() else { return };
    match value {
        Some(value) => fields.insert(field.to_owned(), value),
        None => fields.remove(field),
    };
}

fn no_new_finalizers(request: &Request, old: &Value, new: &Value) -> Result<(), Failure> {
    if !meta::is_deleting(old) {
        return Ok(());
    }
    let before = meta::finalizers(old);
    let fresh: Vec<&str> =
        meta::finalizers(new).into_iter().filter(|f| !before.contains(f)).collect();
    if fresh.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = fresh.iter().map(|f| format!("{f:?}")).collect();
    let error = FieldError::new(Fault::Forbidden, "metadata.finalizers", "").because(format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        list.join(", ")
    ));
    // twice, as the server checks it twice
    Err(Failure::invalid(&request.resource, &request.key.name, &[error.clone(), error]))
}

/// The intent changed: everything but metadata and, where it is written by its own path, status.
fn generation(request: &Request, old: &Value, new: &mut Value) {
    if !request.resource.generation {
        return;
    }
    let intent = |o: &Value| {
        let mut o = o.clone();
        if let Some(fields) = o.as_object_mut() {
            fields.remove("metadata");
            if request.resource.status {
                fields.remove("status");
            }
        }
        o
    };
    let before = meta::get(old, "generation").and_then(Value::as_i64).unwrap_or(0);
    let now = before + i64::from(intent(old) != intent(new));
    meta::set(new, "generation", Some(json!(now)));
}

/// The answer to a deletion that is done.
pub(crate) fn deleted(request: &Request, object: &Value) -> Answer {
    Answer::Plain(success(&request.resource, object))
}
