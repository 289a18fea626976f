//! Nodes that run no ring themselves: remote nodes, reached through a connection resource, and guest nodes, whose
//! connection lives with the container or virtual machine that they are.
//!
//! Invariants:
//! - a node has at most one connection, and every connection of the model has its node;
//! - such a node is online only while its connection is up; history of it is read once that is known;
//! - a guest node is never unclean: what cannot be trusted is its container, which is then recovered as a failed one.

use alloc::{vec, vec::Vec};

use crate::{
    Error,
    model::{OperationRecord, ResourceHistory, Role, parse_bool, parse_interval_ms},
    world::{NodeIx, ResIx, Verb, World},
};

use super::{
    nodes::mark_for_fencing,
    rules::{Context, fill},
};

/// What connections need is said twice, by the node and by the resource: ties them, and what is inside a container to
/// that.
pub(super) fn link(world: &mut World<'_>) -> Result<(), Error> {
    for at in 0..world.res.len() {
        let r = ResIx::at(at);
        if !world[r].is_primitive() {
            continue;
        }
        let container = world[r].meta("container").and_then(|name| world.named(name));
        if let Some(container) = container.filter(|container| *container != r) {
            world[r].container = Some(container);
            world[container].fillers.push(r);
        }
        if world[r].is_connection {
            let name = world[r].id.as_str();
            let node = world.node_ids().find(|node| world[*node].name() == name);
            // a door that knows of no such nodes has none for it
            let Some(node) = node else {
                return Err(Error::Unsupported(vec!["remote nodes".into()]));
            };
            connect(world, r, node);
        }
    }
    Ok(())
}

fn connect(world: &mut World<'_>, r: ResIx, node: NodeIx) {
    world[node].connection = Some(r);
    world[r].connects = Some(node);
    if world.is_guest(node) {
        // where it may be, its container decides
        for cell in &mut world[r].allowed {
            cell.present = true;
        }
        world[node].attrs.insert("#kind", "container");
    } else {
        world[node].unclean = world.opts.startup_fencing;
    }
    let Some(primitive) = world[r].primitive else { return };
    let mut parameters = alloc::collections::BTreeMap::new();
    fill(&primitive.parameters, &Context::cluster(world.model), &mut parameters);
    let wait = parameters.get("reconnect_interval").copied().and_then(parse_interval_ms);
    if let Some(wait) = wait.filter(|wait| *wait > 0) {
        // it comes back when its failure is forgotten, and that is when it is to be tried again
        world[r].reconnects_later = true;
        world[r].failure_timeout = i64::try_from(wait / 1000).unwrap_or(i64::MAX);
    }
}

/// Takes up what history tells of a connection, or of what was in a container, that is no longer configured.
pub(super) fn adopt(world: &mut World<'_>, r: ResIx, history: &ResourceHistory) {
    if (history.class.as_str(), history.provider.as_str(), history.agent.as_str())
        == ("ocf", "pacemaker", "remote")
    {
        world[r].is_connection = true;
        let node = world.node_ids().find(|node| world[*node].name() == history.resource);
        if let Some(node) = node.filter(|node| world[*node].connection.is_none()) {
            world[node].connection = Some(r);
            world[r].connects = Some(node);
            world[node].unclean |= world.opts.startup_fencing && history.container.is_none();
        }
    }
    if let Some(name) = &history.container {
        world.lost_containers.push((r, name.clone()));
    }
}

/// Puts what is no longer configured into its containers, which history may name later than what was in them.
pub(super) fn adopt_containers(world: &mut World<'_>) {
    for (r, name) in core::mem::take(&mut world.lost_containers) {
        match world.named(&name).filter(|container| *container != r) {
            Some(container) => {
                world[r].container = Some(container);
                world[container].fillers.push(r);
            }
            None => world.lost_containers.push((r, name)),
        }
    }
}

/// Whether the node's history can be read by now: of others nothing counts before their connection is known to be up.
pub(super) fn is_readable(world: &World<'_>, node: NodeIx) -> bool {
    let up = |r: ResIx| world[r].role == Role::Started;
    match world[node].connection {
        None => world[node].online,
        Some(r) => up(r) && world[r].container.is_none_or(up),
    }
}

/// Takes in what the node's own state says.
pub(super) fn enter(world: &mut World<'_>, node: NodeIx) {
    let Some(r) = world[node].connection else { return };
    judge(world, node);
    if world[node].model.state.is_none() {
        return;
    }
    let managed = world[r].managed;
    let state = &mut world[node];
    state.entered = true;
    if !state.needs_reset {
        state.unclean = false;
        state.unseen = false;
    }
    state.shutdown |= state.attr("shutdown").is_some_and(|value| !matches!(value, "" | "0"));
    state.maintenance |= !managed;
    let looks = state.attr("resource-discovery-enabled").and_then(parse_bool);
    state.undiscovered = looks == Some(false);
}

