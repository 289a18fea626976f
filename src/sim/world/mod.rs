//! The world: one queue of events, machines, a network, BMCs, people. Everything follows from the seed.

mod bmcs;
mod effects;
mod machines;
mod people;
mod turn;

use std::collections::{BTreeMap, BTreeSet};

use fencing::DeviceAction;
use policy::revision::Revision;

use crate::{
    api::Api,
    dice::Dice,
    fact::{Fact, Part, PowerLoss},
    log::Log,
    machine::Machine,
    net::{Datagram, Net},
    node::{Effect, Message, Written},
    params::{Params, node_id},
    planner,
    queue::{Queue, Time},
};

/// A BMC that takes this long to carry out a power-off is a slow one.
const SLOW_OFF_US: Time = 500_000;

/// Between two looks at everything.
pub const TICK_US: Time = 250_000;

/// What may happen.
#[expect(
    missing_docs,
    reason = "fields are named for what they say; each variant has its sentence"
)]
pub enum Event {
    /// A datagram reaches a machine.
    Datagram { from: usize, to: usize, bytes: Datagram },
    /// A timer of a machine.
    Wake(usize),
    /// An address may have expired.
    Expire(usize),
    /// A write becomes durable.
    Disk { machine: usize, generation: u64, life: u64, write: u64, then: Written },
    /// A message for one life of a part.
    Part { machine: usize, part: Part, life: u64, message: Message },
    /// A request reaches a BMC.
    Bmc { by: usize, life: u64, call: fencing::CallId, target: usize, action: DeviceAction },
    /// A machine goes off after its BMC accepted.
    PowerEffect { machine: usize, generation: u64 },
    /// A machine has booted.
    Booted { machine: usize, generation: u64 },
    /// A part is started by its supervisor.
    Start { machine: usize, part: Part, generation: u64 },
    /// A planned fault begins.
    FaultBegins(usize),
    /// It ends.
    FaultEnds(usize),
    /// All parts of an agent are killed (second half of a planned restart).
    KillAll(usize),
    /// If all are suspended, an agent ends (second half of a suspension) until that fault is over.
    Sleep { machine: usize, fault: usize },
    /// It comes back.
    Awake { machine: usize, fault: usize },
    /// A look at everything.
    Tick,
    /// Enough faults?
    TopUp,
    /// Somebody edits objects.
    Edit,
    /// A member is told what the API server shows, or showed a while ago.
    Shown { machine: usize, revision: Box<Revision> },
}

/// Everything there is.
pub struct World {
    /// Now.
    pub now: Time,
    /// The queue.
    pub queue: Queue<Event>,
    /// All chance.
    pub dice: Dice,
    /// What the seed decided.
    pub params: Params,
    /// Machines by index.
    pub machines: Vec<Machine>,
    /// The ring's network.
    pub net: Net,
    /// The API server.
    pub api: Api,
    /// Facts and checks.
    pub log: Log,
    /// Planned faults.
    pub faults: Vec<crate::faults::Planned>,
    /// When all of them are over.
    pub faults_until: Time,
    /// Events so far.
    pub events: u64,
    /// Faults that really began.
    pub faults_begun: u32,
    /// How many of each kind.
    pub kinds: BTreeMap<&'static str, u32>,
    /// Machines whose agents a fault has put to sleep.
    pub asleep: BTreeSet<(usize, usize)>,
    effects: Vec<Effect>,
}

