//! Location and colocation constraints, resolved to handles.

use alloc::{collections::BTreeMap, format, vec::Vec};

use crate::{
    model::{self, INFINITY, LocationTarget, Role, RuleScore, parse_score},
    world::{
        Coloc, ColocIx, Discovery, LocationRule, OrderEnd, OrderFlags, OrderRule, ResIx, Verb,
        World,
    },
};

use super::{
    pattern::Pattern,
    rules::{Context, holds, resolve},
};

pub(crate) fn read(world: &mut World<'_>) {
    let model = world.model;
    for (index, location) in model.constraints.locations.iter().enumerate() {
        read_location(world, index, location);
    }
    for colocation in &model.constraints.colocations {
        read_colocation(world, colocation);
    }
}

/// A resource by the name that constraints use; anonymous instances cannot be named.
pub(crate) fn find(world: &mut World<'_>, name: &str, constraint: &str) -> Option<ResIx> {
    let found = by_constraint_name(world, name);
    if found.is_none() {
        world
            .warnings
            .push(format!("constraint {constraint} ignored: there is no resource {name}"));
    }
    found
}

fn by_constraint_name(world: &World<'_>, name: &str) -> Option<ResIx> {
    if let Some(r) = world.named(name) {
        return Some(r);
    }
    // the name that history has for an instance stands for its clone
    let known = (0..world.res.len())
        .map(ResIx::at)
        .find(|r| world[*r].history_name.as_deref() == Some(name))?;
    Some(world.top_of(known))
}

fn read_location<'m>(world: &mut World<'m>, index: usize, location: &'m model::Location) {
    for pattern in &location.resources {
        match pattern {
            model::Pattern::Id(name) => {
                if let Some(r) = find(world, name, &location.id) {
                    apply(world, index, location, r, &[]);
                }
            }
            model::Pattern::Matching { pattern, negated } => {
                let Some(parsed) = Pattern::parse(pattern) else {
                    world.warnings.push(format!(
                        "constraint {} ignored: {pattern:?} is no expression",
                        location.id
                    ));
                    continue;
                };
                for at in 0..world.top.len() {
                    let r = world.top[at];
                    let base = world[r].base;
                    let captured = parsed.find(base);
                    if captured.is_some() != *negated {
                        apply(world, index, location, r, captured.as_deref().unwrap_or(&[]));
                    }
                }
            }
        }
    }
}

fn apply(
    world: &mut World<'_>,
    index: usize,
    location: &model::Location,
    r: ResIx,
    captured: &[&str],
) {
    let discovery = match location.discovery.as_str() {
        "never" => Discovery::Never,
        "exclusive" => Discovery::Exclusive,
        _ => Discovery::Always,
    };
    // what may be started may be promoted, so only the promoted role limits anything
    let limits =
        |role: Option<Role>| role.filter(|role| matches!(role, Role::Promoted | Role::Stopped));
    match &location.target {
        LocationTarget::Node { node, score } => {
            let nodes: Vec<_> = world
                .node_ids()
                .filter(|n| world[*n].name().eq_ignore_ascii_case(node))
                .map(|n| (n, *score))
                .collect();
            push(world, r, LocationRule { index, role: limits(location.role), nodes, discovery });
        }
        LocationTarget::Rules(rules) => {
            let parameters = parameters(world, r);
            for rule in rules {
                let mut context = Context::cluster(world.model);
                context.captured = captured;
                context.parameters = Some(&parameters);
                context.meta = Some(&world[r].meta);
                let mut nodes = Vec::new();
                for node in world.node_ids() {
                    let state = &world[node];
                    context.node = Some(&state.attrs);
                    if !holds(rule, &context) {
                        continue;
                    }
                    let score = match &rule.score {
                        RuleScore::Fixed(score) => *score,
                        RuleScore::Attribute(name) => {
                            state.attr(name).and_then(parse_score).unwrap_or(-INFINITY)
                        }
                    };
                    nodes.push((node, score));
                }
                let role = limits(rule.role.or(location.role));
                push(world, r, LocationRule { index, role, nodes, discovery });
            }
        }
    }
}

fn parameters<'m>(world: &World<'m>, r: ResIx) -> BTreeMap<&'m str, &'m str> {
    let mut at = r;
    while let Some(child) = world[at].children.first() {
        at = *child;
    }
    match world[at].primitive {
        Some(primitive) => resolve(&primitive.parameters, &Context::cluster(world.model)),
        None => BTreeMap::new(),
    }
}

fn push(world: &mut World<'_>, r: ResIx, rule: LocationRule) {
    if let Some(inner) = world[r].inner_clone.filter(|_| rule.role.is_some()) {
        return push(world, inner, rule);
    }
    for at in 0..world[r].replicas.len() {
        if let Some(address) = world[r].replicas[at].address {
            push(world, address, rule.clone());
        }
    }
    let at = world.locations.len();
    world.locations.push(rule);
    world[r].locations.push(at);
}

