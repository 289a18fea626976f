//! What `palisade status` and the mirror to Kubernetes show: one snapshot of one member's view.
//!
//! Invariants: plain data; every blocked thing has a reason that names the next step (SAFETY.md#L11).

use alloc::{string::String, vec::Vec};

use base::{Epoch, Incarnation, NodeId, NodeName, ResourceId, RingId, Role};
use fencing::Incident;
use serde::{Deserialize, Serialize};

use crate::ails::DeviceFinding;

/// One member's view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whose view.
    pub me: Option<NodeId>,
    /// The configuration that is installed.
    pub ring: Option<RingId>,
    /// Whether that configuration has quorum.
    pub quorate: bool,
    /// The open era, if this configuration has opened one. `observedEra` is its sequence.
    pub era: Option<RingId>,
    /// The newest era whose state this member holds; says how old the rest is when `era` is `None`.
    pub state_era: Option<RingId>,
    /// Epoch of this configuration.
    pub epoch: Option<Epoch>,
    /// The coordinator of this configuration, once known.
    pub coordinator: Option<NodeId>,
    /// Whether this member carries out nothing after a gap of its own (CLUSTER.md section 4).
    pub stalled: bool,
    /// Cluster-wide suspension.
    pub suspended: bool,
    /// Uid and generation of the accepted revision's cluster object.
    pub revision: Option<RevisionStatus>,
    /// Every voter.
    pub nodes: Vec<NodeStatus>,
    /// Every instance that is known.
    pub instances: Vec<InstanceStatus>,
    /// Open fencing operations and the last closed ones.
    pub operations: Vec<OperationStatus>,
    /// What is wrong or waits, each with the next step.
    pub conditions: Vec<Condition>,
    /// What members of this configuration say is wrong with themselves, by node.
    pub ails: Vec<Condition>,
    /// What they have seen of fence devices.
    pub devices: Vec<DeviceSaid>,
}

/// What one member has seen of one fence device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSaid {
    /// The member.
    pub node: NodeId,
    /// Its word.
    pub finding: DeviceFinding,
}

/// The accepted revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionStatus {
    /// Objects in it: kind/name, uid, generation.
    pub objects: Vec<(String, String, i64)>,
    /// Number of acceptances.
    pub accepted: u64,
}

/// One voter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its id.
    pub node: NodeId,
    /// For people.
    pub name: Option<NodeName>,
    /// In the installed configuration.
    pub member: bool,
    /// Which life of its agent, if a member.
    pub incarnation: Option<Incarnation>,
    /// Has reported in the open era.
    pub reported: bool,
    /// Its disk was wiped or restored, or is new (CLUSTER.md section 3.2), when the configuration began.
    pub wiped: bool,
    /// Nobody has ever heard a promise of it: the disk is new, and nothing was lost.
    pub new: bool,
    /// Its promise counts in this configuration: its disk is whole, or all voters are here.
    pub counts: bool,
    /// The incident under which it owes evidence.
    pub owes: Option<Incident>,
    /// Is evicted.
    pub evicted: bool,
    /// Runs nothing by request.
    pub standby: bool,
    /// Is left alone by request.
    pub maintenance: bool,
    /// Its watchdog is proven armed.
    pub watchdog: bool,
    /// What its agent is about to do.
    pub detached: bool,
}

/// One instance on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Which.
    pub resource: ResourceId,
    /// Where.
    pub node: NodeId,
    /// In which role; `None` while unknown.
    pub role: Option<Role>,
    /// Failures that count.
    pub failures: u32,
    /// A stop failed.
    pub stop_failed: bool,
    /// It runs, but not as well as it should.
    pub degraded: bool,
    /// Which operation failed last and why, or why it does not run well, in its driver's words.
    pub why: Option<String>,
    /// The operation in flight, for example `start`.
    pub pending: Option<String>,
    /// The object is gone, the resource stays (deletion policy `Retain`).
    pub retained: bool,
}

/// One fencing operation: the text of a `FencingOperation`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationStatus {
    /// Names it.
    pub incident: Incident,
    /// The member that executes.
    pub executor: Option<NodeId>,
    /// How often it was commanded.
    pub attempts: u32,
    /// Kind of evidence, once it has taken effect.
    pub evidence: Option<String>,
    /// Last failure, for people.
    pub failure: Option<String>,
    /// Evidence has taken effect and the refusal of the target has ended.
    pub closed: bool,
}

/// Something that is wrong or waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Condition {
    /// For example `StateLost`, `FencingSuspended`, `SpecRegressed`, `Blocked`.
    pub kind: String,
    /// The object that it is about: a node, a resource or the cluster.
    pub object: String,
    /// What is the matter and what to do next.
    pub text: String,
}