impl World {
    /// All machines get their power within half a second.
    pub fn new(seed: u64, params: Params, mut dice: Dice, trace: bool) -> Self {
        let log = Log::new(params.setup(), trace);
        let machines = (0..params.nodes)
            .map(|index| {
                let drift = params.drift_ppm;
                let ppm = dice.range(0, drift.unsigned_abs() * 2) as i64 - drift;
                Machine::new(node_id(index), ppm)
            })
            .collect();
        let mut world = Self {
            now: 0,
            queue: Queue::default(),
            net: Net::new(params.nodes, params.weather),
            machines,
            log,
            faults: Vec::new(),
            faults_until: 0,
            api: Api::new(params.revision.clone()),
            events: 0,
            faults_begun: 0,
            kinds: BTreeMap::new(),
            asleep: BTreeSet::new(),
            effects: Vec::new(),
            dice,
            params,
        };
        world.log.note(|| {
            let mut brief = world.params.clone();
            brief.revision.devices.clear();
            brief.revision.voters.clear();
            brief.revision.nodes.clear();
            brief.revision.placements.clear();
            brief.revision.objects.clear();
            format!("seed {seed}: {brief:?}")
        });
        for index in 0..world.params.nodes {
            world.power_on(index);
        }
        world.queue.push(TICK_US, Event::Tick);
        world
    }

    /// Runs until the time; false when a check failed.
    pub fn run_until(&mut self, end: Time) -> bool {
        while self.log.violation.is_none() {
            let Some((at, event)) = self.queue.pop() else { return true };
            if at > end {
                self.queue.push(at, event);
                self.now = end;
                self.log.now = end;
                return true;
            }
            self.now = at;
            self.log.now = at;
            self.events += 1;
            self.happen(event);
        }
        false
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Datagram { from, to, bytes } => self.arrive(from, to, bytes),
            Event::Wake(machine) => {
                if self.machines[machine].wake_at == Some(self.now) {
                    self.machines[machine].wake_at = None;
                    self.turn(machine);
                }
            }
            Event::Expire(machine) => {
                self.machines[machine].expiry_at = None;
                self.expire(machine);
            }
            Event::Disk { machine, generation, life, write, then } => {
                if self.machines[machine].generation == generation
                    && self.machines[machine].disk.complete(write)
                {
                    self.tell(machine, Part::Ring, Some(life), Message::Written(then));
                    self.turn(machine);
                }
            }
            Event::Part { machine, part, life, message } => {
                self.tell(machine, part, Some(life), message);
                self.turn(machine);
            }
            Event::Bmc { by, life, call, target, action } => {
                self.bmc(by, life, call, target, action);
            }
            Event::PowerEffect { machine, generation } => {
                // A slow one, with power of its own, carries out what it accepted whatever the machine did meanwhile: one that
                // came back by itself goes off again.
                let slow = self.params.bmc_off_us >= SLOW_OFF_US && !self.params.bmc_shares_power;
                let there = &mut self.machines[machine];
                let due = there.bmc.off_at == Some(self.now);
                let same = there.generation == generation;
                if due {
                    there.bmc.off_at = None;
                }
                if same || (slow && due) {
                    there.wants_on = false;
                    self.power_off(machine, PowerLoss::Bmc);
                }
            }
            Event::Booted { machine, generation } => {
                if self.machines[machine].generation == generation {
                    for (part, delay) in
                        [(Part::Executor, 0), (Part::Fencer, 0), (Part::Ring, 10_000)]
                    {
                        let event = Event::Start { machine, part, generation };
                        self.queue.push(self.now + delay, event);
                    }
                }
            }
            Event::Start { machine, part, generation } => {
                if self.machines[machine].generation == generation {
                    self.start_part(machine, part);
                }
            }
            Event::FaultBegins(fault) => self.fault_due(fault),
            Event::FaultEnds(fault) => self.end_fault(fault),
            Event::KillAll(machine) => {
                for part in Part::ALL {
                    self.kill(machine, part);
                }
            }
            Event::Sleep { machine, fault } => self.sleep_on(machine, fault),
            Event::Awake { machine, fault } => self.wake_up(machine, fault),
            Event::Tick => self.tick(),
            Event::TopUp => self.top_up(),
            Event::Edit => self.edit(),
            Event::Shown { machine, revision } => {
                self.tell(machine, Part::Ring, None, Message::Revision(revision));
                self.turn(machine);
            }
        }
        if !self.log.sprung.is_empty() {
            self.spring_traps();
        }
        if let Some(what) = planner::take() {
            self.log.fact(Fact::BadPlan { what });
        }
    }
}
