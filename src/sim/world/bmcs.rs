//! Sessions with BMCs, and what they do to machines.

use fencing::{DeviceAction, DeviceError};

use super::{Event, World};
use crate::{
    bmc::{SILENCE_US, reading},
    fact::{Fact, Part},
    node::{Message, session_answer},
    params::{index_of, uuid},
};

impl World {
    pub(super) fn log_in(&mut self, index: usize, call: &fencing::DeviceCall) {
        let life = self.life(index, Part::Fencer);
        let bmc = &self.machines[index_of(call.target)];
        let within = u64::try_from(call.within.as_micros()).unwrap_or(u64::MAX);
        let (took, message) = if bmc.bmc.answers(bmc.mains, self.params.bmc_shares_power) {
            let (least, most) = self.params.bmc_us;
            let slow = if bmc.bmc.slow > 0 { self.dice.range(500_000, 15_000_000) } else { 0 };
            let took = slow + self.dice.range(least, most);
            let meant = index_of(call.target);
            let reached = self.machines[meant].bmc.crossed.last().copied().unwrap_or(meant);
            // the driver compares what the device reports with what was enrolled
            match call.device.identity {
                Some(identity) if identity != uuid(reached) => {
                    let wrong = DeviceError::WrongIdentity(format!("{:?}", uuid(reached)));
                    (took, Message::Closed(call.id, Err(wrong)))
                }
                _ => (took, Message::LoggedIn(call.id)),
            }
        } else {
            let silence = Err(DeviceError::Unreachable);
            (SILENCE_US.min(within), Message::Closed(call.id, silence))
        };
        let event = Event::Part { machine: index, part: Part::Fencer, life, message };
        self.queue.push(self.now + took, event);
    }

    pub(super) fn bmc(
        &mut self,
        by: usize,
        life: u64,
        call: fencing::CallId,
        target: usize,
        action: DeviceAction,
    ) {
        let machine = &self.machines[target];
        let node = machine.node;
        let stuck = machine.bmc.stuck > 0;
        let answers = machine.bmc.answers(machine.mains, self.params.bmc_shares_power);
        let lost = self.dice.chance(if machine.bmc.loses_answers > 0 { 800 } else { 30 });
        let state = reading(machine.powered);
        let generation = machine.generation;
        let mut answer = Ok(session_answer(action, state));
        if answers {
            if action != DeviceAction::Read {
                // cables that were crossed after the login change nothing: the session goes on with the same device
                let by = self.machines[by].node;
                self.log.fact(Fact::Reached { by, target: node, reached: node });
            }
            match action {
                DeviceAction::Read => {
                    let by = self.machines[by].node;
                    let call = call.0;
                    self.log.fact(Fact::Read { by, target: node, call, said: state, truth: state });
                }
                DeviceAction::SwitchOff if stuck => {}
                DeviceAction::SwitchOff => {
                    let at = self.now + self.params.bmc_off_us;
                    self.machines[target].wants_on = false;
                    self.machines[target].bmc.off_at = Some(at);
                    self.queue.push(at, Event::PowerEffect { machine: target, generation });
                }
                DeviceAction::SwitchOn if self.machines[target].mains => {
                    // what was not carried out yet is taken back
                    self.machines[target].bmc.off_at = None;
                    self.power_on(target);
                }
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
}
