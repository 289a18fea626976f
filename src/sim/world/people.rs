//! What comes from outside the agents: people's requests, ticks of the clock, the watchdog.

use base::faulty::{Rule, broken};
use cluster::RequestKind;

use super::{Event, TICK_US, World};
use crate::{
    fact::{Fact, Part, PowerLoss},
    node::{ExecutorPart, Message, Running},
};

/// Longest time after which a member is told what the API server showed.
const TOLD_LATE_US: u64 = 3_000_000;
/// Datagrams lost, in 1000, at which a token of three members seldom comes round.
const ROUGH_LOSS: u32 = 200;

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

    /// Somebody edits objects.
    pub(super) fn edit(&mut self) {
        let what = self.api.edit(&mut self.dice);
        self.log.fact(Fact::Note(format!("API: {what}")));
        self.publish();
    }

    /// All members are told what the API server shows, each in its own time.
    pub fn publish(&mut self) {
        for machine in 0..self.machines.len() {
            self.show(machine);
        }
    }

    /// Whoever listens to the server lists again now and then: what was told late is not the last word.
    pub fn publish_at_last(&mut self) {
        for machine in 0..self.machines.len() {
            let revision = Box::new(self.api.newest().clone());
            self.queue.push(self.now + TOLD_LATE_US, Event::Shown { machine, revision });
        }
    }

    /// One member is told; late, so that what comes later may come before it.
    pub(super) fn show(&mut self, machine: usize) {
        let Some(revision) = self.api.shown() else { return };
        let revision = Box::new(revision.clone());
        let at = self.now + self.dice.range(50_000, TOLD_LATE_US);
        self.queue.push(at, Event::Shown { machine, revision });
    }

    pub(super) fn tick(&mut self) {
        self.queue.push(self.now + TICK_US, Event::Tick);
        self.log.event(self.events);
        if self.net.weather.loss >= ROUGH_LOSS {
            self.log.truth.rough_at = self.now;
        }
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
                let cluster::Status { quorate, era, revision, .. } = ring.status();
                let accepted = revision.map_or((0, Vec::new()), |revision| {
                    let objects = revision.objects.into_iter();
                    (revision.accepted, objects.map(|(_, uid, of)| (uid, of)).collect())
                });
                self.log.fact(Fact::Claims { node, quorate, era, accepted });
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
        // disarmed; it counts anew from when it is armed again
        let by_timer = by_timer || machine.kernel.watchdog_off;
        let loop_passed = answers && Part::ALL.into_iter().all(|part| machine.is_lively(part));
        if by_timer || loop_passed {
            machine.fed_at = now;
        } else if now - machine.fed_at > self.params.watchdog_us {
            self.power_off(index, PowerLoss::Watchdog);
            self.power_on(index);
        }
    }
}
