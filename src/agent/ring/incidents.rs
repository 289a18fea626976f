//! The phases of failovers as this member saw them (DESIGN.md section 3), for `palisade status` and the metrics.
//!
//! Each phase is the time from the end of the one before to its own end, on this member's boot-time clock. What was not
//! seen here stays empty: a member that was not the coordinator has no time of planning.

use std::collections::VecDeque;

use base::{Instant, ResourceId, RingId};
use cluster::{Phase, Record};
use fencing::{FenceResult, Incident, PowerGoal, PowerState};

use crate::status::Phases;

/// Incidents that are kept.
pub(super) const INCIDENTS_MAX: usize = 100;

/// One failure of one member.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) incident: Incident,
    /// Milliseconds since 1970 at the last token before it.
    pub(super) at_ms: u64,
    pub(super) phases: Phases,
    /// End of the newest phase.
    mark: Instant,
    /// When the power-off was ordered.
    fence_at: Option<Instant>,
    recovered: bool,
}

/// All that are kept, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    seen: VecDeque<Seen>,
    token_at: Option<Instant>,
    /// The ring that broke last: its last token, and when it was given up.
    broken: Option<(Instant, Instant)>,
}

impl Incidents {
    /// A token of an installed ring.
    pub(super) const fn token(&mut self, at: Instant) {
        self.token_at = Some(at);
    }

    /// The ring was given up.
    pub(super) fn ring_broken(&mut self, _ring: RingId, now: Instant) {
        self.broken = Some((self.token_at.unwrap_or(now), now));
    }

    /// The engine said something about an incident. `wall_ms` is now, for people.
    pub(super) fn record(&mut self, now: Instant, wall_ms: u64, record: &Record) {
        let Some(incident) = record.incident else { return };
        let (token, gone) = self.broken.unwrap_or((now, now));
        let seen = match self.seen.iter().position(|seen| seen.incident == incident) {
            Some(at) => &mut self.seen[at],
            None => {
                if self.seen.len() == INCIDENTS_MAX {
                    self.seen.pop_front();
                }
                let ago = u64::try_from(now.since(token).as_millis()).unwrap_or(0);
                self.seen.push_back(Seen {
                    incident,
                    at_ms: wall_ms.saturating_sub(ago),
                    phases: Phases { detect: Some(ms(token, gone)), ..Phases::default() },
                    mark: gone,
                    fence_at: None,
                    recovered: false,
                });
                let last = self.seen.len() - 1;
                &mut self.seen[last]
            }
        };
        let since = ms(seen.mark, now);
        let phases = &mut seen.phases;
        let slot = match record.phase {
            Phase::Agree => &mut phases.agree,
            // The order is the end of planning; what happens until the answer is `fence`.
            Phase::Fence => {
                seen.fence_at.get_or_insert(now);
                &mut phases.plan
            }
            Phase::Verify => &mut phases.verify,
            // Said when what was lost runs again.
            Phase::Announce => {
                seen.recovered = true;
                &mut phases.recover
            }
            Phase::Detect | Phase::Plan | Phase::Recover | Phase::Note => return,
        };
        if slot.is_none() {
            *slot = Some(since);
            seen.mark = now;
        }
    }

    /// This member's own fencer ended a command: splits what was spent into command and reading back.
    pub(super) fn fenced(&mut self, result: &FenceResult) {
        let off = result.goal == PowerGoal::Off && result.outcome == Ok(PowerState::Off);
        let Some(seen) = self.seen.iter_mut().rev().find(|s| s.incident == result.incident) else {
            return;
        };
        if off && seen.phases.fence.is_none() {
            let command = result.took.saturating_sub(result.verify);
            seen.phases.fence = Some(u64::try_from(command.as_millis()).unwrap_or(u64::MAX));
            // What is left until the evidence takes effect is `verify`.
            seen.mark = seen.fence_at.unwrap_or(seen.mark) + command;
        }
    }

    /// An address that moved was seen at its new place.
    pub(super) fn announced(&mut self, _resource: &ResourceId, took_ms: u64) {
        if let Some(seen) = self.seen.back_mut() {
            let known = seen.phases.announce.unwrap_or(0);
            seen.phases.announce = Some(known.max(took_ms));
        }
    }

    /// The oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Seen> {
        self.seen.iter()
    }
}

fn ms(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base::{Epoch, Incarnation, NodeId};

    use super::*;

    const fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn the_phases_of_a_power_cut_add_up() {
        let node = NodeId::new(1).expect("not zero");
        let ring = RingId { seq: 8, rep: NodeId::new(2).expect("not zero") };
        let incident = Incident { node, ring };
        let mut incidents = Incidents::default();
        incidents.token(at(1000));
        incidents.ring_broken(RingId { seq: 4, rep: node }, at(1500));
        let mut say = |ms: u64, phase: Phase| {
            let record = Record { phase, incident: Some(incident), text: String::new() };
            incidents.record(at(ms), 1_000_000 + ms, &record);
        };
        say(1650, Phase::Agree);
        say(1670, Phase::Fence);
        let result = FenceResult {
            incident,
            epoch: Epoch { ring, coordinator: Incarnation { counter: 1, random: 1 } },
            goal: PowerGoal::Off,
            outcome: Ok(PowerState::Off),
            commanded: true,
            took: Duration::from_millis(150),
            verify: Duration::from_millis(40),
        };
        incidents.fenced(&result);
        let mut say = |ms: u64, phase: Phase| {
            let record = Record { phase, incident: Some(incident), text: String::new() };
            incidents.record(at(ms), 1_000_000 + ms, &record);
        };
        say(1830, Phase::Verify);
        say(1900, Phase::Announce);
        say(1950, Phase::Announce);
        incidents.announced(&"vip".parse().expect("valid"), 12);
        let seen = incidents.iter().next().expect("one");
        assert_eq!(seen.at_ms, 1_001_000);
        let expected = Phases {
            detect: Some(500),
            agree: Some(150),
            plan: Some(20),
            fence: Some(110),
            verify: Some(50),
            recover: Some(70),
            announce: Some(12),
        };
        assert_eq!(seen.phases, expected);
    }
}
