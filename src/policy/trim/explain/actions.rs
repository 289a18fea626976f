//! Why each action of a resource is taken, and why one that is wanted is not.

use alloc::{format, string::String, vec::Vec};

use crate::{
    model::{INFINITY, Role},
    plan::ActionReason,
    trim::graph::Graph,
    unpack::fail_count,
    world::{Act, ActFlags, ActIx, NodeIx, ResIx, Verb, World},
};

/// Every action of a resource that is taken or refused. What would let a refused one happen goes to the remedies.
pub(super) fn of(
    world: &World<'_>,
    r: ResIx,
    graph: &Graph,
    remedies: &mut Vec<String>,
) -> Vec<ActionReason> {
    let mut told = Vec::new();
    for at in &world[r].acts {
        let act = &world[*at];
        let Some(node) = act.node else { continue };
        // a start that a migration stands for is told by the migration
        let arrival = act.verb == Verb::Start && act.flags.has(ActFlags::MIGRATES);
        if arrival || !is_told(act.verb) {
            continue;
        }
        let taken = graph.position[at.ix()].is_some();
        let why = if taken {
            cause(world, r, act, node)
        } else if is_refused(world, r, act) {
            obstacle(world, *at, remedies)
        } else {
            continue;
        };
        told.push(ActionReason {
            operation: act.verb.name().into(),
            node: world[node].name().into(),
            taken,
            why,
        });
    }
    told.extend(left_alone(world, r, remedies));
    told
}

const fn is_told(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::Start
            | Verb::Stop
            | Verb::Promote
            | Verb::Demote
            | Verb::MigrateTo
            | Verb::MigrateFrom
    )
}

/// Whether an action would be taken if it could.
fn is_refused(world: &World<'_>, r: ResIx, act: &Act) -> bool {
    if act.runnable() {
        return false;
    }
    let res = &world[r];
    let here = act.node.is_some() && act.node == res.node;
    let wanted_up = res.managed && here && res.next_role > Role::Stopped;
    match act.verb {
        // it moves all the same, by a stop and a start
        Verb::MigrateTo | Verb::MigrateFrom => true,
        Verb::Start => !act.optional() || (wanted_up && res.running_on.is_empty()),
        Verb::Promote => {
            !act.optional()
                || (wanted_up && res.next_role == Role::Promoted && res.role != Role::Promoted)
        }
        _ => !act.optional(),
    }
}

/// Why an action is taken.
fn cause(world: &World<'_>, r: ResIx, act: &Act, node: NodeIx) -> String {
    let res = &world[r];
    if act.pseudo() && world[node].unclean {
        return format!("the fencing of {} does it", world[node].name());
    }
    let migrates = act.flags.has(ActFlags::MIGRATES);
    if let Some(other) = act.required_by.filter(|_| !migrates) {
        return format!("follows from {}", describe(world, other));
    }
    if !act.why.is_empty() {
        return act.why.into();
    }
    let runs_here = res.running_on.contains(&node);
    match act.verb {
        Verb::Stop | Verb::Start if res.failed && runs_here => {
            match fail_count(world, r, node).effective {
                ..=0 => "it failed there".into(),
                INFINITY.. => "it failed there (fail count INFINITY)".into(),
                count => format!("it failed there (fail count {count})"),
            }
        }
        Verb::Stop if res.next_role == Role::Stopped || res.node.is_none() => {
            "no node may run it now".into()
        }
        Verb::MigrateTo => {
            format!("it moves to {} without being stopped first (allow-migrate)", act.label)
        }
        Verb::MigrateFrom if res.partial.is_some() => {
            format!("it has left {} and arrives", act.label)
        }
        Verb::MigrateFrom => format!("it arrives from {}", act.label),
        Verb::Stop if migrates => "it has arrived elsewhere by then".into(),
        Verb::Stop => match res.node {
            Some(to) if to != node => format!("{} is the better place for it", world[to].name()),
            _ => "it is restarted".into(),
        },
        Verb::Start if runs_here => "it is restarted".into(),
        Verb::Start if res.running_on.is_empty() => "it is wanted there and does not run".into(),
        Verb::Start => "this is its place now".into(),
        Verb::Promote => {
            format!(
                "of those that may be promoted it comes first (promotion score {})",
                res.promotion_order
            )
        }
        _ if res.next_role == Role::Promoted => "it is restarted".into(),
        _ if res.promotion_order <= -INFINITY => {
            "it may not be promoted any more: target-role, a constraint or its place forbids it"
                .into()
        }
        _ => format!("others come first (promotion score {})", res.promotion_order),
    }
}

/// The end of the chain of actions that cannot run.
fn obstacle(world: &World<'_>, at: ActIx, remedies: &mut Vec<String>) -> String {
    let mut last = at;
    // a chain is no longer than there are actions; loops in contradictory orders end here
    for _ in 0..world.acts.len() {
        match world[last].blocked_by {
            Some(next) if next != at => last = next,
            _ => break,
        }
    }
    let why = world[last].why;
    let remedy = match (world[last].node, why) {
        (_, "no quorum" | "quorum freeze") => {
            Some("bring back enough members for quorum, or change no-quorum-policy".into())
        }
        (Some(node), _) if !world[node].is_available() => Some(super::nodes::remedy(world, node)),
        _ if last != at => Some(format!("let {} happen", describe(world, last))),
        _ => None,
    };
    remedies.extend(remedy.filter(|remedy| !remedies.contains(remedy)));
    match (last == at, why) {
        (true, "") => "it cannot run there".into(),
        (true, why) => why.into(),
        (false, "") => format!("it waits for {}, which will not happen", describe(world, last)),
        (false, why) => format!("it waits for {}, which cannot run: {why}", describe(world, last)),
    }
}

/// What would be done with a resource that nothing may be done with.
fn left_alone(world: &World<'_>, r: ResIx, remedies: &mut Vec<String>) -> Option<ActionReason> {
    let res = &world[r];
    let node = res.current_node().or(res.node)?;
    let id = &res.id;
    if res.managed || !(res.failed || res.blocked || res.node != Some(node)) {
        return None;
    }
    let (why, remedy) = if res.blocked {
        (
            "a failure blocks it, or it runs more often than it may: it waits for a person",
            format!("repair {id} on {}, then clean up its failures", world[node].name()),
        )
    } else if res.maintenance {
        ("it is in maintenance", format!("end the maintenance of {id}"))
    } else {
        ("it is not managed", format!("set is-managed of {id} to true"))
    };
    remedies.push(remedy);
    Some(ActionReason {
        operation: if res.failed { "recover" } else { "move" }.into(),
        node: world[node].name().into(),
        taken: false,
        why: why.into(),
    })
}

fn describe(world: &World<'_>, at: ActIx) -> String {
    let act = &world[at];
    let what = act.res.map_or_else(|| act.label.as_str(), |r| world[r].id.as_str());
    match act.node {
        Some(node) => format!("{} of {what} on {}", act.verb.name(), world[node].name()),
        None => format!("{} of {what}", act.verb.name()),
    }
}
