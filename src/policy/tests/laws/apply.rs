//! What the world looks like after a plan in which everything succeeded.

use policy::{
    Model, Plan,
    model::{NodeState, OperationRecord, ResourceHistory},
    plan::{Action, Task},
};

/// The model after the plan: histories with every action done, fenced nodes down, forgotten failures gone.
pub(crate) fn apply(model: &Model, plan: &Plan) -> Model {
    let mut next = model.clone();
    for at in order(plan) {
        let action = &plan.actions[at];
        if action.implied || matches!(action.task, Task::Sync(_) | Task::Notify) {
            continue;
        }
        perform(&mut next, plan, action);
    }
    next
}

/// Positions of the actions, each after all that it waits for; of several the first in the list.
pub(crate) fn order(plan: &Plan) -> Vec<usize> {
    let count = plan.actions.len();
    let mut waits_for = vec![0_usize; count];
    for (_, after) in &plan.order {
        waits_for[after.0 as usize] += 1;
    }
    let mut ready: std::collections::BTreeSet<usize> =
        (0..count).filter(|at| waits_for[*at] == 0).collect();
    let mut sorted = Vec::new();
    while let Some(at) = ready.pop_first() {
        sorted.push(at);
        for (before, after) in &plan.order {
            if before.0 as usize == at {
                waits_for[after.0 as usize] -= 1;
                if waits_for[after.0 as usize] == 0 {
                    ready.insert(after.0 as usize);
                }
            }
        }
    }
    assert_eq!(sorted.len(), count, "the order runs in a circle");
    sorted
}

fn perform(next: &mut Model, plan: &Plan, action: &Action) {
    let Some(name) = &action.node else { return };
    let Some(node) = next.nodes.iter_mut().find(|n| n.name == *name) else { return };
    if matches!(action.task, Task::Fence { .. } | Task::Shutdown) {
        // it stays down: a reboot's end is another event
        node.state = Some(NodeState::default());
        node.history.clear();
        node.transient.clear();
        return;
    }
    let Some(resource) = &action.resource else { return };
    let instance = action.instance.as_ref().unwrap_or(resource);
    match &action.task {
        Task::ClearFailures => {
            let base = resource.split(':').next().unwrap_or(resource).to_owned();
            node.transient.retain(|key, _| {
                let about = key
                    .strip_prefix("fail-count-")
                    .or_else(|| key.strip_prefix("last-failure-"))
                    .and_then(|rest| rest.split('#').next());
                about.is_none_or(|about| about != base && about != instance)
            });
        }
        Task::Delete => node.history.retain(|h| h.resource != *instance),
        Task::Cancel { operation, interval_ms } => {
            for history in node.history.iter_mut().filter(|h| h.resource == *instance) {
                history
                    .operations
                    .retain(|op| op.operation != *operation || op.interval_ms != *interval_ms);
            }
        }
        Task::Probe => {
            let running = plan
                .current
                .get(resource)
                .is_some_and(|list| list.iter().any(|p| p.node == *name && p.role.is_active()));
            done(node, resource, instance, "monitor", 0, if running { 0 } else { 7 });
        }
        Task::Monitor { interval_ms } => {
            let promoted = plan.placements.get(resource).is_some_and(|list| {
                list.iter().any(|p| p.node == *name && p.role == policy::model::Role::Promoted)
            });
            let code = if promoted { 8 } else { 0 };
            done(node, resource, instance, "monitor", *interval_ms, code);
        }
        Task::Start | Task::Stop | Task::Promote | Task::Demote => {
            done(node, resource, instance, action.task.operation(), 0, 0);
        }
        Task::MigrateTo { target } => {
            done(node, resource, instance, "migrate_to", 0, 0);
            between(node, instance, name, target);
        }
        Task::MigrateFrom { source } => {
            done(node, resource, instance, "migrate_from", 0, 0);
            between(node, instance, source, name);
        }
        _ => {}
    }
}

/// The last operation of a resource was half of a migration.
fn between(node: &mut policy::model::Node, instance: &str, source: &str, target: &str) {
    let history = node.history.iter_mut().find(|history| history.resource == instance);
    if let Some(op) = history.and_then(|history| history.operations.last_mut()) {
        op.migrate_source = Some(source.to_owned());
        op.migrate_target = Some(target.to_owned());
    }
}

fn done(
    node: &mut policy::model::Node,
    resource: &str,
    instance: &str,
    operation: &str,
    interval_ms: u64,
    exit_code: i32,
) {
    // history of the same copy may stand under the resource's or the instance's name
    let at = node
        .history
        .iter()
        .position(|h| h.resource == instance)
        .or_else(|| node.history.iter().position(|h| h.resource == resource));
    let at = at.unwrap_or_else(|| {
        let agent = if resource == crate::generate::remote::NAME {
            ("ocf", "pacemaker", "remote")
        } else if resource == "fence" {
            ("stonith", "", "fence_ipmilan")
        } else {
            ("ocf", "heartbeat", "Dummy")
        };
        node.history.push(ResourceHistory::of(instance, agent.0, agent.1, agent.2));
        node.history.len() - 1
    });
    let history = &mut node.history[at];
    let call_id = history.operations.iter().map(|op| op.call_id).max().unwrap_or(0).max(0) + 1;
    let id = format!("{}_{operation}_{interval_ms}", history.resource);
    // of each operation only the last is kept; what was pending has ended
    history.operations.retain(|op| op.id != id && op.call_id >= 0);
    if operation == "stop" {
        history.operations.retain(|op| op.interval_ms == 0);
    }
    history.operations.push(OperationRecord {
        id,
        operation: operation.to_owned(),
        interval_ms,
        call_id,
        exit_code,
        expected_code: Some(exit_code),
        ..OperationRecord::default()
    });
}
