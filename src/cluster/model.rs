//! The state as a model of the policy engine: the configured half comes from the revision, what is there and what ran is
//! added here.
//!
//! Invariants: a function of the state (time is the state's clock); nodes outside the era are clean and down for the
//! engine, because what a debt blocks is decided here and not there (`allowed`); an operation in flight stands as not
//! yet done, so the next plan names it again and nothing that depends on it goes ahead of it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};

use base::{NodeId, ResourceId, ResourceKind as Kind, Role};
use policy::{
    Model,
    model::{
        JoinPhase, Location, Node, NodeState, OperationRecord, OperationStatus, Resource,
        ResourceHistory, ResourceKind, Shared,
    },
    revision::{Placement, Primitive, Revision},
};

use crate::state::{Failures, Instance, State};

/// Makes models of a state that changes, and keeps what it made: what an event does not touch stays the same for the
/// engine ([`Shared::is_same`]). The model is that of the state alone, whatever was made before.
#[derive(Debug, Default)]
pub(crate) struct Models {
    configured: Option<(Revision, Model)>,
    /// What may run by the revision, or runs in excess of it.
    slots: Vec<Slot>,
    ran: BTreeMap<NodeId, Ran>,
}

/// A primitive, or one of its numbered copies.
#[derive(Debug, PartialEq, Eq)]
struct Slot {
    id: ResourceId,
    /// Its primitive's place in the revision.
    primitive: usize,
}

/// What ran on one node: an entry for each slot, in their order.
#[derive(Debug)]
struct Ran {
    instances: Vec<Option<Instance>>,
    history: Shared<Vec<ResourceHistory>>,
}

impl Models {
    /// The model of the state; empty without an accepted revision.
    pub(crate) fn of(&mut self, state: &State) -> Model {
        let Some(revision) = &state.revision else { return Model::at(state.clock) };
        let mut model = self.configured(revision, state.clock);
        let primitives: Vec<&Primitive> = revision.primitives().map(|(_, m)| m).collect();
        self.make_slots(state, revision);
        let slots = core::mem::take(&mut self.slots);
        let numbers: BTreeMap<&ResourceId, usize> =
            slots.iter().enumerate().map(|(at, slot)| (&slot.id, at)).collect();
        let mut present: BTreeMap<NodeId, Vec<Option<&Instance>>> = BTreeMap::new();
        for ((resource, node), instance) in &state.instances {
            let Some(number) = numbers.get(resource) else { continue };
            let list = present.entry(*node).or_insert_with(|| vec![None; slots.len()]);
            list[*number] = Some(instance);
        }
        for voter in &revision.voters {
            let name = voter.name.as_str();
            let position = model.nodes.iter().position(|n| n.name == name).unwrap_or_else(|| {
                model.nodes.push(Node { id: name.into(), name: name.into(), ..Node::default() });
                model.nodes.len() - 1
            });
            let Some(node) = model.nodes.get_mut(position) else { continue };
            if !add_state(state, voter.id, node) {
                continue;
            }
            let present = present.remove(&voter.id);
            node.history = self.history(voter.id, &slots, &primitives, present);
            for (resource, score) in state.scores.of(voter.id) {
                // the name that the engine knows from CIBs
                if numbers.contains_key(resource) {
                    node.transient.insert(format!("master-{resource}"), score.to_string());
                }
            }
            for ((resource, at), failures) in &state.failures {
                if *at == voter.id && numbers.contains_key(resource) {
                    let of = format!("{resource}#{}_{}", failures.operation, failures.interval_ms);
                    node.transient.insert(format!("fail-count-{of}"), fail_count(failures));
                    node.transient.insert(format!("last-failure-{of}"), failures.last.to_string());
                }
            }
        }
        let down = wanted_down(state, |resource| {
            Some(primitives[slots[*numbers.get(resource)?].primitive])
        });
        if !down.is_empty() {
            for resource in &mut model.resources {
                take_down(&down, resource);
            }
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
        self.slots = slots;
        model
    }

    /// One for each primitive; of numbered copies one for each number, and for those that run beyond the last.
    fn make_slots(&mut self, state: &State, revision: &Revision) {
        if !self.slots.is_empty() && !revision.placements.iter().any(Placement::numbered) {
            return;
        }
        let mut slots = Vec::with_capacity(self.slots.len());
        for (primitive, (placement, m)) in revision.primitives().enumerate() {
            let Some(copies) = placement.numbers(revision.voters.len()) else {
                slots.push(Slot { id: m.id.clone(), primitive });
                continue;
            };
            let mut ids: BTreeSet<ResourceId> =
                (0..copies).filter_map(|number| m.id.copy(number)).collect();
            let seen = state.instances.keys().map(|(resource, _)| resource);
            ids.extend(seen.filter(|r| r.is_numbered() && r.primitive() == m.id.as_str()).cloned());
            slots.extend(ids.into_iter().map(|id| Slot { id, primitive }));
        }
        if slots != self.slots {
            self.ran.clear();
            self.slots = slots;
        }
    }

    /// The revision's half.
    fn configured(&mut self, revision: &Revision, now: i64) -> Model {
        let kept = self.configured.take().filter(|(of, _)| of == revision);
        let (of, model) = kept.unwrap_or_else(|| {
            // what ran is told of the primitives of a revision
            self.ran.clear();
            self.slots.clear();
            (revision.clone(), revision.model(now))
        });
        let made = Model { now, ..model.clone() };
        self.configured = Some((of, model));
        made
    }

    /// What ran on a node; of what did not change since, the same as before.
    fn history(
        &mut self,
        node: NodeId,
        slots: &[Slot],
        primitives: &[&Primitive],
        present: Option<Vec<Option<&Instance>>>,
    ) -> Shared<Vec<ResourceHistory>> {
        let of = |slot: &Slot, now| history(&slot.id, &primitives[slot.primitive].kind, now);
        let present = present.unwrap_or_else(|| vec![None; slots.len()]);
        let ran = self.ran.entry(node).or_insert_with(|| Ran {
            instances: vec![None; slots.len()],
            history: slots.iter().map(|slot| of(slot, None)).collect::<Vec<_>>().into(),
        });
        for (at, (now, slot)) in present.into_iter().zip(slots).enumerate() {
            if ran.instances[at].as_ref() != now {
                ran.instances[at] = now.cloned();
                ran.history[at] = of(slot, now);
            }
        }
        ran.history.clone()
    }
}

/// Membership and what people said; whether the node's history counts.
fn add_state(state: &State, id: NodeId, node: &mut Node) -> bool {
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
        return false;
    }
    node.state = Some(NodeState {
        member: true,
        online: true,
        join: JoinPhase::Member,
        expected: JoinPhase::Member,
        ..NodeState::default()
    });
    true
}

