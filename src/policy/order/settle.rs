//! Applies orders until nothing changes. Actions only ever become more required or less possible (counted gates
//! excepted, which are counted anew each time), so this ends.

use alloc::{collections::VecDeque, vec::Vec};

use crate::{
    model::{INFINITY, Role},
    place::{role_of, with_this},
    world::{ActFlags, ActIx, Edge, NodeIx, OrderFlags, ResIx, Variant, Verb, World},
};

use super::{flags, interleave, migration, migration::stops_for};

/// What an order changed.
#[derive(Default)]
pub(super) struct Changed {
    pub(super) first: bool,
    pub(super) then: bool,
    /// Other actions to look at again.
    pub(super) touched: Vec<ActIx>,
}

impl Changed {
    pub(super) fn merge(&mut self, other: Self) {
        self.first |= other.first;
        self.then |= other.then;
        self.touched.extend(other.touched);
    }
}

struct Queue(VecDeque<ActIx>);

impl Queue {
    fn push(&mut self, world: &mut World<'_>, at: ActIx) {
        if !world[at].queued {
            world[at].queued = true;
            self.0.push_back(at);
        }
    }

    fn push_after(&mut self, world: &mut World<'_>, at: ActIx) {
        for index in 0..world[at].after.len() {
            let other = world[at].after[index].other;
            self.push(world, other);
        }
    }
}

pub(super) fn run(world: &mut World<'_>) {
    flags::list_inner(world);
    let mut queue = Queue(VecDeque::new());
    for at in 0..world.acts.len() {
        let at = ActIx::at(at);
        block_dependents(world, at, &mut queue);
    }
    for at in 0..world.acts.len() {
        queue.push(world, ActIx::at(at));
    }
    // each action can lose two flags; with gates and instances this bound is generous
    let mut steps = 64 * world.acts.len() + 1024;
    while let Some(at) = queue.0.pop_front() {
        world[at].queued = false;
        steps -= 1;
        if steps == 0 {
            world.warnings.push("orders contradict each other and were cut off".into());
            break;
        }
        visit(world, at, &mut queue);
    }
}

fn visit(world: &mut World<'_>, then: ActIx, queue: &mut Queue) {
    let before = world[then].flags;
    let gate = before.has(ActFlags::MIN_RUNNABLE);
    if gate {
        // belongs to no resource, so it is inside of nothing
        world[then].clear(ActFlags::RUNNABLE);
    }
    let mut enough = 0_u32;
    let mut at = 0;
    while at < world[then].before.len() {
        let edge = world[then].before[at];
        at += 1;
        if edge.flags == OrderFlags::NONE {
            continue;
        }
        let first = edge.other;
        if edge.flags.has(OrderFlags::SAME_NODE) && !same_node(world, first, then) {
            continue;
        }
        if edge.flags.has(OrderFlags::THEN_CANCELS_FIRST) && !world[then].optional() {
            world[first].set(ActFlags::OPTIONAL);
            world.changes += 1;
        }
        let then_node = world[then].node;
        let first_node = world[first].node;
        let first_flags = flags::for_order(world, first, then_node);
        let then_flags = flags::for_order(world, then, first_node);
        if gate && edge.flags.has(OrderFlags::MIN_RUNNABLE) && first_flags.has(ActFlags::RUNNABLE) {
            enough += 1;
            if enough >= world[then].required_before {
                world[then].set(ActFlags::RUNNABLE);
            }
        }
        let were = (world[first].flags, world[then].flags);
        let changed = apply(world, edge, then, first_flags, then_flags);
        if were != (world[first].flags, world[then].flags) || !changed.touched.is_empty() {
            world.changes += 1;
        }
        if changed.first {
            queue.push_after(world, first);
            queue.push(world, first);
            push_parent(world, first, queue);
        }
        for touched in changed.touched {
            queue.push(world, touched);
            queue.push_after(world, touched);
            push_parent(world, touched, queue);
        }
    }
    if world[then].flags != before {
        if before.has(ActFlags::RUNNABLE) && !world[then].runnable() {
            block_dependents(world, then, queue);
        }
        queue.push(world, then);
        queue.push_after(world, then);
        push_parent(world, then, queue);
    }
}

