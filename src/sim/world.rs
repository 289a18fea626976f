//! The world: one queue of events, machines, a network, BMCs, people. Everything follows from the seed.

use base::NodeId;
use cluster::{ExecutorSays, RequestKind, Verdict};
use fencing::{DeviceAction, DeviceError};

use crate::{
    bmc::{SILENCE_US, reading},
    dice::Dice,
    fact::{Fact, Part, PowerLoss},
    log::Log,
    machine::{INBOX_MAX, Machine},
    net::{Datagram, Net},
    node::{
        Context, Effect, ExecutorPart, FencerPart, Message, RingPart, Running, Written,
        session_answer,
    },
    params::{Params, index_of, node_id},
    planner,
    queue::{Queue, Time},
    service,
};

/// Between two looks at everything.
pub const TICK_US: Time = 250_000;

/// Turns of one machine without time passing; more is a busy loop in a core.
const TURNS_MAX: u32 = 20_000;

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
    /// A look at everything.
    Tick,
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
    /// Facts and checks.
    pub log: Log,
    /// Planned faults.
    pub faults: Vec<crate::faults::Planned>,
    /// Events so far.
    pub events: u64,
    /// Faults that really began.
    pub faults_begun: u32,
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
            events: 0,
            faults_begun: 0,
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
                self.machines[machine].bmc.off_at = None;
                self.machines[machine].wants_on = false;
                if self.machines[machine].generation == generation {
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
            Event::FaultBegins(fault) => self.begin_fault(fault),
            Event::FaultEnds(fault) => self.end_fault(fault),
            Event::KillAll(machine) => {
                for part in Part::ALL {
                    self.kill(machine, part);
                }
            }
            Event::Tick => self.tick(),
        }
        if let Some(what) = planner::take() {
            self.log.fact(Fact::BadPlan { what });
        }
    }

    // ---- machines -------------------------------------------------------------------------------------------------

    /// Gives a machine its power, if there is any.
    pub fn power_on(&mut self, index: usize) {
        let offset = self.dice.below(2_000_000);
        let delay = if self.now == 0 { self.dice.below(500_000) } else { self.params.boot_us };
        let machine = &mut self.machines[index];
        machine.wants_on = true;
        if machine.powered || !machine.mains {
            return;
        }
        machine.powered = true;
        machine.generation += 1;
        machine.fed_at = self.now + delay;
        machine.clock.boot(self.now, offset);
        let (node, boot) = (machine.node, machine.clock.boots);
        let generation = machine.generation;
        self.log.fact(Fact::PowerOn { node, boot });
        self.queue.push(self.now + delay, Event::Booted { machine: index, generation });
    }

    /// Takes a machine's power.
    pub fn power_off(&mut self, index: usize, why: PowerLoss) {
        let torn = self.dice.chance(self.params.torn);
        let machine = &mut self.machines[index];
        if !machine.powered {
            return;
        }
        machine.powered = false;
        machine.generation += 1;
        machine.disk.lose_power(torn);
        machine.kernel.lose_power();
        machine.wake_at = None;
        machine.expiry_at = None;
        for slot in machine.slots.values_mut() {
            slot.running = None;
            slot.life += 1;
            slot.frozen = 0;
            slot.inbox.clear();
        }
        let node = machine.node;
        self.log.fact(Fact::PowerOff { node, why });
    }

    /// Starts a part, unless a fault holds it down.
    pub fn start_part(&mut self, index: usize, part: Part) {
        let random = (u128::from(self.dice.bits()) << 64) | u128::from(self.dice.bits());
        let machine = &mut self.machines[index];
        let slot = machine.slots.entry(part).or_default();
        if !machine.powered || slot.running.is_some() || slot.held_down > 0 {
            return;
        }
        self.log.fact(Fact::Starts { node: machine.node, part });
        let mut ctx = Context {
            now: self.now,
            local: machine.clock.local(self.now),
            node: machine.node,
            clock: &machine.clock,
            kernel: &mut machine.kernel,
            params: &self.params,
            log: &mut self.log,
            effects: &mut self.effects,
        };
        let running = match part {
            Part::Ring => {
                Running::Ring(Box::new(RingPart::start(&mut ctx, &mut machine.disk.files, random)))
            }
            Part::Executor => Running::Executor(Box::new(ExecutorPart::start(&mut ctx))),
            Part::Fencer => Running::Fencer(Box::new(FencerPart::start(&mut ctx))),
        };
        slot.running = Some(running);
        slot.frozen = 0;
        self.carry_out(index, part);
        if part == Part::Executor {
            let says = Message::ExecutorSays(ExecutorSays::Restarted);
            self.tell(index, Part::Ring, None, says);
        }
        self.turn(index);
    }

    /// SIGKILL.
    pub fn kill(&mut self, index: usize, part: Part) {
        let machine = &mut self.machines[index];
        let slot = machine.slots.entry(part).or_default();
        slot.frozen = 0;
        if slot.running.take().is_none() {
            return;
        }
        slot.life += 1;
        slot.inbox.clear();
        self.log.fact(Fact::Ends { node: machine.node, part });
        if part == Part::Ring {
            machine.disk.flush();
            self.tell(index, Part::Executor, None, Message::RingClosed);
            self.tell(index, Part::Fencer, None, Message::RingClosed);
            self.turn(index);
        }
    }

    /// SIGSTOP and SIGCONT.
    pub fn freeze(&mut self, index: usize, part: Part, frozen: bool) {
        let machine = &mut self.machines[index];
        let node = machine.node;
        let slot = machine.slots.entry(part).or_default();
        if frozen {
            slot.frozen += 1;
            if slot.frozen == 1 && slot.running.is_some() {
                self.log.fact(Fact::Freezes { node, part });
            }
        } else if slot.frozen > 0 {
            slot.frozen -= 1;
            if slot.frozen == 0 && slot.running.is_some() {
                self.log.fact(Fact::Thaws { node, part });
                self.turn(index);
            }
        }
    }

    /// Puts a message into a part's inbox, if that life of it is still there.
    pub fn tell(&mut self, index: usize, part: Part, life: Option<u64>, message: Message) {
        let slot = self.machines[index].slot(part);
        if slot.running.is_some()
            && life.is_none_or(|life| life == slot.life)
            && slot.inbox.len() < INBOX_MAX
        {
            slot.inbox.push_back(message);
        }
    }

    fn life(&mut self, index: usize, part: Part) -> u64 {
        self.machines[index].slot(part).life
    }

    /// Lets a machine work off what waits: messages first, then timers, as totem's driver is told to do.
    pub fn turn(&mut self, index: usize) {
        for _ in 0..TURNS_MAX {
            if self.log.violation.is_some() || !self.step(index) {
                self.expire(index);
                return self.sleep(index);
            }
        }
        let node = self.machines[index].node;
        let detail = format!("{TURNS_MAX} turns without time passing");
        self.log.fact(Fact::Assertion { node, invariant: "no busy loop", detail });
    }

    /// One message or timer of one part. False when there is nothing to do.
    fn step(&mut self, index: usize) -> bool {
        let machine = &mut self.machines[index];
        let local = machine.clock.local(self.now);
        let next = Part::ALL.into_iter().find_map(|part| {
            let slot = machine.slots.get_mut(&part)?;
            if slot.frozen > 0 || slot.running.is_none() {
                return None;
            }
            slot.inbox.pop_front().map(|message| (part, Some(message)))
        });
        let next = next.or_else(|| {
            Part::ALL.into_iter().find_map(|part| {
                let slot = machine.slots.get(&part)?;
                let running = slot.running.as_ref().filter(|_| slot.frozen == 0)?;
                running.wake().filter(|at| *at <= local).map(|_| (part, None))
            })
        });
        let Some((part, message)) = next else { return false };
        let mut ctx = Context {
            now: self.now,
            local,
            node: machine.node,
            clock: &machine.clock,
            kernel: &mut machine.kernel,
            params: &self.params,
            log: &mut self.log,
            effects: &mut self.effects,
        };
        let Some(running) = machine.slots.get_mut(&part).and_then(|slot| slot.running.as_mut())
        else {
            return false;
        };
        match message {
            Some(message) => running.handle(&mut ctx, message),
            None => running.handle_timeout(&mut ctx),
        }
        self.carry_out(index, part);
        true
    }

    fn sleep(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        let wake = machine
            .slots
            .values()
            .filter(|slot| slot.frozen == 0)
            .filter_map(|slot| slot.running.as_ref()?.wake())
            .min();
        let Some(wake) = wake else { return };
        let at = machine.clock.world(wake).max(self.now + 1);
        if machine.wake_at.is_none_or(|queued| at < queued) {
            machine.wake_at = Some(at);
            self.queue.push(at, Event::Wake(index));
        }
    }

    fn expire(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        let Some(at) = machine.kernel.expire(&mut self.log, self.now) else { return };
        if machine.expiry_at.is_none_or(|queued| at < queued) {
            machine.expiry_at = Some(at);
            self.queue.push(at, Event::Expire(index));
        }
    }

    // ---- effects --------------------------------------------------------------------------------------------------

    fn carry_out(&mut self, index: usize, part: Part) {
        let generation = self.machines[index].generation;
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            if self.machines[index].generation == generation {
                self.effect(index, part, effect);
            }
        }
        self.effects = effects;
    }

    fn effect(&mut self, index: usize, part: Part, effect: Effect) {
        match effect {
            Effect::Send { to, datagram } => {
                let arrivals = self.net.send(&mut self.dice, self.now, index, to, &datagram);
                for at in arrivals.into_iter().flatten() {
                    let bytes = Datagram::clone(&datagram);
                    self.queue.push(at, Event::Datagram { from: index, to, bytes });
                }
            }
            Effect::Write { name, bytes, then } => {
                let (least, most) = self.params.disk_us;
                let slow = self.machines[index].slow_disk > 0;
                let took = if slow { 300_000 } else { 0 } + self.dice.range(least, most);
                let life = self.life(index, Part::Ring);
                let machine = &mut self.machines[index];
                let write = machine.disk.write(name, bytes);
                let generation = machine.generation;
                let event = Event::Disk { machine: index, generation, life, write, then };
                self.queue.push(self.now + took, event);
            }
            Effect::Probe { node } => self.probe(index, node),
            Effect::Drive(call) => {
                let life = self.life(index, Part::Executor);
                let moods = &self.machines[index].moods;
                for (delay, message) in service::drive(&mut self.dice, moods, &call) {
                    let part = Part::Executor;
                    let event = Event::Part { machine: index, part, life, message };
                    self.queue.push(self.now + delay, event);
                }
            }
            Effect::Session(call) => self.log_in(index, &call),
            Effect::Transmit { call, target, action } => {
                let life = self.life(index, Part::Fencer);
                let at = self.now + self.dice.range(200, 5_000);
                let target = index_of(target);
                self.queue.push(at, Event::Bmc { by: index, life, call, target, action });
            }
            Effect::Tell(part, message) => self.tell(index, part, None, message),
            Effect::Reboot => {
                self.power_off(index, PowerLoss::SelfFence);
                self.power_on(index);
            }
            Effect::Exit => {
                self.kill(index, part);
                let generation = self.machines[index].generation;
                let at = self.now + self.dice.range(500_000, 2_000_000);
                self.queue.push(at, Event::Start { machine: index, part, generation });
            }
        }
    }

    fn arrive(&mut self, from: usize, to: usize, bytes: Datagram) {
        let machine = &mut self.machines[to];
        if !machine.powered {
            return;
        }
        if machine.is_there(Part::Ring) {
            self.tell(to, Part::Ring, None, Message::Datagram { from, bytes });
            if self.machines[to].is_lively(Part::Ring) {
                self.turn(to);
            }
        } else if self.net.is_open(to, from) {
            let node = self.machines[to].node;
            self.tell(from, Part::Ring, None, Message::Unreachable(node));
            self.turn(from);
        }
    }

    /// Three tries in 100 ms each.
    fn probe(&mut self, index: usize, node: NodeId) {
        let target = index_of(node);
        let open = self.net.is_open(index, target) && self.net.is_open(target, index);
        let (verdict, took) = if !open || !self.machines[target].powered {
            (Verdict::Silent, 300_000)
        } else if self.machines[target].is_there(Part::Ring) {
            (Verdict::PortOpen, self.dice.range(300, 3_000))
        } else {
            (Verdict::PortClosed, self.dice.range(300, 3_000))
        };
        let life = self.life(index, Part::Ring);
        let message = Message::Probed { node, verdict };
        let event = Event::Part { machine: index, part: Part::Ring, life, message };
        self.queue.push(self.now + took, event);
    }

    fn log_in(&mut self, index: usize, call: &fencing::DeviceCall) {
        let life = self.life(index, Part::Fencer);
        let bmc = &self.machines[index_of(call.target)];
        let within = u64::try_from(call.within.as_micros()).unwrap_or(u64::MAX);
        let (took, message) = if bmc.bmc.answers(bmc.mains, self.params.bmc_shares_power) {
            let (least, most) = self.params.bmc_us;
            let slow = if bmc.bmc.slow > 0 { self.dice.range(500_000, 15_000_000) } else { 0 };
            (slow + self.dice.range(least, most), Message::LoggedIn(call.id))
        } else {
            let silence = Err(DeviceError::Unreachable);
            (SILENCE_US.min(within), Message::Closed(call.id, silence))
        };
        let event = Event::Part { machine: index, part: Part::Fencer, life, message };
        self.queue.push(self.now + took, event);
    }

    fn bmc(
        &mut self,
        by: usize,
        life: u64,
        call: fencing::CallId,
        target: usize,
        action: DeviceAction,
    ) {
        let machine = &self.machines[target];
        let node = machine.node;
        let answers = machine.bmc.answers(machine.mains, self.params.bmc_shares_power);
        let lost = self.dice.chance(30);
        let state = reading(machine.powered);
        let generation = machine.generation;
        let mut answer = Ok(session_answer(action, state));
        if answers {
            match action {
                DeviceAction::Read => {
                    let by = self.machines[by].node;
                    let call = call.0;
                    self.log.fact(Fact::Read { by, target: node, call, said: state, truth: state });
                }
                DeviceAction::SwitchOff => {
                    let at = self.now + self.params.bmc_off_us;
                    self.machines[target].wants_on = false;
                    self.machines[target].bmc.off_at = Some(at);
                    self.queue.push(at, Event::PowerEffect { machine: target, generation });
                }
                DeviceAction::SwitchOn if self.machines[target].mains => self.power_on(target),
                DeviceAction::SwitchOn => {
                    answer = Err(DeviceError::Refused("no power".into()));
                }
            }
        }
        let (took, result) = if answers && !lost {
            (self.dice.range(200, 5_000), answer)
        } else {
            (SILENCE_US, Err(DeviceError::Unreachable))
        };
        let message = Message::Closed(call, result);
        let event = Event::Part { machine: by, part: Part::Fencer, life, message };
        self.queue.push(self.now + took, event);
    }

    // ---- people and time ------------------------------------------------------------------------------------------

    /// Somebody asks one of the agents that answer, the own one first.
    pub fn request(&mut self, own: usize, kind: RequestKind) {
        let lively: Vec<usize> =
            (0..self.machines.len()).filter(|i| self.machines[*i].is_lively(Part::Ring)).collect();
        let at = if lively.contains(&own) { Some(own) } else { lively.first().copied() };
        if let Some(at) = at {
            self.log.fact(Fact::Note(format!("request at {}: {kind:?}", self.machines[at].node)));
            self.tell(at, Part::Ring, None, Message::Request(kind));
            self.turn(at);
        }
    }

    fn tick(&mut self) {
        self.queue.push(self.now + TICK_US, Event::Tick);
        self.log.event(self.events);
        for index in 0..self.machines.len() {
            self.watchdog(index);
            let machine = &mut self.machines[index];
            if !machine.is_lively(Part::Ring) {
                continue;
            }
            let node = machine.node;
            let wall = machine.clock.wall_s(self.now);
            let slot = machine.slot(Part::Ring);
            if let Some(ring) = slot.running.as_ref().and_then(Running::as_ring) {
                let (quorate, era) = (ring.quorate(), ring.era());
                self.log.fact(Fact::Claims { node, quorate, era });
            }
            if self.now % 1_000_000 < TICK_US {
                self.tell(index, Part::Ring, None, Message::Wall(wall));
                self.turn(index);
            }
        }
    }

    fn watchdog(&mut self, index: usize) {
        let now = self.now;
        let machine = &mut self.machines[index];
        if !machine.powered || !self.params.self_fencing || now < machine.fed_at {
            return;
        }
        let answers = machine
            .slots
            .get(&Part::Executor)
            .and_then(|slot| slot.running.as_ref()?.as_executor())
            .is_some_and(ExecutorPart::answers_watchdog);
        let loop_passed = cfg!(feature = "sabotage-watchdog-by-timer")
            || (machine.is_lively(Part::Ring) && machine.is_lively(Part::Executor) && answers);
        if loop_passed && machine.is_lively(Part::Fencer)
            || cfg!(feature = "sabotage-watchdog-by-timer")
        {
            machine.fed_at = now;
        } else if now - machine.fed_at > self.params.watchdog_us {
            self.power_off(index, PowerLoss::Watchdog);
            self.power_on(index);
        }
    }
}
