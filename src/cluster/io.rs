//! The seam: what one engine is told, and what it wants done. Data only.
//!
//! Invariants: nothing here holds a clock, a socket or a secret; every output says what it must follow; outputs are
//! carried out in the order in which they were polled. Whoever drives the engine (agent or simulator) decides nothing.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::time::Duration;

use base::{
    BootId, Epoch, Guarantee, Incarnation, NodeId, ResourceId, ResourceKind, RingEvent, RingId,
    SystemUuid,
};
use fencing::{FenceCommand, FenceResult, Incident};
use lifecycle::{
    InstanceReport, Operation, Order, OrderEnd, OrderId, Outcome, PromotionScore, Quorum, Report,
};
use policy::revision::Revision;
use serde::{Deserialize, Serialize};

use crate::ails::Ails;

/// How a coordinator turns a model into a plan: [`policy::Scheduler::schedule`] in the product, which remembers what an
/// event does not change. A plan is only a wish; what may be dispatched is decided here (CLUSTER.md section 6).
pub type Planner =
    fn(&mut policy::Scheduler, &policy::Model) -> Result<policy::Plan, policy::Error>;

/// What an engine is told once, at the start of the process.
#[derive(Clone, Debug)]
pub struct Config {
    /// This member.
    pub me: NodeId,
    /// This life of its agent (CLUSTER.md section 1); its counter was made durable before.
    pub incarnation: Incarnation,
    /// This boot of its machine.
    pub boot_id: BootId,
    /// What the machine says that it is; travels with every exchange.
    pub system_uuid: Option<SystemUuid>,
    /// The newest compiled revision that this member has seen. It gives voters and timings until a state does, and is
    /// proposed like one that came by [`Input::Revision`].
    pub first: Revision,
    /// What the state directory held.
    pub disk: Stored,
    /// The engine of `policy`; tests put a smaller one in its place.
    pub planner: Planner,
}

/// The files of the state directory as they were read. A file that is missing, or that cannot be read, is `None`:
/// without a promise file the disk counts as wiped (CLUSTER.md section 3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Last bytes of [`File::Promise`] that were durable.
    pub promise: Option<Vec<u8>>,
    /// Last bytes of [`File::State`] that were durable.
    pub state: Option<Vec<u8>>,
}

/// Which file of the state directory. Each is replaced as a whole, atomically.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// The newest promise, what it was given to, and whether the disk counts as wiped. At most 16 KiB.
    Promise,
    /// The whole replicated state with its position.
    State,
}

/// Number of one write; answered by [`Input::Persisted`] when it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersistId(pub u64);

/// Number that the asker gave to a request; [`Output::Answer`] names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// Everything that an engine is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// Totem's total order: configurations and messages, own ones included.
    Ring(RingEvent),
    /// Totem gave this ring up and seeks a new one (`totem::Output::RingBroken`).
    RingBroken {
        /// Which.
        ring: RingId,
    },
    /// A fresh token of this ring arrived. Needed after a gap (CLUSTER.md section 4), and welcome always.
    Token {
        /// The ring that it belongs to.
        ring: RingId,
    },
    /// This process did not run for that long (clock against expectation, on each turn of the loop). To be said
    /// before anything else that arrived meanwhile.
    Stalled(Duration),
    /// The write is durable.
    Persisted(PersistId),
    /// The executor of this machine.
    Executor(ExecutorSays),
    /// The fencer of this machine.
    Fencer(FencerSays),
    /// Answer to [`Output::Probe`].
    Probed {
        /// The machine.
        node: NodeId,
        /// What it did.
        verdict: Verdict,
    },
    /// A join or merge detect of a node outside the ring was heard; its standing says which boot the machine runs.
    Heard {
        /// Who.
        node: NodeId,
        /// The bytes of its [`Output::Standing`].
        standing: Vec<u8>,
    },
    /// Totem lost the token and has not heard of this member since: probe in parallel with forming the ring.
    Silent {
        /// The machine.
        node: NodeId,
    },
    /// What is wrong with this member by its own word, and what it has seen of fence devices. Said to the others, who show it;
    /// decides nothing. What is beyond [`crate::AILS_MAX`] and [`crate::DEVICES_SAID_MAX`] is left out.
    Ails(Ails),
    /// Seconds since 1970 on this machine, now and then. Written into decisions, never compared across machines.
    Wall(i64),
    /// A revision that this member compiled from the API (200 ms without change). Offering one twice is harmless.
    Revision(Box<Revision>),
    /// A person or a program on this machine asks.
    Request {
        /// Chosen by the caller, unique in the life of this process.
        id: RequestId,
        /// What.
        kind: RequestKind,
    },
}

