//! Stage 4: the actions that lead from the present roles and places to the chosen ones.

mod cancel;
mod connection;
mod create;
mod fencing;
mod instances;
mod migration;
mod notify;
mod primitive;
mod probe;
mod recurring;

pub(crate) use create::{actions_of, first_action};
pub(crate) use fencing::fence_action;
pub(crate) use notify::run as notify;

use crate::world::{ResIx, Variant, World};

/// What history demands of actions before places are chosen.
pub(crate) fn review_history(world: &mut World<'_>) {
    cancel::review(world);
}

pub(crate) fn run(world: &mut World<'_>) {
    if world.opts.probes {
        probe::run(world);
    }
    for at in 0..world.top.len() {
        let r = world.top[at];
        create_actions(world, r);
    }
    connection::run(world);
    fencing::run(world);
}

fn create_actions(world: &mut World<'_>, r: ResIx) {
    match world[r].variant {
        Variant::Primitive => primitive::create_actions(world, r),
        Variant::Group => instances::create_group(world, r),
        Variant::Clone => instances::create_clone(world, r),
    }
}
