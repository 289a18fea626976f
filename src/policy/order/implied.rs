//! Rules that follow from what resources are: stop before start, members in sequence, instances inside their clone.

use crate::{
    model::{INFINITY, Role},
    place::connection::{avoid_remote_nodes, only},
    unpack::push_colocation,
    world::{Coloc, OrderEnd, OrderFlags, OrderRule, Requires, ResIx, Variant, Verb, World},
};

const NONE: OrderFlags = OrderFlags::ORDERED;

pub(super) fn run(world: &mut World<'_>) {
    for at in 0..world.top.len() {
        let r = world.top[at];
        imply(world, r);
    }
}

fn imply(world: &mut World<'_>, r: ResIx) {
    match world[r].variant {
        Variant::Primitive => primitive(world, r),
        Variant::Group => group(world, r),
        Variant::Clone => clone(world, r),
    }
}

fn rule(world: &mut World<'_>, first: (ResIx, Verb), then: (ResIx, Verb), flags: OrderFlags) {
    world.order_rules.push(OrderRule {
        first: OrderEnd::Of(first.0, first.1),
        then: OrderEnd::Of(then.0, then.1),
        flags,
    });
}

fn primitive(world: &mut World<'_>, r: ResIx) {
    if !world[r].managed {
        return;
    }
    let restart =
        OrderFlags::ORDERED | OrderFlags::FIRST_IMPLIES_THEN | OrderFlags::INTERMEDIATE_STOP;
    rule(world, (r, Verb::Stop), (r, Verb::Start), restart);
    let top = world.top_of(r);
    if world[top].promotable || world[r].role > Role::Unpromoted {
        rule(world, (r, Verb::Demote), (r, Verb::Stop), OrderFlags::PROMOTED_THEN_IMPLIES_FIRST);
        rule(world, (r, Verb::Start), (r, Verb::Promote), OrderFlags::UNRUNNABLE_FIRST_BLOCKS);
    }
    inside_container(world, r);
    if world[r].is_connection || world[r].fencing_device {
        avoid_remote_nodes(world, r);
    }
    if world[r].requires == Requires::Unfencing
        && !world[r].fencing_device
        && world.unfencing_enabled
    {
        for node in world.node_ids() {
            if !world[r].allowed[node.ix()].present || !world[node].online || world[node].ping {
                continue;
            }
            let unfence = crate::act::fence_action(world, node, Verb::Unfence, true);
            world.order_rules.push(OrderRule {
                first: OrderEnd::Of(r, Verb::Stop),
                then: OrderEnd::Act(unfence),
                flags: OrderFlags::ORDERED | OrderFlags::SAME_NODE,
            });
            world.order_rules.push(OrderRule {
                first: OrderEnd::Act(unfence),
                then: OrderEnd::Of(r, Verb::Start),
                flags: OrderFlags::FIRST_IMPLIES_SAME_NODE_THEN | OrderFlags::SAME_NODE,
            });
        }
    }
}

/// What is inside a container starts and stops with it, and is where it is; or on the node that it is.
fn inside_container(world: &mut World<'_>, r: ResIx) {
    let Some(container) = world[r].container else { return };
    let node = if world[r].is_connection {
        if world[r].bundle.is_none() {
            avoid_remote_nodes(world, container);
        }
        rule(world, (container, Verb::Probe), (r, Verb::Stop), NONE);
        None
    } else if world[container].is_connection {
        Some(container)
    } else {
        world.guest_in(container)
    };
    if let Some(node) = node {
        only(world, r, |connection| connection == Some(node));
        return;
    }
    let up = OrderFlags::FIRST_IMPLIES_THEN | OrderFlags::UNRUNNABLE_FIRST_BLOCKS;
    rule(world, (container, Verb::Start), (r, Verb::Start), up);
    rule(world, (r, Verb::Stop), (container, Verb::Stop), OrderFlags::THEN_IMPLIES_FIRST);
    push_colocation(
        world,
        Coloc {
            id: "container",
            dependent: r,
            primary: container,
            // a bundle may reach its container from another host
            score: if world[r].bundle.is_some() { 10_000 } else { INFINITY },
            dependent_role: None,
            primary_role: None,
            attribute: None,
            influence: true,
            explicit: false,
        },
    );
}