fn read_colocation<'m>(world: &mut World<'m>, colocation: &'m model::Colocation) {
    let sets: Vec<(Vec<ResIx>, &model::ColocationSet)> = colocation
        .sets
        .iter()
        .map(|set| {
            let members =
                set.resources.iter().filter_map(|name| find(world, name, &colocation.id)).collect();
            (members, set)
        })
        .collect();
    if colocation.from_sets {
        for (members, set) in &sets {
            inside_set(world, colocation, members, set);
        }
    }
    for pair in sets.windows(2) {
        let [(dependents, first), (primaries, second)] = pair else { continue };
        // of a chained set only the end towards the other set is tied
        let dependents = match dependents.first() {
            Some(first_member) if first.sequential => core::slice::from_ref(first_member),
            _ => dependents.as_slice(),
        };
        let primaries = match primaries.last() {
            Some(last_member) if second.sequential => core::slice::from_ref(last_member),
            _ => primaries.as_slice(),
        };
        for dependent in dependents {
            for primary in primaries {
                let roles = (first.role, second.role);
                add(world, colocation, colocation.score, (*dependent, *primary), roles);
            }
        }
    }
}

fn inside_set<'m>(
    world: &mut World<'m>,
    colocation: &'m model::Colocation,
    members: &[ResIx],
    set: &'m model::ColocationSet,
) {
    let score = set.score.unwrap_or(colocation.score);
    let roles = (set.role, set.role);
    if !set.sequential {
        return;
    }
    if score < 0 {
        // apart means each from each
        for (at, later) in members.iter().enumerate() {
            for earlier in &members[..at] {
                add(world, colocation, score, (*later, *earlier), roles);
            }
        }
        return;
    }
    for pair in members.windows(2) {
        let ends = if set.listed { (pair[0], pair[1]) } else { (pair[1], pair[0]) };
        add(world, colocation, score, ends, roles);
    }
}

fn add<'m>(
    world: &mut World<'m>,
    colocation: &'m model::Colocation,
    score: i32,
    (dependent, primary): (ResIx, ResIx),
    (dependent_role, primary_role): (Option<Role>, Option<Role>),
) {
    // the roles of a bundle are those of what runs inside
    let bearer = |r: ResIx, role: Option<Role>| match world[r].inner_clone {
        Some(inner) if role.is_some_and(|role| role > Role::Started) => inner,
        _ => r,
    };
    let (dependent, primary) = (bearer(dependent, dependent_role), bearer(primary, primary_role));
    if score == 0 || dependent == primary {
        return;
    }
    let limits = |role: Option<Role>| role.filter(|role| *role != Role::Started);
    let attribute = match colocation.node_attribute.as_str() {
        "" | "#uname" => None,
        name => Some(name),
    };
    let influence = colocation.influence.unwrap_or(world[dependent].critical);
    let (dependent_role, primary_role) = (limits(dependent_role), limits(primary_role));
    if score <= -INFINITY {
        leave_before_enter(world, (dependent, dependent_role), (primary, primary_role));
        leave_before_enter(world, (primary, primary_role), (dependent, dependent_role));
    }
    push_colocation(
        world,
        Coloc {
            id: &colocation.id,
            dependent,
            primary,
            score,
            dependent_role,
            primary_role,
            attribute,
            influence,
            explicit: true,
        },
    );
}

/// Where two must not be together, one leaves a node before the other enters it.
fn leave_before_enter(
    world: &mut World<'_>,
    (first, first_role): (ResIx, Option<Role>),
    (then, then_role): (ResIx, Option<Role>),
) {
    let leave: &[Verb] = match first_role {
        Some(Role::Promoted) => &[Verb::Demote],
        Some(Role::Unpromoted) => &[Verb::Stop, Verb::Promote],
        _ => &[Verb::Stop],
    };
    let enter: &[Verb] = match then_role {
        Some(Role::Promoted) => &[Verb::Promote],
        Some(Role::Unpromoted) => &[Verb::Start, Verb::Demote],
        _ => &[Verb::Start],
    };
    for a in leave {
        for b in enter {
            world.order_rules.push(OrderRule {
                first: OrderEnd::Of(first, *a),
                then: OrderEnd::Of(then, *b),
                flags: OrderFlags::SAME_NODE,
            });
        }
    }
}

pub(crate) fn push_colocation<'m>(world: &mut World<'m>, colocation: Coloc<'m>) {
    let at = ColocIx::at(world.colocs.len());
    let (dependent, primary) = (colocation.dependent, colocation.primary);
    world.colocs.push(colocation);
    world[dependent].this_with.push(at);
    world[primary].with_this.push(at);
}
