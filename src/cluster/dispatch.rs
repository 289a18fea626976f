//! A plan becomes orders: what is ready, what waits for what, and why something waits visibly.
//!
//! Invariants: an action is ready when every real action before it has ended; steps that are not ready are in no message,
//! so the next plan voids them; a plan with a cycle, or that starts before it stops, is carried out in no part
//! (SAFETY.md#S16); nothing waits for the unrelated.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::time::Duration;

use base::{Epoch, NodeId, ResourceId, Role};
use lifecycle::{Operation, Order, OrderId};
use policy::{
    Plan,
    plan::{Action, Task},
    revision::{Revision, Shape},
};

use crate::{
    allowed::{Blocked, allowed, waits},
    faulty::{Rule, broken},
    report::Room,
    state::State,
    wire::{Directive, ORDERS_MAX},
};

/// Time limit of operations on what has no object any more.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(20);
/// Failures that one decision forgets.
pub(crate) const FORGOTTEN_MAX: usize = 32;
/// Bytes of those: a resource's name has 253 at most.
const FORGOTTEN_BYTES: usize = FORGOTTEN_MAX * 260;
/// How long after delivery an order may still begin, at least.
const BEGIN_MIN: Duration = Duration::from_secs(1);

/// What comes of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dispatch {
    pub(crate) orders: Vec<Directive>,
    /// (resource, why it waits).
    pub(crate) waiting: Vec<(String, String)>,
    /// Present members that the plan wants fenced.
    pub(crate) fence: BTreeSet<NodeId>,
}

/// The orders of the plan that may go out now.
///
/// # Errors
/// The assertion that the plan breaks.
pub(crate) fn dispatch(state: &State, plan: &Plan, epoch: Epoch) -> Result<Dispatch, String> {
    let mut out = Dispatch::default();
    let Some(revision) = &state.revision else { return Ok(out) };
    let ready = ready(plan)?;
    let mut next = state.next_order;
    // Orders carry what they are about: what does not fit into one message waits for the next decision.
    let mut room = Room::beside(FORGOTTEN_BYTES);
    orphans(state, revision, epoch, &mut next, &mut room, &mut out);
    for name in &plan.fenced {
        if let Some(node) = crate::model::node_named(revision, name)
            && state.members.contains_key(&node)
        {
            out.fence.insert(node);
        }
    }
    for (action, ready) in plan.actions.iter().zip(ready) {
        let Some((node, order)) = order(state, revision, action, epoch) else { continue };
        let operation = order.operation;
        if in_flight(state, node, &order) {
            continue;
        }
        let directive = Directive { node, order };
        match allowed(state, &directive) {
            Err(why) => {
                if !(why == Blocked::Busy && operation.is_release()) {
                    let resource = directive.order.resource.as_str().into();
                    out.waiting.push((resource, waits(operation, &why)));
                }
            }
            Ok(())
                if ready
                    && out.orders.len() < ORDERS_MAX
                    && !conflicts(&out, &directive)
                    && room.take(&directive) =>
            {
                let mut directive = directive;
                directive.order.id = OrderId(next);
                next = next.saturating_add(1);
                out.orders.push(directive);
            }
            Ok(()) => {}
        }
    }
    Ok(out)
}

/// Within one decision, an exclusive thing is started or promoted once.
fn conflicts(out: &Dispatch, new: &Directive) -> bool {
    let one_node_only = broken(Rule::StartBeforeStop);
    out.orders.iter().any(|d| {
        d.order.resource == new.order.resource
            && (d.node == new.node || !one_node_only)
            && (d.node == new.node || (d.order.exclusive && new.order.exclusive))
            && (d.node == new.node
                || !(d.order.operation.is_release() && new.order.operation.is_release()))
    })
}

fn in_flight(state: &State, node: NodeId, order: &Order) -> bool {
    if let Some(interval) = order.interval {
        let ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let key = (order.resource.clone(), node);
        return state.instances.get(&key).is_none_or(|i| {
            let known = i.monitors.contains(&ms) && !i.kind.turns_into(&order.kind);
            known || !i.role.is_some_and(Role::is_active)
        });
    }
    state
        .pending
        .values()
        .any(|p| p.node == node && p.resource == order.resource && p.operation == order.operation)
}

/// For each action of the plan, whether nothing before it is left to be done.
fn ready(plan: &Plan) -> Result<Vec<bool>, String> {
    let count = plan.actions.len();
    let mut before: Vec<Vec<usize>> = alloc::vec![Vec::new(); count];
    let mut waiting_for: Vec<usize> = alloc::vec![0; count];
    let mut after: Vec<Vec<usize>> = alloc::vec![Vec::new(); count];
    for (first, then) in &plan.order {
        let (first, then) = (first.0 as usize, then.0 as usize);
        if first >= count || then >= count {
            return Err("the plan orders an action that it does not have".into());
        }
        if ignored(plan, first, then) {
            continue;
        }
        if let (Some(b), Some(w), Some(a)) =
            (before.get_mut(then), waiting_for.get_mut(then), after.get_mut(first))
        {
            b.push(first);
            *w += 1;
            a.push(then);
        }
    }
    // An action is open if it is real, or if something open comes before it.
    let mut open: Vec<bool> = plan.actions.iter().map(is_real).collect();
    let mut ready = alloc::vec![false; count];
    let mut queue: Vec<usize> =
        (0..count).filter(|i| waiting_for.get(*i) == Some(&0)).rev().collect();
    let mut done = 0;
    while let Some(at) = queue.pop() {
        done += 1;
        let blocked =
            before.get(at).is_some_and(|b| b.iter().any(|i| open.get(*i).copied().unwrap_or(true)));
        if let (Some(r), Some(o)) = (ready.get_mut(at), open.get_mut(at)) {
            *r = !blocked;
            *o = *o || blocked;
        }
        for next in after.get(at).into_iter().flatten() {
            if let Some(w) = waiting_for.get_mut(*next) {
                *w -= 1;
                if *w == 0 {
                    queue.push(*next);
                }
            }
        }
    }
    if done < count {
        return Err("the plan has a cycle".into());
    }
    stops_before_starts(plan)?;
    Ok(ready)
}