/// What contains a changed action may have changed with it.
fn push_parent(world: &mut World<'_>, at: ActIx, queue: &mut Queue) {
    let Some(r) = world[at].res else { return };
    let verb = world[at].verb;
    let mut parent = world[r].parent;
    while let Some(p) = parent {
        for index in 0..world[p].acts.len() {
            let act = world[p].acts[index];
            if world[act].verb.begun() == verb.begun() {
                queue.push(world, act);
                queue.push_after(world, act);
            }
        }
        parent = world[p].parent;
    }
}

fn same_node(world: &World<'_>, first: ActIx, then: ActIx) -> bool {
    match (world[first].node, world[then].node) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    }
}

fn apply(
    world: &mut World<'_>,
    edge: Edge,
    then: ActIx,
    first_flags: ActFlags,
    then_flags: ActFlags,
) -> Changed {
    let first = edge.other;
    let mut changed = Changed::default();
    let mut kind = edge.flags;
    let mut node = world[then].node;
    if kind.has(OrderFlags::FIRST_IMPLIES_SAME_NODE_THEN) {
        kind =
            kind.without(OrderFlags::FIRST_IMPLIES_SAME_NODE_THEN) | OrderFlags::FIRST_IMPLIES_THEN;
        node = world[first].node;
    }
    let has_res = world[then].res.is_some();
    let mut go = |world: &mut World<'_>, filter: ActFlags, one: OrderFlags| {
        if kind.has(one) {
            // whose order it is decides which one gives way, also between copies and members
            let one = one | (kind & OrderFlags::CONFIGURED);
            let part = update(world, first, then, node, first_flags, filter, one);
            changed.merge(part);
        }
    };
    if has_res {
        go(world, ActFlags::OPTIONAL, OrderFlags::FIRST_IMPLIES_THEN);
        go(world, ActFlags::OPTIONAL | ActFlags::RUNNABLE, OrderFlags::INTERMEDIATE_STOP);
    } else if kind.has(OrderFlags::FIRST_IMPLIES_THEN) && !first_flags.has(ActFlags::OPTIONAL) {
        world[then].clear(ActFlags::OPTIONAL);
    }
    if kind.has(OrderFlags::THEN_IMPLIES_FIRST)
        && world[first].res.is_some()
        && !then_flags.has(ActFlags::OPTIONAL)
    {
        go(world, ActFlags::OPTIONAL, OrderFlags::THEN_IMPLIES_FIRST);
    }
    if has_res {
        go(world, ActFlags::OPTIONAL, OrderFlags::PROMOTED_THEN_IMPLIES_FIRST);
        go(world, ActFlags::RUNNABLE, OrderFlags::UNRUNNABLE_FIRST_BLOCKS);
        go(world, ActFlags::RUNNABLE, OrderFlags::ORDERED);
        go(world, ActFlags::RUNNABLE, OrderFlags::ASYMMETRIC);
        go(world, ActFlags::OPTIONAL, OrderFlags::LOST_WITH_THEN);
        go(world, ActFlags::OPTIONAL, OrderFlags::STANDS_FOR_THEN);
    } else if kind.has(OrderFlags::UNRUNNABLE_FIRST_BLOCKS) && !first_flags.has(ActFlags::RUNNABLE)
    {
        world[then].clear(ActFlags::RUNNABLE);
    }
    if kind.has(OrderFlags::FIRST_IMPLIES_THEN_KEPT)
        && world[first].runnable()
        && !first_flags.has(ActFlags::OPTIONAL)
    {
        world[then].set(ActFlags::KEEP);
    }
    if kind.has(OrderFlags::THEN_IMPLIES_FIRST_KEPT) && !then_flags.has(ActFlags::OPTIONAL) {
        world[first].set(ActFlags::KEEP);
    }
    // what cannot be stopped holds up what waits for the stop
    let waits = OrderFlags::FIRST_IMPLIES_THEN
        | OrderFlags::THEN_IMPLIES_FIRST
        | OrderFlags::INTERMEDIATE_STOP;
    if kind.any(waits)
        && let Some(r) = world[first].res
        && world[first].verb == Verb::Stop
        && !world[r].managed
        && world[r].blocked
        && !first_flags.has(ActFlags::RUNNABLE)
    {
        world[then].clear(ActFlags::RUNNABLE);
    }
    changed
}

