//! Which actions are in the plan, and which orders among them.

use alloc::{string::String, vec, vec::Vec};

use crate::{
    plan::{Action, ActionId, Intent, Notification, Task},
    unpack::{can_fence, strip_instance},
    world::{Act, ActFlags, ActIx, OrderFlags, ResIx, Verb, World},
};

/// The actions that happen, with the orders among them.
pub(super) struct Graph {
    /// In order of creation.
    pub(super) acts: Vec<ActIx>,
    /// Position in `acts` per action.
    pub(super) position: Vec<Option<u32>>,
    /// Pairs of positions.
    pub(super) edges: Vec<(u32, u32)>,
}

fn happens(world: &World<'_>, act: &Act) -> bool {
    if !act.runnable() || (act.optional() && !act.flags.has(ActFlags::KEEP)) {
        return false;
    }
    if let Some(r) = act.res
        && !world[r].managed
        && !matches!(act.verb, Verb::Probe | Verb::Monitor | Verb::Cancel)
    {
        return false;
    }
    if act.pseudo() || matches!(act.verb, Verb::Fence | Verb::Unfence | Verb::Shutdown) {
        return true;
    }
    let Some(node) = act.node else { return false };
    if act.verb == Verb::ClearFailures || (world.is_guest(node) && !world[node].needs_reset) {
        return true;
    }
    // fencing settles what runs on an unclean node; what nobody can cut off is asked in order
    world[node].online && (!world[node].unclean || !can_fence(world, node))
}

pub(super) fn build(world: &World<'_>) -> Graph {
    let mut position = vec![None; world.acts.len()];
    let mut acts = Vec::new();
    for (at, act) in world.acts.iter().enumerate() {
        if happens(world, act) {
            position[at] = u32::try_from(acts.len()).ok();
            acts.push(ActIx::at(at));
        }
    }
    let mut graph = Graph { acts, position, edges: Vec::new() };
    add_edges(world, &mut graph);
    drop_idle_points(world, &mut graph);
    graph
}

fn is_point(world: &World<'_>, at: ActIx) -> bool {
    let act = &world[at];
    act.verb == Verb::Sync || act.res.is_some_and(|r| !world[r].is_primitive())
}

/// Ordering points are left out where nothing of their resource happens, unless something happens on both sides.
fn drop_idle_points(world: &World<'_>, graph: &mut Graph) {
    if !graph.acts.iter().any(|at| is_point(world, *at)) {
        return;
    }
    let mut busy = vec![false; world.res.len()];
    for at in graph.acts.iter().filter(|at| !is_point(world, **at)) {
        if let Some(r) = world[*at].res {
            busy[world.top_of(r).ix()] = true;
        }
    }
    let idle = |at: ActIx| {
        is_point(world, at) && world[at].res.is_none_or(|r| !busy[world.top_of(r).ix()])
    };
    if !graph.acts.iter().any(|at| idle(*at)) {
        return;
    }
    let point: Vec<bool> = graph.acts.iter().map(|at| is_point(world, *at)).collect();
    let follows = reached(&point, graph.edges.iter().copied());
    let leads = reached(&point, graph.edges.iter().map(|(from, to)| (*to, *from)));
    let drops = |at: usize| idle(graph.acts[at]) && !(follows[at] && leads[at]);
    let mut place = Vec::with_capacity(graph.acts.len());
    let mut acts = Vec::new();
    for (at, act) in graph.acts.iter().enumerate() {
        place.push((!drops(at)).then(|| u32::try_from(acts.len()).unwrap_or(u32::MAX)));
        if !drops(at) {
            acts.push(*act);
        }
    }
    for position in graph.position.iter_mut() {
        *position = position.and_then(|old| place[old as usize]);
    }
    // a point with something on one side only has nothing to hand on
    graph.edges = graph
        .edges
        .iter()
        .filter_map(|(a, b)| Some((place[*a as usize]?, place[*b as usize]?)))
        .collect();
    graph.acts = acts;
}

/// What comes, along the edges, after something that is no mere point.
fn reached(point: &[bool], edges: impl Iterator<Item = (u32, u32)>) -> Vec<bool> {
    let mut next = vec![Vec::new(); point.len()];
    for (from, to) in edges {
        next[from as usize].push(to as usize);
    }
    let mut found = vec![false; point.len()];
    let mut open: Vec<usize> = (0..point.len()).filter(|at| !point[*at]).collect();
    while let Some(at) = open.pop() {
        for other in &next[at] {
            if !core::mem::replace(&mut found[*other], true) {
                open.push(*other);
            }
        }
    }
    found
}

