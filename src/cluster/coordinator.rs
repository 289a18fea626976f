//! The coordinator looks at the state after every event and says what follows (CLUSTER.md section 4).
//!
//! Invariants: one coordinator in a configuration; nothing is decided while an own decision is not yet delivered, so no two
//! decisions come from one input (SAFETY.md#S14); nothing is decided in a gap, in a transitional configuration, or before
//! all that were said to be needed have reported; only what differs from what is in flight is said.

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use core::time::Duration;

use base::{Instant, NodeId, ResourceId, Role};
use fencing::Incident;

use crate::{
    Phase, Reason,
    dispatch::{Dispatch, FORGOTTEN_MAX, dispatch},
    member::{Leaving, Member},
    model::Models,
    safety::Broken,
    state::{Position, State},
    status::Condition,
    wire::{Decision, Message},
};

/// An address that is announced so much later than everything runs has moved for another reason.
const LAST_ADDRESS: Duration = Duration::from_secs(2);

/// A plan's orders and the conditions that come with them, for one position.
#[derive(Debug)]
pub(crate) struct Planned {
    at: Position,
    orders: Dispatch,
    conditions: BTreeSet<Condition>,
}

impl Member {
    /// Looks at the state and decides, if this member may.
    pub(crate) fn decide(&mut self, now: Instant) {
        self.wakes.clear();
        if !self.leads() {
            self.conditions.clear();
            return;
        }
        if self.installed.as_ref().is_none_or(|i| i.awaited > 0) {
            return;
        }
        self.back_off(now);
        let position = self.state.as_ref().map(|s| s.position);
        let (mut orders, mut conditions) = match self.planned.take() {
            Some(planned) if Some(planned.at) == position => (planned.orders, planned.conditions),
            _ => self.plan(now),
        };
        if let Some(at) = position {
            let (orders, conditions) = (orders.clone(), conditions.clone());
            self.planned = Some(Planned { at, orders, conditions });
        }
        let power = self.power(now, &orders.fence);
        self.wakes = power.wakes;
        conditions.extend(power.conditions);
        let (again, paused) = self.pauses.hold(now, &mut orders);
        self.wakes.extend(again.map(|at| (at, Reason::Retry)));
        conditions.extend(paused);
        self.conditions = conditions;
        for message in &power.say {
            self.say(message);
        }
        self.give(now, orders);
    }

    /// Whether this member is the coordinator of an open era, may act and is not about to go.
    pub(crate) fn leads(&self) -> bool {
        let me = self.config.me;
        self.era_open()
            && self.gap == 0
            && self.halted.is_none()
            && self.leaving != Leaving::Said
            && self.state.as_ref().is_some_and(|s| s.coordinator == me)
            && self.installed.as_ref().and_then(|i| i.merged.as_ref()).and_then(|m| m.coordinator)
                == Some(me)
    }

    fn plan(&mut self, now: Instant) -> (Dispatch, BTreeSet<Condition>) {
        let mut conditions = BTreeSet::new();
        let Some((state, installed)) = self.state.as_ref().zip(self.installed.as_ref()) else {
            return (Dispatch::default(), conditions);
        };
        let Some(epoch) = installed.epoch() else { return (Dispatch::default(), conditions) };
        if state.members.values().any(|m| !m.reported && !m.left) || state.suspended {
            return (Dispatch::default(), conditions);
        }
        let mut input = self.models.of(state);
        // the law that keeping what was made rests on; too dear outside of tests
        debug_assert_eq!(input, Models::default().of(state));
        input.now = input.now.max(self.wall_now(now));
        let plan = match (self.config.planner)(&mut self.scheduler, &input) {
            Ok(plan) => plan,
            Err(error) => {
                conditions.insert(Condition {
                    kind: "PlanRefused".into(),
                    object: "cluster".into(),
                    text: format!("{error}"),
                });
                return (Dispatch::default(), conditions);
            }
        };
        match dispatch(state, &plan, epoch) {
            Ok(orders) => {
                for (resource, text) in &orders.waiting {
                    conditions.insert(Condition {
                        kind: "Blocked".into(),
                        object: format!("resource {resource}"),
                        text: text.clone(),
                    });
                }
                (orders, conditions)
            }
            Err(detail) => {
                self.halt(Broken { invariant: "S16", detail });
                (Dispatch::default(), conditions)
            }
        }
    }

