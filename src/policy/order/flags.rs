//! What is true of an action of a group or clone follows from the actions inside.

use crate::{
    act::first_action,
    model::Role,
    place::role_of,
    world::{ActFlags, ActIx, Inner, NodeIx, ResIx, Variant, Verb, World},
};

/// The state of an action as an order sees it; of a group or clone on a node if one is given. What is inside says the
/// same as a whole until something changes.
pub(super) fn for_order(world: &mut World<'_>, act: ActIx, node: Option<NodeIx>) -> ActFlags {
    let Some(r) = world[act].res else { return world[act].flags };
    if world[r].is_primitive() {
        return world[act].flags;
    }
    let flags = match world[act].whole {
        Some((changes, flags)) if changes == world.changes => flags,
        _ => {
            let flags = of(world, r, act, None);
            world[act].whole = Some((world.changes, flags));
            flags
        }
    };
    if node.is_none() || world[r].variant != Variant::Clone {
        return flags;
    }
    let runnable = flags.has(ActFlags::RUNNABLE);
    let here = of(world, r, act, node);
    // whether it can run anywhere is what others wait for
    if runnable { here | ActFlags::RUNNABLE } else { here }
}

/// The state of an action of `r`, told by what is inside; what is learned stays with the action.
pub(super) fn of(world: &mut World<'_>, r: ResIx, act: ActIx, node: Option<NodeIx>) -> ActFlags {
    match world[r].variant {
        Variant::Primitive => world[act].flags,
        Variant::Group => of_group(world, r, act, node),
        Variant::Clone => of_clone(world, r, act, node),
    }
}

/// Lists the actions of instances, of which every order with their clone asks again. From here on none is added, and
/// none changes its node.
pub(super) fn list_inner(world: &mut World<'_>) {
    for at in 0..world.top.len() {
        let clone = world.top[at];
        let children = &world[clone].children;
        if !world[clone].is_clone() || children.iter().any(|child| !world[*child].is_primitive()) {
            continue;
        }
        let listed = [Verb::Start, Verb::Stop, Verb::Promote, Verb::Demote]
            .map(|verb| (verb, Inner::list(world, clone, verb)));
        world[clone].inner = listed.into();
    }
}

impl Inner {
    fn list(world: &World<'_>, clone: ResIx, verb: Verb) -> Self {
        let mut inner = Self::default();
        for child in &world[clone].children {
            let all = || world[*child].acts.iter().filter(|act| world[**act].verb == verb);
            inner.first.extend(all().next().map(|act| (*child, *act)));
            inner
                .loose
                .extend(all().find(|act| world[**act].node.is_none()).map(|act| (*child, *act)));
            inner.placed.extend(all().filter_map(|act| Some((world[*act].node?, *child, *act))));
        }
        // of several of one instance on one node the first counts
        inner.placed.sort_by_key(|(node, child, _)| (*node, *child));
        inner.placed.dedup_by_key(|(node, child, _)| (*node, *child));
        inner
    }

    /// Of each instance the action on the node, or failing that one that has no node yet; on any node if none is given.
    fn on(&self, node: Option<NodeIx>) -> impl Iterator<Item = (ResIx, ActIx)> {
        let here = match node {
            None => &[],
            Some(node) => {
                let from = self.placed.partition_point(|(at, ..)| *at < node);
                let here = &self.placed[from..];
                &here[..here.partition_point(|(at, ..)| *at == node)]
            }
        };
        let elsewhere = if node.is_none() { &self.first } else { &self.loose };
        let elsewhere = elsewhere.iter().filter(|(r, _)| !here.iter().any(|(_, at, _)| at == r));
        here.iter().map(|(_, r, act)| (*r, *act)).chain(elsewhere.copied())
    }
}

fn applies(verb: Verb) -> bool {
    !matches!(verb, Verb::Notify | Verb::Notified)
}

