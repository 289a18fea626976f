//! The words that all pure crates share.
//!
//! Promises: plain data with an order, a text form and a serialised form; nothing here acts. Never: sockets,
//! clocks, randomness of its own, floating point, hash-ordered collections.
//!
//! ```text
//!   ids ── epoch ── ring events ──▶ totem ─▶ (agent | sim) ─▶ cluster
//!   time, transitions!, rng      ──▶ every pure crate
//! ```
//!
//! Sources: CLUSTER.md section 1 (identity), section 3 (eras), section 4 (epochs); TOTEM.md section 2.2
//! (extended virtual synchrony).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[doc(hidden)]
pub extern crate alloc as __alloc;
#[cfg(any(test, feature = "sabotage"))]
extern crate std;

mod device;
pub mod exposition;
pub mod faulty;
mod ids;
pub mod ocf;
pub mod proxy;
pub mod redact;
mod resource;
mod ring;
mod rng;
mod time;
mod transitions;

pub use device::{FenceDevice, FenceDriver, RedfishService};
pub use ids::{
    BootId, Epoch, Incarnation, InvalidId, NodeId, NodeName, ResourceId, RingId, SystemUuid,
};
pub use ocf::{AgentName, OcfAgent};
pub use proxy::Proxy;
pub use resource::{Label, ResourceKind, Role};
pub use ring::{Configuration, ConfigurationKind, Guarantee, Member, RingEvent, RingMessage};
pub use rng::SplitMix64;
pub use time::Instant;
