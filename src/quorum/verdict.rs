//! What the votes say about a membership.

use alloc::{collections::BTreeSet, vec::Vec};
use core::fmt;

use base::NodeId;
use serde::{Deserialize, Serialize};

use crate::{Rules, Voters};

/// The votes of a membership, counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Quorum {
    /// Votes of the members.
    pub present: u32,
    /// Votes of all voters.
    pub expected: u32,
    /// Votes that are enough.
    pub needed: u32,
    /// Voters that are no members, ascending.
    pub absent: Vec<NodeId>,
}

impl Quorum {
    /// Counts the votes of `members`. Members that are no voters count nothing.
    pub fn of(voters: &Voters, rules: &Rules, members: &BTreeSet<NodeId>) -> Self {
        let Rules(()) = rules;
        Self {
            present: voters.sum(members),
            expected: voters.expected(),
            needed: voters.needed(),
            absent: voters.nodes().filter(|node| !members.contains(node)).collect(),
        }
    }

    /// Whether this membership may act.
    pub const fn is_quorate(&self) -> bool {
        self.present >= self.needed
    }

    /// Votes that may still be lost before quorum is.
    pub const fn spare(&self) -> u32 {
        self.present.saturating_sub(self.needed)
    }
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { present, expected, needed, .. } = self;
        let word = if self.is_quorate() { "quorate" } else { "inquorate" };
        write!(f, "{word} ({present} of {expected}, needs {needed})")
    }
}
