//! What comes from outside the agents: people's requests, ticks of the clock, the watchdog.

use base::faulty::{Rule, broken};
use cluster::RequestKind;

use super::{Event, TICK_US, World};
use crate::{
    fact::{Fact, Part, PowerLoss},
    node::{ExecutorPart, Message, Running},
};

impl World {
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

    pub(super) fn tick(&mut self) {
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
                let cluster::Status { quorate, era, .. } = ring.status();
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
        let by_timer = broken(Rule::WatchdogByTimer);
        let loop_passed = answers && Part::ALL.into_iter().all(|part| machine.is_lively(part));
        if by_timer || loop_passed {
            machine.fed_at = now;
        } else if now - machine.fed_at > self.params.watchdog_us {
            self.power_off(index, PowerLoss::Watchdog);
            self.power_on(index);
        }
    }
}
