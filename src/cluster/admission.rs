//! Who is kept out of a ring that is being formed (CLUSTER.md section 6, *Admission* and *Lapse*).
//!
//! Invariants: a pure function of what was heard, so all members of a gathering come to one answer; a standing that
//! cannot be read counts as that of a member without state and without evictions.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use base::{BootId, NodeId, RingId};
use serde::{Deserialize, Serialize};

use crate::wire;

/// Bytes of one standing, so that it fits into one join datagram.
pub const STANDING_MAX: usize = 1024;

/// What a member says of itself in its joins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// (era, index) of its state; `None` without state.
    pub position: Option<(RingId, u64)>,
    /// Ring id of its newest promise.
    pub promise: Option<RingId>,
    /// Its disk counts as wiped (section 3.2).
    pub wiped: bool,
    /// The boot that its machine runs.
    pub boot: Option<BootId>,
    /// The voters that its state names.
    pub voters: Vec<NodeId>,
    /// Open evictions in its state.
    pub evicted: Vec<Evicted>,
}

/// One open eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evicted {
    /// The target.
    pub node: NodeId,
    /// By this member's count the deadline of every command against the target has passed.
    pub past_deadline: bool,
}

/// Whom to keep out of the ring that those in `heard` would form.
///
/// A member is kept out if another one holds its eviction and nobody there, the target included, has a higher position
/// without it; its own copy alone does not count. Where no era can open without the targets but one can with them, the
/// refusal lapses, after the deadline of every command against them.
pub fn refused(heard: &BTreeMap<NodeId, Vec<u8>>) -> BTreeSet<NodeId> {
    let mut ring: BTreeMap<NodeId, Standing> = heard
        .iter()
        .map(|(node, bytes)| (*node, wire::decode_standing(bytes).unwrap_or_default()))
        .collect();
    let mut out = BTreeSet::new();
    loop {
        let targets: BTreeSet<NodeId> =
            ring.keys().copied().filter(|target| is_refused(&ring, *target)).collect();
        if targets.is_empty() || lapses(&ring, &targets) {
            return out;
        }
        ring.retain(|node, _| !targets.contains(node));
        out.extend(targets);
    }
}

fn is_refused(ring: &BTreeMap<NodeId, Standing>, target: NodeId) -> bool {
    let holds = |s: &Standing| s.evicted.iter().any(|e| e.node == target);
    let by_another = ring.iter().any(|(node, s)| *node != target && holds(s));
    let newest = |with: bool| {
        ring.values().filter(|s| holds(s) == with).map(|s| s.position).max().unwrap_or(None)
    };
    let without_any = !ring.values().any(|s| !holds(s));
    by_another && (without_any || newest(true) >= newest(false))
}

/// Without the targets no era can open, with them one can, and every holder says that the deadline has passed.
fn lapses(ring: &BTreeMap<NodeId, Standing>, targets: &BTreeSet<NodeId>) -> bool {
    let Some(voters) = ring.values().max_by_key(|s| s.position).map(|s| s.voters.clone()) else {
        return false;
    };
    let opens = |without: &BTreeSet<NodeId>| {
        let present = voters
            .iter()
            .filter_map(|v| ring.get(v).filter(|_| !without.contains(v)))
            .collect::<Vec<_>>();
        let countable = present.iter().filter(|s| !s.wiped).count();
        present.len() == voters.len() || countable >= crate::majority(voters.len())
    };
    let past = ring
        .values()
        .all(|s| s.evicted.iter().filter(|e| targets.contains(&e.node)).all(|e| e.past_deadline));
    opens(&BTreeSet::new()) && !opens(targets) && past
}
