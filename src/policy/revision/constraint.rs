//! Constraints between the placements of a revision: location, colocation, order and sets, as data.
//!
//! Invariant: names only; whether what a constraint names exists is for `compile` to say, before a revision is made.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use base::{NodeName, ResourceId, Role};
use serde::{Deserialize, Serialize};

use super::DeletionPolicy;

/// One constraint with the object that it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// Name of the object.
    pub id: String,
    /// What it says.
    pub rule: ConstraintRule,
    /// `Retain`: it stays while a resource that it names is retained.
    pub deletion: DeletionPolicy,
    /// The object is gone; kept because a resource that it names is retained.
    pub retained: bool,
}

/// What a constraint says. Scores run from -[`SCORE_MAX`] (must not) to [`SCORE_MAX`] (must).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConstraintRule {
    /// `dependent` runs where `on` runs.
    Colocation {
        /// Follows.
        dependent: RoleOf,
        /// Leads.
        on: RoleOf,
        /// How much.
        score: i32,
    },
    /// Sets of resources that run together; the members of a sequential set follow their predecessors.
    ColocationSets {
        /// In the order of the object.
        sets: Vec<ResourceSet>,
        /// How much.
        score: i32,
    },
    /// Which members a resource likes.
    Location {
        /// Which resources.
        resources: Vec<ResourceId>,
        /// Only in this role.
        role: Option<Role>,
        /// Score by name of the member.
        nodes: BTreeMap<NodeName, i32>,
        /// Score by attributes of the member.
        rules: Vec<LocationRule>,
        /// Whether a resource that is elsewhere is looked for on these members.
        discovery: Discovery,
    },
    /// `first` before `then`.
    Order {
        /// Acts first.
        first: ActionOf,
        /// Acts then.
        then: ActionOf,
        /// How strictly.
        kind: OrderKind,
        /// Also the other way round when stopping.
        symmetric: bool,
    },
    /// Sets that act one after the other.
    OrderSets {
        /// In the order of the object.
        sets: Vec<ResourceSet>,
        /// How strictly.
        kind: OrderKind,
        /// Also the other way round when stopping.
        symmetric: bool,
    },
}

impl ConstraintRule {
    /// Every resource that the rule names.
    pub fn resources(&self) -> Vec<&ResourceId> {
        match self {
            Self::Colocation { dependent, on, .. } => {
                alloc::vec![&dependent.resource, &on.resource]
            }
            Self::Order { first, then, .. } => alloc::vec![&first.resource, &then.resource],
            Self::Location { resources, .. } => resources.iter().collect(),
            Self::ColocationSets { sets, .. } | Self::OrderSets { sets, .. } => {
                sets.iter().flat_map(|s| &s.resources).collect()
            }
        }
    }
}

/// A resource in a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleOf {
    /// Placement or member of a group.
    pub resource: ResourceId,
    /// `None` is any running role.
    pub role: Option<Role>,
}

/// An action on a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionOf {
    /// Placement or member of a group.
    pub resource: ResourceId,
    /// The action.
    pub action: Action,
}

/// Actions that order constraints name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Demote.
    Demote,
    /// Promote.
    Promote,
    /// Start.
    Start,
    /// Stop.
    Stop,
}

/// Resources of one set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceSet {
    /// In the order of the object.
    pub resources: Vec<ResourceId>,
    /// One after the other, or all at once.
    pub sequential: bool,
    /// All of them, or any, before the next set.
    pub require_all: bool,
    /// Colocation: in this role.
    pub role: Option<Role>,
    /// Order: this action.
    pub action: Option<Action>,
}

/// How strict an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderKind {
    /// `then` needs `first`.
    Mandatory,
    /// Only when both act in one transition.
    Optional,
    /// Never at the same time.
    Serialize,
}

/// Where a resource is looked for that does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Discovery {
    /// Everywhere.
    Always,
    /// Only on the members that the constraint names.
    Exclusive,
    /// Not on the members that the constraint names.
    Never,
}

/// All expressions must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationRule {
    /// Added where it holds.
    pub score: i32,
    /// On the member's attributes; `#uname` is its name.
    pub expressions: Vec<AttributeExpression>,
}

/// One look at an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeExpression {
    /// Name of the attribute.
    pub attribute: String,
    /// How.
    pub operator: AttributeOperator,
    /// With what; empty for the two that look at presence only.
    pub values: Vec<String>,
}

/// How an attribute is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttributeOperator {
    /// Not there.
    Absent,
    /// As numbers, above the one value.
    GreaterThan,
    /// Equal to one of the values.
    In,
    /// As numbers, below the one value.
    LessThan,
    /// There, and equal to none of the values.
    NotIn,
    /// There.
    Present,
}
