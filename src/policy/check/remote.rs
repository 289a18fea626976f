//! Rules about nodes that are reached by a connection.

use alloc::{collections::BTreeMap, format, vec::Vec};

use super::{Facts, Violation, order::Graph};
use crate::{
    model::NodeKind,
    plan::{ActionId, Task},
};

/// What a plan does with a connection.
#[derive(Default)]
struct Link {
    started: Option<ActionId>,
    stopped: Option<ActionId>,
    /// Whether it is up now, where the plan tells.
    up: Option<bool>,
}

/// Nothing runs on such a node whose connection is not up: it begins after the connection, and not at all where that
/// ends for good or is not there.
pub(super) fn nothing_runs_without_a_connection(
    facts: &Facts<'_>,
    graph: &Graph,
    found: &mut Vec<Violation>,
) {
    let remote = facts.model.nodes.iter().filter(|node| node.kind == NodeKind::Remote);
    let mut links: BTreeMap<&str, Link> =
        remote.map(|node| (node.name.as_str(), Link::default())).collect();
    // a connection is called like its node
    for (name, link) in &mut links {
        let places = facts.plan.current.get(*name);
        link.up = places.map(|places| places.iter().any(|at| at.role.is_active()));
    }
    for (id, action, resource, _) in facts.on_resources() {
        let Some(link) = links.get_mut(resource) else { continue };
        match action.task {
            Task::Start => link.started = Some(id),
            Task::Stop => link.stopped = Some(id),
            _ => {}
        }
    }
    for (id, action, resource, node) in facts.on_resources() {
        let Some(link) = links.get(node) else { continue };
        if action.implied || !matches!(action.task, Task::Start | Task::Promote) {
            continue;
        }
        let fault = match (link.started, link.stopped) {
            (Some(up), _) if !graph.is_before(up, id) => "its connection does not start before",
            (Some(_), _) => continue,
            (None, Some(_)) => "its connection stops for good",
            (None, None) if link.up == Some(false) => "its connection is down and stays so",
            (None, None) => continue,
        };
        found.push(Violation {
            rule: "connection-first",
            what: format!("{} {resource} on {node}: {fault}", action.task.operation()),
        });
    }
}
