//! What travels between the coordinator, an executor and the coordinator again.
//!
//! Invariants: an order carries the epoch in which it was given, compared for equality with the installed one *at
//! the moment of acting* (CLUSTER.md section 4, SAFETY.md#S9); its deadline is a duration from delivery on the
//! receiver's boot-time clock, after which it is refused (SAFETY.md#S7).

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use base::{Epoch, ResourceId, ResourceKind, Role};
use serde::{Deserialize, Serialize};

/// What a driver is asked to do with one instance. OCF names where OCF has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// One-time check whether it runs here, before anything is known.
    Probe,
    /// Bring it up, unpromoted where it can be promoted.
    Start,
    /// Take it down. Always allowed.
    Stop,
    /// Recurring check.
    Monitor,
    /// Unpromoted to promoted.
    Promote,
    /// Promoted to unpromoted. Always allowed.
    Demote,
}

impl Operation {
    /// Whether the operation may be carried out without quorum (CLUSTER.md section 4).
    pub const fn is_release(self) -> bool {
        matches!(self, Self::Stop | Self::Demote)
    }
}

/// What a driver saw. It holds no policy: what follows is decided elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Done, or running as expected (OCF 0).
    Ok,
    /// Running and promoted (OCF 8).
    RunningPromoted,
    /// Not running, cleanly (OCF 7).
    NotRunning,
    /// Did not end in its time.
    TimedOut,
    /// Failed; `code` is the OCF exit code where there is one, 1 otherwise.
    Failed {
        /// OCF exit code, 1 to 255.
        code: u8,
        /// For people, at most 200 characters, free of secrets.
        reason: String,
    },
    /// Running as expected, but not as well as it should (OCF 190, promoted 191). Nothing is done about it; it is said again
    /// in each era, like a failure.
    Degraded {
        /// Running and promoted.
        promoted: bool,
        /// For people, at most 200 characters, free of secrets.
        reason: String,
    },
}

impl Outcome {
    /// Whether it does what it should, however well.
    pub const fn is_running(&self) -> bool {
        matches!(self, Self::Ok | Self::RunningPromoted | Self::Degraded { .. })
    }
}

/// Number of an order, unique within its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(pub u64);

/// One order of a coordinator to one executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Unique within the epoch.
    pub id: OrderId,
    /// Era (or ring) and coordinator.
    pub epoch: Epoch,
    /// Which instance.
    pub resource: ResourceId,
    /// What it is, so that an executor needs no model of its own.
    pub kind: ResourceKind,
    /// Everything but Started/Unpromoted instances of anonymous clones is exclusive (CLUSTER.md section 3.5).
    pub exclusive: bool,
    /// What to do.
    pub operation: Operation,
    /// For recurring monitors: how often. `None` for one-time operations.
    pub interval: Option<Duration>,
    /// How long the driver may take once begun.
    pub timeout: Duration,
    /// How long after delivery it may still begin.
    pub deadline: Duration,
}

/// Why an order was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// Another epoch than the installed one.
    StaleEpoch,
    /// Its deadline had passed before it could begin.
    Late,
    /// Not allowed without quorum.
    Inquorate,
    /// The executor has had no fresh token, or is leaving.
    NotActing,
    /// Too much is waiting already: orders of this instance, or instances on this machine.
    Busy,
    /// A stop of the same instance began first.
    Cancelled,
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderEnd {
    /// Carried out; the driver said this.
    Done(Outcome),
    /// Nothing was done.
    Refused(Refusal),
}

/// The state of one instance on one machine, as its executor knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceReport {
    /// Which instance.
    pub resource: ResourceId,
    /// What it is; kept so that a resource that left the model can still be stopped.
    pub kind: ResourceKind,
    /// What runs now. `None` while not known (a probe is in flight or failed).
    pub role: Option<Role>,
    /// A stop failed or hangs: it may still run (said again in each era, CLUSTER.md section 6).
    pub stop_failed: bool,
    /// What the last operation or recurring monitor found wrong; `None` as long as all is well. Said again in each
    /// era, because a message of its own may be lost in a change of configuration.
    pub failed: Option<Outcome>,
    /// Opaque token of this run of the instance (pid and start time for a process): equal as long as nothing restarted.
    pub run: u64,
}

/// What an executor says once in each era, after it has taken the epoch and voided all older orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Everything that may run here, ordered by id.
    pub instances: Vec<InstanceReport>,
}

/// How much an instance wants to be promoted where it is, by its own word. Below zero: it must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotionScore {
    /// Which instance.
    pub resource: ResourceId,
    /// Bounded by who hears it from the instance.
    pub score: i32,
}
