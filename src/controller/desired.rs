//! What is to be written, as a function of the picture: nothing where everything stands there already.
//!
//! Invariants: what is made carries an owner and is only ever deleted when its owner does not want it any more and it
//! says that we made it; a placement is never deleted here (SAFETY.md#S26), the garbage collector does that when its
//! address goes, and `deletionPolicy` decides what that means; a status is written by its own field manager.

use api::{
    Condition, FenceDevice, HANode, PlacementConstraint,
    client::{Picture, Section},
    condition::{self, ConditionStatus, Judgement},
    names::{
        NOT_FOUND_WAITING, SAID_OF_DEVICES, condition as types, event, label, manager, reason,
    },
};
use compile::{Compiled, Key, Objects, Problem, compile, expand};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt, api::ObjectMeta};
use serde_json::{Value, json};

/// Something to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Applies a member's object. After it the member can be put into standby by a person.
    ApplyNode {
        /// Its name.
        name: String,
        /// The whole body, with our fields only.
        body: Value,
    },
    /// Applies a placement that an address or a balancer stands for.
    ApplyPlacement {
        /// Its name.
        name: String,
        /// The whole body.
        body: Value,
    },
    /// Applies a constraint that one stands for. Follows the placement, which it names.
    ApplyConstraint {
        /// Its name.
        name: String,
        /// The whole body.
        body: Value,
    },
    /// A constraint that its address does not want any more.
    DeleteConstraint(Box<PlacementConstraint>),
    /// An object of a member that is no member any more.
    DeleteNode(Box<HANode>),
    /// The controller's part of a status.
    Status {
        /// Which object.
        key: Key,
        /// The part.
        status: Value,
    },
    /// A word to people who look at events. Follows the status that it is about.
    Event {
        /// Which object.
        key: Key,
        /// A constant of [`api::names::event`].
        reason: &'static str,
        /// Something is wrong.
        warning: bool,
        /// What.
        note: String,
    },
}

/// The controller's part of every status.
pub const SECTION: Section = Section {
    manager: manager::CONTROLLER_STATUS,
    fields: &["observedGeneration"],
    conditions: &[types::ACCEPTED, types::FENCING_READY, types::RECONCILING, types::STALLED],
};

/// Everything that is to be written for one cluster.
pub fn actions(cluster: &str, objects: &Objects, picture: &Picture, now: &Time) -> Vec<Action> {
    let mut out = Vec::new();
    members(objects, picture, &mut out);
    // addresses first, so that a verdict counts what is about to be applied and is not written twice
    let mut all = objects.clone();
    let refused = own_faults(objects);
    let taken = |kind: &'static str, name: String| !refused.contains(&(kind, name));
    let mut expanded = expand::services(objects);
    expanded.retain(|e| taken(e.kind, e.owner.name.clone().unwrap_or_default()));
    services(&expanded, &mut all, picture, &mut out);
    let compiled = compile(&all, None);
    statuses(cluster, objects, &compiled, picture, now, &mut out);
    out
}

/// Addresses and balancers whose spec is refused: what was made of them stays as it is (SPEC-ERRORS.md rule 5).
fn own_faults(objects: &Objects) -> Vec<(&'static str, String)> {
    let mut trial = objects.clone();
    trial.placements.retain(|p| !made_by_us(&p.metadata));
    trial.constraints.retain(|c| !made_by_us(&c.metadata));
    expand::services_in(&mut trial);
    let compiled = compile(&trial, None);
    let of = |kind: &str| ["LoadBalancer", "VirtualIP"].contains(&kind);
    let refused = compiled.verdicts.iter().filter(|(key, v)| of(key.kind) && !v.accepted());
    refused.map(|(key, _)| (key.kind, key.name.clone())).collect()
}