/// What a probe on all links says (CLUSTER.md section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// No answer on any link in 100 ms to three tries.
    Silent,
    /// The machine answers, the agent's port is closed.
    PortClosed,
    /// The machine answers and the port is open: a stall.
    PortOpen,
}

/// What the executor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecutorSays {
    /// Once after each [`ExecutorDo::TakeEpoch`]: older orders are void, and this is what runs.
    Report {
        /// The epoch that it has taken.
        epoch: Epoch,
        /// What runs.
        report: Report,
    },
    /// An order ended.
    Ended {
        /// Of the order.
        epoch: Epoch,
        /// Which order.
        id: OrderId,
        /// How.
        end: OrderEnd,
    },
    /// Something that no order of the installed epoch asked for ([`lifecycle::Output::Changed`]). Said once each.
    Changed {
        /// What was done.
        operation: Operation,
        /// How it went.
        outcome: Outcome,
        /// What is known now.
        instance: InstanceReport,
    },
    /// The executor process was restarted alone, or its connection was: what it runs is unknown until it has reported again.
    /// Answered by [`ExecutorDo::Void`] with the quorum of the configuration, and by [`ExecutorDo::TakeEpoch`] if an epoch
    /// is in force.
    Restarted,
    /// The executor had taken itself for inquorate and sees tokens again ([`lifecycle::Output::Regained`]). Answered as
    /// [`Self::Restarted`].
    Regained,
    /// It could not release what it must and is about to power its own machine off.
    SelfFencing {
        /// For the record.
        reason: String,
    },
    /// After [`ExecutorDo::Leave`]: nothing is held any more and nothing will be accepted.
    Released,
    /// An address was added here; it is announced until a peer says [`ExecutorSays::Sees`] (CLUSTER.md section 8).
    Announcing {
        /// Which.
        resource: ResourceId,
        /// The address, so that a peer needs no model of its own.
        kind: ResourceKind,
        /// Where it is now.
        station: Station,
    },
    /// Answer to [`ExecutorDo::LookFor`]: this machine takes that station for the holder of the address.
    Sees {
        /// Which.
        resource: ResourceId,
        /// Who has it.
        station: Station,
    },
    /// After [`ExecutorDo::Suspend`]: addresses are permanent, missing tokens and lost quorum stop nothing.
    Suspended,
    /// What the instances here say of their own promotion ([`lifecycle::Output::Scores`]): before a report in which there is
    /// any, and whenever it changes.
    Scores {
        /// The epoch that was taken.
        epoch: Epoch,
        /// All of them.
        scores: Vec<PromotionScore>,
    },
}

/// A link-layer address.
pub type Station = [u8; 6];

/// What the fencer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FencerSays {
    /// It began a command.
    Started {
        /// Against whom.
        incident: Incident,
        /// In which epoch.
        epoch: Epoch,
    },
    /// A command ended.
    Ended(FenceResult),
    /// Whether this machine's watchdog is armed: read from the device, fed by the loop itself.
    Watchdog {
        /// The timeout that the device reports, if it is proven armed.
        timeout: Option<Duration>,
    },
}

