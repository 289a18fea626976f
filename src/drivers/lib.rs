//! The outside world, one folder each.
//!
//! Promises: a driver says what it *saw*. An error, a timeout and an answer that it does not understand are never
//! success (SAFETY.md 2.5, sabotage 4); nothing is sent after the deadline that the caller gave (SAFETY.md#S7).
//! Never: policy. Whether what was seen is evidence decides `fencing`; what to do about it, `cluster`.
//!
//! ```text
//!   fencer ───▶ power::PowerDevice ◀── bmc/ipmi, bmc/redfish   watchdog::Watchdog ◀── device | socket
//!   executor ─▶ resource::ResourceDriver ◀── process (shim), systemd (units), container (containerd), haproxy, ocf, vip (netlink, ARP/NDP);  tcp (cuts dead connections)
//!   ring ─────▶ probe (is the silent machine dead or only its agent?)
//!   both ─────▶ stand_in (loopback without rights, only where the configuration names it)
//! ```
//!
//! Each driver has a pure half (bytes and states, tested like a core, fuzzed by the targets `bmc`, `redfish` and `net`) and an I/O half
//! (STYLE.md 18). Sources: CLUSTER.md sections 4 to 8, SAFETY.md 1.8 and 4.4, SERVICES.md sections 1 and 6.
#![deny(unsafe_code)]

pub mod bmc;
mod clock;
pub mod container;
pub mod haproxy;
pub mod ocf;
mod sys;

pub mod power;
pub mod probe;
pub mod process;
pub mod resource;
pub mod secret;
pub mod stand_in;
pub mod systemd;
pub mod tcp;
pub mod vip;
pub mod watchdog;
