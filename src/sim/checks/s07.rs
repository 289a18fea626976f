//! S7: a fencing command is not sent after its deadline, nor at a machine that has been a healthy member for more than
//! two seconds.

use fencing::DeviceAction;

use super::Check;
use crate::{
    fact::{Fact, Part},
    queue::Time,
    truth::Truth,
};

/// How long a member must have been healthy.
const HEALTHY_US: Time = 2_000_000;

#[derive(Debug, Default)]
pub(super) struct S07;

impl Check for S07 {
    const ID: &'static str = "S7";

    //= SAFETY.md#S7
    fn observe(&mut self, at: Time, fact: &Fact, truth: &Truth) -> Result<(), String> {
        let Fact::FenceSent { by, target, action: DeviceAction::SwitchOff, late, .. } = fact else {
            return Ok(());
        };
        if *late {
            return Err(format!("{by} fences {target} after the deadline of the command"));
        }
        let seen = truth.node(*target);
        let own = truth.node(*by).ring.as_ref().map(|(ring, ..)| *ring);
        let lively =
            Part::ALL.iter().all(|p| seen.parts.contains(p) && !seen.frozen.contains_key(p));
        if let Some((epoch, true, since)) = seen.epoch
            && lively
            && own.is_none_or(|own| own <= epoch.ring)
            && at - since > HEALTHY_US
        {
            return Err(format!(
                "{by} fences {target}, which has been a member of {} since {since} us",
                epoch.ring
            ));
        }
        Ok(())
    }
}
