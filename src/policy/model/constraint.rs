//! What the person demands of the placement, and which devices fence whom.

use alloc::{
    string::{String, ToString as _},
    vec,
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::{INFINITY, Role, Rule};

/// All constraints, in order of declaration per kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Constraints {
    /// Which nodes.
    pub locations: Vec<Location>,
    /// Which resources together, which apart.
    pub colocations: Vec<Colocation>,
    /// Which action before which.
    pub orders: Vec<Order>,
    /// What depends on a ticket.
    pub tickets: Vec<TicketConstraint>,
}

/// Prefers, avoids or bans nodes for resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Its name; every explanation cites it.
    pub id: String,
    /// For whom.
    pub resources: Vec<Pattern>,
    /// For which role only.
    pub role: Option<Role>,
    /// Which nodes, with which score.
    pub target: LocationTarget,
    /// `always`, `never` or `exclusive`; empty for the default.
    pub discovery: String,
}

/// Which nodes get which score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LocationTarget {
    /// One node by name.
    Node {
        /// Its name.
        node: String,
        /// The score.
        score: i32,
    },
    /// All nodes on which a rule holds.
    Rules(Vec<Rule>),
}

/// Names a resource, or all whose name a POSIX extended expression matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pattern {
    /// By name.
    Id(String),
    /// By expression; `negated` takes those that it does not match.
    Matching {
        /// The expression; `%0` to `%9` in attribute names of the rules take what it captured.
        pattern: String,
        /// Takes those that do not match.
        negated: bool,
    },
}

/// Places resources together (positive score) or apart (negative). Each set's resources depend on those of the next;
/// a plain pair is two sets of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Colocation {
    /// Its name.
    pub id: String,
    /// How strongly; infinite scores are mandatory.
    pub score: i32,
    /// Node attribute whose value must be equal; empty compares nodes.
    pub node_attribute: String,
    /// Whether the dependent influences where the primary goes; unset takes the dependent's `critical`.
    pub influence: Option<bool>,
    /// The sets.
    pub sets: Vec<ColocationSet>,
    /// Whether it was written as sets: then order inside a set counts, and each set has its own score.
    pub from_sets: bool,
}

/// Resources of a colocation set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ColocationSet {
    /// In order.
    pub resources: Vec<String>,
    /// Only when in this role.
    pub role: Option<Role>,
    /// Whether each resource of the set depends on the one before it.
    pub sequential: bool,
    /// Overrides the constraint's score inside the set.
    pub score: Option<i32>,
    /// Whether a group or list is read in reverse (`ordering="listed"` is false).
    pub listed: bool,
}

/// Puts actions in order. Each set comes after the one before it; a plain pair is two sets of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its name.
    pub id: String,
    /// How binding.
    pub kind: OrderKind,
    /// Whether the reverse holds for the opposite actions; unset is true, except for `Serialize`.
    pub symmetrical: Option<bool>,
    /// How many instances of a clone in the first place are enough, where it was said on the constraint.
    pub require_all: bool,
    /// The sets.
    pub sets: Vec<OrderSet>,
    /// Whether it was written as sets.
    pub from_sets: bool,
}

/// How binding an order is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderKind {
    /// The second needs the first.
    #[default]
    Mandatory,
    /// Holds only when both happen.
    Optional,
    /// Never at the same time.
    Serialize,
}

/// Resources of an order set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderSet {
    /// In order.
    pub resources: Vec<String>,
    /// `start`, `stop`, `promote`, `demote`; empty takes `start`.
    pub action: String,
    /// Whether they come one after the other.
    pub sequential: bool,
    /// Whether all of them are needed by the next set.
    pub require_all: bool,
    /// Overrides the constraint's kind inside the set.
    pub kind: Option<OrderKind>,
    /// Overrides the constraint's symmetry inside the set.
    pub symmetrical: Option<bool>,
}

/// Makes resources depend on a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketConstraint {
    /// Its name.
    pub id: String,
    /// The ticket.
    pub ticket: String,
    /// Who depends on it.
    pub resources: Vec<String>,
    /// Only in this role.
    pub role: Option<Role>,
    /// What happens when it is lost.
    pub loss: LossPolicy,
}

/// What happens when a ticket is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LossPolicy {
    /// Dependents stop.
    #[default]
    Stop,
    /// Promoted dependents are demoted.
    Demote,
    /// Nodes that run dependents are fenced.
    Fence,
    /// Nothing changes.
    Freeze,
}

/// Devices that together fence a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencingLevel {
    /// Its name.
    pub id: String,
    /// 1 is tried first.
    pub index: u32,
    /// Whom.
    pub target: FencingTarget,
    /// All must succeed.
    pub devices: Vec<String>,
}

/// Whom a fencing level is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FencingTarget {
    /// By name.
    Node(String),
    /// By an expression over names.
    Pattern(String),
    /// By an attribute's value.
    Attribute(String, String),
}

impl Location {
    /// A score for one resource on one node.
    #[must_use]
    pub fn on_node(id: &str, resource: &str, node: &str, score: i32) -> Self {
        Self {
            id: id.to_string(),
            resources: vec![Pattern::Id(resource.to_string())],
            role: None,
            target: LocationTarget::Node { node: node.to_string(), score },
            discovery: String::new(),
        }
    }
}

impl Colocation {
    /// `dependent` with `primary` by `score`.
    #[must_use]
    pub fn pair(id: &str, dependent: &str, primary: &str, score: i32) -> Self {
        let set = |resource: &str| ColocationSet {
            resources: vec![resource.to_string()],
            sequential: true,
            ..ColocationSet::default()
        };
        Self {
            id: id.to_string(),
            score,
            node_attribute: String::new(),
            influence: None,
            sets: vec![set(dependent), set(primary)],
            from_sets: false,
        }
    }

    /// `dependent` must run where `primary` runs.
    #[must_use]
    pub fn mandatory(id: &str, dependent: &str, primary: &str) -> Self {
        Self::pair(id, dependent, primary, INFINITY)
    }
}

impl Order {
    /// `first`'s action before `then`'s action, as in `pair("o", ("db", "promote"), ("api", "start"))`.
    #[must_use]
    pub fn pair(id: &str, first: (&str, &str), then: (&str, &str)) -> Self {
        let set = |(resource, action): (&str, &str)| OrderSet {
            resources: vec![resource.to_string()],
            action: action.to_string(),
            sequential: true,
            require_all: true,
            kind: None,
            symmetrical: None,
        };
        Self {
            id: id.to_string(),
            kind: OrderKind::Mandatory,
            symmetrical: None,
            require_all: true,
            sets: vec![set(first), set(then)],
            from_sets: false,
        }
    }
}
