//! Rules about what people demanded of two plain primitives at a time. Groups, clones and sets have rules of their own
//! about which member or copy is meant; they are left to the engine's tests.

use alloc::{collections::BTreeSet, format, string::String, vec, vec::Vec};

use super::{Facts, Violation, order::Graph};
use crate::{
    model::{Colocation, INFINITY, Order, OrderKind, Role},
    plan::{ActionId, Task},
};

/// What must run together runs together, what must run apart runs apart, from the moment that one of them is started.
pub(super) fn infinite_colocations_hold(facts: &Facts<'_>, found: &mut Vec<Violation>) {
    for colocation in &facts.model.constraints.colocations {
        let Some((dependent, primary)) = plain_pair(facts, colocation) else { continue };
        let apart_from = (colocation.score < 0).then_some(primary);
        if is_contradicted(facts, dependent, apart_from) {
            continue;
        }
        for (.., node) in tasks(facts, &Task::Start, dependent) {
            let together = places(facts, primary).any(|at| at == node);
            if (colocation.score > 0) != together {
                let with = if together { "although" } else { "but not" };
                let what = format!(
                    "{dependent} starts on {node}, {with} {primary}, against {}",
                    colocation.id
                );
                found.push(Violation { rule: "colocation", what });
            }
        }
    }
}

/// Together and apart at once, be it by way of others: no plan can hold both. A demand to be apart is contradicted by
/// what ties these two together, one to be together by whoever in the same bunch has to be apart.
fn is_contradicted(facts: &Facts<'_>, dependent: &str, apart_from: Option<&str>) -> bool {
    let all = &facts.model.constraints.colocations;
    let mut bunch = BTreeSet::from([dependent]);
    loop {
        let size = bunch.len();
        for names in all.iter().filter(|c| c.score >= INFINITY).map(names) {
            if names.iter().any(|name| bunch.contains(name)) {
                bunch.extend(names);
            }
        }
        if bunch.len() == size {
            break;
        }
    }
    if let Some(primary) = apart_from {
        return bunch.contains(primary);
    }
    let mut apart = all.iter().filter(|c| c.score <= -INFINITY).map(names);
    apart.any(|names| names.iter().all(|name| bunch.contains(name)))
}

/// With a mandatory order the second starts after the first and stops before it.
pub(super) fn mandatory_orders_hold(facts: &Facts<'_>, graph: &Graph, found: &mut Vec<Violation>) {
    for order in &facts.model.constraints.orders {
        let Some((first, then)) = starts_of_two(order) else { continue };
        let Some((first, then)) = two(facts, first, then) else { continue };
        if runs_in_a_circle(facts, first, then) {
            continue;
        }
        let mut in_order = |task: &Task, earlier: &str, later: &str| {
            for (a, _) in tasks(facts, task, earlier) {
                for (b, _) in tasks(facts, task, later) {
                    if !graph.is_before(a, b) {
                        let verb = task.operation();
                        let what =
                            format!("{verb} {earlier} is not before {verb} {later}: {}", order.id);
                        found.push(Violation { rule: "mandatory-order", what });
                    }
                }
            }
        };
        in_order(&Task::Start, first, then);
        if order.symmetrical != Some(false) {
            in_order(&Task::Stop, then, first);
        }
    }
}

/// With a mandatory order the second does not start, not even a copy or member of it, where nothing of the first will
/// run. Holds for every kind of resource.
pub(super) fn nothing_starts_without_what_it_needs(facts: &Facts<'_>, found: &mut Vec<Violation>) {
    for order in &facts.model.constraints.orders {
        let Some((first, then)) = starts_of_two(order) else { continue };
        let of = |top: &str, name: &str| {
            facts.primitive(name).is_some_and(|p| p.chain.iter().any(|r| r.id == top))
        };
        let known = |top: &str| {
            facts.primitives.values().any(|p| p.chain.iter().any(|r| r.id == top) && !p.in_bundle)
        };
        // a start under way goes on, where the order does not ask for a stop
        let goes_on = |resource: &str, node: &str| {
            let current = facts.plan.current.get(resource).map(Vec::as_slice).unwrap_or_default();
            order.symmetrical == Some(false)
                && current.iter().any(|p| p.node == node && p.role.is_active())
                && tasks(facts, &Task::Stop, resource).all(|(_, at)| at != node)
        };
        let starts = facts.on_resources().find(|(_, a, resource, node)| {
            a.task == Task::Start && of(then, resource) && !goes_on(resource, node)
        });
        let runs = facts
            .plan
            .placements
            .iter()
            .any(|(id, list)| of(first, id) && list.iter().any(|p| p.role.is_active()));
        if let Some((.., resource, node)) = starts.filter(|_| known(first) && !runs) {
            let what = format!("{resource} starts on {node}, {first} does not run: {}", order.id);
            found.push(Violation { rule: "mandatory-order", what });
        }
    }
}

