//! Which number goes where: copies of one clone are as good as each other, so one that runs where a copy is wanted stays.

use alloc::vec::Vec;

use crate::world::{NodeIx, ResIx, World};

use super::clone::{Saved, failed, parts, save};

/// Copies that were not kept where they run before the others chose, with what they thought of nodes by themselves.
pub(super) struct Homes(Vec<(ResIx, Saved)>);

impl Homes {
    /// Nothing is kept where none of them runs.
    pub(super) fn of(world: &World<'_>, instances: &[ResIx]) -> Self {
        if !instances.iter().any(|instance| home(world, *instance).is_some()) {
            return Self(Vec::new());
        }
        Self(instances.iter().map(|instance| (*instance, save(world, *instance))).collect())
    }

    /// Copies that run where another one was placed, and were placed elsewhere, change places with that one.
    pub(super) fn give_back(&self, world: &mut World<'_>) {
        for (instance, own) in &self.0 {
            let Some(here) = home(world, *instance) else { continue };
            let Some(to) = whole_place(world, *instance).filter(|to| *to != here) else { continue };
            if !may_be(own, here) {
                continue;
            }
            let other = self.0.iter().find(|(other, own)| {
                whole_place(world, *other) == Some(here)
                    && home(world, *other) != Some(here)
                    && may_be(own, to)
            });
            if let Some((other, _)) = other {
                move_to(world, *instance, here);
                move_to(world, *other, to);
            }
        }
    }
}

/// Where a healthy copy runs, with all of it.
fn home(world: &World<'_>, instance: ResIx) -> Option<NodeIx> {
    let mut homes = parts(world, instance).map(|part| match world[part].running_on.as_slice() {
        [node] => Some(*node),
        _ => None,
    });
    let first = homes.next()??;
    let whole = homes.all(|home| home == Some(first));
    (whole && !failed(world, instance)).then_some(first)
}

/// Where all of a copy was placed.
fn whole_place(world: &World<'_>, instance: ResIx) -> Option<NodeIx> {
    let mut places = parts(world, instance).map(|part| world[part].node);
    let first = places.next()??;
    places.all(|place| place == Some(first)).then_some(first)
}

/// Whether nothing of its own, such as a failure, keeps a copy away.
fn may_be(own: &Saved, node: NodeIx) -> bool {
    own.iter().all(|(_, cells, _)| cells[node.ix()].present && cells[node.ix()].score >= 0)
}

fn move_to(world: &mut World<'_>, instance: ResIx, node: NodeIx) {
    for part in parts(world, instance).collect::<Vec<_>>() {
        world[part].node = Some(node);
    }
}
