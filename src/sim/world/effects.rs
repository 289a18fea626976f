//! What parts want from the world: datagrams, writes, probes, drivers.

use base::NodeId;
use cluster::Verdict;

use super::{Event, World};
use crate::{
    fact::{Part, PowerLoss},
    net::Datagram,
    node::{Effect, Message},
    params::index_of,
    service,
};

impl World {
    pub(super) fn carry_out(&mut self, index: usize, part: Part) {
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

    pub(super) fn arrive(&mut self, from: usize, to: usize, bytes: Datagram) {
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
}
