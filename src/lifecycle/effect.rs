//! What an executor does to the world, and what it hears back.

use alloc::vec::Vec;
use core::time::Duration;

use base::{Epoch, Instant, ResourceId, ResourceKind};

use crate::{InstanceReport, Operation, OrderEnd, OrderId, Outcome, PromotionScore, Report};

/// Names one call of a driver; never used twice by one executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// One call of a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// To be named in the answer.
    pub id: CallId,
    /// Which instance.
    pub resource: ResourceId,
    /// What it is.
    pub kind: ResourceKind,
    /// What to do.
    pub operation: Operation,
    /// Of a recurring monitor; `None` for everything that is done once.
    pub interval: Option<Duration>,
    /// When the executor will give up and say [`Output::Cancel`].
    pub timeout: Duration,
    /// For addresses: the kernel lifetime to start with.
    pub lifetime: Duration,
    /// The order that asked for it; `None` for recurring monitors and what the executor does by itself.
    pub order: Option<(Epoch, OrderId)>,
}

/// What a driver said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How it went.
    pub outcome: Outcome,
    /// Token of the run that it saw; 0 where nothing runs.
    pub run: u64,
    /// What is known after it of its wish to be promoted.
    pub wish: Wish,
}

impl Answer {
    /// Of what has no wishes.
    pub const fn new(outcome: Outcome, run: u64) -> Self {
        Self { outcome, run, wish: Wish::Unheard }
    }
}

/// What an instance says of its own promotion. A wish lasts until another one is heard or nothing of the instance is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// Nothing was heard: what was said before stands.
    #[default]
    Unheard,
    /// It has no wish.
    None,
    /// The higher, the rather; below zero it must not be.
    Score(i32),
}

/// An effect. To be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Call the driver. Epoch, deadline and freshness of the token were looked at just now, so it must not wait.
    Call(Call),
    /// Break this call off; its answer is no longer awaited and nothing of it may take effect afterwards. A process that
    /// is being started is killed. Said before another call for the same instance.
    Cancel(CallId),
    /// An order of the installed epoch ended.
    OrderEnd {
        /// Of the order.
        epoch: Epoch,
        /// Of the order.
        id: OrderId,
        /// How.
        end: OrderEnd,
    },
    /// Something that no order of the installed epoch asked for: a recurring monitor sees a change, an operation of an
    /// older epoch ended, the executor stopped something by itself.
    Changed {
        /// What was done.
        operation: Operation,
        /// How it went.
        outcome: Outcome,
        /// What is known now.
        instance: InstanceReport,
    },
    /// Once in each epoch, after all older orders were voided. The ring part sends it in that era or never.
    Report {
        /// The epoch that was taken.
        epoch: Epoch,
        /// What runs.
        report: Report,
    },
    /// What the instances of this machine say of their own promotion, all of it: before each report in which there is any, and
    /// whenever it changes after one. The ring part sends it in that era or never.
    Scores {
        /// The epoch that was taken.
        epoch: Epoch,
        /// Ordered by id; at most [`crate::SCORES_MAX`].
        scores: Vec<PromotionScore>,
    },
    /// Give an address that **is configured** a new lifetime; one that has expired must not come back by this.
    RenewAddress {
        /// Which instance.
        resource: ResourceId,
        /// The address.
        kind: ResourceKind,
        /// Whole seconds; `None` is for ever (suspend).
        lifetime: Option<Duration>,
    },
    /// This executor took itself for inquorate in a quorate era and sees fresh tokens of it again: it accepts nothing but
    /// releases until the ring part has given it the epoch again ([`crate::Executor::handle_epoch`]); then it reports anew.
    /// Once until then.
    Regained,
    /// After [`crate::Executor::handle_suspend`] and the renewals that make addresses permanent: missing tokens and lost
    /// quorum stop nothing here from now on.
    Suspended,
    /// After [`crate::Executor::handle_leave`]: nothing runs here any more and nothing is accepted.
    Released,
    /// Reboot the machine without ceremony and answer no watchdog any more. The last output there is.
    SelfFence(SelfFence),
}

/// Why an executor fences its own machine (SAFETY.md#S11).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelfFence {
    /// An own stop of an exclusive resource failed while there was no quorum.
    #[error("no quorum, and {0} cannot be stopped")]
    StopFailed(ResourceId),
    /// Own stops did not end in `t_stop`.
    #[error("no quorum, and {0} did not stop in time")]
    StopHangs(ResourceId),
}

/// Why an executor wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// A driver call reaches its timeout.
    CallTimeout,
    /// An order that waits reaches its deadline.
    OrderLate,
    /// A recurring monitor is due.
    MonitorDue,
    /// There has been no fresh token for `agent_restart_grace`: inquorate from then on.
    TokenStale,
    /// `t_stop` has passed without quorum: own stops begin.
    OwnStops,
    /// Own stops must have ended: the machine is fenced otherwise.
    OwnStopsBound,
}

/// The earlier of two wishes to be woken.
pub(crate) fn earlier(
    a: Option<(Instant, Wake)>,
    b: Option<(Instant, Wake)>,
) -> Option<(Instant, Wake)> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
