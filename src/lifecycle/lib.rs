//! One resource on one node, and the table of all of them: the pure half of an executor.
//!
//! Promises: orders of any but the installed epoch and late orders are refused, looked at right before the driver is
//! called; one operation per instance at a time; a report says what really runs; without quorum or without tokens
//! exclusive resources are stopped by the executor itself, and the machine is fenced by itself where that fails.
//! Never: sockets, clocks, processes; decisions about placement.
//!
//! ```text
//!  configurations, epochs, tokens, orders ─┐              ┌─▶ driver calls, renewals of addresses
//!  outcomes of drivers, time ──────────────┴─▶ Executor ──┴─▶ ends of orders, changes, reports, self-fence
//! ```
//!
//! Sources: CLUSTER.md sections 3.5, 4 and 8; SAFETY.md S9, S11, S31.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod effect;
mod executor;
mod instance;
mod loss;
mod order;
mod phase;
mod settings;
#[cfg(test)]
mod tests;

pub use effect::{Answer, Call, CallId, Output, SelfFence, Wake, Wish};
pub use executor::{Executor, Found, INSTANCES_MAX};
pub use instance::{MONITORS_MAX, ORDERS_WAITING_MAX, SCORES_MAX};
pub use order::{
    InstanceReport, Operation, Order, OrderEnd, OrderId, Outcome, PromotionScore, Refusal, Report,
};
pub use phase::{Phase, PhaseEvent};
pub use settings::{DETACH_MAX, NoQuorumPolicy, Quorum, Settings, Token};
