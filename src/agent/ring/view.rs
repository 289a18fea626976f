//! The engine's view in the words of `palisade status`.

use std::collections::BTreeMap;

use base::NodeId;
use cluster::Status as View;
use policy::revision::Revision;
use totem::State;

use super::{counted, incidents::Incidents};
use crate::{
    clock,
    status::{
        ConditionStatus, DebtStatus, EraStatus, IncidentStatus, InstanceStatus, NodeStatus,
        OperationStatus, ResourceStatus, RingStatus, Status,
    },
};

/// What stands beside the engine's view.
pub(super) struct Beside<'a> {
    pub(super) revision: &'a Revision,
    pub(super) node: &'a str,
    pub(super) state: State,
    pub(super) members: &'a [NodeId],
    pub(super) configurations: u64,
    pub(super) dropped: u64,
    pub(super) incidents: &'a Incidents,
    /// Of this member: type and text.
    pub(super) conditions: &'a BTreeMap<&'static str, String>,
}

/// Puts it together.
pub(super) fn status(view: &View, beside: &Beside<'_>) -> Status {
    let names = |node: NodeId| counted::peer(beside.revision, node);
    let unreported = |n: &&cluster::status::NodeStatus| n.member && !n.reported;
    let waiting: Vec<String> =
        view.nodes.iter().filter(unreported).map(|n| names(n.node)).collect();
    let key = &beside.revision.cluster;
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        cluster: format!("{}/{}", key.namespace, key.name),
        node: beside.node.into(),
        at_ms: clock::wall_ms(),
        ring: RingStatus {
            state: ring_state(beside.state).into(),
            id: view.ring.map(|id| id.to_string()),
            members: beside.members.iter().map(|node| names(*node)).collect(),
            configurations: beside.configurations,
            dropped: beside.dropped,
        },
        quorate: view.quorate,
        era: view.era.or(view.ring).map(|id| EraStatus {
            id: id.to_string(),
            sequence: id.seq,
            open: view.era.is_some(),
            waiting_for: (view.era.is_none()).then(|| {
                if view.quorate { "promises of a majority".into() } else { "quorum".into() }
            }),
            unreported: waiting,
        }),
        coordinator: view.coordinator.map(names),
        nodes: view.nodes.iter().map(|n| node(n, &names)).collect(),
        resources: resources(view, beside.revision, &names),
        debts: debts(view, &names),
        operations: view
            .operations
            .iter()
            .map(|o| OperationStatus {
                node: names(o.incident.node),
                incident: o.incident.ring.to_string(),
                state: operation_state(o),
                executor: o.executor.map(names),
                attempts: o.attempts,
                evidence: o.evidence.clone(),
            })
            .collect(),
        conditions: conditions(view, beside.conditions, &names),
        incidents: beside
            .incidents
            .iter()
            .map(|seen| IncidentStatus {
                node: names(seen.incident.node),
                incident: seen.incident.ring.to_string(),
                at_ms: seen.at_ms,
                phases_ms: seen.phases,
            })
            .collect(),
    }
}

pub(super) const fn ring_state(state: State) -> &'static str {
    match state {
        State::Commit => "commit",
        State::Gather => "gather",
        State::Left => "left",
        State::Operational => "operational",
        State::Recovery => "recovery",
    }
}

/// What is to be known about the disk of a member. A first start has new disks, all voters and nothing to say: the
/// promises count, and nothing was lost.
const fn disk(n: &cluster::status::NodeStatus) -> Option<&'static str> {
    match (n.wiped, n.new, n.counts) {
        (false, ..) | (true, true, true) => None,
        (true, true, false) => Some(
            "its disk is new: its promises count from the next ring on, when it holds the state, or with all members here",
        ),
        (true, false, true) => {
            Some("its disk was lost: its promises count because all members are here")
        }
        (true, false, false) => Some(
            "its disk was lost: its promises count from the next ring on, when it holds the state, or with all members here",
        ),
    }
}

/// The word for where a member stands, and why.
pub(super) fn standing(n: &cluster::status::NodeStatus) -> (&'static str, Option<String>) {
    if n.evicted {
        ("evicted", n.owes.map(|i| format!("being fenced for incident {}", i.ring)))
    } else if let Some(incident) = n.owes {
        ("unclean", Some(format!("owes evidence for incident {}", incident.ring)))
    } else if !n.member && n.detached {
        ("detached", Some("its agent is away on purpose".into()))
    } else if !n.member {
        ("offline", None)
    } else if n.standby {
        ("standby", Some("by request".into()))
    } else if n.maintenance {
        ("maintenance", Some("by request".into()))
    } else if !n.reported {
        ("pending", Some("has not said yet what it runs".into()))
    } else {
        ("online", disk(n).map(Into::into))
    }
}

fn node(n: &cluster::status::NodeStatus, names: &impl Fn(NodeId) -> String) -> NodeStatus {
    let (state, reason) = standing(n);
    NodeStatus {
        name: n.name.as_ref().map_or_else(|| names(n.node), ToString::to_string),
        id: n.node.as_u16(),
        state: state.into(),
        reason,
        incarnation: n.incarnation.map(|i| i.to_string()),
    }
}

