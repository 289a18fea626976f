//! Live migrations among other orders: what was said of starts and stops is said of the steps that stand for them.
//!
//! Invariants: the start and the stop of a migration carry [`ActFlags::MIGRATES`] until something forbids it; then both
//! halves of the migration become impossible, the start is really done, and all of it is a stop and a start. A
//! resource of which a stop is a mere migration makes nobody restart who comes after it.

use crate::{
    act::first_action,
    world::{ActFlags, ActIx, OrderEnd, OrderFlags, OrderRule, ResIx, Verb, World},
};

use super::is_inside;

/// What comes before the start or the stop of what migrates comes before its migration.
pub(super) fn run(world: &mut World<'_>) {
    for at in 0..world.order_rules.len() {
        let rule = world.order_rules[at];
        let (OrderEnd::Of(a, before), OrderEnd::Of(b, after)) = (rule.first, rule.then) else {
            continue;
        };
        if a != b && !is_inside(world, a, b) && !is_inside(world, b, a) {
            translate(world, (a, before), (b, after), rule.flags);
        }
    }
}

fn translate(world: &mut World<'_>, first: (ResIx, Verb), then: (ResIx, Verb), flags: OrderFlags) {
    let both = world[first.0].allow_migrate && world[then.0].allow_migrate;
    if !world[then.0].allow_migrate {
        return;
    }
    let mut before = |verb: Verb, step: Verb, flags: OrderFlags| {
        let (first, then) = (OrderEnd::Of(first.0, verb), OrderEnd::Of(then.0, step));
        world.order_rules.push(OrderRule { first, then, flags });
    };
    // where both migrate, what really stops or starts of the first only comes first
    let weaker = if both { OrderFlags::ORDERED | OrderFlags::UNLESS_FIRST_MIGRATES } else { flags };
    let step = match (first.1, then.1) {
        (Verb::Start, Verb::Start) => {
            if both {
                before(Verb::MigrateFrom, Verb::MigrateTo, flags);
            }
            return before(Verb::Start, Verb::MigrateTo, weaker);
        }
        (Verb::Stop, Verb::Stop) => weaker,
        (Verb::Promote, Verb::Start) => return before(Verb::Promote, Verb::MigrateTo, flags),
        (Verb::Demote, Verb::Stop) => flags,
        _ => return,
    };
    before(first.1, Verb::MigrateTo, step);
    if world[then.0].partial.is_some() {
        let (first, then) =
            (OrderEnd::Of(first.0, first.1), OrderEnd::Of(then.0, Verb::MigrateFrom));
        world.order_rules.push(OrderRule { first, then, flags: step });
    }
}

/// Binds the halves of a migration to the start and the stop that they stand for.
pub(super) fn bind(world: &mut World<'_>, first: ActIx, then: ActIx, kind: OrderFlags) {
    if kind.has(OrderFlags::LOST_WITH_THEN) {
        if !world[then].flags.has(ActFlags::MIGRATES | ActFlags::RUNNABLE) {
            world[first].clear(ActFlags::RUNNABLE);
        }
        if !world[then].optional() {
            world[first].clear(ActFlags::OPTIONAL);
        }
    }
    if kind.has(OrderFlags::STANDS_FOR_THEN) && !world[first].runnable() {
        world[then].clear(ActFlags::MIGRATES | ActFlags::PSEUDO);
    }
}

/// What makes way for something that really stops cannot wait at its target until that has started again. Of a clone
/// of which no copy is to start there is nothing to wait for.
pub(super) fn stops_for(world: &mut World<'_>, first: ActIx, then: ActIx) {
    let (Some(a), Some(b)) = (world[first].res, world[then].res) else { return };
    let top = world.top_of(b);
    let starts = |at: ActIx| !world[at].optional();
    let waits = !world[top].is_clone()
        || top == world.top_of(a)
        || first_action(world, top, Verb::Start, None).is_some_and(starts);
    if waits && !world[then].flags.has(ActFlags::MIGRATES) && !world[then].optional() {
        world[first].clear(ActFlags::MIGRATES);
    }
}