fn add_edges(world: &World<'_>, graph: &mut Graph) {
    let count = graph.acts.len();
    let mut before: Vec<Vec<(u32, OrderFlags)>> = vec![Vec::new(); count];
    for then in &graph.acts {
        let Some(to) = graph.position[then.ix()] else { continue };
        for edge in &world[*then].before {
            let Some(from) = graph.position[edge.other.ix()] else { continue };
            let same_node = edge.flags.has(OrderFlags::SAME_NODE);
            let gives_way = edge.flags.has(OrderFlags::UNLESS_FIRST_MIGRATES);
            if edge.flags == OrderFlags::NONE
                || (gives_way && world[edge.other].flags.has(ActFlags::MIGRATES))
                || (same_node && differ(world[edge.other].node, world[*then].node))
            {
                continue;
            }
            before[to as usize].push((from, edge.flags));
        }
    }
    break_loops(&mut before);
    for (to, list) in before.iter().enumerate() {
        for (from, _) in list {
            graph.edges.push((*from, u32::try_from(to).unwrap_or(u32::MAX)));
        }
    }
}

fn differ(a: Option<crate::world::NodeIx>, b: Option<crate::world::NodeIx>) -> bool {
    a.is_some() && b.is_some() && a != b
}

/// How much an order that stands in a circle is worth keeping: what people would like least, then what they demand,
/// most what resources are made of.
fn worth(flags: OrderFlags) -> u32 {
    let wish = OrderFlags::ORDERED | OrderFlags::CONFIGURED;
    match flags {
        _ if flags == wish => 0,
        _ if flags.has(OrderFlags::CONFIGURED) => 1,
        _ => 2,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Where orders run in a circle, drops the one that is worth least; of equals the one that closes it, as walked from
/// the first action on.
fn break_loops(before: &mut [Vec<(u32, OrderFlags)>]) {
    let mut marks = vec![Mark::New; before.len()];
    for root in 0..before.len() {
        if marks[root] != Mark::New {
            continue;
        }
        // each with the position of the order that is followed next
        let mut stack: Vec<(usize, usize)> = vec![(root, 0)];
        marks[root] = Mark::Open;
        while let Some((at, next)) = stack.last_mut() {
            let at = *at;
            match before[at].get(*next).copied() {
                None => {
                    marks[at] = Mark::Done;
                    stack.pop();
                }
                Some((other, flags)) => match marks[other as usize] {
                    Mark::Open => {
                        let closes = (stack.len() - 1, worth(flags));
                        let least = weakest(before, &stack, other as usize, closes);
                        cut(before, &mut marks, &mut stack, least);
                    }
                    Mark::Done => *next += 1,
                    Mark::New => {
                        *next += 1;
                        marks[other as usize] = Mark::Open;
                        stack.push((other as usize, 0));
                    }
                },
            }
        }
    }
}

/// Depth in the walk of the order that is dropped from the circle that leads back to `to`.
fn weakest(
    before: &[Vec<(u32, OrderFlags)>],
    stack: &[(usize, usize)],
    to: usize,
    closes: (usize, u32),
) -> usize {
    let (mut least, mut value) = closes;
    let own = stack.last().is_some_and(|(at, _)| *at == to);
    for depth in (0..stack.len() - 1).rev().take_while(|_| !own) {
        let (at, next) = stack[depth];
        let (_, flags) = before[at][next - 1];
        if worth(flags) < value {
            (least, value) = (depth, worth(flags));
        }
        if at == to {
            break;
        }
    }
    least
}

/// Drops the order that the walk follows at this depth, and goes on from there.
fn cut(
    before: &mut [Vec<(u32, OrderFlags)>],
    marks: &mut [Mark],
    stack: &mut Vec<(usize, usize)>,
    depth: usize,
) {
    let closing = depth + 1 == stack.len();
    for (at, _) in stack.drain(depth + 1..) {
        marks[at] = Mark::New;
    }
    if let Some((at, next)) = stack.last_mut() {
        // the order that closes the circle was looked at only, not followed
        *next -= usize::from(!closing);
        before[*at].remove(*next);
    }
}

pub(super) fn nodes_with(world: &World<'_>, graph: &Graph, verb: Verb) -> Vec<String> {
    let mut names: Vec<String> = graph
        .acts
        .iter()
        .filter(|at| world[**at].verb == verb)
        .filter_map(|at| world[*at].node)
        // of guests their containers are recovered
        .filter(|node| !world.is_guest(*node))
        .map(|node| String::from(world[node].name()))
        .collect();
    names.sort();
    names
}

/// What people and `sched-sim/1` call an instance: without number unless instances have identity.
pub(super) fn public_name<'w>(world: &'w World<'_>, r: ResIx) -> &'w str {
    let res = &world[r];
    if res.unique || res.parent.is_none() { &res.id } else { res.base }
}

fn intent(world: &World<'_>, graph: &Graph, act: &Act) -> Intent {
    let Some(r) = act.res else { return Intent::Node };
    match act.verb {
        Verb::Start | Verb::Stop | Verb::Started | Verb::Stopped => {}
        Verb::MigrateTo | Verb::MigrateFrom => return Intent::Move,
        Verb::Promote | Verb::Demote | Verb::Promoted | Verb::Demoted => return Intent::RoleChange,
        _ => return Intent::Observe,
    }
    let has = |verb: Verb| {
        world[r]
            .acts
            .iter()
            .copied()
            .find(|at| world[*at].verb == verb && graph.position[at.ix()].is_some())
    };
    match (has(Verb::Stop), has(Verb::Start)) {
        (Some(_), Some(_)) if world[r].failed => Intent::Recover,
        (Some(stop), Some(start)) if world[stop].node == world[start].node => Intent::Restart,
        (Some(_), Some(_)) => Intent::Move,
        (Some(_), None) => Intent::Stop,
        _ => Intent::Start,
    }
}

fn task(act: &Act) -> Task {
    match act.verb {
        Verb::Start => Task::Start,
        Verb::Stop => Task::Stop,
        Verb::Promote => Task::Promote,
        Verb::Demote => Task::Demote,
        Verb::Probe => Task::Probe,
        Verb::Monitor => Task::Monitor { interval_ms: act.interval_ms },
        Verb::Cancel => Task::Cancel { operation: act.label.clone(), interval_ms: act.interval_ms },
        Verb::Notify => Task::Notify,
        Verb::Reload => Task::Reload,
        Verb::MigrateTo => Task::MigrateTo { target: act.label.clone() },
        Verb::MigrateFrom => Task::MigrateFrom { source: act.label.clone() },
        Verb::Delete => Task::Delete,
        Verb::ClearFailures => Task::ClearFailures,
        Verb::Fence => Task::Fence { action: act.fence, delay_ms: 0 },
        Verb::Unfence => Task::Unfence,
        Verb::Shutdown => Task::Shutdown,
        verb => Task::Sync(verb.name().into()),
    }
}

fn notification(act: &Act) -> Option<Notification> {
    if act.verb != Verb::Notify {
        return None;
    }
    let (when, what) = act.label.split_once("_notify_")?;
    Some(Notification { before: when == "pre", operation: what.into() })
}

pub(super) fn render(world: &World<'_>, graph: &Graph) -> (Vec<Action>, Vec<(ActionId, ActionId)>) {
    let actions = graph
        .acts
        .iter()
        .map(|at| {
            let act = &world[*at];
            let collective = act.res.is_some_and(|r| !world[r].is_primitive());
            let guest = act.verb == Verb::Fence && act.pseudo();
            let task = if guest {
                Task::Sync("guest_recovered".into())
            } else if collective || act.verb == Verb::Sync {
                Task::Sync(if act.label.is_empty() {
                    act.verb.name().into()
                } else {
                    act.label.clone()
                })
            } else {
                task(act)
            };
            Action {
                task,
                resource: act.res.map(|r| public_name(world, r).into()),
                instance: act.res.map(|r| {
                    let res = &world[r];
                    match &res.history_name {
                        Some(name) => name.clone(),
                        None if res.unique || !res.is_primitive() => res.id.clone(),
                        None => strip_instance(&res.id).into(),
                    }
                }),
                node: act.node.map(|node| world[node].name().into()),
                intent: intent(world, graph, act),
                implied: act.pseudo() && !collective && !guest && act.verb != Verb::Sync,
                notifies: notification(act),
                digest: String::new(),
            }
        })
        .collect();
    let order = graph.edges.iter().map(|(a, b)| (ActionId(*a), ActionId(*b))).collect();
    (actions, order)
}
