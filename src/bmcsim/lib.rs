//! Management controllers for `palisade dev` and the tests: a chassis whose power takes its time, behind a real socket.
//!
//! Promises: power reads as off only after whatever ran on the machine has ended, so that what a fencer reads is true;
//! a command that was answered may take seconds to have its effect, as on real boards (SAFETY.md#S4); the controller
//! has a supply of its own and answers while its machine is dead. Never: an address outside of loopback; bytes of a
//! protocol, which a [`Speaker`] knows (`drivers::bmc::ipmi::double` is one).
//!
//! ```text
//!   datagram ─▶ Speaker (bytes) ─▶ Command ─▶ Chassis (states, times) ─▶ Effect ─▶ Machine (processes end, processes start)
//!                   ▲                              │
//!                   └────────── on or off ◀────────┤
//!   HTTPS ───▶ Redfish (sessions, JSON) ─▶ Command ──┘
//! ```
#![forbid(unsafe_code)]

mod chassis;
mod redfish;
mod server;

pub use chassis::{Chassis, Command, Effect, Power, Timing};
pub use redfish::{Account, Certificate, Event, Faults, Redfish};
pub use server::{Bmc, Done, Machine, Said, Speaker};
