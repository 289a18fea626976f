//! A virtual address on this machine's own interface.
//!
//! Promises: nobody else on the network answers for an address when it is added; the kernel takes it away by itself
//! when nobody renews it (CLUSTER.md section 8); "stopped" is said when it is gone (SAFETY.md#S31); what was put here
//! and by whom can be told after a restart. Never: deciding when to add, renew or announce.
//!
//! ```text
//!  executor ─▶ VipDriver ─▶ netlink.rs  (put with lifetime, list, take away, links, neighbours)
//!                       └─▶ packet.rs ─▶ frames.rs  (one ARP or NS probe, 30 ms; announcements)
//! ```

mod driver;
mod frames;
mod netlink;
mod packet;
mod record;

pub use driver::{ManagedAddress, Neighbour, VipConfig, VipDriver, VipError};
pub use frames::{Heard, Mac, parse_frame};
pub use netlink::{Lifetime, Link};
pub use packet::{PROBE_WAIT, Seen};
pub use record::Record;

pub(crate) use {netlink::Netlink, packet::Voice};

#[cfg(test)]
pub(crate) mod namespace;
#[cfg(test)]
mod tests;
