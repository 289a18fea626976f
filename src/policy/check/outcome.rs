//! Rules about where everything is afterwards.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use super::{Facts, Violation};
use crate::{
    model::Role,
    plan::{Placement, Task},
};

/// Copies of a resource on a node: how many run, and how many of these are promoted.
type Copies<'a> = BTreeMap<Key<'a>, (u32, u32)>;
type Key<'a> = (&'a str, &'a str);

/// The state before, with every action applied, is the state that the plan promises.
pub(super) fn the_actions_lead_to_the_placements(facts: &Facts<'_>, found: &mut Vec<Violation>) {
    let plan = facts.plan;
    let mut state = count(&plan.current);
    let shut_down: BTreeSet<&str> = plan
        .actions
        .iter()
        .filter(|a| a.task == Task::Shutdown)
        .filter_map(|a| a.node.as_deref())
        .collect();
    // whatever ran there ends with the node: what is not managed is not stopped before
    state.retain(|(_, node), _| !facts.fenced.contains(node) && !shut_down.contains(node));
    let all = |wanted: fn(&Task) -> bool| {
        facts
            .on_resources()
            .filter(move |(_, a, ..)| wanted(&a.task) && a.notifies.is_none())
            .map(|(.., resource, node)| (resource, node))
    };
    for key in all(|t| matches!(t, Task::Demote)) {
        state.entry(key).and_modify(|(_, promoted)| *promoted = promoted.saturating_sub(1));
    }
    for key in all(|t| matches!(t, Task::Stop)) {
        if let Some((running, promoted)) = state.get_mut(&key) {
            *running = running.saturating_sub(1);
            *promoted = (*promoted).min(*running);
        }
    }
    for key in all(|t| matches!(t, Task::Start | Task::MigrateFrom { .. })) {
        state.entry(key).or_default().0 += 1;
    }
    for key in all(|t| matches!(t, Task::Promote)) {
        state.entry(key).or_default().1 += 1;
    }
    let promised = count(&plan.placements);
    let nothing = (0, 0);
    let keys: BTreeSet<Key<'_>> = promised.keys().chain(state.keys()).copied().collect();
    for key in keys {
        // what is not configured any more, and what lives in bundles, is named by other rules
        if facts.primitive(key.0).is_none_or(|p| p.in_bundle) {
            continue;
        }
        let (promised, left) =
            (promised.get(&key).unwrap_or(&nothing), state.get(&key).unwrap_or(&nothing));
        // a start that is under way counts as running and is started once more: how many is not compared
        let role = |(running, promoted): &(u32, u32)| match (running, promoted) {
            (0, _) => Role::Stopped,
            (_, 0) => Role::Started,
            _ => Role::Promoted,
        };
        if role(promised) != role(left) {
            let (promised, left) = (role(promised).as_str(), role(left).as_str());
            let what =
                format!("{} on {}: promised {promised}, actions leave it {left}", key.0, key.1);
            found.push(Violation { rule: "actions-lead-to-placements", what });
        }
    }
}

fn count(places: &BTreeMap<String, Vec<Placement>>) -> Copies<'_> {
    let mut copies = Copies::new();
    for (resource, list) in places {
        for Placement { node, role } in list.iter().filter(|p| p.role.is_active()) {
            let (running, promoted) = copies.entry((resource, node)).or_default();
            *running += 1;
            *promoted += u32::from(*role == Role::Promoted);
        }
    }
    copies
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
