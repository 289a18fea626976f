//! Moving without an end of service: migrate_to on the source, migrate_from on the target, then the stop on the source.
//!
//! Invariants: only what is healthy, managed and allowed to migrates, between nodes that are known to live. The start
//! on the target is implied by migrate_from. A migration that is under way goes on only where it was going to.

use alloc::string::ToString as _;

use crate::{
    model::Role,
    world::{ActFlags, Migration, NodeIx, OrderEnd, OrderFlags, OrderRule, ResIx, Verb, World},
};

/// Whether a resource could leave its node by migration.
pub(super) fn is_possible(world: &World<'_>, r: ResIx, from: NodeIx) -> bool {
    let res = &world[r];
    res.allow_migrate
        && res.managed
        && !res.failed
        && !res.start_pending
        && !world[from].unclean
        && res.next_role > Role::Stopped
        && res.node.is_some_and(|to| world[to].online && !world[to].unclean)
}

/// What migrations that arrived left on their sources is stopped.
pub(super) fn stop_dangling(world: &mut World<'_>, r: ResIx) {
    for node in world[r].dangling_on.clone() {
        let stop = world.act(r, Verb::Stop, Some(node), false);
        world[stop].set(ActFlags::DANGLING);
        world[stop].why = "a migration left it there";
        if world.opts.remove_after_stop {
            super::primitive::delete_history(world, r, node, false);
        }
    }
}

pub(super) fn create(world: &mut World<'_>, r: ResIx, way: Migration) {
    let Migration { source, target } = way;
    let start = world.act(r, Verb::Start, Some(target), true);
    let stop = world.act(r, Verb::Stop, Some(source), true);
    world[start].set(ActFlags::MIGRATES | ActFlags::PSEUDO);
    world[stop].set(ActFlags::MIGRATES);
    let half = |world: &mut World<'_>, verb: Verb, node: NodeIx, peer: NodeIx| {
        let peer = world[peer].name().to_string();
        let act = world.recurring_act(r, verb, Some(node), true, 0, &peer);
        world[act].set(ActFlags::MIGRATES);
        world[act].needs = world[start].needs;
        act
    };
    let under_way = world[r].partial.is_some();
    let to = (!under_way).then(|| half(world, Verb::MigrateTo, source, target));
    let from = half(world, Verb::MigrateFrom, target, source);
    let mut rule = |first, then, flags| {
        world.order_rules.push(OrderRule { first, then, flags: OrderFlags::ORDERED | flags });
    };
    let bound = OrderFlags::LOST_WITH_THEN;
    let begin = to.unwrap_or(from);
    rule(OrderEnd::Of(r, Verb::Probe), OrderEnd::Act(begin), OrderFlags::ORDERED);
    if let Some(to) = to {
        rule(OrderEnd::Act(to), OrderEnd::Act(from), bound);
    }
    rule(OrderEnd::Act(from), OrderEnd::Of(r, Verb::Stop), bound);
    rule(OrderEnd::Act(from), OrderEnd::Of(r, Verb::Start), bound | OrderFlags::STANDS_FOR_THEN);
}
