//! What may be dispatched: asked by the coordinator when it decides, and by every replica when the decision is delivered.
//!
//! Invariants (CLUSTER.md sections 3.5 and 6, SAFETY.md#S3): nothing exclusive starts or is promoted before all members
//! of the era have reported, nor while a voter outside owes evidence; the one exception is the restart or move of what a
//! present member reported running in this era. Stops and demotions are always allowed.

use alloc::{collections::BTreeSet, string::String};
use core::fmt;

use base::{NodeId, ResourceId, Role};
use fencing::Incident;
use lifecycle::Operation;

use crate::{
    faulty::{Rule, broken},
    state::State,
    wire::Directive,
};

/// Why an order must wait, and for what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Blocked {
    /// Its node is no member, or has left.
    NotHere(NodeId),
    /// Its node is evicted, or about to go.
    GoingAway(NodeId),
    /// Its node has not reported in this era.
    NotReported(NodeId),
    /// Another operation on the same instance is in flight.
    Busy,
    /// A voter outside the era owes evidence.
    Owes(Incident),
    /// It runs, or may run, or is about to run, on another node.
    Elsewhere(NodeId),
    /// A stop failed on that node: it may still run there.
    StopFailed(NodeId),
    /// The cluster is suspended.
    Suspended,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHere(n) => write!(f, "node {n} is not in the cluster; start its agent"),
            Self::GoingAway(n) => {
                write!(f, "node {n} is leaving or evicted; wait until it is back")
            }
            Self::NotReported(n) => write!(
                f,
                "node {n} has not yet said what runs on it; if this stays, look at its executor"
            ),
            Self::Busy => write!(f, "an operation on it has not ended; wait for it"),
            Self::Owes(i) => write!(
                f,
                "node {n} is away and there is no evidence that it holds nothing (incident {r}); wait for \
                 its power-off, repair its fence device, or make sure that it is off and run `palisade node \
                 confirm-off {n}`",
                n = i.node,
                r = i.ring
            ),
            Self::Elsewhere(n) => write!(f, "it runs or may run on node {n}; its stop comes first"),
            Self::StopFailed(n) => write!(
                f,
                "its stop failed on node {n}, which is to be fenced; if it cannot be, repair the service there and clean \
                 the resource up: its stop is tried again"
            ),
            Self::Suspended => {
                write!(f, "the cluster is suspended; run `palisade resume`")
            }
        }
    }
}

/// Why this order must not be carried out now, if so.
pub(crate) fn allowed(state: &State, directive: &Directive) -> Result<(), Blocked> {
    let Directive { node, order } = directive;
    let Some(member) = state.members.get(node).filter(|m| !m.left) else {
        return Err(Blocked::NotHere(*node));
    };
    if state.pending.values().any(|p| p.node == *node && p.resource == order.resource)
        && order.interval.is_none()
    {
        return Err(Blocked::Busy);
    }
    if order.operation.is_release() {
        return Ok(());
    }
    if !member.reported {
        return Err(Blocked::NotReported(*node));
    }
    if matches!(order.operation, Operation::Monitor | Operation::Probe) {
        return Ok(());
    }
    if state.suspended {
        return Err(Blocked::Suspended);
    }
    if state.evicted.contains_key(node) || member.detached.is_some() {
        return Err(Blocked::GoingAway(*node));
    }
    if let Some(other) = otherwise_named(state, &order.resource) {
        return Err(Blocked::Elsewhere(other));
    }
    if !order.exclusive {
        return Ok(());
    }
    let promotion = order.operation == Operation::Promote;
    exclusive_allowed(state, *node, &order.resource, promotion)
}

/// The rules for what may run once only.
fn exclusive_allowed(
    state: &State,
    node: NodeId,
    resource: &ResourceId,
    promotion: bool,
) -> Result<(), Blocked> {
    if let Some((unsaid, _)) = state.members.iter().find(|(_, m)| !m.reported && !m.left) {
        return Err(Blocked::NotReported(*unsaid));
    }
    let reported_running = state.known.contains(&(resource.clone(), promotion));
    if let Some(incident) = state.owing().next()
        && !reported_running
        && !broken(Rule::NoFencing)
    {
        return Err(Blocked::Owes(incident));
    }
    let others = holders(state, resource, promotion);
    let allowed_copies = copies(state, resource, promotion);
    if broken(Rule::StartBeforeStop) {
        return Ok(());
    }
    let other = others.iter().find(|n| **n != node);
    if let Some(other) = other
        && others.iter().filter(|n| **n != node).count() >= allowed_copies
    {
        let key = (resource.clone(), *other);
        let failed = state.instances.get(&key).is_some_and(|i| i.stop_failed);
        return Err(if failed { Blocked::StopFailed(*other) } else { Blocked::Elsewhere(*other) });
    }
    Ok(())
}

/// A member on which the same primitive runs, or may run, as what an earlier revision called it: `db`, now numbered, or `db:0`,
/// numbered no more. It is stopped as what no revision has.
fn otherwise_named(state: &State, resource: &ResourceId) -> Option<NodeId> {
    let mut others = state.instances.iter().filter(|((r, n), i)| {
        r.primitive() == resource.primitive()
            && r.is_numbered() != resource.is_numbered()
            && state.members.contains_key(n)
            && (i.role.is_none_or(Role::is_active) || i.stop_failed)
    });
    others.next().map(|((_, node), _)| *node)
}

/// Members on which the resource runs, may run, or is about to run (promoted, if `promotion`).
fn holders(state: &State, resource: &ResourceId, promotion: bool) -> BTreeSet<NodeId> {
    let holds = |role: Option<Role>| match role {
        None => true,
        Some(role) if promotion => role == Role::Promoted,
        Some(role) => role.is_active(),
    };
    let running = state
        .instances
        .iter()
        .filter(|((r, n), i)| {
            r == resource && state.members.contains_key(n) && (holds(i.role) || i.stop_failed)
        })
        .map(|((_, n), _)| *n);
    let coming = state
        .pending
        .values()
        .filter(|p| {
            p.resource == *resource
                && match p.operation {
                    Operation::Promote => true,
                    Operation::Start => !promotion,
                    _ => false,
                }
        })
        .map(|p| p.node);
    running.chain(coming).collect()
}

/// How many copies may run at once: one, but for the promoted copies that a revision allows.
fn copies(state: &State, resource: &ResourceId, promotion: bool) -> usize {
    if promotion { state.promoted_max(resource).into() } else { 1 }
}

/// The text of a condition for something that waits.
pub(crate) fn waits(operation: Operation, why: &Blocked) -> String {
    alloc::format!("{} waits: {why}", crate::results::operation_name(operation))
}
