//! S4: "off" is said only after a status read that says off, in a session that was opened after the last command
//! against the machine was sent; and what was read is true.

use std::collections::BTreeMap;

use base::NodeId;
use fencing::{DeviceAction, PowerGoal, PowerState};

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

#[derive(Clone, Copy, Debug, Default)]
struct Work {
    /// Number of the last command.
    sent: u64,
    /// Number of the session of the last read that said off.
    off_read: u64,
}

#[derive(Debug, Default)]
pub(super) struct S04 {
    work: BTreeMap<(NodeId, NodeId), Work>,
}

impl Check for S04 {
    const ID: &'static str = "S4";

    //= SAFETY.md#S4
    fn observe(&mut self, _at: Time, fact: &Fact, _truth: &Truth) -> Result<(), String> {
        match fact {
            Fact::FenceSent { by, target, call, action: DeviceAction::SwitchOff, .. } => {
                self.work.entry((*by, *target)).or_default().sent = *call;
            }
            Fact::Read { by, target, call, said, truth } => {
                let work = self.work.entry((*by, *target)).or_default();
                if *said == PowerState::Off {
                    work.off_read = *call;
                }
                if said != truth {
                    return Err(format!("the BMC of {target} lied without being told to"));
                }
            }
            Fact::FenceEnded { by, incident, goal: PowerGoal::Off, off: true, .. } => {
                // sessions are numbered as they are opened
                let work = self.work.remove(&(*by, incident.node)).unwrap_or_default();
                if work.off_read == 0 || work.off_read <= work.sent {
                    return Err(format!(
                        "{by} says that {} is off without a read after its command",
                        incident.node
                    ));
                }
            }
            Fact::Ends { node, part: crate::fact::Part::Fencer } | Fact::PowerOff { node, .. } => {
                self.work.retain(|(by, _), _| by != node);
            }
            _ => {}
        }
        Ok(())
    }
}
