//! Rules about live migrations and about room.
//!
//! What migrates is on its source until migrate_to, on its target after migrate_from, and never started on both: the
//! start on the target is only the name of its arrival.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use super::{Facts, Violation, order::Graph, plain};
use crate::{
    model::{Options, ResourceKind},
    plan::{ActionId, Task},
};

/// Whether a resource comes to a node by migration from another.
pub(super) fn arrives(facts: &Facts<'_>, resource: &str, source: &str, target: &str) -> bool {
    facts.on_resources().any(|(_, action, other, node)| {
        other == resource
            && node == target
            && matches!(&action.task, Task::MigrateFrom { source: from } if from == source)
    })
}

/// migrate_to comes before migrate_from, that before the stop on the source, which there is, and before the start on the
/// target, which is not carried out. Without the first half it must have run on the source all the same.
pub(super) fn migrations_have_two_halves(
    facts: &Facts<'_>,
    graph: &Graph,
    found: &mut Vec<Violation>,
) {
    let mut add = |what: String| found.push(Violation { rule: "migrate-to-from-stop", what });
    let find = |resource: &str, node: &str, wanted: &dyn Fn(&Task) -> bool| {
        let mut all = facts.on_resources();
        let one = all.find(|(_, a, r, n)| *r == resource && *n == node && wanted(&a.task));
        one.map(|(id, action, ..)| (id, action.implied))
    };
    for (id, action, resource, node) in facts.on_resources() {
        match &action.task {
            Task::MigrateTo { target } => {
                let from =
                    |task: &Task| matches!(task, Task::MigrateFrom { source } if source == node);
                match find(resource, target, &from) {
                    Some((from, _)) if graph.is_before(id, from) => {}
                    _ => add(format!(
                        "{resource} leaves {node} and does not arrive on {target} after that"
                    )),
                }
            }
            Task::MigrateFrom { source } => {
                let runs = facts.plan.current.get(resource).is_some_and(|places| {
                    places.iter().any(|place| place.role.is_active() && place.node == *source)
                });
                if !runs {
                    add(format!(
                        "{resource} arrives on {node} from {source}, where it does not run"
                    ));
                }
                let after = |one: Option<(ActionId, bool)>| {
                    one.filter(|(one, _)| graph.is_before(id, *one))
                };
                if after(find(resource, source, &|task| *task == Task::Stop)).is_none() {
                    add(format!(
                        "{resource} is not stopped on {source} once it has arrived on {node}"
                    ));
                }
                match after(find(resource, node, &|task| *task == Task::Start)) {
                    Some((_, true)) => {}
                    _ => add(format!(
                        "{resource} is started on {node}, where it has arrived by migration"
                    )),
                }
            }
            _ => {}
        }
    }
}

/// With a placement strategy nothing starts on a node that was never large enough for it.
pub(super) fn nothing_starts_where_it_has_no_room(facts: &Facts<'_>, found: &mut Vec<Violation>) {
    let strategy = facts.property(&["placement-strategy"]).unwrap_or("default");
    if !matches!(strategy, "utilization" | "minimal" | "balanced") {
        return;
    }
    for (_, action, resource, name) in facts.on_resources() {
        let primitive = facts.primitive(resource).and_then(|p| match &p.chain.first()?.kind {
            ResourceKind::Primitive(primitive) => Some(primitive),
            _ => None,
        });
        let node = facts.model.nodes.iter().find(|node| node.name == name);
        let (Some(primitive), Some(node), Task::Start) = (primitive, node, &action.task) else {
            continue;
        };
        if node.utilization.has_rules() {
            continue;
        }
        let room = |name: &str| amount(&node.utilization, name);
        for name in names(&primitive.utilization) {
            let (takes, has) = (amount(&primitive.utilization, name), room(name));
            if takes > has {
                let what =
                    format!("{resource} takes {takes} {name} of {}, which has {has}", node.name);
                found.push(Violation { rule: "room", what });
            }
        }
    }
}

fn names(options: &Options) -> BTreeSet<&str> {
    let pairs = options.sets.iter().flat_map(|set| &set.pairs);
    pairs.map(|(name, _)| name.as_str()).collect()
}

fn amount(options: &Options, name: &str) -> i64 {
    plain(options, name).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
