//! Who has a vote, and how the set may change.

use alloc::collections::{BTreeMap, BTreeSet};

use base::NodeId;
use serde::{Deserialize, Serialize};

use crate::{VOTERS_MAX, VOTES_MAX};

/// The voters and their votes. One or at least three, each with at least one vote.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<NodeId, u32>", into = "BTreeMap<NodeId, u32>")]
pub struct Voters(BTreeMap<NodeId, u32>);

/// A step from one set of voters to the next: one voter at a time (CLUSTER.md section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    /// A node gets a vote.
    Add(NodeId),
    /// A voter loses its vote.
    Remove(NodeId),
}

/// Why this is no set of voters. Nothing changed; whoever wrote the list must correct it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VotersError {
    /// Nobody may vote.
    #[error("no voters: list at least three members")]
    Empty,
    /// More than one voter at a time.
    #[error(
        "{count} voters would change at once; add or remove one, wait until that is in force, then the next"
    )]
    LargeChange {
        /// How many.
        count: usize,
    },
    /// To be removed, but no voter.
    #[error("node {0} is no voter; nothing to remove")]
    NoVoter(NodeId),
    /// Too many.
    #[error("{count} voters; at most {VOTERS_MAX} are possible")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// Two voters cannot tell a dead peer from a cut cable.
    #[error("two voters need the two-node option, which is not built yet; use three members")]
    TwoVoters,
    /// To be added, but a voter already.
    #[error("node {0} is a voter already")]
    Voter(NodeId),
    /// Votes out of range.
    #[error("node {node} has {votes} votes; choose 1 to {VOTES_MAX}")]
    Votes {
        /// Whose.
        node: NodeId,
        /// How many.
        votes: u32,
    },
}

impl Voters {
    /// From votes per node.
    pub fn new(votes: BTreeMap<NodeId, u32>) -> Result<Self, VotersError> {
        match votes.len() {
            0 => return Err(VotersError::Empty),
            2 => return Err(VotersError::TwoVoters),
            count if count > VOTERS_MAX => return Err(VotersError::TooMany { count }),
            _ => {}
        }
        let bad = votes.iter().find(|(_, votes)| !(1..=VOTES_MAX).contains(*votes));
        if let Some((&node, &votes)) = bad {
            return Err(VotersError::Votes { node, votes });
        }
        Ok(Self(votes))
    }

    /// One vote each.
    pub fn equal(nodes: impl IntoIterator<Item = NodeId>) -> Result<Self, VotersError> {
        Self::new(nodes.into_iter().map(|node| (node, 1)).collect())
    }

    /// Votes of a node; zero for who is no voter.
    pub fn votes(&self, node: NodeId) -> u32 {
        self.0.get(&node).copied().unwrap_or(0)
    }

    /// Whether the node has a vote.
    pub fn contains(&self, node: NodeId) -> bool {
        self.0.contains_key(&node)
    }

    /// All voters, ascending.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.keys().copied()
    }

    /// Sum of all votes.
    pub fn expected(&self) -> u32 {
        self.0.values().sum()
    }

    /// Least sum of votes that is a majority: (expected + 2) / 2 in whole numbers (TOTEM.md section 12.2).
    pub fn needed(&self) -> u32 {
        self.expected() / 2 + 1
    }

    /// Sum of the votes of `nodes`, each counted once.
    pub fn sum(&self, nodes: &BTreeSet<NodeId>) -> u32 {
        nodes.iter().map(|node| self.votes(*node)).sum()
    }

    /// Whether `nodes` hold a majority of the votes.
    pub fn is_majority(&self, nodes: &BTreeSet<NodeId>) -> bool {
        self.sum(nodes) >= self.needed()
    }

    /// The set after one step.
    pub fn change(&self, change: Change) -> Result<Self, VotersError> {
        let mut votes = self.0.clone();
        match change {
            Change::Add(node) if votes.contains_key(&node) => return Err(VotersError::Voter(node)),
            Change::Add(node) => votes.insert(node, 1),
            Change::Remove(node) if !votes.contains_key(&node) => {
                return Err(VotersError::NoVoter(node));
            }
            Change::Remove(node) => votes.remove(&node),
        };
        Self::new(votes)
    }

    /// The one step that leads to `next`, none if nothing changes. A changed number of votes is a large change.
    pub fn step_to(&self, next: &Self) -> Result<Option<Change>, VotersError> {
        let added = next.nodes().filter(|node| !self.contains(*node)).map(Change::Add);
        let removed = self.nodes().filter(|node| !next.contains(*node)).map(Change::Remove);
        let mut steps = added.chain(removed);
        let (first, rest) = (steps.next(), steps.count());
        let reweighted = self
            .0
            .iter()
            .filter(|(node, votes)| next.0.get(node).is_some_and(|n| n != *votes))
            .count();
        let count = usize::from(first.is_some()) + rest + reweighted;
        if count > 1 || reweighted > 0 {
            return Err(VotersError::LargeChange { count: count.max(2) });
        }
        Ok(first)
    }

    /// Whether `nodes` are majorities of both sets: when a change of voters takes effect (CLUSTER.md section 1).
    pub fn is_joint_majority(&self, next: &Self, nodes: &BTreeSet<NodeId>) -> bool {
        self.is_majority(nodes) && next.is_majority(nodes)
    }
}

impl TryFrom<BTreeMap<NodeId, u32>> for Voters {
    type Error = VotersError;

    fn try_from(votes: BTreeMap<NodeId, u32>) -> Result<Self, VotersError> {
        Self::new(votes)
    }
}

impl From<Voters> for BTreeMap<NodeId, u32> {
    fn from(voters: Voters) -> Self {
        voters.0
    }
}
