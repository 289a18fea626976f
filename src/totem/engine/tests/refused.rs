//! Members that the admission refuses, at the door and in the middle of a gathering (CLUSTER.md section 6).

use core::time::Duration;
use std::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use base::{NodeId, RingEvent};

use super::{
    evs,
    net::{Faults, Net, node},
};
use crate::Admission;

/// As CLUSTER.md section 6: keeps out whom another one's standing names, unless somebody with a longer standing (a higher
/// position) does not. Words: `out N;`, and `late` once the refusal may lapse; it then does where only with the targets
/// `quorum` are together.
struct Rule {
    quorum: usize,
}

impl Admission for Rule {
    fn refused(&self, heard: &BTreeMap<NodeId, Vec<u8>>) -> BTreeSet<NodeId> {
        let mut out = BTreeSet::new();
        let mut ring: BTreeMap<NodeId, String> = heard
            .iter()
            .map(|(node, standing)| (*node, String::from_utf8_lossy(standing).into_owned()))
            .collect();
        loop {
            let named = |target: &NodeId| {
                let word = format!("out {target};");
                let newest = |holds| {
                    let texts = ring.values().filter(|text| text.contains(&word) == holds);
                    texts.map(String::len).max()
                };
                let by_another =
                    ring.iter().any(|(holder, text)| holder != target && text.contains(&word));
                by_another && newest(true) >= newest(false)
            };
            let targets: BTreeSet<_> = ring.keys().copied().filter(named).collect();
            let late = ring.values().all(|text| !text.contains("out ") || text.contains("late"));
            let lapses =
                late && ring.len() >= self.quorum && ring.len() - targets.len() < self.quorum;
            if targets.is_empty() || lapses {
                return out;
            }
            ring.retain(|node, _| !targets.contains(node));
            out.extend(targets);
        }
    }
}

fn net(seed: u64, nodes: u16) -> Net {
    let mut net = Net::new(seed, nodes);
    net.admission =
        if nodes == 3 { || Box::new(Rule { quorum: 2 }) } else { || Box::new(Rule { quorum: 3 }) };
    net
}

fn stand(net: &mut Net, id: u16, text: &str) {
    net.with_ring(node(id), |ring, now| ring.set_standing(now, text.as_bytes()).expect("short"));
}

fn configurations(net: &Net, id: u16) -> usize {
    let configuration = |event: &&RingEvent| matches!(event, RingEvent::Configuration(_));
    net.events(id).iter().filter(configuration).count()
}

/// Whom `id` has seen in a ring of its own component since, smallest first.
fn least_company(net: &Net, id: u16, from: usize) -> usize {
    let sizes = net.events(id)[from..].iter().filter_map(|event| match event {
        RingEvent::Configuration(c) if c.kind == base::ConfigurationKind::Regular => {
            Some(c.members.len())
        }
        _ => None,
    });
    sizes.min().unwrap_or(usize::MAX)
}

/// The one that is refused is the lowest: whoever settles this as a broken link would drop a healthy member.
#[test]
fn members_that_start_beside_a_refused_one_find_each_other_at_once() {
    for seed in 0..40 {
        for refused in 1..=3_u16 {
            let mut net = net(seed, 3);
            let rest: Vec<u16> = (1..=3).filter(|id| *id != refused).collect();
            if seed % 2 == 0 {
                net.faults = Faults { loss: 30, duplicate: 10, delay: 3000 };
            }
            for id in 1..=3 {
                net.start(node(id));
                if id != refused {
                    stand(&mut net, id, &format!("out {refused};"));
                }
                let pause = net.rng.below(60);
                net.run_ms(pause);
            }
            net.until_together(&rest, 2000);
            net.run_ms(300);
            // the knocking goes on and disturbs nobody
            let before: Vec<_> = rest.iter().map(|id| configurations(&net, *id)).collect();
            net.run_ms(20_000);
            assert!(net.together(&rest), "seed {seed}: {}", net.describe());
            for (id, before) in rest.iter().zip(before) {
                assert_eq!(configurations(&net, *id), before, "seed {seed}: of member {id}");
            }
            assert!(net.together(&[refused]), "seed {seed}: {}", net.describe());
            evs::check(&net.lives).expect("the seven properties");
        }
    }
}

#[test]
fn a_ring_that_is_formed_anew_while_a_refused_one_knocks_stays_whole() {
    for refused in 1..=3_u16 {
        let mut net = net(7, 3);
        net.start_all();
        net.until_together(&[1, 2, 3], 500);
        let rest: Vec<u16> = (1..=3).filter(|id| *id != refused).collect();
        for id in &rest {
            stand(&mut net, *id, &format!("out {refused};"));
        }
        net.crash(node(refused));
        net.until_together(&rest, 1000);
        let from: Vec<_> = rest.iter().map(|id| net.events(*id).len()).collect();
        for round in 0..150 {
            let ahead = net.rng.below(40);
            net.crash(node(refused));
            net.start(node(refused));
            net.run_ms(ahead);
            let who = rest[round % 2];
            net.with_ring(node(who), |ring, now| ring.reform(now));
            let took = net.until_together(&rest, 1000);
            assert!(took < Duration::from_millis(400), "round {round}: {took:?}");
            let pause = net.rng.below(200);
            net.run_ms(pause);
        }
        for (id, from) in rest.iter().zip(from) {
            assert_eq!(least_company(&net, *id, from), 2, "member {id} was never alone");
        }
        evs::check(&net.lives).expect("the seven properties");
    }
}

