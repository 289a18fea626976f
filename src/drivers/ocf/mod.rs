//! OCF resource agents: programs of the machine in `/usr/lib/ocf/resource.d/PROVIDER/TYPE`.
//!
//! Promises: only agents that the machine's configuration names are run, by a name that cannot hold a path, and only files that
//! nobody but root can have written; parameters are checked against the agent's own metadata before anything is started; an agent
//! inherits nothing of our environment, and no shell of ours stands between; one that is broken off is killed with its process
//! group; what it prints is read to its end and kept only as far as a reason needs it. Never: an exit code that the standard does
//! not know taken for success (SAFETY.md 2.5).
//!
//! ```text
//!  executor ─▶ OcfDriver ─▶ Agents::act ─▶ file: allowed? whose? ─▶ meta-data ─▶ check (start, promote) ─▶ environment ─▶ run ─▶ outcome
//!          record, secrets                                 metadata.rs   parameters.rs           environment.rs  run.rs  codes.rs
//!              ▲                                                                                                   │
//!              └───────────── promotion score ◀── ear.rs, words.rs ◀── crm_master, crm_attribute ◀─────────────────┘
//! ```
//!
//! What an agent starts belongs to the machine: a launcher leaves our cgroups before it becomes the agent (CLUSTER.md section 8).
//! Releases (stop, demote) and looks (probe, monitor) check no parameters: what once started is always allowed to end.
//! Sources: OCF Resource Agent API 1.1; DESIGN.md section 5.

mod agents;
mod codes;
mod driver;
mod ear;
mod environment;
mod metadata;
mod name;
mod parameters;
mod run;
mod secrets;
mod words;

pub use agents::{AgentError, Agents, AgentsConfig, ROOT, Request};
pub use base::AgentName;
pub use codes::outcome;
pub use driver::{OcfConfig, OcfDriver, Timed};
pub use ear::{Tools, main as tool};
pub use environment::{Clone, Meta, Notify, NotifyLists, environment};
pub use metadata::{Action, Metadata, MetadataError, Parameter, Type, parse};
pub use parameters::{Refused, check};
pub use run::Launch;
pub use secrets::FOLDER as SECRETS;
pub use words::NAMES as TOOLS;

#[cfg(test)]
mod tests;