/// Whether it can be reached, as far as history tells.
fn judge(world: &mut World<'_>, node: NodeIx) {
    let Some(r) = world[node].connection else { return };
    let container = world[r].container;
    let host = container.and_then(|c| match world[c].running_on[..] {
        [host] => Some(host),
        _ => None,
    });
    if world[r].role == Role::Started {
        world[node].online = true;
        world[node].shutdown |= world[r].next_role == Role::Stopped;
    }
    if container.is_some_and(|container| world[container].failed) {
        world[node].online = false;
        world[node].needs_reset = true;
    } else if world[r].failed {
        world[node].online = false;
    } else if world[r].role <= Role::Stopped
        || container.is_some_and(|container| world[container].role <= Role::Stopped)
    {
        world[node].online = false;
        world[node].needs_reset = false;
    } else if host.is_some_and(|host| !world[host].online && world[host].unclean) {
        world[node].online = false;
        world[node].needs_reset = true;
    }
}

/// Once everything is read: the rest of the nodes, and connections of nodes that shut down.
pub(super) fn settle(world: &mut World<'_>) {
    for container in core::mem::take(&mut world.stops_due) {
        if let Some(node) = world[container].current_node() {
            world.act(container, Verb::Stop, Some(node), false);
        }
    }
    let nodes: Vec<NodeIx> = world.node_ids().collect();
    for node in nodes {
        let Some(r) = world[node].connection else { continue };
        if world[node].shutdown {
            world.set_next_role(r, Role::Stopped);
        }
        if !world[node].entered {
            judge(world, node);
        }
    }
}

/// What mistrust of a node means where nobody can cut off the node by itself. Says whether that was all.
pub(super) fn mistrust(world: &mut World<'_>, node: NodeIx) -> bool {
    let Some(r) = world[node].connection else { return false };
    match world[r].container {
        None => {
            world[node].needs_reset |= world[r].managed;
            false
        }
        Some(container) => {
            // the node itself stays as good as it is, so that it can be used again once the container is back
            if !world[container].failed && world[container].managed {
                world[node].needs_reset = true;
                world[container].failed = true;
                world[container].stop_if_failed = true;
            }
            true
        }
    }
}

/// Whether the operation lost a connection, and the node that it led to was not fenced since.
pub(super) fn awaits_fencing(world: &World<'_>, r: ResIx, op: &OperationRecord) -> bool {
    let res = &world[r];
    let Some(node) = res.connects.filter(|_| res.reconnects_later && world.opts.fencing) else {
        return false;
    };
    !was_fenced(world, node) && op.operation == "monitor" && op.interval_ms > 0
}

/// Whether the node was fenced, and not connected since.
pub(crate) fn was_fenced(world: &World<'_>, node: NodeIx) -> bool {
    world[node].model.state.as_ref().is_some_and(|state| state.remote_fenced)
}

/// Something runs on a node that cannot be reached.
pub(super) fn lose(world: &mut World<'_>, r: ResIx, node: NodeIx) {
    let Some(connection) = world[node].connection else { return };
    if world[connection].container.is_some() {
        // with the guest its history goes, and then it may start again
        world[r].failed = true;
        world[r].stop_if_failed = true;
    } else if !world[connection].failed {
        // its connection may come up elsewhere, and then there is no need to fence
        world[node].unseen = true;
    }
}

/// The connection to a remote node was lost: what goes on there is anybody's guess.
pub(super) fn reset(world: &mut World<'_>, r: ResIx) {
    world[r].failed = true;
    world[r].stop_if_failed = true;
    let Some(node) = world[r].connects else { return };
    if world.opts.fencing && !was_fenced(world, node) {
        mark_for_fencing(world, node, "its connection is unrecoverable");
    }
    if world[r].reconnects_later {
        world.set_next_role(r, Role::Stopped);
    }
}

impl World<'_> {
    /// Whether the node lives in a container or virtual machine that the cluster runs.
    pub(crate) fn is_guest(&self, node: NodeIx) -> bool {
        self.container_of(node).is_some()
    }

    /// Whether the node is reached by a connection and is no guest.
    pub(crate) fn is_remote(&self, node: NodeIx) -> bool {
        self[node].connection.is_some() && !self.is_guest(node)
    }

    /// What a guest node lives in.
    pub(crate) fn container_of(&self, node: NodeIx) -> Option<ResIx> {
        self[self[node].connection?].container
    }

    /// The connection of the guest node that a resource is, if it is one.
    pub(crate) fn guest_in(&self, r: ResIx) -> Option<ResIx> {
        self[r].fillers.iter().copied().find(|filler| self[*filler].is_connection)
    }
}
