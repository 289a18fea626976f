//! One member of a cluster: sockets, clocks, disks and processes around the cores.
//!
//! Promises: it carries out and decides nothing (STYLE.md 5); nothing on the path of the token waits for a disk; a part
//! that is lost is started again and what runs goes on running. Never: a decision about membership, evidence or
//! placement; a secret in a log, an answer or an argument.
//!
//! ```text
//!            palisade agent (starts and watches the three)
//!     ┌─────────────────┬──────────────────────┐
//!   ring ────────────▶ executor             fencer ──▶ BMCs, watchdog
//!   UDP, totem,         lifecycle, drivers,   ▲  │
//!   cluster, state dir  shims                 │  └─ asks the executor whether it still answers
//!     └────────────────────────────────────────┘
//! ```
//!
//! Follows CLUSTER.md sections 8 and 9, SAFETY.md 4.3 to 4.5.
#![deny(unsafe_code)]

pub mod cipher;
pub mod clock;
pub mod conditions;
pub mod config;
pub mod executor;
pub mod fencer;
pub mod http;
pub mod ipc;
pub mod keys;
pub mod kubernetes;
pub mod links;
pub mod local;
pub mod log;
pub mod messages;
pub mod metrics;
pub mod privileges;
pub mod process;
pub mod ring;
pub mod run_dir;
pub mod secrets;
pub mod state;
pub mod status;
pub mod supervise;
pub mod transport;
pub mod user;

/// The program that runs, for parts and children of their own: the file it was started from may have been replaced meanwhile,
/// and then the path names another version, or nothing. See proc_pid_exe(5).
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// A child of this very program, under the name that people look for in `ps`.
#[must_use]
pub fn own_program() -> std::process::Command {
    let mut command = std::process::Command::new(OWN_PROGRAM);
    std::os::unix::process::CommandExt::arg0(&mut command, "palisade");
    command
}
