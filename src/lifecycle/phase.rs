//! Where one instance stands, as a table of legal moves.

use base::{Role, transitions};

use crate::{Operation, Outcome};

/// What is known of one instance and what is being done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is known: never looked, or an operation went wrong half way. It may run.
    Unknown,
    /// The first look is under way.
    Probing,
    /// Seen not running.
    Stopped,
    /// A start is under way.
    Starting,
    /// Seen running, not promoted.
    Running,
    /// A promotion is under way.
    Promoting,
    /// Seen promoted.
    Promoted,
    /// A demotion is under way.
    Demoting,
    /// A stop is under way.
    Stopping,
    /// A stop failed or hung: it may run, and only a stop that succeeds ends this.
    StopFailed,
}

transitions! {
    /// What may happen to an instance. `break_off` is the executor's own stop, which does not wait.
    pub Phase by PhaseEvent
    [Unknown, Probing, Stopped, Starting, Running, Promoting, Promoted, Demoting, Stopping, StopFailed]:
    probe(Unknown) => Probing;
    start(Unknown | Stopped | Running) => Starting;
    promote(Running | Promoted) => Promoting;
    demote(Running | Promoted) => Demoting;
    stop(Unknown | Stopped | Running | Promoted | StopFailed) => Stopping;
    break_off(Unknown | Probing | Starting | Running | Promoting | Promoted | Demoting | StopFailed) => Stopping;
    found_stopped(Probing | Starting | Running | Promoting | Promoted | Demoting | Stopping | Stopped) => Stopped;
    found_running(Probing | Starting | Running | Promoted | Demoting | Stopped) => Running;
    found_promoted(Probing | Starting | Running | Promoting | Promoted | Stopped) => Promoted;
    failed(Probing | Starting | Promoting | Demoting) => Unknown;
    stop_failed(Stopping) => StopFailed;
}

impl Phase {
    /// Whether an operation is under way that changes the phase when it ends.
    pub const fn is_moving(self) -> bool {
        matches!(
            self,
            Self::Probing | Self::Starting | Self::Promoting | Self::Demoting | Self::Stopping
        )
    }

    /// What a report says.
    pub(crate) const fn role(self, promotable: bool) -> Option<Role> {
        match self {
            Self::Stopped => Some(Role::Stopped),
            Self::Running if promotable => Some(Role::Unpromoted),
            Self::Running => Some(Role::Started),
            Self::Promoted => Some(Role::Promoted),
            _ => None,
        }
    }
}

/// The event that begins an operation in a phase; `None` where the phase does not change (monitors, and probes of what
/// is known).
pub(crate) fn beginning(operation: Operation, phase: Phase) -> Option<PhaseEvent> {
    match operation {
        Operation::Probe if phase == Phase::Unknown => Some(PhaseEvent::probe),
        Operation::Probe | Operation::Monitor => None,
        Operation::Start => Some(PhaseEvent::start),
        Operation::Stop => Some(PhaseEvent::stop),
        Operation::Promote => Some(PhaseEvent::promote),
        Operation::Demote => Some(PhaseEvent::demote),
    }
}

/// The event that an outcome is; `None` where it teaches nothing about the phase.
pub(crate) const fn ending(operation: Operation, outcome: &Outcome) -> Option<PhaseEvent> {
    match (operation, outcome) {
        (Operation::Stop, Outcome::Ok | Outcome::NotRunning) => Some(PhaseEvent::found_stopped),
        (Operation::Stop, _) => Some(PhaseEvent::stop_failed),
        (Operation::Promote, Outcome::Ok | Outcome::Degraded { .. })
        | (_, Outcome::RunningPromoted | Outcome::Degraded { promoted: true, .. }) => {
            Some(PhaseEvent::found_promoted)
        }
        (_, Outcome::Ok | Outcome::Degraded { promoted: false, .. }) => {
            Some(PhaseEvent::found_running)
        }
        (_, Outcome::NotRunning) => Some(PhaseEvent::found_stopped),
        (Operation::Monitor, _) => None,
        (_, Outcome::TimedOut | Outcome::Failed { .. }) => Some(PhaseEvent::failed),
    }
}
