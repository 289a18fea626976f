//! Rules about where everything is afterwards.

use alloc::{collections::BTreeMap, format, vec::Vec};

use super::{Facts, Violation};
use crate::{
    model::Role,
    plan::{Placement, Task},
};

/// The state before, with every action applied, is the state that the plan promises.
pub(super) fn the_actions_lead_to_the_placements(facts: &Facts<'_>, found: &mut Vec<Violation>) {
    let plan = facts.plan;
    let mut state: BTreeMap<(&str, &str), Role> = BTreeMap::new();
    for (resource, placements) in &plan.current {
        for Placement { node, role } in placements.iter().filter(|p| p.role.is_active()) {
            if !facts.fenced.contains(node.as_str()) {
                state.insert((resource, node), *role);
            }
        }
    }
    let all = |wanted: fn(&Task) -> bool| {
        facts.on_resources().filter(move |(_, a, ..)| wanted(&a.task) && a.notifies.is_none())
    };
    for (.., resource, node) in all(|t| matches!(t, Task::Demote)) {
        state.entry((resource, node)).and_modify(|role| *role = Role::Unpromoted);
    }
    for (.., resource, node) in all(|t| matches!(t, Task::Stop)) {
        state.remove(&(resource, node));
    }
    for (.., resource, node) in all(|t| matches!(t, Task::Start | Task::MigrateFrom { .. })) {
        state.insert((resource, node), Role::Started);
    }
    for (.., resource, node) in all(|t| matches!(t, Task::Promote)) {
        state.insert((resource, node), Role::Promoted);
    }
    let mut promised: BTreeMap<(&str, &str), Role> = BTreeMap::new();
    for (resource, placements) in &plan.placements {
        for Placement { node, role } in placements.iter().filter(|p| p.role.is_active()) {
            promised.insert((resource, node), *role);
        }
    }
    // what is not configured any more, and what lives in bundles, is named by other rules
    let judged =
        |(resource, _): &(&str, &str)| facts.primitive(resource).is_some_and(|p| !p.in_bundle);
    for (key, role) in promised.iter().filter(|(key, _)| judged(key)) {
        if !state.get(key).is_some_and(|seen| same(*seen, *role)) {
            let seen = state.get(key).copied().unwrap_or(Role::Stopped).as_str();
            found.push(Violation {
                rule: "actions-lead-to-placements",
                what: format!(
                    "{} on {}: promised {}, actions leave it {seen}",
                    key.0,
                    key.1,
                    role.as_str()
                ),
            });
        }
    }
    for (key, role) in state.iter().filter(|(key, _)| judged(key)) {
        if !promised.contains_key(key) {
            found.push(Violation {
                rule: "actions-lead-to-placements",
                what: format!(
                    "{} on {}: promised Stopped, actions leave it {}",
                    key.0,
                    key.1,
                    role.as_str()
                ),
            });
        }
    }
}

/// A node that is cut off runs nothing afterwards, in the same transition.
pub(super) fn nothing_is_placed_on_a_fenced_node(facts: &Facts<'_>, found: &mut Vec<Violation>) {
    for (_, action, resource, node) in facts.on_resources() {
        if facts.fenced.contains(node) && matches!(action.task, Task::Start | Task::Promote) {
            found.push(Violation {
                rule: "nothing-on-a-fenced-node",
                what: format!("{} {resource} on {node}, which is fenced", action.task.operation()),
            });
        }
    }
}

/// Started and unpromoted are one state for those who do not know whether a resource can be promoted.
fn same(a: Role, b: Role) -> bool {
    (a == Role::Promoted) == (b == Role::Promoted)
}
