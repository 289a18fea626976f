//! Which faults a seed plans: single ones at times or at moments, and mixes that hurt only together.

use super::{Aim, Fault, Moment, Planned, Trap};
use crate::{
    dice::Dice,
    fact::Part,
    params::{Params, exclusive},
    queue::Time,
};

/// Kinds of single faults.
const KINDS: u64 = 33;

/// Draws the faults of a run. A random half of the kinds is left out of each run, so that the rest comes together more
/// often (swarm testing).
pub fn draw(dice: &mut Dice, params: &Params, duration: Time) -> Vec<Planned> {
    let mut enabled: Vec<u64> = (0..KINDS).filter(|_| dice.chance(500)).collect();
    if enabled.len() < 4 {
        enabled = (0..KINDS).collect();
    }
    // in some runs most faults wait for their moment, in others none does
    let trapped = *dice.pick(&[0, 200, 700]);
    let mut planned: Vec<Planned> = (0..params.faults)
        .map(|_| {
            let kind = *dice.pick(&enabled);
            let fault = one(dice, params.nodes, kind);
            // some begin during the start-up (SAFETY.md 1.1)
            let begin = if dice.chance(150) {
                dice.below(duration / 10)
            } else {
                dice.range(duration / 10, duration - duration / 10)
            };
            let length = match dice.below(7) {
                0 | 1 => dice.range(20_000, 500_000),
                2 | 3 => dice.range(500_000, 3_000_000),
                4 | 5 => dice.range(2_000_000, 10_000_000),
                _ => dice.range(8_000_000, 20_000_000),
            };
            let trap = dice.chance(trapped).then(|| Trap::draw(dice));
            Planned::new(fault, begin, length, trap)
        })
        .collect();
    if dice.chance(400) {
        let mix = match dice.below(3) {
            0 => relay(dice, params.nodes, duration),
            1 => lost_together(dice, params.nodes, duration),
            _ => hang(dice, params.nodes, duration),
        };
        planned.extend(mix);
    }
    // a lost disk goes on by its clock: beside another clock that is hours ahead it cannot know what it had used
    let loses = |planned: &Planned| {
        matches!(planned.fault, Fault::Wipe(_) | Fault::WipeTwo(..) | Fault::Restore(_))
    };
    if planned.iter().any(loses) {
        for planned in &mut planned {
            if let Fault::ClockJump(_, seconds) = planned.fault {
                planned.fault = Fault::ClocksJump(seconds);
            }
        }
    }
    for planned in &mut planned {
        planned.begin = planned.begin.min(duration - duration / 20);
    }
    planned
}

/// One run in eight suspends the cluster, mostly early, while all are still there. Drawn from dice of its own: all other runs
/// stay what they were before this fault was invented.
pub fn suspension(seed: u64, params: &Params, duration: Time) -> Option<Planned> {
    let mut dice = Dice::new(seed ^ 0x5055_5350_454e_4421);
    if !dice.chance(125) {
        return None;
    }
    let fault = Fault::Suspend(dice.below(params.nodes as u64) as usize);
    let begin = dice.range(duration / 10, duration / 2);
    Some(Planned::new(fault, begin, dice.range(3_000_000, 12_000_000), None))
}

/// A fault that certainly takes hold, for runs in which others had nothing to do.
pub fn certain(dice: &mut Dice, nodes: usize) -> Fault {
    let kind = *dice.pick(&[7, 8, 10, 12]);
    one(dice, nodes, kind)
}

/// One machine after the other is away; at each change the disk of one that stays may be lost. Whoever is left knows
/// less each time.
fn relay(dice: &mut Dice, nodes: usize, duration: Time) -> Vec<Planned> {
    let mut planned = Vec::new();
    let mut machine = dice.below(nodes as u64) as usize;
    let mut at = dice.range(duration / 10, duration / 3);
    for _ in 0..dice.range(2, 4) {
        let length = dice.range(2_000_000, 9_000_000);
        planned.push(Planned::new(absence(dice, nodes, machine), at, length, None));
        // the next one goes a little before or after this one is back
        at = (at + length + dice.below(3_000_000)).saturating_sub(1_000_000);
        let next = (machine + 1 + dice.below(nodes as u64 - 1) as usize) % nodes;
        if dice.chance(500) {
            let stays = (0..nodes).find(|n| *n != machine && *n != next).unwrap_or(next);
            let fault = if dice.chance(700) { Fault::Wipe(stays) } else { Fault::Restore(stays) };
            let begin = (at + dice.below(1_000_000)).saturating_sub(500_000);
            planned.push(Planned::new(fault, begin, dice.range(20_000, 1_000_000), None));
        }
        machine = next;
        if at > duration - duration / 10 {
            break;
        }
    }
    planned
}

