//! A seeded random walk: everything that can happen next is listed, one is taken, ground truth is checked.
//!
//! `PALISADE_WALKS=100000 PALISADE_SEED=7 cargo test -p cluster --release walk` runs longer and from another seed; a failing
//! walk prints the command that replays it with its trace.

use core::time::Duration;
use std::{env, format, println, string::String, time::Instant, vec::Vec};

use base::SplitMix64;

use super::world::{World, id};
use crate::{
    RequestKind,
    faulty::{ALL, BROKEN, Rule, broken},
};

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Receive(usize, usize),
    Deliver(usize),
    Sync(usize),
    Probe(usize),
    Token(usize),
    Report(usize),
    Begin(usize),
    Command(usize),
    Effect(usize),
    StopByItself(usize),
    Release(usize),
    Suspended(usize),
    Tick,
}

/// Chances of faults, drawn for each walk.
struct Swarm {
    change: u64,
    fault: u64,
    recover: u64,
    crash: bool,
    power: bool,
    freeze: bool,
    wipe: bool,
    leave: bool,
    stop_fails: bool,
    fence: bool,
    move_it: bool,
    total: bool,
    gaps: bool,
    slow: Option<usize>,
    suspend: bool,
}

fn swarm(rng: &mut SplitMix64, n: usize, suspend: bool) -> Swarm {
    let mut on = |of: u64| rng.below(4) < of;
    let (crash, power, freeze) = (on(2), on(2), on(2));
    let (wipe, leave, stop_fails, fence) = (on(1), on(2), on(1), on(1));
    let (move_it, total, gaps) = (on(2), on(1), on(2));
    Swarm {
        change: 1 + rng.below(6),
        fault: 1 + rng.below(8),
        recover: 2 + rng.below(12),
        crash,
        power,
        freeze,
        wipe,
        leave,
        stop_fails,
        fence,
        move_it,
        total,
        gaps,
        slow: (rng.below(2) == 0).then(|| usize::try_from(rng.below(n as u64)).expect("few")),
        suspend,
    }
}

fn pick<T: Copy>(rng: &mut SplitMix64, all: &[T]) -> Option<T> {
    let at = usize::try_from(rng.below(all.len() as u64)).expect("fits");
    all.get(at).copied()
}

fn steps(world: &World, gaps: bool) -> Vec<Step> {
    let mut out = Vec::new();
    for i in 0..world.n() {
        if world.acts(i) {
            let receivable = world.receivable(i);
            let some =
                if gaps { receivable.as_slice() } else { receivable.get(..1).unwrap_or(&[]) };
            out.extend(some.iter().map(|k| Step::Receive(i, *k)));
            if world.deliverable(i) {
                out.push(Step::Deliver(i));
            }
            if !world.nodes[i].writes.is_empty() {
                out.push(Step::Sync(i));
            }
            if !world.nodes[i].probes.is_empty() {
                out.push(Step::Probe(i));
            }
            if world.report_due(i) {
                out.push(Step::Report(i));
            }
            if world.command_due(i) {
                out.push(Step::Command(i));
            }
            if world.release_due(i) {
                out.push(Step::Release(i));
            }
            if world.suspended_due(i) {
                out.push(Step::Suspended(i));
            }
            if world.nodes[i].cfg.is_some() && !world.stale(i) {
                out.push(Step::Token(i));
            }
        }
        if world.can_begin(i) {
            out.push(Step::Begin(i));
        }
        if world.effect_due(i) {
            out.push(Step::Effect(i));
        }
        if world.must_stop(i) {
            out.push(Step::StopByItself(i));
        }
    }
    out.push(Step::Tick);
    out
}

fn of(step: Step) -> Option<usize> {
    match step {
        Step::Deliver(i) | Step::Report(i) | Step::Begin(i) | Step::Sync(i) => Some(i),
        _ => None,
    }
}

