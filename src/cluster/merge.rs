//! What one regular configuration makes of the members' first words (CLUSTER.md sections 3.1 to 3.3 and 4).
//!
//! Invariants: a function of the hellos alone, so every member comes to the same answer; the highest (era, index) wins; a
//! promise of a wiped or restored disk does not count unless all voters are present; one coordinator, fixed for the
//! configuration.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use base::{NodeId, RingId};

use crate::{
    faulty::{Rule, broken},
    state::Position,
    wire::Hello,
};

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Merged {
    /// Highest position; `None` if no member has a state.
    pub(crate) winner: Option<Position>,
    /// Members that hold it. Empty if no member has a state.
    pub(crate) current: BTreeSet<NodeId>,
    /// Voters that the winning state names.
    pub(crate) voters: Vec<NodeId>,
    pub(crate) quorate: bool,
    /// `None` if no member has a state and not all voters are present: nobody may lead.
    pub(crate) coordinator: Option<NodeId>,
    /// Voters whose promise does not count.
    pub(crate) wiped: BTreeSet<NodeId>,
    /// Voters whose promise counts here.
    pub(crate) countable: BTreeSet<NodeId>,
    /// Members at the winning place with another hash than most: a bug, they leave.
    pub(crate) diverged: BTreeSet<NodeId>,
}

impl Merged {
    /// Whether enough promises can be given here for an era to open.
    pub(crate) fn can_open(&self) -> bool {
        self.quorate && self.countable.len() >= needed(self.voters.len())
    }
}

/// Promises that open an era.
pub(crate) fn needed(voters: usize) -> usize {
    crate::majority(voters)
}

/// What follows from the hellos of all members of a configuration.
pub(crate) fn merge(hellos: &BTreeMap<NodeId, Hello>, loss_accepted: bool) -> Merged {
    let place = |h: &Hello| h.position.map(|p| p.place());
    let highest = hellos.values().map(place).max().flatten();
    let at_top = |h: &Hello| highest.is_some() && place(h) == highest;
    let winner = most_held(hellos, highest);
    let mut current = BTreeSet::new();
    let mut diverged = BTreeSet::new();
    for (node, hello) in hellos.iter().filter(|(_, h)| at_top(h)) {
        if hello.position == winner {
            current.insert(*node);
        } else {
            diverged.insert(*node);
        }
    }
    // Without any state the lowest member's configuration says who votes; all voters must be present anyway.
    let voters = current
        .first()
        .or_else(|| hellos.keys().next())
        .and_then(|n| hellos.get(n))
        .map(|h| h.voters.clone())
        .unwrap_or_default();
    let present: BTreeSet<NodeId> =
        voters.iter().copied().filter(|v| hellos.contains_key(v)).collect();
    let all = !voters.is_empty() && present.len() == voters.len();
    let wiped: BTreeSet<NodeId> =
        present.iter().copied().filter(|v| counts_as_wiped(*v, hellos)).collect();
    let everybody_counts = all || loss_accepted || broken(Rule::WipedVotes);
    let countable =
        present.iter().copied().filter(|v| everybody_counts || !wiped.contains(v)).collect();
    let quorate = if broken(Rule::QuorumHalf) {
        present.len() >= crate::majority(voters.len())
    } else {
        quorum::Voters::equal(voters.iter().copied()).is_ok_and(|v| v.is_majority(&present))
    };
    let coordinator = if winner.is_some() {
        coordinator(hellos, &current)
    } else if all || loss_accepted {
        hellos.keys().next().copied()
    } else {
        None
    };
    Merged { winner, current, voters, quorate, coordinator, wiped, countable, diverged }
}

/// A disk that is empty, or that shows an older promise than others hold of it (section 3.2).
fn counts_as_wiped(voter: NodeId, hellos: &BTreeMap<NodeId, Hello>) -> bool {
    let Some(own) = hellos.get(&voter) else { return false };
    let delivered: Option<RingId> = hellos
        .values()
        .flat_map(|h| h.delivered.iter().filter(|(n, _)| *n == voter).map(|(_, ring)| *ring))
        .max();
    own.wiped || delivered > own.promise
}

/// The position at the highest place; of unequal hashes the one that most hold, then that of the lowest id.
fn most_held(hellos: &BTreeMap<NodeId, Hello>, highest: Option<(RingId, u64)>) -> Option<Position> {
    let highest = highest?;
    let held: Vec<Position> =
        hellos.values().filter_map(|h| h.position).filter(|p| p.place() == highest).collect();
    let votes = |p: &Position| held.iter().filter(|q| *q == p).count();
    // `rev`: of equal counts `max_by_key` keeps the last, which is that of the lowest id.
    held.iter().rev().copied().max_by_key(votes)
}

/// The previous one if present and current, else the longest continuous current member, ties to the lowest id.
fn coordinator(hellos: &BTreeMap<NodeId, Hello>, current: &BTreeSet<NodeId>) -> Option<NodeId> {
    current
        .iter()
        .filter_map(|n| hellos.get(n).map(|h| (n, h)))
        .min_by_key(|(n, h)| (!h.coordinated, h.since.is_none(), h.since, **n))
        .map(|(n, _)| *n)
}
