//! Why each resource is where it is, from the reasons that the stages left next to the scores.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use crate::{
    model::INFINITY,
    plan::{Alternative, Explanation, Reason as PlanReason},
    world::{ActIx, NodeIx, Reason, ResIx, Source, Verb, World},
};

use super::graph::{Graph, public_name};

pub(super) fn run(world: &World<'_>, graph: &Graph) -> BTreeMap<String, Explanation> {
    let mut all = BTreeMap::new();
    for at in 0..world.res.len() {
        let r = ResIx::at(at);
        if world[r].is_primitive() {
            let name =
                if world[r].parent.is_some() { world[r].id.clone() } else { public_name(world, r) };
            all.insert(name, one(world, r, graph));
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
                    PlanReason { node: None, score: None, source: state(world, node).into() },
                );
            }
            Alternative {
                node: String::from(world[node].name()),
                score: cell.present.then_some(cell.score),
                because,
            }
        })
        .collect();
    let mut because = about(res.node);
    because.extend(actions(world, r, graph));
    let mut remedies = remedies(res.node.is_none(), &because);
    remedies.extend(runner_up(world, r));
    Explanation { summary, because, alternatives, remedies }
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
        (Some(from), Some(to)) if from != to && happens(Verb::Start) => {
            format!("{} moves from {} to {}", res.id, name(from), name(to))
        }
        (Some(_), Some(to)) if happens(Verb::Stop) && happens(Verb::Start) => {
            format!("{} is restarted on {}", res.id, name(to))
        }
        (Some(from), _) if happens(Verb::Stop) => format!("{} stops on {}", res.id, name(from)),
        (Some(from), _) => format!("{} stays on {}", res.id, name(from)),
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
    Some(format!("{name} would be chosen if its score were higher by {}", more.saturating_add(1)))
}

/// What is done with the resource, or cannot be done, and what that follows from.
fn actions(world: &World<'_>, r: ResIx, graph: &Graph) -> Vec<PlanReason> {
    let mut told = Vec::new();
    for at in &world[r].acts {
        let act = &world[*at];
        if !matches!(act.verb, Verb::Start | Verb::Stop | Verb::Promote | Verb::Demote) {
            continue;
        }
        let wanted = !act.optional();
        let source = if graph.position[at.ix()].is_some() {
            match act.required_by {
                Some(other) => {
                    format!("{}: follows from {}", act.verb.name(), describe(world, other))
                }
                None if !act.why.is_empty() => format!("{}: {}", act.verb.name(), act.why),
                None => continue,
            }
        } else if wanted && !act.runnable() {
            format!("{} is blocked: {}", act.verb.name(), obstacle(world, *at))
        } else {
            continue;
        };
        let node = act.node.map(|node| world[node].name().into());
        told.push(PlanReason { node, score: None, source });
    }
    told
}

/// The end of the chain of actions that cannot run.
fn obstacle(world: &World<'_>, at: ActIx) -> String {
    let mut last = at;
    // a chain is no longer than there are actions; loops in contradictory orders end here
    for _ in 0..world.acts.len() {
        match world[last].blocked_by {
            Some(next) if next != at => last = next,
            _ => break,
        }
    }
    let why = world[last].why;
    match (last == at, why) {
        (true, "") => "it cannot run there".into(),
        (true, why) => why.into(),
        (false, "") => format!("it waits for {}, which will not happen", describe(world, last)),
        (false, why) => format!("it waits for {}, which cannot run: {why}", describe(world, last)),
    }
}

fn describe(world: &World<'_>, at: ActIx) -> String {
    let act = &world[at];
    let what = act.res.map_or_else(|| act.label.as_str(), |r| world[r].id.as_str());
    match act.node {
        Some(node) => format!("{} of {what} on {}", act.verb.name(), world[node].name()),
        None => format!("{} of {what}", act.verb.name()),
    }
}

fn remedies(idle: bool, because: &[PlanReason]) -> Vec<String> {
    because
        .iter()
        .filter(|reason| idle && reason.score.is_some_and(|score| score <= -INFINITY))
        .map(|reason| format!("remove or change: {}", reason.source))
        .collect()
}

fn state(world: &World<'_>, node: NodeIx) -> &'static str {
    let node = &world[node];
    if node.unclean {
        node.fence_reason.unwrap_or("the node must be fenced")
    } else if !node.online {
        "the node is offline"
    } else if node.shutdown {
        "the node is shutting down"
    } else if node.maintenance {
        "the node is in maintenance"
    } else {
        "the node is in standby"
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
        Source::ShutdownLock => "it is locked to a node that is shut down".into(),
        Source::Ticket => "this site does not hold the ticket that it needs".into(),
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
