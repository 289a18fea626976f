//! What is done on a remote or guest node is done through its connection.
//!
//! Invariants:
//! - nothing begins on such a node before its connection is up, and the connection is not closed before what runs
//!   there has ended;
//! - where the connection is lost for good, fencing of the node stands for what can no longer be asked of it; where it
//!   can be had back elsewhere, that comes first;
//! - what happens on a guest node whose container is recovered follows from the recovery.

use crate::{
    model::Role,
    unpack::{mark_for_fencing, was_fenced},
    world::{ActIx, NodeIx, OrderEnd, OrderFlags, OrderRule, ResIx, Verb, World},
};

/// How things stand with the connection of a remote node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// Up, and it stays.
    Alive,
    /// Its host is gone; it may come back elsewhere.
    Resting,
    /// Closed in order, or about to be.
    Stopped,
    /// Lost, and nobody can have it back.
    Lost,
    /// Not up; whether it can be had will be seen.
    Unknown,
}

fn link(world: &World<'_>, node: NodeIx, connection: ResIx) -> Link {
    let res = &world[connection];
    let host = res.current_node();
    if res.next_role == Role::Stopped || res.node.is_none() {
        if host.is_some_and(|host| world[host].unclean) {
            return Link::Lost;
        }
        if !res.failed {
            return Link::Stopped;
        }
        let fenced = was_fenced(world, node);
        let leaves = world[node].attr("shutdown").is_some_and(|value| !matches!(value, "" | "0"));
        if res.next_role == Role::Stopped && res.reconnects_later && fenced && !leaves {
            return Link::Unknown;
        }
        return Link::Lost;
    }
    match host {
        None => Link::Unknown,
        Some(host) if world[host].unclean || !world[host].online => Link::Resting,
        // half way from one host to another it can do nothing
        Some(_) if res.running_on.len() > 1 && res.partial.is_some() => Link::Resting,
        Some(_) => Link::Alive,
    }
}

/// Whether the connection of a remote node is lost for good.
pub(super) fn is_lost(world: &World<'_>, node: NodeIx) -> bool {
    let connection = world[node].connection.filter(|_| world.is_remote(node));
    connection.is_some_and(|connection| link(world, node, connection) == Link::Lost)
}

/// Orders every action on such a node with its connection.
pub(super) fn run(world: &mut World<'_>) {
    for at in 0..world.acts.len() {
        let at = ActIx::at(at);
        let Some(r) = world[at].res else { continue };
        if world[r].is_connection && world[at].verb == Verb::ClearFailures {
            let then = OrderEnd::Of(r, Verb::Start);
            let flags = OrderFlags::ORDERED;
            world.order_rules.push(OrderRule { first: OrderEnd::Act(at), then, flags });
            continue;
        }
        let Some(node) = world[at].node else { continue };
        let Some(connection) = world[node].connection.filter(|_| !world[at].pseudo()) else {
            continue;
        };
        if world[at].verb == Verb::Start {
            // should the connection not come up, it is better to be where it was
            for index in 0..world[r].acts.len() {
                let other = world[r].acts[index];
                let leaves = world[other].verb == Verb::Stop && world[other].node != Some(node);
                if leaves && world[other].node.is_some() {
                    after_start(world, connection, other, OrderFlags::ORDERED, false);
                }
            }
        }
        match world[connection].container {
            Some(container) => on_guest(world, at, node, connection, container),
            None => on_remote(world, at, node, connection),
        }
    }
}

fn after_start(world: &mut World<'_>, r: ResIx, act: ActIx, more: OrderFlags, blocks: bool) {
    let base = if blocks { OrderFlags::UNRUNNABLE_FIRST_BLOCKS } else { OrderFlags::ORDERED };
    let first = OrderEnd::Of(r, Verb::Start);
    world.order_rules.push(OrderRule { first, then: OrderEnd::Act(act), flags: base | more });
}

fn up_before(world: &mut World<'_>, connection: ResIx, act: ActIx, more: OrderFlags) {
    after_start(world, connection, act, more, true);
}

fn down_after(world: &mut World<'_>, act: ActIx, connection: ResIx, flags: OrderFlags) {
    let then = OrderEnd::Of(connection, Verb::Stop);
    world.order_rules.push(OrderRule { first: OrderEnd::Act(act), then, flags });
}

fn recurs(world: &World<'_>, act: ActIx) -> bool {
    world[act].verb == Verb::Monitor
}

fn on_remote(world: &mut World<'_>, act: ActIx, node: NodeIx, connection: ResIx) {
    let state = link(world, node, connection);
    match world[act].verb {
        Verb::Start | Verb::Promote => {
            // what was there before is gone with the node
            let more = if state == Link::Lost {
                OrderFlags::FIRST_IMPLIES_THEN
            } else {
                OrderFlags::ORDERED
            };
            up_before(world, connection, act, more);
        }
        Verb::Stop => match state {
            Link::Alive => down_after(world, act, connection, OrderFlags::THEN_IMPLIES_FIRST),
            Link::Lost => {
                mark_for_fencing(world, node, "its connection is lost and it runs something")
            }
            _ if world[connection].next_role == Role::Stopped => {
                down_after(world, act, connection, OrderFlags::THEN_IMPLIES_FIRST);
            }
            _ => up_before(world, connection, act, OrderFlags::ORDERED),
        },
        Verb::Demote => {
            // otherwise the order of the stop will do
            if matches!(state, Link::Resting | Link::Unknown) {
                up_before(world, connection, act, OrderFlags::ORDERED);
            }
        }
        // what leaves does so by the connection that is there
        Verb::MigrateTo if state == Link::Alive => {
            down_after(world, act, connection, OrderFlags::ORDERED);
        }
        _ if recurs(world, act) => {
            up_before(world, connection, act, OrderFlags::FIRST_IMPLIES_THEN);
        }
        verb => {
            if verb == Verb::Probe && state == Link::Lost {
                mark_for_fencing(
                    world,
                    node,
                    "its connection is lost and nobody knows what it runs",
                );
            }
            if state == Link::Stopped && world[connection].current_node().is_some() {
                // what is left there must be known before the door is closed
                down_after(world, act, connection, OrderFlags::UNRUNNABLE_FIRST_BLOCKS);
            } else {
                up_before(world, connection, act, OrderFlags::ORDERED);
            }
        }
    }
}

fn on_guest(world: &mut World<'_>, act: ActIx, node: NodeIx, connection: ResIx, container: ResIx) {
    if world[container].failed {
        mark_for_fencing(world, node, "its container failed");
    }
    match world[act].verb {
        Verb::Start | Verb::Promote => {
            up_before(world, container, act, OrderFlags::FIRST_IMPLIES_THEN);
            up_before(world, connection, act, OrderFlags::ORDERED);
        }
        // with a failed container everything in it has ended
        Verb::Stop | Verb::Demote if world[container].failed => {}
        Verb::Stop | Verb::Demote => down_after(world, act, connection, OrderFlags::ORDERED),
        _ if recurs(world, act) => {
            up_before(world, connection, act, OrderFlags::FIRST_IMPLIES_THEN);
        }
        _ => up_before(world, connection, act, OrderFlags::ORDERED),
    }
}
