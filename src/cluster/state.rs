//! The replicated state: the same on every member that holds the same position.
//!
//! Invariants: only messages delivered in an open era change it (`apply`), and only from what it holds and the message
//! says: no clock, no local knowledge; everything in it is bounded; order is by key.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use core::time::Duration;

use base::{BootId, Incarnation, NodeId, ResourceId, ResourceKind, RingId, Role, SystemUuid};
use fencing::Incident;
use lifecycle::{Operation, OrderId};
use policy::revision::{NoQuorumPolicy, Revision};
use serde::{Deserialize, Serialize};

use crate::{
    commands::Commanded,
    results::operation_name,
    scores::Scores,
    wire::{self, Intent},
};

/// Bytes of a state on disk or in a snapshot.
pub(crate) const STATE_MAX: usize = 16 * 1024 * 1024;
/// Instances that members may report, all resources and nodes together.
pub(crate) const INSTANCES_MAX: usize = 16 * 1024;
/// Instances of which it is kept why they failed.
pub(crate) const REASONS_MAX: usize = 512;
/// Closed fencing operations kept per node (CLUSTER.md section 6).
pub(crate) const OPERATIONS_KEPT: usize = 100;

/// How far a history goes: (era, index) compares, the hash tells two histories apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) era: RingId,
    pub(crate) index: u64,
    pub(crate) hash: u128,
}

impl Position {
    pub(crate) const fn place(&self) -> (RingId, u64) {
        (self.era, self.index)
    }
}

/// Everything that all members agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) position: Position,
    pub(crate) coordinator: NodeId,
    /// Members of the era.
    pub(crate) members: BTreeMap<NodeId, Present>,
    pub(crate) voters: BTreeMap<NodeId, Voter>,
    pub(crate) change: Option<VoterChange>,
    /// Open evictions (CLUSTER.md section 6): part of the state, not a list beside it.
    pub(crate) evicted: BTreeMap<NodeId, Eviction>,
    pub(crate) intents: BTreeMap<NodeId, OpenIntent>,
    pub(crate) evidence: BTreeMap<NodeId, OpenEvidence>,
    pub(crate) operations: BTreeMap<Incident, FencingRecord>,
    pub(crate) instances: BTreeMap<(ResourceId, NodeId), Instance>,
    pub(crate) pending: BTreeMap<OrderId, Pending>,
    pub(crate) next_order: u64,
    /// Resources that a present member reported running (true: promoted) in this era.
    pub(crate) known: BTreeSet<(ResourceId, bool)>,
    pub(crate) failures: BTreeMap<(ResourceId, NodeId), Failures>,
    /// Newest failure of each node that was counted.
    pub(crate) counted: BTreeMap<NodeId, (Incarnation, u64)>,
    pub(crate) revision: Option<Revision>,
    pub(crate) accepted: u64,
    /// Why the last proposal was not accepted, for a condition.
    pub(crate) held: Option<String>,
    pub(crate) overrides: Overrides,
    /// Power-offs that people asked for and that were not yet done.
    pub(crate) asked: BTreeMap<NodeId, String>,
    /// Times of commands against each node, for the budget.
    pub(crate) spent: BTreeMap<NodeId, Vec<i64>>,
    /// Neither fencing nor recovery (`suspend`).
    pub(crate) suspended: bool,
    /// Era in which the disks of all members held that; `None` until they do.
    pub(crate) suspended_in: Option<RingId>,
    /// Input position of the last decision of this era (SAFETY.md#S14).
    pub(crate) decided: Option<u64>,
    /// max(last, coordinator's clock) (CLUSTER.md section 4).
    pub(crate) clock: i64,
    /// From here on nothing that an earlier version could not do without: that one does not read it, and what it wrote has none.
    #[serde(deserialize_with = "wire::empty_before")]
    pub(crate) commanded: Commanded,
    /// Why the last operation of an instance failed, or why it does not run well, in its driver's words: for people, part of
    /// no decision.
    #[serde(deserialize_with = "wire::empty_before")]
    pub(crate) reasons: BTreeMap<(ResourceId, NodeId), String>,
    /// By their own word of this era, of members that have reported in it.
    #[serde(deserialize_with = "wire::empty_before")]
    pub(crate) scores: Scores,
}

/// A member of the era.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Present {
    pub(crate) incarnation: Incarnation,
    pub(crate) boot: BootId,
    pub(crate) uuid: Option<SystemUuid>,
    pub(crate) reported: bool,
    pub(crate) left: bool,
    /// Asked to leave: what it runs is moved away first.
    pub(crate) leaving: bool,
    /// How long its agent may be away without being fenced.
    pub(crate) detached: Option<Duration>,
}

