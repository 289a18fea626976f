//! From events to figures: overlaps, gaps, and who shot whom.

use super::events::{Event, What};
use crate::power::{PowerEvent, PowerLine};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// Two intervals that overlap by less are not told apart by the probes (SAFETY.md 2.1).
pub const EPSILON_NS: u64 = 10_000_000;

/// When one machine had one exclusive thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Who.
    pub machine: String,
    /// From.
    pub start_ns: u64,
    /// To; the end of the events where it never ended.
    pub end_ns: u64,
}

/// A power command that came through a BMC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shot {
    /// Who was shot.
    pub machine: String,
    /// Address of whoever last talked to that BMC before; none if nobody was seen.
    pub by: Option<Ipv4Addr>,
    /// When it was asked for.
    pub asked_ns: u64,
    /// When the machine was really dead; none if it was dead already, or the BMC lied.
    pub dead_ns: Option<u64>,
}

/// The time in which no try succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Start of the last good try before.
    pub start_ns: u64,
    /// End of the first good try after.
    pub end_ns: u64,
    /// Who answered before.
    pub from: String,
    /// Who answered after.
    pub to: String,
}

impl Gap {
    /// How long it was.
    #[must_use]
    pub fn ms(&self) -> f64 {
        ms(self.end_ns - self.start_ns)
    }
}

/// What was seen in a stretch of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Per watched address: for how long two machines had it at once.
    pub address_overlap_ms: BTreeMap<String, f64>,
    /// Per watched process: for how long two machines ran it at once.
    pub process_overlap_ms: BTreeMap<String, f64>,
    /// Per watched address: questions to which more than one answered.
    pub double_answers: BTreeMap<String, u64>,
    /// Holders in turn, per address and per process.
    pub holders: BTreeMap<String, Vec<Interval>>,
    /// The longest time without a good try; none if fewer than two were good.
    pub longest_gap: Option<Gap>,
    /// Its length.
    pub longest_gap_ms: Option<f64>,
    /// From the last good try to the end of the events: an outage that did not end.
    pub silent_at_end_ms: Option<f64>,
    /// Good tries and all tries.
    pub http_good: u64,
    /// All tries.
    pub http_tries: u64,
    /// Power commands through BMCs that asked for off or reset.
    pub shots: Vec<Shot>,
    /// Probes that failed: with any, the rest proves nothing.
    pub blind: Vec<String>,
}

impl Verdict {
    /// The longest overlap of anything.
    #[must_use]
    pub fn overlap_ms(&self) -> f64 {
        self.address_overlap_ms
            .values()
            .chain(self.process_overlap_ms.values())
            .fold(0.0, |a, b| a.max(*b))
    }
}

/// Nanoseconds as milliseconds, for people.
#[must_use]
pub fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Judges all events from `from_ns` on. Addresses and processes are followed from the beginning:
/// what was held before is held.
#[must_use]
pub fn judge(
    events: &[Event],
    power: &[PowerLine],
    addresses: &[IpAddr],
    bmcs: &BTreeMap<String, Ipv4Addr>,
    from_ns: u64,
) -> Verdict {
    let end_ns = events.iter().map(|e| e.at_ns).max().unwrap_or(from_ns);
    let mut verdict = Verdict::default();
    for (thing, intervals) in intervals(events, power, addresses, end_ns) {
        let overlap = ms(overlap_ns(&intervals, from_ns));
        let kind = match thing.parse::<IpAddr>() {
            Ok(_) => &mut verdict.address_overlap_ms,
            Err(_) => &mut verdict.process_overlap_ms,
        };
        kind.insert(thing.clone(), overlap);
        verdict.holders.insert(thing, intervals);
    }
    let recent = events.iter().filter(|e| e.at_ns >= from_ns);
    for event in recent {
        match &event.what {
            What::Answered { address, macs } => {
                let doubles = verdict.double_answers.entry(address.to_string()).or_default();
                *doubles += u64::from(macs.len() > 1);
            }
            What::ProbeFailed { probe, error } => verdict.blind.push(format!("{probe}: {error}")),
            _ => {}
        }
    }
    judge_http(events, from_ns, end_ns, &mut verdict);
    verdict.shots = shots(events, power, bmcs, from_ns);
    verdict
}

/// When a machine's power went: nothing is held there after that.
fn deaths(events: &[Event], power: &[PowerLine]) -> BTreeMap<String, BTreeSet<u64>> {
    let mut deaths: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let dead = [PowerEvent::Dead, PowerEvent::Rebooted];
    for line in power.iter().filter(|l| dead.contains(&l.event)) {
        deaths.entry(line.machine.clone()).or_default().insert(line.at_ns);
    }
    for event in events {
        if let What::MachineGone { machine } = &event.what {
            deaths.entry(machine.clone()).or_default().insert(event.at_ns);
        }
    }
    deaths
}

