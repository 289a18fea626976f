//! One instance chooses its node.

use core::cmp::Ordering;

use crate::{
    model::{INFINITY, Role},
    plan::Stage,
    unpack::QuorumPolicy,
    world::{ActFlags, Cell, ColocIx, NodeIx, Nodes as _, ResIx, Source, Verb, World},
};

use super::{
    colocate::{any_in, follow_primary, hear_dependent},
    note_scores, placed_with_parent,
    ties::{this_with, with_this},
    utilization::{self, by_load},
};

pub(super) fn place(
    world: &mut World<'_>,
    r: ResIx,
    prefer: Option<NodeIx>,
    stop_if_fail: bool,
) -> Option<NodeIx> {
    if placed_with_parent(world, r, prefer, stop_if_fail) || !world[r].unplaced {
        return world[r].node;
    }
    if world[r].placing {
        // in a ring of colocations who is not managed need not choose, so the others can take its place into account
        return if world[r].managed { None } else { stay(world, r, stop_if_fail) };
    }
    world[r].placing = true;
    listen(world, r);
    super::ring::keep_apart(world, r);
    if world[r].next_role == Role::Stopped {
        world.add_location(r, None, -INFINITY, Source::TargetRole);
    } else if world[r].next_role > Role::Started
        // running as what is not promoted is no rise for one that runs
        && (world[r].role, world[r].next_role) != (Role::Started, Role::Unpromoted)
        && !world.model.quorate
        && world.opts.quorum_policy == QuorumPolicy::Freeze
    {
        world[r].next_role = world[r].role;
    }
    note_scores(world, r, Stage::Primitive);
    if !world[r].managed {
        stay(world, r, stop_if_fail);
    } else if world.opts.stop_all {
        assign_node(world, r, None, true, stop_if_fail);
    } else {
        choose(world, r, prefer, stop_if_fail);
    }
    world[r].placing = false;
    super::connection::placed(world, r);
    world[r].node
}

/// What is not managed stays as it is, whatever speaks against that.
fn stay(world: &mut World<'_>, r: ResIx, stop_if_fail: bool) -> Option<NodeIx> {
    world[r].next_role = world[r].role;
    let here = world[r].current_node();
    assign_node(world, r, here, true, stop_if_fail);
    here
}

/// Takes colocations into account. A tie that is only a wish never keeps a resource from running: if nothing remains,
/// wishes to be apart are forgotten.
fn listen(world: &mut World<'_>, r: ResIx) {
    let followed = this_with(world, r);
    let is_wish = |world: &World<'_>, at: ColocIx| {
        let score = world[at].score;
        score < 0 && score > -INFINITY
    };
    let wishes = followed.iter().any(|at| is_wish(world, *at));
    let saved = wishes.then(|| (world[r].allowed.clone(), world[r].reasons.len()));
    for at in &followed {
        follow_primary(world, r, *at);
    }
    for at in with_this(world, r) {
        hear_dependent(world, r, at);
    }
    let Some((allowed, reasons)) = saved else { return };
    let with_wishes = core::mem::replace(&mut world[r].allowed, allowed);
    let all_reasons = world[r].reasons.split_off(reasons);
    for at in followed {
        if !is_wish(world, at) {
            follow_primary(world, r, at);
        }
    }
    for at in with_this(world, r) {
        hear_dependent(world, r, at);
    }
    // a node that serves what is mandatory must be left by the wishes, or they count for nothing
    let serves = |cell: &Cell| cell.present && cell.score >= 0;
    let both = world[r].allowed.iter().zip(&with_wishes).zip(&world.usable);
    let left = both.into_iter().any(|((a, b), usable)| *usable && serves(a) && serves(b));
    if left || !any_in(world, &world[r].allowed) {
        world[r].allowed = with_wishes;
        world[r].reasons.truncate(reasons);
        world[r].reasons.extend(all_reasons);
    }
}

/// The best node of those that may be thought of: by score, then by fewer instances placed, then where it runs, then by
/// name.
fn best_node(world: &World<'_>, r: ResIx) -> Option<NodeIx> {
    let res = &world[r];
    let active = res.current_node();
    let mut best: Option<(NodeIx, i32)> = None;
    for (cell, node) in res.allowed.iter().zip(world.node_ids()).filter(|(cell, _)| cell.present) {
        let score = if world.usable[node.ix()] { cell.score } else { -INFINITY };
        let better = best.is_none_or(|(other, least)| match score.cmp(&least) {
            Ordering::Equal => by_load(world, node, other, active).is_lt(),
            order => order.is_gt(),
        });
        if better {
            best = Some((node, score));
        }
    }
    best.map(|(node, _)| node)
}

fn choose(world: &mut World<'_>, r: ResIx, prefer: Option<NodeIx>, stop_if_fail: bool) {
    let prefer = prefer.or(utilization::keep_room(world, r));
    let best = best_node(world, r);
    let Some(best) = best else {
        assign_node(world, r, None, false, stop_if_fail);
        return;
    };
    let score = |node: NodeIx| world[r].allowed[node.ix()].score;
    let mut chosen = prefer.filter(|node| {
        let cell = world[r].allowed[node.ix()];
        cell.present && cell.score >= 0 && world.available(*node) && cell.score >= score(best)
    });
    if chosen.is_none() {
        let mut pick = best;
        let unique =
            world[r].parent.is_some_and(|parent| world[parent].is_clone() && world[parent].unique);
        if !unique
            && score(best) > 0
            && world.available(best)
            && let Some(running) = world[r].current_node()
            && world.available(running)
            && world[r].allowed[running.ix()].present
            && score(running) == score(best)
        {
            pick = running;
        }
        chosen = Some(pick);
    }
    assign_node(world, r, chosen, false, stop_if_fail);
}

/// Gives a resource its node, or takes it away. Forced, the node is not questioned.
pub(crate) fn assign_node(
    world: &mut World<'_>,
    r: ResIx,
    chosen: Option<NodeIx>,
    force: bool,
    stop_if_fail: bool,
) -> bool {
    if world.child_count(r) > 0 {
        let mut changed = false;
        for at in 0..world.child_count(r) {
            let child = world.child(r, at);
            changed |= assign_node(world, child, chosen, force, stop_if_fail);
        }
        return changed;
    }
    let mut chosen = chosen;
    if !force
        && let Some(node) = chosen
        && (world[r].allowed[node.ix()].score < 0
            // that its connection comes up is seen later
            || (!world.available(node) && !world.is_guest(node)))
    {
        // every node is unavailable or banned
        chosen = None;
        if stop_if_fail {
            world[r].next_role = Role::Stopped;
        }
    }
    let before = (world[r].node, world[r].unplaced);
    utilization::release(world, r);
    world[r].unplaced = false;
    match chosen {
        Some(node) => {
            utilization::take(world, r, node);
        }
        None => {
            if stop_if_fail {
                world[r].next_role = Role::Stopped;
            }
            for at in 0..world[r].acts.len() {
                let act = world[r].acts[at];
                match world[act].verb {
                    Verb::Stop => world[act].clear(ActFlags::OPTIONAL),
                    Verb::Start | Verb::Monitor => world[act].clear(ActFlags::RUNNABLE),
                    _ => {}
                }
            }
        }
    }
    before != (chosen, false)
}

/// Takes a place back, to try again.
pub(super) fn unassign(world: &mut World<'_>, r: ResIx) {
    for at in 0..world.child_count(r) {
        let child = world.child(r, at);
        unassign(world, child);
    }
    world[r].unplaced = true;
    utilization::release(world, r);
}