/// Applies one aspect of an order to its second action, and to the members or instances of that.
pub(super) fn update(
    world: &mut World<'_>,
    first: ActIx,
    then: ActIx,
    node: Option<NodeIx>,
    flags: ActFlags,
    filter: ActFlags,
    kind: OrderFlags,
) -> Changed {
    let Some(r) = world[then].res else { return Changed::default() };
    match world[r].variant {
        Variant::Primitive => update_one(world, first, then, flags, filter, kind),
        Variant::Group => {
            let mut changed = update_one(world, first, then, flags, filter, kind);
            let verb = world[then].verb;
            for at in 0..world.child_count(r) {
                let member = world.child(r, at);
                if let Some(inner) = crate::act::first_action(world, member, verb, node)
                    && inner != first
                {
                    changed.merge(update_inner(world, first, inner, node, flags, filter, kind));
                }
            }
            changed
        }
        Variant::Clone if interleave::applies(world, first, then) => {
            interleave::update_instances(world, first, then, node, filter, kind)
        }
        Variant::Clone => {
            let mut changed = update_one(world, first, then, flags, filter, kind);
            let verb = world[then].verb;
            for at in 0..world.child_count(r) {
                let instance = world.child(r, at);
                let place = node.filter(|_| world[instance].is_primitive());
                let Some(inner) = crate::act::first_action(world, instance, verb, place) else {
                    continue;
                };
                if inner == first
                    || !flags::of(world, instance, inner, node).has(ActFlags::RUNNABLE)
                {
                    continue;
                }
                changed.merge(update_inner(world, first, inner, node, flags, filter, kind));
            }
            changed
        }
    }
}

/// An order with a group or clone binds what is inside, whose actions must be looked at again.
fn update_inner(
    world: &mut World<'_>,
    first: ActIx,
    inner: ActIx,
    node: Option<NodeIx>,
    flags: ActFlags,
    filter: ActFlags,
    kind: OrderFlags,
) -> Changed {
    let mut changed = update(world, first, inner, node, flags, filter, kind);
    if changed.then {
        changed.touched.push(inner);
        changed.then = false;
    }
    changed
}

fn update_one(
    world: &mut World<'_>,
    first: ActIx,
    then: ActIx,
    flags: ActFlags,
    filter: ActFlags,
    kind: OrderFlags,
) -> Changed {
    let (then_before, first_before) = (world[then].flags, world[first].flags);
    if kind.has(OrderFlags::ASYMMETRIC) {
        asymmetric(world, first, then);
    }
    if kind.has(OrderFlags::THEN_IMPLIES_FIRST)
        && filter.has(ActFlags::OPTIONAL)
        && !then_before.has(ActFlags::OPTIONAL)
        && !then_before.has(ActFlags::MIGRATES)
    {
        world[first].clear(ActFlags::OPTIONAL);
        stops_for(world, first, then);
    }
    migration::bind(world, first, then, kind);
    if kind.has(OrderFlags::PROMOTED_THEN_IMPLIES_FIRST)
        && !then_before.has(ActFlags::OPTIONAL)
        && world[then].res.is_some_and(|r| world[r].role == Role::Promoted)
    {
        world[first].clear(ActFlags::OPTIONAL);
        stops_for(world, first, then);
    }
    if kind.has(OrderFlags::UNRUNNABLE_FIRST_BLOCKS)
        && filter.has(ActFlags::RUNNABLE)
        && !flags.has(ActFlags::RUNNABLE)
    {
        world[then].clear(ActFlags::RUNNABLE | ActFlags::MIGRATES);
    }
    // what somebody ordered after a step that is due and cannot be taken is not restarted for that step's sake
    let cannot = !flags.has(ActFlags::RUNNABLE) || flags.has(ActFlags::IN_VAIN);
    let in_vain = kind.has(OrderFlags::CONFIGURED) && cannot;
    if kind.has(OrderFlags::FIRST_IMPLIES_THEN)
        && filter.has(ActFlags::OPTIONAL)
        && !flags.has(ActFlags::OPTIONAL)
        && !in_vain
        && !world[first].flags.has(ActFlags::MIGRATES)
    {
        world[then].clear(ActFlags::OPTIONAL);
    }
    if kind.has(OrderFlags::INTERMEDIATE_STOP) {
        restart(world, first, then, filter);
    }
    let lost = |before: ActFlags, now: ActFlags, flag| before.has(flag) && !now.has(flag);
    if lost(then_before, world[then].flags, ActFlags::RUNNABLE) {
        world[then].blocked_by.get_or_insert(first);
    }
    if lost(then_before, world[then].flags, ActFlags::OPTIONAL) {
        world[then].required_by.get_or_insert(first);
    }
    if lost(first_before, world[first].flags, ActFlags::OPTIONAL) {
        world[first].required_by.get_or_insert(then);
    }
    Changed {
        first: world[first].flags != first_before,
        then: world[then].flags != then_before,
        touched: Vec::new(),
    }
}

