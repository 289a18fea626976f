//! Which instances of a promotable clone are promoted.

use core::cmp::Ordering;

use alloc::{format, vec::Vec};

use crate::{
    model::{INFINITY, Role, parse_score},
    plan::Stage,
    unpack::{QuorumPolicy, strip_instance},
    world::{NodeIx, Nodes as _, ResIx, ScoreNote, Source, Variant, World, add_scores},
};

use super::{
    clone::{compare_instances, hear_by_role, parts},
    colocate::apply,
    location, role_of,
    ties::this_with,
};

/// An instance would rather run where it may be promoted.
pub(super) fn add_scores_to_nodes(world: &mut World<'_>, clone: ResIx) {
    if world[clone].promotion_scores_added {
        return;
    }
    world[clone].promotion_scores_added = true;
    for at in 0..world.child_count(clone) {
        let instance = world.child(clone, at);
        for node in world.node_ids() {
            if !world.available(node) || !world[instance].allowed[node.ix()].present {
                continue;
            }
            let Some(score) = promotion_score(world, instance, node).filter(|score| *score > 0)
            else {
                continue;
            };
            let cell = &mut world[instance].allowed[node.ix()];
            cell.score = add_scores(cell.score, score);
            if score > world[instance].priority.max(0) {
                world[instance].priority = score;
            }
            // the first member of a group carries the group's scores
            if let Some(first) = world[instance].children.first().copied() {
                let cell = &mut world[first].allowed[node.ix()];
                cell.score = add_scores(cell.score, score);
            }
        }
    }
}

/// How much an instance wants to be promoted on a node; `None` if nothing says so.
fn promotion_score(world: &World<'_>, r: ResIx, node: NodeIx) -> Option<i32> {
    if world[r].variant == Variant::Group {
        let scores: Vec<i32> = world[r]
            .children
            .iter()
            .filter_map(|child| promotion_score(world, *child, node))
            .collect();
        return (!scores.is_empty()).then(|| scores.into_iter().fold(0, add_scores));
    }
    if !applies(world, r, node) {
        return None;
    }
    let res = &world[r];
    // what runs in a container may speak of itself on its host
    let host =
        world.container_of(node).filter(|_| res.meta("container-attribute-target") == Some("host"));
    let teller = host.map_or(Some(node), |container| {
        world[container].current_node().or(world[container].node)
    })?;
    let attribute =
        |name: &str| world[teller].attr(&format!("master-{name}")).and_then(parse_score);
    let own = attribute(res.history_name.as_deref().unwrap_or(&res.id));
    own.or_else(|| if res.unique { None } else { attribute(strip_instance(&res.id)) })
}

/// Whether a promotion score on a node is about this instance.
fn applies(world: &World<'_>, r: ResIx, node: NodeIx) -> bool {
    let res = &world[r];
    let allowed = || {
        let cell = res.allowed[node.ix()];
        cell.present && cell.score >= 0
    };
    if !res.unique {
        let siblings = siblings(world, r);
        let active = siblings.iter().copied().find(|s| world[*s].running_on.contains(&node));
        if active == Some(r) {
            return allowed();
        }
        if active.is_none() && siblings.iter().any(|s| world[*s].known_on.contains(node)) {
            return allowed();
        }
    }
    if res.running_on.is_empty() && res.known_on.is_empty() {
        return allowed();
    }
    if res.known_on.contains(node) || res.running_on.contains(&node) {
        return allowed();
    }
    false
}

/// The same member in every instance.
fn siblings(world: &World<'_>, r: ResIx) -> Vec<ResIx> {
    let base = world[r].base;
    let mut found = Vec::new();
    for instance in &world[world.top_of(r)].children {
        if world[*instance].is_primitive() {
            found.push(*instance);
        } else {
            found.extend(world[*instance].children.iter().filter(|m| world[**m].base == base));
        }
    }
    found
}

pub(super) fn set_roles(world: &mut World<'_>, clone: ResIx) {
    for node in world.node_ids() {
        world[clone].allowed[node.ix()].count = 0;
    }
    for at in 0..world.child_count(clone) {
        let instance = world.child(clone, at);
        rank(world, clone, instance);
    }
    sort(world, clone);
    let held = held_promotions(world, clone);
    let mut promoted = 0;
    for at in 0..world.child_count(clone) {
        let instance = world.child(clone, at);
        let node = location(world, instance, false);
        if let Some(node) = node {
            let score = world[instance].promotion_order;
            world.scores.push(ScoreNote {
                stage: Stage::Promotion,
                resource: instance,
                node,
                score,
            });
        }
        decide(world, clone, instance, &mut promoted, held);
    }
}

fn set_current_unpromoted(world: &mut World<'_>, r: ResIx) {
    for at in 0..world.child_count(r) {
        let child = world.child(r, at);
        set_current_unpromoted(world, child);
    }
    if world[r].role == Role::Started {
        world[r].role = Role::Unpromoted;
    }
}

