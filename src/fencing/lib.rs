//! Levels, delays, budgets, evidence: the life of one fencing operation, as a pure state machine.
//!
//! Promises: at most one power-off effect per incident; no success without a read; nothing is sent after the
//! deadline or under another epoch. Never: sockets, clocks; deciding who is to be fenced.
//!
//! ```text
//!  configurations, epochs, tokens, commands ─┐            ┌─▶ device calls, aborts
//!  answers of devices, time ─────────────────┴─▶ Fencer ──┴─▶ one result for each command
//! ```
//!
//! Sources: CLUSTER.md section 6; SAFETY.md 1.8, S4, S7, S8.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod budget;
mod command;
mod effect;
mod fencer;
mod levels;
mod operation;
#[cfg(test)]
mod tests;

pub use budget::{Budget, Suspended};
pub use command::{DeviceError, FenceCommand, FenceResult, Incident, PowerGoal, PowerState};
pub use effect::{Answer, CallId, DeviceAction, DeviceCall, Output, Wake};
pub use fencer::{Fencer, OPERATIONS_MAX, Settings};
pub use levels::{DEVICES_MAX, levels};
pub use operation::{OperationEvent, OperationPhase, READ_EVERY, READ_TRIES_MAX, STATUS_READS_MAX};
