//! One resource on one node, and the table of all of them: the pure half of an executor.
//!
//! Promises: orders of any but the installed epoch and late orders are refused; a report says what really runs.
//! Never: sockets, clocks, processes; decisions about placement.
//!
//! ```text
//!  orders, epochs, tokens, driver outcomes ──▶ Executor ──▶ driver calls, ends of orders, reports, self-fence
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod order;

pub use order::{InstanceReport, Operation, Order, OrderEnd, OrderId, Outcome, Refusal, Report};
