//! Colocations: how the place of one resource speaks for and against nodes of another.
//!
//! Two directions. A dependent takes the place of its primary once that is known. A primary that is still to be
//! placed listens to what its dependents would like, scaled by how strong the tie is.

use alloc::vec::Vec;

use crate::{
    model::{INFINITY, Role},
    world::{Cell, ColocIx, NodeIx, Reason, ResIx, Source, Variant, World, add_scores},
};

use super::{
    place,
    ring::gives_way,
    ties::{has_influence, this_with, with_this},
};

/// How somebody who is still to be placed hears a dependent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hearing {
    /// The colocation that ties the dependent.
    at: ColocIx,
    /// How much its word counts, between minus one and one.
    factor: f64,
    /// Whether only what speaks for a node is heard.
    only_positive: bool,
    /// Whether it is the primaries that are heard, and theirs.
    primaries: bool,
}

impl Hearing {
    pub(crate) fn of(world: &World<'_>, at: ColocIx) -> Self {
        Self { at, factor: factor(world[at].score), only_positive: false, primaries: false }
    }

    pub(crate) fn only_positive(self) -> Self {
        Self { only_positive: true, ..self }
    }

    /// What comes through one more dependent counts less.
    fn further(self, world: &World<'_>, at: ColocIx) -> Self {
        Self { at, factor: self.factor * factor(world[at].score), ..self }
    }
}

/// Marks a node whose score may not become negative, while a walk goes on.
const FILTERED: i32 = -100 * INFINITY;

/// Lets `r` follow a primary, which is placed first if need be.
pub(crate) fn follow_primary(world: &mut World<'_>, r: ResIx, at: ColocIx) {
    let colocation = &world[at];
    let (primary, score) = (colocation.primary, colocation.score);
    let by_promotion = colocation.dependent_role.is_some_and(|role| role >= Role::Promoted);
    let optional_ban = score < 0 && score > -INFINITY;
    let saved = (by_promotion || optional_ban).then(|| world[r].allowed.clone());
    if world[primary].unplaced && !gives_way(world, r, at) {
        place(world, primary, None, true);
        if world[primary].unplaced && score.abs() >= INFINITY {
            world.open_rings.push((r, at));
        }
    }
    apply(world, r, primary, at, true);
    if let Some(saved) = saved
        && !any_in(world, &world[r].allowed)
    {
        world[r].allowed = saved;
    }
}

/// Lets a resource that is being placed hear what a dependent would like.
pub(crate) fn hear_dependent(world: &mut World<'_>, r: ResIx, at: ColocIx) {
    if !has_influence(world, at, None) {
        return;
    }
    let mut how = Hearing::of(world, at);
    // who is tied to a clone speaks for nodes; what speaks against one is each copy's own matter
    how.only_positive = world[r].is_clone();
    let table = world[r].allowed.clone();
    world[r].allowed = add_colocated(world, table, how);
}

fn factor(score: i32) -> f64 {
    f64::from(score) / f64::from(INFINITY)
}

/// Adds what a dependent thinks of nodes, and those tied to it, to a table of scores.
pub(crate) fn add_colocated(world: &mut World<'_>, table: Vec<Cell>, how: Hearing) -> Vec<Cell> {
    let tie = &world[how.at];
    let other = if how.primaries { tie.primary } else { tie.dependent };
    add_opinion(world, other, table, how)
}

/// What nodes are worth to a resource together with those that it would be placed beside.
pub(super) fn worth_with_primaries(world: &mut World<'_>, r: ResIx) -> Vec<Cell> {
    let first = world[r].children.first().copied().filter(|_| world[r].variant == Variant::Group);
    let bearer = first.unwrap_or(r);
    let parts = [r, bearer];
    parts.iter().for_each(|part| world[*part].merging = true);
    let mut table = world[bearer].allowed.clone();
    for at in this_with(world, bearer) {
        if any_in(world, &table) {
            let how = Hearing { primaries: true, ..Hearing::of(world, at) };
            table = add_colocated(world, table, how);
        }
    }
    parts.iter().for_each(|part| world[*part].merging = false);
    table
}

/// Whether a colocation, if it can be kept, decides where the dependent goes.
pub(super) fn binds_place(
    world: &World<'_>,
    dependent: ResIx,
    primary: ResIx,
    at: ColocIx,
) -> bool {
    world[at].score >= INFINITY && effect(world, dependent, primary, at, true) == Effect::Location
}

fn add_opinion(world: &mut World<'_>, source: ResIx, table: Vec<Cell>, how: Hearing) -> Vec<Cell> {
    if world[source].merging {
        return table;
    }
    world[source].merging = true;
    let table = if world[source].variant == Variant::Group {
        // a group stands where its first member stands; the others chain to it
        match world[source].children.first().copied() {
            Some(first) => add_opinion(world, first, table, how),
            None => table,
        }
    } else {
        add_own_and_others(world, source, table, how)
    };
    world[source].merging = false;
    table
}

