//! Colocations in a ring: somebody has to choose before those that it depends on.

use alloc::vec::Vec;

use crate::{
    model::{INFINITY, Role},
    world::{Coloc, ColocIx, Reason, ResIx, Source, Variant, World},
};

use super::{assign_node, ties::with_this};

/// Whether a wish closes a ring in which the primary must follow the dependent: then the dependent chooses first, since
/// what is mandatory can only be kept by who comes later.
pub(crate) fn gives_way(world: &World<'_>, r: ResIx, at: ColocIx) -> bool {
    if binds(world, &world[at]) {
        return false;
    }
    let top = world.top_of(r);
    let mut seen = alloc::vec![world.top_of(world[at].primary)];
    let mut next = 0;
    while let Some(from) = seen.get(next).copied() {
        next += 1;
        for tie in world[from].this_with.iter().map(|tie| &world[*tie]) {
            if binds(world, tie) {
                let to = world.top_of(tie.primary);
                if to == top {
                    return true;
                }
                if !seen.contains(&to) {
                    seen.push(to);
                }
            }
        }
    }
    false
}

/// Whether a tie is mandatory; one between roles that cannot be had binds nothing.
fn binds(world: &World<'_>, tie: &Coloc<'_>) -> bool {
    let can_have = |r: ResIx, role: Option<Role>| {
        role.is_none_or(|role| role <= Role::Started) || world[world.top_of(r)].promotable
    };
    tie.score.abs() >= INFINITY
        && can_have(tie.dependent, tie.dependent_role)
        && can_have(tie.primary, tie.primary_role)
}

/// Who had to choose before its primary, and must not be where that is, is kept away from instead.
pub(super) fn keep_apart(world: &mut World<'_>, r: ResIx) {
    for index in 0..world.open_rings.len() {
        let (dependent, at) = world.open_rings[index];
        let tie = &world[at];
        if tie.primary != r || tie.score > -INFINITY || !is_plain(world, at) {
            continue;
        }
        let together = |tie: &ColocIx| {
            let tie = &world[*tie];
            tie.primary == dependent && tie.score >= INFINITY
        };
        if world[r].this_with.iter().any(together) {
            // both at once cannot be had
            continue;
        }
        let Some(node) = world[dependent].node else { continue };
        if world[r].allowed[node.ix()].present {
            world[r].allowed[node.ix()].score = -INFINITY;
            let why = Source::Colocation(at);
            world.note_reason(r, Reason { node: Some(node), score: -INFINITY, why });
        }
    }
}

/// Whether a tie is between two single resources, whatever their roles.
fn is_plain(world: &World<'_>, at: ColocIx) -> bool {
    let tie = &world[at];
    let single = |r: ResIx| world[r].variant == Variant::Primitive && world[r].parent.is_none();
    tie.dependent_role.is_none()
        && tie.primary_role.is_none()
        && tie.attribute.is_none()
        && single(tie.dependent)
        && single(tie.primary)
}

/// Who had to choose before its primary, and does not stand beside it in the end, does not run, nor does who depends
/// on it.
pub(super) fn close(world: &mut World<'_>) {
    let open = core::mem::take(&mut world.open_rings);
    let mut left: Vec<(ResIx, ColocIx)> = open;
    while let Some((r, at)) = left.pop() {
        let primary = world[at].primary;
        if world[at].score < 0 || !is_plain(world, at) || !world[r].managed {
            continue;
        }
        if world[r].node.is_none() || world[r].node == world[primary].node {
            continue;
        }
        assign_node(world, r, None, true, true);
        for tie in with_this(world, r).into_iter().filter(|tie| world[*tie].score >= INFINITY) {
            left.push((world[tie].dependent, tie));
        }
    }
}
