//! From role to role: the steps of one instance.

use crate::{
    model::Role,
    unpack::target_role,
    world::{
        ActFlags, ActIx, Migration, MultipleActive, NodeIx, OrderEnd, OrderFlags, OrderRule, ResIx,
        Verb, World,
    },
};

use super::{create::actions_of, migration, recurring};

/// The role on the way from one role to another.
const fn next_step(from: Role, to: Role) -> Role {
    match (from, to) {
        (Role::Unknown, _) | (_, Role::Unknown) if !matches!(from, Role::Promoted) => Role::Stopped,
        (Role::Stopped, Role::Promoted) => Role::Unpromoted,
        (Role::Unpromoted, Role::Started) => Role::Stopped,
        (Role::Promoted, Role::Promoted) => Role::Promoted,
        (Role::Promoted, _) => Role::Unpromoted,
        (_, to) => to,
    }
}

pub(super) fn create_actions(world: &mut World<'_>, r: ResIx) {
    if world[r].next_role == Role::Unknown {
        world[r].next_role = if world[r].node.is_none() { Role::Stopped } else { Role::Started };
    }
    if let Some(role) = target_role(world, r)
        && world[r].next_role > role
    {
        world[r].next_role = role;
    }
    if world[r].start_pending
        && let Some(node) = world[r].node
    {
        let start = world.act(r, Verb::Start, Some(node), true);
        world[start].set(ActFlags::KEEP);
    }
    migration::stop_dangling(world, r);
    let mut active: usize = world[r].running_on.len();
    let mut need_stop = false;
    let mut need_promote = false;
    let current = world[r].current_node();
    let moving = match (current, world[r].node) {
        (Some(from), Some(to)) => from != to && world[r].next_role >= Role::Started,
        _ => false,
    };
    let mut way = match (current, world[r].node) {
        (Some(source), Some(target)) if moving && migration::is_possible(world, r, source) => {
            Some(Migration { source, target })
        }
        _ => None,
    };
    if world[r].partial.is_some() {
        if way == world[r].partial && active == 2 {
            active = 1;
        } else {
            // it cannot go on, so it ends on both sides
            (way, world[r].partial, need_stop, active) = (None, None, true, 1);
        }
    }
    if active > 1 {
        match world[r].multiple_active {
            MultipleActive::StopStart | MultipleActive::StopOnly | MultipleActive::Block => {
                need_stop = world[r].multiple_active == MultipleActive::StopStart;
            }
            MultipleActive::StopUnexpected => {
                need_stop = true;
                world[r].stop_unexpected = true;
            }
        }
    }
    if moving {
        need_stop = true;
    } else if world[r].failed {
        if world[r].stop_if_failed {
            need_stop = true;
        }
        need_promote = world[r].next_role == Role::Promoted;
    } else if world[r].blocked {
        need_stop = true;
    } else if world[r].role > Role::Started
        && current.is_some()
        && let Some(node) = world[r].node
    {
        let start = world.act(r, Verb::Start, Some(node), true);
        if !world[start].optional() {
            need_stop = true;
        }
    }
    restart(world, r, need_stop, need_promote);
    transition(world, r);
    recurring::create(world, r);
    if let Some(way) = way {
        migration::create(world, r, way);
    }
}

/// Down to stopped and up again to the present role, or the wanted one if that is lower; optional unless something
/// asks for it.
fn restart(world: &mut World<'_>, r: ResIx, need_stop: bool, need_promote: bool) {
    world[r].restarting = true;
    let mut role = world[r].role;
    while role != Role::Stopped {
        let next = next_step(role, Role::Stopped);
        step(world, r, role, next, !need_stop);
        role = next;
    }
    let (present, wanted) = (world[r].role, world[r].next_role);
    let top = match present <= wanted {
        true => present,
        // what has to go down altogether comes up again as what it is to be
        false if need_stop => wanted,
        false => Role::Stopped,
    };
    while role != top && !world[r].blocked {
        let next = next_step(role, top);
        let required = need_stop || (next == Role::Promoted && need_promote);
        step(world, r, role, next, !required);
        role = next;
    }
    world[r].restarting = false;
}