fn members(objects: &Objects, picture: &Picture, out: &mut Vec<Action>) {
    let Some(cluster) = &objects.cluster else { return };
    let wanted = expand::members(cluster);
    for node in &wanted {
        let name = node.name_any();
        let stands = picture.nodes.get(&name).is_some_and(|found| {
            has_meta(&found.metadata, &node.metadata)
                && found.spec.cluster_ref == node.spec.cluster_ref
                && found.spec.member == node.spec.member
        });
        // a member of another cluster has that name: its cluster keeps the object, and says so
        let foreign = picture
            .nodes
            .get(&name)
            .is_some_and(|found| found.spec.cluster_ref != node.spec.cluster_ref);
        if !stands && !foreign {
            let body = body(
                node,
                json!({"clusterRef": node.spec.cluster_ref, "member": node.spec.member}),
            );
            out.push(Action::ApplyNode { name, body });
        }
    }
    for found in objects.nodes.iter().filter(|n| made_by_us(&n.metadata)) {
        let gone = !wanted.iter().any(|w| w.name_any() == found.name_any());
        if gone && owned_by(&found.metadata, &cluster.metadata) {
            out.push(Action::DeleteNode(Box::new(found.clone())));
        }
    }
}

/// Puts what every address and balancer stands for into `all` and says what of it has to be written.
fn services(
    expanded: &[expand::Expanded],
    all: &mut Objects,
    picture: &Picture,
    out: &mut Vec<Action>,
) {
    for expand::Expanded { owner, placement, constraints, .. } in expanded {
        let name = placement.name_any();
        let found = picture.placements.get(&name);
        if found.is_some_and(|f| !owned_by(&f.metadata, owner)) {
            // a person's placement of the same name: never taken over, the verdict says so
            continue;
        }
        let stands = found.is_some_and(|f| {
            has_meta(&f.metadata, &placement.metadata) && f.spec == placement.spec
        });
        if !stands {
            let body = body(placement, json!(placement.spec));
            out.push(Action::ApplyPlacement { name: name.clone(), body });
            all.placements.retain(|p| p.name_any() != name);
            all.placements.push(dated(placement.clone(), found));
        }
        for constraint in constraints {
            let name = constraint.name_any();
            let found = picture.constraints.get(&name);
            if found.is_some_and(|f| !owned_by(&f.metadata, owner)) {
                continue;
            }
            let stands = found.is_some_and(|f| {
                has_meta(&f.metadata, &constraint.metadata) && f.spec == constraint.spec
            });
            if !stands {
                let body = body(constraint, json!(constraint.spec));
                out.push(Action::ApplyConstraint { name: name.clone(), body });
                all.constraints.retain(|c| c.name_any() != name);
                all.constraints.push(dated(constraint.clone(), found));
            }
        }
        let stale: Vec<PlacementConstraint> = all
            .constraints
            .iter()
            .filter(|c| made_by_us(&c.metadata) && owned_by(&c.metadata, owner))
            .filter(|c| !constraints.iter().any(|w| w.name_any() == c.name_any()))
            .cloned()
            .collect();
        for constraint in stale {
            all.constraints.retain(|c| c.name_any() != constraint.name_any());
            out.push(Action::DeleteConstraint(Box::new(constraint)));
        }
    }
}

/// What is about to be applied keeps the age of what stands there: the older of two rivals wins.
fn dated<K: Resource>(mut new: K, found: Option<&K>) -> K {
    if let Some(found) = found {
        let meta = found.meta().clone();
        new.meta_mut().creation_timestamp = meta.creation_timestamp;
        new.meta_mut().uid = meta.uid;
    }
    new
}