/// Faulty rule: what starts does not wait for what stops elsewhere.
fn ignored(plan: &Plan, first: usize, then: usize) -> bool {
    if !broken(Rule::StartBeforeStop) {
        return false;
    }
    let (Some(first), Some(then)) = (plan.actions.get(first), plan.actions.get(then)) else {
        return false;
    };
    first.task == Task::Stop && then.task == Task::Start && first.node != then.node
}

/// Whether others have to wait until it has ended.
fn is_real(action: &Action) -> bool {
    action.implied
        || matches!(
            action.task,
            Task::Start
                | Task::Stop
                | Task::Promote
                | Task::Demote
                | Task::Probe
                | Task::Fence { .. }
        )
}

/// On one node an instance stops before it starts and demotes before it stops (SAFETY.md#S16): asserted on every plan.
fn stops_before_starts(plan: &Plan) -> Result<(), String> {
    let rank = |task: &Task| match task {
        Task::Demote => Some(0),
        Task::Stop => Some(1),
        Task::Start => Some(2),
        Task::Promote => Some(3),
        _ => None,
    };
    for (first, then) in &plan.order {
        let pair = (plan.actions.get(first.0 as usize), plan.actions.get(then.0 as usize));
        if let (Some(first), Some(then)) = pair
            && first.resource.is_some()
            && first.resource == then.resource
            && first.node == then.node
            && let (Some(a), Some(b)) = (rank(&first.task), rank(&then.task))
            && a > b
        {
            return Err(format!(
                "the plan has {:?} before {:?} for {:?} on {:?}",
                first.task, then.task, first.resource, first.node
            ));
        }
    }
    Ok(())
}

fn order(
    state: &State,
    revision: &Revision,
    action: &Action,
    epoch: Epoch,
) -> Option<(NodeId, Order)> {
    if action.implied {
        return None;
    }
    let (operation, interval_ms) = match action.task {
        Task::Start => (Operation::Start, None),
        Task::Stop => (Operation::Stop, None),
        Task::Promote => (Operation::Promote, None),
        Task::Demote => (Operation::Demote, None),
        Task::Probe => (Operation::Probe, None),
        Task::Monitor { interval_ms } => (Operation::Monitor, Some(interval_ms)),
        _ => return None,
    };
    let node = crate::model::node_named(revision, action.node.as_deref()?)?;
    let name: ResourceId = action.resource.as_deref()?.parse().ok()?;
    let (placement, primitive) = revision.primitive(&name)?;
    // executors know copies that are all alike by the primitive
    let resource = if placement.numbered() { name } else { primitive.id.clone() };
    // What runs is stopped as what it is, not as what the newest revision says.
    let running = state.instances.get(&(resource.clone(), node)).map(|i| i.kind.clone());
    let kind = match running {
        Some(kind) if operation.is_release() => kind,
        _ => primitive.kind.clone(),
    };
    let t = &primitive.timeouts;
    let timeout = match operation {
        Operation::Start => t.start,
        Operation::Stop => t.stop,
        Operation::Promote => t.promote,
        Operation::Demote => t.demote,
        Operation::Probe => t.probe,
        Operation::Monitor => primitive
            .monitors
            .iter()
            .find(|m| Some(u64::try_from(m.interval.as_millis()).unwrap_or(0)) == interval_ms)
            .map_or(t.probe, |m| m.timeout),
    };
    let alike = matches!(placement.shape, Shape::Clone(_) | Shape::Promotable(..));
    let alike = alike && !placement.numbered();
    let exclusive = !alike || operation == Operation::Promote;
    let order = Order {
        id: OrderId(0),
        epoch,
        resource,
        kind,
        exclusive,
        operation,
        interval: interval_ms.map(Duration::from_millis),
        timeout,
        deadline: begin_by(revision),
    };
    Some((node, order))
}

/// How long after delivery an order may still begin.
fn begin_by(revision: &Revision) -> Duration {
    revision.timings.token.saturating_mul(2).max(BEGIN_MIN)
}

/// What runs, but is in no revision any more, is stopped.
fn orphans(
    state: &State,
    revision: &Revision,
    epoch: Epoch,
    next: &mut u64,
    room: &mut Room,
    out: &mut Dispatch,
) {
    for ((resource, node), instance) in &state.instances {
        let stopped = instance.role == Some(Role::Stopped);
        if stopped || instance.stop_failed || revision.runs(resource) {
            continue;
        }
        let order = Order {
            id: OrderId(*next),
            epoch,
            resource: resource.clone(),
            kind: instance.kind.clone(),
            exclusive: true,
            operation: Operation::Stop,
            interval: None,
            timeout: ORPHAN_TIMEOUT,
            deadline: begin_by(revision),
        };
        let directive = Directive { node: *node, order };
        if allowed(state, &directive).is_ok()
            && out.orders.len() < ORDERS_MAX
            && room.take(&directive)
        {
            *next = next.saturating_add(1);
            out.orders.push(directive);
        }
    }
}
