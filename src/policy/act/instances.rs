//! Ordering points of groups and clones, around the actions of what is inside.

use crate::world::{ActFlags, ResIx, Verb, World};

use super::create_actions;

pub(super) fn create_group(world: &mut World<'_>, r: ResIx) {
    for at in 0..world.child_count(r) {
        let child = world.child(r, at);
        create_actions(world, child);
    }
    // without members that do it there is nothing to begin; whether it can run is asked of the members
    let start = world.pseudo_act(r, Verb::Start, true, true);
    world[start].set(ActFlags::RUNNABLE);
    world.pseudo_act(r, Verb::Started, true, true);
    world.pseudo_act(r, Verb::Stop, true, true);
    world.pseudo_act(r, Verb::Stopped, true, true);
    let top = world.top_of(r);
    if world[top].promotable {
        for verb in [Verb::Demote, Verb::Demoted, Verb::Promote, Verb::Promoted] {
            world.pseudo_act(r, verb, true, true);
        }
    }
}

#[derive(Default)]
struct Seen {
    active: bool,
    starting: bool,
    stopping: bool,
    promoting: bool,
    demoting: bool,
}

pub(super) fn create_clone(world: &mut World<'_>, r: ResIx) {
    let mut seen = Seen::default();
    for at in 0..world.child_count(r) {
        let child = world.child(r, at);
        create_actions(world, child);
        look(world, child, &mut seen);
    }
    world.pseudo_act(r, Verb::Start, !seen.starting, true);
    let alive = seen.active || seen.starting;
    world.pseudo_act(r, Verb::Started, !seen.starting, alive);
    world.pseudo_act(r, Verb::Stop, !seen.stopping, true);
    world.pseudo_act(r, Verb::Stopped, !seen.stopping, true);
    if world[r].promotable {
        world.pseudo_act(r, Verb::Promote, !seen.promoting, true);
        world.pseudo_act(r, Verb::Promoted, !seen.promoting, true);
        world.pseudo_act(r, Verb::Demote, !seen.demoting, true);
        world.pseudo_act(r, Verb::Demoted, !seen.demoting, true);
    }
}

fn look(world: &World<'_>, r: ResIx, seen: &mut Seen) {
    if !world[r].children.is_empty() {
        for child in &world[r].children {
            look(world, *child, seen);
        }
        return;
    }
    seen.active |= !world[r].running_on.is_empty();
    for at in &world[r].acts {
        let act = &world[*at];
        let happens = !act.optional() && (act.runnable() || act.pseudo());
        match act.verb {
            Verb::Start => seen.starting |= happens && act.runnable(),
            Verb::Stop => seen.stopping |= happens,
            Verb::Promote => seen.promoting |= !act.optional(),
            Verb::Demote => seen.demoting |= !act.optional(),
            _ => {}
        }
    }
}
