//! A clone spreads its instances: those that run stay where they can, the rest take the best nodes left.

use core::cmp::Ordering;

use alloc::vec::Vec;

use crate::{
    model::{INFINITY, Role},
    plan::Stage,
    world::{NodeIx, Nodes as _, ResIx, Source, World},
};

use super::{
    assign_node,
    colocate::{Hearing, add_colocated, hear_dependent},
    location, note_scores, numbers, place as place_any,
    primitive::unassign,
    promotable, role_of,
    ties::{has_influence, this_with, with_this},
    utilization::by_load,
};

pub(super) fn place(world: &mut World<'_>, r: ResIx, prefer: Option<NodeIx>, stop_if_fail: bool) {
    if !world[r].unplaced || world[r].placing {
        return;
    }
    if let Some(bundle) = world[r].bundle.filter(|bundle| world[*bundle].unplaced) {
        // where the containers are decides
        if !world[bundle].placing {
            place_any(world, bundle, None, true);
        }
        return;
    }
    if world[r].promotable {
        promotable::add_scores_to_nodes(world, r);
    }
    world[r].placing = true;
    for at in this_with(world, r) {
        let primary = world[at].primary;
        place_any(world, primary, prefer, stop_if_fail);
    }
    // what the roles inside of a bundle are bound to is placed before it as well
    let inner = world[r].inner_clone;
    for at in inner.map(|inner| this_with(world, inner)).unwrap_or_default() {
        let primary = world[at].primary;
        place_any(world, primary, prefer, stop_if_fail);
    }
    for at in with_this(world, r) {
        hear_dependent(world, r, at);
    }
    note_scores(world, r, Stage::Clone);
    let mut children = world[r].children.clone();
    children.sort_by(|a, b| compare_instances(world, *a, *b));
    world[r].children.clone_from(&children);
    assign_instances(world, r, &children);
    if world[r].promotable {
        promotable::set_roles(world, r);
    }
    world[r].unplaced = false;
    world[r].placing = false;
    if world[r].is_bundle {
        super::bundle::follow(world, r);
    }
}

fn assign_instances(world: &mut World<'_>, r: ResIx, children: &[ResIx]) {
    let max_total = world[r].instances_max as usize;
    let max_per_node = world[r].instances_per_node;
    let mut available = 0_usize;
    for node in world.node_ids() {
        let usable = world[r].allowed[node.ix()].present && world.available(node);
        world[r].allowed[node.ix()].count = 0;
        available += usize::from(usable);
    }
    let optimal = max_total.checked_div(available).unwrap_or(1).max(1);
    let mut assigned = 0;
    for instance in children {
        if assigned >= max_total {
            break;
        }
        if let Some(current) = keep_at(world, *instance, r, optimal)
            && assign_early(world, *instance, r, current, max_per_node, available)
        {
            assigned += 1;
        }
    }
    let mut held = Held::of(world, r, children);
    let left: Vec<ResIx> = children.iter().copied().filter(|i| world[*i].unplaced).collect();
    let homes = numbers::Homes::of(world, &left);
    for instance in &left {
        held.release(world, r, *instance);
        // a copy that nobody can stop takes the place of one that does not run yet, never of one that runs
        let taken = if is_idle(world, *instance) { assigned + held.count } else { assigned };
        if taken >= max_total {
            assigned += usize::from(leave_out(world, *instance, r));
        } else {
            let room = max_total - taken;
            assigned += usize::from(held.assign(world, r, *instance, max_per_node, room));
        }
        held.retain(world, r, *instance);
    }
    homes.give_back(world);
}

/// Copies that are still to be placed and run where nobody can stop them: no other copy is started beside them, or in
/// excess of the limit because of them.
struct Held {
    at: Vec<(ResIx, NodeIx)>,
    count: usize,
}

impl Held {
    fn of(world: &mut World<'_>, clone: ResIx, children: &[ResIx]) -> Self {
        let mut at: Vec<(ResIx, NodeIx)> = Vec::new();
        for instance in children.iter().copied().filter(|i| world[*i].unplaced) {
            let mut nodes: Vec<NodeIx> = parts(world, instance)
                .flat_map(|part| world[part].running_on.iter().map(move |node| (part, *node)))
                .filter(|(part, node)| world.is_stuck(*part, *node))
                .map(|(_, node)| node)
                .collect();
            nodes.sort();
            nodes.dedup();
            at.extend(nodes.into_iter().map(|node| (instance, node)));
        }
        for (_, node) in &at {
            world[clone].allowed[node.ix()].count += 1;
        }
        let count = at.len();
        Self { at, count }
    }

    fn nodes(&self, instance: ResIx) -> impl Iterator<Item = NodeIx> {
        self.at.iter().filter(move |(i, _)| *i == instance).map(|(_, node)| *node)
    }

    /// While an instance is placed it is not in its own way.
    fn release(&mut self, world: &mut World<'_>, clone: ResIx, instance: ResIx) {
        for node in self.nodes(instance).collect::<Vec<_>>() {
            let cell = &mut world[clone].allowed[node.ix()];
            cell.count = cell.count.saturating_sub(1);
            self.count -= 1;
        }
    }