fn transition(world: &mut World<'_>, r: ResIx) {
    let mut role = world[r].role;
    while role != world[r].next_role {
        let next = next_step(role, world[r].next_role);
        if next == role {
            break;
        }
        step(world, r, role, next, false);
        role = next;
    }
}

fn step(world: &mut World<'_>, r: ResIx, from: Role, to: Role, optional: bool) {
    match (from, to) {
        (Role::Stopped, Role::Started | Role::Unpromoted) => start(world, r, optional),
        (Role::Started | Role::Unpromoted, Role::Promoted) => promote(world, r, optional),
        (Role::Promoted, Role::Unpromoted | Role::Started | Role::Stopped) => {
            for at in 0..world[r].running_on.len() {
                let node = world[r].running_on[at];
                world.act(r, Verb::Demote, Some(node), optional);
            }
        }
        (Role::Unknown | Role::Started | Role::Unpromoted, Role::Stopped)
        | (Role::Unpromoted, Role::Started) => stop(world, r, optional),
        _ => {}
    }
}

fn start(world: &mut World<'_>, r: ResIx, optional: bool) {
    let node = world[r].node;
    let start = world.act(r, Verb::Start, node, true);
    if let Some(node) = node {
        super::fencing::order_after_unfencing(
            world,
            r,
            node,
            start,
            OrderFlags::FIRST_IMPLIES_THEN,
        );
        // the one that stays is not started again
        if world[r].stop_unexpected && world[r].running_on.contains(&node) {
            world[start].set(ActFlags::PSEUDO);
        }
    }
    // nobody starts what is not managed, so nobody is to wait for that
    if world[start].runnable() && !optional && world[r].managed {
        world[start].clear(ActFlags::OPTIONAL);
    }
}

fn stop(world: &mut World<'_>, r: ResIx, optional: bool) {
    for at in 0..world[r].running_on.len() {
        let node = world[r].running_on[at];
        if world[r].stop_unexpected && world[r].node == Some(node) {
            continue;
        }
        let arrives = world[r].partial.map(|way| way.target);
        if arrives.is_some() && arrives == world[r].node && arrives == Some(node) {
            continue;
        }
        let stop = world.act(r, Verb::Stop, Some(node), optional && arrives.is_none());
        if world[r].node.is_none() {
            world[stop].why = "no node may run it now";
        }
        if !world[r].managed {
            world[stop].clear(ActFlags::RUNNABLE);
        }
        if world.opts.remove_after_stop {
            delete_history(world, r, node, optional);
        }
    }
}

/// Forgets what the node's executor knows of a resource; after its stop, before its start.
pub(super) fn delete_history(world: &mut World<'_>, r: ResIx, node: NodeIx, optional: bool) {
    if world[r].failed || world[node].unclean || !world[node].online {
        return;
    }
    world.act(r, Verb::Delete, Some(node), optional);
    let of = |verb| OrderEnd::Of(r, verb);
    let flags = if optional { OrderFlags::FIRST_IMPLIES_THEN } else { OrderFlags::ORDERED };
    world.order_rules.push(OrderRule { first: of(Verb::Stop), then: of(Verb::Delete), flags });
    world.order_rules.push(OrderRule { first: of(Verb::Delete), then: of(Verb::Start), flags });
}

fn promote(world: &mut World<'_>, r: ResIx, optional: bool) {
    let node = world[r].node;
    let starts = actions_of(world, r, Verb::Start, node);
    let all_runnable = starts.iter().all(|at: &ActIx| world[*at].runnable());
    if all_runnable {
        world.act(r, Verb::Promote, node, optional);
    } else {
        for at in actions_of(world, r, Verb::Promote, node) {
            world[at].clear(ActFlags::RUNNABLE);
        }
    }
}