fn add_own_and_others(
    world: &mut World<'_>,
    source: ResIx,
    table: Vec<Cell>,
    how: Hearing,
) -> Vec<Cell> {
    let mut work = table.clone();
    add_matching(world, &mut work, source, how);
    if !any_in(world, &work) {
        // what would leave no node is given up
        return table;
    }
    let ties = if how.primaries { this_with(world, source) } else { with_this(world, source) };
    for next in ties {
        if how.primaries || has_influence(world, next, None) {
            work = add_colocated(world, work, how.further(world, next));
        }
    }
    if how.only_positive {
        for cell in work.iter_mut().filter(|cell| cell.score == FILTERED) {
            cell.score = 1;
        }
    }
    work
}

/// Whether any node could run what has these scores.
pub(super) fn any_in(world: &World<'_>, table: &[Cell]) -> bool {
    table.iter().zip(&world.usable).any(|(cell, usable)| cell.present && cell.score >= 0 && *usable)
}

/// Whether a colocation takes two nodes for one.
#[inline]
fn same_place(world: &World<'_>, attribute: Option<&str>, a: NodeIx, b: NodeIx) -> bool {
    match attribute {
        None => world.seat(a) == world.seat(b),
        // without the attribute all are alike
        Some(name) => world[a].attr(name) == world[b].attr(name),
    }
}

fn add_matching(world: &World<'_>, work: &mut [Cell], source: ResIx, how: Hearing) {
    let Hearing { at, factor, only_positive, .. } = how;
    let attribute = world[at].attribute;
    let banned_by = world[source].parent.filter(|parent| world[*parent].variant == Variant::Group);
    let banned_by = banned_by.map(|parent| world[parent].allowed.as_slice());
    let cornered = factor < 0.0 && factor > -1.0 && usable_nodes(world, source) == 1;
    // one length for all, so that it is asked once and not of every node
    let theirs = &world[source].allowed[..work.len()];
    let usable = &world.usable[..work.len()];
    // who is beside a copy in a container is on the host of that
    let seats = world.has_containers_in(&world[at].primary);
    for index in 0..work.len() {
        let cell = &mut work[index];
        if !cell.present {
            continue;
        }
        let index = if seats { world.seat(NodeIx::at(index)).ix() } else { index };
        let score = match attribute {
            None if !theirs[index].present || !usable[index] => -INFINITY,
            None if banned_by.is_some_and(|group| group[index].score <= -INFINITY) => -INFINITY,
            // nothing times anything is nothing
            None if theirs[index].score == 0 => continue,
            None => theirs[index].score,
            Some(_) => world
                .node_ids()
                .filter(|other| same_place(world, attribute, NodeIx::at(index), *other))
                .filter_map(|other| worth(world, source, banned_by, other))
                .max()
                .unwrap_or(-INFINITY),
        };
        // two noes make a yes only where the other has a single place left, which should then be left to it
        if factor < 0.0 && score < 0 && !(cornered && cell.score >= 0) {
            continue;
        }
        if cell.score == FILTERED {
            continue;
        }
        let exact = factor * f64::from(score);
        let mut delta = if exact < 0.0 { exact - 0.5 } else { exact + 0.5 } as i32;
        if delta == 0 && score != 0 {
            // small ties still tie
            delta = if factor > 0.0 { 1 } else { -i32::from(factor < 0.0) };
        }
        let new = add_scores(delta, cell.score);
        if only_positive && new < 0 && cell.score > 0 {
            cell.score = FILTERED;
            continue;
        }
        if only_positive && new < 0 && cell.score == 0 {
            continue;
        }
        cell.score = new;
    }
}

/// How many nodes could run a resource.
fn usable_nodes(world: &World<'_>, r: ResIx) -> usize {
    let table = world[r].allowed.iter().zip(&world.usable);
    table.filter(|(cell, usable)| cell.present && cell.score >= 0 && **usable).count()
}

/// What a node is worth to a resource, if it may run there at all.
fn worth(
    world: &World<'_>,
    source: ResIx,
    banned_by: Option<&[Cell]>,
    node: NodeIx,
) -> Option<i32> {
    let cell = world[source].allowed[node.ix()];
    // a member goes nowhere where its group may not go
    let banned = banned_by.is_some_and(|group| group[node.ix()].score <= -INFINITY);
    (cell.present && !banned && world.usable[node.ix()]).then_some(cell.score)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Nothing,
    Location,
    Promotion,
}

