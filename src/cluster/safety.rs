//! Assertions that stay on in release builds (SAFETY.md 2.1): S3, S5, S7, S14, S16.
//!
//! Invariants: each is written apart from the rule that it watches, over the state as it is when something is about to be
//! done; a failed one does not happen and sends the member to the safe state.

use alloc::{format, string::String};

use base::{NodeId, Role};
use lifecycle::{Operation, Order};

use crate::faulty::{Rule, broken};
use crate::state::{Debt, State};

/// A failed assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) invariant: &'static str,
    pub(crate) detail: String,
}

fn fails(invariant: &'static str, detail: String) -> Result<(), Broken> {
    Err(Broken { invariant, detail })
}

/// S3: right before an order goes to the executor. `state` has applied the decision.
pub(crate) fn may_carry(state: &State, me: NodeId, order: &Order) -> Result<(), Broken> {
    let acquires = matches!(order.operation, Operation::Start | Operation::Promote);
    if !acquires || !order.exclusive || broken(Rule::NoFencing) {
        return Ok(());
    }
    let promotion = order.operation == Operation::Promote;
    let local = state.known.contains(&(order.resource.clone(), promotion));
    for (node, voter) in &state.voters {
        let inside = state.members.contains_key(node);
        if !inside && voter.debt != Debt::Paid && !local {
            return fails(
                "S3",
                format!("{:?} of {} while {node} owes evidence", order.operation, order.resource),
            );
        }
    }
    for (node, member) in &state.members {
        if !member.left && !member.reported {
            return fails("S3", format!("{} before {node} reported", order.resource));
        }
        let held = state.instances.get(&(order.resource.clone(), *node));
        let runs = held.is_some_and(|i| match i.role {
            None => true,
            Some(role) => role == Role::Promoted || (role.is_active() && !promotion),
        });
        let one = !promotion || state.promoted_max(&order.resource) <= 1;
        if *node != me && !member.left && runs && one && !broken(Rule::StartBeforeStop) {
            return fails("S3", format!("{} may run on {node}", order.resource));
        }
    }
    Ok(())
}

/// S5 and S7: right before a command goes to the fencer.
pub(crate) fn may_fence(state: &State, quorate: bool, target: NodeId) -> Result<(), Broken> {
    let voters = state.members.keys().filter(|n| state.voters.contains_key(n)).count();
    if !quorate || voters * 2 <= state.voters.len() {
        return fails("S5", format!("fence of {target} by {voters} of {}", state.voters.len()));
    }
    if state.members.contains_key(&target) {
        return fails("S7", format!("fence of the member {target}"));
    }
    Ok(())
}

/// S14: a decision of this member was applied; the one before it came from an older input.
pub(crate) fn decided_once(before: Option<u64>, input: u64) -> Result<(), Broken> {
    if before.is_some_and(|last| last >= input) {
        return fails("S14", format!("two decisions from input {input}"));
    }
    Ok(())
}

impl State {
    /// How many promoted copies the revision allows.
    pub(crate) fn promoted_max(&self, resource: &base::ResourceId) -> u16 {
        let of = self.revision.as_ref().and_then(|r| r.primitive(resource));
        of.map_or(1, |(placement, _)| placement.promoted_max())
    }
}
