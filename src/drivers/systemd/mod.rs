//! Processes as transient units of the machine's systemd, over D-Bus.
//!
//! The same templates as `process`, and nothing else: an object names a template, root on the machine wrote what it
//! starts (SAFETY.md 4.2). A unit belongs to the machine, so it survives restart, upgrade and removal of the agent's
//! pods and of what runs them (CLUSTER.md section 8); the program is one of the machine, not of a container.
//!
//! ```text
//!  executor ─▶ SystemdDriver ─▶ StartTransientUnit ─▶ palisade-resource-ID.service in palisade.slice
//!                  │  ▲              StopUnit: stop signal, timeout, SIGKILL to the whole group, all by systemd
//!                  │  └── state, invocation id: a new agent finds the same run again
//! ```
//!
//! Promises: what cannot be asked is not "not running"; "stopped" is said when the unit is down and has no process left
//! (SAFETY.md#S31); a start that is broken off is killed.

mod bus;
mod driver;
mod unit;

pub use driver::{SystemdConfig, SystemdDriver};