/// Applies one colocation to the dependent's scores (or to its chance of promotion), now that the primary's place is
/// known.
pub(crate) fn apply(
    world: &mut World<'_>,
    dependent: ResIx,
    primary: ResIx,
    at: ColocIx,
    for_dependent: bool,
) {
    let score = world[at].score;
    if for_dependent {
        match world[dependent].variant {
            Variant::Primitive => {}
            Variant::Group => {
                if let Some(first) = world[dependent].children.first().copied() {
                    apply(world, first, primary, at, true);
                }
                return;
            }
            // instances follow by themselves
            Variant::Clone => return,
        }
    }
    match world[primary].variant {
        Variant::Primitive => match effect(world, dependent, primary, at, false) {
            Effect::Nothing => {}
            Effect::Location => apply_location(world, dependent, primary, at),
            Effect::Promotion => apply_promotion(world, dependent, primary, at),
        },
        Variant::Group => {
            let member = if score >= INFINITY {
                world[primary].children.last()
            } else {
                world[primary].children.first()
            };
            // of a group that is still to be placed only members are known that are not managed
            if let Some(member) = member.copied()
                && (!world[primary].unplaced || !world[member].managed)
            {
                apply(world, dependent, member, at, false);
            }
        }
        Variant::Clone => apply_clone_primary(world, dependent, primary, at),
    }
}

fn role_bearer(world: &World<'_>, r: ResIx) -> ResIx {
    // a member of a cloned group has the role of its instance
    match world[r].parent {
        Some(group) if world[group].parent.is_some() => group,
        _ => r,
    }
}

/// In a preview the places are not known yet.
fn effect(
    world: &World<'_>,
    dependent: ResIx,
    primary: ResIx,
    at: ColocIx,
    preview: bool,
) -> Effect {
    let colocation = &world[at];
    if world[primary].unplaced && !preview {
        return Effect::Nothing;
    }
    let (db, pb) = (role_bearer(world, dependent), role_bearer(world, primary));
    let in_promotable = world[db].parent.is_some_and(|parent| world[parent].promotable);
    if colocation.dependent_role.is_some_and(|role| role >= Role::Unpromoted)
        && in_promotable
        && !world[db].unplaced
    {
        return Effect::Promotion;
    }
    if !world[dependent].unplaced && !preview {
        return Effect::Nothing;
    }
    let next = |r: ResIx| super::role_of(world, r, false);
    if colocation.dependent_role.is_some_and(|role| role != next(db))
        || colocation.primary_role.is_some_and(|role| role != next(pb))
    {
        return Effect::Nothing;
    }
    Effect::Location
}

fn apply_location(world: &mut World<'_>, dependent: ResIx, primary: ResIx, at: ColocIx) {
    let colocation = &world[at];
    let (score, attribute) = (colocation.score, colocation.attribute);
    let place = world[primary].node;
    if place.is_none() && score < 0 {
        return;
    }
    // what nobody may stop runs on, in every place where it was found
    let also = if score <= -INFINITY && !world[primary].managed {
        world[primary].running_on.clone()
    } else {
        Vec::new()
    };
    let mut table = world[dependent].allowed.clone();
    let mut reasons = Vec::new();
    for (cell, node) in table.iter_mut().zip(world.node_ids()).filter(|(cell, _)| cell.present) {
        let shares = |place| same_place(world, attribute, node, place);
        let add = match place {
            None => -score,
            Some(place) if shares(place) || also.iter().any(|place| shares(*place)) => {
                if score >= INFINITY {
                    continue;
                }
                score
            }
            Some(_) if score >= INFINITY => -score,
            Some(_) => continue,
        };
        cell.score = add_scores(add, cell.score);
        if world.explains {
            reasons.push(Reason { node: Some(node), score: add, why: Source::Colocation(at) });
        }
    }
    let mandatory = score.abs() >= INFINITY;
    if mandatory || any_in(world, &table) {
        world[dependent].reasons.extend(reasons);
        world[dependent].allowed = table;
    }
}

/// The dependent is an instance that has its place: the colocation decides whether it may be promoted.
fn apply_promotion(world: &mut World<'_>, dependent: ResIx, primary: ResIx, at: ColocIx) {
    let colocation = &world[at];
    let (score, attribute, primary_role) =
        (colocation.score, colocation.attribute, colocation.primary_role);
    let wanted_role = colocation.dependent_role;
    let Some(place) = super::location(world, dependent, false) else { return };
    let bearer = role_bearer(world, dependent);
    let Some(primary_place) = world[primary].node else {
        // beside something that runs nowhere nothing is promoted
        if score >= INFINITY && wanted_role == Some(Role::Promoted) {
            world[bearer].priority = -INFINITY;
        }
        return;
    };
    let pb = role_bearer(world, primary);
    let role_differs = primary_role.is_some_and(|role| role != super::role_of(world, pb, false));
    if !same_place(world, attribute, place, primary_place) || role_differs {
        if score >= INFINITY && wanted_role == Some(Role::Promoted) {
            world[bearer].priority = -INFINITY;
        }
        return;
    }
    let signed = if wanted_role == Some(Role::Unpromoted) { -score } else { score };
    world[bearer].priority = add_scores(signed, world[bearer].priority);
}

