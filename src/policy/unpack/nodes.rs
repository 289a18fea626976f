//! Nodes: which are members, which can run resources, which must be fenced.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    model::{JoinPhase, NodeKind, NodeState as Seen, parse_bool},
    world::{NodeIx, NodeState, World},
};

use super::{
    properties::QuorumPolicy,
    rules::{Context, amounts, fill},
};

pub(crate) fn read(world: &mut World<'_>) {
    let model = world.model;
    let context = Context::cluster(model);
    for node in &model.nodes {
        let mut attrs: BTreeMap<&str, &str> =
            node.transient.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        attrs.insert("#uname", &node.name);
        attrs.insert("#id", &node.id);
        attrs.insert("#kind", if node.kind == NodeKind::Remote { "remote" } else { "cluster" });
        let dc = model.coordinator.as_deref().is_some_and(|dc| dc == node.id || dc == node.name);
        attrs.insert("#is_dc", if dc { "true" } else { "false" });
        fill(&node.attributes, &context, &mut attrs);
        world.nodes.push(NodeState {
            model: node,
            score: node.score,
            attrs,
            online: false,
            standby: false,
            maintenance: false,
            // unknown is unclean until its state says otherwise
            unclean: world.opts.startup_fencing && node.kind == NodeKind::Member,
            pending: false,
            shutdown: false,
            ping: node.kind == NodeKind::Ping,
            unseen: true,
            fence_reason: None,
            lost: false,
            running: Vec::new(),
            capacity: amounts(&node.utilization, &context),
            placed: 0,
            connection: None,
            needs_reset: false,
            entered: false,
            undiscovered: false,
        });
    }
}

/// Second pass, after the devices are known.
pub(crate) fn judge(world: &mut World<'_>) {
    for at in world.node_ids() {
        let node = &world[at];
        let truth = |name: &str| node.attr(name).and_then(parse_bool).unwrap_or(false);
        let (standby, maintenance) = (truth("standby"), truth("maintenance"));
        let shutdown = node.attr("shutdown").is_some_and(|value| !matches!(value, "" | "0"));
        let node = &mut world[at];
        node.standby = standby;
        node.maintenance = maintenance;
        if node.model.kind == NodeKind::Remote {
            // how it is reached, if at all, history tells
            continue;
        }
        let Some(seen) = &node.model.state else { continue };
        node.unclean = false;
        node.unseen = false;
        node.shutdown = shutdown;
        let online = if world.opts.fencing {
            judge_with_fencing(world, at, seen)
        } else {
            judge_without_fencing(world, at, seen)
        };
        world[at].online = online;
        if online && !world.model.quorate && world.opts.quorum_policy == QuorumPolicy::Fence {
            mark_for_fencing(world, at, "cluster does not have quorum");
        }
    }
}

fn judge_without_fencing(world: &mut World<'_>, at: NodeIx, seen: &Seen) -> bool {
    if !seen.member {
        return false;
    }
    if seen.online {
        return seen.join == JoinPhase::Member;
    }
    if seen.expected == JoinPhase::Member {
        mark_for_fencing(world, at, "is unexpectedly down");
    }
    false
}

fn judge_with_fencing(world: &mut World<'_>, at: NodeIx, seen: &Seen) -> bool {
    if world[at].shutdown {
        return seen.online;
    }
    let terminate = world[at].attr("terminate").is_some_and(|value| {
        parse_bool(value).unwrap_or_else(|| value.parse::<i64>().is_ok_and(|when| when > 0))
    });
    let pending_too_long = || {
        let limit = i64::try_from(world.opts.node_pending_timeout_ms / 1000).unwrap_or(i64::MAX);
        let since = seen.member_since.unwrap_or(i64::MAX);
        limit > 0 && !seen.online && world.model.now.saturating_sub(since) >= limit
    };
    if seen.join == JoinPhase::Banned {
        mark_for_fencing(world, at, "peer failed membership criteria");
    } else if terminate {
        if seen.member || seen.online || seen.join != JoinPhase::Down {
            mark_for_fencing(world, at, "fencing was requested");
        }
    } else if seen.expected == JoinPhase::Down {
        if pending_too_long() {
            mark_for_fencing(world, at, "peer pending timed out on joining the process group");
        } else if seen.member || seen.online {
            world[at].standby = true;
            world[at].pending = true;
        }
    } else if !seen.member {
        world[at].lost = true;
        mark_for_fencing(world, at, "peer is no longer part of the cluster");
    } else if !seen.online {
        if pending_too_long() {
            mark_for_fencing(world, at, "peer pending timed out on joining the process group");
        } else {
            mark_for_fencing(world, at, "peer process is no longer available");
        }
    } else if seen.join == JoinPhase::Pending || seen.join == JoinPhase::Down {
        world[at].standby = true;
        world[at].pending = true;
    }
    seen.member
}

/// Says that a node cannot be trusted; it is fenced if that is possible.
pub(crate) fn mark_for_fencing(world: &mut World<'_>, at: NodeIx, reason: &'static str) {
    world[at].fence_reason.get_or_insert(reason);
    if !super::remote::mistrust(world, at) {
        world[at].unclean = true;
    }
}

/// Whether a node could be fenced now.
pub(crate) fn can_fence(world: &World<'_>, at: NodeIx) -> bool {
    if let Some(container) = world.container_of(at) {
        // it goes when its container is stopped, or the host of that is gone
        let hosts = &world[container].running_on;
        return hosts.iter().all(|host| world[*host].online || can_fence(world, *host));
    }
    world.opts.fencing
        && world.has_fencing_device
        && (world.model.quorate
            || world.opts.quorum_policy == QuorumPolicy::Ignore
            || world[at].online)
}
