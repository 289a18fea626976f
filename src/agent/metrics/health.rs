//! Freshness of the ring's loop, for probes and for the watchdog.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use base::Instant;

/// Without a turn of the ring's loop for this long the agent counts as dead for `/healthz`.
const TURN_AGE_MAX: Duration = Duration::from_secs(10);

/// Freshness of the ring's loop, for probes and for the watchdog.
#[derive(Debug, Default)]
pub struct Health {
    turn: AtomicU64,
    ready: AtomicBool,
}

impl Health {
    /// The ring's loop began a turn.
    pub fn turn(&self, now: Instant) {
        self.turn.store(now.0, Ordering::Relaxed);
    }

    /// The member is in an open era, or in none that could open one (inquorate members are not ready).
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// When the last turn began.
    pub fn last_turn(&self) -> Instant {
        Instant(self.turn.load(Ordering::Relaxed))
    }

    /// For `/healthz`.
    pub fn alive(&self, now: Instant) -> Result<(), String> {
        let turn = self.last_turn();
        if turn == Instant::ZERO || now.since(turn) > TURN_AGE_MAX {
            return Err("the ring's loop does not turn".into());
        }
        Ok(())
    }

    /// For `/readyz`.
    pub fn ready(&self, now: Instant) -> Result<(), String> {
        self.alive(now)?;
        if self.ready.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("this member is in no open era; see `palisade status`".into())
        }
    }
}
