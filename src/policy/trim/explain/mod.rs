//! Why each resource is where it is, from the reasons that the stages left next to the scores; why each action is taken or
//! refused; why each node is used or not. And for each of them what would change it.

mod actions;
mod nodes;

pub(super) use nodes::run as nodes;

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use crate::{
    model::INFINITY,
    plan::{Alternative, Explanation, Reason as PlanReason},
    world::{NodeIx, Reason, ResIx, Source, Verb, World},
};

use super::graph::{Graph, public_name};

pub(super) fn run(world: &World<'_>, graph: &Graph) -> BTreeMap<String, Explanation> {
    let mut all = BTreeMap::new();
    for at in 0..world.res.len() {
        let r = ResIx::at(at);
        if world[r].is_primitive() {
            let name = if world[r].parent.is_some() { &world[r].id } else { public_name(world, r) };
            let words = one(world, r, graph);
            if let Some(name) = super::outcome::name_of_replica(world, r) {
                all.insert(name, words.clone());
            }
            all.insert(String::from(name), words);
        }
    }
    all
}

fn one(world: &World<'_>, r: ResIx, graph: &Graph) -> Explanation {
    let res = &world[r];
    let summary = summary(world, r, graph);
    let about = |node| {
        let mut list: Vec<PlanReason> = res
            .reasons
            .iter()
            .filter(|reason| reason.node.is_none() || reason.node == node)
            .map(|reason| render(world, reason))
            .collect();
        list.sort_by_key(|reason| core::cmp::Reverse(reason.score.unwrap_or(0).abs()));
        list
    };
    let alternatives = world
        .node_ids()
        .filter(|node| Some(*node) != res.node)
        .map(|node| {
            let cell = res.allowed[node.ix()];
            let mut because = about(Some(node));
            if !world[node].is_available() {
                because.insert(
                    0,
                    PlanReason {
                        node: None,
                        score: None,
                        source: nodes::state(world, node).into(),
                    },
                );
            }
            Alternative {
                node: String::from(world[node].name()),
                score: cell.present.then_some(cell.score),
                because,
            }
        })
        .collect();
    let because = about(res.node);
    let node = res.node.map(|node| String::from(world[node].name()));
    let score = res.node.map(|node| res.allowed[node.ix()].score);
    let mut remedies = Vec::new();
    if res.node.is_none() {
        constraint_remedies(world, r, &mut remedies);
    }
    let actions = actions::of(world, r, graph, &mut remedies);
    remedies.extend(runner_up(world, r));
    Explanation { summary, node, score, because, alternatives, actions, remedies }
}

/// The outcome in one sentence: where from, where to.
fn summary(world: &World<'_>, r: ResIx, graph: &Graph) -> String {
    let res = &world[r];
    let happens = |verb| {
        let mut of = res.acts.iter().filter(|at| world[**at].verb == verb);
        of.any(|at| graph.position[at.ix()].is_some())
    };
    let from = res.running_on.first().copied();
    let name = |node: NodeIx| world[node].name();
    match (from, res.node) {
        (Some(from), Some(to)) if from != to && happens(Verb::MigrateFrom) => {
            format!("{} migrates from {} to {}", res.id, name(from), name(to))
        }
        (Some(from), Some(to)) if from != to && happens(Verb::Start) => {
            format!("{} moves from {} to {}", res.id, name(from), name(to))
        }
        (Some(_), Some(to)) if happens(Verb::Stop) && happens(Verb::Start) => {
            format!("{} is restarted on {}", res.id, name(to))
        }
        (Some(from), _) if happens(Verb::Stop) => format!("{} stops on {}", res.id, name(from)),
        (Some(from), _) if happens(Verb::Promote) => {
            format!("{} is promoted on {}", res.id, name(from))
        }
        (Some(from), _) if happens(Verb::Demote) => {
            format!("{} is demoted on {}", res.id, name(from))
        }
        (Some(from), _) => format!("{} stays on {}", res.id, name(from)),
        (None, Some(to)) if happens(Verb::Start) && happens(Verb::Promote) => {
            format!("{} starts on {} and is promoted there", res.id, name(to))
        }
        (None, Some(to)) if happens(Verb::Start) => {
            format!("{} starts on {}", res.id, name(to))
        }
        (None, Some(to)) => format!("{} belongs on {} and stays stopped", res.id, name(to)),
        (None, None) => format!("{} stays stopped: no node may run it", res.id),
    }
}

