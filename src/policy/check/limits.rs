//! Rules about how many.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use super::{Facts, Violation, base_name, is_true, plain};
use crate::{
    model::{Resource, ResourceKind, Role},
    plan::Placement,
};

/// Per clone, by whether only promoted copies count: how many are on each node.
type Copies<'a> = BTreeMap<(&'a str, bool), BTreeMap<&'a str, u32>>;

/// No start makes more copies than `clone-max`, `clone-node-max`, `promoted-max` and `promoted-node-max` allow. More
/// than allowed may stay where nothing can be stopped; none may be added to them.
pub(super) fn clones_keep_their_limits(facts: &Facts<'_>, found: &mut Vec<Violation>) {
    let before = copies(facts, &facts.plan.current);
    for ((id, promoted), nodes) in copies(facts, &facts.plan.placements) {
        let clones = facts.primitives.values().filter(|p| !p.in_bundle).filter_map(|p| p.clone);
        let Some(clone) = clones.into_iter().find(|clone| clone.id == id) else { continue };
        let (all, each) =
            if promoted { promoted_limits(clone) } else { copies_limits(facts, clone) };
        let old = before.get(&(id, promoted));
        let total = |nodes: &BTreeMap<&str, u32>| nodes.values().sum::<u32>();
        let (now, was) = (total(&nodes), old.map_or(0, total));
        let role = if promoted { "promoted" } else { "active" };
        if now > all && now > was {
            let what = format!("{id}: {now} {role} copies after {was}, at most {all}");
            found.push(Violation { rule: "clone-limits", what });
        }
        for (node, now) in nodes.into_iter().filter(|(_, now)| *now > each) {
            let was = old.and_then(|old| old.get(node)).copied().unwrap_or(0);
            if now > was {
                let what =
                    format!("{id}: {now} {role} copies on {node} after {was}, at most {each}");
                found.push(Violation { rule: "clone-limits", what });
            }
        }
    }
}

/// A copy of a group is there as soon as one of its members is.
fn copies<'a>(facts: &Facts<'a>, places: &'a BTreeMap<String, Vec<Placement>>) -> Copies<'a> {
    let mut members: BTreeMap<(&str, bool, &str), u32> = BTreeMap::new();
    for (resource, placements) in places {
        let clone = facts.primitives.get(base_name(resource)).and_then(|p| p.clone);
        let number = resource.rsplit_once(':').and_then(|(_, number)| number.parse::<u32>().ok());
        if clone.zip(number).is_some_and(|(clone, number)| number >= copies_limits(facts, clone).0)
        {
            // left over from a larger `clone-max`: not a copy any more, and stopped as what was removed
            continue;
        }
        for placement in placements.iter().filter(|p| p.role.is_active()) {
            // what runs on a node in maintenance cannot be stopped, however many there are
            let node = facts.model.nodes.iter().find(|n| n.name == placement.node);
            if node.is_some_and(|n| is_true(&n.attributes, "maintenance")) {
                continue;
            }
            let by_role = placement.role == Role::Promoted;
            for promoted in [false, true].into_iter().filter(|p| !p || by_role) {
                *members.entry((base_name(resource), promoted, &placement.node)).or_default() += 1;
            }
        }
    }
    let mut copies = Copies::new();
    for ((member, promoted, node), count) in members {
        let Some(clone) = facts.primitives.get(member).and_then(|p| p.clone) else { continue };
        let most = copies.entry((&clone.id, promoted)).or_default().entry(node).or_default();
        *most = count.max(*most);
    }
    copies
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
