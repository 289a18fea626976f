//! Recurring operations: watch what runs, in the role that it has.

use crate::{
    model::{Role, parse_bool},
    unpack::operation_meta,
    world::{ActFlags, NodeIx, OrderEnd, OrderFlags, OrderRule, ResIx, Verb, World},
};

struct Configured<'m> {
    name: &'m str,
    interval_ms: u64,
    role: Option<Role>,
}

pub(super) fn create(world: &mut World<'_>, r: ResIx) {
    let res = &world[r];
    if res.blocked || res.maintenance || world.opts.maintenance {
        return;
    }
    let Some(primitive) = res.primitive else { return };
    let node = res.node;
    if node.is_some_and(|node| world[node].maintenance) {
        return;
    }
    for operation in &primitive.operations {
        if operation.interval_ms == 0
            || matches!(operation.name.as_str(), "start" | "stop" | "promote" | "demote")
        {
            continue;
        }
        let meta = operation_meta(world, r, operation);
        if meta.get("enabled").copied().and_then(parse_bool) == Some(false) {
            continue;
        }
        let configured = Configured {
            name: &operation.name,
            interval_ms: operation.interval_ms,
            role: meta.get("role").copied().and_then(Role::parse),
        };
        if configured.role == Some(Role::Stopped) {
            watch_stopped(world, r, &configured);
        } else if let Some(node) = node
            && world[r].next_role != Role::Stopped
        {
            watch_active(world, r, node, &configured);
        }
    }
}

/// Whether history shows the operation running on the node.
fn runs_already(world: &World<'_>, r: ResIx, node: NodeIx, configured: &Configured<'_>) -> bool {
    super::cancel::recurs(world, r, node, configured.name, configured.interval_ms)
}

fn watch_active(world: &mut World<'_>, r: ResIx, node: NodeIx, configured: &Configured<'_>) {
    let next = world[r].next_role;
    let fits = match configured.role {
        None => next != Role::Promoted || !has_promoted_variant(world, r, configured),
        Some(role) => role == next || (role == Role::Unpromoted && next == Role::Started),
    };
    let fits = fits || (configured.role == Some(Role::Started) && next != Role::Stopped);
    let running = world[r].running_on.contains(&node) && runs_already(world, r, node, configured);
    let label = configured.name;
    if !fits {
        if running {
            cancel(world, r, node, configured.name, configured.interval_ms);
        }
        return;
    }
    let act =
        world.recurring_act(r, Verb::Monitor, Some(node), running, configured.interval_ms, label);
    if !world[r].managed {
        // what is not managed is still watched
    } else if let Some(start) =
        super::create::actions_of(world, r, Verb::Start, Some(node)).first().copied()
        && !world[start].runnable()
        && !world[r].running_on.contains(&node)
    {
        world[act].clear(ActFlags::RUNNABLE);
    }
    let mut rule = |first: OrderEnd, flags| {
        world.order_rules.push(OrderRule { first, then: OrderEnd::Act(act), flags });
    };
    let implies = OrderFlags::FIRST_IMPLIES_THEN | OrderFlags::UNRUNNABLE_FIRST_BLOCKS;
    rule(OrderEnd::Of(r, Verb::Start), implies);
    rule(OrderEnd::Of(r, Verb::Reload), implies);
    if next == Role::Promoted {
        rule(OrderEnd::Of(r, Verb::Promote), implies);
    } else if world[r].role == Role::Promoted {
        world.order_rules.push(OrderRule {
            first: OrderEnd::Of(r, Verb::Demote),
            then: OrderEnd::Act(act),
            flags: implies,
        });
    }
}

/// Whether another operation of the same name watches the promoted role.
fn has_promoted_variant(_world: &World<'_>, _r: ResIx, _configured: &Configured<'_>) -> bool {
    // without a role an operation is for what runs unpromoted
    true
}

/// Watches that nothing runs where nothing should.
fn watch_stopped(world: &mut World<'_>, r: ResIx, configured: &Configured<'_>) {
    let top = world.top_of(r);
    for node in world.node_ids() {
        let occupied = if world[top].is_anonymous_clone() {
            world[top].running_on.contains(&node)
                || world[top]
                    .children
                    .iter()
                    .any(|c| crate::place::location(world, *c, false) == Some(node))
        } else {
            world[r].node == Some(node) || world[r].running_on.contains(&node)
        };
        let running = runs_already(world, r, node, configured);
        if occupied && world[r].node == Some(node) {
            if running {
                cancel(world, r, node, configured.name, configured.interval_ms);
            }
            continue;
        }
        if occupied && world[top].is_anonymous_clone() || !world[node].is_available() {
            continue;
        }
        let label = configured.name;
        let act = world.recurring_act(
            r,
            Verb::Monitor,
            Some(node),
            running,
            configured.interval_ms,
            label,
        );
        for verb in [Verb::Probe, Verb::Stop] {
            world.order_rules.push(OrderRule {
                first: OrderEnd::Of(r, verb),
                then: OrderEnd::Act(act),
                flags: OrderFlags::ORDERED | OrderFlags::UNRUNNABLE_FIRST_BLOCKS,
            });
        }
    }
}

/// No longer runs a recurring operation.
pub(super) fn cancel(world: &mut World<'_>, r: ResIx, node: NodeIx, name: &str, interval_ms: u64) {
    let act = world.recurring_act(r, Verb::Cancel, Some(node), false, interval_ms, name);
    world[act].clear(ActFlags::OPTIONAL);
    world.order_rules.push(OrderRule {
        first: OrderEnd::Of(r, Verb::Stop),
        then: OrderEnd::Act(act),
        flags: OrderFlags::THEN_CANCELS_FIRST.without(OrderFlags::THEN_CANCELS_FIRST),
    });
}
