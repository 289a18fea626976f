//! What the coordinator tells the API, as a function of its view and of what stands there.
//!
//! Invariants: every status carries `observedEra`, so that the server refuses what comes from the past (CLUSTER.md
//! section 7); nothing that stands there already is in the answer; a component without quorum says that it has none,
//! under the newest era that it knows, and nothing else.

use std::collections::BTreeSet;

use api::{
    Condition, FencingOperation, HACluster, STOP_FAILED,
    client::{Picture, Section},
    condition::{Judgement, find},
    fencing::OperationPhase,
    names::{API_VERSION, NOT_FOUND_WAITING, condition as types, label, manager},
};
use base::{NodeId, Role};
use cluster::{
    Status as View,
    status::{InstanceStatus, NodeStatus, OperationStatus},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use policy::revision::{Placement, Revision};
use serde_json::{Value, json};

use super::judgements::{self, SAID_BY_MEMBERS, cut, is_instance_of, said_of};

/// Closed operations of one member that are kept (CLUSTER.md section 6).
const OPERATIONS_KEPT: usize = 100;
/// Resources that a member's status names.
const NAMED_MAX: usize = 128;
/// Instances that a placement's status names.
const INSTANCES_MAX: usize = 1000;
/// Of a last failure, in objects.
const LAST_FAILURE_CHARS: usize = 256;

/// Kinds that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Records of fencing.
    FencingOperation,
    /// Devices that power machines off.
    FenceDevice,
    /// The cluster.
    HACluster,
    /// Members.
    HANode,
    /// Load balancers.
    LoadBalancer,
    /// What runs.
    ResourcePlacement,
    /// Addresses.
    VirtualIP,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 7] = [
        Self::FenceDevice,
        Self::FencingOperation,
        Self::HACluster,
        Self::HANode,
        Self::LoadBalancer,
        Self::ResourcePlacement,
        Self::VirtualIP,
    ];

    /// As the API calls it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::FenceDevice => "FenceDevice",
            Self::FencingOperation => "FencingOperation",
            Self::HACluster => "HACluster",
            Self::HANode => "HANode",
            Self::LoadBalancer => "LoadBalancer",
            Self::ResourcePlacement => "ResourcePlacement",
            Self::VirtualIP => "VirtualIP",
        }
    }
}

/// Something to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// An object of an operation. Before its status.
    Operation {
        /// Its name.
        name: String,
        /// The whole body.
        body: Value,
    },
    /// A status.
    Status {
        /// Of which kind.
        kind: Kind,
        /// Of which object.
        name: String,
        /// The coordinator's part.
        status: Value,
    },
    /// A closed operation beyond the last hundred of its member.
    Forget(Box<FencingOperation>),
}

impl Write {
    /// What it writes to.
    pub fn key(&self) -> (Kind, String) {
        match self {
            Self::Operation { name, .. } => (Kind::FencingOperation, name.clone()),
            Self::Status { kind, name, .. } => (*kind, name.clone()),
            Self::Forget(operation) => (Kind::FencingOperation, operation.name_any()),
        }
    }
}

/// The coordinator's part of the statuses of a kind.
pub const fn section(kind: Kind) -> Section {
    let manager = manager::COORDINATOR;
    match kind {
        Kind::FenceDevice => {
            Section { manager, fields: &["observedEra"], conditions: &[types::READY] }
        }
        Kind::FencingOperation => Section {
            manager,
            fields: &[
                "observedEra",
                "phase",
                "reason",
                "attempts",
                "executor",
                "lastFailure",
                "evidence",
            ],
            conditions: &[],
        },
        Kind::HACluster => Section {
            manager,
            fields: &[
                "observedEra",
                "era",
                "coordinator",
                "online",
                "owing",
                "retained",
                "revision",
            ],
            conditions: &[types::QUORATE, types::DEGRADED, types::PROGRESSING, types::READY],
        },
        Kind::HANode => Section {
            manager,
            fields: &["observedEra", "nodeId", "state", "incarnation", "running", "resources"],
            conditions: &OF_NODES,
        },
        Kind::ResourcePlacement => Section {
            manager,
            fields: &["observedEra", "nodes", "instances", "failures", "reason"],
            conditions: &[types::DEGRADED, types::PROGRESSING, types::READY],
        },
        Kind::LoadBalancer => Section {
            manager,
            fields: &["observedEra", "nodes", "reason"],
            conditions: &[types::DEGRADED, types::READY],
        },
        Kind::VirtualIP => Section {
            manager,
            fields: &["observedEra", "node", "reason"],
            conditions: &[types::READY],
        },
    }
}

