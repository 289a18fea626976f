//! The state before and after the plan.

use alloc::{string::String, vec::Vec};

use crate::{
    model::Role,
    plan::Placement,
    world::{NodeIx, ResIx, Verb, World},
};

use super::{
    Places,
    graph::{Graph, public_name},
};

fn primitives(world: &World<'_>) -> impl Iterator<Item = ResIx> {
    (0..world.res.len()).map(ResIx::at).filter(|r| world[*r].is_primitive())
}

fn promotable(world: &World<'_>, r: ResIx) -> bool {
    world[world.top_of(r)].promotable
}

/// The role that an active instance shows.
fn shown(world: &World<'_>, r: ResIx, role: Role) -> Role {
    match role {
        Role::Promoted => Role::Promoted,
        _ if promotable(world, r) => Role::Unpromoted,
        _ => Role::Started,
    }
}

fn collect(world: &World<'_>, places: impl Fn(ResIx) -> Vec<(NodeIx, Role)>) -> Places {
    let mut all = Places::new();
    for r in primitives(world) {
        let entry = all.entry(public_name(world, r)).or_default();
        for (node, role) in places(r) {
            entry.push(Placement {
                node: String::from(world[node].name()),
                role: shown(world, r, role),
            });
        }
        entry.sort();
    }
    all
}

pub(super) fn before(world: &World<'_>) -> Places {
    collect(world, |r| world[r].running_on.iter().map(|node| (*node, world[r].role)).collect())
}

/// What is there once every action of the plan has succeeded.
pub(super) fn after(world: &World<'_>, graph: &Graph) -> Places {
    let gone = |node: NodeIx| {
        graph.acts.iter().any(|at| {
            matches!(world[*at].verb, Verb::Fence | Verb::Shutdown) && world[*at].node == Some(node)
        })
    };
    let gone: Vec<bool> = world.node_ids().map(gone).collect();
    collect(world, |r| {
        let mut places: Vec<(NodeIx, Role)> =
            world[r].running_on.iter().map(|node| (*node, world[r].role)).collect();
        let done = |verb: Verb| {
            world[r]
                .acts
                .iter()
                .filter(move |at| world[**at].verb == verb && graph.position[at.ix()].is_some())
                .filter_map(|at| world[*at].node)
                .collect::<Vec<_>>()
        };
        for node in done(Verb::Demote) {
            for place in places.iter_mut().filter(|place| place.0 == node) {
                place.1 = Role::Unpromoted;
            }
        }
        let stopped = done(Verb::Stop);
        places.retain(|(node, _)| !stopped.contains(node) && !gone[node.ix()]);
        for node in done(Verb::Start) {
            places.retain(|place| place.0 != node);
            places.push((node, Role::Started));
        }
        for node in done(Verb::Promote) {
            for place in places.iter_mut().filter(|place| place.0 == node) {
                place.1 = Role::Promoted;
            }
        }
        places
    })
}
