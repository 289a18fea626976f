//! Where a resource is active, and what follows from that alone: what is not managed stays, what runs too often is judged
//! by `multiple-active`.

use crate::{
    model::INFINITY,
    world::{MultipleActive, NodeIx, ResIx, Source, Variant, World},
};

/// Records that a resource, and all that contains it, is active on a node.
pub(super) fn add_running(world: &mut World<'_>, r: ResIx, node: NodeIx) {
    if world[r].running_on.contains(&node) {
        return;
    }
    world[r].running_on.push(node);
    if world[r].is_primitive() {
        world[node].running.push(r);
        if world[node].maintenance {
            world[r].managed = false;
            world[r].maintenance = true;
        }
    }
    if !world[r].managed {
        world.add_location(r, Some(node), INFINITY, Source::Unmanaged);
        let mut at = world[r].parent;
        while let Some(parent) = at.filter(|_| world[node].online) {
            if !world[parent].running_on.contains(&node) {
                world[parent].running_on.push(node);
            }
            at = world[parent].parent;
        }
        return;
    }
    if world[r].variant == Variant::Primitive && world[r].running_on.len() > 1 {
        match world[r].multiple_active {
            MultipleActive::StopStart | MultipleActive::StopUnexpected => {}
            MultipleActive::StopOnly => {
                world.add_location(r, None, -INFINITY, Source::MultipleActive);
            }
            MultipleActive::Block => block(world, r),
        }
    }
    if let Some(parent) = world[r].parent {
        add_running(world, parent, node);
    }
}

fn block(world: &mut World<'_>, r: ResIx) {
    world[r].managed = false;
    world[r].blocked = true;
    let Some(parent) = world[r].parent else { return };
    if world[parent].variant == Variant::Group
        && world[parent].multiple_active == MultipleActive::Block
    {
        for at in 0..world.child_count(parent) {
            let child = world.child(parent, at);
            world[child].managed = false;
            world[child].blocked = true;
        }
    }
}