fn apply_clone_primary(world: &mut World<'_>, dependent: ResIx, primary: ResIx, at: ColocIx) {
    let colocation = &world[at];
    let (score, primary_role, attribute) =
        (colocation.score, colocation.primary_role, colocation.attribute);
    if world[primary].unplaced {
        return;
    }
    if world[primary].promotable && primary_role.is_some() {
        return apply_promotable_primary(world, dependent, primary, at);
    }
    // an interleaved clone follows instance by instance; to be apart is to be apart from all of them
    let bound = world[at].dependent;
    if score > 0
        && world[bound].is_clone()
        && world[bound].interleave
        && world[bound].instances_per_node == world[primary].instances_per_node
    {
        let matching = super::compatible_instance(world, dependent, primary, None, false);
        match matching {
            Some(instance) => apply(world, dependent, instance, at, false),
            None if score >= INFINITY => {
                super::assign_node(world, dependent, None, true, true);
            }
            None => {}
        }
        return;
    }
    if score >= INFINITY {
        let mut places = Vec::new();
        for child in &world[primary].children {
            if let Some(place) = super::location(world, *child, false)
                && !world[*child].blocked
            {
                places.push(place);
            }
        }
        restrict(world, dependent, &places, attribute, at);
        return;
    }
    for index in 0..world.child_count(primary) {
        let child = world.child(primary, index);
        apply(world, dependent, child, at, false);
    }
}

/// Only these places remain for a dependent.
fn restrict(
    world: &mut World<'_>,
    dependent: ResIx,
    places: &[NodeIx],
    attribute: Option<&str>,
    at: ColocIx,
) {
    for node in world.node_ids() {
        let stays = places.iter().any(|place| same_place(world, attribute, node, *place));
        if !stays && world[dependent].allowed[node.ix()].present {
            world[dependent].allowed[node.ix()].score = -INFINITY;
            let why = Source::Colocation(at);
            world.note_reason(dependent, Reason { node: Some(node), score: -INFINITY, why });
        }
    }
}

/// The primary is a promotable clone and the tie is to instances of one role.
fn apply_promotable_primary(world: &mut World<'_>, dependent: ResIx, primary: ResIx, at: ColocIx) {
    let colocation = &world[at];
    let (score, role, attribute) =
        (colocation.score, colocation.primary_role, colocation.attribute);
    let promotes = colocation.dependent_role == Some(Role::Promoted);
    let bearer = role_bearer(world, dependent);
    let in_promotable = world[bearer].parent.is_some_and(|parent| world[parent].promotable);
    if promotes && in_promotable && !world[bearer].unplaced {
        // both ends by role: only the instance beside the dependent counts
        let Some(here) = super::location(world, bearer, false) else { return };
        let beside = world[primary].children.iter().any(|instance| {
            role.is_none_or(|role| super::role_of(world, *instance, false) == role)
                && super::location(world, *instance, false)
                    .is_some_and(|there| same_place(world, attribute, here, there))
        });
        if beside {
            world[bearer].priority = add_scores(score, world[bearer].priority);
        } else if score >= INFINITY {
            world[bearer].priority = -INFINITY;
        }
        return;
    }
    if !world[dependent].unplaced {
        return;
    }
    let mut places = Vec::new();
    for child in &world[primary].children {
        if let Some(place) = super::location(world, *child, false)
            && role.is_none_or(|role| super::role_of(world, *child, false) == role)
        {
            places.push((place, placed_score(world, *child, place)));
        }
    }
    if score >= INFINITY {
        if promotes && role == Some(Role::Promoted) {
            return;
        }
        for node in world.node_ids() {
            let here = places.iter().find(|(place, _)| same_place(world, attribute, node, *place));
            if let Some((_, worth)) = here {
                let cell = &mut world[dependent].allowed[node.ix()];
                cell.score = add_scores(cell.score, *worth);
            }
        }
        let places: Vec<NodeIx> = places.into_iter().map(|(place, _)| place).collect();
        restrict(world, dependent, &places, attribute, at);
        return;
    }
    for node in world.node_ids() {
        if places.iter().any(|(place, _)| same_place(world, attribute, node, *place)) {
            let cell = &mut world[dependent].allowed[node.ix()];
            cell.score = add_scores(cell.score, score);
            let why = Source::Colocation(at);
            world.note_reason(dependent, Reason { node: Some(node), score, why });
        }
    }
}

/// What its own node was worth to a placed instance.
fn placed_score(world: &World<'_>, r: ResIx, node: NodeIx) -> i32 {
    match world[r].children.first() {
        Some(first) => placed_score(world, *first, node),
        None => world[r].allowed[node.ix()].score,
    }
}
