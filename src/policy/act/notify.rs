//! Instances that want to know are told before and after anything happens to their siblings.
//!
//! Made when it is known what happens: around each operation of a clone stands one ordering point before and one after,
//! with the messages to the instances between it and its confirmation. Who waits for the clone waits for the last
//! confirmation.

use alloc::{format, vec::Vec};

use crate::{
    model::Role,
    world::{ActFlags, ActIx, NodeIx, OrderFlags, ResIx, Verb, World},
};

/// In the order in which they happen.
const OPERATIONS: [Verb; 4] = [Verb::Demote, Verb::Stop, Verb::Start, Verb::Promote];

pub(crate) fn run(world: &mut World<'_>) {
    for at in 0..world.top.len() {
        let r = world.top[at];
        if world[r].is_clone() && world[r].notify {
            tell(world, r);
        }
    }
}

/// The ordering points around one operation.
struct Frame {
    begin: ActIx,
    told: ActIx,
}

fn tell(world: &mut World<'_>, clone: ResIx) {
    let mut earlier: Vec<ActIx> = Vec::new();
    let mut members = Vec::new();
    primitives(world, clone, &mut members);
    for verb in OPERATIONS {
        // of what nobody begins in the end nobody is told
        let begins = matches!(verb, Verb::Start | Verb::Promote);
        if begins && !members.iter().any(|member| does(world, *member, verb)) {
            continue;
        }
        let Some(begin) = required(world, clone, verb) else { continue };
        let Some(end) = required(world, clone, verb.completed()) else { continue };
        let before = frame(world, clone, "pre", verb.name());
        let after = frame(world, clone, "post", verb.completed().name());
        link(world, before.told, begin);
        link(world, end, after.begin);
        for told in &earlier {
            link(world, *told, before.begin);
        }
        for member in &members {
            tell_member(world, *member, verb, &before, &after);
        }
        // whoever waited for the operation waits until it has been told
        let waiting: Vec<(ActIx, OrderFlags)> = world[end]
            .after
            .iter()
            .filter(|edge| {
                let then = &world[edge.other];
                then.res.is_none_or(|other| world.top_of(other) != clone)
            })
            .map(|edge| (edge.other, edge.flags))
            .collect();
        for (then, flags) in waiting {
            world.order(after.told, then, flags);
        }
        earlier.push(after.told);
    }
}

fn does(world: &World<'_>, r: ResIx, verb: Verb) -> bool {
    world[r].acts.iter().map(|at| &world[*at]).any(|act| {
        act.verb == verb && act.runnable() && (!act.optional() || act.flags.has(ActFlags::KEEP))
    })
}

fn required(world: &World<'_>, clone: ResIx, verb: Verb) -> Option<ActIx> {
    let at = super::first_action(world, clone, verb, None)?;
    let act = &world[at];
    (act.runnable() && (!act.optional() || act.flags.has(ActFlags::KEEP))).then_some(at)
}

fn link(world: &mut World<'_>, first: ActIx, then: ActIx) {
    world.order(first, then, OrderFlags::ORDERED);
}

fn frame(world: &mut World<'_>, clone: ResIx, when: &str, what: &str) -> Frame {
    let mut point = |label| {
        let at = world.push_act(Verb::Notified, Some(clone), None, label);
        world[at].set(ActFlags::PSEUDO);
        at
    };
    let begin = point(format!("{when}_notify_{what}"));
    let told = point(format!("confirmed-{when}_notify_{what}"));
    link(world, begin, told);
    Frame { begin, told }
}

fn primitives(world: &World<'_>, r: ResIx, found: &mut Vec<ResIx>) {
    if world[r].is_primitive() {
        found.push(r);
    }
    for child in &world[r].children {
        primitives(world, *child, found);
    }
}

fn tell_member(world: &mut World<'_>, r: ResIx, verb: Verb, before: &Frame, after: &Frame) {
    match verb {
        Verb::Stop | Verb::Demote => {
            for at in 0..world[r].running_on.len() {
                let node = world[r].running_on[at];
                let stop = super::first_action(world, r, Verb::Stop, Some(node));
                if stop.is_some_and(|stop| world[stop].pseudo()) && world[node].unclean {
                    continue;
                }
                message(world, r, node, "pre", verb.name(), before);
                if verb == Verb::Demote || stop.is_none_or(|stop| world[stop].optional()) {
                    message(world, r, node, "post", verb.completed().name(), after);
                }
            }
        }
        _ => {
            let Some(node) = world[r].node.filter(|_| world[r].next_role != Role::Stopped) else {
                return;
            };
            let start = super::first_action(world, r, Verb::Start, Some(node));
            let stays = start.is_none_or(|start| world[start].optional());
            let starts = start.is_some_and(|start| world[start].runnable());
            if !stays && !starts {
                return;
            }
            if verb != Verb::Start || stays {
                message(world, r, node, "pre", verb.name(), before);
            }
            message(world, r, node, "post", verb.completed().name(), after);
        }
    }
}

fn message(world: &mut World<'_>, r: ResIx, node: NodeIx, when: &str, what: &str, frame: &Frame) {
    if !world[node].online || world[node].unclean {
        return;
    }
    let at = world.push_act(Verb::Notify, Some(r), Some(node), format!("{when}_notify_{what}"));
    link(world, frame.begin, at);
    link(world, at, frame.told);
}
