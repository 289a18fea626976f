//! A group chooses its node through its first member; the others follow.

use crate::{
    plan::Stage,
    world::{NodeIx, ResIx, World},
};

use super::{note_scores, place as place_any, placed_with_parent};

pub(super) fn place(
    world: &mut World<'_>,
    r: ResIx,
    prefer: Option<NodeIx>,
    stop_if_fail: bool,
) -> Option<NodeIx> {
    if placed_with_parent(world, r, prefer, stop_if_fail) || !world[r].unplaced {
        return super::location(world, r, false);
    }
    if world[r].placing {
        // asked in a ring of colocations: only of members that are not managed the place is known
        for at in 0..world.child_count(r) {
            let member = world.child(r, at);
            if !world[member].managed {
                place_any(world, member, prefer, stop_if_fail);
            }
        }
        return super::location(world, r, false);
    }
    let Some(first) = world[r].children.first().copied() else {
        world[r].unplaced = false;
        return None;
    };
    world[r].placing = true;
    world[r].role = world[first].role;
    note_scores(world, r, Stage::Group);
    let mut chosen = None;
    for at in 0..world.child_count(r) {
        let child = world.child(r, at);
        let node = place_any(world, child, prefer, stop_if_fail);
        chosen = chosen.or(node);
    }
    world[r].next_role = world[first].next_role;
    world[r].placing = false;
    world[r].unplaced = false;
    chosen
}
