//! Baseboard controllers: slow, away, without mains, deaf, stuck, at the end of the wrong cable.
//!
//! What they read is true. A device that says "off" of a machine that is on, without that machine's watchdog behind it,
//! cannot be survived by anybody; two levels or a watchdog are the answer (SAFETY.md 1.8), not a rule of the core.

use fencing::PowerState;

use crate::queue::Time;

/// Silence after which a driver gives a session up, if its deadline is not nearer.
pub const SILENCE_US: Time = 2_000_000;

/// One BMC.
#[derive(Clone, Debug, Default)]
pub struct Bmc {
    /// How many faults take it away.
    pub away: u32,
    /// How many faults make it slow.
    pub slow: u32,
    /// How many faults make it accept and do nothing.
    pub stuck: u32,
    /// How many faults lose its answers.
    pub loses_answers: u32,
    /// Whose BMC stands at the end of its cable.
    pub crossed: Vec<usize>,
    /// Accepted, and not off yet: still reads as on.
    pub off_at: Option<Time>,
}

impl Bmc {
    /// Whether it answers at all.
    pub fn answers(&self, mains: bool, shares_power: bool) -> bool {
        self.away == 0 && (mains || !shares_power)
    }

    /// Everything that was wrong with it is put right.
    pub fn mend(&mut self) {
        *self = Self { off_at: self.off_at, ..Self::default() };
    }
}

/// What a read says.
pub fn reading(powered: bool) -> PowerState {
    if powered { PowerState::On } else { PowerState::Off }
}