fn intervals(
    events: &[Event],
    power: &[PowerLine],
    addresses: &[IpAddr],
    end_ns: u64,
) -> BTreeMap<String, Vec<Interval>> {
    let deaths = deaths(events, power);
    let mut open: BTreeMap<(String, String, i32), u64> = BTreeMap::new();
    let mut done: BTreeMap<String, Vec<Interval>> = BTreeMap::new();
    for address in addresses {
        done.insert(address.to_string(), Vec::new());
    }
    let mut close = |thing: &str, machine: &str, start_ns: u64, end_ns: u64| {
        // The power may have gone before the event was seen, or no end was ever seen.
        let died = deaths.get(machine).and_then(|d| d.range(start_ns..).next().copied());
        let end_ns = died.map_or(end_ns, |d| d.min(end_ns));
        let interval = Interval { machine: machine.to_owned(), start_ns, end_ns };
        done.entry(thing.to_owned()).or_default().push(interval);
    };
    for event in events {
        let (thing, machine, id, begins) = match &event.what {
            What::AddressAdded { machine, address, .. } if addresses.contains(address) => {
                (address.to_string(), machine, 0, true)
            }
            What::AddressRemoved { machine, address, .. } if addresses.contains(address) => {
                (address.to_string(), machine, 0, false)
            }
            What::ProcessStarted { machine, label, pid } => (label.clone(), machine, *pid, true),
            What::ProcessStopped { machine, label, pid } => (label.clone(), machine, *pid, false),
            What::MachineGone { machine } => {
                // A process's own end may be written after this; an address's never comes.
                let ended: Vec<_> =
                    open.keys().filter(|(_, m, id)| m == machine && *id == 0).cloned().collect();
                for key in ended {
                    if let Some(start) = open.remove(&key) {
                        close(&key.0, machine, start, event.at_ns);
                    }
                }
                continue;
            }
            _ => continue,
        };
        let key = (thing.clone(), machine.clone(), id);
        if begins {
            open.insert(key, event.at_ns);
        } else if let Some(start) = open.remove(&key) {
            close(&thing, machine, start, event.at_ns);
        }
    }
    for ((thing, machine, _), start) in open {
        close(&thing, &machine, start, end_ns);
    }
    for intervals in done.values_mut() {
        intervals.sort_by_key(|i| i.start_ns);
    }
    done
}

/// For how long two machines had it at once, after `from_ns`; each pair beyond epsilon counts.
fn overlap_ns(intervals: &[Interval], from_ns: u64) -> u64 {
    let mut sum = 0;
    for (i, a) in intervals.iter().enumerate() {
        for b in intervals[i + 1..].iter().filter(|b| b.machine != a.machine) {
            let start = a.start_ns.max(b.start_ns).max(from_ns);
            let shared = a.end_ns.min(b.end_ns).saturating_sub(start);
            if shared > EPSILON_NS {
                sum += shared;
            }
        }
    }
    sum
}

fn judge_http(events: &[Event], from_ns: u64, end_ns: u64, verdict: &mut Verdict) {
    let mut good: Vec<(u64, u64, &str)> = Vec::new();
    for event in events {
        let What::Http { start_ns, node } = &event.what else { continue };
        if *start_ns < from_ns {
            continue;
        }
        verdict.http_tries += 1;
        if let Some(node) = node {
            good.push((*start_ns, event.at_ns, node));
        }
    }
    verdict.http_good = good.len() as u64;
    good.sort_unstable();
    // From the start of a good try to the end of the next good one.
    let gap = |pair: &[(u64, u64, &str)]| Gap {
        start_ns: pair[0].0,
        end_ns: pair[1].1,
        from: pair[0].2.to_owned(),
        to: pair[1].2.to_owned(),
    };
    verdict.longest_gap = good.windows(2).map(gap).max_by_key(|g| g.end_ns - g.start_ns);
    verdict.longest_gap_ms = verdict.longest_gap.as_ref().map(Gap::ms);
    verdict.silent_at_end_ms = good.last().map(|g| ms(end_ns.saturating_sub(g.0)));
}

fn shots(
    events: &[Event],
    power: &[PowerLine],
    bmcs: &BTreeMap<String, Ipv4Addr>,
    from_ns: u64,
) -> Vec<Shot> {
    let mut shots: Vec<Shot> = Vec::new();
    for line in power.iter().filter(|l| l.at_ns >= from_ns && l.caller == "bmc") {
        match line.event {
            PowerEvent::AskedOff
            | PowerEvent::AskedReset
            | PowerEvent::Lied
            | PowerEvent::Failed => {
                let bmc = bmcs.get(&line.machine);
                let by = events.iter().rev().filter(|e| e.at_ns <= line.at_ns).find_map(|e| {
                    let What::BmcPacket { from, to } = &e.what else { return None };
                    (Some(to) == bmc).then_some(*from)
                });
                let machine = line.machine.clone();
                shots.push(Shot { machine, by, asked_ns: line.at_ns, dead_ns: None });
            }
            PowerEvent::Dead => {
                let last = shots.iter_mut().rev().find(|s| s.machine == line.machine);
                if let Some(shot) = last {
                    shot.dead_ns = Some(line.at_ns);
                }
            }
            _ => {}
        }
    }
    shots
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