    /// Places an instance that is released. What of it nobody can stop is a copy too, so it begins elsewhere only if
    /// there is room for both.
    fn assign(
        &self,
        world: &mut World<'_>,
        clone: ResIx,
        instance: ResIx,
        max_per_node: u32,
        room: usize,
    ) -> bool {
        if self.nodes(instance).next().is_none() {
            return assign(world, instance, clone, None, max_per_node).is_some();
        }
        let (saved, counts) = (save(world, instance), world[clone].allowed.clone());
        let Some(node) = assign(world, instance, clone, None, max_per_node) else { return false };
        let left = self.nodes(instance).filter(|held| *held != node).count();
        let begins = !parts(world, instance).any(|part| world[part].running_on.contains(&node));
        if !begins || left == 0 || self.count + left < room {
            return true;
        }
        unassign(world, instance);
        restore(world, &saved);
        world[clone].allowed = counts;
        leave_out(world, instance, clone)
    }

    /// Where it was not placed it is all the same.
    fn retain(&mut self, world: &mut World<'_>, clone: ResIx, instance: ResIx) {
        let placed = location(world, instance, false);
        for node in self.nodes(instance).collect::<Vec<_>>() {
            if placed != Some(node) {
                world[clone].allowed[node.ix()].count += 1;
                self.count += 1;
            }
        }
    }
}

/// No place for an instance; whether some part of it stays all the same.
fn leave_out(world: &mut World<'_>, instance: ResIx, clone: ResIx) -> bool {
    world.add_location(instance, None, -INFINITY, Source::InstanceLimit);
    place_any(world, instance, None, true);
    let stays = location(world, instance, false);
    if let Some(node) = stays {
        world[clone].allowed[node.ix()].count += 1;
    }
    stays.is_some()
}

/// The instance itself, or the members of its group.
pub(super) fn parts(world: &World<'_>, instance: ResIx) -> impl Iterator<Item = ResIx> {
    let members = world[instance].children.iter().copied();
    core::iter::once(instance).chain(members).filter(|part| world[*part].is_primitive())
}

fn is_idle(world: &World<'_>, instance: ResIx) -> bool {
    parts(world, instance).all(|part| world[part].running_on.is_empty())
}

/// The node at which a healthy active instance should be kept.
fn keep_at(world: &World<'_>, instance: ResIx, clone: ResIx, optimal: usize) -> Option<NodeIx> {
    if !world[instance].unplaced || world[instance].running_on.is_empty() || failed(world, instance)
    {
        return None;
    }
    let node = location(world, instance, true).or_else(|| world[instance].current_node())?;
    if !world.available(node) {
        return None;
    }
    let cell = world[clone].allowed[node.ix()];
    if cell.present && cell.count as usize >= optimal {
        return None;
    }
    Some(node)
}

pub(super) fn failed(world: &World<'_>, r: ResIx) -> bool {
    world[r].failed || world[r].children.iter().any(|child| failed(world, *child))
}

fn assign(
    world: &mut World<'_>,
    instance: ResIx,
    clone: ResIx,
    prefer: Option<NodeIx>,
    max_per_node: u32,
) -> Option<NodeIx> {
    ban_full(world, instance, clone, max_per_node);
    place_any(world, instance, prefer, prefer.is_none());
    let chosen = location(world, instance, false);
    if let Some(node) = chosen {
        world[clone].allowed[node.ix()].count += 1;
    }
    chosen
}

fn ban_full(world: &mut World<'_>, instance: ResIx, clone: ResIx, max_per_node: u32) {
    for node in world.node_ids() {
        let cell = world[clone].allowed[node.ix()];
        let fits = cell.present && cell.score >= 0 && cell.count < max_per_node;
        let usable = world.usable[node.ix()] && fits;
        if !usable && world[instance].allowed[node.ix()].present {
            ban(world, instance, node);
        }
    }
}

fn ban(world: &mut World<'_>, instance: ResIx, node: NodeIx) {
    world[instance].allowed[node.ix()].score = -INFINITY;
    // of a group the first member decides
    if let Some(first) = world[instance].children.first().copied() {
        world[first].allowed[node.ix()].score = -INFINITY;
    }
}

/// Tries to keep an instance where it runs. If another node is better, one instance is set aside for that node in
/// thought and the question is asked again.
fn assign_early(
    world: &mut World<'_>,
    instance: ResIx,
    clone: ResIx,
    current: NodeIx,
    max_per_node: u32,
    available: usize,
) -> bool {
    let saved = save(world, instance);
    let saved_clone = world[clone].allowed.clone();
    let mut kept = false;
    for _ in 0..available {
        let counts = world[clone].allowed.clone();
        let chosen = assign(world, instance, clone, Some(current), max_per_node);
        if chosen == Some(current) {
            kept = true;
            break;
        }
        restore(world, &saved);
        unassign(world, instance);
        world[clone].allowed = counts;
        let Some(better) = chosen else { break };
        world[clone].allowed[better.ix()].count += 1;
    }
    world[clone].allowed = saved_clone;
    if kept {
        world[clone].allowed[current.ix()].count += 1;
    }
    kept
}

