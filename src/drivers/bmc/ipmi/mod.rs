//! IPMI 2.0 over RMCP+: the power of one machine through its BMC.
//!
//! Promises: one session per BMC at a time, always closed; a command goes out only after the identity was compared
//! in the same session; the state is read in a session of its own; nothing leaves after the deadline.
//! Never: a child process, a password in an argument (SAFETY.md 1.8), the suites without authentication (0, 1, 2).
//!
//! ```text
//!             datagrams, time                       Send / SendCommand / Finished
//!   io.rs  ───────────────────▶  proto::Session  ───────────────────────────────▶  io.rs
//!  (UDP, boot-time clock)        wire ▸ rmcp ▸ rakp ▸ seal ▸ message ▸ chassis      (asks the permit)
//! ```
//!
//! Follows: *Intelligent Platform Management Interface Specification*, second generation, v2.0 rev. 1.1,
//! chapters 13 (RMCP+), 20, 22, 28. Suites 17 and 3 are tried in that order without asking first: asking costs ten
//! seconds at emulators that do not answer (SERVICES.md section 6).

mod crypto;
#[cfg(any(test, feature = "double"))]
pub mod double;
mod io;
pub mod proto;

pub use crypto::AwsLc;
pub use io::{IpmiDevice, IpmiTarget, Suites};
pub use proto::{CipherSuite, Privilege, UnsafeSuite};

#[cfg(test)]
mod tests;
