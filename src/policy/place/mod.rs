//! Stage 3: each resource chooses its node, those it depends on first.

mod bundle;
mod clone;
mod colocate;
pub(crate) mod connection;
mod group;
mod numbers;
mod primitive;
mod promotable;
mod ring;
mod ties;
mod utilization;

pub(crate) use clone::{compatible_instance, inhibit};
pub(crate) use primitive::assign_node;
pub(crate) use ties::with_this;

use crate::{
    model::Role,
    plan::Stage,
    unpack::can_fence,
    world::{NodeIx, NodeState, ResIx, ScoreNote, Variant, World},
};

pub(crate) fn run(world: &mut World<'_>) {
    // only connections change it, when they are placed
    world.usable = world.nodes.iter().map(NodeState::is_available).collect();
    utilization::order_resources(world);
    for at in 0..world.top.len() {
        let r = world.top[at];
        if world[r].is_connection && world[r].bundle.is_none() {
            // what is under way to a host goes on to it, or all that runs behind it would have to stop
            let target = world[r].partial.map(|way| way.target);
            place(world, r, target, true);
        }
    }
    // in order of priority, as the unpack stage has sorted them
    for at in 0..world.top.len() {
        let r = world.top[at];
        place(world, r, None, true);
    }
    ring::close(world);
}

/// Chooses nodes for a resource and all inside it; the node if it has one of its own.
pub(crate) fn place(
    world: &mut World<'_>,
    r: ResIx,
    prefer: Option<NodeIx>,
    stop_if_fail: bool,
) -> Option<NodeIx> {
    match world[r].variant {
        Variant::Primitive => primitive::place(world, r, prefer, stop_if_fail),
        Variant::Group => group::place(world, r, prefer, stop_if_fail),
        Variant::Clone => {
            clone::place(world, r, prefer, stop_if_fail);
            None
        }
    }
}

/// What is inside something that is still to be placed is placed with all of that.
fn placed_with_parent(
    world: &mut World<'_>,
    r: ResIx,
    prefer: Option<NodeIx>,
    stop_if_fail: bool,
) -> bool {
    let open = |parent: &ResIx| !world[*parent].placing && world[*parent].unplaced;
    let parent = world[r].parent.filter(open);
    if let Some(parent) = parent {
        place(world, parent, prefer, stop_if_fail);
    }
    parent.is_some()
}

pub(crate) fn note_scores(world: &mut World<'_>, r: ResIx, stage: Stage) {
    if !world.explains {
        return;
    }
    for at in 0..world.nodes.len() {
        let cell = world[r].allowed[at];
        if cell.present {
            let node = NodeIx::at(at);
            world.scores.push(ScoreNote { stage, resource: r, node, score: cell.score });
        }
    }
}

/// The node of a resource, now or next. Of a group that of its first member that has one.
pub(crate) fn location(world: &World<'_>, r: ResIx, current: bool) -> Option<NodeIx> {
    let res = &world[r];
    match res.variant {
        Variant::Primitive if current => res.current_node(),
        Variant::Primitive => res.node,
        _ => res.children.iter().find_map(|child| location(world, *child, current)),
    }
}

/// The highest role of a resource, now or next.
pub(crate) fn role_of(world: &World<'_>, r: ResIx, current: bool) -> Role {
    let res = &world[r];
    match res.variant {
        Variant::Primitive if current => res.role,
        Variant::Primitive => res.next_role,
        _ => res
            .children
            .iter()
            .map(|child| role_of(world, *child, current))
            .max()
            .unwrap_or(Role::Unknown),
    }
}

impl World<'_> {
    /// Whether what runs on a node stays there as it is: nobody can stop or demote it, and no fencing settles it.
    pub(crate) fn is_stuck(&self, r: ResIx, node: NodeIx) -> bool {
        let state = &self[node];
        let settled = state.unclean && can_fence(self, node);
        !settled && (!state.online || state.pending || !self[r].managed)
    }
}
