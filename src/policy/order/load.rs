//! Room is made on a node before it is taken: what takes of a node's capacities comes after the stops that free them.
//!
//! Invariants: binds only what has a demand, only on one node, and gives way to every other order.

use alloc::{collections::BTreeMap, format};

use crate::{
    unpack::Strategy,
    world::{ActIx, NodeIx, OrderFlags, Verb, World},
};

pub(super) fn run(world: &mut World<'_>) {
    if world.opts.strategy == Strategy::Default {
        return;
    }
    let mut freed: BTreeMap<NodeIx, ActIx> = BTreeMap::new();
    for at in (0..world.acts.len()).map(ActIx::at) {
        if let (Verb::Stop, Some(node)) = (world[at].verb, loaded(world, at)) {
            let point = match freed.get(&node) {
                Some(point) => *point,
                None => {
                    let point = world.new_sync(format!("load_stopped_{}", world[node].name()));
                    world[point].clear(crate::world::ActFlags::OPTIONAL);
                    freed.insert(node, point);
                    point
                }
            };
            world.order(at, point, OrderFlags::ORDERED | OrderFlags::CONFIGURED);
        }
    }
    for at in (0..world.acts.len()).map(ActIx::at) {
        let takes = matches!(world[at].verb, Verb::Start | Verb::MigrateTo);
        if let Some(point) = loaded(world, at).filter(|_| takes).and_then(|node| freed.get(&node)) {
            world.order(*point, at, OrderFlags::ORDERED | OrderFlags::CONFIGURED);
        }
    }
}

/// The node whose load an action changes.
fn loaded(world: &World<'_>, at: ActIx) -> Option<NodeIx> {
    let r = world[at].res.filter(|r| !world[*r].utilization.is_empty())?;
    match world[at].verb {
        // what counts is where it arrives
        Verb::MigrateTo => world[r].node,
        _ => world[at].node,
    }
}
