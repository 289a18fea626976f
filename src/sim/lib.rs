//! A seeded world around the pure crates: network, clocks, disks, power, services, faults and checks.
//!
//! Promises: the code that runs is the product's, byte for byte; everything follows from one seed, and one seed gives
//! one trace; checks look at what is true, not at what agents say. Never: threads inside a run, clocks, sockets.
//!
//! ```text
//!            ┌── machine ────────────────────────────────┐
//!  network ──┤ ring (totem, cluster) ─ executor ─ fencer │── BMCs
//!  people  ──┤ kernel, disk, clocks                      │
//!            └───────────────────────────────────────────┘
//!                    │ facts                faults ▲
//!                    ▼                             │
//!                 checks                         seed
//! ```
//!
//! Sources: SAFETY.md sections 2.2, 2.4 and 2.5. The idea of a phase of safety and a phase of liveness is
//! TigerBeetle's; swizzle-clogging is FoundationDB's.
#![forbid(unsafe_code)]

pub mod api;
pub mod bmc;
pub mod campaign;
pub mod checks;
pub mod clock;
pub mod copies;
pub mod dice;
pub mod disk;
pub mod fact;
pub mod faults;
pub mod hunt;
pub mod kernel;
pub mod log;
pub mod machine;
pub mod mischief;
pub mod net;
pub mod node;
pub mod params;
pub mod planner;
pub mod print;
pub mod queue;
pub mod run;
pub mod service;
pub mod truth;
pub mod world;

#[cfg(test)]
mod tests;

pub use params::Options;
pub use run::{Report, Verdict, run};
