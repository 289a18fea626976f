//! A node as the stages see it.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::model::Node;

use super::{NodeIx, ResIx, World};

/// One node.
pub(crate) struct NodeState<'m> {
    pub(crate) model: &'m Node,
    /// Added to every resource's score here.
    pub(crate) score: i32,
    pub(crate) attrs: BTreeMap<&'m str, &'m str>,
    pub(crate) online: bool,
    pub(crate) standby: bool,
    pub(crate) maintenance: bool,
    pub(crate) unclean: bool,
    pub(crate) pending: bool,
    pub(crate) shutdown: bool,
    pub(crate) ping: bool,
    /// Whether nobody ever saw it.
    pub(crate) unseen: bool,
    /// Why it is to be fenced.
    pub(crate) fence_reason: Option<&'static str>,
    /// Whether it vanished, so that the fencing delay by priority applies.
    pub(crate) lost: bool,
    /// Resources that run here.
    pub(crate) running: Vec<ResIx>,
    /// What is left of its capacities.
    pub(crate) capacity: BTreeMap<&'m str, i64>,
    /// How many instances were placed here so far.
    pub(crate) placed: u32,
    /// The resource that it is reached by, where it is no member of the ring.
    pub(crate) connection: Option<ResIx>,
    /// Whether what it runs counts as unknown until it, or its container, was recovered.
    pub(crate) needs_reset: bool,
    /// Whether its own state was taken in; of those that are reached by a connection.
    pub(crate) entered: bool,
    /// Whether nothing is looked for there.
    pub(crate) undiscovered: bool,
}

/// Questions about nodes.
pub(crate) trait Nodes {
    /// Whether it can run resources.
    fn available(&self, node: NodeIx) -> bool;
}

impl Nodes for World<'_> {
    fn available(&self, node: NodeIx) -> bool {
        self[node].is_available()
    }
}

impl NodeState<'_> {
    pub(crate) fn is_available(&self) -> bool {
        // asked of every node by every resource: without a branch for each reason
        let kept_off = self.shutdown | self.unclean | self.standby | self.maintenance | self.ping;
        self.online & !kept_off
    }

    pub(crate) fn name(&self) -> &str {
        &self.model.name
    }

    pub(crate) fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.get(name).copied()
    }
}
