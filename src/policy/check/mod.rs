//! An independent judge of plans (SAFETY.md#S16): is this plan one that may be carried out at all?
//!
//! Knows the model and the plan, nothing of the engine's inside: it shares no score, no unpacked state and no ordering
//! rule with it, so that one mistake cannot hide in both. It does not say whether a plan is the best one. It runs on
//! every plan of the reference suite, of the properties and of the simulator.
//!
//! Each rule has its own file and its own name; a [`Violation`] cites the rule, the objects and what was expected.

mod constraints;
mod intent;
mod limits;
mod migration;
mod order;
mod outcome;
mod remote;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use crate::{
    Model, Plan,
    model::{Options, Resource, ResourceKind, parse_bool},
    plan::{Action, ActionId, Task},
};

/// A rule that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Name of the rule, for example `stop-before-start`.
    pub rule: &'static str,
    /// The objects, what was seen and what was expected.
    pub what: String,
}

/// Every rule that `plan` breaks as an answer to `model`; empty for a sound plan.
#[must_use]
pub fn check(model: &Model, plan: &Plan) -> Vec<Violation> {
    let mut found = Vec::new();
    let Some(graph) = order::Graph::of(plan, &mut found) else { return found };
    let facts = Facts::of(model, plan);
    order::roles_change_in_order(&facts, &graph, &mut found);
    order::old_copies_end_first(&facts, &graph, &mut found);
    order::fencing_comes_before_recovery(&facts, &graph, &mut found);
    migration::migrations_have_two_halves(&facts, &graph, &mut found);
    migration::nothing_starts_where_it_has_no_room(&facts, &mut found);
    outcome::the_actions_lead_to_the_placements(&facts, &mut found);
    outcome::nothing_is_placed_on_a_fenced_node(&facts, &mut found);
    limits::clones_keep_their_limits(&facts, &mut found);
    constraints::infinite_colocations_hold(&facts, &mut found);
    constraints::mandatory_orders_hold(&facts, &graph, &mut found);
    constraints::nothing_starts_without_what_it_needs(&facts, &mut found);
    constraints::nodes_are_empty_before_they_shut_down(&facts, &graph, &mut found);
    remote::nothing_runs_without_a_connection(&facts, &graph, &mut found);
    intent::nothing_starts_where_it_must_not(&facts, &mut found);
    intent::hands_off_what_is_unmanaged(&facts, &mut found);
    intent::fencing_only_where_it_is_enabled(&facts, &mut found);
    found
}

/// What is read off the model once.
struct Facts<'a> {
    model: &'a Model,
    plan: &'a Plan,
    /// By primitive id.
    primitives: BTreeMap<&'a str, PrimitiveFacts<'a>>,
    fenced: BTreeSet<&'a str>,
}

/// Where a primitive stands in the configuration.
struct PrimitiveFacts<'a> {
    /// Itself first, then what it is inside of, outermost last.
    chain: Vec<&'a Resource>,
    /// The clone that it is inside of.
    clone: Option<&'a Resource>,
    /// Inside of a bundle: named and limited by other rules.
    in_bundle: bool,
}

impl<'a> Facts<'a> {
    fn of(model: &'a Model, plan: &'a Plan) -> Self {
        let mut primitives = BTreeMap::new();
        for resource in &model.resources {
            collect(resource, &mut Vec::new(), &mut primitives);
        }
        for resource in &model.resources {
            let ResourceKind::Bundle(bundle) = &resource.kind else { continue };
            let names = bundle.parts.iter().flat_map(|part| [&part.address, &part.connection]);
            for name in names.flatten() {
                primitives.entry(name.as_str()).and_modify(|part: &mut PrimitiveFacts<'_>| {
                    part.in_bundle = true;
                });
            }
            for part in primitives.values_mut() {
                let inside = |r: &&Resource| Some(&r.id) == bundle.inner.as_ref();
                part.in_bundle |= part.chain.iter().any(inside);
            }
        }
        let fenced = plan.fenced.iter().map(String::as_str).collect();
        Self { model, plan, primitives, fenced }
    }

    /// The primitive that an instance name stands for: `db:1` and `db` are instances of `db`.
    fn primitive(&self, instance: &str) -> Option<&PrimitiveFacts<'a>> {
        self.primitives.get(instance).or_else(|| self.primitives.get(base_name(instance)))
    }

    /// Actions that are carried out or implied, with their ids. Cluster-wide tasks are left out.
    fn actions(&self) -> impl Iterator<Item = (ActionId, &'a Action)> + '_ {
        (0_u32..).map(ActionId).zip(&self.plan.actions)
    }

    /// Resource actions with resource and node.
    fn on_resources(&self) -> impl Iterator<Item = (ActionId, &'a Action, &'a str, &'a str)> + '_ {
        self.actions().filter_map(|(id, action)| {
            Some((id, action, action.resource.as_deref()?, action.node.as_deref()?))
        })
    }

    fn property(&self, names: &[&str]) -> Option<&'a str> {
        names.iter().find_map(|name| plain(&self.model.properties, name))
    }
}

/// A value that stands under no rule. Where rules are involved the checker holds its tongue.
fn plain<'a>(options: &'a Options, name: &str) -> Option<&'a str> {
    if options.has_rules() {
        return None;
    }
    let pairs = options.sets.iter().flat_map(|set| &set.pairs);
    let mut values = pairs.filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let first = values.next();
    // several sets that name it: precedence is the engine's business
    if values.next().is_some() { None } else { first }
}

fn is_true(options: &Options, name: &str) -> bool {
    plain(options, name).and_then(parse_bool) == Some(true)
}

fn is_false(options: &Options, name: &str) -> bool {
    plain(options, name).and_then(parse_bool) == Some(false)
}

fn base_name(instance: &str) -> &str {
    match instance.rsplit_once(':') {
        Some((name, number)) if number.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => instance,
    }
}

const fn changes(task: &Task) -> bool {
    matches!(
        task,
        Task::Start
            | Task::Stop
            | Task::Promote
            | Task::Demote
            | Task::MigrateTo { .. }
            | Task::MigrateFrom { .. }
    )
}

fn collect<'a>(
    resource: &'a Resource,
    outer: &mut Vec<&'a Resource>,
    out: &mut BTreeMap<&'a str, PrimitiveFacts<'a>>,
) {
    outer.push(resource);
    match &resource.kind {
        ResourceKind::Primitive(_) => {
            let chain: Vec<&Resource> = outer.iter().rev().copied().collect();
            let clone = chain.iter().copied().find(|r| matches!(r.kind, ResourceKind::Clone(_)));
            let in_bundle = chain.iter().any(|r| matches!(r.kind, ResourceKind::Bundle(_)));
            out.insert(&resource.id, PrimitiveFacts { chain, clone, in_bundle });
        }
        ResourceKind::Group(members) => {
            for member in members {
                collect(member, outer, out);
            }
        }
        ResourceKind::Clone(spec) => collect(&spec.child, outer, out),
        ResourceKind::Bundle(bundle) => {
            for part in &bundle.parts {
                collect(&part.container, outer, out);
            }
            if let Some(child) = &bundle.child {
                collect(child, outer, out);
            }
        }
    }
    outer.pop();
}

#[cfg(test)]
mod tests;