fn statuses(
    cluster: &str,
    objects: &Objects,
    compiled: &Compiled,
    picture: &Picture,
    now: &Time,
    out: &mut Vec<Action>,
) {
    for (key, verdict) in compiled.verdicts.iter() {
        let Some(found) = Found::of(key, picture) else { continue };
        let mut verdict = verdict.clone();
        if let Some(why) = picture.unreadable.get(&(key.kind.to_owned(), key.name.clone())) {
            let text = format!("cannot be read by this version: {why}; upgrade, or correct it");
            verdict.problems.push(Problem::fatal(reason::INVALID, text));
        }
        if ["LoadBalancer", "VirtualIP"].contains(&key.kind) {
            let taken = picture
                .placements
                .get(&key.name)
                .filter(|p| found.meta.uid.is_some() && !owned_by(&p.metadata, found.meta));
            if taken.is_some() {
                let text = format!(
                    "metadata.name: a ResourcePlacement {:?} exists already and is not made from this object: rename one",
                    key.name
                );
                verdict.problems.push(Problem::fatal(reason::DUPLICATE, text));
            }
        }
        if key.kind == "HACluster" {
            strangers(objects, picture, &mut verdict.problems);
            no_machines(objects, picture, &mut verdict.problems);
            if key.name == cluster {
                cannot_join(objects, &mut verdict.problems);
            }
        }
        let accepted = verdict.judgement();
        let mut judgements = vec![accepted.clone()];
        if key.kind == "HACluster" && key.name == cluster {
            judgements.push(fencing_ready(objects, compiled));
        }
        // as kstatus reads them, and only while they hold: what waits for another object to be applied is on its way
        if accepted.status == ConditionStatus::False {
            let waits = verdict.problems.iter().filter(|p| p.fatal).all(|p| waits(p.reason));
            judgements.push(Judgement {
                type_: if waits { types::RECONCILING } else { types::STALLED },
                status: ConditionStatus::True,
                ..accepted.clone()
            });
        }
        let generation = found.meta.generation;
        let conditions: Vec<Condition> =
            judgements.into_iter().map(|j| j.over(&found.conditions, generation, now)).collect();
        let status = json!({"observedGeneration": generation, "conditions": conditions});
        if !SECTION.differs(&found.status, &status) {
            continue;
        }
        out.push(Action::Status { key: key.clone(), status });
        let before = condition::find(&found.conditions, types::ACCEPTED);
        let changed = before.is_none_or(|c| {
            c.status != accepted.status
                || (c.message != accepted.message && c.status == ConditionStatus::False)
        });
        if changed {
            let warning = accepted.status == ConditionStatus::False;
            let reason = if warning { event::REFUSED } else { event::ACCEPTED };
            let note = if accepted.message.is_empty() {
                format!("generation {} is in force", generation.unwrap_or_default())
            } else {
                accepted.message
            };
            out.push(Action::Event { key: key.clone(), reason, warning, note });
        }
    }
}

/// Manifests are applied in any order: what a reference names may come (SPEC-ERRORS.md rule 2).
fn waits(why: &str) -> bool {
    matches!(why, reason::NO_SUCH_CLUSTER | reason::UNKNOWN_REFERENCE)
}

/// Members that are no Nodes where others are (SPEC-ERRORS.md row 8). Where none is, the machines are no part of this
/// Kubernetes, or it has none (`palisade dev`).
fn no_machines(objects: &Objects, picture: &Picture, problems: &mut Vec<Problem>) {
    let (Some(cluster), Some(machines)) = (&objects.cluster, &picture.machines) else { return };
    let (here, missing): (Vec<&str>, Vec<&str>) = cluster
        .spec
        .members
        .iter()
        .map(|member| member.name.as_str())
        .partition(|name| machines.contains(*name));
    if here.is_empty() {
        return;
    }
    for name in missing {
        let text = format!(
            "spec.members: node {name:?} {NOT_FOUND_WAITING}: join the machine to this Kubernetes cluster, or correct the name"
        );
        problems.push(Problem::warning(reason::NODE_NOT_FOUND, text));
    }
}

/// Members whose object belongs to another cluster of the namespace.
fn strangers(objects: &Objects, picture: &Picture, problems: &mut Vec<Problem>) {
    let Some(cluster) = &objects.cluster else { return };
    for member in &cluster.spec.members {
        let found = picture.nodes.get(member.name.as_str());
        if let Some(other) =
            found.filter(|n| n.spec.cluster_ref.name.as_str() != cluster.name_any())
        {
            let text = format!(
                "spec.members: {:?} is already a member of HACluster {:?} in this namespace: rename it here, or use another namespace",
                member.name.0, other.spec.cluster_ref.name.0
            );
            problems.push(Problem::warning(reason::DUPLICATE, text));
        }
    }
}