/// A voter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Voter {
    pub(crate) debt: Debt,
    /// Newest ring id whose promise by it was delivered.
    pub(crate) promised: Option<RingId>,
    /// Timeout of its watchdog, if that was proven armed while it was last seen.
    pub(crate) watchdog: Option<Duration>,
    /// How long it may be away: it had said so when it was last seen.
    pub(crate) detached: Option<Duration>,
    /// What the machine itself said that it is when it was last seen. A fence device is enrolled for it by this, never
    /// by what a BMC says: that would enrol crossed cables (CLUSTER.md section 1).
    pub(crate) uuid: Option<SystemUuid>,
}

impl Voter {
    /// A voter that this state has never seen as a member.
    pub(crate) const fn unseen(debt: Debt) -> Self {
        Self { debt, promised: None, watchdog: None, detached: None, uuid: None }
    }
}

/// Whether a voter owes evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Debt {
    /// Is a member of the era.
    Present,
    /// Is outside, and what it holds is unknown. Incarnation and boot are those of the newest promise or era that
    /// names it; `None` if no member has ever seen it.
    Owed { incident: RingId, incarnation: Option<Incarnation>, boot: Option<BootId> },
    /// Is outside and holds nothing.
    Paid,
}

/// One voter more or less, until it is durable on majorities of both sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoterChange {
    pub(crate) add: Option<NodeId>,
    pub(crate) remove: Option<NodeId>,
    /// Number of the acceptance that brought it.
    pub(crate) accepted: u64,
    pub(crate) held: BTreeSet<NodeId>,
}

/// An open eviction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Eviction {
    pub(crate) since: RingId,
    /// Longest deadline of a command against the target.
    pub(crate) deadline: Duration,
    pub(crate) reason: String,
}

/// An intent of this era and whose disks hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenIntent {
    pub(crate) intent: Intent,
    pub(crate) held: BTreeSet<NodeId>,
}

/// Evidence that has not yet taken effect. It is carried into the next era, its holders are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenEvidence {
    pub(crate) evidence: crate::evidence::Evidence,
    pub(crate) held: BTreeSet<NodeId>,
}

/// The record of one incident; becomes a `FencingOperation`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FencingRecord {
    pub(crate) attempts: u32,
    pub(crate) executor: Option<NodeId>,
    pub(crate) failure: Option<String>,
    /// Kind of evidence that has taken effect.
    pub(crate) evidence: Option<String>,
    pub(crate) power_on: PowerOn,
    /// A read said that it is on: the next intent is to power it off.
    pub(crate) seen_on: bool,
    pub(crate) closed: bool,
    pub(crate) opened_at: i64,
}

/// Whether the machine is to be powered on again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PowerOn {
    /// No.
    #[default]
    NotWanted,
    /// Yes, not yet ordered.
    Wanted,
    /// Ordered from that member; the next coordinator orders again.
    Ordered(NodeId),
    /// Done, or given up.
    Ended,
}

/// One instance on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) kind: ResourceKind,
    /// `None`: it may run.
    pub(crate) role: Option<Role>,
    pub(crate) stop_failed: bool,
    /// Recurring monitors ordered in this era, in milliseconds.
    pub(crate) monitors: BTreeSet<u64>,
    /// The last one-time operation and how it ended, until a report says more.
    pub(crate) last: Option<Ended>,
}

/// How the last operation of an instance ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) operation: Operation,
    /// OCF exit code; 198 for a time-out.
    pub(crate) code: u8,
    /// Milliseconds of the monitor, zero for one-time operations.
    pub(crate) interval_ms: u64,
    pub(crate) wall: i64,
}

/// An operation in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) node: NodeId,
    pub(crate) resource: ResourceId,
    pub(crate) operation: Operation,
    pub(crate) exclusive: bool,
}

/// Failures of one instance on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failures {
    pub(crate) count: u32,
    pub(crate) last: i64,
    pub(crate) operation: String,
    pub(crate) interval_ms: u64,
    pub(crate) code: u8,
}

impl Failures {
    /// Whether the last one was that it did not start.
    pub(crate) fn is_of_start(&self) -> bool {
        self.operation == operation_name(Operation::Start)
    }
}

