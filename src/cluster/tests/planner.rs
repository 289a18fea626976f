//! A planner of one page: every primitive runs once, where it is, else on the first node that may.

use std::{string::String, vec::Vec};

use policy::{
    Error, Model, Plan,
    model::{LocationTarget, Node, Pattern, Resource, ResourceKind},
    plan::{Action, ActionId, Task},
};

#[derive(Clone, Copy, PartialEq)]
enum Seen {
    Stopped,
    Running,
    Failed,
    StopFailed,
}

pub(crate) fn plan(_: &mut policy::Scheduler, model: &Model) -> Result<Plan, Error> {
    let mut plan = Plan::default();
    for resource in &model.resources {
        if let ResourceKind::Primitive(_) = resource.kind {
            once(model, resource, &mut plan);
        }
    }
    Ok(plan)
}

fn once(model: &Model, resource: &Resource, plan: &mut Plan) {
    let online: Vec<&Node> =
        model.nodes.iter().filter(|n| n.state.as_ref().is_some_and(|s| s.online)).collect();
    let wanted_down = option(&resource.meta, "target-role") == Some("Stopped");
    let running: Vec<(&Node, Seen)> = online
        .iter()
        .map(|n| (*n, seen(n, &resource.id)))
        .filter(|(_, s)| *s != Seen::Stopped)
        .collect();
    if let Some((node, _)) = running.iter().find(|(_, s)| *s == Seen::StopFailed) {
        plan.fenced.push(node.name.clone());
        return;
    }
    let best = best(model, &online, &resource.id);
    let stays = |node: &Node| {
        !wanted_down
            && eligible(model, node, &resource.id)
            && (score(model, &node.name, &resource.id) >= 0)
            && best.is_none_or(|b| {
                score(model, &b.name, &resource.id) <= score(model, &node.name, &resource.id)
            })
    };
    if let [(node, Seen::Running)] = running.as_slice()
        && stays(node)
    {
        return;
    }
    let mut stops = Vec::new();
    for (node, _) in &running {
        stops.push(push(plan, Task::Stop, resource, node));
    }
    if let (Some(node), false) = (best, wanted_down) {
        let start = push(plan, Task::Start, resource, node);
        plan.order.extend(stops.into_iter().map(|stop| (stop, start)));
    }
}

fn push(plan: &mut Plan, task: Task, resource: &Resource, node: &Node) -> ActionId {
    plan.actions.push(Action {
        task,
        resource: Some(resource.id.clone()),
        instance: Some(resource.id.clone()),
        node: Some(node.name.clone()),
        intent: policy::plan::Intent::default(),
        implied: false,
        notifies: None,
        digest: String::new(),
    });
    ActionId(u32::try_from(plan.actions.len() - 1).expect("few actions"))
}

fn best<'a>(model: &Model, online: &[&'a Node], resource: &str) -> Option<&'a Node> {
    online
        .iter()
        .copied()
        .filter(|n| eligible(model, n, resource) && score(model, &n.name, resource) >= 0)
        .rev()
        .max_by_key(|n| score(model, &n.name, resource))
}

fn eligible(_model: &Model, node: &Node, resource: &str) -> bool {
    let failed =
        node.transient.keys().any(|k| k.starts_with(&std::format!("fail-count-{resource}#start")));
    option(&node.attributes, "standby").is_none() && !failed
}

fn score(model: &Model, node: &str, resource: &str) -> i32 {
    model
        .constraints
        .locations
        .iter()
        .filter(|l| l.resources == [Pattern::Id(resource.into())])
        .map(|l| match &l.target {
            LocationTarget::Node { node: at, score } if at == node => *score,
            _ => 0,
        })
        .sum()
}

fn seen(node: &Node, resource: &str) -> Seen {
    let mut seen = Seen::Stopped;
    for op in node.history.iter().filter(|h| h.resource == resource).flat_map(|h| &h.operations) {
        seen = match (op.operation.as_str(), op.exit_code) {
            ("monitor", 7) => Seen::Stopped,
            ("start" | "monitor", 0) => Seen::Running,
            ("stop", 0) => Seen::Stopped,
            ("stop", _) => Seen::StopFailed,
            _ => Seen::Failed,
        };
    }
    seen
}

fn option<'a>(options: &'a policy::model::Options, name: &str) -> Option<&'a str> {
    options.sets.iter().flat_map(|s| &s.pairs).find(|(k, _)| k == name).map(|(_, v)| v.as_str())
}
