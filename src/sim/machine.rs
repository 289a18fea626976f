//! One machine: power, clocks, disk, kernel, BMC, and the three parts of its agent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base::{NodeId, ResourceId};

use crate::{
    bmc::Bmc,
    clock::Clock,
    disk::Disk,
    fact::Part,
    kernel::Kernel,
    node::{Message, Running},
    queue::Time,
};

/// Messages that wait for a frozen part. Datagrams beyond that are lost, as in a full socket buffer; a connection to which
/// no more can be said is over, never a message of it alone: what came through before is all there is.
pub const INBOX_MAX: usize = 512;

/// One part of an agent in its slot.
#[derive(Default)]
pub struct Slot {
    /// The running part.
    pub running: Option<Running>,
    /// Which life it is; messages for another one are lost.
    pub life: u64,
    /// How many faults stop it.
    pub frozen: u32,
    /// What it has not taken in yet.
    pub inbox: VecDeque<Message>,
    /// The ring part has given up its connection: read to its end, it closes, and the part connects anew.
    pub cut_off: bool,
    /// How many faults keep it from starting.
    pub held_down: u32,
}

/// How drivers misbehave on this machine.
#[derive(Debug, Default)]
pub struct Moods {
    /// Stops fail.
    pub stop_fails: BTreeSet<ResourceId>,
    /// Stops hang.
    pub stop_hangs: BTreeSet<ResourceId>,
    /// Starts fail.
    pub start_fails: BTreeSet<ResourceId>,
    /// Starts hang.
    pub start_hangs: BTreeSet<ResourceId>,
}

/// One machine.
pub struct Machine {
    /// Its node id.
    pub node: NodeId,
    /// Has mains.
    pub mains: bool,
    /// How many faults took the mains away.
    pub cuts: u32,
    /// Is on.
    pub powered: bool,
    /// Wants to be on when mains return.
    pub wants_on: bool,
    /// Counts power changes; events of another generation are void.
    pub generation: u64,
    /// Clocks.
    pub clock: Clock,
    /// State directory.
    pub disk: Disk,
    /// How many faults make the disk slow.
    pub slow_disk: u32,
    /// Addresses and processes.
    pub kernel: Kernel,
    /// Its BMC.
    pub bmc: Bmc,
    /// The parts of the agent.
    pub slots: BTreeMap<Part, Slot>,
    /// How drivers misbehave.
    pub moods: Moods,
    /// When the next wake-up event is queued.
    pub wake_at: Option<Time>,
    /// When the next expiry of an address is queued.
    pub expiry_at: Option<Time>,
    /// When the watchdog was fed last.
    pub fed_at: Time,
}

impl Machine {
    /// A machine that has never been on.
    pub fn new(node: NodeId, drift_ppm: i64) -> Self {
        Self {
            node,
            mains: true,
            cuts: 0,
            powered: false,
            wants_on: true,
            generation: 0,
            clock: Clock::new(0, 0, drift_ppm),
            disk: Disk::default(),
            slow_disk: 0,
            kernel: Kernel::new(node),
            bmc: Bmc::default(),
            slots: Part::ALL.iter().map(|part| (*part, Slot::default())).collect(),
            moods: Moods::default(),
            wake_at: None,
            expiry_at: None,
            fed_at: 0,
        }
    }

    /// One slot; all three exist.
    pub fn slot(&mut self, part: Part) -> &mut Slot {
        self.slots.entry(part).or_default()
    }

    /// Whether a part runs and is not frozen.
    pub fn is_lively(&self, part: Part) -> bool {
        self.slots.get(&part).is_some_and(|slot| slot.running.is_some() && slot.frozen == 0)
    }

    /// Whether a part exists, frozen or not.
    pub fn is_there(&self, part: Part) -> bool {
        self.slots.get(&part).is_some_and(|slot| slot.running.is_some())
    }
}
