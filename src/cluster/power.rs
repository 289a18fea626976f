//! Who is to be evicted, powered off, let in again: the coordinator's half of CLUSTER.md sections 5 and 6.
//!
//! Invariants: a present member is evicted, never shot; a fence order is refused where the rest would not be quorate; facts
//! are proposed before any new intent; whatever waits has a condition that names the next step.

use alloc::{boxed::Box, collections::BTreeSet, format, string::String, vec::Vec};
use core::time::Duration;

use base::{Instant, NodeId};
use fencing::{Budget, Incident};
use policy::revision::Revision;

use crate::{
    Phase, Reason,
    effects::level_of,
    evidence::{Evidence, Fact, Kind},
    hardware,
    member::Member,
    state::{Debt, State},
    status::Condition,
    wire::{Intent, Message, short},
};

/// First pause after a failed power command; doubled each time.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What a look at the debts comes to.
#[derive(Debug, Default)]
pub(crate) struct Power {
    pub(crate) say: Vec<Message>,
    pub(crate) wakes: Vec<(Instant, Reason)>,
    pub(crate) conditions: BTreeSet<Condition>,
}

/// What is to become of one debt.
enum Next {
    Say(Box<Message>),
    Wait(Instant, Reason),
    /// Too often lately; until then.
    Suspended(Instant, String),
    Blocked(&'static str, String),
    Nothing,
}

impl Member {
    /// Evictions, intents, evidence, closings.
    pub(crate) fn power(&mut self, now: Instant, wanted: &BTreeSet<NodeId>) -> Power {
        let mut power = Power::default();
        let Some(state) = self.state.clone() else { return power };
        let facts = self.propose_facts(&state, &mut power);
        self.overdue(now, &state, &mut power);
        if !state.suspended {
            self.evictions(now, &state, wanted, &mut power);
            for incident in state.owing().collect::<Vec<_>>() {
                if facts.contains(&incident.node) {
                    continue;
                }
                // whatever is tried meanwhile, and however long it pauses
                let bound = self.bound(&state, incident.node).filter(|at| *at > now);
                power.wakes.extend(bound.map(|at| (at, Reason::Grace)));
                match self.next(now, &state, incident) {
                    Next::Say(message) => {
                        if let Message::Intent(_) = *message {
                            self.record(Phase::Plan, Some(incident), "power-off wanted".into());
                        }
                        power.say.push(*message);
                    }
                    Next::Wait(at, reason) => {
                        power.wakes.push((at, reason));
                        power.conditions.insert(owes(incident, "its grace has not passed yet"));
                    }
                    Next::Suspended(until, text) => {
                        power.wakes.push((until, Reason::Retry));
                        power.conditions.insert(blocked("FencingSuspended", incident, text));
                    }
                    Next::Blocked(kind, text) => {
                        power.conditions.insert(blocked(kind, incident, text));
                    }
                    Next::Nothing => {}
                }
            }
        }
        self.closings(now, &state, &mut power);
        if let Some(incident) = state.to_power_on().filter(|_| !state.suspended) {
            let executor = self.config.me;
            power.say.push(Message::PowerOn { incident, executor });
        }
        power
    }

    /// Facts of all members, as their first words told them, before any new intent (CLUSTER.md section 2).
    fn propose_facts(&self, state: &State, power: &mut Power) -> BTreeSet<NodeId> {
        let mut proposed = BTreeSet::new();
        let told = self.installed.iter().flat_map(|i| i.hellos.values().flat_map(|h| &h.facts));
        for fact in self.facts.iter().chain(told) {
            let evidence: Evidence = Fact::evidence(fact);
            let new = state.matches_debt(&evidence) && !state.evidence.contains_key(&evidence.node);
            if new && !state.members.contains_key(&evidence.node) && proposed.insert(evidence.node)
            {
                power.say.push(Message::Evidence(evidence));
            }
        }
        proposed
    }

    /// Commands that were not answered: somebody else tries.
    fn overdue(&self, now: Instant, state: &State, power: &mut Power) {
        let Some(installed) = &self.installed else { return };
        for (node, open) in &state.intents {
            let Some(due) = installed.fence_due.get(node) else { continue };
            if now < *due {
                power.wakes.push((*due, Reason::Overdue));
                continue;
            }
            power.say.push(Message::FenceFailed {
                incident: open.intent.incident,
                attempt: open.intent.attempt,
                commanded: !open.intent.read_only,
                seen_on: false,
                reason: format!("no answer from the fencer of node {}", open.intent.executor),
            });
        }
    }

