//! Links that stay broken, or break again and again: the ring of the others must not pay for it (TOTEM.md section 19.3).

use core::time::Duration;
use std::{println, vec::Vec};

use base::{ConfigurationKind, RingEvent, SplitMix64};

use super::{
    super::shun::Cause,
    net::{Faults, Net, node},
};

/// Regular configurations of each node in its present life.
fn rings(net: &Net, nodes: u16) -> Vec<usize> {
    let regular = |event: &&RingEvent| match event {
        RingEvent::Configuration(c) => c.kind == ConfigurationKind::Regular,
        RingEvent::Message(_) => false,
    };
    (1..=nodes).map(|id| net.events(id).iter().filter(regular).count()).collect()
}

/// Whatever is cut, in one direction or both, and with datagrams lost: after the first seconds hardly a ring is formed.
#[test]
fn broken_links_of_any_shape_come_to_rest() {
    let mut most = (0, 0);
    let mut sum = 0;
    for seed in 0..150 {
        let mut dice = SplitMix64::new(seed ^ 0x11_4E75);
        let nodes = 3 + dice.below(3) as u16;
        let mut net = Net::new(seed, nodes);
        net.faults = match dice.below(3) {
            0 => Faults::NONE,
            1 => Faults { loss: 50, duplicate: 10, delay: 400 },
            _ => Faults { loss: 200, duplicate: 10, delay: 800 },
        };
        net.start_all();
        net.run_ms(dice.below(1000));
        for _ in 0..1 + dice.below(u64::from(nodes)) {
            let (a, b) =
                (1 + dice.below(u64::from(nodes)) as u16, 1 + dice.below(u64::from(nodes)) as u16);
            net.cuts.insert((node(a), node(b)));
            if dice.below(2) == 0 {
                net.cuts.insert((node(b), node(a)));
            }
        }
        net.run_ms(10_000);
        let before = rings(&net, nodes);
        net.run_ms(60_000);
        let more =
            rings(&net, nodes).iter().zip(before).map(|(after, before)| after - before).max();
        let more = more.unwrap_or_default();
        most = most.max((more, seed));
        sum += more;
    }
    println!("most new rings in a minute {most:?}, together {sum}");
    assert!(most.0 <= 12, "{most:?}");
}

/// A link that works for a while and breaks again costs the others a bounded number of rings.
#[test]
fn a_link_that_comes_and_goes_is_left_alone_for_longer_each_time() {
    for (up, down) in [(300, 300), (1000, 300), (1500, 1500), (2500, 700), (4000, 4000)] {
        let mut net = Net::started(3, 3);
        net.until_together(&[1, 2, 3], 500);
        let end = net.now + Duration::from_secs(120);
        while net.now < end {
            net.cut(2, 3);
            net.run_ms(down);
            net.cuts.clear();
            net.run_ms(up);
        }
        let changes = rings(&net, 3);
        println!("{up} ms up, {down} ms down: {changes:?}");
        assert!(changes[0] <= 24, "{up} ms up, {down} ms down: {changes:?}");
    }
}

/// Whoever listens again asks only when it has said so: who is asked before would not answer, which would be one more
/// relapse, and each of these doubles the time that a link must be heard for.
#[test]
fn two_that_were_apart_often_come_together_at_the_first_attempt() {
    for seed in 0..40 {
        let mut net = Net::started(seed, 3);
        net.until_together(&[1, 2, 3], 500);
        for _ in 0..8 {
            net.cut(2, 3);
            net.run_ms(1500);
            net.cuts.clear();
            net.run_ms(1500);
        }
        net.cut(2, 3);
        net.run_ms(1000);
        net.cuts.clear();
        let before = rings(&net, 3);
        net.until_together(&[1, 2, 3], 130_000);
        let more: Vec<_> = rings(&net, 3).iter().zip(before).map(|(a, b)| a - b).collect();
        assert!(more.iter().all(|rings| *rings <= 1), "seed {seed}: {more:?}");
    }
}

/// Gatherings for somebody else leave it out each time, and it was not let in: that is no relapse and begins no time anew.
#[test]
fn the_time_to_be_heard_ends_however_often_others_gather() {
    let mut net = Net::started(1, 2);
    net.until_together(&[1, 2], 500);
    for _ in 0..4 {
        net.with_ring(node(1), |ring, _| {
            ring.shun(node(2), Cause::Silent, 0);
            ring.let_in(node(2));
        });
        net.run_ms(700);
    }
    for _ in 0..30 {
        net.with_ring(node(1), |ring, _| ring.shun(node(2), Cause::Silent, 0));
        assert_eq!(net.ring(1).shunned[&node(2)].relapses, 4);
        net.run_ms(100);
    }
    assert_eq!(net.ring(1).heard_nodes(), [node(2)]);
}

/// Each hears the other for long, and each gives up in the one gathering what the other asks for in the next: a refusal
/// that is answered by another one, and by a question right behind it, would be answered so for ever (ten thousand rings
/// of one in 20 s).
#[test]
fn rings_that_meet_out_of_step_do_not_chase_each_other() {
    let some_ms = |seed: u64| seed * 37 % 97;
    let mut most = (0, 0, 0);
    for (lag, seed) in
        [1, 5, 20, 60].into_iter().flat_map(|lag| (0..40).map(move |seed| (lag, seed)))
    {
        let mut net = Net::new(seed, 3);
        net.lag = Duration::from_millis(lag);
        net.faults.delay = 1 + (seed % 3) * 5_000;
        net.cut(1, 2);
        net.start(node(1));
        net.run_ms(some_ms(seed));
        net.start(node(2));
        net.run_ms(1_000 + some_ms(seed));
        net.cuts.clear();
        // one or the other is not run for a moment as they meet, and given up while it answers
        for _ in 0..3 {
            let who = node(1 + net.rng.below(2) as u16);
            let (pause, time) = (net.rng.below(120), 50 + net.rng.below(250));
            net.run_ms(pause);
            net.freeze(who, Duration::from_millis(time));
        }
        net.run_ms(300);
        let before = rings(&net, 2);
        net.run_ms(10_000);
        let more = rings(&net, 2).iter().zip(before).map(|(a, b)| a - b).max().unwrap_or_default();
        most = most.max((more, lag, seed));
        assert_eq!(net.ring(1).members().len(), 2, "lag {lag} ms, seed {seed}: {more} rings");
    }
    println!("most new rings, at which lag, of which seed: {most:?}");
    assert!(most.0 <= 8, "{most:?}");
}
