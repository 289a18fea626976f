//! What goes wrong: drawn from the seed before a run, so that a fault can be left out without changing the others.

use base::ResourceId;

use crate::{
    dice::Dice,
    fact::Part,
    params::{Params, exclusive},
    queue::Time,
};

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
    /// The agent is killed and an old copy of its state directory is put back.
    Restore(usize),
    /// Somebody copies the state directory.
    BackUp(usize),
    /// The agent is killed and its record of what it started is gone; what it started is still there.
    Forget(usize),
    /// Durable writes take long.
    SlowDisk(usize),
    /// Nobody reaches a BMC.
    BmcAway(usize),
    /// A BMC answers late.
    BmcSlow(usize),
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
    /// A person puts a member into standby, and takes it out at the end.
    Standby(usize),
    /// A person asks for a machine to be fenced.
    FenceRequest(usize),
    /// A person moves a resource.
    Move(usize, ResourceId),
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
            Self::Swizzle(..) => "swizzle",
            Self::BadWeather { .. } => "bad-weather",
            Self::Wipe(..) => "wipe",
            Self::Restore(..) => "restore",
            Self::BackUp(..) => "back-up",
            Self::Forget(..) => "forget",
            Self::SlowDisk(..) => "slow-disk",
            Self::BmcAway(..) => "bmc-away",
            Self::BmcSlow(..) => "bmc-slow",
            Self::StopFails(..) => "stop-fails",
            Self::StopHangs(..) => "stop-hangs",
            Self::StartFails(..) => "start-fails",
            Self::StartHangs(..) => "start-hangs",
            Self::Crash(..) => "crash",
            Self::ClockJump(..) => "clock-jump",
            Self::Standby(..) => "standby",
            Self::FenceRequest(..) => "fence-request",
            Self::Move(..) => "move",
        }
    }
}

/// A fault with its times.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What.
    pub fault: Fault,
    /// When it begins.
    pub begin: Time,
    /// When it ends, if it lasts.
    pub end: Time,
}

/// Draws the faults of a run. A random half of the kinds is left out of each run, so that the rest comes together more
/// often (swarm testing).
pub fn draw(dice: &mut Dice, params: &Params, duration: Time) -> Vec<Planned> {
    const KINDS: u64 = 26;
    let mut enabled: Vec<u64> = (0..KINDS).filter(|_| dice.chance(500)).collect();
    if enabled.len() < 4 {
        enabled = (0..KINDS).collect();
    }
    (0..params.faults)
        .map(|_| {
            let kind = *dice.pick(&enabled);
            let fault = one(dice, params.nodes, kind);
            // some begin during the start-up (SAFETY.md 1.1)
            let begin = if dice.chance(150) {
                dice.below(duration / 10)
            } else {
                dice.range(duration / 10, duration - duration / 10)
            };
            let length = match dice.below(3) {
                0 => dice.range(20_000, 500_000),
                1 => dice.range(500_000, 3_000_000),
                _ => dice.range(2_000_000, 10_000_000),
            };
            Planned { fault, begin, end: (begin + length).min(duration) }
        })
        .collect()
}

fn one(dice: &mut Dice, nodes: usize, kind: u64) -> Fault {
    let machine = dice.below(nodes as u64) as usize;
    let other = (machine + 1 + dice.below(nodes as u64 - 1) as usize) % nodes;
    let resource = dice.pick(&exclusive()).clone();
    let parts = |dice: &mut Dice| match dice.below(5) {
        0 => vec![Part::Ring],
        1 => vec![Part::Executor],
        2 => vec![Part::Fencer],
        _ => Part::ALL.to_vec(),
    };
    match kind {
        0 | 1 => Fault::PowerCut(machine),
        2 => Fault::PowerCutAll,
        3 => Fault::Kill(machine, parts(dice)),
        4 => Fault::Restart(machine),
        5 | 6 => Fault::Freeze(machine, parts(dice)),
        7 => Fault::Partition((0..nodes).map(|_| dice.below(2) as u8).collect()),
        8 => Fault::Partition((0..nodes).map(|n| u8::from(n == machine)).collect()),
        9 => Fault::OneWay(machine, other),
        10 => Fault::Mute { machine, hears: dice.chance(500) },
        11 => {
            let mut links = Vec::new();
            for from in 0..nodes {
                for to in 0..nodes {
                    if from != to && dice.chance(400) {
                        links.push((from, to));
                    }
                }
            }
            Fault::Swizzle(links)
        }
        12 => Fault::BadWeather {
            loss: *dice.pick(&[10, 50, 200, 400]),
            jitter_us: *dice.pick(&[100, 5_000, 50_000, 300_000]),
        },
        13 => Fault::Wipe(machine),
        14 => Fault::Restore(machine),
        15 => Fault::BackUp(machine),
        16 => Fault::SlowDisk(machine),
        17 => Fault::BmcAway(machine),
        18 => Fault::BmcSlow(machine),
        19 => Fault::StopFails(machine, resource),
        20 => Fault::StopHangs(machine, resource),
        21 if dice.chance(500) => Fault::StartFails(machine, resource),
        21 => Fault::StartHangs(machine, resource),
        22 => Fault::Crash(machine, resource),
        23 if dice.chance(300) => {
            // forward only: a disk lost after its clock was set back is what the agent cannot notice
            Fault::ClockJump(machine, dice.range(1, 100_000) as i64)
        }
        23 => Fault::Forget(machine),
        24 => Fault::Standby(machine),
        _ if dice.chance(500) => Fault::FenceRequest(machine),
        _ => Fault::Move(machine, resource),
    }
}
