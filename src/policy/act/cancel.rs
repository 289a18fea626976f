//! What history demands: operations that are no longer configured end, changed definitions take effect, what is no
//! longer configured is forgotten.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use crate::{
    digest,
    model::{OperationRecord, ResourceHistory},
    unpack::{
        active_span, definition_differs, fail_count, find_operation, operation_parameters,
        sorted_operations,
    },
    world::{ActFlags, NodeIx, OrderEnd, OrderFlags, OrderRule, ResIx, Verb, World},
};

fn history_of<'m>(world: &World<'m>, r: ResIx, node: NodeIx) -> Option<&'m ResourceHistory> {
    // of several records that belong to one instance the last read is the one that made it active
    world[r].histories.iter().rev().find(|(at, _)| *at == node).map(|(_, history)| *history)
}

/// Operations since the resource was last started on the node; none if it was stopped since.
fn active_operations<'m>(world: &World<'m>, r: ResIx, node: NodeIx) -> Vec<&'m OperationRecord> {
    let Some(history) = history_of(world, r, node) else { return Vec::new() };
    let operations = sorted_operations(history);
    let (start, stop) = active_span(&operations);
    if start < stop {
        return Vec::new();
    }
    operations.into_iter().skip(start.saturating_sub(1)).collect()
}

/// Recurring operations that history shows running on a node.
pub(super) fn active_recurring<'m>(
    world: &World<'m>,
    r: ResIx,
    node: NodeIx,
) -> Vec<&'m OperationRecord> {
    let mut operations = active_operations(world, r, node);
    operations.retain(|op| op.interval_ms > 0);
    operations
}

pub(super) fn review(world: &mut World<'_>) {
    for node in world.node_ids() {
        if !world[node].maintenance && !world[node].is_available() {
            continue;
        }
        for at in 0..world.res.len() {
            let r = ResIx::at(at);
            if world[r].is_primitive() && world[r].known_on.contains(&node) {
                review_resource(world, r, node);
            }
        }
    }
    for node in world.node_ids() {
        for at in 0..world.res.len() {
            let r = ResIx::at(at);
            if world[r].is_primitive()
                && (world[r].failure_timeout > 0 || !world[r].forgiven_on.is_empty())
            {
                clear_expired(world, r, node);
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
    let active = world[r].running_on.contains(&node);
    if agent_changed(world, r, node) {
        super::primitive::delete_history(world, r, node, false);
        if active {
            world.act(r, Verb::Stop, Some(node), false);
            world[r].start_pending = true;
            if world[r].fencing_device {
                super::fencing::trigger_unfencing(world, r, Some(node));
            }
        }
    }
    if !active {
        return;
    }
    let maintained = world[r].maintenance || world[node].maintenance;
    let mut changed = false;
    for op in active_operations(world, r, node) {
        let recurring = op.interval_ms > 0;
        if recurring && maintained {
            super::recurring::cancel(world, r, node, &op.operation, op.interval_ms);
        } else if recurring
            || matches!(op.operation.as_str(), "monitor" | "start" | "promote" | "migrate_from")
        {
            changed |= check_definition(world, r, node, op);
        }
    }
    if changed && fail_count(world, r, node).effective > 0 {
        world.act(r, Verb::ClearFailures, Some(node), false);
    }
}

fn agent_changed(world: &World<'_>, r: ResIx, node: NodeIx) -> bool {
    let Some(history) = history_of(world, r, node) else { return false };
    let Some(primitive) = world[r].primitive else { return false };
    let differs = |now: &str, then: &str| !then.is_empty() && now != then;
    differs(&primitive.class, &history.class)
        || differs(&primitive.provider, &history.provider)
        || differs(&primitive.agent, &history.agent)
}

/// Compares the definition that an operation ran with with the present one.
fn check_definition(world: &mut World<'_>, r: ResIx, node: NodeIx, op: &OperationRecord) -> bool {
    if op.interval_ms > 0 && find_operation(world, r, &op.operation, op.interval_ms).is_none() {
        if world.opts.cancel_removed {
            super::recurring::cancel(world, r, node, &op.operation, op.interval_ms);
        }
        return true;
    }
    let values = operation_parameters(world, r, node, op);
    let recorded = &op.digests;
    if !recorded.restart.is_empty() {
        let mut kept = BTreeMap::new();
        for name in &recorded.restart_names {
            if let Some(value) = values.get(name.as_str()) {
                kept.insert(name.as_str(), value.as_str());
            }
        }
        if digest::parameters(&kept) != recorded.restart {
            force_restart(world, r, node, op);
            return true;
        }
    }
    if !definition_differs(world, r, node, op) {
        return false;
    }
    // parameters of the operation itself are none that an agent could reload
    let own = find_operation(world, r, &op.operation, op.interval_ms)
        .is_some_and(|configured| !configured.parameters.is_empty());
    if op.interval_ms > 0 {
        reschedule(world, r, node, op);
    } else if recorded.restart.is_empty() || own {
        force_restart(world, r, node, op);
    } else {
        reload(world, r, node);
    }
    true
}

/// The digest that a device's definition has now, for comparison with what a node was unfenced with.
pub(super) fn device_digest(world: &World<'_>, r: ResIx, node: NodeIx) -> String {
    let op = OperationRecord::default();
    let values = operation_parameters(world, r, node, &op);
    digest::parameters(&values.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect())
}

fn force_restart(world: &mut World<'_>, r: ResIx, node: NodeIx, op: &OperationRecord) {
    let verb = match op.operation.as_str() {
        "promote" => Verb::Promote,
        "start" | "migrate_from" => Verb::Start,
        _ => return,
    };
    let act = world.act(r, verb, None, false);
    world[act].why = "its definition has changed";
    if world[r].fencing_device && world.unfencing_enabled {
        super::fencing::trigger_unfencing(world, r, Some(node));
    }
}

fn reschedule(world: &mut World<'_>, r: ResIx, node: NodeIx, op: &OperationRecord) {
    let act =
        world.recurring_act(r, Verb::Monitor, Some(node), false, op.interval_ms, &op.operation);
    world[act].why = "its definition has changed";
}

fn reload(world: &mut World<'_>, r: ResIx, node: NodeIx) {
    if !world[r].managed || world[r].failed {
        return;
    }
    if world[r].start_pending {
        world.act(r, Verb::Stop, Some(node), false);
        return;
    }
    let reload = world.act(r, Verb::Reload, Some(node), false);
    world[reload].clear(ActFlags::OPTIONAL);
    for verb in [Verb::Stop, Verb::Demote] {
        world.order_rules.push(OrderRule {
            first: OrderEnd::Act(reload),
            then: OrderEnd::Of(r, verb),
            flags: OrderFlags::ORDERED | OrderFlags::THEN_CANCELS_FIRST,
        });
    }
}

/// Failures that expired are forgotten on their node too.
fn clear_expired(world: &mut World<'_>, r: ResIx, node: NodeIx) {
    if !world[node].online || history_of(world, r, node).is_none() {
        return;
    }
    let count = fail_count(world, r, node);
    if count.total > 0 && count.effective == 0 {
        world.act(r, Verb::ClearFailures, Some(node), false);
    }
}
