//! The Totem single ring as a pure state machine: who is in the ring, and one order of messages for all.
//!
//! Promises: extended virtual synchrony (TOTEM.md section 2.2) with agreed and safe delivery; a ring id is reserved
//! durably before it is used and never used twice (SAFETY.md#S12); a datagram that is forged, replayed or meant for
//! another changes nothing but counters (SAFETY.md#S28); every queue, list and message has a bound (SAFETY.md#S29).
//!
//! Never: sockets, clocks, threads, randomness of its own, unbounded memory, decisions about quorum or fencing.
//!
//! ```text
//!  datagram ─▶ frame::Channel ─▶ wire::decode ─▶ Ring ─▶ Output::Send ─▶ wire::encode ─▶ frame::Channel ─▶ datagram
//!              (authenticate)      (parse)        │ ▲
//!                                                 │ └── multicast, handle_timeout, handle_reserved, set_standing
//!                                                 └──▶ Output::Deliver (configurations and messages), TokenSeen, Silent
//! ```
//!
//! The driver's loop: feed every queued datagram, then `handle_timeout`, then take outputs until there are none,
//! then sleep until `poll_timeout`. Papers: Amir, Moser, Melliar-Smith, Agarwal, Ciarfella, *The Totem Single-Ring
//! Ordering and Membership Protocol*, ACM TOCS 13(4), 1995; Moser, Amir, Melliar-Smith, Agarwal, *Extended Virtual
//! Synchrony*, ICDCS 1994. What differs from TOTEM.md, and why, stands in `docs/ring.md`.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod admission;
mod config;
mod engine;
pub mod frame;
mod log;
mod output;
mod packing;
mod serial;
mod state;
pub mod wire;

pub use admission::{Admission, AdmitAll};
pub use config::{Config, ConfigError, Start};
pub use engine::{Ring, RingCounters};
pub use output::{Destination, MulticastError, Output, Reason};
pub use packing::{Malformed, Pieces, unpack};
pub use state::{State, StateEvent};

/// Members of one ring, and nodes of one cluster, at most. A join with all of them fits one datagram.
pub const MEMBERS_MAX: usize = 64;
/// Largest message that `multicast` takes: 1 MiB (TOTEM.md section 8.4).
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Largest standing that a join message carries: 2 KiB.
pub const STANDING_BYTES_MAX: usize = 2048;
/// Messages between the oldest not freed and the newest of a ring (TOTEM.md section 14.2, sort queue).
pub const WINDOW_SLOTS_MAX: u32 = 16_384;
/// Retransmission requests in one token (TOTEM.md section 14.2).
pub const REQUESTS_MAX: usize = 30;
/// Ring sequence numbers reserved durably at a time (CLUSTER.md section 8).
pub const RESERVE_BLOCK: u64 = 1024;
/// No ring sequence number lies above this: a peer that claims more is broken, and following it would use up the
/// numbers of the whole cluster. At one ring a microsecond it lasts 2,283 years.
pub const RING_SEQ_MAX: u64 = 1 << 56;
