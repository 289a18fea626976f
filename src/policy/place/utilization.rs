//! Room on nodes: what resources take of capacities, and how load is spread over nodes that are otherwise equal.
//!
//! Invariants: without a placement strategy capacities say nothing. A node's capacity is what is left of it: taken when
//! a resource is placed and given back when it is taken away again. What must run together is asked for together, as
//! long as some node has room for all of it.

use alloc::{collections::BTreeMap, vec::Vec};
use core::cmp::Ordering;

use crate::{
    model::INFINITY,
    unpack::Strategy,
    world::{Cell, NodeIx, Nodes as _, ResIx, Source, Variant, World},
};

use super::{
    colocate::{binds_place, worth_with_primaries},
    ties::{this_with, with_this},
};

/// What is taken, by name of the capacity.
type Demand<'m> = BTreeMap<&'m str, i64>;

pub(super) fn take(world: &mut World<'_>, r: ResIx, node: NodeIx) {
    world[r].node = Some(node);
    world[node].placed += 1;
    change(world, r, node, -1);
}

pub(super) fn release(world: &mut World<'_>, r: ResIx) {
    if let Some(node) = world[r].node.take() {
        world[node].placed = world[node].placed.saturating_sub(1);
        change(world, r, node, 1);
    }
}

fn change(world: &mut World<'_>, r: ResIx, node: NodeIx, sign: i64) {
    let state = &mut world.nodes[node.ix()];
    for (name, amount) in &world.res[r.ix()].utilization {
        // what a node does not have it does not lose
        if let Some(left) = state.capacity.get_mut(name) {
            *left = left.saturating_add(amount.saturating_mul(sign));
        }
    }
}

/// Which of two nodes is the better one where scores are equal.
pub(super) fn by_load(world: &World<'_>, a: NodeIx, b: NodeIx, active: Option<NodeIx>) -> Ordering {
    let strategy = world.opts.strategy;
    let by_number = || {
        let key = |node: NodeIx| (world[node].placed, active != Some(node));
        key(a).cmp(&key(b))
    };
    let load = match strategy {
        Strategy::Minimal => Ordering::Equal,
        Strategy::Balanced => by_capacity(world, a, b).then_with(by_number),
        Strategy::Default | Strategy::Utilization => by_number(),
    };
    load.then_with(|| world[a].name().cmp(world[b].name()))
}

/// The node that has more left of more capacities comes first.
fn by_capacity(world: &World<'_>, a: NodeIx, b: NodeIx) -> Ordering {
    let (a, b) = (&world[a].capacity, &world[b].capacity);
    let left = |table: &Demand<'_>, name: &str| table.get(name).copied().unwrap_or(0);
    let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
    let vote = |name: &&str| match left(a, name).cmp(&left(b, name)) {
        Ordering::Less => 1_i64,
        Ordering::Equal => 0,
        Ordering::Greater => -1,
    };
    names.map(vote).sum::<i64>().cmp(&0)
}

fn has_room(world: &World<'_>, node: NodeIx, demand: &Demand<'_>) -> bool {
    let left = |name: &str| world[node].capacity.get(name).copied().unwrap_or(0);
    demand.iter().all(|(name, amount)| *amount <= left(name))
}