fn group(world: &mut World<'_>, r: ResIx) {
    rule(world, (r, Verb::Stop), (r, Verb::Stopped), OrderFlags::UNRUNNABLE_FIRST_BLOCKS);
    rule(world, (r, Verb::Stopped), (r, Verb::Start), NONE);
    rule(world, (r, Verb::Start), (r, Verb::Started), OrderFlags::UNRUNNABLE_FIRST_BLOCKS);
    let promotable = world[world.top_of(r)].promotable;
    let ordered = world[r].ordered;
    let complete = OrderFlags::UNRUNNABLE_FIRST_BLOCKS
        | OrderFlags::FIRST_IMPLIES_THEN
        | OrderFlags::FIRST_IMPLIES_THEN_KEPT;
    let block = OrderFlags::FIRST_IMPLIES_THEN | OrderFlags::UNRUNNABLE_FIRST_BLOCKS;
    let mut previous: Option<ResIx> = None;
    let mut last_active: Option<ResIx> = None;
    for at in 0..world.child_count(r) {
        let m = world.child(r, at);
        imply(world, m);
        let mut down = OrderFlags::THEN_IMPLIES_FIRST_KEPT;
        let mut post_down = OrderFlags::FIRST_IMPLIES_THEN_KEPT;
        match previous {
            None if ordered => {
                down |= OrderFlags::ORDERED;
                post_down |= OrderFlags::FIRST_IMPLIES_THEN;
            }
            None => {}
            Some(previous) => {
                let influence = world[m].critical;
                push_colocation(
                    world,
                    Coloc {
                        id: "group",
                        dependent: m,
                        primary: previous,
                        score: INFINITY,
                        dependent_role: None,
                        primary_role: None,
                        attribute: None,
                        influence,
                        explicit: false,
                    },
                );
            }
        }
        if promotable {
            rule(world, (r, Verb::Demote), (m, Verb::Demote), down);
            rule(world, (m, Verb::Demote), (r, Verb::Demoted), post_down);
            rule(world, (m, Verb::Promote), (r, Verb::Promoted), complete);
            rule(
                world,
                (r, Verb::Promote),
                (m, Verb::Promote),
                OrderFlags::THEN_IMPLIES_FIRST_KEPT,
            );
        }
        rule(world, (r, Verb::Stop), (m, Verb::Stop), down);
        rule(world, (m, Verb::Stop), (r, Verb::Stopped), post_down);
        rule(world, (m, Verb::Start), (r, Verb::Started), complete);
        if !ordered {
            let flags = block | OrderFlags::THEN_IMPLIES_FIRST_KEPT;
            rule(world, (r, Verb::Start), (m, Verb::Start), flags);
            if promotable {
                rule(world, (r, Verb::Promote), (m, Verb::Promote), flags);
            }
        } else if let Some(previous) = previous {
            rule(world, (previous, Verb::Start), (m, Verb::Start), block);
            let stop = OrderFlags::ORDERED | OrderFlags::INTERMEDIATE_STOP;
            rule(world, (m, Verb::Stop), (previous, Verb::Stop), stop);
            // a new member in the middle starts after the later ones stopped
            if !world[m].running_on.is_empty() && world[previous].running_on.is_empty() {
                let flags = OrderFlags::THEN_IMPLIES_FIRST | OrderFlags::UNRUNNABLE_FIRST_BLOCKS;
                rule(world, (m, Verb::Stop), (previous, Verb::Start), flags);
            }
            if promotable {
                rule(world, (previous, Verb::Promote), (m, Verb::Promote), block);
                rule(world, (m, Verb::Demote), (previous, Verb::Demote), NONE);
            }
        } else {
            rule(
                world,
                (r, Verb::Start),
                (m, Verb::Start),
                NONE | OrderFlags::THEN_IMPLIES_FIRST_KEPT,
            );
            if promotable {
                rule(world, (r, Verb::Promote), (m, Verb::Promote), NONE);
            }
        }
        if !world[m].running_on.is_empty() {
            if let (Some(previous), Some(last)) = (previous, last_active)
                && ordered
                && world[previous].running_on.is_empty()
            {
                rule(world, (m, Verb::Stop), (last, Verb::Stop), NONE);
            }
            last_active = Some(m);
        }
        previous = Some(m);
    }
}

