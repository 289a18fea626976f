//! `PlacementConstraint` into constraints.

use std::collections::BTreeSet;

use api::{
    PlacementConstraint,
    constraint::{Action, Colocation, Discovery, Expression, Location, Operator, Order, OrderKind},
    names::reason,
    text::ResourceName,
};
use base::{NodeName, ResourceId};
use kube::ResourceExt;
use policy::revision::{
    self as r, ActionOf, AttributeExpression, Constraint, ConstraintRule, DeletionPolicy,
    ObjectKind, ResourceSet, Revision, RoleOf,
};

use crate::{
    Objects, Problem, Verdicts, devices::deletion, parse::Faults, placements::role, version,
    version_in,
};

/// What constraints may name.
struct Known {
    resources: BTreeSet<ResourceId>,
    members: BTreeSet<NodeName>,
    cluster: String,
}

pub(crate) fn compile(
    objects: &Objects,
    previous: Option<&Revision>,
    revision: &mut Revision,
    verdicts: &mut Verdicts,
) {
    let known = known(previous, revision);
    let mut sorted: Vec<&PlacementConstraint> = objects.constraints.iter().collect();
    // the older object stays when a newer one closes a cycle with it
    sorted.sort_by_key(|c| (c.creation_timestamp(), c.name_any()));
    for object in sorted {
        let name = object.name_any();
        let mut faults = Faults::default();
        let rule = rule(object, &known, &mut faults);
        let broken = faults.0.iter().any(|p| p.fatal && p.reason != reason::UNKNOWN_REFERENCE);
        if !broken {
            // something that it names is not there yet: it counts with what is there
            revision.objects.push(version(ObjectKind::PlacementConstraint, object, &object.spec));
            if let Some(rule) = rule {
                let constraint = Constraint {
                    id: name.clone(),
                    rule,
                    deletion: deletion(object.spec.deletion_policy),
                    retained: false,
                };
                revision.constraints.push(constraint);
            }
        } else if let Some(last) =
            previous.and_then(|p| p.constraints.iter().find(|c| c.id == name))
        {
            revision.constraints.push(last.clone());
            let version = version_in(previous, ObjectKind::PlacementConstraint, &name);
            revision.objects.extend(version);
        }
        verdicts.say("PlacementConstraint", &name, faults.0);
    }
}

fn known(previous: Option<&Revision>, revision: &Revision) -> Known {
    let ids = |p: &r::Placement| {
        let mut ids: Vec<ResourceId> = p.members.iter().map(|m| m.id.clone()).collect();
        ids.push(p.id.clone());
        ids
    };
    // a resource without an object that is retained may still be named
    let retained = previous
        .into_iter()
        .flat_map(|p| &p.placements)
        .filter(|p| p.retained || p.deletion == DeletionPolicy::Retain);
    Known {
        resources: revision.placements.iter().chain(retained).flat_map(ids).collect(),
        members: revision.voters.iter().map(|v| v.name.clone()).collect(),
        cluster: revision.cluster.name.clone(),
    }
}

impl Known {
    fn resource(&self, at: &str, name: &ResourceName, faults: &mut Faults) -> Option<ResourceId> {
        let id: ResourceId = faults.id(at, name.as_str())?;
        if self.resources.contains(&id) {
            return Some(id);
        }
        let why = format!("{at}: resource {:?} does not exist (waiting): apply it", name.0);
        faults.0.push(Problem::fatal(reason::UNKNOWN_REFERENCE, why));
        None
    }

    fn member(&self, at: &str, name: &str, faults: &mut Faults) -> Option<NodeName> {
        let id: NodeName = faults.id(at, name)?;
        if self.members.contains(&id) {
            return Some(id);
        }
        let why = format!("{at}: {name:?} is not a member of {:?}: correct the name", self.cluster);
        faults.0.push(Problem::fatal(reason::UNKNOWN_REFERENCE, why));
        None
    }
}

fn rule(
    object: &PlacementConstraint,
    known: &Known,
    faults: &mut Faults,
) -> Option<ConstraintRule> {
    let spec = &object.spec;
    match (&spec.location, &spec.colocation, &spec.order) {
        (Some(l), None, None) => location(l, known, faults),
        (None, Some(c), None) => colocation(c, known, faults),
        (None, None, Some(o)) => order(o, known, faults),
        _ => {
            faults.add("spec", "exactly one of location, colocation and order is required");
            None
        }
    }
}