    fn give(&mut self, now: Instant, orders: Dispatch) {
        let wall = self.wall_now(now);
        let Some((state, installed)) = self.state.as_ref().zip(self.installed.as_ref()) else {
            return;
        };
        let (mut forgotten, next) = forget(state, wall);
        // the rest with the next decision
        forgotten.truncate(FORGOTTEN_MAX);
        if let Some(seconds) = next {
            let wait = Duration::from_secs(u64::try_from(seconds).unwrap_or(1).max(1));
            self.wakes.push((now + wait, Reason::FailureTimeout));
        }
        let Some(epoch) = installed.epoch() else { return };
        let input = state.position.index;
        let acquires = orders.orders.iter().any(|d| !d.order.operation.is_release());
        let settled = orders.orders.is_empty() && state.pending.is_empty();
        if settled && forgotten.is_empty() {
            if !state.members.values().any(|m| !m.reported) {
                self.recovered(now, &orders);
            }
            return;
        }
        if orders.orders.is_empty() && forgotten.is_empty() {
            return;
        }
        if acquires {
            for incident in self.recovering.clone() {
                if self.recovery_said.insert(incident) {
                    self.record(Phase::Recover, Some(incident), "orders given".into());
                }
            }
        }
        self.say(&Message::Decision(Decision {
            input,
            epoch,
            wall,
            orders: orders.orders,
            forgotten,
        }));
    }

    /// Nothing is left to be done for what was lost.
    fn recovered(&mut self, now: Instant, orders: &Dispatch) {
        if !orders.waiting.is_empty() || self.recovering.is_empty() {
            return;
        }
        let incidents = core::mem::take(&mut self.recovering);
        for incident in &incidents {
            self.recovery_said.remove(incident);
            let text: String = "what it held is served again".to_string();
            self.record(Phase::Recovered, Some(*incident), text);
        }
        self.recovered = Some((now, incidents));
    }

    /// An address was added by `from`: if that is part of a recovery, the way of the failure ends only when a peer sees it.
    pub(crate) fn announced(&mut self, now: Instant, resource: &ResourceId, from: NodeId) {
        if !self.leads() || self.announcing.contains_key(resource) {
            return;
        }
        let done = self.recovered.iter().filter(|(at, _)| now.since(*at) <= LAST_ADDRESS);
        let incidents: BTreeSet<Incident> =
            self.recovering.iter().chain(done.flat_map(|(_, done)| done)).copied().collect();
        if incidents.is_empty() {
            return;
        }
        for incident in &incidents {
            let text = format!("{resource} is announced by node {from}");
            self.record(Phase::Announce, Some(*incident), text);
        }
        self.announcing.insert(resource.clone(), incidents);
    }

    /// A peer sees an address at its new place.
    pub(crate) fn address_seen(&mut self, resource: &ResourceId, by: NodeId) {
        for incident in self.announcing.remove(resource).unwrap_or_default() {
            let text = format!("node {by} sees {resource} at its new place");
            self.record(Phase::Seen, Some(incident), text);
        }
    }
}

/// After this a failed start is tried again although no `failureTimeout` says so: what it lacked may be there now, and nobody
/// is left without a service for it. What there is one of, and runs elsewhere, is left in peace.
const START_AGAIN: Duration = Duration::from_secs(60);

fn runs_beside(state: &State, resource: &ResourceId) -> bool {
    let mut instances = state.instances.iter().filter(|((of, _), _)| of == resource);
    instances.any(|(_, i)| i.role.is_some_and(Role::is_active))
}

/// Failures whose time is over, and after how many seconds the next one will be. Never before the fencing that they
/// demand (SAFETY.md#S32).
pub(crate) fn forget(state: &State, wall: i64) -> (Vec<(ResourceId, NodeId)>, Option<i64>) {
    let mut over = Vec::new();
    let mut next: Option<i64> = None;
    let Some(revision) = &state.revision else { return (over, next) };
    for ((resource, node), failures) in &state.failures {
        let found = revision.primitive(resource);
        let timeout = match found {
            Some((placement, m)) => m.meta.failure_timeout.or(placement.meta.failure_timeout),
            None => Some(Duration::ZERO),
        };
        let alone = || found.is_some_and(|(p, _)| p.exclusive()) && runs_beside(state, resource);
        let again = || (failures.is_of_start() && !alone()).then_some(START_AGAIN);
        let Some(timeout) = timeout.or_else(again) else { continue };
        let key = (resource.clone(), *node);
        let instance = state.instances.get(&key);
        let demands = instance.is_some_and(|i| i.stop_failed)
            || state.evicted.contains_key(node)
            || !state.members.contains_key(node)
            || instance.is_some_and(|i| i.role.is_none());
        if demands && found.is_some() {
            continue;
        }
        let timeout = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
        let left = failures.last.saturating_add(timeout).saturating_sub(wall);
        if left <= 0 {
            over.push(key);
        } else {
            next = Some(next.map_or(left, |n| n.min(left)));
        }
    }
    (over, next)
}
