//! Rules: conditions on node attributes, the time, the resource or the operation.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::Role;

/// A condition, possibly with a score for the nodes on which it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// For people; may be empty.
    pub id: String,
    /// How the expressions combine. A rule without expressions holds.
    pub op: BooleanOp,
    /// In location constraints: the role that the score is for.
    pub role: Option<Role>,
    /// In location constraints: what a matching node gets.
    pub score: RuleScore,
    /// The parts.
    pub expressions: Vec<Expression>,
}

/// How expressions combine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BooleanOp {
    /// All must hold.
    #[default]
    And,
    /// One must hold.
    Or,
}

/// What a matching node gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleScore {
    /// A fixed score.
    Fixed(i32),
    /// The value of this node attribute.
    Attribute(String),
}

impl Default for RuleScore {
    fn default() -> Self {
        Self::Fixed(0)
    }
}

/// One part of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expression {
    /// A rule inside the rule.
    Rule(Rule),
    /// A node attribute compared with a value.
    Attribute {
        /// Attribute name; `#uname`, `#id`, `#kind`, `#site-name`, `#cluster-name` are built in.
        attribute: String,
        /// The comparison.
        comparison: Comparison,
        /// How both sides are read.
        kind: ValueKind,
        /// The other side.
        value: Option<String>,
        /// Where the other side comes from.
        source: ValueSource,
    },
    /// The time.
    Date(DateExpression),
    /// The resource's agent; absent parts match everything.
    Resource {
        /// For example `ocf`.
        class: Option<String>,
        /// For example `heartbeat`.
        provider: Option<String>,
        /// For example `IPaddr2`.
        agent: Option<String>,
    },
    /// The operation; an absent interval matches everything.
    Operation {
        /// For example `monitor`.
        name: String,
        /// In milliseconds.
        interval_ms: Option<u64>,
    },
}

/// Comparison of a node attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// The node has the attribute.
    Defined,
    /// The node does not have the attribute.
    NotDefined,
}

/// How the two sides of a comparison are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueKind {
    /// By number where the comparison orders, by text otherwise.
    #[default]
    Auto,
    /// Text, without regard to case.
    String,
    /// Whole number.
    Integer,
    /// Number.
    Number,
    /// Version: dotted numbers.
    Version,
}

/// Where the value of a comparison comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueSource {
    /// It is the value itself.
    #[default]
    Literal,
    /// It names a parameter of the resource.
    Parameter,
    /// It names a meta attribute of the resource.
    Meta,
}

/// A condition on the time. Instants are seconds since 1970 UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DateExpression {
    /// After the instant.
    After(i64),
    /// Before the instant.
    Before(i64),
    /// Between two instants, both included; an open side is absent.
    Between(Option<i64>, Option<i64>),
    /// From an instant for a duration of calendar units.
    Lasting(i64, Duration),
    /// Calendar fields of the time in UTC.
    Spec(DateSpec),
}

/// A duration in calendar units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are the units that they name")]
pub struct Duration {
    pub years: i64,
    pub months: i64,
    pub weeks: i64,
    pub days: i64,
    pub hours: i64,
    pub minutes: i64,
    pub seconds: i64,
}

/// First and last value, both included; an open end is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First value.
    pub first: i64,
    /// Last value, absent if open.
    pub last: Option<i64>,
}

/// Calendar fields that must match; absent ones match everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are the calendar fields that they name")]
pub struct DateSpec {
    pub seconds: Option<Range>,
    pub minutes: Option<Range>,
    pub hours: Option<Range>,
    pub monthdays: Option<Range>,
    pub weekdays: Option<Range>,
    pub yeardays: Option<Range>,
    pub months: Option<Range>,
    pub weeks: Option<Range>,
    pub years: Option<Range>,
    pub weekyears: Option<Range>,
}
