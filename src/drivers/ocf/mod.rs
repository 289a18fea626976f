//! OCF resource agents: programs of the machine in `/usr/lib/ocf/resource.d/PROVIDER/TYPE`.
//!
//! Promises: only agents that the machine's configuration names are run, by a name that cannot hold a path, and only files that
//! nobody but root can have written; parameters are checked against the agent's own metadata before anything is started; an agent
//! inherits nothing of our environment, and no shell of ours stands between; one that is broken off is killed with its process
//! group; what it prints is read to its end and kept only as far as a reason needs it. Never: an exit code that the standard does
//! not know taken for success (SAFETY.md 2.5).
//!
//! ```text
//!  executor ─▶ Agents::act ─▶ file: allowed? whose? ─▶ meta-data ─▶ check (start, promote) ─▶ environment ─▶ run ─▶ outcome
//!                                                     metadata.rs   parameters.rs             environment.rs  run.rs  codes.rs
//! ```
//!
//! Releases (stop, demote) and looks (probe, monitor) check no parameters: what once started is always allowed to end.
//! Sources: OCF Resource Agent API 1.1; DESIGN.md section 5.

mod agents;
mod codes;
mod environment;
mod metadata;
mod name;
mod parameters;
mod run;

pub use agents::{AgentError, Agents, AgentsConfig, ROOT, Request};
pub use codes::outcome;
pub use environment::{Clone, Meta, Notify, NotifyLists, environment};
pub use metadata::{Action, Metadata, MetadataError, Parameter, Type, parse};
pub use name::{AgentName, InvalidName};
pub use parameters::{Refused, check};

#[cfg(test)]
mod tests;
