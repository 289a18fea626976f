//! Whether the loop of a part turns, and what probes of a kubelet make of it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use base::Instant;

/// Without a turn of its loop for this long a part counts as dead for `/healthz`.
const TURN_AGE_MAX: Duration = Duration::from_secs(10);

/// What `/healthz` and `/readyz` say. Never whether the cluster is well: a restart of this container helps nobody then.
#[derive(Debug, Default)]
pub struct Health {
    turn: AtomicU64,
    ready: AtomicBool,
    /// Nothing turns yet, and why; or nothing any more.
    idle: Mutex<Option<&'static str>>,
}

impl Health {
    /// The ring's loop began a turn.
    pub fn turn(&self, now: Instant) {
        self.turn.store(now.0, Ordering::Relaxed);
    }

    /// The member is in an open era, holds its state and has reported; for a part, that it does its work.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// No loop has to turn as long as this is so; it is not ready, for that reason.
    pub fn set_idle(&self, why: Option<&'static str>) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn idle(&self) -> Option<&'static str> {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the last turn began.
    pub fn last_turn(&self) -> Instant {
        Instant(self.turn.load(Ordering::Relaxed))
    }

    /// For `/healthz`.
    pub fn alive(&self, now: Instant) -> Result<(), String> {
        if self.idle().is_some() {
            return Ok(());
        }
        let turn = self.last_turn();
        if turn == Instant::ZERO || now.since(turn) > TURN_AGE_MAX {
            return Err("the loop of this part does not turn".into());
        }
        Ok(())
    }

    /// For `/readyz`.
    pub fn ready(&self, now: Instant) -> Result<(), String> {
        if let Some(why) = self.idle() {
            return Err(why.into());
        }
        self.alive(now)?;
        if self.ready.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("not in an open era, or not current and reported in it; see `palisade status`"
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_lives_and_is_not_ready_and_a_loop_that_stands_still_is_dead() {
        let health = Health::default();
        let at = Instant::from_millis;
        assert!(health.alive(at(100)).is_err(), "no turn yet");
        health.set_idle(Some("waits"));
        assert_eq!(health.alive(at(1_000_000)), Ok(()));
        health.set_ready(true);
        assert_eq!(health.ready(at(1_000_000)), Err("waits".into()));
        health.set_idle(None);
        health.turn(at(1_000_000));
        assert_eq!(health.ready(at(1_010_000)), Ok(()));
        assert!(health.alive(at(1_010_001)).is_err());
        assert!(health.ready(at(1_010_001)).is_err());
        health.set_ready(false);
        assert!(health.ready(at(1_000_001)).is_err());
    }
}