/// What is asked on the local socket (uid 0) or through the API. Node and resource are checked against the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestKind {
    /// Runs nothing from now on.
    Standby(NodeId),
    /// Ends standby and maintenance.
    Online(NodeId),
    /// Nothing on it is started or stopped.
    Maintenance(NodeId),
    /// Power it off (or off and on, as the cluster object says).
    Fence {
        /// Whom.
        node: NodeId,
        /// Who asks, for the record.
        who: String,
    },
    /// A person says that the machine is off. One-shot, bound to the incident, refused while it is heard
    /// (SAFETY.md#S33).
    ConfirmOff {
        /// Which machine.
        node: NodeId,
        /// The incident that the person looked at; `None` is the one that is open when the message is delivered.
        incident: Option<RingId>,
        /// Who says so, for the record.
        who: String,
    },
    /// Forget failures and act anew, of one node or of all: a stop that failed is tried again.
    Cleanup {
        /// Which resource, or placement.
        resource: ResourceId,
        /// Where.
        node: Option<NodeId>,
    },
    /// Prefer that node above all.
    Move {
        /// Which resource.
        resource: ResourceId,
        /// Where to.
        to: NodeId,
    },
    /// Never on that node.
    Ban {
        /// Which resource.
        resource: ResourceId,
        /// Where not.
        node: NodeId,
    },
    /// Ends moves and bans of the resource.
    Clear(ResourceId),
    /// Stop and start it where it is.
    Restart(ResourceId),
    /// Takes a retained resource out of the model and stops it (CLUSTER.md section 7).
    Remove(ResourceId),
    /// A planned restart of this agent: neither fence nor recover for that long, at most 60 s.
    Detach(Duration),
    /// Release everything, say the clean leave and go.
    Leave,
    /// Cluster-wide: no fencing, no recovery, addresses permanent, rings stop. Answered when it is durable on all members
    /// and every executor has carried it out; refused unless all of them are here.
    Suspend,
    /// Ends `Suspend` in an open era. Where the rings have stopped, agents are started again instead.
    Resume,
    /// One-shot answer to the condition `StateLost`: go on with the state that is left.
    AcceptStateLoss {
        /// Who accepts the loss, for the record.
        who: String,
    },
}

/// Why a request was refused. The text says what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Everything that an engine wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To totem, to be ordered. At most [`crate::MESSAGE_MAX`] bytes.
    Multicast {
        /// The bytes.
        payload: Vec<u8>,
        /// How strong a promise its delivery waits for.
        guarantee: Guarantee,
    },
    /// Replace the file and say [`Input::Persisted`] when it is durable. A later write of the same file may overtake
    /// this one; then both are answered.
    Persist {
        /// To be answered.
        id: PersistId,
        /// Which file.
        file: File,
        /// Its whole new content.
        bytes: Vec<u8>,
    },
    /// To the executor of this machine.
    Executor(ExecutorDo),
    /// To the fencer of this machine.
    Fencer(FencerDo),
    /// Ask the machine on all links, three tries, 100 ms; answered by [`Input::Probed`].
    Probe {
        /// Which machine.
        node: NodeId,
    },
    /// What totem puts into its joins and merge detects from now on; given to [`crate::admission::refused`] by all that hear it.
    Standing(Vec<u8>),
    /// Form a new ring now: whom [`crate::admission::refused`] names is to stay outside, or a refusal may lapse.
    Reform,
    /// Leave the ring; the process then ends with this reason. A clean leave was delivered before.
    LeaveRing {
        /// For people.
        reason: String,
    },
    /// Suspended, and all know it: the ring stops, the process stays until it is started again.
    StopRing,
    /// An assertion failed (SAFETY.md 2.1): the executor releases what is exclusive, or fences its machine.
    SafeState {
        /// Which invariant, for example `S3`.
        invariant: &'static str,
        /// What was seen.
        detail: String,
    },
    /// The request was taken up by the ring, or refused with the reason.
    Answer {
        /// As in [`Input::Request`].
        id: RequestId,
        /// The outcome.
        result: Result<(), Refused>,
    },
    /// For timeline, events and metrics.
    Record(Record),
}

