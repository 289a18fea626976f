//! Fencing, unfencing and shutdown of nodes, and what they imply for what runs there.

use alloc::{borrow::ToOwned as _, string::String, vec::Vec};

use crate::{
    plan::FenceAction,
    unpack::can_fence,
    world::{ActFlags, ActIx, Needs, NodeIx, OrderFlags, Requires, ResIx, Verb, World},
};

use super::create::actions_of;

/// The fencing of a node, made if there is none yet.
pub(crate) fn fence_action(
    world: &mut World<'_>,
    node: NodeIx,
    verb: Verb,
    optional: bool,
) -> ActIx {
    let found = (0..world.acts.len())
        .map(ActIx::at)
        .find(|at| world[*at].verb == verb && world[*at].node == Some(node));
    let at = match found {
        Some(at) => at,
        None => {
            let at = world.push_act(verb, None, Some(node), String::new());
            world[at].set(ActFlags::OPTIONAL);
            world[at].fence = match verb {
                Verb::Unfence => FenceAction::On,
                _ if world.opts.fence_off => FenceAction::Off,
                _ => FenceAction::Reboot,
            };
            if verb == Verb::Unfence && is_reachable(world, node) && device_changed(world, node) {
                world[at].clear(ActFlags::OPTIONAL);
            }
            at
        }
    };
    if !optional {
        world[at].clear(ActFlags::OPTIONAL);
    }
    at
}

/// Unfencing comes before what needs it, and happens if it never did.
pub(super) fn order_after_unfencing(
    world: &mut World<'_>,
    r: ResIx,
    node: NodeIx,
    act: ActIx,
    flags: OrderFlags,
) {
    let needs = world[r].requires == Requires::Unfencing || world[r].fencing_device;
    if !world.unfencing_enabled || !needs {
        return;
    }
    let done = world[node].attr("#node-unfenced").is_some_and(|when| !matches!(when, "" | "0"));
    let unfence = fence_action(world, node, Verb::Unfence, true);
    world.order(unfence, act, flags);
    if !done && is_reachable(world, node) {
        world[unfence].clear(ActFlags::OPTIONAL);
    }
}

fn is_reachable(world: &World<'_>, node: NodeIx) -> bool {
    world[node].online && !world[node].unclean && !world[node].shutdown
}

/// A changed device must give access anew.
pub(super) fn trigger_unfencing(world: &mut World<'_>, r: ResIx, node: Option<NodeIx>) {
    match node {
        Some(node) if is_reachable(world, node) => {
            fence_action(world, node, Verb::Unfence, false);
        }
        _ => {
            for node in world.node_ids() {
                if world[r].allowed[node.ix()].present && is_reachable(world, node) {
                    fence_action(world, node, Verb::Unfence, false);
                }
            }
        }
    }
}

/// Whether a node was unfenced with another definition of some device than the present one.
fn device_changed(world: &World<'_>, node: NodeIx) -> bool {
    let Some(known) = world[node].attr("#digests-all") else { return false };
    (0..world.res.len()).map(ResIx::at).any(|r| {
        let res = &world[r];
        if !res.unfencing_device || res.removed {
            return false;
        }
        let agent = res.primitive.map_or("", |primitive| primitive.agent.as_str());
        let name = res.history_name.as_deref().unwrap_or(res.base);
        let same = |known: &str, public: bool| {
            let digest = super::cancel::device_digest(world, r, node, public);
            let entry = alloc::format!("{name}:{agent}:{digest}");
            known.split(',').any(|part| part == entry)
        };
        // a secret may have been masked since, and another one opens the same device
        !same(known, false)
            && !world[node].attr("#digests-secure").is_some_and(|known| same(known, true))
    })
}

pub(super) fn run(world: &mut World<'_>) {
    let mut fencings: Vec<ActIx> = Vec::new();
    let mut shutdowns: Vec<ActIx> = Vec::new();
    let mut last = None;
    let mut nodes: Vec<NodeIx> = world.node_ids().collect();
    nodes.sort_by_key(|node| world[*node].name().to_owned());
    for node in nodes {
        let coordinator = world[node].attr("#is_dc") == Some("true");
        if world[node].ping {
            continue;
        }
        if world.is_guest(node) {
            if world[node].needs_reset && can_fence(world, node) {
                recover_guest(world, node);
            }
            continue;
        }
        if world[node].unclean && can_fence(world, node) {
            let fence = fence_action(world, node, Verb::Fence, false);
            ends_with_its_node(world, node, "it is not managed and its node is fenced");
            for at in 0..world.top.len() {
                let r = world.top[at];
                order_around(world, r, node, fence);
            }
            if coordinator {
                last = Some(fence);
                continue;
            }
            if !world.opts.concurrent_fencing
                && let Some(previous) = fencings.last().copied()
            {
                world.order(previous, fence, OrderFlags::ORDERED);
            }
            fencings.push(fence);
        } else if world[node].online
            && world[node].shutdown
            && !world[node].unclean
            // a remote node that leaves is let go by its connection
            && world[node].connection.is_none()
        {
            let shutdown = world.push_act(Verb::Shutdown, None, Some(node), String::new());
            order_before_shutdown(world, node, shutdown);
            if !world[node].running.iter().any(|r| world[*r].blocked) {
                ends_with_its_node(world, node, "it is not managed and its node shuts down");
            }
            if coordinator {
                last = Some(shutdown);
            } else {
                shutdowns.push(shutdown);
            }
        }
    }
    // who decides goes last
    if let Some(last) = last {
        if world[last].verb == Verb::Shutdown {
            for shutdown in shutdowns {
                world.order(shutdown, last, OrderFlags::ORDERED);
            }
        }
        if world.opts.concurrent_fencing {
            for fence in fencings {
                world.order(fence, last, OrderFlags::ORDERED);
            }
        } else if let Some(fence) = fencings.last().copied() {
            world.order(fence, last, OrderFlags::ORDERED);
        }
    }
}

