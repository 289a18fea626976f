//! Random runs: faults of all kinds, then quiet; afterwards everybody is together and every property held.

use core::time::Duration;
use std::{format, println, string::String, vec::Vec};

use base::{Guarantee, NodeId, SplitMix64};

use super::{
    evs,
    net::{Faults, Net, node},
};

/// Whatever went before: a whole network has one ring again by then. Half a second of hearing each other and saying so
/// (`engine::mend`), and at most two times consensus (600 ms each) for gatherings that were under way or meet in between.
const HEALED_MS: u64 = 2000;

/// One short run. The error names the property.
fn run(seed: u64) -> Result<u64, String> {
    let mut dice = SplitMix64::new(seed ^ 0xA5A5_0000);
    let nodes = 2 + dice.below(4) as u16;
    let wrap = dice.below(4) == 0;
    let mut net =
        Net::with(seed, nodes, if wrap { |c| c.sequence_start = u32::MAX - 40 } else { |_| {} });
    net.faults = match dice.below(4) {
        0 => Faults::NONE,
        1 => Faults { loss: 10, duplicate: 10, delay: 400 },
        2 => Faults { loss: 50, duplicate: 50, delay: 3000 },
        _ => Faults { loss: 150, duplicate: 20, delay: 800 },
    };
    if dice.below(4) == 0 {
        net.disk = 300_000;
    }
    net.start_all();
    net.run_ms(dice.below(600));
    for _ in 0..4 + dice.below(8) {
        chaos(&mut net, &mut dice, nodes);
        for _ in 0..dice.below(4) {
            traffic(&mut net, &mut dice);
            net.run(Duration::from_micros(dice.below(2000)));
        }
        let pause = [1, 5, 30, 300, 900][dice.below(5) as usize];
        net.run_ms(dice.below(pause));
    }
    // quiet: everything works again, and all come together
    net.cuts.clear();
    net.faults = Faults::NONE;
    net.disk = 500;
    net.thaw_all();
    for id in net.ids() {
        if net.machines[&id].ring.is_none() {
            net.start(id);
        }
    }
    let all: Vec<u16> = (1..=nodes).collect();
    let mut waited = 0;
    while !net.together(&all) {
        net.run_ms(50);
        waited += 50;
        if waited > HEALED_MS {
            return Err(format!(
                "liveness: not together after {waited} ms of quiet {}",
                net.describe()
            ));
        }
    }
    for id in net.ids() {
        net.send(id, Guarantee::Safe, 10);
    }
    net.run_ms(400);
    if !net.together(&all) {
        return Err(format!("liveness: fell apart in quiet {}", net.describe()));
    }
    evs::check(&net.lives)?;
    Ok(waited)
}

fn chaos(net: &mut Net, dice: &mut SplitMix64, nodes: u16) {
    let any = |dice: &mut SplitMix64| node(1 + dice.below(u64::from(nodes)) as u16);
    let id = any(dice);
    match dice.below(12) {
        0 => net.crash(id),
        1 | 2 => {
            net.crash(id);
            net.start(id);
        }
        3 if net.machines[&id].ring.is_some() => net.leave(id),
        4 => net.freeze(id, Duration::from_millis(dice.below(1500))),
        5 => {
            // two sides
            for a in net.ids() {
                for b in net.ids() {
                    let side = |n: NodeId| (n.as_u16() ^ id.as_u16()) & 1;
                    if side(a) != side(b) {
                        net.cuts.insert((a, b));
                    }
                }
            }
        }
        6 => {
            let other = any(dice);
            net.cut(id.as_u16(), other.as_u16());
        }
        7 => {
            let other = any(dice);
            net.cuts.insert((id, other));
        }
        8 | 9 => net.cuts.clear(),
        _ => {
            if net.machines[&id].ring.is_none() {
                net.start(id);
            }
        }
    }
}

fn traffic(net: &mut Net, dice: &mut SplitMix64) {
    for id in net.ids() {
        for _ in 0..dice.below(6) {
            let guarantee = if dice.below(2) == 0 { Guarantee::Safe } else { Guarantee::Agreed };
            let size = [1, 60, 700, 1395, 5000][dice.below(5) as usize];
            net.send(id, guarantee, size);
        }
    }
}

/// `TOTEM_RUNS=from..to` or a count; a failing seed prints the command that replays it.
fn runs(default: u64) -> (u64, u64) {
    let text = std::env::var("TOTEM_RUNS").unwrap_or_default();
    match text.split_once("..") {
        Some((from, to)) => (from.parse().expect("a number"), to.parse().expect("a number")),
        None => (0, text.parse().unwrap_or(default)),
    }
}

#[test]
fn random_runs_keep_the_seven_properties() {
    let (from, to) = runs(400);
    let mut waits = Vec::new();
    for seed in from..to {
        match std::panic::catch_unwind(|| run(seed)) {
            Ok(Ok(waited)) => waits.push((waited, seed)),
            Ok(Err(what)) => panic!(
                "{what}\nreplay: TOTEM_RUNS={seed}..{} cargo test -p totem random_runs",
                seed + 1
            ),
            Err(_) => {
                panic!("replay: TOTEM_RUNS={seed}..{} cargo test -p totem random_runs", seed + 1)
            }
        }
    }
    waits.sort_unstable();
    let longest = &waits[waits.len().saturating_sub(8)..];
    let share = |per_mille: usize| waits.get(waits.len() * per_mille / 1000).map(|(ms, _)| *ms);
    println!(
        "{} runs, way together in ms: half within {:?}, 99 % {:?}, 99.9 % {:?}, longest (ms, seed) {longest:?}",
        to - from,
        share(500),
        share(990),
        share(999)
    );
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let trace = |seed| {
        let mut net = Net::started(seed, 3);
        net.faults = Faults { loss: 50, duplicate: 50, delay: 900 };
        let mut dice = SplitMix64::new(seed);
        for _ in 0..20 {
            traffic(&mut net, &mut dice);
            net.run_ms(40);
        }
        format!("{:?} {}", net.lives, net.datagrams)
    };
    assert_eq!(trace(5), trace(5));
    assert_ne!(trace(5), trace(6));
}
