//! What two objects contradict (SPEC-ERRORS.md rule 2): cycles, bans everywhere, policies that need something else.

use std::collections::{BTreeMap, BTreeSet};

use api::names::reason;
use base::ResourceId;
use kube::ResourceExt;
use policy::revision::{
    AttributeExpression, AttributeOperator, ConstraintRule, LocationRule, NoQuorumPolicy,
    NodeIntent, ObjectKind, OrderKind, Revision, SCORE_MAX, Shape,
};

use crate::{Objects, Problem, Verdicts, version_in};

pub(crate) fn check(
    objects: &Objects,
    previous: Option<&Revision>,
    revision: &mut Revision,
    verdicts: &mut Verdicts,
) {
    cycles(revision, previous, verdicts);
    revision.constraints.sort_by(|a, b| a.id.cmp(&b.id));
    ignore_with_exclusive(objects, previous, revision, verdicts);
    unfenced(revision, verdicts);
    unplaceable(revision, verdicts);
    rules_that_match_nobody(revision, verdicts);
}

/// Constraints come with the older ones first, so the one that closes a cycle is the one that is refused.
fn cycles(revision: &mut Revision, previous: Option<&Revision>, verdicts: &mut Verdicts) {
    let mut graph: BTreeMap<ResourceId, BTreeSet<ResourceId>> = BTreeMap::new();
    for placement in revision.placements.iter().filter(|p| p.shape == Shape::Group) {
        for pair in placement.members.windows(2) {
            graph.entry(pair[0].id.clone()).or_default().insert(pair[1].id.clone());
        }
        // whoever waits for the group waits for its last member; the group waits for what its first waits for
        if let Some(last) = placement.members.last() {
            graph.entry(last.id.clone()).or_default().insert(placement.id.clone());
        }
    }
    let mut refused = Vec::new();
    for constraint in &revision.constraints {
        let edges = edges(&constraint.rule);
        let cycle = edges.iter().find_map(|(first, then)| {
            path(&graph, then, first).map(|mut way| {
                way.insert(0, first.clone());
                way
            })
        });
        match cycle {
            Some(way) => {
                let way: Vec<&str> = way.iter().map(ResourceId::as_str).collect();
                refused.push((constraint.id.clone(), way.join(" → ")));
            }
            None => {
                for (first, then) in edges {
                    graph.entry(first).or_default().insert(then);
                }
            }
        }
    }
    for (id, way) in refused {
        let why = format!("ordering cycle {way}: remove one of the orders");
        let problem = Problem::fatal(reason::ORDER_CYCLE, why);
        verdicts.say("PlacementConstraint", &id, vec![problem]);
        revision.constraints.retain(|c| c.id != id);
        revision.objects.retain(|o| o.kind != ObjectKind::PlacementConstraint || o.name != id);
        // what was accepted of it last made no cycle then; it comes back only if it makes none now
        let last = previous.and_then(|p| p.constraints.iter().find(|c| c.id == id));
        if let Some(last) = last
            && edges(&last.rule).iter().all(|(a, b)| path(&graph, b, a).is_none())
        {
            for (first, then) in edges(&last.rule) {
                graph.entry(first).or_default().insert(then);
            }
            revision.constraints.push(last.clone());
            let version = version_in(previous, ObjectKind::PlacementConstraint, &id);
            revision.objects.extend(version);
        }
    }
}

/// Who waits for whom by a mandatory order.
fn edges(rule: &ConstraintRule) -> Vec<(ResourceId, ResourceId)> {
    match rule {
        ConstraintRule::Order { first, then, kind: OrderKind::Mandatory, .. } => {
            vec![(first.resource.clone(), then.resource.clone())]
        }
        ConstraintRule::OrderSets { sets, kind: OrderKind::Mandatory, .. } => {
            let mut out = Vec::new();
            for set in sets.iter().filter(|s| s.sequential) {
                for pair in set.resources.windows(2) {
                    out.push((pair[0].clone(), pair[1].clone()));
                }
            }
            for pair in sets.windows(2) {
                for first in &pair[0].resources {
                    out.extend(pair[1].resources.iter().map(|then| (first.clone(), then.clone())));
                }
            }
            out
        }
        _ => Vec::new(),
    }
}

/// A way from `from` to `to`, both included.
fn path(
    graph: &BTreeMap<ResourceId, BTreeSet<ResourceId>>,
    from: &ResourceId,
    to: &ResourceId,
) -> Option<Vec<ResourceId>> {
    let mut came_from: BTreeMap<&ResourceId, &ResourceId> = BTreeMap::new();
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        if at == to {
            let mut way = vec![at.clone()];
            let mut step = at;
            while let Some(before) = came_from.get(step) {
                way.insert(0, (*before).clone());
                step = before;
            }
            return Some(way);
        }
        for next in graph.get(at).into_iter().flatten() {
            if seen.insert(next) {
                came_from.insert(next, at);
                open.push(next);
            }
        }
    }
    None
}

