//! Finding out: every resource is looked for once on every node where its state is unknown.

use alloc::vec::Vec;

use crate::{
    model::{Role, parse_bool},
    unpack::mark_for_fencing,
    world::{
        ActIx, Discovery, NodeIx, NodeSet, NodeState, OrderEnd, OrderFlags, OrderRule, ResIx,
        Variant, Verb, World,
    },
};

pub(super) fn run(world: &mut World<'_>) {
    let looks = |state: &NodeState<'_>| {
        // an old note that nothing was looked for yet stops everything else there
        let waits = || state.attr("probe_complete").and_then(parse_bool) == Some(false);
        state.online && !state.unclean && !state.ping && !state.undiscovered && !waits()
    };
    for node in world.node_ids() {
        if !world[node].online && super::connection::is_lost(world, node) {
            mark_for_fencing(world, node, "its connection is unrecoverable");
        }
    }
    let nodes: Vec<NodeIx> = world.node_ids().filter(|node| looks(&world[*node])).collect();
    let mut everywhere = NodeSet::default();
    nodes.iter().for_each(|node| everywhere.insert(*node));
    // mostly nothing is left to find out
    let open = |r: &ResIx| !is_known(world, *r, &everywhere);
    let open: Vec<ResIx> = world.top.iter().copied().filter(open).collect();
    for node in nodes {
        for r in open.iter().copied() {
            probe(world, r, node);
        }
    }
}

/// Whether the state of all that is inside is known for sure on all these nodes.
fn is_known(world: &World<'_>, r: ResIx, nodes: &NodeSet) -> bool {
    let res = &world[r];
    match res.variant {
        Variant::Primitive => res.known_on.contains_all(nodes),
        // what is known of one instance stands for all
        Variant::Clone if res.is_anonymous_clone() => {
            let single = res.children.iter().all(|instance| world[*instance].is_primitive());
            single && res.known_on.contains_all(nodes)
        }
        Variant::Group | Variant::Clone => {
            res.children.iter().all(|child| is_known(world, *child, nodes))
        }
    }
}

fn probe(world: &mut World<'_>, r: ResIx, node: NodeIx) -> bool {
    if world[r].is_anonymous_clone() {
        return probe_anonymous(world, r, node);
    }
    if world.child_count(r) > 0 {
        let mut any = false;
        for at in 0..world.child_count(r) {
            let child = world.child(r, at);
            any |= probe(world, child, node);
        }
        return any;
    }
    probe_one(world, r, node)
}

/// Of an anonymous clone one instance is looked for per node.
fn probe_anonymous(world: &mut World<'_>, r: ResIx, node: NodeIx) -> bool {
    if world[r].exclusive_discovery && world[r].allowed[node.ix()].discovery != Discovery::Exclusive
    {
        return false;
    }
    let instances = &world[r].children;
    let there =
        instances.iter().copied().find(|i| crate::place::location(world, *i, false) == Some(node));
    match there.or_else(|| instances.first().copied()) {
        Some(instance) => probe(world, instance, node),
        None => false,
    }
}

fn probe_one(world: &mut World<'_>, r: ResIx, node: NodeIx) -> bool {
    let top = world.top_of(r);
    if !can_be_found(world, r, node) {
        return false;
    }
    if world[r].removed || world[r].primitive.is_none() || world[r].known_on.contains(node) {
        return false;
    }
    if world[top].is_anonymous_clone() && siblings_know(world, top, world[r].base, node) {
        return false;
    }
    let cell = world[r].allowed[node.ix()];
    if (world[r].exclusive_discovery || world[top].exclusive_discovery)
        && cell.discovery != Discovery::Exclusive
    {
        return false;
    }
    if cell.discovery == Discovery::Never {
        return false;
    }
    if guest_is_down(world, top, node) {
        return false;
    }
    let act = world.act(r, Verb::Probe, Some(node), false);
    let managed_elsewhere = !world[r].managed;
    if managed_elsewhere {
        // looking changes nothing, so it is done for what is not managed as well
        world[act].clear(crate::world::ActFlags::OPTIONAL);
    }
    super::fencing::order_after_unfencing(world, r, node, act, OrderFlags::ORDERED);
    order_in_bundle(world, r, act);
    let blind = !world[act].runnable();
    let blocks = OrderFlags::ORDERED | OrderFlags::UNRUNNABLE_FIRST_BLOCKS;
    let idle = world[top].running_on.is_empty();
    world.order_rules.push(OrderRule {
        first: OrderEnd::Act(act),
        then: OrderEnd::Of(top, Verb::Start),
        flags: if blind && idle { blocks } else { OrderFlags::ORDERED },
    });
    if blind && !idle && world[top].is_clone() {
        block_idle(world, act, top);
    }
    if !super::actions_of(world, top, Verb::Reload, None).is_empty() {
        world.order_rules.push(OrderRule {
            first: OrderEnd::Act(act),
            then: OrderEnd::Of(top, Verb::Reload),
            flags: OrderFlags::ORDERED,
        });
    }
    true
}