/// One machine is away for long; what the others have done about it, all or most of them lose power right after.
fn lost_together(dice: &mut Dice, nodes: usize, duration: Time) -> Vec<Planned> {
    let away = dice.below(nodes as u64) as usize;
    let at = dice.range(duration / 10, duration / 4);
    let length = dice.range(10_000_000, 25_000_000);
    // of those that a power cycle does not end, mostly
    let fault = match dice.below(4) {
        0 => absence(dice, nodes, away),
        1 => Fault::Kill(away, Part::ALL.to_vec()),
        _ => Fault::isolate(nodes, away),
    };
    let mut planned = vec![Planned::new(fault, at, length, None)];
    let moment = *dice.pick(&[
        Moment::ReadOff,
        Moment::StartBegins,
        Moment::Runs,
        Moment::Opened,
        Moment::Off,
        Moment::Shot,
    ]);
    let delay_us = *dice.pick(&[1_000, 20_000, 200_000, 400_000, 600_000, 3_000_000]);
    let delay_us = dice.below(delay_us + 1);
    let trap = Trap { moment, aim: Aim::AsDrawn, delay_us };
    let length = dice.range(20_000, 3_000_000);
    planned.push(Planned::new(Fault::PowerCutAll, at + 100_000, length, Some(trap)));
    planned
}

/// A machine hangs for long, and nobody reaches its BMC: nothing but its own watchdog can end it.
fn hang(dice: &mut Dice, nodes: usize, duration: Time) -> Vec<Planned> {
    let machine = dice.below(nodes as u64) as usize;
    let at = dice.range(duration / 10, duration / 3);
    let length = dice.range(5_000_000, 20_000_000);
    vec![
        Planned::new(Fault::Freeze(machine, Part::ALL.to_vec()), at, length, None),
        Planned::new(Fault::BmcAway(machine), at, length, None),
    ]
}

/// One of the ways not to be there.
fn absence(dice: &mut Dice, nodes: usize, machine: usize) -> Fault {
    match dice.below(4) {
        0 => Fault::PowerCut(machine),
        1 => Fault::Kill(machine, Part::ALL.to_vec()),
        2 => Fault::Freeze(machine, Part::ALL.to_vec()),
        _ => Fault::isolate(nodes, machine),
    }
}

fn one(dice: &mut Dice, nodes: usize, kind: u64) -> Fault {
    let machine = dice.below(nodes as u64) as usize;
    let other = (machine + 1 + dice.below(nodes as u64 - 1) as usize) % nodes;
    let resource = dice.pick(&exclusive()).clone();
    let parts = |dice: &mut Dice| match dice.below(5) {
        0 => vec![Part::Ring],
        1 => vec![Part::Executor],
        2 => vec![Part::Fencer],
        _ => Part::ALL.to_vec(),
    };
    match kind {
        0 | 1 => Fault::PowerCut(machine),
        2 => Fault::PowerCutAll,
        3 => Fault::Kill(machine, parts(dice)),
        4 => Fault::Restart(machine),
        5 | 6 => Fault::Freeze(machine, parts(dice)),
        7 => halves(dice, nodes),
        8 => Fault::isolate(nodes, machine),
        9 => Fault::OneWay(machine, other),
        10 => Fault::Mute { machine, hears: dice.chance(500) },
        11 => {
            let mut links = Vec::new();
            for from in 0..nodes {
                for to in 0..nodes {
                    if from != to && dice.chance(400) {
                        links.push((from, to));
                    }
                }
            }
            Fault::Swizzle(links)
        }
        12 => Fault::BadWeather {
            loss: *dice.pick(&[10, 50, 200, 400]),
            jitter_us: *dice.pick(&[100, 5_000, 50_000, 300_000]),
        },
        13 => Fault::Wipe(machine),
        14 => Fault::Restore(machine),
        15 => Fault::BackUp(machine),
        16 => Fault::SlowDisk(machine),
        17 => Fault::BmcAway(machine),
        18 => Fault::BmcSlow(machine),
        19 => Fault::StopFails(machine, resource),
        20 => Fault::StopHangs(machine, resource),
        21 if dice.chance(500) => Fault::StartFails(machine, resource),
        21 => Fault::StartHangs(machine, resource),
        22 => Fault::Crash(machine, resource),
        23 if dice.chance(300) => {
            // forward only: a disk lost after its clock was set back is what the agent cannot notice
            Fault::ClockJump(machine, dice.range(1, 100_000) as i64)
        }
        23 => Fault::Forget(machine),
        24 => Fault::Standby(machine),
        25 if dice.chance(500) => Fault::FenceRequest(machine),
        25 => Fault::Move(machine, resource),
        26 => Fault::WipeTwo(machine, other),
        27 => Fault::Leave(machine),
        28 => Fault::BmcStuck(machine),
        29 => Fault::BmcLosesAnswers(machine),
        30 => Fault::BmcCrossed(machine, other),
        31 => Fault::ApiAway,
        _ => Fault::ApiStale(dice.range(1, 4) as usize),
    }
}

/// Two groups, neither of them empty.
fn halves(dice: &mut Dice, nodes: usize) -> Fault {
    let mut groups: Vec<u8> = (0..nodes).map(|_| dice.below(2) as u8).collect();
    if groups.iter().all(|group| *group == groups[0]) {
        let alone = dice.below(nodes as u64) as usize;
        groups[alone] = 1 - groups[alone];
    }
    Fault::Partition(groups)
}
