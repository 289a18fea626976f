//! Rules about how many.

use alloc::{collections::BTreeMap, format, vec::Vec};

use super::{Facts, Violation, base_name, is_true, plain};
use crate::{
    model::{Resource, ResourceKind, Role},
    plan::Task,
};

/// No start makes more copies than `clone-max`, `clone-node-max`, `promoted-max` and `promoted-node-max` allow.
pub(super) fn clones_keep_their_limits(facts: &Facts<'_>, found: &mut Vec<Violation>) {
    let mut placed: BTreeMap<(&str, bool), BTreeMap<&str, u32>> = BTreeMap::new();
    for (resource, placements) in &facts.plan.placements {
        for placement in placements.iter().filter(|p| p.role.is_active()) {
            // what runs on a node in maintenance cannot be stopped, however many there are
            let node = facts.model.nodes.iter().find(|n| n.name == placement.node);
            if node.is_some_and(|n| is_true(&n.attributes, "maintenance")) {
                continue;
            }
            let by_role = placement.role == Role::Promoted;
            for promoted in [false, true].into_iter().filter(|p| !p || by_role) {
                let nodes = placed.entry((base_name(resource), promoted)).or_default();
                *nodes.entry(&placement.node).or_default() += 1;
            }
        }
    }
    for ((primitive, promoted), nodes) in placed {
        let Some(facts_of) = facts.primitives.get(primitive).filter(|p| !p.in_bundle) else {
            continue;
        };
        let Some(clone) = facts_of.clone else { continue };
        let task = if promoted { Task::Promote } else { Task::Start };
        let grows = facts
            .on_resources()
            .any(|(_, a, resource, _)| a.task == task && base_name(resource) == primitive);
        if !grows {
            // more copies than allowed may stay where nothing can be stopped; none may be added
            continue;
        }
        let (all, each) =
            if promoted { promoted_limits(clone) } else { copies_limits(facts, clone) };
        let total: u32 = nodes.values().sum();
        let role = if promoted { "promoted" } else { "active" };
        if total > all {
            let what = format!("{primitive}: {total} {role} copies, at most {all}");
            found.push(Violation { rule: "clone-limits", what });
        }
        for (node, count) in nodes.into_iter().filter(|(_, count)| *count > each) {
            let what = format!("{primitive}: {count} {role} copies on {node}, at most {each}");
            found.push(Violation { rule: "clone-limits", what });
        }
    }
}

fn number(clone: &Resource, names: &[&str]) -> Option<u32> {
    names.iter().find_map(|name| plain(&clone.meta, name)).and_then(|text| text.trim().parse().ok())
}

fn copies_limits(facts: &Facts<'_>, clone: &Resource) -> (u32, u32) {
    let nodes = u32::try_from(facts.model.nodes.len()).unwrap_or(u32::MAX);
    let each = match number(clone, &["clone-node-max"]) {
        // anonymous copies of one resource cannot be told apart on one node
        Some(each) if is_true(&clone.meta, "globally-unique") => each.max(1),
        _ => 1,
    };
    let all = number(clone, &["clone-max"]).unwrap_or_else(|| nodes.max(1).saturating_mul(each));
    (all, each)
}

fn promoted_limits(clone: &Resource) -> (u32, u32) {
    let promotable = matches!(&clone.kind, ResourceKind::Clone(spec) if spec.promotable)
        || is_true(&clone.meta, "promotable");
    let default = u32::from(promotable);
    let all = number(clone, &["promoted-max", "master-max"]).unwrap_or(default);
    let each = number(clone, &["promoted-node-max", "master-node-max"]).unwrap_or(default);
    (all, each)
}
