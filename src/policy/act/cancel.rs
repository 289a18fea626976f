//! What history demands: operations that are no longer configured end, changed definitions take effect, what is no
//! longer configured is forgotten.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use crate::{
    digest,
    model::{OperationRecord, ResourceHistory},
    unpack::{
        Operations, active_span, any_failures, fail_count, find_operation, operation_parameters,
        parameters_differ, sorted_operations,
    },
    world::{ActFlags, NodeIx, OrderEnd, OrderFlags, OrderRule, ResIx, Verb, World},
};

fn history_of<'m>(world: &World<'m>, r: ResIx, node: NodeIx) -> Option<&'m ResourceHistory> {
    // of several records that belong to one instance the last read is the one that made it active
    world[r].histories.iter().rev().find(|(at, _)| *at == node).map(|(_, history)| *history)
}

/// Operations since the resource was last started on the node; none if it was stopped since.
fn active_operations<'m>(world: &World<'m>, r: ResIx, node: NodeIx) -> Active<'m> {
    let none = Active { operations: Operations::Recorded(&[]), start: 0 };
    let Some(history) = history_of(world, r, node) else { return none };
    let operations = sorted_operations(history);
    let (start, stop) = active_span(&operations);
    if start < stop { none } else { Active { operations, start: start.saturating_sub(1) } }
}

/// Operations from a start on.
struct Active<'m> {
    operations: Operations<'m>,
    start: usize,
}

impl<'m> Active<'m> {
    fn iter(&self) -> impl Iterator<Item = &'m OperationRecord> + '_ {
        self.operations.from(self.start)
    }
}

/// Whether history shows a recurring operation running on a node.
pub(super) fn recurs(world: &World<'_>, r: ResIx, node: NodeIx, name: &str, every: u64) -> bool {
    let active = active_operations(world, r, node);
    every > 0 && active.iter().any(|op| op.operation == name && op.interval_ms == every)
}

pub(super) fn review(world: &mut World<'_>) {
    let asked = asked_of_nodes(world);
    for (node, asked) in world.node_ids().zip(asked) {
        if world[node].maintenance || world[node].is_available() {
            let failures = any_failures(world, node);
            for r in asked {
                review_resource(world, r, node, failures);
            }
        }
    }
    let forgets: Vec<ResIx> = primitives(world)
        .filter(|r| world[*r].failure_timeout > 0 || !world[*r].forgiven_on.is_empty())
        .collect();
    for node in world.node_ids() {
        for r in forgets.iter().copied() {
            clear_expired(world, r, node);
        }
    }
}

fn primitives(world: &World<'_>) -> impl Iterator<Item = ResIx> {
    (0..world.res.len()).map(ResIx::at).filter(|r| world[*r].is_primitive())
}

/// Per node the resources to look at: nothing is asked of what is configured as it was and does not run there.
fn asked_of_nodes(world: &World<'_>) -> Vec<Vec<ResIx>> {
    let mut asked = alloc::vec![Vec::new(); world.nodes.len()];
    for r in primitives(world) {
        let res = &world[r];
        let everywhere = res.removed || !res.other_agent_on.is_empty();
        let (all, running) = if everywhere {
            (world.nodes.len(), [].as_slice())
        } else {
            (0, res.running_on.as_slice())
        };
        for node in (0..all).map(NodeIx::at).chain(running.iter().copied()) {
            if res.known_on.contains(node) {
                asked[node.ix()].push(r);
            }
        }
    }
    asked
}

fn review_resource(world: &mut World<'_>, r: ResIx, node: NodeIx, failures: bool) {
    if world[r].removed {
        if !world[world.top_of(r)].is_anonymous_clone() {
            super::primitive::delete_history(world, r, node, false);
        }
        return;
    }
    let active = world[r].running_on.contains(&node);
    if world[r].other_agent_on.contains(node) {
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
    for op in active_operations(world, r, node).iter() {
        let recurring = op.interval_ms > 0;
        if recurring && maintained {
            super::recurring::cancel(world, r, node, &op.operation, op.interval_ms);
        } else if recurring
            || matches!(op.operation.as_str(), "monitor" | "start" | "promote" | "migrate_from")
        {
            changed |= check_definition(world, r, node, op);
        }
    }
    if changed && failures && fail_count(world, r, node).effective > 0 {
        world.act(r, Verb::ClearFailures, Some(node), false);
    }
}

/// Compares the definition that an operation ran with with the present one.
fn check_definition(world: &mut World<'_>, r: ResIx, node: NodeIx, op: &OperationRecord) -> bool {
    let configured = find_operation(world, r, &op.operation, op.interval_ms);
    if op.interval_ms > 0 && configured.is_none() {
        if world.opts.cancel_removed {
            super::recurring::cancel(world, r, node, &op.operation, op.interval_ms);
        }
        return true;
    }
    let values = operation_parameters(world, r, node, op, configured);
    let recorded = &op.digests;
    if !recorded.restart.is_empty() {
        let names = &recorded.restart_names;
        let counts = |name: &str| recorded.restart_unlisted || names.iter().any(|one| one == name);
        let kept: BTreeMap<&str, &str> = values
            .iter()
            .filter(|(name, _)| counts(name))
            .map(|(name, value)| (*name, &**value))
            .collect();
        if digest::parameters(&kept) != recorded.restart {
            force_restart(world, r, node, op);
            return true;
        }
    }
    if !parameters_differ(world, r, op, &values) {
        return false;
    }
    // parameters of the operation itself are none that an agent could reload
    let own = configured.is_some_and(|configured| !configured.parameters.is_empty());
    if op.interval_ms > 0 {
        reschedule(world, r, node, op);
    } else if recorded.restart.is_empty() || own {
        force_restart(world, r, node, op);
    } else {
        reload(world, r, node);
    }
    true
}

/// The digest that a device's definition has now, for comparison with what a node was unfenced with: of all of it, or of
/// what is no secret and not for the fencer.
pub(super) fn device_digest(world: &World<'_>, r: ResIx, node: NodeIx, public: bool) -> String {
    let values = operation_parameters(world, r, node, &OperationRecord::default(), None);
    let hidden = |name: &str| matches!(name, "passwd" | "password") || name.starts_with("pcmk_");
    let kept = values.iter().filter(|(name, _)| !public || !hidden(name));
    digest::of_pairs(kept.map(|(name, value)| (*name, &**value)))
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
    let recorded = || world[r].absent_on.contains(node) || history_of(world, r, node).is_some();
    if !world[node].online || !recorded() {
        return;
    }
    let count = fail_count(world, r, node);
    if count.total > 0 && count.effective == 0 {
        world.act(r, Verb::ClearFailures, Some(node), false);
    }
}
