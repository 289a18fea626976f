//! Stage 2: what each node is worth to each resource before resources look at each other.

use crate::{
    model::{INFINITY, parse_score},
    unpack::{HealthStrategy, any_failures, threshold_reached},
    world::{Discovery, NodeIx, Reason, ResIx, Source, World, add_scores},
};

pub(crate) fn run(world: &mut World<'_>) {
    health(world);
    locks(world);
    for at in 0..world.top.len() {
        let r = world.top[at];
        for rule in 0..world[r].locations.len() {
            let rule = world[r].locations[rule];
            locate(world, r, rule);
        }
    }
    // constraints on what is inside others
    for at in 0..world.res.len() {
        let r = ResIx::at(at);
        if world[r].parent.is_some() {
            for rule in 0..world[r].locations.len() {
                let rule = world[r].locations[rule];
                locate(world, r, rule);
            }
        }
    }
    for at in 0..world.top.len() {
        let r = world.top[at];
        stick(world, r);
    }
    let failed_on: alloc::vec::Vec<NodeIx> =
        world.node_ids().filter(|node| any_failures(world, *node)).collect();
    for at in 0..world.top.len() {
        let r = world.top[at];
        for node in &failed_on {
            limit_failures(world, r, *node);
        }
        discover_exclusively(world, r);
    }
}

fn health(world: &mut World<'_>) {
    if world.opts.health == HealthStrategy::None {
        return;
    }
    for node in world.node_ids() {
        let opts = &world.opts;
        let base = if opts.health == HealthStrategy::Progressive { opts.health_base } else { 0 };
        let mut score = base;
        for (name, value) in &world[node].attrs {
            if !name.starts_with("#health") {
                continue;
            }
            let part = match *value {
                "red" => opts.health_red,
                "yellow" => opts.health_yellow,
                "green" => opts.health_green,
                other => parse_score(other).unwrap_or(0),
            };
            score = add_scores(score, part);
        }
        if opts.health == HealthStrategy::Custom || score == 0 {
            continue;
        }
        for at in 0..world.top.len() {
            let r = world.top[at];
            let exempt = world[r].meta_bool("allow-unhealthy-nodes") == Some(true);
            if score > 0 || !exempt {
                world.add_location(r, Some(node), score, Source::Health);
            }
        }
    }
}

/// Resources whose node shut down cleanly stay locked to it.
fn locks(world: &mut World<'_>) {
    if !world.opts.shutdown_lock {
        return;
    }
    for at in 0..world.res.len() {
        let r = ResIx::at(at);
        if world[r].is_primitive() {
            lock(world, r);
        }
    }
}

fn lock(world: &mut World<'_>, r: ResIx) {
    // only exclusive resources: clones run elsewhere anyway
    if world[world.top_of(r)].is_clone() || world[r].fencing_device {
        return;
    }
    if let Some(node) = world[r].locked_to {
        if !world[r].running_on.is_empty() || !world[r].managed {
            // started elsewhere by hand: nothing to keep
            world[r].locked_to = None;
            return;
        }
        if world[node].unclean {
            world[r].locked_to = None;
            return;
        }
    } else if let [node] = world[r].running_on[..]
        && world[node].shutdown
        && !world[node].unclean
    {
        world[r].locked_to = Some(node);
        world[r].lock_time = world.model.now;
    }
    let Some(locked) = world[r].locked_to else { return };
    for node in world.node_ids() {
        if node != locked {
            world.add_location(r, Some(node), -INFINITY, Source::ShutdownLock);
        }
    }
}

/// Applies a location constraint to a resource and all inside it.
fn locate(world: &mut World<'_>, r: ResIx, rule: usize) {
    locate_one(world, r, rule, false);
    let group = world[r].variant == crate::world::Variant::Group;
    for at in 0..world.child_count(r) {
        let child = world.child(r, at);
        if group && at > 0 {
            // later members follow the first one, which carries the score
            locate_one(world, child, rule, true);
        } else {
            locate(world, child, rule);
        }
    }
}

fn locate_one(world: &mut World<'_>, r: ResIx, rule: usize, only_presence: bool) {
    let location = &world.locations[rule];
    if location.role.is_some_and(|role| role != world[r].next_role) {
        return;
    }
    let res = &mut world.res[r.ix()];
    for (node, score) in &location.nodes {
        let base = world.nodes[node.ix()].score;
        let cell = &mut res.allowed[node.ix()];
        if !cell.present {
            cell.present = true;
            cell.score = base;
        }
        // a ban stands for every member: the first may be one that nobody can move away
        if !only_presence || *score <= -INFINITY {
            cell.score = add_scores(cell.score, *score);
            let why = Source::Location(location.index);
            if world.explains {
                res.reasons.push(Reason { node: Some(*node), score: *score, why });
            }
        }
        if res.allowed[node.ix()].discovery < location.discovery {
            res.exclusive_discovery |= location.discovery == Discovery::Exclusive;
            res.allowed[node.ix()].discovery = location.discovery;
        }
    }
}

fn stick(world: &mut World<'_>, r: ResIx) {
    if world.child_count(r) > 0 {
        for at in 0..world.child_count(r) {
            let child = world.child(r, at);
            stick(world, child);
        }
        return;
    }
    let res = &world[r];
    let [node] = res.running_on[..] else { return };
    if !res.managed || res.stickiness == 0 {
        return;
    }
    if !world.opts.symmetric && !res.allowed[node.ix()].present {
        return;
    }
    let stickiness = res.stickiness;
    world.add_location(r, Some(node), stickiness, Source::Stickiness);
}

fn limit_failures(world: &mut World<'_>, r: ResIx, node: NodeIx) {
    if world.child_count(r) > 0 {
        for at in 0..world.child_count(r) {
            let child = world.child(r, at);
            limit_failures(world, child, node);
        }
        return;
    }
    if let Some(leaver) = threshold_reached(world, r, node) {
        world.add_location(leaver, Some(node), -INFINITY, Source::FailureLimit);
    }
}

/// What is only looked for on some nodes can only run there.
fn discover_exclusively(world: &mut World<'_>, r: ResIx) {
    let top = world.top_of(r);
    if world[r].exclusive_discovery || world[top].exclusive_discovery {
        let bound = if world[r].exclusive_discovery { r } else { top };
        for node in world.node_ids() {
            if world[bound].allowed[node.ix()].discovery != Discovery::Exclusive {
                world[r].allowed[node.ix()].score = -INFINITY;
            }
        }
    }
    for at in 0..world.child_count(r) {
        let child = world.child(r, at);
        discover_exclusively(world, child);
    }
}
