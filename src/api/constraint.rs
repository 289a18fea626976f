//! `PlacementConstraint`: location, colocation or order of resources.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ClusterRef, Condition, DeletionPolicy,
    placement::Role,
    rules,
    text::{AttributeName, AttributeValue, Label, ResourceName},
};

/// Where resources run, with whom, and in which order: one location, colocation or order.
///
/// Example: `colocation: {resource: web, with: vip-public}` keeps `web` on the machine that has `vip-public`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "palisade.dev",
    version = "v1alpha1",
    kind = "PlacementConstraint",
    plural = "placementconstraints",
    shortname = "plc",
    category = "palisade",
    namespaced,
    status = "PlacementConstraintStatus",
    derive = "PartialEq",
    doc = "Where resources run, with whom, and in which order: one location, colocation or order.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type=='Accepted')].status"),
    printcolumn(name = "Says", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.clusterRef.name",
    validation = rules::era_grows(),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::same_cluster(),
    validation = rules::rule(
        "[has(self.location), has(self.colocation), has(self.order)].filter(x, x).size() == 1",
        "spec: exactly one of location, colocation and order is required, found {[has(self.location), has(self.colocation), has(self.order)].filter(x, x).size()}: split it into several objects",
    ),
)]
pub struct PlacementConstraintSpec {
    /// The cluster.
    pub cluster_ref: ClusterRef,
    /// Which members resources like or must avoid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Which resources run together, or apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colocation: Option<Colocation>,
    /// Which resources act before which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// `Retain`: it stays while a resource that it names runs without an object.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Which members resources like or must avoid.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::rule(
        "(has(self.nodes) && self.nodes.size() > 0) || (has(self.rules) && self.rules.size() > 0)",
        "location: nodes or rules is required: say which members",
    ),
    validation = rules::rule(
        "!has(self.nodes) || self.nodes.all(n, self.nodes.exists_one(o, o.name == n.name))",
        "location.nodes: \"{self.nodes.filter(n, !self.nodes.exists_one(o, o.name == n.name))[0].name}\" is named twice: keep one score",
    ),
)]
pub struct Location {
    /// Which resources.
    #[schemars(length(min = 1, max = 100))]
    pub resources: Vec<ResourceName>,
    /// Only in this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Members by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 31))]
    pub nodes: Vec<NodeScore>,
    /// Members by attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub rules: Vec<LocationRule>,
    /// Whether resources that are not placed there are looked for on these members.
    #[serde(default)]
    pub discovery: Discovery,
}

/// A member and how much it is liked.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeScore {
    /// Name of the member.
    pub name: Label,
    /// -1000000 (must not) to 1000000 (must).
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub score: i32,
}

/// Members by attributes; all expressions must hold.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocationRule {
    /// -1000000 (must not) to 1000000 (must).
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub score: i32,
    /// All must hold.
    #[schemars(length(min = 1, max = 8))]
    pub expressions: Vec<Expression>,
}

/// One look at an attribute of a member.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::rule(
        "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || self.values.size() == 0",
        "expression: {self.operator} looks at the presence of \"{self.attribute}\" only: remove values",
    ),
    validation = rules::rule(
        "!(self.operator in ['In', 'NotIn']) || (has(self.values) && self.values.size() > 0)",
        "expression: {self.operator} of \"{self.attribute}\" needs values",
    ),
    validation = rules::rule(
        "!(self.operator in ['Gt', 'Lt']) || (has(self.values) && self.values.size() == 1 && self.values[0].matches('^-?[0-9]{1,9}$'))",
        "expression: {self.operator} of \"{self.attribute}\" needs one whole number in values",
    ),
)]
pub struct Expression {
    /// Name of the attribute; `#uname` is the member's name.
    pub attribute: AttributeName,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub values: Vec<AttributeValue>,
}

/// How an attribute is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// Not there.
    DoesNotExist,
    /// There.
    Exists,
    /// Above, as a number.
    Gt,
    /// One of the values.
    In,
    /// Below, as a number.
    Lt,
    /// There, and none of the values.
    NotIn,
}

/// Whether resources are looked for on the members of a location.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Discovery {
    /// Everywhere.
    #[default]
    Always,
    /// Only there.
    Exclusive,
    /// Not there.
    Never,
}

/// Which resources run together (score above zero) or apart (below).
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::rule(
        "has(self.sets) ? !has(self.resource) && !has(self.with) : has(self.resource) && has(self.with)",
        "colocation: write resource and with, or sets alone",
    ),
    validation = rules::rule(
        "!has(self.resource) || !has(self.with) || self.resource != self.with",
        "colocation: \"{self.resource}\" cannot follow itself",
    ),
)]
pub struct Colocation {
    /// Follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceName>,
    /// Only in this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<ResourceName>,
    /// Where it has this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_role: Option<Role>,
    /// More than two: each set follows the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub sets: Option<Vec<ResourceSet>>,
    /// -1000000 (never together) to 1000000 (always together).
    #[serde(default = "must")]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub score: i32,
}

fn must() -> i32 {
    1_000_000
}

/// Which resources act before which.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::rule(
        "has(self.sets) ? !has(self.first) && !has(self.then) : has(self.first) && has(self.then)",
        "order: write first and then, or sets alone",
    ),
    validation = rules::rule(
        "!has(self.first) || !has(self.then) || self.first != self.then",
        "order: \"{self.first}\" cannot come before itself",
    ),
)]
pub struct Order {
    /// Acts first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<ResourceName>,
    /// What it does.
    #[serde(default)]
    pub first_action: Action,
    /// Acts then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<ResourceName>,
    /// What it does.
    #[serde(default)]
    pub then_action: Action,
    /// More than two: each set before the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub sets: Option<Vec<ResourceSet>>,
    /// How strict.
    #[serde(default)]
    pub kind: OrderKind,
    /// Whether the reverse holds for the opposite actions. True when left out, but for `Serialize`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symmetric: Option<bool>,
}

/// Actions that orders name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// Demote.
    Demote,
    /// Promote.
    Promote,
    /// Start.
    #[default]
    Start,
    /// Stop.
    Stop,
}

/// How strict an order is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrderKind {
    /// The second needs the first.
    #[default]
    Mandatory,
    /// Only when both act at the same time.
    Optional,
    /// Never at the same time.
    Serialize,
}

/// Resources of one set.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::rule(
    "self.resources.all(r, self.resources.exists_one(s, s == r))",
    "sets: \"{self.resources.filter(r, !self.resources.exists_one(s, s == r))[0]}\" stands twice in one set",
))]
pub struct ResourceSet {
    /// Their ids.
    #[schemars(length(min = 1, max = 100))]
    pub resources: Vec<ResourceName>,
    /// One after the other, or all at once.
    #[serde(default = "yes")]
    pub sequential: bool,
    /// Orders: all of them, or any, before the next set.
    #[serde(default = "yes")]
    pub require_all: bool,
    /// Colocations: only in this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Orders: what they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
}

fn yes() -> bool {
    true
}

/// What is true of a constraint.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlacementConstraintStatus {
    /// Generation of the spec that was judged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Sequence of the ring whose era the writer belongs to. Never decreases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_era: Option<i64>,
    /// In words. Example: `web with vip-public`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub summary: Option<String>,
    /// Accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}
