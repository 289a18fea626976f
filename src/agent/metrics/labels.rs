//! Labels of the agent's metrics. Each has few values: words of this program, or names of members and resources, which
//! the objects limit.

use std::{collections::BTreeMap, sync::Mutex};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
};

/// One label, named by its metric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct Reason {
    /// Why.
    pub reason: &'static str,
}

/// One label, named by its metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Phase {
    /// Which part of a failover.
    pub phase: &'static str,
}

/// One label, named by its metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// How it ended.
    pub outcome: &'static str,
}

/// One label, named by its metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Condition {
    /// Its type, one of [`crate::conditions`].
    pub condition: &'static str,
}

/// What the engine says of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct Said {
    /// Its type, a word of the engine.
    pub condition: String,
}

/// What an executor did.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Done {
    /// `start`, `stop`, ...
    pub operation: &'static str,
    /// How it ended.
    pub outcome: &'static str,
}

/// What was written to the API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    /// Kind of the object.
    pub kind: &'static str,
}

/// Where a datagram came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Link {
    /// Name of the member.
    pub peer: String,
    /// Number of the link, from 0.
    pub link: u16,
}

/// Where the ring or a member stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct State {
    /// The word for it.
    pub state: &'static str,
}

/// Where a member stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct NodeState {
    /// Its name.
    pub node: String,
    /// The word for it.
    pub state: &'static str,
}

/// A resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct Resource {
    /// Its id.
    pub resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Build {
    pub(super) version: &'static str,
    pub(super) part: &'static str,
}

/// Series whose set of labels is replaced as a whole: what is not said any more is gone, and not at its last value.
#[derive(Debug)]
pub struct Series<L> {
    family: Family<L, Gauge>,
    shown: Mutex<BTreeMap<L, i64>>,
}

impl<L> Default for Series<L>
where
    L: Clone + std::hash::Hash + Eq,
{
    fn default() -> Self {
        Self { family: Family::default(), shown: Mutex::default() }
    }
}

impl<L> Series<L>
where
    L: Clone + std::hash::Hash + Eq + Ord,
{
    pub(super) fn family(&self) -> Family<L, Gauge> {
        self.family.clone()
    }

    /// From now on exactly these.
    pub fn replace(&self, now: BTreeMap<L, i64>) {
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for gone in shown.keys().filter(|label| !now.contains_key(label)) {
            self.family.remove(gone);
        }
        for (label, value) in &now {
            if shown.get(label) != Some(value) {
                self.family.get_or_create(label).set(*value);
            }
        }
        *shown = now;
    }
}