fn take(world: &mut World, step: Step, rng: &mut SplitMix64) {
    match step {
        Step::Receive(i, k) => world.receive(i, k),
        Step::Deliver(i) => world.deliver(i),
        Step::Sync(i) => world.sync(i),
        Step::Probe(i) => world.answer_probe(i),
        Step::Token(i) => world.token(i),
        Step::Report(i) => world.report(i),
        Step::Begin(i) => world.begin(i),
        Step::Command(i) => world.fence_step(i),
        Step::Effect(i) => world.effect(i),
        Step::StopByItself(i) => world.stop_by_itself(i),
        Step::Release(i) => world.release(i),
        Step::Suspended(i) => world.say_suspended(i),
        Step::Tick => world.tick(Duration::from_millis(50 + rng.below(2000))),
    }
}

/// Any partition of those that act; often all together.
fn change(world: &mut World, rng: &mut SplitMix64) {
    let groups = [1, 1, 2, 2, 3][usize::try_from(rng.below(5)).expect("fits")];
    let component: Vec<usize> =
        (0..world.n()).map(|_| usize::try_from(rng.below(groups)).expect("fits")).collect();
    let late = rng.below(2) == 0;
    world.change(&component, late);
}

fn fault(world: &mut World, rng: &mut SplitMix64, swarm: &Swarm) {
    let Some(i) = pick(rng, &(0..world.n()).collect::<Vec<_>>()) else { return };
    let runs = world.nodes[i].member.is_some();
    if swarm.suspend && runs && rng.below(4) == 0 {
        let kind = if rng.below(5) == 0 { RequestKind::Resume } else { RequestKind::Suspend };
        world.note(|| format!("{kind:?} at {}", i + 1));
        world.request(i, kind);
        return;
    }
    let what = rng.below(10);
    world.note(|| format!("fault {what} at {}", i + 1));
    match what {
        0 if swarm.crash && runs => world.kill_process(i),
        1 if swarm.power && world.nodes[i].on => world.power_off(i),
        2 if swarm.freeze && world.acts(i) => world.freeze(i),
        3 if swarm.wipe && rng.below(4) == 0 => world.wipe(i),
        4 if swarm.leave && world.acts(i) => {
            world.request(i, RequestKind::Leave);
        }
        5 if swarm.stop_fails && !world.nodes[i].exec.running.is_empty() => {
            world.nodes[i].exec.stop_fails = true;
        }
        6 if swarm.fence && world.acts(i) => {
            let whom = usize::try_from(rng.below(world.n() as u64)).expect("few");
            world.request(i, RequestKind::Fence { node: id(whom), who: "walk".into() });
        }
        7 | 8 if swarm.move_it && world.acts(i) => {
            let to = usize::try_from(rng.below(world.n() as u64)).expect("few");
            let resource = super::world::web();
            world.request(i, RequestKind::Move { resource, to: id(to) });
        }
        9 if swarm.total && rng.below(6) == 0 => {
            for j in 0..world.n() {
                if world.nodes[j].on {
                    world.power_off(j);
                }
            }
        }
        9 if runs => world.regain(i),
        _ => {}
    }
}

fn recover(world: &mut World, rng: &mut SplitMix64) {
    let down: Vec<usize> = (0..world.n())
        .filter(|&i| {
            let node = &world.nodes[i];
            !node.on || node.member.is_none() || node.frozen.is_some()
        })
        .collect();
    let Some(i) = pick(rng, &down) else { return };
    world.note(|| format!("recover {}", i + 1));
    if !world.nodes[i].on {
        world.power_on(i);
    } else if world.nodes[i].member.is_none() {
        world.start_process(i);
    } else {
        world.thaw(i);
    }
}

