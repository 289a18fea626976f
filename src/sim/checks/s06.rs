//! S6: never fence a majority: those that are neither the target nor that of an open operation would be quorate; and at
//! most so many power-offs of one node in a window.

use std::collections::{BTreeMap, BTreeSet};

use base::{NodeId, RingId};
use fencing::DeviceAction;

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

#[derive(Debug, Default)]
pub(super) struct S06 {
    /// Incidents under which a command was sent, by node, with the time of the first.
    sent: BTreeMap<NodeId, BTreeMap<RingId, Time>>,
    incident: BTreeMap<(NodeId, NodeId), RingId>,
}

impl Check for S06 {
    const ID: &'static str = "S6";

    //= SAFETY.md#S6
    fn observe(&mut self, at: Time, fact: &Fact, truth: &Truth) -> Result<(), String> {
        match fact {
            Fact::FenceAsked { by, incident, .. } => {
                self.incident.insert((*by, incident.node), incident.ring);
            }
            Fact::FenceSent { by, target, action: DeviceAction::SwitchOff, .. } => {
                let members: BTreeSet<NodeId> = truth
                    .node(*by)
                    .ring
                    .iter()
                    .flat_map(|(_, members, _)| members.iter().map(|m| m.node))
                    .filter(|node| node != target)
                    .collect();
                if !truth.setup.is_majority(members.len()) {
                    return Err(format!("{by} fences {target}; only {members:?} are left"));
                }
                if let Some(ring) = self.incident.get(&(*by, *target)) {
                    let (times, window) = truth.setup.budget;
                    let sent = self.sent.entry(*target).or_default();
                    sent.entry(*ring).or_insert(at);
                    sent.retain(|_, first| at - *first < window);
                    if sent.len() > usize::from(times) {
                        return Err(format!("{target} is fenced for the {}. time", sent.len()));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