/// A guest node is as good as fenced once its container has stopped. Nothing is sent for that, but others wait for it.
fn recover_guest(world: &mut World<'_>, node: NodeIx) {
    let fence = fence_action(world, node, Verb::Fence, false);
    world[fence].set(ActFlags::PSEUDO | ActFlags::RUNNABLE);
    let implies = OrderFlags::UNRUNNABLE_FIRST_BLOCKS | OrderFlags::FIRST_IMPLIES_THEN;
    let stop_of = |world: &World<'_>, r: Option<ResIx>| {
        r.and_then(|r| super::first_action(world, r, Verb::Stop, None))
    };
    match stop_of(world, world.container_of(node)) {
        Some(stop) if world[stop].pseudo() => {
            // the host is fenced, and with it all that is on it
            if let Some(host) = world[stop].node {
                let host = fence_action(world, host, Verb::Fence, false);
                world.order(host, fence, implies);
            }
        }
        Some(stop) => {
            world.order(stop, fence, implies);
        }
        // it is thought to be stopped; should it be found running, its connection is what tells
        None => {
            if let Some(stop) = stop_of(world, world[node].connection) {
                world.order(stop, fence, OrderFlags::ORDERED);
            }
        }
    }
    for at in 0..world.top.len() {
        let r = world.top[at];
        order_around(world, r, node, fence);
    }
}

/// What is not managed is not stopped before its node goes: it ends with it, and nobody starts it again.
fn ends_with_its_node(world: &mut World<'_>, node: NodeIx, why: &'static str) {
    for at in 0..world[node].running.len() {
        let r = world[node].running[at];
        if world[r].managed {
            continue;
        }
        for start in actions_of(world, r, Verb::Start, Some(node)) {
            world[start].clear(ActFlags::RUNNABLE);
            world[start].why = why;
        }
    }
}

fn order_before_shutdown(world: &mut World<'_>, node: NodeIx, shutdown: ActIx) {
    for at in 0..world.acts.len() {
        let at = ActIx::at(at);
        let act = &world[at];
        if act.node != Some(node) || act.verb != Verb::Stop {
            continue;
        }
        let Some(r) = act.res else { continue };
        let res = &world[r];
        if res.maintenance || world[node].maintenance || (!res.managed && !res.blocked) {
            continue;
        }
        world[at].clear(ActFlags::OPTIONAL);
        world.order(at, shutdown, OrderFlags::ORDERED | OrderFlags::UNRUNNABLE_FIRST_BLOCKS);
    }
}

/// Orders a resource's actions around the fencing of a node.
fn order_around(world: &mut World<'_>, r: ResIx, node: NodeIx, fence: ActIx) {
    if world.child_count(r) > 0 {
        for at in 0..world.child_count(r) {
            let child = world.child(r, at);
            order_around(world, child, node, fence);
        }
        return;
    }
    for at in 0..world[r].acts.len() {
        let act = world[r].acts[at];
        match world[act].needs {
            Needs::Nothing => {}
            Needs::Fencing => {
                world.order(fence, act, OrderFlags::ORDERED);
            }
            Needs::Quorum => {
                // where its state is unknown on the node, fencing is what tells
                let candidate = world[r].allowed[node.ix()].present;
                if world[act].verb == Verb::Start && candidate && !world[r].known_on.contains(node)
                {
                    let flags = OrderFlags::ORDERED | OrderFlags::UNRUNNABLE_FIRST_BLOCKS;
                    world.order(fence, act, flags);
                }
            }
        }
    }
    // of a guest it is a stop of its container that ends what runs there, whatever that requires
    let implied = world[r].requires >= Requires::Fencing || world.is_guest(node);
    let top = world.top_of(r);
    for stop in actions_of(world, r, Verb::Stop, Some(node)) {
        world[stop].set(ActFlags::PSEUDO | ActFlags::RUNNABLE);
        if implied {
            // in a bundle its clone is what waits
            if world[top].bundle.is_none() {
                world.order(fence, stop, OrderFlags::ORDERED);
            }
            if top != r
                && let Some(parent_stop) = super::first_action(world, top, Verb::Stop, None)
            {
                world.order(fence, parent_stop, OrderFlags::ORDERED);
            }
        }
    }
    for demote in actions_of(world, r, Verb::Demote, Some(node)) {
        if !world[node].online || world[node].unclean || world[r].failed {
            world[demote].set(ActFlags::PSEUDO | ActFlags::RUNNABLE);
            if implied {
                world.order(fence, demote, OrderFlags::ORDERED);
            }
        }
    }
}