/// Whether two statuses say the same, whenever their conditions changed.
pub fn same(a: &Value, b: &Value) -> bool {
    timeless(a.clone()) == timeless(b.clone())
}

fn timeless(mut status: Value) -> Value {
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        if let Some(fields) = condition.as_object_mut() {
            fields.remove("lastTransitionTime");
        }
    }
    status
}

/// Everything that has to be written.
pub fn writes(view: &View, revision: &Revision, picture: &Picture, now: &Time) -> Vec<Write> {
    let Some(newest) = view.era.or(view.state_era) else { return Vec::new() };
    let mut out = Out { now, era: newest.seq, writes: Vec::new() };
    out.cluster(view, revision, picture);
    if view.era.is_some() {
        out.nodes(view, revision, picture);
        out.devices(view, revision, picture);
        out.placements(view, revision, picture);
        out.operations(view, revision, picture);
    }
    out.writes
}

struct Out<'a> {
    now: &'a Time,
    era: u64,
    writes: Vec<Write>,
}

impl Out<'_> {
    /// Adds a status if it differs from what stands there.
    fn status(&mut self, kind: Kind, name: &str, current: &Value, mut status: Value) {
        prune(&mut status);
        // A record is history: it says in which era it changed last, and an era that changes nothing of it writes nothing. Of
        // the others each says which era it is true of.
        let history = matches!(kind, Kind::FencingOperation);
        let kept = current.get("observedEra").filter(|_| history);
        status["observedEra"] = kept.cloned().unwrap_or_else(|| self.era.into());
        if section(kind).differs(current, &status) {
            status["observedEra"] = self.era.into();
            self.writes.push(Write::Status { kind, name: name.into(), status });
        }
    }

    fn conditions(&self, current: &Value, generation: Option<i64>, all: Vec<Judgement>) -> Value {
        let old: Vec<Condition> =
            serde_json::from_value(current["conditions"].clone()).unwrap_or_default();
        let conditions: Vec<Condition> =
            all.into_iter().map(|j| j.over(&old, generation, self.now)).collect();
        json!(conditions)
    }

    fn cluster(&mut self, view: &View, revision: &Revision, picture: &Picture) {
        let name = &revision.cluster.name;
        let Some(object) = picture.clusters.get(name) else { return };
        let current = json!(object.status);
        let names = |node: NodeId| node_name(view, revision, node);
        let owing: Vec<String> =
            view.nodes.iter().filter(|n| n.owes.is_some()).map(|n| names(n.node)).collect();
        let online = view.nodes.iter().filter(|n| n.member).count();
        let retained: BTreeSet<&str> = view
            .instances
            .iter()
            .filter(|i| i.retained)
            .map(|i| i.resource.as_str())
            .chain(revision.placements.iter().filter(|p| p.retained).map(|p| p.id.as_str()))
            .collect();
        let generation = object.metadata.generation;
        let conditions = judgements::of_cluster(view, revision, strangers(object));
        let conditions = self.conditions(&current, generation, conditions);
        let status = json!({
            "era": view.era.map(|e| e.to_string()),
            "coordinator": view.coordinator.map(names),
            "online": format!("{online}/{}", view.nodes.len()),
            "owing": owing,
            "retained": retained,
            "revision": view.revision.as_ref().map(|r| format!("{:032x}", compile::of_spec(&r.objects))),
            "conditions": conditions,
        });
        self.status(Kind::HACluster, name, &current, status);
    }

    fn nodes(&mut self, view: &View, revision: &Revision, picture: &Picture) {
        for node in &view.nodes {
            let name = node_name(view, revision, node.node);
            let Some(object) = picture.nodes.get(&name) else { continue };
            let current = json!(object.status);
            let running: Vec<&str> = view
                .instances
                .iter()
                .filter(|i| i.node == node.node && i.role.is_some_and(Role::is_active))
                .map(|i| i.resource.as_str())
                .collect();
            let (state, why) = node_state(node, object.spec.standby, object.spec.maintenance);
            let judged = judgements::of_node(view, node, why);
            let conditions = self.conditions(&current, object.metadata.generation, judged);
            let status = json!({
                "nodeId": node.node.as_u16(),
                "state": state,
                "incarnation": node.incarnation.map(|i| i.to_string()),
                "running": running.len(),
                "resources": running.iter().take(NAMED_MAX).collect::<Vec<_>>(),
                "conditions": conditions,
            });
            self.status(Kind::HANode, &name, &current, status);
        }
    }

    fn devices(&mut self, view: &View, revision: &Revision, picture: &Picture) {
        for device in revision.devices.iter().map(|d| &d.device) {
            let name = device.name.as_str();
            let Some(object) = picture.devices.get(name) else { continue };
            // until somebody has looked, what stood there before stays
            let Some(ready) = judgements::of_device(view, revision, device) else { continue };
            let current = json!(object.status);
            let conditions = self.conditions(&current, object.metadata.generation, vec![ready]);
            let status = json!({"conditions": conditions});
            self.status(Kind::FenceDevice, name, &current, status);
        }
    }

    fn placements(&mut self, view: &View, revision: &Revision, picture: &Picture) {
        for placement in &revision.placements {
            let name = placement.id.as_str();
            let mut instances: Vec<&InstanceStatus> =
                view.instances.iter().filter(|i| belongs(placement, i)).collect();
            instances.sort_by(|a, b| (&a.resource, a.node).cmp(&(&b.resource, b.node)));
            let nodes: BTreeSet<String> = instances
                .iter()
                .filter(|i| i.role.is_some_and(Role::is_active))
                .map(|i| node_name(view, revision, i.node))
                .collect();
            let nodes: Vec<String> = nodes.into_iter().collect();
            let judged = judgements::of_placement(view, placement, &instances);
            let why = judged.iter().find(|j| j.type_ == types::READY).map(|j| j.message.clone());
            if let Some(object) = picture.placements.get(name) {
                let current = json!(object.status);
                let listed: Vec<Value> = instances
                    .iter()
                    .take(INSTANCES_MAX)
                    .filter(|i| i.role != Some(Role::Stopped) || i.failures > 0 || i.stop_failed)
                    .map(|i| instance(i, &node_name(view, revision, i.node)))
                    .collect();
                let failures: u64 = instances.iter().map(|i| u64::from(i.failures)).sum();
                let generation = object.metadata.generation;
                let conditions = self.conditions(&current, generation, judged.clone());
                let status = json!({
                    "nodes": nodes.join(","),
                    "instances": listed,
                    "failures": failures,
                    "reason": why,
                    "conditions": conditions,
                });
                self.status(Kind::ResourcePlacement, name, &current, status);
            }
            if let Some(object) = picture.balancers.get(name) {
                let current = json!(object.status);
                let mine = judged.iter().filter(|j| j.type_ != types::PROGRESSING);
                let mine: Vec<Judgement> = mine.cloned().collect();
                let conditions = self.conditions(&current, object.metadata.generation, mine);
                let status = json!({
                    "nodes": nodes.join(","), "reason": why, "conditions": conditions,
                });
                self.status(Kind::LoadBalancer, name, &current, status);
            }
            if let Some(object) = picture.addresses.get(name) {
                let current = json!(object.status);
                let ready: Vec<Judgement> =
                    judged.into_iter().filter(|j| j.type_ == types::READY).collect();
                let conditions = self.conditions(&current, object.metadata.generation, ready);
                let status = json!({
                    "node": nodes.first(), "reason": why, "conditions": conditions,
                });
                self.status(Kind::VirtualIP, name, &current, status);
            }
        }
    }

    fn operations(&mut self, view: &View, revision: &Revision, picture: &Picture) {
        for operation in &view.operations {
            let node = node_name(view, revision, operation.incident.node);
            let incident = operation.incident.ring.to_string();
            let name = format!("{node}-{incident}");
            let found = picture.operations.get(&name);
            if found.is_none() {
                let body = operation_body(revision, &name, &node, operation);
                self.writes.push(Write::Operation { name: name.clone(), body });
            }
            let current = found.map_or(Value::Null, |o| json!(o.status));
            let status = json!({
                "phase": phase(view, operation),
                // What is said of the node now is not about an incident that is over.
                "reason": (!operation.closed)
                    .then(|| said_of(view, &format!("node {}", operation.incident.node))),
                "attempts": operation.attempts,
                "executor": operation.executor.map(|e| node_name(view, revision, e)),
                "lastFailure": operation.failure.as_ref().map(|f| cut(f, LAST_FAILURE_CHARS)),
                "evidence": operation.evidence.as_ref().map(|kind| json!({"kind": kind})),
            });
            self.status(Kind::FencingOperation, &name, &current, status);
        }
        self.forget(view, revision, picture);
    }

    /// Open ones and the last hundred of each member stay (CLUSTER.md section 6).
    fn forget(&mut self, view: &View, revision: &Revision, picture: &Picture) {
        for voter in &revision.voters {
            let mut closed: Vec<&FencingOperation> = picture
                .operations
                .values()
                .filter(|o| o.spec.cluster_ref.name.as_str() == revision.cluster.name)
                .filter(|o| o.spec.node.as_str() == voter.name.as_str())
                .filter(|o| {
                    let phase = o.status.as_ref().and_then(|s| s.phase);
                    phase == Some(OperationPhase::Closed)
                })
                .collect();
            closed.sort_by_key(|o| (o.creation_timestamp(), o.name_any()));
            let known = |o: &FencingOperation| {
                view.operations.iter().any(|k| k.incident.ring.to_string() == o.spec.incident.0)
            };
            let surplus = closed.len().saturating_sub(OPERATIONS_KEPT);
            for operation in closed.into_iter().take(surplus).filter(|o| !known(o)) {
                self.writes.push(Write::Forget(Box::new(operation.clone())));
            }
        }
    }
}

