//! The replicated state machine and the coordinator: the one place that joins the cores.
//!
//! Promises (CLUSTER.md sections 1 to 7): state changes only by messages delivered in an open era; nothing exclusive
//! starts while a voter outside the era owes evidence; a present member is never shot; what is blocked says why and what
//! to do next. Never: sockets, clocks, threads, randomness, a comparison of epochs by age, a decision by anybody but the
//! coordinator of the configuration.
//!
//! The way of a failure, with the files that it goes through:
//!
//! ```text
//!  Input::Silent ──▶ silence      Probe; its verdict says: fence at once, or wait a bounded grace
//!  Input::Ring ────▶ era          configuration ─▶ hellos ─▶ merge: winner, coordinator, whose promise counts
//!                      │          ─▶ propose ─▶ promise (disk) ─▶ promised by a majority: the era is open
//!                      ├▶ debt    the state that it opens with: every voter outside owes evidence
//!                      └▶ transfer  who holds another state takes this one in chunks, and drops the old when it is durable
//!  Input::Executor ▶ effects      everybody says what really runs, in every era
//!                  ▶ power        (coordinator) evict, intent ─▶ held by a majority of disks ─▶ Fencer: off, read back
//!  Input::Fencer ──▶ evidence     held by a majority of disks ─▶ apply: paid
//!                  ▶ coordinator  model ─▶ policy ─▶ dispatch: what is ready and `allowed` ─▶ Decision
//!  every replica   ▶ apply        asks `allowed` again ─▶ effects: past the assertions of `safety` ─▶ Executor
//!                  ▶ power        Close, after the deadline of every command: `admission` lets the target in again
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(all(
    feature = "release",
    any(
        feature = "sabotage",
        feature = "sabotage-clean-stop-evidence",
        feature = "sabotage-debt-previous-configuration",
        feature = "sabotage-wiped-votes",
        feature = "sabotage-no-reports",
        feature = "sabotage-epoch-by-age",
        feature = "sabotage-era-only-when-becoming-quorate",
        feature = "sabotage-evidence-not-durable",
        feature = "sabotage-quorum-half",
        feature = "sabotage-no-fencing",
        feature = "sabotage-no-deadline",
    )
))]
compile_error!(
    "a faulty rule is switched on in a release build: build without the sabotage features"
);

pub mod admission;
mod ails;
mod allowed;
mod apply;
mod commands;
mod coordinator;
mod debt;
mod dispatch;
mod durable;
mod effects;
mod era;
mod evidence;
mod executor;
mod faulty;
mod hardware;
mod io;
mod member;
mod merge;
mod model;
mod pause;
mod power;
mod promise;
mod report;
mod requests;
mod results;
mod revision;
mod ringless;
mod safety;
mod scores;
mod silence;
mod state;
pub mod status;
mod suspend;
#[cfg(test)]
mod tests;
mod transfer;
mod view;
mod wire;

pub use ails::{AILS_MAX, Ails, DEVICES_SAID_MAX, DeviceFinding};
pub use io::{
    Config, ExecutorDo, ExecutorSays, FencerDo, FencerSays, File, Input, Output, PersistId, Phase,
    Planner, Reason, Record, Refused, RequestId, RequestKind, Station, Stored, Verdict,
};
pub use member::Member;
pub use promise::Promises;
pub use report::REPORT_MAX;
pub use status::Status;
pub use wire::{MESSAGE_MAX, decode_standing, encode_standing, restate};

/// How many of `voters` are a majority.
pub(crate) fn majority(voters: usize) -> usize {
    voters / 2 + 1 - faulty::short_majority()
}
