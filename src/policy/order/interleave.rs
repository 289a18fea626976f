//! Orders between interleaved clones bind instances on the same node only.

use alloc::vec::Vec;

use crate::{
    act::first_action,
    place::compatible_instance,
    world::{ActFlags, ActIx, NodeIx, OrderFlags, ResIx, Verb, World},
};

use super::settle::{self, Changed, update};

/// Whether an order between two actions is between interleaved clones.
pub(super) fn applies(world: &World<'_>, first: ActIx, then: ActIx) -> bool {
    let (Some(a), Some(b)) = (world[first].res, world[then].res) else { return false };
    if a == b || !world[a].is_clone() || !world[b].is_clone() {
        return false;
    }
    // what the second does tells which one depends: going down it is the first
    let dependent = if matches!(world[then].verb, Verb::Stop | Verb::Demote) { a } else { b };
    world[dependent].interleave
}

pub(super) fn update_instances(
    world: &mut World<'_>,
    first: ActIx,
    then: ActIx,
    node: Option<NodeIx>,
    filter: ActFlags,
    kind: OrderFlags,
) -> Changed {
    let mut changed = Changed::default();
    let (Some(a), Some(b)) = (world[first].res, world[then].res) else { return changed };
    let current = matches!(world[first].verb, Verb::Stopped | Verb::Demoted);
    let (first_verb, then_verb) = (world[first].verb.begun(), world[then].verb);
    for at in 0..world.child_count(b) {
        let then_instance = world.child(b, at);
        let Some(first_instance) = compatible_instance(world, then_instance, a, None, current)
        else {
            // going down needs no companion
            if current || crate::place::location(world, then_instance, false).is_none() {
                continue;
            }
            let binds = OrderFlags::UNRUNNABLE_FIRST_BLOCKS | OrderFlags::FIRST_IMPLIES_THEN;
            let one_way = kind.has(OrderFlags::ASYMMETRIC);
            let runs = crate::place::location(world, then_instance, true).is_some();
            if kind.any(binds) || one_way && !runs {
                changed.then |= inhibit(world, then_instance, &mut changed);
            } else if one_way {
                begin_nothing(world, first, then_instance, then_verb, &mut changed);
            }
            continue;
        };
        let Some(first_action) = action_of(world, first_instance, first_verb, node) else {
            continue;
        };
        let Some(then_action) = action_of(world, then_instance, then_verb, node) else { continue };
        if world.order(first_action, then_action, kind) {
            changed.touched.push(then_action);
            changed.touched.push(first_action);
        }
        let flags = super::flags::of(world, first_instance, first_action, node);
        let part = update(world, first_action, then_action, node, flags, filter, kind);
        changed.merge(part);
    }
    changed
}

/// The completing action of a group instance, else the action itself.
fn action_of(
    world: &World<'_>,
    instance: ResIx,
    verb: Verb,
    node: Option<NodeIx>,
) -> Option<ActIx> {
    let node = node.filter(|_| world[instance].is_primitive());
    first_action(world, instance, verb, node)
}

/// What runs of an instance goes on under an order that is not symmetrical; what of it is still to begin does not.
fn begin_nothing(
    world: &mut World<'_>,
    first: ActIx,
    instance: ResIx,
    verb: Verb,
    changed: &mut Changed,
) {
    for at in 0..world.child_count(instance) {
        let member = world.child(instance, at);
        begin_nothing(world, first, member, verb, changed);
    }
    if !world[instance].is_primitive() {
        return;
    }
    for at in 0..world[instance].acts.len() {
        let act = world[instance].acts[at];
        if world[act].verb == verb && settle::hold_up(world, first, act) {
            changed.touched.push(act);
        }
    }
}

fn inhibit(world: &mut World<'_>, instance: ResIx, changed: &mut Changed) -> bool {
    let did = crate::place::inhibit(world, instance);
    world.changes += 1;
    if did {
        let mut parts: Vec<ResIx> = alloc::vec![instance];
        parts.extend(world[instance].children.iter());
        for part in parts {
            changed.touched.extend(world[part].acts.iter());
        }
    }
    did
}
