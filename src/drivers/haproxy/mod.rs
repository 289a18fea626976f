//! A load balancer on this machine: HAProxy, or what says that it stands in for it, under the shim of `process`.
//!
//! Promises: a configuration that HAProxy refuses is never put in the place of one that runs; other parameters come into force
//! by a reload that hands the listening sockets over, so that no connection is lost; servers on a machine that is known to be
//! dead get nothing from that moment on, whatever checks have found out. Never: text of a person in the configuration; it is
//! rendered from types (SAFETY.md 4.2). Statistics and administration are on a Unix socket that only root opens.
//!
//! ```text
//!  executor ─▶ BalancerDriver ─▶ render ─▶ haproxy -c ─▶ haproxy.cfg ─▶ shim ─▶ haproxy -W (master) ─▶ worker
//!                   │    monitor: `show info` says which configuration runs; SIGUSR2 where it is not this one
//!                   │    in a box: render ─▶ Intent ─▶ stand-in.json ─▶ shim ─▶ `palisade dev balance`, all else the same
//!                   └─ set_gone ─▶ admin.sock: set server BACKEND/NODE state maint | ready
//! ```
//!
//! Sources: SERVICES.md 4.1. Folder of one balancer below `root`: `haproxy.cfg` or `stand-in.json`, `proxy.json`, `admin.sock`, `master.sock`,
//! `templates/` and `process/` as the process driver has them.

mod admin;
mod driver;
mod files;
mod intent;
mod place;
mod render;

pub use driver::{BalancerConfig, BalancerDriver, Engine};
pub use intent::Intent;
pub use render::{Surroundings, fingerprint, render};

#[cfg(test)]
mod tests;
