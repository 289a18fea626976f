//! Stage 5: which action waits for which, and what follows for whether it happens.
//!
//! Rules become edges between actions; then edges are applied until nothing changes: a required action makes others
//! required, an impossible one makes others impossible.

mod flags;
mod implied;
mod interleave;
mod load;
mod migration;
mod settle;

use crate::world::{
    ActFlags, ActIx, Edge, OrderEnd, OrderFlags, OrderRule, ResIx, Variant, Verb, World,
};

use crate::{act::first_action, model::Role, place::role_of};

/// Rules that follow from the resources themselves; before places are chosen.
pub(crate) fn imply(world: &mut World<'_>) {
    implied::run(world);
}

pub(crate) fn run(world: &mut World<'_>) {
    migration::run(world);
    let rules = core::mem::take(&mut world.order_rules);
    for rule in &rules {
        expand(world, rule);
    }
    world.order_rules = rules;
    load::run(world);
    settle::run(world);
}

fn is_inside(world: &World<'_>, r: ResIx, container: ResIx) -> bool {
    let outer = |r: ResIx| world[r].parent.or(world[r].bundle);
    let mut at = outer(r);
    while let Some(parent) = at {
        if parent == container {
            return true;
        }
        at = outer(parent);
    }
    false
}

impl World<'_> {
    /// Orders two actions. What comes after a group or clone begins when all of it is complete, except for its own
    /// members.
    pub(crate) fn order(&mut self, first: ActIx, then: ActIx, flags: OrderFlags) -> bool {
        let first = self.completing(first, then);
        if first == then || flags == OrderFlags::NONE {
            return false;
        }
        if let Some(edge) = self[then].before.iter_mut().find(|edge| edge.other == first) {
            if edge.flags.has(flags) {
                return false;
            }
            edge.flags |= flags;
            let total = edge.flags;
            if let Some(edge) = self[first].after.iter_mut().find(|edge| edge.other == then) {
                edge.flags = total;
            }
            return true;
        }
        self[then].before.push(Edge { other: first, flags });
        self[first].after.push(Edge { other: then, flags });
        true
    }

    fn completing(&self, first: ActIx, then: ActIx) -> ActIx {
        let (Some(a), Some(b)) = (self[first].res, self[then].res) else {
            return match (self[first].res, self[then].res) {
                (Some(a), None) if self[then].verb == Verb::Sync => self.completion_of(a, first),
                _ => first,
            };
        };
        if a == b || is_inside(self, b, a) {
            return first;
        }
        self.completion_of(a, first)
    }

    fn completion_of(&self, r: ResIx, first: ActIx) -> ActIx {
        if self[r].variant == Variant::Primitive {
            return first;
        }
        let completed = self[first].verb.completed();
        if completed == self[first].verb {
            return first;
        }
        let found = self[r].acts.iter().copied().find(|at| self[*at].verb == completed);
        found.unwrap_or(first)
    }
}

fn expand(world: &mut World<'_>, rule: &OrderRule) {
    match (rule.first, rule.then) {
        (OrderEnd::Act(first), OrderEnd::Act(then)) => {
            world.order(first, then, rule.flags);
        }
        (OrderEnd::Act(first), OrderEnd::Of(r, verb)) => after(world, first, r, verb, rule.flags),
        (OrderEnd::Of(r, verb), then) => {
            if first_action(world, r, verb, None).is_none() {
                let same = matches!(then, OrderEnd::Of(other, _) if other == r);
                let rests = match verb {
                    Verb::Stop => role_of(world, r, true) == Role::Stopped,
                    Verb::Demote => role_of(world, r, true) == Role::Unpromoted,
                    Verb::Start | Verb::Promote => false,
                    _ => true,
                };
                if same || rests {
                    return;
                }
                // what will not happen still binds what waits for it
                world.act(r, verb, None, true);
            }
            for at in 0..world[r].acts.len() {
                let first = world[r].acts[at];
                if world[first].verb != verb {
                    continue;
                }
                match then {
                    OrderEnd::Act(then) => {
                        world.order(first, then, rule.flags);
                    }
                    OrderEnd::Of(other, then_verb) => {
                        after(world, first, other, then_verb, rule.flags)
                    }
                }
            }
        }
    }
}

fn after(world: &mut World<'_>, first: ActIx, r: ResIx, verb: Verb, flags: OrderFlags) {
    for at in 0..world[r].acts.len() {
        let then = world[r].acts[at];
        if world[then].verb == verb {
            // what a migration has left behind is no reason to begin anew
            let left = world[first].flags.has(ActFlags::DANGLING) && world[first].res == Some(r);
            let flags = if left { flags.without(OrderFlags::FIRST_IMPLIES_THEN) } else { flags };
            world.order(first, then, flags);
        }
    }
}
