//! One compiled revision: everything that the objects of one cluster ask for, as plain data.
//!
//! `compile` makes it from objects, the ring carries it, `cluster` keeps the last accepted one as part of the
//! replicated state (CLUSTER.md section 7). No replica compiles: what is here is applied as it stands.
//!
//! Invariants: every list is sorted by its key (objects by kind and name, voters by node id, all else by id), so
//! equal intent has equal bytes; every name that an entry mentions was checked by `compile`; no secret stands
//! here, only the names of Secrets.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::{net::IpAddr, time::Duration};

use base::{FenceDevice, Label, NodeId, NodeName, ResourceId, ResourceKind, Role, SystemUuid};
use serde::{Deserialize, Serialize};

mod constraint;
mod model;
mod retain;

pub use constraint::{
    Action, ActionOf, AttributeExpression, AttributeOperator, Constraint, ConstraintRule,
    Discovery, LocationRule, OrderKind, ResourceSet, RoleOf,
};

/// Layout of [`Revision`]. A member that reads a newer number takes nothing from it (SAFETY.md#S30).
pub const REVISION_FORMAT: u16 = 1;
/// Objects in one revision; `compile` refuses more.
pub const OBJECTS_MAX: usize = 4096;
/// Voters of one cluster (CLUSTER.md section 1; Totem carries more, control planes do not).
pub const VOTERS_MAX: usize = 31;
/// Score that means "must" (and its negative "must not"); equals Pacemaker's INFINITY.
pub const SCORE_MAX: i32 = 1_000_000;

/// One compiled revision of all objects of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// [`REVISION_FORMAT`] of whoever compiled it.
    pub format: u16,
    /// Which cluster it is for.
    pub cluster: ClusterKey,
    /// What it was compiled from. A retained object that is gone from the API is not listed here.
    pub objects: Vec<ObjectVersion>,
    /// The voters that are wanted. `cluster` moves towards them one at a time (CLUSTER.md section 1).
    pub voters: Vec<Voter>,
    /// Ring, probe and grace times.
    pub timings: Timings,
    /// Ring transport.
    pub transport: Transport,
    /// Quorum options; what is not built is refused before it comes here (CLUSTER.md section 3.7).
    pub quorum: QuorumOptions,
    /// What a component without quorum does.
    pub no_quorum_policy: NoQuorumPolicy,
    /// How and how often machines are powered off.
    pub fencing: FencingOptions,
    /// The devices that do it.
    pub devices: Vec<Device>,
    /// What people said about single members. One entry for each voter.
    pub nodes: Vec<NodeIntent>,
    /// What is to run.
    pub placements: Vec<Placement>,
    /// Where, and in which order.
    pub constraints: Vec<Constraint>,
}

/// Name of a cluster object. Example: `openstack/main`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClusterKey {
    /// Namespace of the `HACluster` and of everything that refers to it.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: a cluster that was deleted and made again is another cluster to the API, not to the ring.
    pub uid: String,
}

/// Kinds that a revision is compiled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ObjectKind {
    /// A device that powers machines off.
    FenceDevice,
    /// The cluster itself.
    HaCluster,
    /// One member.
    HaNode,
    /// Location, colocation or order.
    PlacementConstraint,
    /// Something to run.
    ResourcePlacement,
}

/// One object in the version that was compiled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectVersion {
    /// Kind.
    pub kind: ObjectKind,
    /// Name in the cluster's namespace.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Of the spec in canonical JSON (FNV-1a, 128 bits): one generation with two contents is a restored store.
    pub hash: u128,
}

/// One voter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voter {
    /// Never given to another machine.
    pub id: NodeId,
    /// For people.
    pub name: NodeName,
    /// Address on each link, link 0 first. Every voter has the same number of them.
    pub links: Vec<IpAddr>,
    /// The machine's own, when the cluster object pins it (CLUSTER.md section 1).
    pub system_uuid: Option<SystemUuid>,
    /// Interface of this machine on each network, for addresses: `public` -> `eth1`.
    pub interfaces: BTreeMap<Label, String>,
}

/// Times that all members share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// Totem: a token unseen for this long is lost.
    pub token: Duration,
    /// Totem: agreement on a new ring, at least 1.2 times `token`.
    pub consensus: Duration,
    /// Totem: between join messages.
    pub join: Duration,
    /// Totem: between looks for other rings while idle.
    pub merge: Duration,
    /// A restarting agent is waited for this long (CLUSTER.md section 5).
    pub agent_restart_grace: Duration,
    /// A stalled agent is waited for this long (CLUSTER.md section 5).
    pub stall_tolerance: Duration,
    /// A member that has not reported by then is evicted (CLUSTER.md section 3.5).
    pub report_timeout: Duration,
    /// Members not yet seen after a start are waited for this long before their power is read (section 6).
    pub startup_wait: Duration,
}

/// Transport of the ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transport {
    /// UDP port on every link.
    pub port: u16,
    /// Cipher of the datagrams.
    pub cipher: Cipher,
    /// Secret and entry that hold the cluster key.
    pub key: SecretEntry,
}

