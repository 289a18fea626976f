//! Baseboard controllers: slow, away, without mains; they never lie here unless a scenario says so.

use fencing::PowerState;

use crate::queue::Time;

/// Silence after which a driver gives a session up, if its deadline is not nearer.
pub const SILENCE_US: Time = 2_000_000;

/// One BMC.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bmc {
    /// How many faults take it away.
    pub away: u32,
    /// How many faults make it slow.
    pub slow: u32,
    /// Accepted, and not off yet: still reads as on.
    pub off_at: Option<Time>,
}

impl Bmc {
    /// Whether it answers at all.
    pub fn answers(&self, mains: bool, shares_power: bool) -> bool {
        self.away == 0 && (mains || !shares_power)
    }
}

/// What a read says.
pub fn reading(powered: bool) -> PowerState {
    if powered { PowerState::On } else { PowerState::Off }
}
