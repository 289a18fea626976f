//! Sessions with BMCs, and what they do to machines.

use fencing::{DeviceAction, DeviceError};

use super::{Event, World};
use crate::{
    bmc::{SILENCE_US, reading},
    fact::{Fact, Part},
    node::{Message, session_answer},
    params::index_of,
};

impl World {
    pub(super) fn log_in(&mut self, index: usize, call: &fencing::DeviceCall) {
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
}