/// Ciphers of ring datagrams (SAFETY.md 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cipher {
    /// AES-256-GCM-SIV.
    Aes256GcmSiv,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

/// Name of a Secret in the cluster's namespace and of an entry in it. Never its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretEntry {
    /// Name of the Secret.
    pub secret: String,
    /// Name of the entry.
    pub entry: String,
}

/// Quorum options. Empty but for its place: majority of the voters is what the core has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumOptions {}

/// What a component without quorum does with what it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoQuorumPolicy {
    /// Demote promoted instances, keep the rest.
    Demote,
    /// Start, stop and promote nothing; addresses still expire.
    Freeze,
    /// Go on as if quorate. Accepted only while nothing exclusive exists.
    Ignore,
    /// Stop everything.
    Stop,
    /// Power this machine off.
    Suicide,
}

/// Whether and how machines are powered off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencingOptions {
    /// Off: a lost node's exclusive resources wait for a person.
    pub enabled: bool,
    /// Off and on again, or off for good.
    pub action: FenceAction,
    /// Whether an expired self-fencing bound counts as evidence (CLUSTER.md section 6).
    pub self_fencing: bool,
    /// Power-offs of one node within `budget_window`; then `FencingSuspended`.
    pub budget: u8,
    /// Window of `budget`.
    pub budget_window: Duration,
}

/// What is done to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FenceAction {
    /// Off and stay off.
    Off,
    /// Off, verify, on.
    Reboot,
}

/// A device that powers machines off, and what the object says beyond how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// What the fencer gets.
    pub device: FenceDevice,
    /// For the whole operation against one target.
    pub timeout: Duration,
    /// When the object goes away.
    pub deletion: DeletionPolicy,
    /// The object is gone, the device stays.
    pub retained: bool,
}

/// What people said about one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeIntent {
    /// Which member.
    pub name: NodeName,
    /// Runs nothing.
    pub standby: bool,
    /// Nothing on it is started, stopped or probed.
    pub maintenance: bool,
    /// For rules of location constraints.
    pub attributes: BTreeMap<String, String>,
}

/// When the object of a thing goes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionPolicy {
    /// It stays, owned and failing over, until `palisade resource remove` (CLUSTER.md section 7).
    #[default]
    Retain,
    /// It is stopped.
    Stop,
}

/// One primitive, group, clone or promotable clone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Name of the object. A single primitive has the same id.
    pub id: ResourceId,
    /// Once, as a group, or in several copies.
    pub shape: Shape,
    /// One, or the members of a group in their order.
    pub members: Vec<Primitive>,
    /// Of the whole.
    pub meta: Meta,
    /// When the object goes away.
    pub deletion: DeletionPolicy,
    /// The object is gone, this stays.
    pub retained: bool,
}

impl Placement {
    /// Whether its copies have numbers of their own: `db:0` is another resource than `db:1`.
    pub const fn numbered(&self) -> bool {
        matches!(self.shape, Shape::Clone(c) | Shape::Promotable(c, _) if c.unique)
    }

    /// How many numbers its copies have, if they have numbers of their own; one for each member unless it says.
    pub fn numbers(&self, voters: usize) -> Option<u32> {
        let (Shape::Clone(copies) | Shape::Promotable(copies, _)) = self.shape else { return None };
        let max = copies.max.map_or(voters, usize::from);
        copies.unique.then(|| u32::try_from(max).unwrap_or(u32::MAX))
    }

    /// How many instances of one of its resources may be promoted at once.
    pub fn promoted_max(&self) -> u16 {
        match self.shape {
            Shape::Promotable(copies, promoted) if !copies.unique => promoted.max.max(1),
            _ => 1,
        }
    }

    /// At most one instance of it may run at any time, or it has a promoted instance (CLUSTER.md section 3.5:
    /// everything but started and unpromoted instances of anonymous clones).
    pub const fn exclusive(&self) -> bool {
        !matches!(self.shape, Shape::Clone(CloneOptions { unique: false, .. }))
    }
}

/// How often the members of a placement run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// Several copies, all alike.
    Clone(CloneOptions),
    /// Several primitives, one after the other on one machine.
    Group,
    /// Several copies, some of them promoted.
    Promotable(CloneOptions, PromotedOptions),
    /// One primitive, once.
    Single,
}

/// Copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneOptions {
    /// In the whole cluster; `None` is one on each member.
    pub max: Option<u16>,
    /// On one member.
    pub node_max: u16,
    /// At least that many before dependents start.
    pub min: u16,
    /// An instance of a dependent clone waits only for the instance on its own member.
    pub interleave: bool,
    /// One copy after the other.
    pub ordered: bool,
    /// Copies are not interchangeable.
    pub unique: bool,
    /// Copies hear of each other's actions.
    pub notify: bool,
}

/// Promoted copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotedOptions {
    /// In the whole cluster.
    pub max: u16,
    /// On one member.
    pub node_max: u16,
}