    /// Present members that must go: asked for, failed stops, missing reports, operations that do not end.
    fn evictions(&self, now: Instant, state: &State, wanted: &BTreeSet<NodeId>, power: &mut Power) {
        let Some(installed) = &self.installed else { return };
        let fencing = state.revision.as_ref().is_some_and(|r| r.fencing.enabled);
        let mut going: Vec<(NodeId, String)> = Vec::new();
        for (node, who) in state.asked.iter().filter(|(n, _)| state.members.contains_key(n)) {
            going.push((*node, format!("{who} asks for its power-off")));
        }
        for ((resource, node), _) in state.instances.iter().filter(|(_, i)| i.stop_failed) {
            going.push((*node, format!("the stop of {resource} failed there")));
        }
        for node in wanted {
            going.push((*node, "the plan needs it fenced".into()));
        }
        for (node, member) in &state.members {
            // who has to report again has the same time for it, from then on
            let from = installed.unreported.get(node).copied().max(installed.opened_at);
            let by = from.map(|at| at + self.timings().report_timeout);
            let Some(by) = by.filter(|_| !member.reported && !member.left) else { continue };
            if now >= by {
                going.push((*node, "it has not reported in time".into()));
            } else {
                power.wakes.push((by, Reason::ReportTimeout));
            }
        }
        for (id, due) in &installed.due {
            let Some((node, operation)) = state.overdue_on(*id) else { continue };
            if now >= *due {
                going.push((node, format!("an operation ({operation:?}) does not end there")));
            } else {
                power.wakes.push((*due, Reason::Overdue));
            }
        }
        let mut leaving = BTreeSet::new();
        for (node, reason) in going {
            if state.evicted.contains_key(&node) || !leaving.insert(node) {
                continue;
            }
            let object = format!("node {node}");
            let again = stop_again(state, node);
            if !fencing {
                let text = format!(
                    "{reason}; fencing is disabled: look at it and restart it by hand{again}"
                );
                power.conditions.insert(Condition { kind: "FencingDisabled".into(), object, text });
            } else if leaving.len() > 1 || !state.quorate_without(node) {
                let text = format!(
                    "{reason}; it is not fenced, because the rest would not be quorate: bring another node back first{again}"
                );
                power.conditions.insert(Condition { kind: "FencingRefused".into(), object, text });
            } else {
                power.say.push(Message::Evict { node, reason: short(&reason) });
            }
        }
    }

    fn next(&self, now: Instant, state: &State, incident: Incident) -> Next {
        let node = incident.node;
        let Some(revision) = &state.revision else { return Next::Nothing };
        let Some(voter) = state.voters.get(&node) else { return Next::Nothing };
        if state.evidence.contains_key(&node) || state.intents.contains_key(&node) {
            return Next::Nothing;
        }
        if let Some(bound) = self.bound(state, node)
            && now >= bound
        {
            let kind = Kind::SelfFencingBound { incident };
            return Next::Say(Box::new(Message::Evidence(Evidence { node, kind })));
        }
        if !revision.fencing.enabled {
            return Next::Blocked("FencingDisabled", owes_text(incident, "fencing is disabled"));
        }
        let record = state.operations.get(&incident);
        let demanded = state.evicted.contains_key(&node) || state.asked.contains_key(&node);
        let unseen = !self.met.contains(&node);
        let read_only = unseen && !demanded && !record.is_some_and(|r| r.seen_on);
        let from = if demanded {
            now
        } else if unseen {
            self.started + revision.timings.startup_wait
        } else {
            self.silence
                .fence_at(node, voter.detached, &revision.timings)
                .unwrap_or(self.started + revision.timings.startup_wait)
        };
        let from = self.retry.get(&incident).copied().map_or(from, |retry| from.max(retry));
        if now < from {
            return Next::Wait(from, Reason::Grace);
        }
        if !state.quorate_without(node) {
            let why = "it is not fenced: the rest would not be quorate";
            return Next::Blocked("FencingRefused", owes_text(incident, why));
        }
        let levels = hardware::levels(state, revision, node);
        let attempt = record.map_or(0, |r| r.attempts);
        let Some(level) = level_of(&levels, attempt) else {
            if let Some(bound) = self.bound(state, node) {
                return Next::Wait(bound, Reason::Grace);
            }
            let why = "no fence device names it; create a FenceDevice for it";
            return Next::Blocked("FencingImpossible", owes_text(incident, why));
        };
        if !read_only && let Some(suspended) = self.suspended(now, state, revision, incident) {
            return suspended;
        }
        let executors: Vec<NodeId> = state.healthy().into_iter().collect();
        // Over levels first, then over members: with one level each attempt is another member's, whose path or fencer
        // may be sound where the one before was not.
        let turn = attempt as usize / levels.len();
        let at = executors.iter().position(|n| *n == self.config.me).unwrap_or(0);
        let Some(executor) = executors.get((at + turn) % executors.len().max(1)) else {
            return Next::Nothing;
        };
        Next::Say(Box::new(Message::Intent(Intent {
            incident,
            executor: *executor,
            attempt,
            deadline: hardware::command_deadline(revision, level),
            read_only,
            wall: self.wall_now(now),
        })))
    }

