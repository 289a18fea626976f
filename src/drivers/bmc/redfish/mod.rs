//! Redfish over HTTPS: the power of one machine through its BMC's web service.
//!
//! Promises: one session per BMC at a time, always closed; a command goes out only after the identity was compared in
//! the same session; the state is read in a session of its own, and only `Off` is off; no command leaves after the
//! deadline, and a connection that holds one is reset then (SAFETY.md#S7). The certificate is the pinned one, or one
//! of the pinned authority, or nothing is sent. Never: a redirect followed, a body without a limit, `ForceRestart`.
//!
//! ```text
//!            status, token, body                 Ask / Command / Finished
//!   io.rs  ──────────────────────▶ proto::Session ────────────────────────▶ io.rs
//!  (HTTP, boot-time clock, tls.rs)  judge (what an answer means)            (asks the permit)
//! ```
//!
//! Follows: *Redfish Specification* DSP0266 1.15, sections 8 (requests), 13.3 (sessions); schema `ComputerSystem`.

mod io;
pub mod proto;
mod tls;

pub use io::{RedfishDevice, RedfishTarget};
pub use tls::Trust;

#[cfg(test)]
mod tests;
