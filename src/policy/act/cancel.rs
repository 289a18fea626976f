//! What history demands: operations that are no longer configured end, changed parameters take effect, what is no
//! longer configured is forgotten.

use alloc::vec::Vec;

use crate::{
    model::OperationRecord,
    unpack::{active_span, fail_count, sorted_operations, strip_instance},
    world::{NodeIx, ResIx, Verb, World},
};

/// Recurring operations that history shows running on a node.
pub(super) fn active_recurring<'m>(
    world: &World<'m>,
    r: ResIx,
    node: NodeIx,
) -> Vec<&'m OperationRecord> {
    let res = &world[r];
    let name = res.history_name.as_deref().unwrap_or(&res.id);
    let anonymous = !res.unique;
    let model = world[node].model;
    let history = model.history.iter().find(|history| {
        history.resource == name
            || (anonymous && strip_instance(&history.resource) == strip_instance(name))
    });
    let Some(history) = history else { return Vec::new() };
    let operations = sorted_operations(history);
    let (start, stop) = active_span(&operations);
    if start < stop {
        return Vec::new();
    }
    operations.into_iter().skip(start.saturating_sub(1)).filter(|op| op.interval_ms > 0).collect()
}

pub(super) fn review(world: &mut World<'_>) {
    for node in world.node_ids() {
        if !(world[node].maintenance && world[node].online || world[node].is_available()) {
            continue;
        }
        for at in 0..world.res.len() {
            let r = ResIx::at(at);
            if world[r].is_primitive() && world[r].known_on.contains(&node) {
                review_resource(world, r, node);
            }
        }
    }
}

fn review_resource(world: &mut World<'_>, r: ResIx, node: NodeIx) {
    if world[r].removed {
        if !world[world.top_of(r)].is_anonymous_clone() {
            super::primitive::delete_history(world, r, node, false);
        }
        return;
    }
    if !world[r].running_on.contains(&node) {
        return;
    }
    let maintained = world[r].maintenance || world[node].maintenance;
    for op in active_recurring(world, r, node) {
        let configured = world[r].primitive.is_some_and(|primitive| {
            primitive
                .operations
                .iter()
                .any(|c| c.name == op.operation && c.interval_ms == op.interval_ms)
        });
        if maintained || (!configured && world.opts.cancel_removed) {
            super::recurring::cancel(world, r, node, &op.operation, op.interval_ms);
        }
    }
}

/// Failures that expired are forgotten on their node too.
pub(super) fn clear_failures(world: &mut World<'_>, r: ResIx, node: NodeIx) {
    let count = fail_count(world, r, node);
    if count.total > 0 && count.effective == 0 {
        world.act(r, Verb::ClearFailures, Some(node), false);
    }
}
