//! DELETE of one object and of a collection.

use serde_json::{Value, json};

use super::update::deleted;
use super::{Answer, Plan, Request, World};
use crate::definition;
use crate::failure::Failure;
use crate::meta;
use crate::policies;
use crate::resource::Resource;
use crate::selector::Selector;
use crate::storage::Change;

pub(crate) const ORPHAN: &str = "orphan";
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

/// What becomes of the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Propagation {
    #[default]
    Background,
    Foreground,
    Orphan,
}

/// How to delete.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) propagation: Option<Propagation>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) dry_run: bool,
}

impl Options {
    /// Reads DeleteOptions.
    pub(crate) fn read(body: &Value) -> Result<Self, Failure> {
        let text = |p: &str| body.pointer(p).and_then(Value::as_str).map(str::to_owned);
        let propagation = match text("/propagationPolicy").as_deref() {
            Some(word) => Some(Propagation::read(word)?),
            None => match body.get("orphanDependents").and_then(Value::as_bool) {
                Some(true) => Some(Propagation::Orphan),
                Some(false) => Some(Propagation::Background),
                None => None,
            },
        };
        let all = |v: &Value| v.as_array().is_some_and(|l| l.iter().any(|w| w == "All"));
        Ok(Self {
            propagation,
            uid: text("/preconditions/uid"),
            resource_version: text("/preconditions/resourceVersion"),
            dry_run: body.get("dryRun").is_some_and(all),
        })
    }
}

impl Propagation {
    pub(crate) fn read(word: &str) -> Result<Self, Failure> {
        match word {
            "Background" => Ok(Self::Background),
            "Foreground" => Ok(Self::Foreground),
            "Orphan" => Ok(Self::Orphan),
            _ => Err(Failure::new(
                422,
                "Invalid",
                format!(
                    "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: {word:?}: \
                     supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
                ),
            )),
        }
    }
}

/// Deletes one object, or marks it where somebody wants to act first.
pub(crate) fn delete(
    world: &World<'_>,
    request: &Request,
    options: &Options,
) -> Result<Plan, Failure> {
    let object = request.found(world)?;
    let resource = &request.resource;
    if resource.is("", "namespaces")
        && ["default", "kube-system"].contains(&request.key.name.as_str())
    {
        let why = "this namespace may not be deleted";
        return Err(Failure::forbidden(resource, &request.key.name, why));
    }
    precondition(request, &object, "UID", options.uid.as_deref(), "uid")?;
    let version = options.resource_version.as_deref();
    precondition(request, &object, "ResourceVersion", version, "resourceVersion")?;
    let dry_run = request.dry_run || options.dry_run;
    let asked = Request { dry_run, ..request.clone() };
    let warnings = policies::admit(world, &asked, None, Some(&object))?;
    Ok(match begin(world, resource, &object, options.propagation) {
        Begun::Already => Plan { warnings, ..Plan::shown(object) },
        Begun::Gone => {
            let answer = deleted(request, &object);
            let change = Change { new: None, ..request.store(object) };
            let changes = if dry_run { Vec::new() } else { vec![change] };
            Plan { changes, answer, code: 200, warnings }
        }
        Begun::Marked(marked) if dry_run => Plan { warnings, ..Plan::shown(marked) },
        Begun::Marked(marked) => Plan::written(200, request.store(marked), warnings),
    })
}

fn precondition(
    request: &Request,
    object: &Value,
    what: &str,
    wanted: Option<&str>,
    field: &str,
) -> Result<(), Failure> {
    let found = meta::text(object, field);
    match wanted {
        Some(wanted) if wanted != found => {
            let why = format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
            );
            Err(Failure::conflict(&request.resource, &request.key.name, &why))
        }
        _ => Ok(()),
    }
}

/// How a deletion begins.
pub(super) enum Begun {
    /// Nobody wants to act first.
    Gone,
    /// It waits; this is the object with its mark.
    Marked(Value),
    /// It waits already.
    Already,
}

/// Begins the deletion of an object, as its version shows it.
pub(super) fn begin(
    world: &World<'_>,
    resource: &Resource,
    object: &Value,
    propagation: Option<Propagation>,
) -> Begun {
    let had: Vec<String> = meta::finalizers(object).into_iter().map(str::to_owned).collect();
    let mut finalizers: Vec<String> = had
        .iter()
        .filter(|f| propagation.is_none() || ![ORPHAN, FOREGROUND].contains(&f.as_str()))
        .cloned()
        .collect();
    match propagation {
        Some(Propagation::Foreground) => finalizers.push(FOREGROUND.to_owned()),
        Some(Propagation::Orphan) => finalizers.push(ORPHAN.to_owned()),
        Some(Propagation::Background) | None => {}
    }
    let is_definition = resource.kind == "CustomResourceDefinition";
    if is_definition && !meta::is_deleting(object) {
        finalizers.push(definition::CLEANUP.to_owned());
    }
    if meta::is_deleting(object) && finalizers == had {
        return Begun::Already;
    }
    let is_namespace = resource.is("", "namespaces");
    if finalizers.is_empty() && !is_namespace {
        return Begun::Gone;
    }
    let mut marked = object.clone();
    if !meta::is_deleting(object) {
        meta::set(&mut marked, "deletionTimestamp", Some(world.time().into()));
        if !is_namespace {
            meta::set(&mut marked, "deletionGracePeriodSeconds", Some(json!(0)));
        }
        if let Some(generation) = meta::get(object, "generation").and_then(Value::as_i64) {
            meta::set(&mut marked, "generation", Some(json!(generation + 1)));
        }
    }
    if is_namespace {
        marked["status"]["phase"] = json!("Terminating");
    }
    if is_definition {
        terminating(&mut marked, &world.time());
    }
    meta::set_finalizers(&mut marked, &finalizers);
    Begun::Marked(marked)
}

fn terminating(definition: &mut Value, now: &str) {
    let condition = json!({"type": "Terminating", "status": "True", "reason": "InstanceDeletionInProgress",
        "message": "CustomResource deletion is in progress", "lastTransitionTime": now});
    match definition.pointer_mut("/status/conditions").and_then(Value::as_array_mut) {
        Some(conditions) => {
            conditions.retain(|c| c["type"] != "Terminating");
            conditions.push(condition);
        }
        None => definition["status"]["conditions"] = json!([condition]),
    }
}

/// Deletes everything in a namespace (or everywhere) that a selector names. Answers with what it found.
pub(crate) fn delete_collection(
    world: &World<'_>,
    request: &Request,
    options: &Options,
    selector: &Selector,
) -> Result<Plan, Failure> {
    let resource = &request.resource;
    let mut changes = Vec::new();
    let mut items = Vec::new();
    for (key, stored) in world.state.list(&resource.table(), &request.key.namespace) {
        let object = resource.show(stored);
        if !selector.matches(&object) {
            continue;
        }
        let one = Request { key: key.clone(), ..request.clone() };
        let plan = delete(world, &one, options)?;
        items.push(match plan.answer {
            Answer::Object(object) => object,
            Answer::Written => plan
                .changes
                .first()
                .and_then(|c| c.new.as_ref())
                .map_or(object, |o| resource.show(o)),
            Answer::Plain(_) => object,
        });
        changes.extend(plan.changes);
    }
    let revision = world.state.revision().to_string();
    let list = json!({"apiVersion": resource.api_version(), "kind": resource.list_kind,
                      "metadata": {"resourceVersion": revision}, "items": items});
    Ok(Plan { changes, answer: Answer::Plain(list), code: 200, warnings: Vec::new() })
}
