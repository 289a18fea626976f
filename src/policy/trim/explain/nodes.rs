//! Why a node is fenced, or is not although it should be, or runs nothing; and what would change that.

use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};

use crate::{
    plan::{ActionReason, Explanation, Reason},
    trim::graph::Graph,
    unpack::can_fence,
    world::{NodeIx, Verb, World},
};

pub(crate) fn run(world: &World<'_>, graph: &Graph) -> BTreeMap<String, Explanation> {
    let one = |node: NodeIx| (String::from(world[node].name()), explain(world, node, graph));
    world.node_ids().map(one).collect()
}

fn explain(world: &World<'_>, node: NodeIx, graph: &Graph) -> Explanation {
    let name = world[node].name();
    let happens =
        |verb| graph.acts.iter().any(|at| world[*at].verb == verb && world[*at].node == Some(node));
    let action = |operation: &str, taken, why: &str| {
        vec![ActionReason {
            operation: operation.into(),
            node: name.into(),
            taken,
            why: why.into(),
        }]
    };
    let (summary, actions) = if happens(Verb::Fence) {
        let why = world[node].fence_reason.unwrap_or("it cannot be trusted");
        (format!("{name} is fenced: {why}"), action("fence", true, why))
    } else if world[node].unclean {
        let why = no_fencing(world);
        (format!("{name} should be fenced and is not: {why}"), action("fence", false, why))
    } else if happens(Verb::Shutdown) {
        (format!("{name} shuts down once what runs there has stopped"), Vec::new())
    } else if happens(Verb::Unfence) {
        let why = "what runs there needs its access back first";
        (format!("{name} is unfenced"), action("unfence", true, why))
    } else if world[node].is_available() {
        (format!("{name} is online and can run resources"), Vec::new())
    } else {
        (format!("{name} runs nothing new: {}", state(world, node)), Vec::new())
    };
    let about = |text: String| Reason { node: Some(name.into()), score: None, source: text };
    let mut because: Vec<Reason> = Vec::new();
    let running: Vec<&str> = world[node].running.iter().map(|r| world[*r].id.as_str()).collect();
    if !running.is_empty() {
        because.push(about(format!("it runs {}", running.join(", "))));
    }
    let remedies = if world[node].is_available() { Vec::new() } else { vec![remedy(world, node)] };
    Explanation { summary, because, actions, remedies, ..Explanation::default() }
}

fn no_fencing(world: &World<'_>) -> &'static str {
    if !world.opts.fencing {
        "fencing is disabled, so what it held is recovered unseen"
    } else if !world.has_fencing_device {
        "there is no fence device, so what it held waits"
    } else {
        "this partition has no quorum and may not fence"
    }
}

/// Why a node cannot be used.
pub(super) fn state(world: &World<'_>, node: NodeIx) -> &'static str {
    let node = &world[node];
    if node.unclean {
        node.fence_reason.unwrap_or("the node must be fenced")
    } else if node.connection.is_some() && (!node.online || node.shutdown) {
        "its connection is not up"
    } else if !node.online {
        "the node is offline"
    } else if node.pending {
        "the node has not finished joining"
    } else if node.shutdown {
        "the node is shutting down"
    } else if node.maintenance {
        "the node is in maintenance"
    } else {
        "the node is in standby"
    }
}

/// What would make a node usable.
pub(super) fn remedy(world: &World<'_>, node: NodeIx) -> String {
    let (name, state) = (world[node].name(), &world[node]);
    if state.unclean && can_fence(world, node) {
        format!("start {name} again once it has been fenced")
    } else if state.unclean && !world.opts.fencing {
        format!("start {name} again; with fencing enabled it would be powered off first")
    } else if state.unclean && !world.has_fencing_device {
        format!("configure a fence device for {name}, or confirm that it is off")
    } else if state.unclean {
        "bring back enough members for quorum".into()
    } else if let Some(connection) = state.connection.filter(|_| !state.online || state.shutdown) {
        match world[connection].container {
            Some(container) => format!("let {} and its connection start", world[container].id),
            None => format!("let the connection {name} start"),
        }
    } else if !state.online {
        format!("start {name}")
    } else if state.pending {
        format!("wait until {name} has joined")
    } else if state.shutdown {
        format!("start {name} again after its shutdown")
    } else if state.maintenance {
        format!("end the maintenance of {name}")
    } else {
        format!("end the standby of {name}")
    }
}
