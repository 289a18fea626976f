//! Bundles: their parts are resources of their own, tied here to each other and to the nodes that the containers are.
//!
//! Invariants:
//! - a bundle is a clone whose copies are its containers, told apart by name;
//! - addresses, connections and the clone of what runs inside know their bundle, and are inside of it for orders;
//! - what runs inside has one copy per container, which can run on the node of that container and nowhere else, and
//!   nothing else can run there.

use crate::{
    model::{INFINITY, ResourceKind},
    world::{Cell, Discovery, NodeIx, Replica, ResIx, World},
};

pub(super) fn link(world: &mut World<'_>) {
    let model = world.model;
    for resource in model.resources.iter() {
        let ResourceKind::Bundle(bundle) = &resource.kind else { continue };
        let Some(r) = world.named(&resource.id) else { continue };
        let inner = bundle.inner.as_deref().and_then(|name| world.named(name));
        world[r].inner_clone = inner;
        if let Some(inner) = inner {
            world[inner].bundle = Some(r);
        }
        for (at, part) in bundle.parts.iter().enumerate() {
            let find = |name: &Option<alloc::string::String>| {
                name.as_deref().and_then(|name| world.named(name))
            };
            let (address, connection) = (find(&part.address), find(&part.connection));
            let container = world.child(r, at);
            let child = inner.and_then(|inner| world[inner].children.get(at).copied());
            for part in [address, connection].into_iter().flatten() {
                world[part].bundle = Some(r);
            }
            world[r].replicas.push(Replica { container, address, connection, child });
        }
    }
}

/// Once connections know their nodes.
pub(super) fn bind(world: &mut World<'_>) {
    for r in (0..world.res.len()).map(ResIx::at) {
        for at in 0..world[r].replicas.len() {
            let replica = world[r].replicas[at];
            let node = replica.connection.and_then(|connection| world[connection].connects);
            let Some(node) = node else { continue };
            for other in (0..world.res.len()).map(ResIx::at) {
                let cell = &mut world[other].allowed[node.ix()];
                cell.score = -INFINITY;
                cell.discovery = Discovery::Never;
            }
            if let (Some(child), Some(inner)) = (replica.child, world[r].inner_clone) {
                bind_child(world, child, node);
                world[inner].allowed[node.ix()].present = true;
            }
        }
    }
}

fn bind_child(world: &mut World<'_>, child: ResIx, node: NodeIx) {
    world[child].exclusive_discovery = true;
    world[child].allowed.fill(Cell::default());
    world[child].allowed[node.ix()] =
        Cell { score: 500, present: true, discovery: Discovery::Exclusive, count: 0 };
}

/// The copy of what runs inside that belongs to a node.
pub(super) fn child_on(world: &World<'_>, clone: ResIx, node: NodeIx) -> Option<ResIx> {
    let bundle = world[clone].bundle?;
    let connection = world[node].connection?;
    let of = |replica: &&Replica| replica.connection == Some(connection);
    world[bundle].replicas.iter().find(of)?.child
}
