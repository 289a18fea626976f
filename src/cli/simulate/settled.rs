//! The cluster after a plan, as `--down` needs it: everything runs where the plan put it, then nodes are lost.

use anyhow::bail;
use policy::{
    Model, Plan,
    model::{Node, Resource, ResourceHistory, ResourceKind, Role},
};

/// The model in which `plan` was carried out.
pub(super) fn settled(mut model: Model, plan: &Plan) -> Model {
    let mut primitives = Vec::new();
    model.resources.iter().for_each(|r| collect(r, &mut primitives));
    for node in &mut model.nodes {
        node.history.clear();
        for primitive in &primitives {
            let prefix = format!("{}:", primitive.id);
            let mut seen = false;
            for (instance, places) in &plan.placements {
                if *instance != primitive.id && !instance.starts_with(&prefix) {
                    continue;
                }
                for place in places.iter().filter(|p| p.node == node.name && p.role.is_active()) {
                    node.history.push(ran(primitive, instance, place.role));
                    seen = true;
                }
            }
            if !seen {
                node.history.push(history(primitive, &primitive.id).with_done("monitor", 0, 7));
            }
        }
    }
    model
}

/// Another configuration for what runs.
pub(super) fn history_of(runs: &Model, mut configured: Model) -> Model {
    for node in &mut configured.nodes {
        if let Some(same) = runs.nodes.iter().find(|other| other.name == node.name) {
            node.history = same.history.clone();
        }
    }
    configured
}

/// Takes nodes away without a word: to be fenced before what they held is recovered.
pub(super) fn lose(model: &mut Model, down: &[String]) -> anyhow::Result<()> {
    for name in down {
        let names: Vec<String> = model.nodes.iter().map(|n| n.name.clone()).collect();
        let Some(node) = model.nodes.iter_mut().find(|n| n.name == *name) else {
            bail!("--down {name:?}: no such member; the members are {}", names.join(", "));
        };
        node.state = Node::lost(name).state;
    }
    let online = |n: &&Node| n.state.as_ref().is_some_and(|s| s.online);
    let alive = model.nodes.iter().filter(online).count();
    // the core's rule: a majority of the voters
    model.quorate = alive * 2 > model.nodes.len();
    model.had_quorum = true;
    Ok(())
}

fn ran(primitive: &Resource, instance: &str, role: Role) -> ResourceHistory {
    let mut history = history(primitive, instance).with_done("start", 0, 0);
    if role == Role::Promoted {
        history = history.with_done("promote", 0, 0);
    }
    let ResourceKind::Primitive(of) = &primitive.kind else { return history };
    for operation in of.operations.iter().filter(|op| op.interval_ms > 0) {
        let code = if role == Role::Promoted { 8 } else { 0 };
        history = history.with_done(&operation.name, operation.interval_ms, code);
    }
    history
}

fn history(primitive: &Resource, instance: &str) -> ResourceHistory {
    match &primitive.kind {
        ResourceKind::Primitive(of) => {
            ResourceHistory::of(instance, &of.class, &of.provider, &of.agent)
        }
        _ => ResourceHistory::of(instance, "", "", ""),
    }
}

fn collect(resource: &Resource, out: &mut Vec<Resource>) {
    match &resource.kind {
        ResourceKind::Primitive(_) => out.push(resource.clone()),
        ResourceKind::Group(members) => members.iter().for_each(|member| collect(member, out)),
        ResourceKind::Clone(spec) => collect(&spec.child, out),
        ResourceKind::Bundle(bundle) => bundle.child.iter().for_each(|child| collect(child, out)),
    }
}
