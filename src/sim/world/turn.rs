//! One machine's turn: its parts work off what waits for them until there is nothing left, then it sleeps.

use super::{Event, World};
use crate::{
    fact::{Fact, Part},
    node::{Context, Message},
};

/// Turns of one machine without time passing; more is a busy loop in a core.
const TURNS_MAX: u32 = 20_000;

impl World {
    pub(super) fn life(&mut self, index: usize, part: Part) -> u64 {
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
        // a connection that was given up meanwhile closes after what came through it
        let mut closed = false;
        let next = Part::ALL.into_iter().find_map(|part| {
            let slot = machine.slots.get_mut(&part)?;
            if slot.frozen > 0 || slot.running.is_none() {
                return None;
            }
            let message = slot.inbox.pop_front().or_else(|| {
                closed = slot.cut_off;
                closed.then_some(Message::RingClosed)
            });
            message.map(|message| (part, Some(message)))
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
        if closed {
            self.machines[index].slot(part).cut_off = false;
            self.tell(index, Part::Ring, None, Message::Connected(part));
        }
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

    pub(super) fn expire(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        let Some(at) = machine.kernel.expire(&mut self.log, self.now) else { return };
        if machine.expiry_at.is_none_or(|queued| at < queued) {
            machine.expiry_at = Some(at);
            self.queue.push(at, Event::Expire(index));
        }
    }
}