/// A stop that is half of a restart is required if the start is, or if the start cannot be.
fn restart(world: &mut World<'_>, first: ActIx, then: ActIx, filter: ActFlags) {
    let (Some(a), Some(b)) = (world[first].res, world[then].res) else { return };
    let required = filter.has(ActFlags::OPTIONAL) && !world[then].optional();
    let lost =
        filter.has(ActFlags::RUNNABLE) && !world[then].runnable() && world[b].managed && a == b;
    if !required && !lost {
        return;
    }
    if world[first].runnable() || !world[then].optional() {
        world[first].clear(ActFlags::OPTIONAL);
    }
    if !world[then].flags.has(ActFlags::MIGRATES) {
        world[first].clear(ActFlags::MIGRATES);
    }
    if !world[first].optional() && !world[first].runnable() {
        world[then].clear(ActFlags::RUNNABLE);
    }
}

/// An order that is not symmetrical binds only what is to begin.
fn asymmetric(world: &mut World<'_>, first: ActIx, then: ActIx) {
    if !world[first].runnable() {
        bar(world, then);
    }
}

/// The same where it is known that nothing comes before. Says whether that changed anything.
pub(super) fn hold_up(world: &mut World<'_>, first: ActIx, then: ActIx) -> bool {
    let before = world[then].flags;
    bar(world, then);
    if before.has(ActFlags::RUNNABLE) && !world[then].runnable() {
        world[then].blocked_by.get_or_insert(first);
    }
    world[then].flags != before
}

fn bar(world: &mut World<'_>, then: ActIx) {
    let Some(r) = world[then].res else { return };
    if world[then].optional() {
        let role = role_of(world, r, true);
        if role == Role::Stopped && world[then].verb == Verb::Stop {
            return;
        }
        let place = crate::place::location(world, r, false);
        if role >= Role::Started
            && world[then].verb == Verb::Start
            && place.is_some_and(|place| world[r].running_on == [place])
        {
            return;
        }
        world[then].clear(ActFlags::OPTIONAL);
    }
    world[then].clear(ActFlags::RUNNABLE);
}

/// What must run beside something that cannot start cannot start either.
fn block_dependents(world: &mut World<'_>, at: ActIx, queue: &mut Queue) {
    let act = &world[at];
    if act.runnable() || !matches!(act.verb, Verb::Start | Verb::Promote) {
        return;
    }
    let start = act.verb == Verb::Start;
    let Some(r) = act.res else { return };
    for colocation in with_this(world, r) {
        let colocation = &world[colocation];
        if colocation.score < INFINITY || colocation.primary != r && world[r].parent.is_some() {
            continue;
        }
        // a tie to a role that the primary cannot have binds nothing
        let promotable = world[world.top_of(colocation.primary)].promotable;
        if colocation.primary_role.is_some() && !promotable {
            continue;
        }
        if !start && colocation.primary_role != Some(Role::Promoted) {
            continue;
        }
        let verb = if colocation.dependent_role.is_some_and(|role| role >= Role::Promoted) {
            Verb::Promote
        } else {
            Verb::Start
        };
        let dependent = colocation.dependent;
        block(world, dependent, verb, at, queue);
    }
}

fn block(world: &mut World<'_>, r: ResIx, verb: Verb, by: ActIx, queue: &mut Queue) {
    for at in 0..world[r].acts.len() {
        let act = world[r].acts[at];
        if world[act].verb == verb && world[act].runnable() {
            world[act].clear(ActFlags::RUNNABLE);
            world[act].blocked_by.get_or_insert(by);
            world.changes += 1;
            queue.push(world, act);
            queue.push_after(world, act);
            push_parent(world, act, queue);
            block_dependents(world, act, queue);
        }
    }
    for at in 0..world.child_count(r) {
        let child = world.child(r, at);
        block(world, child, verb, by, queue);
    }
}
