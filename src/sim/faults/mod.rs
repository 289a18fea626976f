//! What goes wrong: drawn from the seed before a run, so that a fault can be left out without changing the others.

mod draw;
mod moment;

use base::ResourceId;

pub use draw::{certain, draw, suspension};
pub use moment::{Aim, Moment, Trap};

use crate::{fact::Part, queue::Time};

/// One fault.
#[expect(
    missing_docs,
    reason = "fields are named for what they say; each variant has its sentence"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A machine loses its mains.
    PowerCut(usize),
    /// All machines do.
    PowerCutAll,
    /// Processes of an agent are killed; they come back when the fault ends.
    Kill(usize, Vec<Part>),
    /// The agent is restarted on purpose and says so.
    Restart(usize),
    /// The cluster is suspended; where that was answered, all agents end and come back when the fault ends, each in its own
    /// time. Asked of this machine.
    Suspend(usize),
    /// Processes of an agent are stopped.
    Freeze(usize, Vec<Part>),
    /// Machines in different groups do not hear each other.
    Partition(Vec<u8>),
    /// One direction is cut.
    OneWay(usize, usize),
    /// A machine can send and hears nothing, or the other way round.
    Mute { machine: usize, hears: bool },
    /// Links are clogged one by one, and freed in another order: what was sent comes out late.
    Swizzle(Vec<(usize, usize)>),
    /// Datagrams are lost, in 1000, or late.
    BadWeather { loss: u32, jitter_us: u64 },
    /// The agent is killed and its state directory is gone.
    Wipe(usize),
    /// The agent is killed, and an old copy of its state directory is put back where that can be noticed (`copies`).
    Restore(usize),
    /// Two agents are killed and both state directories are gone.
    WipeTwo(usize, usize),
    /// Somebody copies the state directory: no fault, but what `Restore` needs.
    BackUp(usize),
    /// The agent is killed and its record of what it started is gone; what it started is still there.
    Forget(usize),
    /// Durable writes take long.
    SlowDisk(usize),
    /// Nobody reaches a BMC.
    BmcAway(usize),
    /// A BMC answers late.
    BmcSlow(usize),
    /// A BMC accepts what it is told and does nothing.
    BmcStuck(usize),
    /// A BMC does what it is told, and its answers are lost.
    BmcLosesAnswers(usize),
    /// The cables of two BMCs are crossed: each reports the identity of the other machine.
    BmcCrossed(usize, usize),
    /// Stops fail.
    StopFails(usize, ResourceId),
    /// Stops hang.
    StopHangs(usize, ResourceId),
    /// Starts fail.
    StartFails(usize, ResourceId),
    /// Starts hang.
    StartHangs(usize, ResourceId),
    /// A process ends by itself.
    Crash(usize, ResourceId),
    /// The wall clock jumps by so many seconds.
    ClockJump(usize, i64),
    /// All wall clocks do: a wrong time server.
    ClocksJump(i64),
    /// A person puts a member into standby, and takes it out at the end.
    Standby(usize),
    /// A member leaves cleanly, and its agent is started again at the end.
    Leave(usize),
    /// A person asks for a machine to be fenced.
    FenceRequest(usize),
    /// A person moves a resource.
    Move(usize, ResourceId),
    /// Nobody reaches the API server.
    ApiAway,
    /// The API server shows what it had so many revisions ago: a lagging replica, a restored etcd.
    ApiStale(usize),
}

impl Fault {
    /// Its name in figures.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::PowerCut(..) => "power-cut",
            Self::PowerCutAll => "power-cut-all",
            Self::Kill(..) => "kill",
            Self::Restart(..) => "restart",
            Self::Freeze(..) => "freeze",
            Self::Partition(..) => "partition",
            Self::OneWay(..) => "one-way",
            Self::Mute { .. } => "mute",
            Self::Suspend(..) => "suspend",
            Self::Swizzle(..) => "swizzle",
            Self::BadWeather { .. } => "bad-weather",
            Self::Wipe(..) => "wipe",
            Self::Restore(..) => "restore",
            Self::WipeTwo(..) => "wipe-two",
            Self::BackUp(..) => "back-up",
            Self::Forget(..) => "forget",
            Self::SlowDisk(..) => "slow-disk",
            Self::BmcAway(..) => "bmc-away",
            Self::BmcSlow(..) => "bmc-slow",
            Self::BmcStuck(..) => "bmc-stuck",
            Self::BmcLosesAnswers(..) => "bmc-loses-answers",
            Self::BmcCrossed(..) => "bmc-crossed",
            Self::StopFails(..) => "stop-fails",
            Self::StopHangs(..) => "stop-hangs",
            Self::StartFails(..) => "start-fails",
            Self::StartHangs(..) => "start-hangs",
            Self::Crash(..) => "crash",
            Self::ClockJump(..) => "clock-jump",
            Self::ClocksJump(..) => "clocks-jump",
            Self::Standby(..) => "standby",
            Self::Leave(..) => "leave",
            Self::FenceRequest(..) => "fence-request",
            Self::Move(..) => "move",
            Self::ApiAway => "api-away",
            Self::ApiStale(..) => "api-stale",
        }
    }

    /// One machine hears nobody, and nobody hears it.
    pub fn isolate(nodes: usize, machine: usize) -> Self {
        Self::Partition((0..nodes).map(|n| u8::from(n == machine)).collect())
    }

    /// The same fault on another machine, if it is about one.
    #[must_use]
    pub fn at(self, nodes: usize, machine: usize) -> Self {
        match self {
            Self::PowerCut(_) => Self::PowerCut(machine),
            Self::Kill(_, parts) => Self::Kill(machine, parts),
            Self::Restart(_) => Self::Restart(machine),
            Self::Suspend(_) => Self::Suspend(machine),
            Self::Freeze(_, parts) => Self::Freeze(machine, parts),
            Self::Partition(_) => Self::isolate(nodes, machine),
            Self::Mute { hears, .. } => Self::Mute { machine, hears },
            Self::Wipe(_) => Self::Wipe(machine),
            Self::Restore(_) => Self::Restore(machine),
            Self::Forget(_) => Self::Forget(machine),
            Self::SlowDisk(_) => Self::SlowDisk(machine),
            Self::BmcAway(_) => Self::BmcAway(machine),
            Self::BmcSlow(_) => Self::BmcSlow(machine),
            Self::Crash(_, resource) => Self::Crash(machine, resource),
            Self::FenceRequest(_) => Self::FenceRequest(machine),
            Self::Move(_, resource) => Self::Move(machine, resource),
            other => other,
        }
    }
}

/// A fault with its times.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What.
    pub fault: Fault,
    /// When it begins, or begins to wait for its moment.
    pub begin: Time,
    /// How long it lasts, if it lasts.
    pub length: Time,
    /// What it waits for.
    pub trap: Option<Trap>,
    /// How far it is.
    pub phase: Phase,
}

/// How far a planned fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its time has not come.
    Planned,
    /// It waits for its moment.
    Armed,
    /// It has begun.
    Begun,
}

impl Planned {
    /// Nothing has happened yet.
    pub const fn new(fault: Fault, begin: Time, length: Time, trap: Option<Trap>) -> Self {
        Self { fault, begin, length, trap, phase: Phase::Planned }
    }
}
