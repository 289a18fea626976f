//! What became of the power-offs that this member's own fencer was given (CLUSTER.md section 6, *Closing*).
//!
//! Invariants: a command is over only when it is known to have ended, and then either with a machine that reads as off in a
//! session after its own, or without having been sent; of all others the deadline tells. Nothing here survives the process: a
//! later life says nothing of the commands of an earlier one.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use base::{Incarnation, Instant, NodeId, RingId};
use fencing::{FenceCommand, FenceResult, Incident, PowerGoal, PowerState};
use serde::{Deserialize, Serialize};

use crate::{
    FencerDo, Output,
    member::Member,
    state::{Debt, State},
    wire::Message,
};

/// What the state knows of power-offs, beside its evictions and records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Commanded {
    /// By the target of an eviction: who was ordered to power it off, in which life, and has not said that no command of that
    /// life can take effect any more; twice where it was ordered more than once. One without an entry comes from a version that
    /// does not count: its deadline tells.
    commanders: BTreeMap<NodeId, Vec<(NodeId, Incarnation)>>,
    /// Power-offs that were ordered and not said to have not been sent.
    ordered: BTreeMap<Incident, u32>,
    /// Incidents whose machine went on by itself while a power-off may be on its way to it: to be switched on when their
    /// eviction is closed.
    on_later: BTreeSet<Incident>,
}

impl Commanded {
    /// An eviction begins: nobody was ordered yet.
    pub(crate) fn begin(&mut self, target: NodeId) {
        self.commanders.insert(target, Vec::new());
    }

    /// One more is ordered to, in the life that it has as a member; one that is none can never say that it is over.
    pub(crate) fn by(&mut self, target: NodeId, who: NodeId, life: Option<Incarnation>) {
        let Some(life) = life else {
            self.commanders.remove(&target);
            return;
        };
        if let Some(commanders) = self.commanders.get_mut(&target)
            && commanders.iter().filter(|commander| **commander == (who, life)).count() < 2
        {
            commanders.push((who, life));
        }
    }

    /// Evidence was read by who had commanded it. Where only one command was ever ordered under this eviction, that is its end,
    /// and says as much as its sender's own word; this one is in the evidence, and outlives the sender.
    pub(crate) fn proven(&mut self, target: NodeId) {
        if let Some(commanders) = self.commanders.get_mut(&target)
            && commanders.len() == 1
        {
            commanders.clear();
        }
    }

    pub(crate) fn over(&mut self, target: NodeId, who: (NodeId, Incarnation)) {
        if let Some(commanders) = self.commanders.get_mut(&target) {
            commanders.retain(|commander| *commander != who);
        }
    }

    fn waits_for(&self, target: NodeId, who: (NodeId, Incarnation)) -> bool {
        self.commanders.get(&target).is_some_and(|commanders| commanders.contains(&who))
    }

    /// No power-off can take effect on it any more, by the word of all who were ordered one.
    pub(crate) fn all_over(&self, target: NodeId) -> bool {
        self.commanders.get(&target).is_some_and(Vec::is_empty)
    }

    pub(crate) fn ordered(&mut self, incident: Incident) {
        let count = self.ordered.entry(incident).or_default();
        *count = count.saturating_add(1);
    }

    pub(crate) fn not_sent(&mut self, incident: Incident) {
        if let Some(count) = self.ordered.get_mut(&incident) {
            *count = count.saturating_sub(1);
        }
    }

    pub(crate) fn commands(&self, incident: Incident) -> u32 {
        self.ordered.get(&incident).copied().unwrap_or_default()
    }

    /// Whether it was to be, before.
    pub(crate) fn switch_on_later(&mut self, incident: Incident, wanted: bool) -> bool {
        let was = self.on_later.remove(&incident);
        if wanted {
            self.on_later.insert(incident);
        }
        was
    }

    /// Its record is no longer kept.
    pub(crate) fn forget(&mut self, incident: Incident) {
        self.ordered.remove(&incident);
        self.on_later.remove(&incident);
    }
}

impl State {
    /// An eviction is over. Whether there was one.
    pub(crate) fn let_in(&mut self, node: NodeId) -> bool {
        self.commanded.commanders.remove(&node);
        self.evicted.remove(&node).is_some()
    }
}

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
            .keys()
            .filter(|node| {
                let paid = matches!(state.voters.get(*node).map(|v| v.debt), Some(Debt::Paid));
                paid && state.commanded.waits_for(**node, me)
            })
            .copied()
            .filter(|node| !self.commands.given.contains_key(node))
            .collect();
        for node in over {
            if self.commands.said.insert((ring, node)) {
                self.say(&Message::CommandsOver { node });
            }
        }
    }
}
