//! Rules about what comes before what.

use alloc::{collections::BTreeSet, format, vec, vec::Vec};

use super::{Facts, PrimitiveFacts, Violation};
use crate::{
    Plan,
    model::{Resource, ResourceKind},
    plan::{ActionId, Task},
};

/// The order of a plan, closed under "and so".
pub(super) struct Graph {
    /// By action: everything that comes after it, as a bit set.
    after: Vec<Vec<u64>>,
}

impl Graph {
    /// `None`, with the violation, when an edge leads nowhere or the order runs in a circle.
    pub(super) fn of(plan: &Plan, found: &mut Vec<Violation>) -> Option<Self> {
        let count = plan.actions.len();
        let mut next = vec![Vec::new(); count];
        let mut waits_for = vec![0_usize; count];
        for (before, after) in &plan.order {
            let (b, a) = (before.0 as usize, after.0 as usize);
            if b >= count || a >= count {
                let what = format!("edge {b} -> {a} with {count} actions");
                found.push(Violation { rule: "edges-lead-somewhere", what });
                return None;
            }
            next[b].push(a);
            waits_for[a] += 1;
        }
        let mut ready: Vec<usize> = (0..count).filter(|i| waits_for[*i] == 0).collect();
        let mut sorted = Vec::with_capacity(count);
        while let Some(action) = ready.pop() {
            sorted.push(action);
            for follower in &next[action] {
                waits_for[*follower] -= 1;
                if waits_for[*follower] == 0 {
                    ready.push(*follower);
                }
            }
        }
        if sorted.len() < count {
            let stuck = (0..count).filter(|i| waits_for[*i] > 0);
            let names: Vec<_> = stuck.take(6).map(|i| name(plan, ActionId(i as u32))).collect();
            found.push(Violation { rule: "acyclic", what: names.join(", ") });
            return None;
        }
        let mut after = vec![vec![0_u64; count.div_ceil(64)]; count];
        for action in sorted.into_iter().rev() {
            let mut reach = core::mem::take(&mut after[action]);
            for follower in &next[action] {
                reach[follower / 64] |= 1 << (follower % 64);
                for (word, more) in reach.iter_mut().zip(&after[*follower]) {
                    *word |= more;
                }
            }
            after[action] = reach;
        }
        Some(Self { after })
    }

    pub(super) fn is_before(&self, first: ActionId, then: ActionId) -> bool {
        let then = then.0 as usize;
        self.after[first.0 as usize][then / 64] & (1 << (then % 64)) != 0
    }
}

/// On one node one instance is demoted before it is stopped, stopped before it is started, started before it is
/// promoted.
pub(super) fn roles_change_in_order(facts: &Facts<'_>, graph: &Graph, found: &mut Vec<Violation>) {
    const STEPS: [Task; 4] = [Task::Demote, Task::Stop, Task::Start, Task::Promote];
    let step = |task: &Task| STEPS.iter().position(|s| s == task);
    let acts: Vec<_> = facts
        .on_resources()
        .filter_map(|(id, action, resource, node)| {
            let key = (action.instance.as_deref().unwrap_or(resource), node);
            Some((id, step(&action.task)?, key))
        })
        .collect();
    for (first, a, key) in &acts {
        for (then, b, other) in &acts {
            if a < b && key == other && !graph.is_before(*first, *then) {
                found.push(Violation {
                    rule: "demote-stop-start-promote",
                    what: format!(
                        "{} is not before {}",
                        name(facts.plan, *first),
                        name(facts.plan, *then)
                    ),
                });
            }
        }
    }
}

/// What may run once only is stopped where it runs before it is started elsewhere, and it is stopped there at all.
pub(super) fn old_copies_end_first(facts: &Facts<'_>, graph: &Graph, found: &mut Vec<Violation>) {
    for (start, action, resource, node) in facts.on_resources() {
        let single = facts.primitives.get(resource).is_some_and(|p| p.clone.is_none());
        if action.task != Task::Start || !single {
            continue;
        }
        let current = facts.plan.current.get(resource).map(Vec::as_slice).unwrap_or_default();
        let elsewhere: BTreeSet<&str> =
            current.iter().map(|p| p.node.as_str()).filter(|n| *n != node).collect();
        for old in elsewhere {
            let mut stops = facts
                .on_resources()
                .filter(|(_, a, r, n)| a.task == Task::Stop && *r == resource && *n == old)
                .map(|(id, ..)| id)
                .peekable();
            let fenced = facts.fenced.contains(old);
            if stops.peek().is_none() && !fenced {
                found.push(Violation {
                    rule: "stop-before-start",
                    what: format!("{resource} starts on {node} and is not stopped on {old}"),
                });
            }
            // what arrives from there is stopped there once it has arrived
            let arrives = super::migration::arrives(facts, resource, old, node);
            for stop in stops {
                if !fenced && !arrives && !graph.is_before(stop, start) {
                    found.push(Violation {
                        rule: "stop-before-start",
                        what: format!(
                            "{resource}: its stop on {old} is not before its start on {node}"
                        ),
                    });
                }
            }
        }
    }
}

/// What ran on a node that is fenced starts elsewhere only after the fencing.
pub(super) fn fencing_comes_before_recovery(
    facts: &Facts<'_>,
    graph: &Graph,
    found: &mut Vec<Violation>,
) {
    for (start, action, resource, node) in facts.on_resources() {
        // what fences must not wait for fencing: it may be the device that the fencing needs
        let single = facts.primitives.get(resource).is_some_and(|p| {
            p.clone.is_none() && !needs_no_fencing(p.chain[0]) && !waives_fencing(p)
        });
        if action.task != Task::Start || !single {
            continue;
        }
        let current = facts.plan.current.get(resource).map(Vec::as_slice).unwrap_or_default();
        for old in current.iter().filter(|p| p.role.is_active() && facts.fenced.contains(&*p.node))
        {
            let after_fencing = facts.actions().any(|(id, a)| {
                matches!(a.task, Task::Fence { .. })
                    && a.node.as_deref() == Some(&old.node)
                    && graph.is_before(id, start)
            });
            if !after_fencing {
                found.push(Violation {
                    rule: "fence-before-start",
                    what: format!("{resource} starts on {node} before {} is fenced", old.node),
                });
            }
        }
    }
}

/// `requires` says that the resource may start before lost nodes are fenced, or may say so under a rule.
fn waives_fencing(primitive: &PrimitiveFacts<'_>) -> bool {
    primitive.chain.iter().any(|r| {
        let pairs = r.meta.sets.iter().flat_map(|set| &set.pairs);
        pairs
            .into_iter()
            .any(|(k, v)| k == "requires" && matches!(v.as_str(), "quorum" | "nothing"))
    })
}

/// Devices, which fencing may need; and connections to remote nodes, of which the far end serves one at a time, and
/// without which what runs there would have to be given up.
fn needs_no_fencing(resource: &Resource) -> bool {
    matches!(&resource.kind, ResourceKind::Primitive(p) if p.class == "stonith" || p.is_connection())
}

/// `stop db on ctl-1`, for messages.
pub(super) fn name(plan: &Plan, id: ActionId) -> alloc::string::String {
    let Some(action) = plan.actions.get(id.0 as usize) else { return format!("action {}", id.0) };
    let of = action.resource.as_deref().unwrap_or("-");
    let on = action.node.as_deref().unwrap_or("-");
    format!("{} {of} on {on}", action.task.operation())
}
