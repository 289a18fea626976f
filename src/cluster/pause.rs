//! An order that its executor refused is given again only after a pause that grows (SAFETY.md#L9): the reason may last as
//! long as the era, and order upon order would fill the ring.
//!
//! Invariants: kept by the coordinator alone and no longer than its configuration; bounded; what is paused has a condition.

use alloc::{collections::BTreeMap, format};
use core::time::Duration;

use base::{Instant, NodeId, ResourceId};
use lifecycle::{Operation, Refusal};

use crate::{
    dispatch::Dispatch, results::operation_name, state::INSTANCES_MAX, status::Condition,
    wire::Directive,
};

/// First pause; doubled with each refusal in a row.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What was refused, by instance.
#[derive(Debug, Default)]
pub(crate) struct Pauses(BTreeMap<(NodeId, ResourceId), Pause>);

#[derive(Debug)]
struct Pause {
    operation: Operation,
    refusal: Refusal,
    times: u32,
    until: Instant,
}

impl Pauses {
    /// The order was refused at its node.
    pub(crate) fn refused(
        &mut self,
        now: Instant,
        node: NodeId,
        resource: &ResourceId,
        operation: Operation,
        refusal: Refusal,
    ) {
        let key = (node, resource.clone());
        if self.0.len() >= INSTANCES_MAX && !self.0.contains_key(&key) {
            return;
        }
        let before = self.0.get(&key).filter(|p| p.operation == operation).map_or(0, |p| p.times);
        let until = now + (PAUSE_MIN * (1 << before.min(16))).min(PAUSE_MAX);
        self.0.insert(key, Pause { operation, refusal, times: before + 1, until });
    }

    /// The instance did something: whatever stood in its way is over.
    pub(crate) fn done(&mut self, node: NodeId, resource: &ResourceId) {
        self.0.remove(&(node, resource.clone()));
    }

    /// The member reported anew.
    pub(crate) fn reported(&mut self, node: NodeId) {
        self.0.retain(|(of, _), _| *of != node);
    }

    /// Takes out of the orders what is to wait longer, and says why. The end of the first pause that it waits for.
    pub(crate) fn hold(
        &self,
        now: Instant,
        orders: &mut Dispatch,
    ) -> (Option<Instant>, alloc::vec::Vec<Condition>) {
        let mut first: Option<Instant> = None;
        let mut conditions = alloc::vec::Vec::new();
        let waiting = &mut orders.waiting;
        orders.orders.retain(|Directive { node, order }| {
            let key = (*node, order.resource.clone());
            let Some(pause) = self.0.get(&key).filter(|p| {
                p.operation == order.operation && p.until > now && order.interval.is_none()
            }) else {
                return true;
            };
            first = Some(first.map_or(pause.until, |at| at.min(pause.until)));
            let text = format!(
                "{} was refused by node {node} ({}); it is ordered again after a pause; if this stays, look at the \
                 executor there",
                operation_name(order.operation),
                says(pause.refusal)
            );
            let object = format!("resource {}", order.resource);
            conditions.push(Condition { kind: "Blocked".into(), object, text: text.clone() });
            waiting.push((order.resource.as_str().into(), text));
            false
        });
        (first, conditions)
    }
}

/// For people.
const fn says(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::StaleEpoch => "it has not taken this epoch",
        Refusal::Late => "the time in which it was to begin had passed",
        Refusal::Inquorate => "it takes itself for a part without quorum",
        Refusal::NotActing => "it has not reported, or is leaving",
        Refusal::Busy => "too much waits there already",
        Refusal::Cancelled => "a stop began first",
    }
}