fn of_group(world: &mut World<'_>, r: ResIx, act: ActIx, node: Option<NodeIx>) -> ActFlags {
    let verb = world[act].verb;
    let mut flags = ActFlags::OPTIONAL | ActFlags::RUNNABLE | ActFlags::PSEUDO;
    if !applies(verb) {
        return world[act].flags;
    }
    let begun = verb.begun();
    for at in 0..world.child_count(r) {
        let member = world.child(r, at);
        let Some(inner) = first_action(world, member, begun, node) else {
            // what not every member does cannot be completed by the group
            if begun != Verb::Stop && begun != Verb::Demote {
                flags = flags.without(ActFlags::RUNNABLE);
            }
            continue;
        };
        let inner = world[inner].flags;
        if flags.has(ActFlags::OPTIONAL) && !inner.has(ActFlags::OPTIONAL) {
            flags = flags.without(ActFlags::OPTIONAL);
            world[act].clear(ActFlags::OPTIONAL);
        }
        if begun != verb && flags.has(ActFlags::RUNNABLE) && !inner.has(ActFlags::RUNNABLE) {
            flags = flags.without(ActFlags::RUNNABLE);
            world[act].clear(ActFlags::RUNNABLE);
        }
    }
    flags
}

fn of_clone(world: &mut World<'_>, r: ResIx, act: ActIx, node: Option<NodeIx>) -> ActFlags {
    let verb = world[act].verb;
    if !applies(verb) {
        return world[act].flags;
    }
    let begun = verb.begun();
    let mut flags = ActFlags::OPTIONAL | ActFlags::RUNNABLE | ActFlags::PSEUDO;
    let (mut any_required, mut any_runnable, mut any_due) = (false, false, false);
    let up = matches!(begun, Verb::Start | Verb::Promote);
    // a copy that does not run, has to come up and cannot changes nothing for those who have what runs
    let mut see = |world: &World<'_>, instance: ResIx, inner: ActFlags| {
        let runnable = inner.has(ActFlags::RUNNABLE) && can_begin(world, instance, begun);
        let counts = runnable || !up || role_of(world, instance, true) >= below(begun);
        any_required |= counts && !inner.has(ActFlags::OPTIONAL);
        any_runnable |= runnable;
        any_due |= is_due(world, instance, inner, begun);
    };
    match world[r].inner.get(&begun) {
        Some(inner) => {
            for (instance, act) in inner.on(node) {
                see(world, instance, world[act].flags);
            }
        }
        None => {
            for at in 0..world.child_count(r) {
                let instance = world.child(r, at);
                let place = node.filter(|_| world[instance].is_primitive());
                let Some(inner) = first_action(world, instance, begun, place) else { continue };
                let inner = of(world, instance, inner, node);
                see(world, instance, inner);
            }
        }
    }
    if any_required {
        flags = flags.without(ActFlags::OPTIONAL);
        world[act].clear(ActFlags::OPTIONAL);
        if !any_due {
            flags |= ActFlags::IN_VAIN;
        }
    }
    if !any_runnable {
        flags = flags.without(ActFlags::RUNNABLE);
        if node.is_none() {
            world[act].clear(ActFlags::RUNNABLE);
        }
    }
    flags
}

/// The least role that an action leaves or takes up.
const fn below(verb: Verb) -> Role {
    if matches!(verb, Verb::Promote) { Role::Promoted } else { Role::Started }
}

/// Whether something of a copy is required and can happen.
fn is_due(world: &World<'_>, instance: ResIx, inner: ActFlags, verb: Verb) -> bool {
    let due = |flags: ActFlags| flags.has(ActFlags::RUNNABLE) && !flags.has(ActFlags::OPTIONAL);
    if world[instance].variant != Variant::Group {
        return due(inner);
    }
    let members = world[instance].children.iter();
    members.flat_map(|m| &world[*m].acts).any(|at| world[*at].verb == verb && due(world[*at].flags))
}

/// Whether a copy can begin: of a group, whether some member can, or none has anything to do.
fn can_begin(world: &World<'_>, instance: ResIx, verb: Verb) -> bool {
    if world[instance].variant != Variant::Group || !matches!(verb, Verb::Start | Verb::Promote) {
        return true;
    }
    let members = world[instance].children.iter();
    let mut acts = members.filter_map(|m| first_action(world, *m, verb, None)).peekable();
    acts.peek().is_none() || acts.any(|act| world[act].runnable())
}
