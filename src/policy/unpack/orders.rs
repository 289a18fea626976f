//! Order constraints, resolved to rules between actions that may come to exist.

use alloc::{format, vec::Vec};

use crate::{
    model::{self, OrderKind, parse_score},
    world::{ActFlags, OrderEnd, OrderFlags, OrderRule, ResIx, Verb, World},
};

use super::constraints::find;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Symmetry {
    Asymmetric,
    Symmetric,
    Inverse,
}

pub(crate) fn read(world: &mut World<'_>) {
    let model = world.model;
    for order in &model.constraints.orders {
        read_order(world, order);
    }
}

/// `first` is what the order names first, also where it is read backwards.
fn flags_for(kind: OrderKind, first: Verb, symmetry: Symmetry) -> OrderFlags {
    let flags = match (kind, symmetry) {
        (OrderKind::Optional, _) => OrderFlags::ORDERED,
        (OrderKind::Serialize, _) => OrderFlags::SERIALIZE,
        (OrderKind::Mandatory, Symmetry::Asymmetric) => {
            OrderFlags::ORDERED | OrderFlags::ASYMMETRIC
        }
        (OrderKind::Mandatory, Symmetry::Symmetric) => {
            let base = OrderFlags::ORDERED | OrderFlags::FIRST_IMPLIES_THEN;
            if matches!(first, Verb::Start | Verb::Promote) {
                base | OrderFlags::UNRUNNABLE_FIRST_BLOCKS
            } else {
                base
            }
        }
        // who starts after a stop does not make way when what has stopped comes up again
        (OrderKind::Mandatory, Symmetry::Inverse) if matches!(first, Verb::Stop | Verb::Demote) => {
            OrderFlags::ORDERED
        }
        (OrderKind::Mandatory, Symmetry::Inverse) => {
            OrderFlags::ORDERED | OrderFlags::THEN_IMPLIES_FIRST
        }
    };
    flags | OrderFlags::CONFIGURED
}

const fn inverse(verb: Verb) -> Verb {
    match verb {
        Verb::Start => Verb::Stop,
        Verb::Stop => Verb::Start,
        Verb::Promote => Verb::Demote,
        Verb::Demote => Verb::Promote,
        other => other,
    }
}

struct Set {
    members: Vec<ResIx>,
    verb: Verb,
    sequential: bool,
    require_all: bool,
    kind: OrderKind,
    symmetry: Symmetry,
}

fn symmetry_of(kind: OrderKind, symmetrical: Option<bool>) -> Symmetry {
    if kind != OrderKind::Serialize && symmetrical.unwrap_or(true) {
        Symmetry::Symmetric
    } else {
        Symmetry::Asymmetric
    }
}

fn read_order(world: &mut World<'_>, order: &model::Order) {
    let symmetry = symmetry_of(order.kind, order.symmetrical);
    let mut sets = Vec::new();
    for set in &order.sets {
        let action = if set.action.is_empty() { "start" } else { &set.action };
        let Some(verb) = Verb::parse(action) else {
            world
                .warnings
                .push(format!("constraint {} ignored: no action is called {action}", order.id));
            return;
        };
        let kind = set.kind.unwrap_or(order.kind);
        sets.push(Set {
            members: set.resources.iter().filter_map(|name| find(world, name, &order.id)).collect(),
            verb,
            sequential: set.sequential,
            require_all: set.require_all,
            kind,
            symmetry: symmetry_of(kind, set.symmetrical.or(order.symmetrical)),
        });
    }
    if !order.from_sets {
        if let [first, then] = sets.as_slice()
            && let ([a], [b]) = (first.members.as_slice(), then.members.as_slice())
        {
            pair(world, order, (*a, first.verb), (*b, then.verb), symmetry);
        }
        return;
    }
    for set in &sets {
        inside(world, set);
    }
    for (at, pair) in sets.windows(2).enumerate() {
        between(world, order, at, &pair[0], &pair[1], symmetry);
    }
}

fn add(world: &mut World<'_>, first: (ResIx, Verb), then: (ResIx, Verb), flags: OrderFlags) {
    // roles of a bundle are those of what runs inside
    let acts = |(r, verb): (ResIx, Verb)| match world[r].inner_clone {
        Some(inner) if matches!(verb, Verb::Promote | Verb::Demote) => (inner, verb),
        _ => (r, verb),
    };
    let (first, then) = (acts(first), acts(then));
    world.order_rules.push(OrderRule {
        first: OrderEnd::Of(first.0, first.1),
        then: OrderEnd::Of(then.0, then.1),
        flags,
    });
}

