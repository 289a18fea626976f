//! Levels, delays, budgets, evidence: the life of one fencing operation, as a pure state machine.
//!
//! Promises: at most one power-off effect per incident; no success without a read; nothing is sent after the
//! deadline or under another epoch. Never: sockets, clocks; deciding who is to be fenced.
//!
//! ```text
//!  commands, epochs, device answers ──▶ Fencer ──▶ device calls, results
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod command;

pub use command::{DeviceError, FenceCommand, FenceResult, Incident, PowerGoal, PowerState};
