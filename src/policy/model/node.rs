//! Nodes: who they are, what is known of them, what has run on them.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString as _},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::{Options, ResourceHistory, Shared};

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Identity; the name where there is no other.
    pub id: String,
    /// What people and constraints call it.
    pub name: String,
    /// What kind of node.
    pub kind: NodeKind,
    /// Added to the score of every resource on this node.
    pub score: i32,
    /// Attributes that stay (also `standby` and `maintenance`).
    pub attributes: Options,
    /// Attributes that last until the node restarts (also `fail-count-*`, promotion scores, `shutdown`, `#health-*`).
    pub transient: BTreeMap<String, String>,
    /// Capacity.
    pub utilization: Options,
    /// What is known of its membership; `None` for a node that was never seen.
    pub state: Option<NodeState>,
    /// What has been done on it, per resource.
    pub history: Shared<Vec<ResourceHistory>>,
    /// Nodes' histories are read in this order (then in order of declaration); it breaks ties between copies of a
    /// resource that runs more often than it should.
    pub history_order: u32,
}

/// Kind of node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NodeKind {
    /// Member of the ring.
    #[default]
    Member,
    /// Runs no ring and never runs resources.
    Ping,
    /// Reached through a connection resource.
    Remote,
}

/// What the cluster knows of a node's membership.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeState {
    /// In the membership (the ring).
    pub member: bool,
    /// Since when, in seconds since 1970, where known; decides when a pending node has been pending too long.
    pub member_since: Option<i64>,
    /// Whether its agent takes part in the cluster's process group.
    pub online: bool,
    /// Since when, where known.
    pub online_since: Option<i64>,
    /// How far it has joined.
    pub join: JoinPhase,
    /// How far it is expected to have joined.
    pub expected: JoinPhase,
    /// For remote nodes: in maintenance by its own state.
    pub remote_maintenance: bool,
    /// For remote nodes: has been fenced and not been connected since.
    pub remote_fenced: bool,
}

/// How far a node has joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum JoinPhase {
    /// Not at all.
    #[default]
    Down,
    /// Banned from joining.
    Banned,
    /// On its way.
    Pending,
    /// Fully.
    Member,
}

impl Node {
    /// A member that is online, with its name as its identity.
    #[must_use]
    pub fn online(name: &str) -> Self {
        Self {
            id: name.to_string(),
            name: name.to_string(),
            state: Some(NodeState {
                member: true,
                online: true,
                join: JoinPhase::Member,
                expected: JoinPhase::Member,
                ..NodeState::default()
            }),
            ..Self::default()
        }
    }

    /// A member that left cleanly and is down.
    #[must_use]
    pub fn offline(name: &str) -> Self {
        Self { state: Some(NodeState::default()), ..Self::online(name) }
    }

    /// A member that was expected and has vanished: to be fenced before what it held is recovered.
    #[must_use]
    pub fn lost(name: &str) -> Self {
        Self {
            state: Some(NodeState { expected: JoinPhase::Member, ..NodeState::default() }),
            ..Self::online(name)
        }
    }

    /// Sets an attribute that stays.
    #[must_use]
    pub fn with_attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.set(name, value);
        self
    }

    /// Sets an attribute that lasts until the node restarts.
    #[must_use]
    pub fn with_transient(mut self, name: &str, value: &str) -> Self {
        self.transient.insert(name.to_string(), value.to_string());
        self
    }

    /// Adds what has been done with one resource on this node.
    #[must_use]
    pub fn with_history(mut self, history: ResourceHistory) -> Self {
        self.history.push(history);
        self
    }
}
