//! Which colocations tie a resource to others, by itself or through what contains it, in the order in which they count.

use alloc::vec::Vec;

use crate::world::{ColocIx, ResIx, Variant, World};

/// Colocations in which `r` is the dependent, by itself or through what contains it.
pub(crate) fn this_with(world: &World<'_>, r: ResIx) -> Vec<ColocIx> {
    let mut list = Vec::new();
    collect_this_with(world, r, r, &mut list);
    list.sort_by(|a, b| compare(world, *a, *b, |world, at| world[at].primary));
    list
}

/// Colocations in which `r` is the primary, by itself or through what contains it.
pub(crate) fn with_this(world: &World<'_>, r: ResIx) -> Vec<ColocIx> {
    let mut list = Vec::new();
    collect_with_this(world, r, r, &mut list);
    list.sort_by(|a, b| compare(world, *a, *b, |world, at| world[at].dependent));
    list
}

fn compare(
    world: &World<'_>,
    a: ColocIx,
    b: ColocIx,
    other: fn(&World<'_>, ColocIx) -> ResIx,
) -> core::cmp::Ordering {
    let (ra, rb) = (&world[other(world, a)], &world[other(world, b)]);
    rb.priority
        .cmp(&ra.priority)
        .then(rb.variant.cmp(&ra.variant))
        .then(rb.promotable.cmp(&ra.promotable))
        .then_with(|| ra.id.cmp(&rb.id))
        .then(b.cmp(&a))
}

fn collect_this_with(world: &World<'_>, r: ResIx, origin: ResIx, list: &mut Vec<ColocIx>) {
    let res = &world[r];
    match res.variant {
        Variant::Primitive if r != origin => {
            list.extend(res.this_with.iter().filter(|at| world[**at].explicit));
        }
        Variant::Primitive | Variant::Clone => {
            list.extend(&res.this_with);
            if let Some(parent) = res.parent {
                collect_this_with(world, parent, origin, list);
            }
        }
        Variant::Group => {
            // the first member carries what binds the group; others follow it
            let carrier = res.children.iter().position(|child| world[*child].managed).unwrap_or(0);
            let carries =
                res.children.first() == Some(&origin) || res.children.get(carrier) == Some(&origin);
            if r == origin || carries {
                list.extend(&res.this_with);
                if let Some(parent) = res.parent {
                    collect_this_with(world, parent, origin, list);
                }
                for child in res.children.iter().filter(|child| **child != origin) {
                    collect_this_with(world, *child, origin, list);
                }
            }
        }
    }
}

fn collect_with_this(world: &World<'_>, r: ResIx, origin: ResIx, list: &mut Vec<ColocIx>) {
    let res = &world[r];
    match res.variant {
        Variant::Primitive if r != origin => {
            list.extend(res.with_this.iter().filter(|at| world[**at].explicit));
        }
        Variant::Primitive | Variant::Clone => {
            list.extend(&res.with_this);
            if let Some(parent) = res.parent {
                collect_with_this(world, parent, origin, list);
            }
        }
        Variant::Group => {
            if r == origin || res.children.last() == Some(&origin) {
                list.extend(&res.with_this);
                if let Some(parent) = res.parent {
                    collect_with_this(world, parent, origin, list);
                }
                for child in res.children.iter().filter(|child| **child != origin) {
                    collect_with_this(world, *child, origin, list);
                }
            }
        }
    }
}

/// Whether the dependent has a say in where the primary goes.
pub(crate) fn has_influence(world: &World<'_>, at: ColocIx, primary: Option<ResIx>) -> bool {
    let colocation = &world[at];
    let primary = primary.unwrap_or(colocation.primary);
    colocation.influence || world[primary].running_on.is_empty()
}
