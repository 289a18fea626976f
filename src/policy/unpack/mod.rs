//! Stage 1: names become handles, options become values, history becomes state, constraints become rules.

mod active;
pub(crate) mod bundles;
mod constraints;
mod definition;
mod failures;
mod find;
mod history;
mod migration;
mod nodes;
mod operations;
mod orders;
mod pattern;
mod properties;
mod remote;
mod resources;
mod rules;
mod tickets;

pub(crate) use constraints::push_colocation;
pub(crate) use definition::{operation_parameters, parameters_differ};
pub(crate) use failures::{any_failures, fail_count, strip_instance, threshold_reached};
pub(crate) use history::target_role;
pub(crate) use nodes::{can_fence, mark_for_fencing};
pub(crate) use operations::{Operations, active_span, sorted_operations};
pub(crate) use properties::{HealthStrategy, Properties, QuorumPolicy, Strategy};
pub(crate) use remote::was_fenced;
pub(crate) use resources::{find_operation, operation_meta};

use crate::{Detail, Error, memory::Memory, model::Model, world::World};

pub(crate) fn run<'m>(
    model: &'m Model,
    detail: Detail,
    memory: &mut Memory,
) -> Result<World<'m>, Error> {
    let mut world = World::new(model, Properties::read(model));
    world.explains = detail == Detail::Reasons;
    world.digests = core::mem::take(&mut memory.digests).into();
    nodes::read(&mut world);
    resources::read(&mut world);
    bundles::link(&mut world);
    remote::link(&mut world)?;
    bundles::bind(&mut world);
    nodes::judge(&mut world);
    // a start, a stop and a monitor of each
    world.acts.reserve(4 * world.res.len());
    memory.settle_layout(&world);
    history::read(&mut world, memory);
    Ok(world)
}

pub(crate) fn constrain(world: &mut World<'_>) {
    constraints::read(world);
    orders::read(world);
    tickets::read(world);
}
