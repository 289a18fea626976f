//! S3: nothing exclusive is started before every voter outside the era has let go, by evidence that is younger than
//! the last time at which it could have started something. Worked out again from facts: what the coordinator took for
//! evidence is not looked at.

use std::collections::{BTreeMap, BTreeSet};

use base::{ConfigurationKind, NodeId, ResourceId, RingId};
use lifecycle::Operation;

use super::Check;
use crate::{
    fact::{Fact, Part},
    queue::Time,
    truth::Truth,
};

/// Rings whose members are remembered.
const RINGS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct S03 {
    members: BTreeMap<RingId, BTreeSet<NodeId>>,
}

impl Check for S03 {
    const ID: &'static str = "S3";

    //= SAFETY.md#S3
    fn observe(&mut self, at: Time, fact: &Fact, truth: &Truth) -> Result<(), String> {
        match fact {
            Fact::Installed { kind: ConfigurationKind::Regular, ring, members, .. } => {
                self.members.insert(*ring, members.iter().map(|m| m.node).collect());
                while self.members.len() > RINGS_MAX {
                    self.members.pop_first();
                }
            }
            Fact::Began {
                node,
                resource,
                operation: Operation::Start | Operation::Promote,
                order: Some((epoch, _)),
                exclusive: true,
            } => return self.start(at, *node, resource, epoch.ring, truth),
            _ => {}
        }
        Ok(())
    }
}

impl S03 {
    fn start(
        &self,
        at: Time,
        node: NodeId,
        resource: &ResourceId,
        ring: RingId,
        truth: &Truth,
    ) -> Result<(), String> {
        let Some(members) = self.members.get(&ring) else {
            return Err(format!("{resource} starts on {node} in {ring}, which nobody installed"));
        };
        // restart or move of what a present member reported in this era, after its stop ended in this era
        if truth.let_go(ring, resource) {
            return Ok(());
        }
        for voter in truth.setup.voters.iter().filter(|voter| !members.contains(voter)) {
            if !has_evidence(at, *voter, truth) {
                return Err(format!(
                    "{resource} starts on {node} in {ring}, but {voter} owes evidence: it could act at {:?}, evidence {:?}",
                    truth.node(*voter).acted_at,
                    truth.node(*voter).evidence_at,
                ));
            }
        }
        Ok(())
    }
}

/// Whether evidence is younger than the last epoch in which this voter could act.
fn has_evidence(at: Time, voter: NodeId, truth: &Truth) -> bool {
    let seen = truth.node(voter);
    let acted = seen.acted_at;
    // off and nobody knows is no evidence; off and on again shows by its boot id
    let younger = |kind: &Time| acted.is_none_or(|acted| *kind >= acted);
    if seen.evidence_at.values().any(younger) {
        return true;
    }
    // the bound counts from the last token that the member can have acted on
    let silent = at.saturating_sub(seen.token_at);
    // a suspended machine stops nothing by itself and its watchdog is disarmed: no bound ever passes
    let alone = !seen.suspended
        && (!seen.powered || !seen.parts.contains(&Part::Ring) || seen.ring.is_some());
    truth.setup.self_fencing
        && truth.setup.stops_without_quorum
        && alone
        && silent >= truth.setup.t_assume_us
}
