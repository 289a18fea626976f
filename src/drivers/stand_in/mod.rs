//! A stand-in for what a person's loopback does not have: addresses that can be put and taken away without rights, machines
//! that can fall silent.
//!
//! Promises: it is used only where the agent's configuration names it, and says at each start that it is none of the real
//! thing; an answer that it does not understand is a failure, as everywhere here. Never: another address than those
//! of loopback. Whoever serves the socket plays the kernels of the machines and the network between them
//! (`palisade dev`): it keeps addresses while agents restart and takes them away when their lifetime is over.
//!
//! ```text
//!   executor ─▶ LoopbackVip ─┐
//!   balancers ▶ Kernel::connect, listen ─┤
//!   ring ─────▶ Kernel::knock ───────────┴─▶ Unix socket of this machine ─▶ whoever plays its kernel
//! ```

mod address;
mod client;
mod proto;

pub use address::LoopbackVip;
pub use client::{Kernel, line_of};
pub use proto::{Arrival, Ask, Heard, LINE_BYTES_MAX, Present, Station, Told, decode, encode};
