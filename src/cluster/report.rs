//! What runs at a member, said to all; and how much fits into one message of what grows with the objects.
//!
//! A report is one message wherever it fits, as in every version. One that does not travels in parts that follow each other in
//! the total order: before the last is delivered nothing of it counts, so what stands in a later part is never taken for
//! stopped; parts of a configuration that ends first are void with it, and the report of the next era says all again. Why not
//! a bound on objects: what runs is more than what the objects say (what lost its object, what was found at a start, what a
//! person retained), and an executor takes 1,024 instances whatever they are called.
//!
//! A member of the version before understands no parts. As long as one is here none are said: its replica would differ.

use alloc::{format, vec::Vec};

use lifecycle::{OrderEnd, Outcome, Report};
use serde::Serialize;

use crate::{
    Phase,
    member::Member,
    transfer,
    wire::{self, Change, MESSAGE_MAX, Message},
};

/// Bytes of a report in parts: no more comes from an executor in one word (`agent::ipc`).
pub const REPORT_MAX: usize = 4 * 1024 * 1024;
/// For all that stands around what is packed into one message by its size: ring, kind, epoch, lengths.
const AROUND: usize = 512;
/// Which transfer of a member; 0 is its snapshot, 1 its revision.
const TRANSFER: u32 = 2;

/// How much more fits into one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room(usize);

impl Room {
    /// A message with `other` bytes besides what is packed.
    pub(crate) const fn beside(other: usize) -> Self {
        Self(MESSAGE_MAX - AROUND - other)
    }

    /// Takes it, if it fits.
    pub(crate) fn take<T: Serialize>(&mut self, what: &T) -> bool {
        let left = self.0.checked_sub(wire::encode(what).len());
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

/// Changes in their order, as many in each message as fit.
pub(crate) fn packed(changes: impl Iterator<Item = Change>) -> Vec<Message> {
    let mut messages = Vec::new();
    let (mut some, mut room) = (Vec::new(), Room::beside(0));
    for change in changes {
        if !room.take(&change) {
            messages.push(Message::Changes(core::mem::take(&mut some)));
            room = Room::beside(0);
            room.take(&change);
        }
        some.push(change);
    }
    if !some.is_empty() {
        messages.push(Message::Changes(some));
    }
    messages
}

impl Member {
    pub(crate) fn say_report(&mut self, mut report: Report) {
        for failed in report.instances.iter_mut().filter_map(|i| i.failed.as_mut()) {
            cut(failed);
        }
        if Room::beside(0).take(&report) {
            return self.say(&Message::Report(report));
        }
        if self.all_take_parts() {
            for part in transfer::split(TRANSFER, &wire::encode(&report)) {
                self.say(&Message::ReportPart(part));
            }
            return;
        }
        // what can be done without
        for failed in report.instances.iter_mut().filter_map(|i| i.failed.as_mut()) {
            if let Outcome::Failed { reason, .. } | Outcome::Degraded { reason, .. } = failed {
                reason.clear();
            }
        }
        if Room::beside(0).take(&report) {
            return self.say(&Message::Report(report));
        }
        let text = format!(
            "{} instances run here: more than fits into the report that members of an earlier version understand; upgrade \
             the agents of all members",
            report.instances.len()
        );
        self.record(Phase::Note, None, text);
    }

    fn all_take_parts(&self) -> bool {
        self.installed
            .as_ref()
            .is_some_and(|i| i.hellos.values().all(|hello| hello.dialect >= wire::DIALECT_PARTS))
    }

    /// The report, when this was its last part.
    pub(crate) fn report_part(
        &mut self,
        from: base::NodeId,
        part: &wire::Chunk,
    ) -> Option<Message> {
        let bytes = self.assembly.take(from, part, REPORT_MAX)?;
        wire::decode(&bytes, REPORT_MAX).map(Message::Report)
    }
}

/// What an executor says of an operation, cut to what travels for people.
pub(crate) fn cut(outcome: &mut Outcome) {
    if let Outcome::Failed { reason, .. } | Outcome::Degraded { reason, .. } = outcome {
        *reason = wire::short(reason);
    }
}

/// Likewise, where an order ended.
pub(crate) fn cut_end(mut end: OrderEnd) -> OrderEnd {
    if let OrderEnd::Done(outcome) = &mut end {
        cut(outcome);
    }
    end
}