/// Of equals in priority those that have most to lose choose first: by what the node is worth where they run, then by
/// what the nodes are worth, best node first.
pub(super) fn order_resources(world: &mut World<'_>) {
    if world.opts.strategy == Strategy::Default {
        return;
    }
    let mut nodes: Vec<NodeIx> = world.node_ids().collect();
    nodes.sort_by(|a, b| {
        let score = |node: NodeIx| {
            if world.usable[node.ix()] { world[node].score } else { -INFINITY }
        };
        score(*b).cmp(&score(*a)).then_with(|| by_load(world, *a, *b, None))
    });
    let top = core::mem::take(&mut world.top);
    let mut keyed: Vec<(ResIx, i32, i32, Vec<i32>)> = Vec::new();
    for r in top {
        let table = worth_with_primaries(world, r);
        let worth = |node: NodeIx| {
            let cell: Cell = table[node.ix()];
            if cell.present { cell.score } else { -INFINITY }
        };
        let here = world[r].current_node().map_or(-INFINITY, worth);
        let all = nodes.iter().map(|node| worth(*node)).collect();
        keyed.push((r, world[r].priority, here, all));
    }
    keyed.sort_by(|(_, ap, ah, aw), (_, bp, bh, bw)| {
        bp.cmp(ap).then(bh.cmp(ah)).then_with(|| bw.cmp(aw))
    });
    world.top = keyed.into_iter().map(|(r, ..)| r).collect();
}

/// Bans a resource from nodes that have no room for it and all that must run beside it. Where no node has room for all,
/// only what it takes itself counts, and the node with most left is preferred.
pub(super) fn keep_room(world: &mut World<'_>, r: ResIx) -> Option<NodeIx> {
    if world.opts.strategy == Strategy::Default {
        return None;
    }
    let mut together = Vec::new();
    gather(world, r, r, &mut together);
    let mut all = Demand::new();
    for part in &together {
        if world[*part].unplaced {
            add_demand(world, *part, &together, &mut all);
        }
    }
    let candidates: Vec<NodeIx> = world
        .node_ids()
        .filter(|node| {
            let cell = world[r].allowed[node.ix()];
            cell.present && cell.score >= 0 && world.available(*node)
        })
        .collect();
    let fits = candidates.iter().any(|node| has_room(world, *node, &all));
    let mut roomiest: Option<NodeIx> = None;
    if !fits {
        all = world[r].utilization.clone();
        for node in &candidates {
            if roomiest.is_none_or(|best| by_capacity(world, *node, best).is_lt()) {
                roomiest = Some(*node);
            }
        }
    }
    for node in candidates {
        if !has_room(world, node, &all) {
            world.add_location(r, Some(node), -INFINITY, Source::Capacity);
        }
    }
    roomiest
}

/// Everything that must run where `r` runs.
fn gather(world: &World<'_>, r: ResIx, origin: ResIx, found: &mut Vec<ResIx>) {
    if found.contains(&r) {
        return;
    }
    found.push(r);
    if world[r].variant == Variant::Group {
        for member in &world[r].children {
            gather(world, *member, origin, found);
        }
        return;
    }
    for at in this_with(world, r) {
        let primary = world[at].primary;
        if primary != origin && binds_place(world, r, primary, at) {
            gather(world, primary, origin, found);
        }
    }
    for at in with_this(world, r) {
        let dependent = world[at].dependent;
        // beside which copy something will run is not known
        let uncertain = world[r].is_clone() && !world[dependent].is_clone();
        if dependent != origin && !uncertain && binds_place(world, dependent, r, at) {
            gather(world, dependent, origin, found);
        }
    }
}

/// Adds what a resource takes, as far as it is to be placed and does not stand for itself in the list.
fn add_demand<'m>(world: &World<'m>, r: ResIx, together: &[ResIx], sum: &mut Demand<'m>) {
    let res = &world[r];
    if !res.unplaced {
        return;
    }
    match res.variant {
        Variant::Primitive => {
            for (name, amount) in &res.utilization {
                *sum.entry(name).or_default() += amount;
            }
        }
        Variant::Group => {
            for member in res.children.iter().filter(|member| !together.contains(member)) {
                add_demand(world, *member, together, sum);
            }
        }
        Variant::Clone => {
            let listed = |r: &ResIx| together.contains(r);
            let counts = |child: &ResIx| listed(child) || world[*child].children.iter().any(listed);
            if let Some(first) = res.children.first().filter(|_| !res.children.iter().any(counts)) {
                add_demand(world, *first, together, sum);
            }
        }
    }
}
