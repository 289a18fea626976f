//! The replicated state machine and the coordinator: the one place that joins the cores.
//!
//! Promises (CLUSTER.md sections 1 to 7): state changes only by messages delivered in an open era; nothing exclusive
//! starts while a voter outside the era owes evidence; a present member is never shot; what is blocked says why and what
//! to do next. Never: sockets, clocks, threads, randomness, a comparison of epochs by age, a decision by anybody but the
//! coordinator of the configuration.
//!
//! The way of a failure (each box is a file of this crate):
//!
//! ```text
//!  Silent ─▶ silence ─▶ Probe ─▶ verdict: fence at once, or wait a bounded grace
//!  Ring   ─▶ era      configuration, exchange (hello) ─▶ merge ─▶ propose, promise (disk), open
//!            snapshot losers take the winner's state ─▶ report: everybody says what really runs
//!            debt     every voter outside owes ─▶ evict, intent (majority of disks) ─▶ Fencer: off, read back
//!            evidence (majority of disks) pays ─▶ coordinator ─▶ plan (policy) ─▶ dispatch ─▶ Executor
//!            close    after the deadline of every command the target may come back
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod admission;
mod io;
pub mod status;
mod wire;

pub use io::{
    Config, ExecutorDo, ExecutorSays, FencerDo, FencerSays, File, Input, Output, PersistId, Phase,
    Planner, Reason, Record, Refused, RequestId, RequestKind, Stored, Verdict,
};
pub use status::Status;
pub use wire::{MESSAGE_MAX, decode_standing, encode_standing};

/// How many of `voters` are a majority.
pub(crate) const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// One member's engine: five verbs and getters (docs/ARCHITECTURE.md). After each `handle` or `handle_timeout`, poll
/// outputs until there are none, then ask `poll_timeout`. Spurious calls do nothing.
#[derive(Debug)]
pub struct Member {
    config: Config,
    outputs: alloc::collections::VecDeque<Output>,
}

impl Member {
    /// A member that has just started.
    pub fn new(_now: base::Instant, config: Config) -> Self {
        Self { config, outputs: alloc::collections::VecDeque::new() }
    }

    /// Takes one input.
    pub fn handle(&mut self, _now: base::Instant, _input: Input) {}

    /// Does what is due.
    pub fn handle_timeout(&mut self, _now: base::Instant) {}

    /// The next thing to be done.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When and why to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(base::Instant, Reason)> {
        None
    }

    /// What this member sees.
    pub fn status(&self) -> Status {
        Status { me: Some(self.config.me), ..Status::default() }
    }
}
