//! Machines get and lose their power; parts of agents start, die, stop and go on.

use super::{Event, World};
use crate::{
    fact::{Fact, Part, PowerLoss},
    machine::INBOX_MAX,
    node::{Context, ExecutorPart, FencerPart, Message, RingPart, Running, Way},
};

impl World {
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
            slot.cut_off = false;
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
        if part == Part::Ring {
            self.show(index);
        }
        if part != Part::Ring {
            self.tell(index, Part::Ring, None, Message::Connected(part));
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
        slot.cut_off = false;
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
        if slot.running.is_none() || life.is_some_and(|life| life != slot.life) {
            return;
        }
        let full = slot.inbox.len() >= INBOX_MAX;
        match message.way() {
            Way::Connection if full || slot.cut_off => slot.cut_off = true,
            Way::Datagram if full => {}
            _ => slot.inbox.push_back(message),
        }
    }
}