/// How much an instance is worth promoting where it is placed.
fn rank(world: &mut World<'_>, clone: ResIx, instance: ResIx) {
    if role_of(world, instance, true) == Role::Started {
        set_current_unpromoted(world, instance);
    }
    world[instance].promotion_order = world[instance].priority;
    let Some(node) = location(world, instance, false) else { return };
    let next = role_of(world, instance, false);
    match next {
        Role::Started | Role::Unknown => {
            // without a word for it an instance is promoted only if a constraint asks for it
            world[instance].priority = promotion_score(world, instance, node).unwrap_or(-1);
        }
        Role::Unpromoted | Role::Stopped => world[instance].priority = -INFINITY,
        Role::Promoted => {}
    }
    for owner in [instance, clone] {
        for at in 0..world[owner].locations.len() {
            let rule = world[owner].locations[at];
            let rule = &world.locations[rule];
            if rule.role != Some(Role::Promoted) {
                continue;
            }
            if let Some((_, score)) = rule.nodes.iter().find(|(at, _)| *at == node) {
                let score = *score;
                world[instance].priority = add_scores(world[instance].priority, score);
            }
        }
    }
    for at in this_with(world, instance) {
        let primary = world[at].primary;
        apply(world, instance, primary, at, true);
    }
    world[instance].promotion_order =
        if next == Role::Promoted { INFINITY } else { world[instance].priority };
}

fn sort(world: &mut World<'_>, clone: ResIx) {
    if world[clone].promotion_sorted {
        return;
    }
    world[clone].promotion_sorted = true;
    for at in 0..world.child_count(clone) {
        let instance = world.child(clone, at);
        if let Some(node) = location(world, instance, false)
            && world[instance].promotion_order >= 0
        {
            world[clone].allowed[node.ix()].score = world[instance].promotion_order;
        }
    }
    hear_by_role(world, clone);
    if world[clone].ticket_missing {
        world.add_location_here(clone, -INFINITY, Source::Ticket);
    }
    for at in 0..world.child_count(clone) {
        let instance = world.child(clone, at);
        if let Some(node) = location(world, instance, false)
            && world[instance].promotion_order >= 0
        {
            world[instance].promotion_order = world[clone].allowed[node.ix()].score;
        }
    }
    let mut children = world[clone].children.clone();
    children.sort_by(|a, b| compare(world, *a, *b));
    world[clone].children = children;
}

fn compare(world: &World<'_>, a: ResIx, b: ResIx) -> Ordering {
    world[b]
        .promotion_order
        .cmp(&world[a].promotion_order)
        .then_with(|| role_of(world, b, true).cmp(&role_of(world, a, true)))
        .then_with(|| compare_instances(world, a, b))
}

fn set_next_if_unknown(world: &mut World<'_>, r: ResIx, role: Role) {
    for at in 0..world.child_count(r) {
        let child = world.child(r, at);
        set_next_if_unknown(world, child, role);
    }
    if world[r].next_role == Role::Unknown {
        world[r].next_role = role;
    }
}

fn decide(world: &mut World<'_>, clone: ResIx, instance: ResIx, promoted: &mut u32, held: u32) {
    let eligible = world[instance].promotion_order >= 0
        && (*promoted < world[clone].promoted_max || !world[clone].managed);
    let node = if eligible { node_for_promotion(world, clone, instance) } else { None };
    let Some(node) = node else {
        return set_next_if_unknown(world, instance, Role::Unpromoted);
    };
    let stays = is_promoted_at(world, instance, node);
    if !stays && held > 0 && *promoted + held >= world[clone].promoted_max {
        return set_next_if_unknown(world, instance, Role::Unpromoted);
    }
    if role_of(world, instance, true) < Role::Promoted
        && !world.model.quorate
        && world.opts.quorum_policy == QuorumPolicy::Freeze
    {
        return set_next_if_unknown(world, instance, Role::Unpromoted);
    }
    world[clone].allowed[node.ix()].count += 1;
    set_next_if_unknown(world, instance, Role::Promoted);
    *promoted += 1;
}

fn is_promoted_at(world: &World<'_>, instance: ResIx, node: NodeIx) -> bool {
    parts(world, instance)
        .any(|p| world[p].role == Role::Promoted && world[p].running_on.contains(&node))
}

/// How many copies are promoted where nobody can demote them and no fencing settles it (lost without a way to fence,
/// still joining, not managed), beyond those that keep their promotion by choice. Each takes the place of a promotion:
/// two promoted copies are worse than none.
fn held_promotions(world: &World<'_>, clone: ResIx) -> u32 {
    let held = |instance: ResIx| {
        let keeps = (world[instance].promotion_order >= 0)
            .then(|| node_for_promotion(world, clone, instance))
            .flatten();
        parts(world, instance).any(|part| {
            world[part].role == Role::Promoted
                && world[part]
                    .running_on
                    .iter()
                    .any(|node| keeps != Some(*node) && world.is_stuck(part, *node))
        })
    };
    let count = world[clone].children.iter().filter(|instance| held(**instance)).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn node_for_promotion(world: &World<'_>, clone: ResIx, instance: ResIx) -> Option<NodeIx> {
    let unmanaged_below = |r: ResIx| !world[r].managed && world[r].role < Role::Promoted;
    if world[instance].children.iter().any(|child| unmanaged_below(*child)) {
        return None;
    }
    let node = location(world, instance, false)?;
    if !world[instance].managed {
        return (role_of(world, instance, true) == Role::Promoted).then_some(node);
    }
    // the node of a container that runs nowhere is none
    let adrift = world.container_of(node).is_some_and(|container| world[container].node.is_none());
    if world[instance].promotion_order < 0 || !world.available(node) || adrift {
        return None;
    }
    let cell = world[clone].allowed[node.ix()];
    (cell.present && cell.count < world[clone].promoted_per_node).then_some(node)
}
