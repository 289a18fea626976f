//! The order in which recorded operations happened, and what of it says that a resource is active.

use alloc::vec::Vec;

use crate::model::{OperationRecord, OperationStatus, ResourceHistory};

use super::history::{OK, PROMOTED};

/// Operations in the order in which they happened.
pub(crate) enum Operations<'m> {
    /// As they were recorded.
    Recorded(&'m [OperationRecord]),
    /// In another order than that.
    Sorted(Vec<&'m OperationRecord>),
}

impl<'m> Operations<'m> {
    /// One after the other, from a position on.
    pub(crate) fn from(&self, at: usize) -> impl Iterator<Item = &'m OperationRecord> + '_ {
        let (recorded, sorted): (&'m [OperationRecord], &[&'m OperationRecord]) = match self {
            Self::Recorded(all) => (all.get(at..).unwrap_or_default(), &[]),
            Self::Sorted(all) => (&[], all.get(at..).unwrap_or_default()),
        };
        recorded.iter().chain(sorted.iter().copied())
    }
}

/// Operations in the order in which they happened.
pub(crate) fn sorted_operations(history: &ResourceHistory) -> Operations<'_> {
    let key = |op: &OperationRecord| (op.call_id, op.last_change.unwrap_or(0));
    let recorded = &history.operations;
    if recorded.iter().all(|op| op.call_id >= 0) && recorded.is_sorted_by_key(key) {
        return Operations::Recorded(recorded);
    }
    let (pending, mut operations): (Vec<&OperationRecord>, Vec<_>) =
        history.operations.iter().partition(|op| op.call_id < 0);
    operations.sort_by_key(|op| key(op));
    // what has no number yet is the newest, unless something ordered later has ended
    for op in pending {
        let later = |other: &&OperationRecord| match (op.transition, other.transition) {
            (Some(own), Some(other)) => own >= 0 && other > own,
            _ => false,
        };
        let at = operations.iter().position(later).unwrap_or(operations.len());
        operations.insert(at, op);
    }
    Operations::Sorted(operations)
}

/// Positions of the last start and the last stop (as position + 1; 0 is none). Recurring operations count if they
/// come after the start and no stop follows.
pub(crate) fn active_span(operations: &Operations<'_>) -> (usize, usize) {
    let (mut start, mut stop) = (0, 0);
    let mut implied = 0;
    for (at, op) in operations.from(0).enumerate() {
        let at = at + 1;
        match op.operation.as_str() {
            "stop" if op.status == OperationStatus::Done => stop = at,
            "start" | "migrate_from" => start = at,
            "promote" | "demote" if start <= stop && implied <= stop => implied = at,
            "monitor"
                if start <= stop
                    && implied <= stop
                    && matches!(op.exit_code, OK | PROMOTED)
                    && op.status == OperationStatus::Done =>
            {
                implied = at;
            }
            _ => {}
        }
    }
    if start == 0 && implied > 0 {
        start = implied;
    }
    (start, stop)
}
