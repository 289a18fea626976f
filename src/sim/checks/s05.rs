//! S5: a component without quorum fences nobody: whoever sends a command has a majority in its installed
//! configuration at that moment.

use fencing::DeviceAction;

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

#[derive(Debug, Default)]
pub(super) struct S05;

impl Check for S05 {
    const ID: &'static str = "S5";

    //= SAFETY.md#S5
    fn observe(&mut self, _at: Time, fact: &Fact, truth: &Truth) -> Result<(), String> {
        let Fact::FenceSent { by, target, action: DeviceAction::SwitchOff, .. } = fact else {
            return Ok(());
        };
        let members = truth.node(*by).ring.as_ref().map_or(0, |(_, members, _)| members.len());
        if truth.setup.is_majority(members) {
            Ok(())
        } else {
            Err(format!("{by} fences {target} with {members} members in its configuration"))
        }
    }
}
