//! What became of the power-offs that this member's own fencer was given (CLUSTER.md section 6, *Closing*).
//!
//! Invariants: a command is over only when it is known to have ended, and then either with a machine that reads as off in a
//! session after its own, or without having been sent; of all others the deadline tells. Nothing here survives the process: a
//! later life says nothing of the commands of an earlier one.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use base::{Instant, NodeId, RingId};
use fencing::{FenceCommand, FenceResult, PowerGoal, PowerState};

use crate::{FencerDo, Output, member::Member, state::Debt, wire::Message};

/// Power-offs of this member, by their targets.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    given: BTreeMap<NodeId, Given>,
    /// Targets of which it was said in that ring that these are over.
    said: BTreeSet<(RingId, NodeId)>,
}

/// Those against one machine that may still take effect.
#[derive(Clone, Copy, Debug)]
struct Given {
    /// Their ends were not heard: those of a fencer that ended never are.
    open: u32,
    /// One ended after it was sent, and not with a machine that reads as off.
    unsure: bool,
    /// Whatever became of those that ended: by then none can take effect any more.
    until: Instant,
}

impl Commands {
    /// One goes to the fencer, which answers each exactly once.
    pub(crate) fn given(&mut self, target: NodeId, until: Instant) {
        let given = self.given.entry(target).or_insert(Given { open: 0, unsure: false, until });
        given.open = given.open.saturating_add(1);
        given.until = given.until.max(until);
    }

    /// The fencer answered.
    pub(crate) fn ended(&mut self, result: &FenceResult) {
        if result.goal == PowerGoal::Off
            && let Some(given) = self.given.get_mut(&result.incident.node)
        {
            given.open = given.open.saturating_sub(1);
            given.unsure |= result.commanded && result.outcome != Ok(PowerState::Off);
        }
    }

    /// It waited here until it was void.
    pub(crate) fn not_sent(&mut self, command: &FenceCommand) {
        if command.goal == PowerGoal::Off
            && let Some(given) = self.given.get_mut(&command.incident.node)
        {
            given.open = given.open.saturating_sub(1);
        }
    }
}

impl Member {
    /// What was to be carried out after a gap is void.
    pub(crate) fn forget_held(&mut self) {
        for (_, output) in core::mem::take(&mut self.held) {
            if let Output::Fencer(FencerDo::Carry(command)) = &output {
                self.commands.not_sent(command);
            }
        }
    }

    /// Where the debt of a target is paid nothing more is sent to it; once all that was is over, this member says so.
    pub(crate) fn say_commands_over(&mut self, now: Instant) {
        self.commands
            .given
            .retain(|_, given| given.open > 0 || (given.unsure && now < given.until));
        let (Some(ring), true) = (self.ring_id(), self.era_open()) else { return };
        self.commands.said.retain(|(of, _)| *of == ring);
        let Some(state) = &self.state else { return };
        let me = (self.config.me, self.config.incarnation);
        let over: Vec<NodeId> = state
            .evicted
            .iter()
            .filter(|(node, eviction)| {
                let paid = matches!(state.voters.get(*node).map(|v| v.debt), Some(Debt::Paid));
                paid && eviction.commanders.contains(&me)
            })
            .map(|(node, _)| *node)
            .filter(|node| !self.commands.given.contains_key(node))
            .collect();
        for node in over {
            if self.commands.said.insert((ring, node)) {
                self.say(&Message::CommandsOver { node });
            }
        }
    }
}