pub(super) type Saved = Vec<(ResIx, Vec<crate::world::Cell>, Role)>;

pub(super) fn save(world: &World<'_>, r: ResIx) -> Saved {
    let mut saved = alloc::vec![(r, world[r].allowed.clone(), world[r].next_role)];
    for child in &world[r].children {
        saved.extend(save(world, *child));
    }
    saved
}

fn restore(world: &mut World<'_>, saved: &Saved) {
    for (r, cells, role) in saved {
        world[*r].allowed.clone_from(cells);
        world[*r].next_role = *role;
    }
}

/// Order in which instances choose: those that run where they may stay, the healthier, the more important, the lower
/// number.
pub(crate) fn compare_instances(world: &World<'_>, a: ResIx, b: ResIx) -> Ordering {
    let (na, nb) = (&world[a].running_on, &world[b].running_on);
    if !na.is_empty() && !nb.is_empty() && na.len() != nb.len() {
        return na.len().cmp(&nb.len());
    }
    let allowed = |r: ResIx, nodes: &[NodeIx]| {
        let node = nodes.first().copied()?;
        let clone = world[r].parent?;
        let cell = world[clone].allowed[node.ix()];
        // what those tied to the clone would rather not see there is no reason to leave
        let own = world[r].children.first().copied().unwrap_or(r);
        let may_stay = cell.score >= 0 || world[own].allowed[node.ix()].score >= 0;
        (cell.present && may_stay).then_some(node)
    };
    let (pa, pb) = (allowed(a, na), allowed(b, nb));
    let stuck = |nodes: &[NodeIx], place: Option<NodeIx>| !nodes.is_empty() && place.is_none();
    stuck(na, pa)
        .cmp(&stuck(nb, pb))
        .then(world[b].priority.cmp(&world[a].priority))
        .then(pb.is_some().cmp(&pa.is_some()))
        .then_with(|| {
            let usable = |place: Option<NodeIx>| place.is_some_and(|node| world.available(node));
            usable(pb).cmp(&usable(pa))
        })
        .then_with(|| failed(world, a).cmp(&failed(world, b)))
        .then_with(|| match (pa, pb) {
            (Some(pa), Some(pb)) => by_current_scores(world, a, b, pa, pb),
            _ => Ordering::Equal,
        })
        .then(world[a].number.cmp(&world[b].number))
}

/// Which instance's current node is worth more, with what is tied to the clone.
fn by_current_scores(world: &World<'_>, a: ResIx, b: ResIx, na: NodeIx, nb: NodeIx) -> Ordering {
    let worth = |r: ResIx, node: NodeIx| {
        let cell = world[r].allowed[node.ix()];
        let clone = world[r].parent.map_or(0, |clone| world[clone].allowed[node.ix()].score);
        if cell.present { crate::world::add_scores(cell.score, clone) } else { -INFINITY }
    };
    worth(b, nb).cmp(&worth(a, na))
}

/// The instance of `other` that belongs beside `r`: on the same node, in the wanted role.
pub(crate) fn compatible_instance(
    world: &World<'_>,
    r: ResIx,
    other: ResIx,
    role: Option<Role>,
    current: bool,
) -> Option<ResIx> {
    let on = |node: NodeIx| {
        world[other].children.iter().copied().find(|instance| {
            location(world, *instance, current).map(|at| world.seat(at)) == Some(world.seat(node))
                && role.is_none_or(|role| role_of(world, *instance, current) == role)
        })
    };
    if let Some(node) = location(world, r, current) {
        return on(node);
    }
    let worth = |node: NodeIx| {
        if world.available(node) { world[r].allowed[node.ix()].score } else { -INFINITY }
    };
    // of several instances on a node the first counts
    let mut best: Option<(i32, NodeIx, ResIx)> = None;
    for instance in world[other].children.iter().copied() {
        if let Some(node) = location(world, instance, current)
            && world[r].allowed[node.ix()].present
            && role.is_none_or(|role| role_of(world, instance, current) == role)
        {
            let score = worth(node);
            let better = best.is_none_or(|(least, other, _)| match score.cmp(&least) {
                Ordering::Equal => by_load(world, node, other, None).is_lt(),
                order => order.is_gt(),
            });
            if better {
                best = Some((score, node, instance));
            }
        }
    }
    best.map(|(_, _, instance)| instance)
}

/// Adds what those tied to its promoted instances think to the nodes of a clone whose promotions are being ranked.
pub(super) fn hear_by_role(world: &mut World<'_>, clone: ResIx) {
    for at in with_this(world, clone) {
        let colocation = &world[at];
        if colocation.primary_role != Some(Role::Promoted) || !has_influence(world, at, None) {
            continue;
        }
        let how = Hearing::of(world, at).only_positive();
        let table = world[clone].allowed.clone();
        world[clone].allowed = add_colocated(world, table, how);
    }
}

/// Keeps an instance from running at all.
pub(crate) fn inhibit(world: &mut World<'_>, instance: ResIx) -> bool {
    assign_node(world, instance, None, true, true)
}
