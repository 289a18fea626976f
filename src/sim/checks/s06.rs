//! S6: never fence a majority: those that are neither the target nor that of an open operation would be quorate; at most so
//! many power-offs of one node in a window; and one power-off for one incident: what evidence has paid for is not shot
//! again, whoever loses power meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use base::{ConfigurationKind, NodeId, RingId};
use fencing::{DeviceAction, PowerGoal};
use lifecycle::Operation;

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

#[derive(Debug, Default)]
pub(super) struct S06 {
    /// Incidents under which a command was sent, by node, with the time of the first.
    sent: BTreeMap<NodeId, BTreeMap<RingId, Time>>,
    /// Incident of the last command by executor and target, and when it was handed in.
    incident: BTreeMap<(NodeId, NodeId), (RingId, Time)>,
    /// Since when evidence has been in effect: something was started on the strength of it. Until it is a member again.
    paid: BTreeMap<NodeId, Time>,
}

impl Check for S06 {
    const ID: &'static str = "S6";

    //= SAFETY.md#S6
    fn observe(&mut self, at: Time, fact: &Fact, truth: &Truth) -> Result<(), String> {
        match fact {
            Fact::Installed { kind: ConfigurationKind::Regular, members, .. } => {
                self.paid.retain(|node, _| members.iter().all(|m| m.node != *node));
            }
            Fact::Began {
                node,
                resource,
                operation: Operation::Start | Operation::Promote,
                order: Some((epoch, _)),
                exclusive: true,
            } if !truth.let_go(epoch.ring, resource) => self.pay(at, *node, epoch.ring, truth),
            Fact::FenceAsked { by, incident, goal: PowerGoal::Off, .. } => {
                let asked = (incident.ring, at);
                let known = self.incident.entry((*by, incident.node)).or_insert(asked);
                if known.0 != incident.ring {
                    *known = asked;
                }
            }
            Fact::FenceSent { by, target, action: DeviceAction::SwitchOff, .. } => {
                return self.shot(at, *by, *target, truth);
            }
            _ => {}
        }
        Ok(())
    }
}

impl S06 {
    /// An exclusive start: nobody outside the configuration owes any more.
    fn pay(&mut self, at: Time, node: NodeId, ring: RingId, truth: &Truth) {
        let Some((installed, members, _)) = &truth.node(node).ring else { return };
        if *installed != ring {
            return;
        }
        for voter in &truth.setup.voters {
            if members.iter().all(|m| m.node != *voter) {
                self.paid.entry(*voter).or_insert(at);
            }
        }
    }

    fn shot(&mut self, at: Time, by: NodeId, target: NodeId, truth: &Truth) -> Result<(), String> {
        let members: BTreeSet<NodeId> = truth
            .node(by)
            .ring
            .iter()
            .flat_map(|(_, members, _)| members.iter().map(|m| m.node))
            .filter(|node| *node != target)
            .collect();
        if !truth.setup.is_majority(members.len()) {
            return Err(format!("{by} fences {target}; only {members:?} are left"));
        }
        let Some((ring, asked)) = self.incident.get(&(by, target)) else { return Ok(()) };
        if let Some(paid) = self.paid.get(&target).filter(|paid| **paid < *asked) {
            return Err(format!(
                "{by} fences {target} once more: evidence has been in effect since {paid} us, and it has not been a member since"
            ));
        }
        let (times, window) = truth.setup.budget;
        let sent = self.sent.entry(target).or_default();
        sent.entry(*ring).or_insert(at);
        sent.retain(|_, first| at - *first < window);
        if sent.len() > usize::from(times) {
            return Err(format!("{target} is fenced for the {}. time", sent.len()));
        }
        Ok(())
    }
}
