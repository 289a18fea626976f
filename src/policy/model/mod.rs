//! What the engine is told: plain owned data, easy to build from code and to keep for replay.
//!
//! Names are text here, because models come from two doors with different rules for names; the engine turns them into
//! integer handles once, in its first stage. Options are kept as the text that the person wrote, with the rules under
//! which they hold, because some rules depend on the time, on the node or on the operation.

mod constraint;
mod history;
mod node;
mod options;
mod resource;
mod rule;
mod shared;
mod text;
mod validate;

pub use constraint::{
    Colocation, ColocationSet, Constraints, FencingLevel, FencingTarget, Location, LocationTarget,
    LossPolicy, Order, OrderKind, OrderSet, Pattern, TicketConstraint,
};
pub use history::{OperationRecord, OperationStatus, ParameterDigests, ResourceHistory};
pub use node::{JoinPhase, Node, NodeKind, NodeState};
pub use options::{OptionSet, Options};
pub use resource::{
    Bundle, BundlePort, BundleReplica, BundleStorage, CloneSpec, Operation, Primitive, Resource,
    ResourceKind, Role,
};
pub use rule::{
    BooleanOp, Comparison, DateExpression, DateSpec, Duration, Expression, Range, Rule, RuleScore,
    ValueKind, ValueSource,
};
pub use shared::Shared;
pub use text::{civil_from_days, days_from_civil, parse_bool, parse_interval_ms, parse_score};
pub use validate::{
    DEPTH_MAX, HISTORY_MAX, INSTANCES_MAX, NODES_MAX, OPERATIONS_MAX, RESOURCES_MAX,
};

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

/// The score that outweighs every other. Sums saturate here, and its negative wins over it.
pub const INFINITY: i32 = 1_000_000;

/// Everything that a plan depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Model {
    /// Seconds since 1970 UTC, for rules with dates and for failure timeouts. The caller's clock, never ours.
    pub now: i64,
    /// Whether this partition has quorum.
    pub quorate: bool,
    /// Whether this partition ever had quorum; without it, losing quorum fences nobody.
    pub had_quorum: bool,
    /// The node that decides, by identity or name; it is fenced or shut down last.
    pub coordinator: Option<String>,
    /// Whether the watchdog is watched by a daemon on every node (`have-watchdog`).
    pub have_watchdog: bool,
    /// Cluster properties (`no-quorum-policy`, `fencing-enabled`, ...), in the names that "Pacemaker Explained" uses.
    pub properties: Options,
    /// Defaults of resource options.
    pub resource_defaults: Options,
    /// Defaults of operation options.
    pub operation_defaults: Options,
    /// Every node known, in order of declaration.
    pub nodes: Vec<Node>,
    /// Top-level resources, in order of declaration.
    pub resources: Shared<Vec<Resource>>,
    /// What the person demands of the placement.
    pub constraints: Shared<Constraints>,
    /// Which devices fence which node, in which order.
    pub fencing_levels: Vec<FencingLevel>,
    /// Tickets of a multi-site cluster and their state.
    pub tickets: Vec<Ticket>,
    /// Features that the door saw and cannot express here. Not empty: the engine refuses with these words.
    pub inexpressible: Vec<String>,
}

/// One ticket: whether this site holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ticket {
    /// Its name.
    pub id: String,
    /// Whether it is granted to this site.
    pub granted: bool,
    /// Whether dependents are to be stopped in order before it is given away.
    pub standby: bool,
}

impl Model {
    /// A quorate model without nodes or resources, at the given time. The usual start of a builder.
    #[must_use]
    pub fn at(now: i64) -> Self {
        Self { now, quorate: true, ..Self::default() }
    }

    /// Sets a cluster property.
    #[must_use]
    pub fn with_property(mut self, name: &str, value: &str) -> Self {
        self.properties.set(name, value);
        self
    }

    /// Adds a node.
    #[must_use]
    pub fn with_node(mut self, node: Node) -> Self {
        self.nodes.push(node);
        self
    }

    /// Adds a top-level resource.
    #[must_use]
    pub fn with_resource(mut self, resource: Resource) -> Self {
        self.resources.push(resource);
        self
    }
}