/// A machine on which it cannot be started is out of the question until the failure is forgotten, as with Pacemaker's
/// `start-failure-is-fatal`: tried again at once it would fail as fast as it can be ordered.
fn fail_count(failures: &Failures) -> String {
    if failures.is_of_start() { "INFINITY".into() } else { failures.count.to_string() }
}

/// What happened to one instance, as operation history tells it.
fn history(id: &ResourceId, kind: &Kind, instance: Option<&Instance>) -> ResourceHistory {
    let mut history = ResourceHistory::of(id.as_str(), "ocf", "palisade", kind.name());
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
    let failed =
        instance.last.as_ref().filter(|l| l.code != 0 && !crate::results::is_degraded(l.code));
    // Checks carry parameters that need no restart: those that were ordered with others are ordered anew.
    let stale = instance.kind.turns_into(kind);
    // of each operation and interval history keeps the last; what is down is not being watched
    let watched = instance.monitors.iter().filter(|interval| {
        instance.role != Some(Role::Stopped)
            && !stale
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

/// What is to be restarted is wanted down until it is: a person asked for it, or it runs with other parameters than
/// the revision gives it.
fn wanted_down<'s>(
    state: &'s State,
    primitive: impl Fn(&ResourceId) -> Option<&'s Primitive>,
) -> BTreeSet<&'s str> {
    let asked = state.overrides.restarts.iter().map(ResourceId::as_str);
    let changed = state.instances.iter().filter_map(|((resource, _), instance)| {
        let primitive = primitive(resource)?;
        let other = instance.kind != primitive.kind
            && !instance.kind.turns_into(&primitive.kind)
            && instance.role.is_some_and(Role::is_active);
        other.then_some(primitive.id.as_str())
    });
    asked.chain(changed).collect()
}

fn take_down(down: &BTreeSet<&str>, resource: &mut Resource) {
    if down.contains(resource.id.as_str()) {
        resource.meta.set("target-role", "Stopped");
    }
    match &mut resource.kind {
        ResourceKind::Group(members) => {
            for member in members {
                take_down(down, member);
            }
        }
        ResourceKind::Clone(spec) => take_down(down, &mut spec.child),
        _ => {}
    }
}

/// The node that a plan names.
pub(crate) fn node_named(revision: &Revision, name: &str) -> Option<NodeId> {
    revision.voters.iter().find(|v| v.name.as_str() == name).map(|v| v.id)
}
