//! Connections choose their node before anything else: they decide which other nodes there are to choose.

use crate::{
    model::{INFINITY, Role},
    world::{NodeIx, ResIx, Source, World},
};

/// Whether a node can be used follows from what has become of its connection.
pub(super) fn placed(world: &mut World<'_>, r: ResIx) {
    let Some(node) = world[r].connects else { return };
    let comes_up = world[r].node.is_some() && world[r].next_role != Role::Stopped;
    let state = &mut world[node];
    if comes_up {
        state.online = true;
        // that it can be connected is all that fencing could tell
        state.unclean &= !state.unseen;
    } else {
        state.shutdown = true;
    }
    world.usable[node.ix()] = world[node].is_available();
}

impl World<'_> {
    /// Where a node is as neighbours see it: of a container of a bundle that is its host.
    #[inline]
    pub(crate) fn seat(&self, node: NodeIx) -> NodeIx {
        let Some(connection) = self[node].connection else { return node };
        let container = self[connection].container.filter(|_| self[connection].bundle.is_some());
        let host = container.and_then(|at| self[at].node.or(self[at].current_node()));
        host.unwrap_or(node)
    }

    /// Whether the copies of a resource are in containers of a bundle.
    pub(crate) fn has_containers_in(&self, r: &ResIx) -> bool {
        self[self.top_of(*r)].bundle.is_some()
    }
}

/// Keeps a resource and all inside it from every node that is reached by a connection.
pub(crate) fn avoid_remote_nodes(world: &mut World<'_>, r: ResIx) {
    for at in 0..world.child_count(r) {
        let child = world.child(r, at);
        avoid_remote_nodes(world, child);
    }
    only(world, r, |connection| connection.is_none());
}

/// Keeps a resource from every node except for those with such a connection.
pub(crate) fn only(world: &mut World<'_>, r: ResIx, allowed: impl Fn(Option<ResIx>) -> bool) {
    for node in world.node_ids() {
        if world[r].allowed[node.ix()].present && !allowed(world[node].connection) {
            world[r].allowed[node.ix()].score = -INFINITY;
            let why = Source::Remote;
            world.note_reason(r, crate::world::Reason { node: Some(node), score: -INFINITY, why });
        }
    }
}