/// Empty things are left out: an absent field is not written.
fn prune(status: &mut Value) {
    if let Some(fields) = status.as_object_mut() {
        fields.retain(|_, v| match v {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => true,
        });
    }
}

fn instance(i: &InstanceStatus, node: &str) -> Value {
    let mut out = json!({"resource": i.resource, "node": node});
    if let Some(role) = i.role {
        out["role"] = role.to_string().into();
    }
    if i.failures > 0 {
        out["failures"] = i.failures.into();
    }
    if i.stop_failed {
        let why = i.why.iter().map(|why| format!(" ({why})")).collect::<String>();
        out["lastFailure"] = cut(&format!("{STOP_FAILED}{why}"), LAST_FAILURE_CHARS).into();
    } else if let (Some(why), true) = (&i.why, i.failures > 0) {
        out["lastFailure"] = cut(why, LAST_FAILURE_CHARS).into();
    }
    out
}

fn operation_body(
    revision: &Revision,
    name: &str,
    node: &str,
    operation: &OperationStatus,
) -> Value {
    let cluster = &revision.cluster.name;
    json!({
        "apiVersion": API_VERSION,
        "kind": "FencingOperation",
        "metadata": {
            "name": name,
            "labels": {label::CLUSTER: cluster, label::NODE: node, label::MANAGED_BY: "palisade"},
        },
        "spec": {
            "clusterRef": {"name": cluster},
            "node": node,
            "nodeId": operation.incident.node.as_u16(),
            "incident": operation.incident.ring.to_string(),
        },
    })
}