/// A node is shut down after everything on it was stopped.
pub(super) fn nodes_are_empty_before_they_shut_down(
    facts: &Facts<'_>,
    graph: &Graph,
    found: &mut Vec<Violation>,
) {
    for (down, action) in facts.actions().filter(|(_, a)| a.task == Task::Shutdown) {
        let Some(node) = action.node.as_deref() else { continue };
        for (stop, act, resource, at) in facts.on_resources() {
            if act.task == Task::Stop && at == node && !graph.is_before(stop, down) {
                let what = format!("{node} is shut down before {resource} is stopped there");
                found.push(Violation { rule: "stop-before-shutdown", what });
            }
        }
    }
}

fn tasks<'a>(
    facts: &'a Facts<'_>,
    task: &'a Task,
    resource: &'a str,
) -> impl Iterator<Item = (ActionId, &'a str)> {
    facts
        .on_resources()
        .filter(move |(_, a, r, _)| a.task == *task && *r == resource)
        .map(|(id, .., node)| (id, node))
}

/// Where a resource runs afterwards.
fn places<'a>(facts: &'a Facts<'_>, resource: &str) -> impl Iterator<Item = &'a str> {
    let list = facts.plan.placements.get(resource).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter(|p| p.role.is_active()).map(|p| p.node.as_str())
}

/// Whether other orders put `then` before `first` as well: not all of them can hold.
fn runs_in_a_circle(facts: &Facts<'_>, first: &str, then: &str) -> bool {
    let mut seen = BTreeSet::from([then]);
    let mut open = vec![then];
    while let Some(at) = open.pop() {
        for order in &facts.model.constraints.orders {
            for pair in order.sets.windows(2) {
                let [earlier, later] = pair else { continue };
                if earlier.resources.iter().any(|r| r == at) {
                    let new = later.resources.iter().map(String::as_str);
                    open.extend(new.filter(|r| seen.insert(r)));
                }
            }
        }
    }
    seen.contains(first)
}

/// Both, where they are primitives at the top level.
fn two<'a>(facts: &Facts<'_>, a: &'a str, b: &'a str) -> Option<(&'a str, &'a str)> {
    let alone = |name: &str| facts.primitives.get(name).is_some_and(|p| p.chain.len() == 1);
    (a != b && alone(a) && alone(b)).then_some((a, b))
}

/// The only resources of two sets.
fn only<'a>(a: &'a [String], b: &'a [String]) -> Option<(&'a str, &'a str)> {
    let ([a], [b]) = (a, b) else { return None };
    Some((a, b))
}

fn names(colocation: &Colocation) -> Vec<&str> {
    colocation.sets.iter().flat_map(|set| &set.resources).map(String::as_str).collect()
}

/// Dependent and primary.
fn plain_pair<'a>(facts: &Facts<'_>, colocation: &'a Colocation) -> Option<(&'a str, &'a str)> {
    let [dependent, primary] = colocation.sets.as_slice() else { return None };
    let whole = |role: Option<Role>| matches!(role, None | Some(Role::Started));
    let plain = !colocation.from_sets
        && colocation.score.abs() >= INFINITY
        && colocation.node_attribute.is_empty()
        && whole(dependent.role)
        && whole(primary.role);
    let (dependent, primary) = only(&dependent.resources, &primary.resources).filter(|_| plain)?;
    two(facts, dependent, primary)
}

/// First and then, where both are about starting.
fn starts_of_two(order: &Order) -> Option<(&str, &str)> {
    let [first, then] = order.sets.as_slice() else { return None };
    let starts = |action: &str| matches!(action, "" | "start");
    let plain = !order.from_sets
        && order.kind == OrderKind::Mandatory
        && starts(&first.action)
        && starts(&then.action);
    only(&first.resources, &then.resources).filter(|_| plain)
}