/// Verbs without the API (CLUSTER.md section 7). Each ends when a newer generation of its object arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Overrides {
    pub(crate) nodes: BTreeMap<NodeId, NodeOverride>,
    /// (resource, node): score of a move or ban.
    pub(crate) locations: BTreeMap<(ResourceId, NodeId), LocationOverride>,
    pub(crate) restarts: BTreeSet<ResourceId>,
    pub(crate) removed: BTreeSet<ResourceId>,
}

/// Said of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeOverride {
    pub(crate) standby: bool,
    pub(crate) maintenance: bool,
    pub(crate) generation: Option<i64>,
}

/// Said of one resource on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LocationOverride {
    pub(crate) score: i32,
    pub(crate) generation: Option<i64>,
}

impl State {
    /// The state of a cluster that has never opened an era (first start).
    pub(crate) fn empty(ring: RingId, coordinator: NodeId, voters: &[NodeId]) -> Self {
        let owed = Debt::Owed { incident: ring, incarnation: None, boot: None };
        let voter = Voter::unseen(owed);
        Self {
            position: Position { era: ring, index: 0, hash: 7 },
            coordinator,
            members: BTreeMap::new(),
            voters: voters.iter().map(|v| (*v, voter.clone())).collect(),
            change: None,
            evicted: BTreeMap::new(),
            intents: BTreeMap::new(),
            evidence: BTreeMap::new(),
            operations: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_order: 0,
            known: BTreeSet::new(),
            failures: BTreeMap::new(),
            counted: BTreeMap::new(),
            revision: None,
            accepted: 0,
            held: None,
            overrides: Overrides::default(),
            asked: BTreeMap::new(),
            spent: BTreeMap::new(),
            suspended: false,
            suspended_in: None,
            decided: None,
            clock: 0,
            commanded: Commanded::default(),
            reasons: BTreeMap::new(),
            scores: Scores::default(),
        }
    }

    pub(crate) fn voter_ids(&self) -> Vec<NodeId> {
        self.voters.keys().copied().collect()
    }

    /// How many voters are a majority.
    pub(crate) fn majority(&self) -> usize {
        crate::majority(self.voters.len())
    }

    /// Members of the era that may be counted on: neither evicted nor gone nor target of an open operation, and
    /// voters. The measure of "the rest would be quorate" (SAFETY.md#S6).
    pub(crate) fn healthy(&self) -> BTreeSet<NodeId> {
        let owes = |n: &NodeId| {
            self.intents.contains_key(n)
                && self.voters.get(n).is_some_and(|v| !matches!(v.debt, Debt::Paid))
        };
        self.members
            .iter()
            .filter(|(n, m)| {
                !m.left && self.voters.contains_key(n) && !self.evicted.contains_key(n) && !owes(n)
            })
            .map(|(n, _)| *n)
            .collect()
    }

    /// Whether the members that are neither `target` nor evicted nor fenced would still be quorate.
    pub(crate) fn quorate_without(&self, target: NodeId) -> bool {
        let mut rest = self.healthy();
        rest.remove(&target);
        rest.len() >= self.majority()
    }

    /// Voters outside the era that still owe evidence, with their incidents.
    pub(crate) fn owing(&self) -> impl Iterator<Item = Incident> + '_ {
        self.voters.iter().filter_map(|(node, voter)| match voter.debt {
            Debt::Owed { incident, .. } if !self.members.contains_key(node) => {
                Some(Incident { node: *node, ring: incident })
            }
            _ => None,
        })
    }

    /// Moves the position over one message of the era.
    pub(crate) fn advance(&mut self, sender: NodeId, payload: &[u8]) {
        self.position.index = self.position.index.saturating_add(1);
        let place = self.position.index.to_le_bytes();
        let sender = sender.as_u16().to_le_bytes();
        self.position.hash = fnv(fnv(fnv(self.position.hash, &place), &sender), payload);
    }

    /// Whether a self-fencing bound is evidence at all (CLUSTER.md section 6, *Start-up*).
    pub(crate) fn self_fencing_counts(&self) -> bool {
        // under `freeze` a member without quorum goes on, and its watchdog is fed: no bound ever passes
        self.revision
            .as_ref()
            .is_some_and(|r| r.fencing.self_fencing && r.no_quorum_policy != NoQuorumPolicy::Freeze)
    }
}

/// FNV-1a over 128 bits: tells histories apart; not a defence against members (they share the ring key).
pub(crate) fn fnv(seed: u128, bytes: &[u8]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013B;
    bytes.iter().fold(seed ^ 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(PRIME)
    })
}