fn phase(view: &View, operation: &OperationStatus) -> OperationPhase {
    let suspended = view.conditions.iter().any(|c| {
        c.kind == "FencingSuspended" && c.object == format!("node {}", operation.incident.node)
    });
    if operation.closed {
        OperationPhase::Closed
    } else if operation.evidence.is_some() {
        OperationPhase::Proven
    } else if suspended {
        OperationPhase::Suspended
    } else if operation.executor.is_some() {
        OperationPhase::Running
    } else {
        OperationPhase::Waiting
    }
}

fn node_state(node: &NodeStatus, standby: bool, maintenance: bool) -> (&'static str, &'static str) {
    if node.evicted {
        ("Fencing", "kept out until its incident is over")
    } else if node.owes.is_some() {
        ("Owing", "away without evidence that it holds nothing")
    } else if !node.member {
        ("Offline", "not in the ring; it holds nothing")
    } else if !node.reported {
        ("Pending", "has not said yet what it runs")
    } else if node.maintenance || maintenance {
        ("Maintenance", "")
    } else if node.standby || standby {
        ("Standby", "")
    } else {
        ("Online", "")
    }
}

/// Members that are no Nodes, as the controller has found: agents do not read Nodes (row 8 of SPEC-ERRORS.md).
fn strangers(cluster: &HACluster) -> Option<String> {
    let accepted = find(&cluster.status.as_ref()?.conditions, types::ACCEPTED)?;
    let each = accepted.message.split("; ").filter(|text| text.contains(NOT_FOUND_WAITING));
    let said: Vec<&str> = each.collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// Of a member's object: what it says of itself, and whether it serves.
const OF_NODES: [&str; SAID_BY_MEMBERS.len() + 1] = {
    let mut all = [types::READY; SAID_BY_MEMBERS.len() + 1];
    let mut at = 0;
    while at < SAID_BY_MEMBERS.len() {
        all[at] = SAID_BY_MEMBERS[at];
        at += 1;
    }
    all
};

pub(super) fn node_name(view: &View, revision: &Revision, node: NodeId) -> String {
    let named = view.nodes.iter().find(|n| n.node == node).and_then(|n| n.name.clone());
    named
        .or_else(|| revision.voter(node).map(|v| v.name.clone()))
        .map_or_else(|| format!("node-{node}"), String::from)
}

fn belongs(placement: &Placement, instance: &InstanceStatus) -> bool {
    placement.members.iter().any(|m| is_instance_of(instance, m.id.as_str()))
}
