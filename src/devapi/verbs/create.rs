//! POST.

use serde_json::{Value, json};

use super::update::Managed;
use super::{Answer, FieldValidation, Part, Plan, Request, World, admit};
use crate::apply;
use crate::failure::Failure;
use crate::limits;
use crate::meta::{self, Key};
use crate::policies;
use crate::schema::decode::Decoded;

/// Letters of generated names: none that make words.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const GENERATED_LETTERS: usize = 5;
/// Tries for a generated name that is free.
const GENERATED_TRIES: usize = 8;

/// Makes an object.
pub(crate) fn create(world: &World<'_>, request: &Request, body: Decoded) -> Result<Plan, Failure> {
    let shaped = admit::shape(request, body)?;
    admit::strict(request, &shaped.complaints)?;
    if !meta::text(&shaped.object, "resourceVersion").is_empty() {
        return Err(Failure::new(
            500,
            "",
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let object = place(world, request, shaped.object)?;
    let named = Request { key: meta::key(&object), ..request.clone() };
    if named.live(world).is_some() {
        return Err(Failure::already_exists(&named.resource, &named.key.name));
    }
    let mut plan = finish(world, &named, object, Managed::Track)?;
    plan.warnings.splice(0..0, shaped.warnings);
    Ok(plan)
}

/// Name and namespace.
fn place(world: &World<'_>, request: &Request, mut object: Value) -> Result<Value, Failure> {
    let resource = &request.resource;
    let (own, asked) = (meta::text(&object, "namespace").to_owned(), &request.key.namespace);
    if resource.namespaced {
        if !own.is_empty() && own != *asked {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        meta::set(&mut object, "namespace", Some(asked.as_str().into()));
    } else {
        meta::set(&mut object, "namespace", None);
    }
    if meta::name(&object).is_empty() {
        let prefix = meta::text(&object, "generateName").to_owned();
        if !prefix.is_empty() {
            let free = |name: &String| {
                world.state.get(&resource.table(), &Key::new(asked, name)).is_none()
            };
            let name = (0..GENERATED_TRIES)
                .map(|_| format!("{prefix}{}", suffix(world)))
                .find(free)
                .ok_or_else(|| Failure::already_exists(resource, &prefix))?;
            meta::set(&mut object, "name", Some(name.into()));
        }
    }
    Ok(object)
}

fn suffix(world: &World<'_>) -> String {
    let bytes = *(world.fresh)().as_bytes();
    bytes[..GENERATED_LETTERS]
        .iter()
        .map(|b| char::from(LETTERS[usize::from(*b) % LETTERS.len()]))
        .collect()
}

/// Everything behind the name, for POST and for an apply that creates.
pub(crate) fn finish(
    world: &World<'_>,
    request: &Request,
    mut object: Value,
    managed: Managed,
) -> Result<Plan, Failure> {
    let resource = &request.resource;
    namespace_open(world, request)?;
    if world.state.objects() >= limits::OBJECTS_MAX
        || world.state.bytes() >= limits::STORE_BYTES_MAX
    {
        return Err(Failure::too_many(format!(
            "devapi keeps at most {} objects and {} bytes: delete some",
            limits::OBJECTS_MAX,
            limits::STORE_BYTES_MAX
        )));
    }
    if resource.kind == "CustomResourceDefinition"
        && world.state.list(&resource.table(), "").count() >= limits::DEFINITIONS_MAX
    {
        return Err(Failure::too_many(format!("at most {} definitions", limits::DEFINITIONS_MAX)));
    }
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"]
    {
        meta::set(&mut object, field, None);
    }
    meta::set(&mut object, "uid", Some((world.fresh)().to_string().into()));
    meta::set(&mut object, "creationTimestamp", Some(world.time().into()));
    meta::set(&mut object, "generation", resource.generation.then(|| json!(1)));
    if resource.status
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
    admit::admit(world, resource, &mut object, None)?;
    conflicting_kind(world, request, &object)?;
    if managed == Managed::Track {
        let (version, time) = (resource.api_version(), world.time());
        let writer = request.writer(&version, &time);
        apply::track_update(None, &mut object, resource.schema.root(), &writer)?;
    }
    let mut warnings: Vec<String> = resource.note.map(str::to_owned).into_iter().collect();
    if request.validation == FieldValidation::Ignore {
        warnings.clear();
    }
    warnings.extend(policies::admit(world, request, Some(&object), None)?);
    if request.dry_run {
        return Ok(Plan { code: 201, warnings, ..Plan::shown(object) });
    }
    Ok(Plan { answer: Answer::Written, ..Plan::written(201, request.store(object), warnings) })
}

/// A namespaced object needs a namespace that is not on its way out.
fn namespace_open(world: &World<'_>, request: &Request) -> Result<(), Failure> {
    debug_assert!(request.part == Part::Main, "a status is never created");
    if !request.resource.namespaced {
        return Ok(());
    }
    let namespace = &request.key.namespace;
    let Some(found) = world.state.get("namespaces", &Key::new("", namespace)) else {
        let namespaces = world.catalog.find("", "v1", "namespaces");
        return Err(
            namespaces.map_or_else(Failure::no_such_path, |r| Failure::not_found(r, namespace))
        );
    };
    if meta::is_deleting(found) {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let mut failure = Failure::forbidden(&request.resource, &request.key.name, &why);
        if let Some(details) = &mut failure.details {
            details["causes"] = json!([{"reason": "NamespaceTerminating", "field": "metadata.namespace",
                "message": format!("namespace {namespace} is being terminated")}]);
        }
        return Err(failure);
    }
    Ok(())
}

/// Two definitions must not claim one kind of one group.
fn conflicting_kind(world: &World<'_>, request: &Request, object: &Value) -> Result<(), Failure> {
    if request.resource.kind != "CustomResourceDefinition" {
        return Ok(());
    }
    let text = |p: &str| object.pointer(p).and_then(Value::as_str).unwrap_or_default();
    let other = world.catalog.of_kind(text("/spec/group"), text("/spec/names/kind"));
    if let Some(other) = other.filter(|o| o.plural != text("/spec/names/plural")) {
        let why =
            format!("the kind {:?} is already served as {}", other.kind, other.qualified_plural());
        return Err(Failure::conflict(&request.resource, &request.key.name, &why));
    }
    Ok(())
}
