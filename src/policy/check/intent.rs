//! Rules about what people said must not happen.

use alloc::{format, vec::Vec};

use super::{Facts, Violation, changes, is_false, is_true};
use crate::{
    model::{INFINITY, LocationTarget, NodeKind, Pattern, Role, parse_bool},
    plan::Task,
};

/// Nothing is started or promoted on a node that is away, in standby or banned for it.
pub(super) fn nothing_starts_where_it_must_not(facts: &Facts<'_>, found: &mut Vec<Violation>) {
    for (_, action, resource, node_name) in facts.on_resources() {
        let promotes = action.task == Task::Promote;
        let Some(primitive) = facts.primitive(resource) else { continue };
        if !promotes && action.task != Task::Start {
            continue;
        }
        let verb = action.task.operation();
        let Some(node) = facts.model.nodes.iter().find(|n| n.name == node_name) else { continue };
        let away = node.state.as_ref().is_none_or(|s| !s.member && !s.online);
        if node.kind == NodeKind::Member && away {
            let what = format!("{verb} {resource} on {node_name}, which is not online");
            found.push(Violation { rule: "online", what });
        }
        if is_true(&node.attributes, "standby") {
            let what = format!("{verb} {resource} on {node_name}, which is in standby");
            found.push(Violation { rule: "standby", what });
        }
        for location in &facts.model.constraints.locations {
            let names_it = location.resources.iter().any(|pattern| match pattern {
                Pattern::Id(id) => primitive.chain.iter().any(|r| r.id == *id),
                Pattern::Matching { .. } => false,
            });
            let for_role = match location.role {
                Some(Role::Promoted) => promotes,
                Some(Role::Unpromoted | Role::Stopped) => false,
                _ => true,
            };
            let bans = matches!(&location.target,
                LocationTarget::Node { node, score } if node == node_name && *score <= -INFINITY);
            if names_it && for_role && bans {
                let what = format!("{verb} {resource} on {node_name}, banned by {}", location.id);
                found.push(Violation { rule: "bans", what });
            }
        }
    }
}

/// Nothing is done with what is in maintenance or not managed.
pub(super) fn hands_off_what_is_unmanaged(facts: &Facts<'_>, found: &mut Vec<Violation>) {
    let everything = facts.property(&["maintenance-mode"]).and_then(parse_bool) == Some(true);
    for (_, action, resource, node_name) in facts.on_resources() {
        if !changes(&action.task) || action.implied {
            continue;
        }
        let Some(primitive) = facts.primitive(resource) else { continue };
        let own = primitive.chain.first();
        let unmanaged = everything && !own.is_some_and(|r| is_false(&r.meta, "maintenance"))
            || own.is_some_and(|r| is_true(&r.meta, "maintenance"));
        let node = facts.model.nodes.iter().find(|n| n.name == node_name);
        let node_maintained = node.is_some_and(|n| is_true(&n.attributes, "maintenance"));
        if (unmanaged || node_maintained) && !facts.fenced.contains(node_name) {
            let what =
                format!("{} {resource} on {node_name} in maintenance", action.task.operation());
            found.push(Violation { rule: "maintenance", what });
        }
    }
}

/// Nobody is fenced where fencing is switched off.
pub(super) fn fencing_only_where_it_is_enabled(facts: &Facts<'_>, found: &mut Vec<Violation>) {
    let enabled = facts.property(&["fencing-enabled", "stonith-enabled"]).and_then(parse_bool);
    if enabled == Some(false) {
        for node in &facts.plan.fenced {
            // unfencing and requests of people are no matter of this option; recovery is
            let what = format!("{node} is fenced although fencing is disabled");
            found.push(Violation { rule: "fencing-enabled", what });
        }
    }
}