/// In a bundle nothing begins beside a container that may run already, and a connection is looked for once its container
/// is up.
fn order_in_bundle(world: &mut World<'_>, r: ResIx, probe: ActIx) {
    if let Some(container) = world[r].container.filter(|_| world[r].bundle.is_some()) {
        world.order_rules.push(OrderRule {
            first: OrderEnd::Of(container, Verb::Start),
            then: OrderEnd::Act(probe),
            flags: OrderFlags::ORDERED,
        });
    }
    let Some(bundle) = world[r].parent.filter(|parent| world[*parent].is_bundle) else { return };
    if world[bundle].instances_per_node != 1 {
        return;
    }
    for at in 0..world.child_count(bundle) {
        let other = world.child(bundle, at);
        if other != r {
            world.order_rules.push(OrderRule {
                first: OrderEnd::Act(probe),
                then: OrderEnd::Of(other, Verb::Start),
                flags: OrderFlags::ORDERED | OrderFlags::SAME_NODE,
            });
        }
    }
}

/// Whether the resource is of a kind that could be there.
fn can_be_found(world: &World<'_>, r: ResIx, node: NodeIx) -> bool {
    let res = &world[r];
    if world[node].connection.is_some()
        && (res.fencing_device
            || res.is_connection
            || (world.is_guest(node) && world.guest_in(r).is_some()))
    {
        return false;
    }
    // what is inside a container is known with that
    res.container.is_none() || res.is_connection
}

/// Whether the node is a guest whose container does not run or will not stay; then the start waits for that instead.
fn guest_is_down(world: &mut World<'_>, top: ResIx, node: NodeIx) -> bool {
    let Some(container) = world.container_of(node) else { return false };
    let guest = &world[container];
    let moves = guest.role > Role::Stopped
        && guest.node.is_some_and(|node| !guest.running_on.contains(&node));
    let stops = world[node].needs_reset
        || world[node].unclean
        || guest.failed
        || guest.next_role == Role::Stopped
        || moves;
    let waits_for = match guest.role {
        Role::Stopped => Verb::Start,
        _ if stops => Verb::Stop,
        _ => return false,
    };
    world.order_rules.push(OrderRule {
        first: OrderEnd::Of(container, waits_for),
        then: OrderEnd::Of(top, Verb::Start),
        flags: OrderFlags::ORDERED,
    });
    true
}

/// What runs of a clone stays, but no more of it starts before the state on all nodes is known.
fn block_idle(world: &mut World<'_>, act: ActIx, r: ResIx) {
    for at in 0..world.child_count(r) {
        let child = world.child(r, at);
        if world[child].running_on.is_empty() {
            world.order_rules.push(OrderRule {
                first: OrderEnd::Act(act),
                then: OrderEnd::Of(child, Verb::Start),
                flags: OrderFlags::ORDERED | OrderFlags::UNRUNNABLE_FIRST_BLOCKS,
            });
        }
    }
}

/// Whether any instance's state on the node is known.
fn siblings_know(world: &World<'_>, clone: ResIx, base: &str, node: NodeIx) -> bool {
    world[clone].children.iter().any(|instance| {
        let mut parts = core::iter::once(instance).chain(&world[*instance].children);
        parts.any(|part| world[*part].base == base && world[*part].known_on.contains(node))
    })
}