/// What it would take to prefer the best of the other nodes.
fn runner_up(world: &World<'_>, r: ResIx) -> Option<String> {
    let chosen = world[r].node?;
    let score = |node: NodeIx| world[r].allowed[node.ix()].score;
    // the first of equals, as everywhere
    let best = world
        .node_ids()
        .filter(|node| *node != chosen && world[*node].is_available())
        .filter(|node| world[r].allowed[node.ix()].present && score(*node) >= 0)
        .reduce(|a, b| if score(b) > score(a) { b } else { a })?;
    let more =
        score(chosen).checked_sub(score(best)).filter(|more| (0..INFINITY).contains(more))?;
    let name = world[best].name();
    let by = more.saturating_add(1);
    Some(format!(
        "{name} would be chosen if its score were higher by {by} (a location constraint can do that)"
    ))
}

/// What keeps a resource from running anywhere, and how that is ended.
fn constraint_remedies(world: &World<'_>, r: ResIx, remedies: &mut Vec<String>) {
    let mut add = |text: String| {
        if !remedies.contains(&text) {
            remedies.push(text);
        }
    };
    for reason in world[r].reasons.iter().filter(|reason| reason.score <= -INFINITY) {
        let on = reason.node.map(|node| format!(" on {}", world[node].name())).unwrap_or_default();
        let id = &world[r].id;
        match reason.why {
            Source::FailureLimit => {
                add(format!("clean up the failures of {id}{on}, or raise its migration-threshold"));
            }
            Source::FailedStop
            | Source::HardError
            | Source::FatalError
            | Source::OnFailBan
            | Source::FailedForGood => {
                add(format!("repair what made {id} fail{on}, then clean up its failures"));
            }
            Source::TargetRole => add(format!("set target-role of {id} to Started")),
            Source::Ticket => add("grant the ticket to this site".into()),
            Source::Removed => add(format!("configure {id} again")),
            Source::ShutdownLock => add(format!("start the node again that {id} is locked to")),
            Source::InstanceLimit => add("raise clone-max".into()),
            Source::Capacity => {
                add(format!(
                    "give more capacity to a node, or lower what {id} takes (utilization)"
                ));
            }
            _ => add(format!("remove or change {}", render(world, reason).source)),
        }
    }
    for node in world.node_ids() {
        let cell = world[r].allowed[node.ix()];
        if cell.present && cell.score >= 0 && !world[node].is_available() {
            add(nodes::remedy(world, node));
        }
    }
}

fn render(world: &World<'_>, reason: &Reason) -> PlanReason {
    let constraints = &world.model.constraints;
    let source = match reason.why {
        Source::Location(at) => {
            let id = constraints.locations.get(at).map_or("", |location| location.id.as_str());
            format!("location {id}")
        }
        Source::Stickiness => "resource-stickiness: it runs there".into(),
        Source::FailureLimit => "it failed there as often as migration-threshold allows".into(),
        Source::FailedStop => "it could not be stopped there".into(),
        Source::HardError => "it failed there in a way that no retry helps".into(),
        Source::FatalError => "it failed in a way that no retry helps anywhere".into(),
        Source::OnFailBan => "it failed there and on-fail is migrate".into(),
        Source::FailedForGood => "it failed and on-fail is stop".into(),
        Source::Health => "health of the node".into(),
        Source::Removed => "it is no longer configured".into(),
        Source::Unmanaged => "it is not managed and stays".into(),
        Source::TargetRole => "target-role is Stopped".into(),
        Source::InstanceLimit => "enough instances run already".into(),
        Source::Remote => "it cannot run on a node that is reached by a connection".into(),
        Source::ShutdownLock => "it is locked to a node that is shut down".into(),
        Source::Ticket => "this site does not hold the ticket that it needs".into(),
        Source::Capacity => "too little is left of its capacities (utilization)".into(),
        Source::MultipleActive => "it ran on several nodes and multiple-active is stop_only".into(),
        Source::Colocation(at) if !world[at].explicit => {
            format!("its group: it runs with {}", world[world[at].primary].id)
        }
        Source::Colocation(at) => format!("colocation {}", world[at].id),
    };
    PlanReason {
        node: reason.node.map(|node| world[node].name().into()),
        score: Some(reason.score),
        source,
    }
}