/// One walk from a seed.
pub(crate) fn walk(seed: u64, n: usize, length: usize, trace: bool) -> World {
    let mut rng = SplitMix64::new(seed);
    // every third walk, so that the others stay what they were
    let swarm = swarm(&mut rng, n, seed.is_multiple_of(3));
    let mut world = World::new(n);
    if trace {
        world.trace = Some(Vec::new());
    }
    world.change(&std::vec![0; n], true);
    if rng.below(4) > 0 {
        phases(&mut world, &mut rng, &swarm, length / 20);
        return world;
    }
    let patience = rng.below(3);
    for _ in 0..length {
        let x = rng.below(1000);
        let faults = swarm.change + swarm.fault + swarm.recover;
        if x < swarm.change {
            change(&mut world, &mut rng);
        } else if x < swarm.change + swarm.fault {
            fault(&mut world, &mut rng, &swarm);
        } else if x < faults {
            recover(&mut world, &mut rng);
        } else {
            let mut all = steps(&world, swarm.gaps);
            if rng.below(100) > 2 {
                all.retain(|s| *s != Step::Tick && !matches!(s, Step::Token(_)));
                if let Some(slow) = swarm.slow.filter(|_| patience > 0) {
                    all.retain(|s| of(*s) != Some(slow) || matches!(s, Step::Sync(_)));
                }
            }
            if all.is_empty() {
                all = steps(&world, swarm.gaps);
            }
            if let Some(step) = pick(&mut rng, &all) {
                world.note(|| format!("{step:?}"));
                take(&mut world, step, &mut rng);
            }
        }
        if (0..n).any(|i| world.acts(i) && world.nodes[i].wants_reform) && rng.below(8) == 0 {
            world.reform();
        }
        world.check();
        if world.violation.is_some() {
            break;
        }
    }
    world
}

/// Progress in rounds, then single steps, then a burst of faults and a change: many eras in few steps.
fn phases(world: &mut World, rng: &mut SplitMix64, swarm: &Swarm, count: usize) {
    for _ in 0..count {
        let slow = swarm.slow.filter(|_| rng.below(2) == 0);
        let rounds = [0, 1, 2, 4, 8, 16, 30][usize::try_from(rng.below(7)).expect("fits")];
        for _ in 0..rounds {
            world.round_but(slow);
            if rng.below(12) == 0 {
                world.tick(Duration::from_millis(50 + rng.below(2000)));
            }
            if rng.below(3) == 0 {
                world.reform();
            }
            if world.violation.is_some() {
                return;
            }
        }
        for _ in 0..rng.below(30) {
            if let Some(step) = pick(rng, &steps(world, swarm.gaps)) {
                world.note(|| format!("{step:?}"));
                take(world, step, rng);
            }
            world.check();
            if world.violation.is_some() {
                return;
            }
        }
        for _ in 0..rng.below(4) {
            if rng.below(2) == 0 {
                fault(world, rng, swarm);
            } else {
                recover(world, rng);
            }
        }
        if rng.below(3) > 0 {
            change(world, rng);
        }
        world.check();
        if world.violation.is_some() {
            return;
        }
    }
}

/// Faults end, everybody comes back, everybody hears everybody: one holder, or a condition that says why not.
fn liveness(world: &mut World) {
    for i in 0..world.n() {
        world.nodes[i].exec.stop_fails = false;
        if world.nodes[i].frozen.is_some() {
            world.thaw(i);
        }
        if !world.nodes[i].on {
            world.power_on(i);
        } else if world.nodes[i].member.is_none() {
            world.start_process(i);
        }
    }
    for _ in 0..6 {
        world.change(&std::vec![0; world.n()], true);
        world.settle(Duration::from_secs(60));
        for i in 0..world.n() {
            if !world.nodes[i].on {
                world.power_on(i);
            } else if world.nodes[i].member.is_none() {
                world.start_process(i);
            }
        }
    }
    world.change(&std::vec![0; world.n()], true);
    world.settle(Duration::from_secs(90));
}