fn resources(
    view: &View,
    revision: &Revision,
    names: &impl Fn(NodeId) -> String,
) -> Vec<ResourceStatus> {
    let mut all: BTreeMap<String, ResourceStatus> = revision
        .primitives()
        .map(|(placement, primitive)| {
            let id = primitive.id.to_string();
            (
                id.clone(),
                ResourceStatus {
                    id,
                    kind: primitive.kind.name().into(),
                    instances: Vec::new(),
                    reason: None,
                    retained: placement.retained,
                },
            )
        })
        .collect();
    for i in &view.instances {
        // `db:0` is an instance of `db`.
        let id = i.resource.to_string();
        let of = id.split_once(':').map_or(id.as_str(), |(of, _)| of).to_owned();
        let resource = all.entry(of.clone()).or_insert_with(|| ResourceStatus {
            id: of,
            kind: String::new(),
            instances: Vec::new(),
            reason: None,
            retained: i.retained,
        });
        resource.retained |= i.retained;
        resource.instances.push(InstanceStatus {
            node: names(i.node),
            role: i.role.map_or_else(|| "Unknown".into(), |role| role.to_string()),
            failures: i.failures,
            stop_failed: i.stop_failed,
            failed: match (&i.pending, i.degraded) {
                (Some(what), _) => Some(format!("{what} in progress")),
                (None, true) => {
                    let why = i.why.as_deref().unwrap_or("see the log of its machine");
                    Some(format!("does not run well: {why}"))
                }
                (None, false) => None,
            },
            reason: i.why.clone().filter(|_| i.failures > 0),
        });
    }
    for condition in &view.conditions {
        // The engine speaks of `resource db:0`, of `node 3`, of `cluster`.
        let about = condition.object.strip_prefix("resource ").unwrap_or_default();
        let about = about.split_once(':').map_or(about, |(of, _)| of);
        if let Some(resource) = all.get_mut(about) {
            resource.reason.get_or_insert_with(|| condition.text.clone());
        }
    }
    all.into_values().collect()
}

fn debts(view: &View, names: &impl Fn(NodeId) -> String) -> Vec<DebtStatus> {
    let owing = view.nodes.iter().filter_map(|n| n.owes);
    owing
        .map(|incident| {
            let node = names(incident.node);
            let operation = view.operations.iter().find(|o| o.incident == incident);
            let object = format!("node {}", incident.node);
            let condition = view.conditions.iter().find(|c| c.object == object);
            let reason = condition
                .map(|c| c.text.clone())
                .or_else(|| operation.and_then(|o| o.failure.clone()))
                .or_else(|| operation.map(operation_state))
                .unwrap_or_else(|| "waiting for its grace to end, or for a fencer".into());
            let blocked = view.conditions.iter().filter(|c| c.kind == "Blocked");
            let bare = |object: &str| object.strip_prefix("resource ").unwrap_or(object).to_owned();
            let blocks = blocked.map(|c| bare(&c.object)).collect();
            DebtStatus { node, incident: incident.ring.to_string(), reason, blocks }
        })
        .collect()
}

fn operation_state(o: &cluster::status::OperationStatus) -> String {
    match (&o.evidence, &o.failure, o.closed) {
        (_, _, true) => "closed".into(),
        (Some(evidence), _, false) => format!("paid: {evidence}"),
        (None, Some(failure), false) => format!("failed, tried again: {failure}"),
        (None, None, false) if o.attempts == 0 => "waiting for its grace to end".into(),
        (None, None, false) => "in progress".into(),
    }
}

fn conditions(
    view: &View,
    own: &BTreeMap<&'static str, String>,
    names: &impl Fn(NodeId) -> String,
) -> Vec<ConditionStatus> {
    let engine = view.conditions.iter().map(|c| ConditionStatus {
        kind: c.kind.clone(),
        reason: c.object.clone(),
        message: c.text.clone(),
    });
    let member = own.iter().map(|(kind, message)| ConditionStatus {
        kind: (*kind).into(),
        reason: "Member".into(),
        message: message.clone(),
    });
    // The own ones are above, the newest of them before anybody else has heard of them.
    let others = view.nodes.iter().filter(|n| Some(n.node) != view.me);
    let others = others.flat_map(|n| {
        let about = format!("node {}", n.node);
        view.ails.iter().filter(move |c| c.object == about).map(|c| ConditionStatus {
            kind: c.kind.clone(),
            reason: names(n.node),
            message: c.text.clone(),
        })
    });
    let devices = view.devices.iter().filter(|said| !said.finding.reason.is_empty());
    let devices = devices.map(|said| ConditionStatus {
        kind: said.finding.reason.clone(),
        reason: said.finding.device.to_string(),
        message: format!("{} says: {}", names(said.node), said.finding.text),
    });
    engine.chain(member).chain(others).chain(devices).collect()
}