fn first_exclusive(revision: &Revision) -> Option<&str> {
    revision.placements.iter().find(|p| p.exclusive()).map(|p| p.id.as_str())
}

/// Row 15: the policy in force stays, at first `Stop`.
fn ignore_with_exclusive(
    objects: &Objects,
    previous: Option<&Revision>,
    revision: &mut Revision,
    verdicts: &mut Verdicts,
) {
    if revision.no_quorum_policy != NoQuorumPolicy::Ignore {
        return;
    }
    let Some(id) = first_exclusive(revision) else { return };
    let why = format!(
        "spec.noQuorumPolicy: Ignore permits two active copies of {id:?}; use Stop, Demote, Freeze or Suicide"
    );
    let last = previous.map(|p| p.no_quorum_policy);
    revision.no_quorum_policy =
        last.filter(|p| *p != NoQuorumPolicy::Ignore).unwrap_or(NoQuorumPolicy::Stop);
    let name = objects.cluster.as_ref().map(ResourceExt::name_any).unwrap_or_default();
    let problem = Problem::fatal(reason::IGNORE_WITH_EXCLUSIVE, why);
    verdicts.say("HACluster", &name, vec![problem]);
}

/// Row 22.
fn unfenced(revision: &Revision, verdicts: &mut Verdicts) {
    if revision.fencing.enabled || first_exclusive(revision).is_none() {
        return;
    }
    let why = "spec.fencing.mode: without fencing a lost node's resources are never recovered (requires manual \
               confirmation)";
    let problem = Problem::warning(reason::UNFENCED, why);
    verdicts.say("HACluster", &revision.cluster.name, vec![problem]);
}

/// Row 37: what bans by name leave no member for.
fn unplaceable(revision: &Revision, verdicts: &mut Verdicts) {
    for placement in &revision.placements {
        let mut by = Vec::new();
        let banned_everywhere = revision.voters.iter().all(|voter| {
            let ban = revision.constraints.iter().find(|c| match &c.rule {
                ConstraintRule::Location { resources, role: None, nodes, .. } => {
                    let score = nodes.get(&voter.name);
                    resources.contains(&placement.id) && score.is_some_and(|s| *s <= -SCORE_MAX)
                }
                _ => false,
            });
            by.extend(ban.map(|c| format!("{:?}", c.id)));
            ban.is_some()
        });
        if banned_everywhere {
            by.dedup();
            let why = format!(
                "{:?} is banned on all nodes by constraints {}: remove one",
                placement.id.as_str(),
                by.join(", ")
            );
            let problem = Problem::warning(reason::UNPLACEABLE, why);
            verdicts.say("ResourcePlacement", placement.id.as_str(), vec![problem]);
        }
    }
}

/// Row 37, second half: a selector that no member answers to does nothing, and nobody would notice.
fn rules_that_match_nobody(revision: &Revision, verdicts: &mut Verdicts) {
    for constraint in &revision.constraints {
        let ConstraintRule::Location { rules, .. } = &constraint.rule else { continue };
        for (i, rule) in rules.iter().enumerate() {
            if revision.nodes.iter().any(|node| holds(rule, node)) {
                continue;
            }
            let names: Vec<&str> =
                rule.expressions.iter().map(|e| e.attribute.as_str()).take(3).collect();
            let why = format!(
                "spec.location.rules[{i}] matches no member of {:?}: set {} on its HANodes, or correct the rule",
                revision.cluster.name,
                names.join(", ")
            );
            let problem = Problem::warning(reason::MATCHES_NOBODY, why);
            verdicts.say("PlacementConstraint", &constraint.id, vec![problem]);
        }
    }
}

/// Whether all expressions of a rule hold on a member, as far as objects say. What is built in and not its name is
/// known to the engine only, and counts as a match.
fn holds(rule: &LocationRule, node: &NodeIntent) -> bool {
    rule.expressions.iter().all(|e| {
        if e.attribute == "#uname" {
            return compares(e, Some(node.name.as_str()));
        }
        let value = node.attributes.get(&e.attribute).map(String::as_str);
        e.attribute.starts_with('#') || compares(e, value)
    })
}

fn compares(e: &AttributeExpression, value: Option<&str>) -> bool {
    let number = |text: &str| text.parse::<i64>().ok();
    let against = e.values.first().and_then(|v| number(v));
    match (e.operator, value) {
        (AttributeOperator::Absent, value) => value.is_none(),
        (_, None) => false,
        (AttributeOperator::Present, Some(_)) => true,
        (AttributeOperator::In, Some(value)) => e.values.iter().any(|v| v == value),
        (AttributeOperator::NotIn, Some(value)) => e.values.iter().all(|v| v != value),
        // text that is no number compares with nothing
        (AttributeOperator::GreaterThan, Some(value)) => {
            number(value).zip(against).is_some_and(|(v, a)| v > a)
        }
        (AttributeOperator::LessThan, Some(value)) => {
            number(value).zip(against).is_some_and(|(v, a)| v < a)
        }
    }
}