fn from_env(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn run(n: usize, walks: u64, length: usize) {
    let from = from_env("PALISADE_SEED", 1);
    let begun = Instant::now();
    let (mut starts, mut shots) = (0, 0);
    for seed in from..from + walks {
        let world = walk(seed, n, length, walks == 1);
        starts += world.starts;
        shots += world.shots;
        if let Some(violation) = &world.violation {
            if let Some(trace) = &world.trace {
                println!("{}", trace.join("\n"));
            }
            panic!(
                "seed {seed} after {:?}: {violation}\nreplay: PALISADE_WALKS=1 PALISADE_SEED={seed} cargo test -p \
                 cluster {}walk::nothing_bad_happens_to_{n} -- --nocapture",
                begun.elapsed(),
                features()
            );
        }
    }
    println!(
        "{walks} walks of {n} members: {starts} starts, {shots} power-offs, {:?}",
        begun.elapsed()
    );
    assert!(walks < 100 || (starts > 0 && shots > 0), "the walks did nothing");
}

fn features() -> String {
    let on = ALL.iter().filter(|r| broken(**r));
    on.map(|rule| format!("--features {} ", feature(*rule))).collect()
}

/// The build feature of a faulty rule.
fn feature(rule: Rule) -> String {
    let mut name = String::from("sabotage");
    for c in format!("{rule:?}").chars() {
        if c.is_ascii_uppercase() {
            name.push('-');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

/// The scenario that a faulty rule breaks, where a walk would need minutes to come by it.
const fn scenario(rule: Rule) -> Option<fn()> {
    use super::scenarios as s;
    match rule {
        Rule::CleanStopEvidence => Some(
            s::a_start_carried_out_by_the_vanished_member_known_only_from_the_transitional_configuration,
        ),
        Rule::EvidenceNotDurable => {
            Some(s::evidence_that_has_taken_effect_survives_the_power_loss_of_all)
        }
        Rule::NoDeadline => Some(s::a_power_off_that_is_late_meets_no_member),
        Rule::WipedVotes => Some(s::a_wiped_voter_does_not_forget_for_the_cluster_who_came_back),
        _ => None,
    }
}

/// SAFETY.md 2.5: a check that no faulty rule turns red is itself broken. With `PALISADE_WALKS` walks look for all of
/// them, for as long.
#[test]
fn every_faulty_rule_is_found() {
    let long = env::var("PALISADE_WALKS").is_ok();
    let walks = from_env("PALISADE_WALKS", 1500);
    let mut missed = Vec::new();
    for rule in ALL {
        BROKEN.set(Some(rule));
        let begun = Instant::now();
        if let Some(scenario) = scenario(rule) {
            let red = std::panic::catch_unwind(scenario).is_err();
            println!("{}: its scenario, {:?}", feature(rule), begun.elapsed());
            if !red {
                missed.push(feature(rule));
            }
            if !long {
                continue;
            }
        }
        let found = (1..=walks).find_map(|seed| {
            let world = walk(seed, 3, 600, false);
            world.violation.map(|violation| (seed, violation))
        });
        match found {
            Some((seed, violation)) => {
                println!("{}: seed {seed}, {:?}: {violation}", feature(rule), begun.elapsed());
            }
            None if scenario(rule).is_some() => println!("{}: no walk", feature(rule)),
            None => missed.push(feature(rule)),
        }
    }
    BROKEN.set(None);
    assert!(missed.is_empty(), "not found in {walks} walks: {missed:?}");
}

#[test]
fn nothing_bad_happens_to_3() {
    run(3, from_env("PALISADE_WALKS", 300), 600);
}

#[test]
fn nothing_bad_happens_to_5() {
    run(5, from_env("PALISADE_WALKS", 60), 900);
}

#[test]
fn the_same_seed_walks_the_same_way() {
    let trace = |seed| walk(seed, 3, 500, true).trace.expect("asked for");
    for seed in 1..6 {
        assert_eq!(trace(seed), trace(seed));
    }
}

#[cfg(not(any(
    feature = "sabotage-wiped-votes",
    feature = "sabotage-no-reports",
    feature = "sabotage-epoch-by-age",
    feature = "sabotage-quorum-half",
    feature = "sabotage-no-fencing",
)))]
#[test]
fn in_the_end_it_runs_once() {
    let from = from_env("PALISADE_SEED", 1);
    for seed in from..from + from_env("PALISADE_WALKS", 60) {
        let mut world = walk(seed, 3, 400, false);
        if world.violation.is_some() {
            continue;
        }
        world.trace = Some(Vec::new());
        liveness(&mut world);
        if world.holders().len() == 1 {
            continue;
        }
        let says: Vec<_> = (0..3)
            .filter(|i| world.acts(*i))
            .map(|i| world.member(i).status().conditions)
            .collect();
        let tail = world.trace.as_ref().map(|t| t[t.len().saturating_sub(60)..].join("\n"));
        panic!("seed {seed}: {:?} {says:#?}\n{}", world.holders(), tail.unwrap_or_default());
    }
}