#[test]
fn a_refused_member_is_let_in_as_soon_as_the_refusal_ends() {
    for seed in 0..20 {
        let mut net = net(seed, 3);
        net.start_all();
        net.until_together(&[1, 2, 3], 500);
        net.crash(node(2));
        for id in [1, 3] {
            stand(&mut net, id, "out 2;");
        }
        net.start(node(2));
        net.until_together(&[1, 3], 1000);
        let pause = 5000 + net.rng.below(30_000);
        net.run_ms(pause);
        assert!(net.together(&[1, 3]), "{}", net.describe());
        for id in [1, 3] {
            stand(&mut net, id, "at a higher position");
        }
        let took = net.until_together(&[1, 2, 3], 9000);
        assert!(took < Duration::from_millis(700), "seed {seed}: {took:?}");
    }
}

/// Two evicted members, both needed: no pair of rings may come together, all three may.
#[test]
fn refusals_that_lapse_only_for_all_together_bring_all_together() {
    for seed in 0..20 {
        for split in [false, true] {
            let mut net = net(seed, 5);
            // 1 and 5 are dead; 2, 3 and 4 are needed
            for id in [2, 3, 4] {
                net.start(node(id));
                let pause = net.rng.below(900);
                net.run_ms(pause);
            }
            stand(&mut net, 3, "out 2;out 4;");
            stand(&mut net, 4, if split { "out 2;" } else { "" });
            net.with_ring(node(3), |ring, now| ring.reform(now));
            let pause = 10_000 + net.rng.below(9000);
            net.run_ms(pause);
            assert!(net.together(&[3]), "seed {seed}: {}", net.describe());
            if split {
                stand(&mut net, 4, "out 2;late");
                net.with_ring(node(4), |ring, now| ring.reform(now));
                let pause = net.rng.below(9000);
                net.run_ms(pause);
                assert!(net.together(&[3]), "seed {seed}: {}", net.describe());
            }
            stand(&mut net, 3, "out 2;out 4;late");
            net.with_ring(node(3), |ring, now| ring.reform(now));
            let took = net.until_together(&[2, 3, 4], 20_000);
            assert!(took < Duration::from_millis(1500), "seed {seed} {split}: {took:?}");
        }
    }
}

/// Two that hold the eviction of a third and need it, all three of five that live.
fn two_and_one_that_they_need(seed: u64) -> Net {
    let mut net = net(seed, 5);
    net.faults.delay = 1000;
    for id in [1, 2, 5] {
        net.start(node(id));
    }
    net.until_together(&[1, 2, 5], 500);
    for id in [1, 2] {
        stand(&mut net, id, "out 5;");
    }
    net.with_ring(node(1), |ring, now| ring.reform(now));
    net.until_together(&[1, 2], 1000);
    net
}

/// The two gather at the same moment and agree before the third has heard of it; a commit token then meets a member that
/// goes on with all three. Whoever sent it has to learn that, or is given up as silent.
#[test]
fn a_refusal_that_lapses_for_two_at_once_brings_all_together() {
    for seed in 0..200 {
        let mut net = two_and_one_that_they_need(seed);
        let pause = 9000 + net.rng.below(9000);
        net.run_ms(pause);
        for id in [2, 1] {
            stand(&mut net, id, "out 5;late");
            net.with_ring(node(id), |ring, now| ring.reform(now));
            let apart = net.rng.below(1500);
            net.run(Duration::from_micros(apart));
        }
        let took = net.until_together(&[1, 2, 5], 20_000);
        assert!(took < Duration::from_millis(600), "seed {seed}: {took:?}");
    }
}

/// Who was once given up by both of them goes on counting both at its door when that is over.
#[test]
fn a_refusal_lapses_for_one_that_was_given_up_before() {
    for seed in 0..20 {
        let mut net = two_and_one_that_they_need(seed);
        net.cuts.extend([(node(5), node(1)), (node(5), node(2))]);
        net.run_ms(1000);
        // all gather; the two do not hear the third and say so
        net.with_ring(node(5), |ring, now| ring.reform(now));
        stand(&mut net, 1, "out 5; ");
        net.with_ring(node(1), |ring, now| ring.reform(now));
        net.run_ms(1000);
        net.cuts.clear();
        let pause = 70_000 + net.rng.below(9000);
        net.run_ms(pause);
        assert!(net.together(&[1, 2]), "seed {seed}: {}", net.describe());
        for id in [2, 1] {
            stand(&mut net, id, "out 5;late");
            net.with_ring(node(id), |ring, now| ring.reform(now));
        }
        let took = net.until_together(&[1, 2, 5], 20_000);
        assert!(took < Duration::from_millis(1000), "seed {seed}: {took:?}");
    }
}

/// With the third the refusals of the other two lapse, and it has died: what it said last opens no door, or the two would
/// gather and part again as fast as they can until its word is too old.
#[test]
fn the_last_word_of_one_that_died_does_not_keep_two_gathering() {
    for seed in 0..20 {
        let mut net = net(seed, 5);
        net.faults.delay = 1000;
        for id in [1, 2, 3] {
            net.start(node(id));
        }
        net.until_together(&[1, 2, 3], 500);
        stand(&mut net, 1, "out 2;late");
        stand(&mut net, 2, "out 1;late");
        net.with_ring(node(1), |ring, now| ring.reform(now));
        let took = net.until_together(&[1, 2, 3], 20_000);
        assert!(took < Duration::from_millis(1500), "seed {seed}: {took:?}");
        net.crash(node(3));
        net.run_ms(1500);
        let before = configurations(&net, 1);
        net.run_ms(5000);
        let rings = (configurations(&net, 1) - before) / 2;
        assert!(rings <= 10, "seed {seed}: {rings} rings in five seconds");
        net.start(node(3));
        let took = net.until_together(&[1, 2, 3], 20_000);
        assert!(took < Duration::from_millis(2000), "seed {seed}: back after {took:?}");
    }
}
