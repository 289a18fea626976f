//! The watchdog: hardware that resets the machine when nobody feeds it.
//!
//! Promises: "armed" and the timeout are read from the device, never assumed (SAFETY.md 1.8); a process that dies
//! without a word leaves it armed. Never: a timer of its own that feeds (SAFETY.md 2.5, sabotage 20): each feed is one
//! call by the loop whose life it proves.
//!
//! ```text
//!  the fencer's loop ──feed()──▶ dyn Watchdog ◀── Device: /dev/watchdog, ioctls
//!                                             ◀── Socket: the lab's, words of proto.rs; it kills the machine
//! ```

mod device;
pub mod proto;
mod socket;

use core::time::Duration;
use std::io;

pub use device::Device;
pub use socket::Socket;

/// What the device itself says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// It resets the machine this long after the last feed.
    For(Duration),
    /// It does nothing.
    Not,
}

/// Why a watchdog cannot be relied on. Whoever counts on the self-fencing bound must not, from this moment.
#[derive(Debug, thiserror::Error)]
pub enum WatchdogError {
    /// The device took another timeout than was asked for.
    #[error(
        "the watchdog took {got:?} instead of {wanted:?}: choose a timeout that the device can keep"
    )]
    OtherTimeout {
        /// What was asked for.
        wanted: Duration,
        /// What it took.
        got: Duration,
    },
    /// The device cannot be stopped any more ("nowayout"); the machine resets unless it is fed on.
    #[error(
        "the watchdog cannot be disarmed: it was built without a way out, so keep it fed or power the machine off"
    )]
    NoWayOut,
    /// It speaks against its protocol.
    #[error("the watchdog said {0:?}")]
    Strange(String),
    /// The system says no.
    #[error("the watchdog: {0}")]
    System(#[from] io::Error),
}

/// A watchdog that was opened.
pub trait Watchdog: Send {
    /// Starts it, or changes its timeout; whole seconds, at least one. What the device made of it is checked.
    fn arm(&mut self, timeout: Duration) -> Result<(), WatchdogError>;
    /// One feed. Returns at once.
    fn feed(&mut self) -> Result<(), WatchdogError>;
    /// Asks the device.
    fn armed(&mut self) -> Result<Armed, WatchdogError>;
    /// Stops it, on purpose only (`detach`, `suspend`).
    fn disarm(&mut self) -> Result<(), WatchdogError>;
}

#[cfg(test)]
mod tests;
