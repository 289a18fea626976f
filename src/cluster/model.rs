//! The state as a model of the policy engine: the configured half comes from the revision, what is there and what ran is
//! added here.
//!
//! Invariants: a function of the state (time is the state's clock); nodes outside the era are clean and down for the
//! engine, because what a debt blocks is decided here and not there (`allowed`); an operation in flight stands as not
//! yet done, so the next plan names it again and nothing that depends on it goes ahead of it.

use alloc::{format, string::ToString as _};

use base::{NodeId, ResourceId, ResourceKind as Kind, Role};
use policy::{
    Model,
    model::{
        JoinPhase, Location, Node, NodeState, OperationRecord, OperationStatus, Resource,
        ResourceHistory, ResourceKind,
    },
    revision::Revision,
};

use crate::state::{Instance, State};

/// The model of the state; empty without an accepted revision.
pub(crate) fn model(state: &State) -> Model {
    let Some(revision) = &state.revision else { return Model::at(state.clock) };
    let mut model = revision.model(state.clock);
    for voter in &revision.voters {
        let name = voter.name.as_str();
        let position = model.nodes.iter().position(|n| n.name == name).unwrap_or_else(|| {
            model.nodes.push(Node { id: name.into(), name: name.into(), ..Node::default() });
            model.nodes.len() - 1
        });
        if let Some(node) = model.nodes.get_mut(position) {
            add_state(state, revision, voter.id, node);
        }
    }
    for resource in &mut model.resources {
        take_down(state, revision, resource);
    }
    for ((resource, node), location) in &state.overrides.locations {
        if let Some(voter) = revision.voter(*node) {
            let id = format!("cli-{resource}-{}", voter.name);
            let on = revision.model_id(resource);
            let score = location.score;
            let location = Location::on_node(&id, &on, voter.name.as_str(), score);
            model.constraints.locations.push(location);
        }
    }
    model
}

/// Membership, what people said, what ran.
fn add_state(state: &State, revision: &Revision, id: NodeId, node: &mut Node) {
    let member = state.members.get(&id).filter(|m| m.reported && !m.left);
    let said = state.overrides.nodes.get(&id);
    let going = state.evicted.contains_key(&id) || member.is_some_and(|m| m.leaving);
    if going || said.is_some_and(|o| o.standby) {
        node.attributes.set("standby", "on");
    }
    if said.is_some_and(|o| o.maintenance) {
        node.attributes.set("maintenance", "true");
    }
    if member.is_none() {
        node.state = Some(NodeState::default());
        return;
    }
    node.state = Some(NodeState {
        member: true,
        online: true,
        join: JoinPhase::Member,
        expected: JoinPhase::Member,
        ..NodeState::default()
    });
    for (_, primitive) in revision.primitives() {
        let key = (primitive.id.clone(), id);
        node.history.push(history(&primitive.id, &primitive.kind, state.instances.get(&key)));
        if let Some(failures) = state.failures.get(&key) {
            let of = format!("{}#{}_{}", primitive.id, failures.operation, failures.interval_ms);
            node.transient.insert(format!("fail-count-{of}"), failures.count.to_string());
            node.transient.insert(format!("last-failure-{of}"), failures.last.to_string());
        }
    }
}

/// What happened to one instance, as operation history tells it.
fn history(id: &ResourceId, kind: &Kind, instance: Option<&Instance>) -> ResourceHistory {
    let mut history = ResourceHistory::of(id.as_str(), "ocf", "palisade", kind_name(kind));
    let Some(instance) = instance else {
        return history.with_done("monitor", 0, 7);
    };
    let failed_start =
        |i: &Instance| i.last.as_ref().is_some_and(|l| l.operation == lifecycle::Operation::Start);
    history = match instance.role {
        Some(Role::Stopped) => history.with_done("monitor", 0, 7),
        Some(Role::Started | Role::Unpromoted) => history.with_done("start", 0, 0),
        Some(Role::Promoted) => history.with_done("start", 0, 0).with_done("promote", 0, 0),
        None if failed_start(instance) => history,
        None => history.with_done("start", 0, 0),
    };
    let failed = instance.last.as_ref().filter(|l| l.code != 0);
    // of each operation and interval history keeps the last; what is down is not being watched
    let watched = instance.monitors.iter().filter(|interval| {
        instance.role != Some(Role::Stopped)
            && failed.is_none_or(|l| {
                l.operation != lifecycle::Operation::Monitor || l.interval_ms != **interval
            })
    });
    for interval in watched {
        let code = if instance.role == Some(Role::Promoted) { 8 } else { 0 };
        history = history.with_done("monitor", *interval, code);
    }
    if instance.stop_failed {
        return history.with_done("stop", 0, 1);
    }
    if let Some(last) = failed {
        let name = crate::results::operation_name(last.operation);
        history = history.with_done(name, last.interval_ms, i32::from(last.code));
        if let Some(op) = history.operations.last_mut() {
            op.last_run = Some(last.wall);
            op.last_change = Some(last.wall);
            if last.code == 198 {
                op.status = OperationStatus::TimedOut;
                op.exit_code = 1;
            }
        }
        keep_as_last_failure(&mut history);
    } else if instance.role.is_none() {
        history = history.with_done("monitor", 0, 1);
    }
    history
}

/// A failure is kept beside the last result of its operation, as the engine's contract says.
fn keep_as_last_failure(history: &mut ResourceHistory) {
    if let Some(last) = history.operations.last().cloned() {
        let id = format!("{}_last_failure_0", history.resource);
        history.operations.push(OperationRecord { id, ..last });
    }
}

/// Name of the type, as objects say it.
const fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Address { .. } => "Address",
        Kind::Process { .. } => "Process",
    }
}

/// What is to be restarted is wanted down until it is: a person asked for it, or it runs with other parameters than
/// the revision gives it.
fn take_down(state: &State, revision: &Revision, resource: &mut Resource) {
    let asked = |id: &str| state.overrides.restarts.iter().any(|r| r.as_str() == id);
    let changed = |id: &str| {
        revision.primitives().any(|(_, m)| {
            m.id.as_str() == id
                && state.instances.iter().any(|((r, _), i)| {
                    *r == m.id && i.kind != m.kind && i.role.is_some_and(Role::is_active)
                })
        })
    };
    if asked(&resource.id) || changed(&resource.id) {
        resource.meta.set("target-role", "Stopped");
    }
    match &mut resource.kind {
        ResourceKind::Group(members) => {
            for member in members {
                take_down(state, revision, member);
            }
        }
        ResourceKind::Clone(spec) => take_down(state, revision, &mut spec.child),
        _ => {}
    }
}

/// The node that a plan names.
pub(crate) fn node_named(revision: &Revision, name: &str) -> Option<NodeId> {
    revision.voters.iter().find(|v| v.name.as_str() == name).map(|v| v.id)
}