    /// Whether the node was powered off too often lately (CLUSTER.md section 6).
    fn suspended(
        &self,
        now: Instant,
        state: &State,
        revision: &Revision,
        incident: Incident,
    ) -> Option<Next> {
        let options = &revision.fencing;
        let budget = Budget { times_max: options.budget, window: options.budget_window };
        let past = state.spent.get(&incident.node).map_or(&[][..], Vec::as_slice);
        let wall = self.wall_now(now);
        let suspended = budget.admit(past, wall).err()?;
        let wait = u64::try_from(suspended.until.saturating_sub(wall)).unwrap_or(0).max(1);
        let text = owes_text(incident, &format!("{suspended}"));
        Some(Next::Suspended(now + Duration::from_secs(wait), text))
    }

    /// When the self-fencing bound of a lost member has passed, where it is evidence at all.
    fn bound(&self, state: &State, node: NodeId) -> Option<Instant> {
        let revision = state.revision.as_ref()?;
        if !state.self_fencing_counts() {
            return None;
        }
        let watchdog = state.voters.get(&node)?.watchdog?;
        Some(self.silence.since(node)? + hardware::t_assume(revision, watchdog))
    }

    fn closings(&self, now: Instant, state: &State, power: &mut Power) {
        for node in state.evicted.keys() {
            let paid = matches!(state.voters.get(node).map(|v| v.debt), Some(Debt::Paid) | None);
            if state.members.contains_key(node) || !paid {
                continue;
            }
            // Nobody was ordered to send anything, or all who were said that theirs is over; else the deadline.
            if state.commanded.all_over(*node) || self.past_deadline(now, *node) {
                power.say.push(Message::Close { node: *node });
            }
        }
    }

    /// A failed command is tried again after a pause that grows.
    pub(crate) fn back_off(&mut self, now: Instant) {
        let Some(state) = &self.state else { return };
        let failed: Vec<(Incident, u32)> = state
            .operations
            .iter()
            .filter(|(i, r)| {
                r.failure.is_some() && r.evidence.is_none() && !state.intents.contains_key(&i.node)
            })
            .map(|(i, r)| (*i, r.attempts))
            .collect();
        let open: BTreeSet<Incident> = failed.iter().map(|(i, _)| *i).collect();
        self.retry.retain(|i, _| state.operations.get(i).is_some_and(|r| r.evidence.is_none()));
        for (incident, attempts) in failed {
            let pause = BACKOFF_MIN * (1 << attempts.saturating_sub(1).min(6));
            let known = self.backed_off.get(&incident) == Some(&attempts);
            if !known {
                self.backed_off.insert(incident, attempts);
                self.retry.insert(incident, now + pause.min(BACKOFF_MAX));
            }
        }
        self.backed_off.retain(|i, _| open.contains(i));
    }
}

/// The way out where a stop failed and the node cannot be fenced.
fn stop_again(state: &State, node: NodeId) -> String {
    let failed = state.instances.iter().find(|((_, n), i)| *n == node && i.stop_failed);
    failed.map_or_else(String::new, |((resource, _), _)| {
        format!(
            "; or repair the service there and have its stop tried again: `palisade resource cleanup {resource}`"
        )
    })
}

fn blocked(kind: &str, incident: Incident, text: String) -> Condition {
    Condition { kind: kind.into(), object: format!("node {}", incident.node), text }
}

fn owes(incident: Incident, why: &str) -> Condition {
    blocked("Owes", incident, owes_text(incident, why))
}

pub(crate) fn owes_text(incident: Incident, why: &str) -> String {
    format!(
        "node {n} is away and may hold resources (incident {r}): {why}; if you are sure that it is off, run `palisade \
         node confirm-off {n}`",
        n = incident.node,
        r = incident.ring
    )
}
