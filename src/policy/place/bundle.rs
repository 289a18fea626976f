//! A bundle chooses hosts for its containers; everything else of it follows.

use crate::{
    model::INFINITY,
    unpack::{push_colocation, threshold_reached},
    world::{Coloc, NodeIx, Replica, ResIx, World},
};

use super::place as place_any;

/// Places all that belongs to a bundle whose containers have chosen.
pub(super) fn follow(world: &mut World<'_>, r: ResIx) {
    for at in 0..world[r].replicas.len() {
        let replica = world[r].replicas[at];
        if let Some(address) = replica.address {
            place_any(world, address, None, true);
        }
        if let Some(connection) = replica.connection {
            beside_host_connection(world, &replica, connection);
            place_any(world, connection, None, true);
            if let (Some(child), Some(node)) = (replica.child, world[connection].connects) {
                place_child(world, child, node);
            }
        }
    }
    if let Some(inner) = world[r].inner_clone {
        place_any(world, inner, None, true);
    }
}

/// Only one connection leads into a container, so where the host is a remote node itself both connections are made
/// from the same place.
fn beside_host_connection(world: &mut World<'_>, replica: &Replica, connection: ResIx) {
    let host = world[replica.container].node.and_then(|host| world[host].connection);
    let Some(primary) = host else { return };
    push_colocation(
        world,
        Coloc {
            id: "nested connection",
            dependent: connection,
            primary,
            score: INFINITY,
            dependent_role: None,
            primary_role: None,
            attribute: None,
            influence: true,
            explicit: false,
        },
    );
}

fn place_child(world: &mut World<'_>, child: ResIx, node: NodeIx) {
    let Some(clone) = world[child].parent else { return };
    if threshold_reached(world, child, node).is_none() {
        world[child].allowed[node.ix()].score = INFINITY;
    }
    world[clone].placing = true;
    place_any(world, child, Some(node), true);
    world[clone].placing = false;
}
