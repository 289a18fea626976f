//! What the engine answers: self-contained data, so that checkers, printers and the coordinator need nothing else.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::model::Role;

/// One transition: where everything is afterwards, what is done, in which order, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// State after this one transition, if every action succeeds. Per resource instance (names as in POLICY.md
    /// section 3); idle resources have an empty list.
    pub placements: BTreeMap<String, Vec<Placement>>,
    /// The same before the transition.
    pub current: BTreeMap<String, Vec<Placement>>,
    /// Scores as placement saw them, in order of computation; only from [`crate::explain`].
    pub scores: Vec<ScoreRow>,
    /// Everything to be done; an action's [`ActionId`] is its position.
    pub actions: Vec<Action>,
    /// Direct edges: the first is to end before the second begins. Acyclic.
    pub order: Vec<(ActionId, ActionId)>,
    /// Nodes to be fenced, by name.
    pub fenced: Vec<String>,
    /// Nodes to be unfenced, by name.
    pub unfenced: Vec<String>,
    /// Why each resource is where it is, by resource instance; only from [`crate::explain`].
    pub explanations: BTreeMap<String, Explanation>,
    /// Why each node is used, fenced or left out, by name; only from [`crate::explain`].
    pub nodes: BTreeMap<String, Explanation>,
    /// Remarks about the configuration: what was ignored and why.
    pub warnings: Vec<String>,
}

/// Handle of an action within one plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionId(pub u32);

/// A resource instance on a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Placement {
    /// The node's name.
    pub node: String,
    /// The role there.
    pub role: Role,
}

/// A score of a resource on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreRow {
    /// Which computation: `primitive`, `group`, `clone`, `promotion`.
    pub stage: Stage,
    /// The resource instance.
    pub resource: String,
    /// The node's name.
    pub node: String,
    /// Saturated at plus and minus [`crate::model::INFINITY`].
    pub score: i32,
}

/// Which computation a score belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// Choice of a node for one instance.
    Primitive,
    /// A group as a whole.
    Group,
    /// A clone as a whole.
    Clone,
    /// A bundle as a whole.
    Bundle,
    /// Which instances are promoted.
    Promotion,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What.
    pub task: Task,
    /// On which resource instance; absent for actions on nodes and pure ordering points.
    pub resource: Option<String>,
    /// The member that history is kept under for anonymous instances (`db:0` for resource `db`); equal to `resource`
    /// where instances have names.
    pub instance: Option<String>,
    /// On which node; absent for pure ordering points.
    pub node: Option<String>,
    /// What it is part of.
    pub intent: Intent,
    /// Implied by the fencing of its node: nothing is sent, but others wait for it.
    pub implied: bool,
    /// For notifications: which event is told.
    pub notifies: Option<Notification>,
    /// Digest of the parameters that it is run with, as [`crate::digest`] makes it; empty where it has none.
    pub digest: String,
}

/// What is told in a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Before the event (`pre`) or after it.
    pub before: bool,
    /// Before: `start`, `stop`, `promote`, `demote`; after: `running`, `stopped`, `promoted`, `demoted`.
    pub operation: String,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Task {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Promote it.
    Promote,
    /// Demote it.
    Demote,
    /// Find out once whether it runs.
    Probe,
    /// Watch it from now on.
    Monitor {
        /// Every so many milliseconds.
        interval_ms: u64,
    },
    /// No longer run a recurring operation.
    Cancel {
        /// Its name.
        operation: String,
        /// Its interval.
        interval_ms: u64,
    },
    /// Tell an instance what happens to its siblings.
    Notify,
    /// First half of a live migration, on the source.
    MigrateTo {
        /// The target's name.
        target: String,
    },
    /// Second half of a live migration, on the target.
    MigrateFrom {
        /// The source's name.
        source: String,
    },
    /// Apply changed parameters without a restart.
    Reload,
    /// Forget the resource's history on the node.
    Delete,
    /// Forget the resource's failures on the node.
    ClearFailures,
    /// Cut the node off from everything shared.
    Fence {
        /// `off` or `reboot`.
        action: FenceAction,
        /// Wait this long first, so that of two equals the more valuable one wins.
        delay_ms: u64,
    },
    /// Give the node its access to shared devices back.
    Unfence,
    /// Let the node's cluster services stop.
    Shutdown,
    /// Nothing is done; others wait for it. Named for people.
    Sync(String),
}

/// How a node is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FenceAction {
    /// Powered off.
    Off,
    /// Powered off and on again.
    Reboot,
    /// Powered on (unfencing).
    On,
}

/// What an action is part of, so that a driver can choose a gentle way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Intent {
    /// The resource was down and comes up.
    #[default]
    Start,
    /// Stopped and started on the same node.
    Restart,
    /// Stopped on one node and started on another.
    Move,
    /// Stopped for good.
    Stop,
    /// Only its role changes.
    RoleChange,
    /// Restarted or moved because it failed.
    Recover,
    /// Only watched or recorded.
    Observe,
    /// The node itself is acted on.
    Node,
}

/// Why a resource is where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explanation {
    /// The outcome in one sentence.
    pub summary: String,
    /// The node chosen; absent if it runs nowhere, and of nodes themselves.
    pub node: Option<String>,
    /// The score of that node.
    pub score: Option<i32>,
    /// What decided, most decisive first.
    pub because: Vec<Reason>,
    /// Every other node with its score and what spoke against it.
    pub alternatives: Vec<Alternative>,
    /// What is done, and what would be and is refused.
    pub actions: Vec<ActionReason>,
    /// What would change the outcome.
    pub remedies: Vec<String>,
}

/// Why an action is taken or refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionReason {
    /// `start`, `stop`, `promote`, `demote`, `fence`, ...
    pub operation: String,
    /// On which node.
    pub node: String,
    /// In the plan, or refused.
    pub taken: bool,
    /// For example `follows from stop of db on n1`.
    pub why: String,
}

/// One thing that spoke for or against a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The node that it is about; absent if it is about all.
    pub node: Option<String>,
    /// How much it counted, where it is a score.
    pub score: Option<i32>,
    /// For example `location loc-1` or `resource-stickiness`.
    pub source: String,
}

/// A node that was not chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alternative {
    /// Its name.
    pub node: String,
    /// Its score in the end; absent when it was never a candidate.
    pub score: Option<i32>,
    /// What spoke against it.
    pub because: Vec<Reason>,
}

impl Task {
    /// The operation as `sched-sim/1` and history write it.
    #[must_use]
    pub fn operation(&self) -> &str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::Probe | Self::Monitor { .. } => "monitor",
            Self::Cancel { .. } => "cancel",
            Self::Notify => "notify",
            Self::MigrateTo { .. } => "migrate_to",
            Self::MigrateFrom { .. } => "migrate_from",
            Self::Reload => "reload-agent",
            Self::Delete => "delete",
            Self::ClearFailures => "clear_failcount",
            Self::Fence { .. } => "fence",
            Self::Unfence => "unfence",
            Self::Shutdown => "shutdown",
            Self::Sync(name) => name,
        }
    }
}