/// One thing to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Primitive {
    /// Unique in the cluster.
    pub id: ResourceId,
    /// What it is.
    pub kind: ResourceKind,
    /// Limits of its operations.
    pub timeouts: Timeouts,
    /// Recurring checks.
    pub monitors: Vec<Monitor>,
    /// Of this member; what is `None` comes from the placement.
    pub meta: Meta,
}

/// Limits of operations, by duration on the executor's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Of a start.
    pub start: Duration,
    /// Of a stop; a stop that takes longer has failed, and the machine is fenced.
    pub stop: Duration,
    /// Of a promotion.
    pub promote: Duration,
    /// Of a demotion.
    pub demote: Duration,
    /// Of a probe.
    pub probe: Duration,
}

/// One recurring check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitor {
    /// From the end of one to the begin of the next.
    pub interval: Duration,
    /// Of one check.
    pub timeout: Duration,
    /// Only while in this role; `None` is any running role.
    pub role: Option<Role>,
    /// After a failure.
    pub on_fail: OnFail,
}

/// What a failed operation leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFail {
    /// Nothing more is done with the resource.
    Block,
    /// Demote; recover if it was not promoted.
    Demote,
    /// Power the machine off.
    Fence,
    /// Count it and go on.
    Ignore,
    /// Stop and start, here or elsewhere.
    Restart,
    /// Move everything off the machine.
    Standby,
    /// Stop for good.
    Stop,
}

/// What is said of a placement or a member of it. `None` takes the next outer value, at last the built-in one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// When not all can run, the higher one does.
    pub priority: Option<i32>,
    /// How much it wants to stay where it is.
    pub stickiness: Option<i32>,
    /// Failures on one member after which it moves away.
    pub migration_threshold: Option<u32>,
    /// After which failures are forgotten.
    pub failure_timeout: Option<Duration>,
    /// Highest role that it may take.
    pub target_role: Option<Role>,
    /// False: looked at, but never touched.
    pub managed: Option<bool>,
    /// True: not even looked at.
    pub maintenance: Option<bool>,
}

impl Revision {
    /// The first object whose generation is lower than in `accepted`, or that has one generation with two
    /// contents: a restored etcd or a stale server. The accepted revision then stays (CLUSTER.md section 7).
    pub fn regressed_from(&self, accepted: &Self) -> Option<&ObjectVersion> {
        regressed(&self.objects, &accepted.objects)
    }

    /// The voter with this id.
    pub fn voter(&self, id: NodeId) -> Option<&Voter> {
        self.voters.iter().find(|v| v.id == id)
    }

    /// Every primitive with the placement that it belongs to.
    pub fn primitives(&self) -> impl Iterator<Item = (&Placement, &Primitive)> {
        self.placements.iter().flat_map(|p| p.members.iter().map(move |m| (p, m)))
    }

    /// The primitive with this id, or of which this is a numbered copy (`db` for `db:0`), and its placement.
    pub fn primitive(&self, id: &ResourceId) -> Option<(&Placement, &Primitive)> {
        self.primitives().find(|(_, p)| p.id.as_str() == id.primitive())
    }

    /// Whether copies are numbered as this name says; if not, it is what an earlier revision ran, and nothing of this one.
    pub fn runs(&self, id: &ResourceId) -> bool {
        self.primitive(id).is_some_and(|(placement, _)| placement.numbered() == id.is_numbered())
    }

    /// The placement with this id, or of this primitive or copy.
    pub fn placement(&self, id: &ResourceId) -> Option<&Placement> {
        let named = self.placements.iter().find(|p| p.id == *id);
        named.or_else(|| self.primitive(id).map(|(placement, _)| placement))
    }
}

fn regressed<'a>(
    offered: &'a [ObjectVersion],
    accepted: &[ObjectVersion],
) -> Option<&'a ObjectVersion> {
    offered.iter().find(|new| {
        accepted.iter().any(|old| {
            old.uid == new.uid
                && (old.generation > new.generation
                    || (old.generation == new.generation && old.hash != new.hash))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(uid: &str, generation: i64, hash: u128) -> ObjectVersion {
        ObjectVersion {
            kind: ObjectKind::ResourcePlacement,
            name: "web".into(),
            uid: uid.into(),
            generation,
            hash,
        }
    }

    #[test]
    fn a_restored_store_is_noticed_by_generation_and_by_content() {
        let accepted = [object("z", 1, 1), object("a", 5, 1)];
        let worse = |o: ObjectVersion| {
            let offered = [object("z", 1, 1), o.clone()];
            let found = regressed(&offered, &accepted);
            assert!(found.is_none_or(|found| *found == o), "the object itself is named");
            found.is_some()
        };
        assert!(worse(object("a", 4, 1)), "older generation");
        assert!(worse(object("a", 5, 2)), "one generation, two contents");
        assert!(!worse(object("a", 5, 1)), "the same");
        assert!(!worse(object("a", 6, 2)), "newer");
        assert!(!worse(object("b", 1, 2)), "made again under another uid");
    }
}
