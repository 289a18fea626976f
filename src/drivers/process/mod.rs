//! A supervised process from a template that root put on the machine.
//!
//! Promises: the process outlives the agent and its container (CLUSTER.md section 8); a new agent finds it by pid and
//! start time; "stopped" is said when nothing of its session is left; a stop that cannot end is a failure.
//! Never: text from an object that reaches a process (SAFETY.md 4.2). An object names a template, nothing else.
//!
//! ```text
//!  executor ─▶ ProcessDriver ─▶ spawns `palisade shim` ─setsid, leaves cgroups─▶ the process (own group)
//!                   │  ▲                    │ record.json, exit.json                 ▲
//!                   │  └── /run/palisade/resources/ID/ ◀┘                            │
//!                   └── stop signal to the group, wait, SIGKILL ─────────────────────┘
//! ```
//!
//! The process must stay in the foreground: when its first process ends, the shim kills what is left of it.

mod cgroup;
mod driver;
mod monitor;
mod proc;
mod record;
pub mod shim;
mod stop;
mod template;
mod templated;

pub use cgroup::Cgroups;
pub use driver::{ProcessConfig, ProcessDriver};
pub(crate) use driver::{no_containers, template_failed, token};
pub(crate) use monitor::look as look_at;
#[cfg(test)]
pub(crate) use proc::parent;
pub use proc::{ProcessId, descendants};
pub(crate) use record::Folder;
pub use record::{Exit, Record};
pub use template::{
    Image, Monitor, MountPoint, TEMPLATES, Template, TemplateError, load, parse as parse_template,
};
pub(crate) use template::{OTHERS_WRITE, STICKY, owned, uid_gid};
pub(crate) use templated::{Begun, Depth, LOOK_EVERY, Templated, examine};

#[cfg(test)]
mod tests;
