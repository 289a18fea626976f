//! What people are shown of a cluster, whatever shows it: the terminal (`watch`) or the page of a box.

use agent::{
    local::{Reply, Request, TimelineEntry},
    status::{IncidentStatus, NodeStatus, ResourceStatus, Status},
};
use anyhow::Result;
use serde::Serialize;

use super::trouble;
use crate::local::Socket;

/// What happened last.
const ENTRIES_SHOWN: u16 = 12;

/// How good it is. Never the only bearer of a meaning: the word stands there too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tone {
    Bad,
    Between,
    Good,
}

/// A machine and what runs there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) tone: Tone,
    /// Resources, with the role where it is not the plain one.
    pub(crate) runs: Vec<String>,
    pub(crate) reason: Option<String>,
}

/// A resource and where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Resource {
    pub(crate) id: String,
    pub(crate) kind: String,
    /// `Started on n1`; empty when it runs nowhere.
    pub(crate) runs: Vec<String>,
    pub(crate) reason: Option<String>,
}

/// One look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct View {
    pub(crate) cluster: String,
    /// Whose word this is.
    pub(crate) seen_by: String,
    pub(crate) at_ms: u64,
    /// Why nothing may start now; without it there is quorum and an open era.
    pub(crate) trouble: Option<String>,
    pub(crate) coordinator: String,
    pub(crate) ring: String,
    pub(crate) ring_state: String,
    pub(crate) members: Vec<String>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) resources: Vec<Resource>,
    /// Who has to prove what, in words.
    pub(crate) owes: Vec<String>,
    /// Power-offs under way, in words.
    pub(crate) fencing: Vec<String>,
    /// The last failure.
    pub(crate) incident: Option<IncidentStatus>,
    pub(crate) lately: Vec<TimelineEntry>,
}

impl View {
    /// The cluster as the agent sees it that knows most.
    pub(crate) fn look(socket: &Socket) -> Result<Self> {
        let status = socket.status()?;
        let entries = match socket.ask(&Request::Timeline { limit: ENTRIES_SHOWN })? {
            Reply::Timeline(entries) => entries,
            _ => Vec::new(),
        };
        Ok(Self::new(&status, entries))
    }

    pub(crate) fn new(status: &Status, lately: Vec<TimelineEntry>) -> Self {
        let or = |word: &Option<String>, none: &str| word.as_deref().unwrap_or(none).to_owned();
        let open = status.operations.iter().filter(|operation| operation.evidence.is_none());
        Self {
            cluster: status.cluster.clone(),
            seen_by: status.node.clone(),
            at_ms: status.at_ms,
            trouble: trouble(status),
            coordinator: or(&status.coordinator, "nobody"),
            ring: or(&status.ring.id, "none"),
            ring_state: status.ring.state.clone(),
            members: status.ring.members.clone(),
            machines: status.nodes.iter().map(|node| machine(status, node)).collect(),
            resources: status.resources.iter().map(resource).collect(),
            owes: status
                .debts
                .iter()
                .map(|debt| format!("{} owes evidence: {}", debt.node, debt.reason))
                .collect(),
            fencing: open
                .map(|operation| {
                    let by = or(&operation.executor, "nobody yet");
                    format!("fencing {}: {} (by {by})", operation.node, operation.state)
                })
                .collect(),
            incident: status.incidents.last().cloned(),
            lately,
        }
    }

    /// Resources that run nowhere.
    pub(crate) fn nowhere(&self) -> Vec<&str> {
        let down = self.resources.iter().filter(|resource| resource.runs.is_empty());
        down.map(|resource| resource.id.as_str()).collect()
    }
}

fn machine(status: &Status, node: &NodeStatus) -> Machine {
    let tone = match node.state.as_str() {
        "online" => Tone::Good,
        "unclean" | "evicted" | "offline" => Tone::Bad,
        _ => Tone::Between,
    };
    let here = status.resources.iter().flat_map(|resource| {
        let here = |i: &&agent::status::InstanceStatus| i.node == node.name && i.role != "Stopped";
        resource.instances.iter().filter(here).map(|instance| {
            match (instance.role.as_str(), instance.stop_failed) {
                (_, true) => format!("{} (a stop failed)", resource.id),
                ("Started", false) => resource.id.clone(),
                (role, false) => format!("{} ({role})", resource.id),
            }
        })
    });
    Machine {
        name: node.name.clone(),
        state: node.state.clone(),
        tone,
        runs: here.collect(),
        reason: node.reason.clone(),
    }
}

fn resource(resource: &ResourceStatus) -> Resource {
    let active = resource.instances.iter().filter(|instance| instance.role != "Stopped");
    Resource {
        id: resource.id.clone(),
        kind: resource.kind.clone(),
        runs: active.map(|i| format!("{} on {}", i.role, i.node)).collect(),
        reason: resource.reason.clone(),
    }
}