/// All of a bundle begins and ends with it: addresses before containers, containers before what runs inside.
fn bundle(world: &mut World<'_>, r: ResIx) {
    let (before, after) =
        (OrderFlags::THEN_IMPLIES_FIRST_KEPT, OrderFlags::FIRST_IMPLIES_THEN_KEPT);
    if let Some(inner) = world[r].inner_clone {
        for (begin, done) in [(Verb::Start, Verb::Started), (Verb::Stop, Verb::Stopped)] {
            rule(world, (r, begin), (inner, begin), before);
            rule(world, (inner, done), (r, done), after);
        }
    }
    for at in 0..world[r].replicas.len() {
        let replica = world[r].replicas[at];
        if let Some(child) = replica.child {
            rule(world, (r, Verb::Stop), (child, Verb::Stop), before);
        }
        let Some(address) = replica.address else { continue };
        let container = replica.container;
        let blocks = OrderFlags::UNRUNNABLE_FIRST_BLOCKS;
        rule(world, (address, Verb::Start), (container, Verb::Start), blocks);
        let implies = OrderFlags::THEN_IMPLIES_FIRST;
        rule(world, (container, Verb::Stop), (address, Verb::Stop), implies);
        push_colocation(
            world,
            Coloc {
                id: "address with container",
                dependent: address,
                primary: container,
                score: INFINITY,
                dependent_role: None,
                primary_role: None,
                attribute: None,
                influence: true,
                explicit: false,
            },
        );
    }
}

fn clone(world: &mut World<'_>, r: ResIx) {
    bundle(world, r);
    let blocks = OrderFlags::UNRUNNABLE_FIRST_BLOCKS;
    rule(world, (r, Verb::Stopped), (r, Verb::Start), NONE);
    rule(world, (r, Verb::Start), (r, Verb::Started), blocks);
    rule(world, (r, Verb::Stop), (r, Verb::Stopped), blocks);
    let promotable = world[r].promotable;
    if promotable {
        rule(world, (r, Verb::Demoted), (r, Verb::Stop), NONE);
        rule(world, (r, Verb::Started), (r, Verb::Promote), blocks);
        rule(world, (r, Verb::Stopped), (r, Verb::Promote), NONE);
        rule(world, (r, Verb::Demoted), (r, Verb::Start), NONE);
        rule(world, (r, Verb::Demoted), (r, Verb::Promote), NONE);
        rule(world, (r, Verb::Promote), (r, Verb::Promoted), blocks);
        rule(world, (r, Verb::Demote), (r, Verb::Demoted), NONE);
    }
    let ordered = world[r].ordered;
    let mut children = world[r].children.clone();
    if ordered {
        children.sort_by_key(|child| world[*child].number);
    }
    let mut previous: Option<ResIx> = None;
    for child in children {
        imply(world, child);
        rule(
            world,
            (r, Verb::Start),
            (child, Verb::Start),
            blocks | OrderFlags::THEN_IMPLIES_FIRST_KEPT,
        );
        rule(world, (child, Verb::Start), (r, Verb::Started), OrderFlags::FIRST_IMPLIES_THEN_KEPT);
        rule(world, (r, Verb::Stop), (child, Verb::Stop), OrderFlags::THEN_IMPLIES_FIRST_KEPT);
        rule(world, (child, Verb::Stop), (r, Verb::Stopped), OrderFlags::FIRST_IMPLIES_THEN_KEPT);
        if promotable {
            rule(
                world,
                (r, Verb::Promote),
                (child, Verb::Promote),
                OrderFlags::THEN_IMPLIES_FIRST_KEPT,
            );
            rule(
                world,
                (child, Verb::Promote),
                (r, Verb::Promoted),
                OrderFlags::FIRST_IMPLIES_THEN_KEPT,
            );
            rule(
                world,
                (r, Verb::Demote),
                (child, Verb::Demote),
                OrderFlags::THEN_IMPLIES_FIRST_KEPT,
            );
            rule(
                world,
                (child, Verb::Demote),
                (r, Verb::Demoted),
                OrderFlags::FIRST_IMPLIES_THEN_KEPT,
            );
        }
        if let Some(previous) = previous.filter(|_| ordered) {
            rule(world, (previous, Verb::Start), (child, Verb::Start), NONE);
            rule(world, (child, Verb::Stop), (previous, Verb::Stop), NONE);
            if promotable {
                rule(world, (previous, Verb::Promote), (child, Verb::Promote), NONE);
                rule(world, (child, Verb::Demote), (previous, Verb::Demote), NONE);
            }
        }
        previous = Some(child);
    }
}
