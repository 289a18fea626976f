//! The phases of failovers as this member saw them (DESIGN.md section 3), for `palisade status` and the metrics.
//!
//! Each phase is the time from the end of the one before to its own end, on this member's boot-time clock. What was not
//! seen here stays empty: a member that was not the coordinator has no time of planning.

use std::{collections::VecDeque, time::Duration};

use base::{Instant, RingId};
use cluster::{Phase, Record};
use fencing::{FenceResult, Incident, PowerGoal, PowerState};

use crate::status::Phases;

/// Incidents that are kept.
pub(super) const INCIDENTS_MAX: usize = 100;

/// Addresses whose new place nobody has seen so long after everything runs are not waited for.
const UNSEEN_MAX: Duration = Duration::from_secs(6);

/// One failure of one member.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) incident: Incident,
    /// Milliseconds since 1970 at the last token before it.
    pub(super) at_ms: u64,
    pub(super) phases: Phases,
    /// End of the newest phase, up to `verify`.
    mark: Instant,
    /// When the power-off was ordered.
    fence_at: Option<Instant>,
    /// When everything ran again.
    runs_at: Option<Instant>,
    /// From the first address that was added to the last that was seen.
    announced_from: Option<Instant>,
    announced_to: Option<Instant>,
    /// In the metrics already.
    counted: bool,
}

impl Seen {
    /// Both are known late, and in any order: services start while an address is announced.
    fn share_recovery(&mut self) {
        let announced = self.announced_from.zip(self.announced_to);
        let announce = announced.map(|(from, to)| ms(from, to));
        self.phases.announce = announce;
        if let Some(runs_at) = self.runs_at {
            let end = self.announced_to.map_or(runs_at, |to| to.max(runs_at));
            let recover = ms(self.mark, end).saturating_sub(announce.unwrap_or(0));
            self.phases.recover = Some(recover);
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        let waits = self.announced_from.is_some() && self.announced_to.is_none();
        self.runs_at.is_some_and(|at| !waits || now >= at + UNSEEN_MAX)
    }
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
                    runs_at: None,
                    announced_from: None,
                    announced_to: None,
                    counted: false,
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
            Phase::Announce => {
                seen.announced_from.get_or_insert(now);
                return;
            }
            Phase::Seen => {
                seen.announced_to = Some(now);
                return seen.share_recovery();
            }
            Phase::Recovered => {
                seen.runs_at.get_or_insert(now);
                return seen.share_recovery();
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

    /// Those that are over and were not yet asked for here: each once, for the metrics.
    pub(super) fn over(&mut self, now: Instant) -> Vec<Phases> {
        let over = self.seen.iter_mut().filter(|seen| !seen.counted && seen.is_over(now));
        over.map(|seen| {
            seen.counted = true;
            seen.phases
        })
        .collect()
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
        say(1870, Phase::Announce);
        say(1882, Phase::Seen);
        assert!(incidents.over(at(1890)).is_empty(), "not everything runs");
        let mut say = |ms: u64, phase: Phase| {
            let record = Record { phase, incident: Some(incident), text: String::new() };
            incidents.record(at(ms), 1_000_000 + ms, &record);
        };
        say(1900, Phase::Recovered);
        say(1950, Phase::Recovered);
        let expected = Phases {
            detect: Some(500),
            agree: Some(150),
            plan: Some(20),
            fence: Some(110),
            verify: Some(50),
            recover: Some(58),
            announce: Some(12),
        };
        let seen = incidents.iter().next().expect("one");
        assert_eq!(seen.at_ms, 1_001_000);
        assert_eq!(seen.phases, expected);
        assert_eq!(expected.total_ms(), 900, "from the last token until everything runs");
        assert_eq!(incidents.over(at(1960)), [expected]);
        assert!(incidents.over(at(1970)).is_empty(), "each once");
    }

    #[test]
    fn an_address_that_is_seen_after_the_last_start_lengthens_the_whole() {
        let node = NodeId::new(1).expect("not zero");
        let ring = RingId { seq: 8, rep: NodeId::new(2).expect("not zero") };
        let incident = Incident { node, ring };
        let mut incidents = Incidents::default();
        incidents.token(at(0));
        incidents.ring_broken(ring, at(500));
        let mut say = |ms: u64, phase: Phase| {
            let record = Record { phase, incident: Some(incident), text: String::new() };
            incidents.record(at(ms), ms, &record);
        };
        say(600, Phase::Agree);
        say(700, Phase::Verify);
        say(740, Phase::Announce);
        say(750, Phase::Recovered);
        assert!(incidents.over(at(6749)).is_empty(), "its address may still be seen");
        let mut say = |ms: u64, phase: Phase| {
            let record = Record { phase, incident: Some(incident), text: String::new() };
            incidents.record(at(ms), ms, &record);
        };
        say(800, Phase::Seen);
        let seen = incidents.iter().next().expect("one").phases;
        assert_eq!((seen.recover, seen.announce, seen.total_ms()), (Some(40), Some(60), 800));
        assert_eq!(incidents.over(at(800)), [seen]);
    }

    #[test]
    fn an_address_that_nobody_sees_is_not_waited_for() {
        let node = NodeId::new(1).expect("not zero");
        let ring = RingId { seq: 8, rep: NodeId::new(2).expect("not zero") };
        let incident = Incident { node, ring };
        let mut incidents = Incidents::default();
        for (ms, phase) in [(600, Phase::Verify), (700, Phase::Announce), (750, Phase::Recovered)] {
            let record = Record { phase, incident: Some(incident), text: String::new() };
            incidents.record(at(ms), ms, &record);
        }
        assert!(incidents.over(at(6749)).is_empty());
        let over = incidents.over(at(6750));
        assert_eq!(
            over.iter().map(|p| (p.recover, p.announce)).collect::<Vec<_>>(),
            [(Some(150), None)]
        );
    }
}
