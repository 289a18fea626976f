//! What really happened: the only thing that checks look at. Nothing here is what an agent believes, unless it says so.

use std::{fmt, hash::Hash};

use base::{ConfigurationKind, Epoch, Guarantee, Incarnation, Member, NodeId, ResourceId, RingId};
use fencing::{DeviceAction, Incident, PowerGoal, PowerState};
use lifecycle::{Operation, OrderId};

/// The three processes of an agent (CLUSTER.md section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Ring, replicated state, coordinator.
    Ring,
    /// Drivers of resources.
    Executor,
    /// Drivers of BMCs, watchdog.
    Fencer,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ring, Self::Executor, Self::Fencer];
}

/// Why a machine lost its power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PowerLoss {
    /// Somebody pulled the plug.
    Cut,
    /// A BMC switched it off.
    Bmc,
    /// The executor fenced its own machine.
    SelfFence,
    /// The watchdog was not fed.
    Watchdog,
    /// The phase of liveness leaves it dead.
    LeftDead,
}

/// One fact. Order of the fields: who, whom, what.
#[expect(
    missing_docs,
    reason = "fields are named for what they say; each variant has its sentence"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// A machine has power and begins to boot.
    PowerOn { node: NodeId, boot: u64 },
    /// A machine is off.
    PowerOff { node: NodeId, why: PowerLoss },
    /// A part of an agent starts.
    Starts { node: NodeId, part: Part },
    /// A part of an agent is gone.
    Ends { node: NodeId, part: Part },
    /// A part is stopped by SIGSTOP or the freezer.
    Freezes { node: NodeId, part: Part },
    /// It goes on.
    Thaws { node: NodeId, part: Part },
    /// A new life of a ring part.
    Life { node: NodeId, incarnation: Incarnation },
    /// Ring sequence numbers up to this are durable.
    Reserved { node: NodeId, up_to: u64 },
    /// The ring part delivered a configuration.
    Installed { node: NodeId, kind: ConfigurationKind, ring: RingId, members: Vec<Member> },
    /// The ring part handed a message to the ring.
    Sent { node: NodeId, digest: u64 },
    /// The ring part delivered a message.
    Delivered { node: NodeId, sender: NodeId, guarantee: Guarantee, digest: u64 },
    /// The state of a ring part moved to a place.
    Placed { node: NodeId, era: RingId, index: u64, hash: u128 },
    /// The executor installed an epoch.
    Epoch { node: NodeId, epoch: Epoch, quorate: bool },
    /// The executor reported in an epoch; what runs or may run there.
    Reported { node: NodeId, epoch: Epoch, running: Vec<ResourceId> },
    /// The executor said how much its database wants to be promoted.
    Wished { node: NodeId, ring: RingId, score: Option<i32> },
    /// A driver was called.
    Began {
        node: NodeId,
        resource: ResourceId,
        operation: Operation,
        order: Option<(Epoch, OrderId)>,
        exclusive: bool,
    },
    /// A driver answered.
    Answered {
        node: NodeId,
        resource: ResourceId,
        operation: Operation,
        order: Option<(Epoch, OrderId)>,
        good: bool,
    },
    /// Something runs or is configured on a machine from now on.
    Holds { node: NodeId, resource: ResourceId, exclusive: bool, address: bool },
    /// It does not any more.
    Drops { node: NodeId, resource: ResourceId, why: &'static str },
    /// A fencing command was handed to a fencer.
    FenceAsked { by: NodeId, incident: Incident, epoch: Epoch, goal: PowerGoal, deadline_us: u64 },
    /// A fencer opened a session.
    Session { by: NodeId, target: NodeId, call: u64, action: DeviceAction },
    /// A power command left the machine of the fencer.
    FenceSent { by: NodeId, target: NodeId, call: u64, action: DeviceAction, late: bool },
    /// A power command reached a machine.
    Reached { by: NodeId, target: NodeId, reached: NodeId },
    /// A BMC answered a read; `truth` is what the machine was at that moment.
    Read { by: NodeId, target: NodeId, call: u64, said: PowerState, truth: PowerState },
    /// A fencer said how a command ended.
    FenceEnded { by: NodeId, incident: Incident, goal: PowerGoal, off: bool, commanded: bool },
    /// A person said that a machine is off, and it was.
    Confirmed { node: NodeId },
    /// An executor was suspended, or is no longer.
    Suspended { node: NodeId, yes: bool },
    /// The fencer of a suspended cluster disarmed its machine's watchdog, or has armed it again.
    WatchdogOff { node: NodeId, yes: bool },
    /// A request to suspend the cluster was answered: it is.
    AllSuspended,
    /// A person asks for the end of a suspension.
    Resumed,
    /// An executor released everything for a clean leave.
    Released { node: NodeId },
    /// What the ring part of a running agent says of itself, asked at each tick.
    Claims {
        node: NodeId,
        quorate: bool,
        era: Option<RingId>,
        /// Number of the last acceptance, and generations of its objects by uid.
        accepted: (u64, Vec<(String, i64)>),
    },
    /// An assertion of the product failed.
    Assertion { node: NodeId, invariant: &'static str, detail: String },
    /// A plan that breaks its rules.
    BadPlan { what: String },
    /// A fault begins or ends, or anything else for people.
    Note(String),
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ids as people write them
        let text = format!("{self:?}");
        f.write_str(&text.replace("NodeId(", "(").replace("ResourceId(", "("))
    }
}