fn location(l: &Location, known: &Known, faults: &mut Faults) -> Option<ConstraintRule> {
    let at = "spec.location";
    let resources: Vec<_> = l
        .resources
        .iter()
        .enumerate()
        .filter_map(|(i, r)| known.resource(&format!("{at}.resources[{i}]"), r, faults))
        .collect();
    let nodes: std::collections::BTreeMap<_, _> = l
        .nodes
        .iter()
        .enumerate()
        .filter_map(|(i, n)| {
            let name = known.member(&format!("{at}.nodes[{i}].name"), n.name.as_str(), faults)?;
            Some((name, n.score))
        })
        .collect();
    let rules: Vec<_> = l
        .rules
        .iter()
        .map(|r| r::LocationRule {
            score: r.score,
            expressions: r.expressions.iter().map(expression).collect(),
        })
        .collect();
    let discovery = match l.discovery {
        Discovery::Always => r::Discovery::Always,
        Discovery::Exclusive => r::Discovery::Exclusive,
        Discovery::Never => r::Discovery::Never,
    };
    if resources.is_empty() || (nodes.is_empty() && rules.is_empty()) {
        return None;
    }
    Some(ConstraintRule::Location { resources, role: l.role.map(role), nodes, rules, discovery })
}

fn expression(e: &Expression) -> AttributeExpression {
    AttributeExpression {
        attribute: e.attribute.0.clone(),
        operator: match e.operator {
            Operator::DoesNotExist => r::AttributeOperator::Absent,
            Operator::Exists => r::AttributeOperator::Present,
            Operator::Gt => r::AttributeOperator::GreaterThan,
            Operator::In => r::AttributeOperator::In,
            Operator::Lt => r::AttributeOperator::LessThan,
            Operator::NotIn => r::AttributeOperator::NotIn,
        },
        values: e.values.iter().map(|v| v.0.clone()).collect(),
    }
}

fn colocation(c: &Colocation, known: &Known, faults: &mut Faults) -> Option<ConstraintRule> {
    let at = "spec.colocation";
    match (&c.resource, &c.with, &c.sets) {
        (Some(resource), Some(with), None) => {
            let dependent = known.resource(&format!("{at}.resource"), resource, faults);
            let on = known.resource(&format!("{at}.with"), with, faults);
            Some(ConstraintRule::Colocation {
                dependent: RoleOf { resource: dependent?, role: c.role.map(role) },
                on: RoleOf { resource: on?, role: c.with_role.map(role) },
                score: c.score,
            })
        }
        (None, None, Some(sets)) => {
            let sets = self::sets(at, sets, known, faults);
            (!sets.is_empty()).then_some(ConstraintRule::ColocationSets { sets, score: c.score })
        }
        _ => {
            faults.add(at, "write resource and with, or sets alone");
            None
        }
    }
}

fn order(o: &Order, known: &Known, faults: &mut Faults) -> Option<ConstraintRule> {
    let at = "spec.order";
    let kind = match o.kind {
        OrderKind::Mandatory => r::OrderKind::Mandatory,
        OrderKind::Optional => r::OrderKind::Optional,
        OrderKind::Serialize => r::OrderKind::Serialize,
    };
    let symmetric = o.symmetric.unwrap_or(kind != r::OrderKind::Serialize);
    match (&o.first, &o.then, &o.sets) {
        (Some(first), Some(then), None) => {
            let first = known.resource(&format!("{at}.first"), first, faults);
            let then = known.resource(&format!("{at}.then"), then, faults);
            Some(ConstraintRule::Order {
                first: ActionOf { resource: first?, action: action(o.first_action) },
                then: ActionOf { resource: then?, action: action(o.then_action) },
                kind,
                symmetric,
            })
        }
        (None, None, Some(sets)) => {
            let sets = self::sets(at, sets, known, faults);
            (!sets.is_empty()).then_some(ConstraintRule::OrderSets { sets, kind, symmetric })
        }
        _ => {
            faults.add(at, "write first and then, or sets alone");
            None
        }
    }
}

fn sets(
    at: &str,
    sets: &[api::constraint::ResourceSet],
    known: &Known,
    faults: &mut Faults,
) -> Vec<ResourceSet> {
    let mut out = Vec::new();
    for (i, set) in sets.iter().enumerate() {
        let resources: Vec<_> = set
            .resources
            .iter()
            .enumerate()
            .filter_map(|(j, r)| {
                known.resource(&format!("{at}.sets[{i}].resources[{j}]"), r, faults)
            })
            .collect();
        if !resources.is_empty() {
            out.push(ResourceSet {
                resources,
                sequential: set.sequential,
                require_all: set.require_all,
                role: set.role.map(role),
                action: set.action.map(action),
            });
        }
    }
    out
}

fn action(action: Action) -> r::Action {
    match action {
        Action::Demote => r::Action::Demote,
        Action::Promote => r::Action::Promote,
        Action::Start => r::Action::Start,
        Action::Stop => r::Action::Stop,
    }
}