/// Whether every member can be powered off, as far as objects say (rows 21, 23, 25, 29, 30 of SPEC-ERRORS.md).
fn fencing_ready(objects: &Objects, compiled: &Compiled) -> Judgement {
    let Some(revision) = &compiled.revision else {
        let text = "nothing is known of fencing before the cluster is accepted";
        let status = ConditionStatus::Unknown;
        return Judgement::new(types::FENCING_READY, status, reason::INVALID, text);
    };
    if !revision.fencing.enabled {
        let text = "spec.fencing.mode is Disabled: lost machines wait for a person's confirmation";
        return Judgement::new(types::FENCING_READY, false, reason::UNFENCED, text);
    }
    let mut wrong = compile::gaps(revision);
    let mut why = reason::NO_FENCING_METHOD;
    let useless: Vec<(&'static str, String)> = objects.devices.iter().filter_map(useless).collect();
    if let (true, Some((first, _))) = (wrong.is_empty(), useless.first()) {
        why = first;
    }
    wrong.extend(useless.into_iter().map(|(_, text)| text));
    if !wrong.is_empty() {
        return Judgement::new(types::FENCING_READY, false, why, wrong.join("; "));
    }
    let (why, text) = match compile::single_points(revision) {
        Some(text) => (reason::SINGLE_POINT_OF_FAILURE, text),
        None => (reason::AS_SPECIFIED, String::new()),
    };
    Judgement::new(types::FENCING_READY, true, why, text)
}

/// What the fencers have said of a device that cannot be used as it is (rows 25 and 28). They alone read its Secret and
/// reach it.
fn useless(device: &FenceDevice) -> Option<(&'static str, String)> {
    let conditions = &device.status.as_ref()?.conditions;
    let ready = condition::find(conditions, types::READY)?;
    let why = SAID_OF_DEVICES.into_iter().find(|why| *why == ready.reason);
    (ready.status == ConditionStatus::False).then(|| {
        let text = format!("FenceDevice {:?}: {}", device.name_any(), ready.message);
        (why.unwrap_or(reason::CREDENTIALS_INVALID), text)
    })
}

/// Members that are in no ring, by their own word (row 19): nobody in a ring can say it for them.
fn cannot_join(objects: &Objects, problems: &mut Vec<Problem>) {
    for node in &objects.nodes {
        let conditions = node.status.iter().flat_map(|s| &s.conditions);
        let said = conditions.filter(|c| c.type_ == types::CANNOT_JOIN);
        for said in said.filter(|c| c.status == ConditionStatus::True) {
            let text = format!("{} cannot join: {}", node.name_any(), said.message);
            problems.push(Problem::warning(reason::KEY_INVALID, text));
        }
    }
}

/// One object of whatever kind, as far as a status needs it.
struct Found<'a> {
    meta: &'a ObjectMeta,
    conditions: Vec<Condition>,
    status: Value,
}

impl<'a> Found<'a> {
    fn of(key: &Key, picture: &'a Picture) -> Option<Self> {
        let name = &key.name;
        macro_rules! found {
            ($field:ident) => {{
                let object = picture.$field.get(name)?;
                let status = object.status.as_ref();
                Self {
                    meta: &object.metadata,
                    conditions: status.map(|s| s.conditions.clone()).unwrap_or_default(),
                    status: status.map_or(Value::Null, |s| json!(s)),
                }
            }};
        }
        Some(match key.kind {
            "FenceDevice" => found!(devices),
            "HACluster" => found!(clusters),
            "HANode" => found!(nodes),
            "LoadBalancer" => found!(balancers),
            "PlacementConstraint" => found!(constraints),
            "ResourcePlacement" => found!(placements),
            "VirtualIP" => found!(addresses),
            _ => return None,
        })
    }
}

fn body<K: Resource<DynamicType = ()>>(object: &K, spec: Value) -> Value {
    json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {
            "name": object.meta().name,
            "labels": object.meta().labels,
            "ownerReferences": object.meta().owner_references,
        },
        "spec": spec,
    })
}

/// Whether our labels and owner stand there.
fn has_meta(found: &ObjectMeta, wanted: &ObjectMeta) -> bool {
    let labels = wanted.labels.iter().flatten();
    let found_labels = found.labels.clone().unwrap_or_default();
    let owners = found.owner_references.clone().unwrap_or_default();
    labels.into_iter().all(|(k, v)| found_labels.get(k) == Some(v))
        && wanted.owner_references.iter().flatten().all(|w| owners.iter().any(|o| o.uid == w.uid))
}

fn owned_by(found: &ObjectMeta, owner: &ObjectMeta) -> bool {
    found.owner_references.iter().flatten().any(|o| Some(&o.uid) == owner.uid.as_ref())
}

fn made_by_us(found: &ObjectMeta) -> bool {
    let label = found.labels.as_ref().and_then(|l| l.get(label::MANAGED_BY));
    label.is_some_and(|l| l == "palisade")
}