/// What the executor is told. Tokens come to it from the agent, with [`crate::Member::era_open`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecutorDo {
    /// The times that it lives by; follows each change of the accepted revision.
    Settings(lifecycle::Settings),
    /// The configuration is gone: begin nothing, drop what is queued, keep what runs. Without quorum the time to
    /// stop by itself begins (CLUSTER.md section 4).
    Void {
        /// The new ring.
        ring: RingId,
        /// Whether it has quorum as far as is known; [`ExecutorDo::TakeEpoch`] says it for good.
        quorum: Quorum,
    },
    /// Install this epoch and report. Given when the era is open, or when it is known that there is no quorum: then
    /// only stops and demotions are accepted.
    TakeEpoch {
        /// To be compared for equality.
        epoch: Epoch,
        /// Whether the ring has quorum.
        quorum: Quorum,
    },
    /// Carry out. Follows `TakeEpoch` of the same epoch.
    Carry(Order),
    /// This agent goes away for that long; keep what runs, keep addresses alive so long.
    Detach(Duration),
    /// The cluster is suspended, and the disk of every member holds it: addresses become permanent, missing tokens and lost
    /// quorum mean nothing; answered by [`ExecutorSays::Suspended`]. Said again to each new life of the executor.
    Suspend,
    /// Release everything and accept nothing more; answered by [`ExecutorSays::Released`].
    Leave,
    /// Another member announces an address: say [`ExecutorSays::Sees`] when this machine takes its station for the
    /// holder, if it is on that network.
    LookFor {
        /// Which.
        resource: ResourceId,
        /// The address.
        kind: ResourceKind,
        /// Where it should be.
        station: Station,
    },
    /// A peer takes that station for the holder of the address: it need not be announced any longer.
    SeenAt {
        /// Which.
        resource: ResourceId,
        /// Who has it.
        station: Station,
    },
    /// The suspension is over, and this member's disk holds that: addresses have lifetimes again. Said to each new
    /// life too, because an executor may have outlived the ring part that suspended it.
    Resume,
}

/// What the fencer is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FencerDo {
    /// The epoch in force. A command of any other is dropped, and aborted where it has begun (CLUSTER.md section 6).
    Install {
        /// To be compared for equality right before anything is sent.
        epoch: Epoch,
        /// Nothing but reads without quorum, and no reads either.
        quorate: bool,
        /// Members of the configuration: never a target.
        members: Vec<NodeId>,
        /// Members that are evicted all the same, and so may be targets.
        evicted: Vec<NodeId>,
    },
    /// Carry out. Follows `Install` of the same epoch.
    Carry(FenceCommand),
    /// Evidence for this incident stands: nothing is sent for it any more, a machine that a person has confirmed and turned
    /// on again would be shot (CLUSTER.md section 6).
    Drop(Incident),
    /// Drop everything, close every session: the configuration is gone.
    AbortAll,
    /// The cluster is suspended: disarm the watchdog and leave it so.
    Suspend,
    /// The suspension is over, and the disk holds that: the watchdog may be armed again.
    Resume,
}

/// Parts of the way of a failure (DESIGN.md section 3), and what else goes on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// The token was lost, or the member was silent.
    Detect,
    /// A new configuration was installed; its era is open.
    Agree,
    /// The coordinator decided.
    Plan,
    /// A power-off was ordered.
    Fence,
    /// The power was read back.
    Verify,
    /// Orders for what was lost were given.
    Recover,
    /// An address of what was lost is at its new place and announced from now on.
    Announce,
    /// A peer sees that address there.
    Seen,
    /// What was lost runs again.
    Recovered,
    /// Something that a person did or must know.
    Note,
}

/// One line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which part.
    pub phase: Phase,
    /// The incident, where it belongs to one.
    pub incident: Option<Incident>,
    /// For people.
    pub text: String,
}

/// Why the engine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The time of an absence that this member announced is over.
    Absence,
    /// The deadline of every command against an evicted member passes.
    CommandDeadline,
    /// The oldest failure is forgotten.
    FailureTimeout,
    /// The grace of a silent member, or the wait for one that was never seen, ends; or its self-fencing bound passes.
    Grace,
    /// The state is written after it was quiet.
    LazyPersist,
    /// A command or an order was not answered in its time.
    Overdue,
    /// Members that have not reported are evicted.
    ReportTimeout,
    /// A power command, or an order that was refused, is tried again.
    Retry,
    /// The cluster is suspended, and all have heard so.
    RingStops,
    /// A ring was lost and none has formed in the time that this takes.
    Ringless,
}