fn pair(
    world: &mut World<'_>,
    order: &model::Order,
    first: (ResIx, Verb),
    then: (ResIx, Verb),
    symmetry: Symmetry,
) {
    let flags = flags_for(order.kind, first.1, symmetry);
    let minimum = minimum_before(world, first.0, order.require_all);
    if minimum > 0 {
        let met = gate(world, format!("clone-one-or-more:{}", order.id), minimum);
        for at in 0..world.child_count(first.0) {
            let instance = world.child(first.0, at);
            world.order_rules.push(OrderRule {
                first: OrderEnd::Of(instance, first.1),
                then: met,
                flags: OrderFlags::MIN_RUNNABLE | OrderFlags::THEN_IMPLIES_FIRST_KEPT,
            });
        }
        let flags =
            flags | OrderFlags::UNRUNNABLE_FIRST_BLOCKS | OrderFlags::THEN_IMPLIES_FIRST_KEPT;
        world.order_rules.push(OrderRule { first: met, then: OrderEnd::Of(then.0, then.1), flags });
    } else {
        add(world, first, then, flags);
    }
    if symmetry == Symmetry::Symmetric && minimum > 0 {
        // enough may remain when some stop, so stopping implies nothing
        add(world, (then.0, inverse(then.1)), (first.0, inverse(first.1)), OrderFlags::ORDERED);
    } else if symmetry == Symmetry::Symmetric {
        let flags = flags_for(order.kind, first.1, Symmetry::Inverse);
        add(world, (then.0, inverse(then.1)), (first.0, inverse(first.1)), flags);
    }
}

/// How many instances of the first resource are enough; 0 asks for all.
fn minimum_before(world: &World<'_>, first: ResIx, require_all: bool) -> u32 {
    if !world[first].is_clone() {
        return 0;
    }
    let minimum = world[first].meta("clone-min").and_then(parse_score).unwrap_or(0);
    match u32::try_from(minimum) {
        Ok(minimum) if minimum > 0 => minimum,
        _ => u32::from(!require_all),
    }
}

fn gate(world: &mut World<'_>, label: alloc::string::String, minimum: u32) -> OrderEnd {
    let act = world.new_sync(label);
    world[act].flags =
        ActFlags::OPTIONAL | ActFlags::RUNNABLE | ActFlags::PSEUDO | ActFlags::MIN_RUNNABLE;
    world[act].required_before = minimum;
    OrderEnd::Act(act)
}

fn inside(world: &mut World<'_>, set: &Set) {
    let flags = flags_for(set.kind, set.verb, set.symmetry);
    if set.kind == OrderKind::Serialize {
        for (at, earlier) in set.members.iter().enumerate() {
            for later in &set.members[at + 1..] {
                add(world, (*earlier, set.verb), (*later, set.verb), flags);
            }
        }
        return;
    }
    if !set.sequential {
        return;
    }
    for pair in set.members.windows(2) {
        add(world, (pair[0], set.verb), (pair[1], set.verb), flags);
        if set.symmetry == Symmetry::Symmetric {
            let flags = flags_for(set.kind, set.verb, Symmetry::Inverse);
            let verb = inverse(set.verb);
            add(world, (pair[1], verb), (pair[0], verb), flags);
        }
    }
}

fn between(
    world: &mut World<'_>,
    order: &model::Order,
    at: usize,
    first: &Set,
    then: &Set,
    symmetry: Symmetry,
) {
    let flags = flags_for(order.kind, first.verb, symmetry);
    let end = |set: &Set, last: bool| -> Vec<ResIx> {
        let one = if last { set.members.last() } else { set.members.first() };
        match one {
            Some(one) if set.sequential => alloc::vec![*one],
            _ => set.members.clone(),
        }
    };
    if first.require_all {
        for a in end(first, true) {
            for b in end(then, false) {
                add(world, (a, first.verb), (b, then.verb), flags);
            }
        }
    } else {
        let met = gate(world, format!("one-or-more:{}-{at}", order.id), 1);
        for a in &first.members {
            world.order_rules.push(OrderRule {
                first: OrderEnd::Of(*a, first.verb),
                then: met,
                flags: OrderFlags::MIN_RUNNABLE | OrderFlags::THEN_IMPLIES_FIRST_KEPT,
            });
        }
        for b in &then.members {
            let flags =
                flags | OrderFlags::UNRUNNABLE_FIRST_BLOCKS | OrderFlags::THEN_IMPLIES_FIRST_KEPT;
            let then = OrderEnd::Of(*b, then.verb);
            world.order_rules.push(OrderRule { first: met, then, flags });
        }
    }
    if symmetry == Symmetry::Symmetric && then.require_all {
        let (a, b) = (inverse(then.verb), inverse(first.verb));
        let flags = flags_for(order.kind, first.verb, Symmetry::Inverse);
        for later in end(then, false) {
            for earlier in end(first, true) {
                add(world, (later, a), (earlier, b), flags);
            }
        }
    }
}
