//! Which resource a record of history is about; of anonymous clones, which instance.

use alloc::{borrow::ToOwned as _, vec::Vec};

use crate::{
    model::ResourceHistory,
    world::{NodeIx, Requires, ResIx, World},
};

use super::{failures::strip_instance, resources::add_surplus};

/// Which resource stood where in the history of the nodes read before: most nodes tell of the same ones in the same
/// order, which saves most of the searching.
#[derive(Default)]
pub(super) struct Names(Vec<Option<ResIx>>);

impl Names {
    fn find(&mut self, world: &World<'_>, at: usize, name: &str) -> Option<ResIx> {
        if let Some(r) = self.0.get(at).copied().flatten()
            && world[r].id == name
        {
            return Some(r);
        }
        let found = world.named(name);
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        self.0[at] = found;
        found
    }
}

pub(super) fn find_resource(
    world: &mut World<'_>,
    node: NodeIx,
    at: usize,
    history: &ResourceHistory,
    names: &mut Names,
    named: Option<ResIx>,
) -> Option<ResIx> {
    let name = history.resource.as_str();
    // a name that history has added may have taken the place of a configured one
    let named = named.filter(|_| !world.has_added_names());
    let mut found = named.or_else(|| names.find(world, at, name));
    if let Some(r) = found
        && !world[r].is_primitive()
    {
        return None;
    }
    if found.is_none() {
        let first = alloc::format!("{}:0", strip_instance(name));
        let candidate = world.named(&first);
        found = candidate.filter(|r| world[*r].is_primitive() && !world[*r].unique);
    }
    let r = found?;
    let top = world.top_of(r);
    let r = if world[top].bundle.is_some() && world[top].is_anonymous_clone() {
        // one copy belongs to each container
        super::bundles::child_on(world, top, node)?
    } else if world[top].is_anonymous_clone() {
        find_anonymous(world, node, top, strip_instance(name))
    } else {
        r
    };
    if named != Some(r) && world[r].id != name {
        world[r].history_name = Some(name.to_owned());
    }
    Some(r)
}

/// The member of an instance that carries this name.
fn member(world: &World<'_>, instance: ResIx, base: &str) -> Option<ResIx> {
    if world[instance].is_primitive() {
        return (world[instance].base == base).then_some(instance);
    }
    world[instance].children.iter().copied().find(|child| world[*child].base == base)
}

/// Where an instance or some member of it runs or is about to run.
fn first_location(world: &World<'_>, instance: ResIx) -> Option<NodeIx> {
    let res = &world[instance];
    if res.is_primitive() {
        return res.running_on.first().copied().or(res.pending_on);
    }
    res.children.iter().find_map(|child| first_location(world, *child))
}

fn find_anonymous(world: &mut World<'_>, node: NodeIx, clone: ResIx, base: &str) -> ResIx {
    let mut inactive = None;
    let mut skip_inactive = false;
    let mut found = None;
    for at in 0..world.child_count(clone) {
        let instance = world.child(clone, at);
        match first_location(world, instance) {
            Some(place) if place == node => {
                found = member(world, instance, base);
                if let Some(r) = found
                    && !world[r].running_on.is_empty()
                {
                    // a second copy in one node's history is surplus
                    skip_inactive = true;
                    found = None;
                }
            }
            Some(_) => {}
            None if !skip_inactive && inactive.is_none() && !world[instance].removed => {
                inactive = member(world, instance, base);
            }
            None => {}
        }
        if found.is_some() {
            break;
        }
    }
    if found.is_none() && !skip_inactive {
        found = inactive;
    }
    // instances that need no fencing can start elsewhere while this node is unclean; do not use up a number for it, but
    // one for all members of the copy
    let copy = |r: ResIx| world[r].parent.filter(|parent| !world[*parent].is_clone());
    let begun = |r: &ResIx| copy(*r).and_then(|copy| first_location(world, copy)) == Some(node);
    if let Some(r) = found.filter(|r| !begun(r)) {
        let needs_fencing = world[r].requires >= Requires::Fencing;
        let gone = !world[node].online || world[node].unclean;
        let universal = world[clone].instances_max as usize >= world.nodes.len();
        if !needs_fencing && gone && !universal {
            found = None;
        }
    }
    found.unwrap_or_else(|| {
        let instance = add_surplus(world, clone);
        member(world, instance, base).unwrap_or(instance)
    })
}
