//! One mechanism per test.

use core::time::Duration;
use std::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use base::{ConfigurationKind, Guarantee, NodeId, RingEvent};

use super::{
    evs,
    net::{Faults, Net, node},
};
use crate::{Admission, MulticastError, State, StateEvent};

fn three() -> Net {
    let mut net = Net::started(1, 3);
    net.until_together(&[1, 2, 3], 500);
    net
}

/// Regular configurations that a node has installed in its present life.
fn rings(net: &Net, id: u16) -> usize {
    net.events(id)
        .iter()
        .filter(|event| match event {
            RingEvent::Configuration(c) => c.kind == ConfigurationKind::Regular,
            RingEvent::Message(_) => false,
        })
        .count()
}

fn checked(net: &Net) {
    evs::check(&net.lives).expect("extended virtual synchrony");
}

#[test]
fn three_nodes_form_one_ring_at_the_first_attempt() {
    let mut net = Net::started(1, 3);
    let took = net.until_together(&[1, 2, 3], 500);
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert_eq!(net.events(1).len(), 1, "no ring of one before");
    assert_eq!(net.ring(1).state(), State::Operational);
}

#[test]
fn a_node_alone_forms_a_ring_of_one_and_delivers_to_itself() {
    let mut net = Net::new(1, 3);
    net.start(node(2));
    net.until_together(&[2], 400);
    assert!(net.send(node(2), Guarantee::Safe, 100_000));
    assert_eq!(net.delivered(2).len(), 1, "at once: nobody else has to receive it");
    net.run_ms(5000);
    assert_eq!(rings(&net, 2), 1);
}

#[test]
fn the_table_of_states_is_as_drawn() {
    let drawn = std::format!("{}\n{}", StateEvent::matrix(), StateEvent::dot());
    if std::env::var_os("TOTEM_UPDATE").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/engine/tests/states.txt");
        std::fs::write(file, &drawn).expect("writable");
    }
    assert_eq!(drawn, include_str!("states.txt"), "docs/ring.md shows the same drawing");
}

#[test]
fn a_quiet_ring_changes_nothing_and_costs_little() {
    let mut net = three();
    net.run_ms(500);
    let (before, events) = (net.datagrams, net.events(1).len());
    net.run_ms(10_000);
    assert_eq!(net.events(1).len(), events, "silence: no event");
    let rate = (net.datagrams - before) / 10;
    // one rotation each hold time of 50 ms, three hops
    assert!((30..=70).contains(&rate), "{rate} datagrams a second");
    assert!(net.machines.values().all(|m| m.broken.is_empty() && m.silent.is_empty()));
}

#[test]
fn tokens_are_reported_often_enough_for_leases() {
    let mut net = three();
    net.run_ms(2000);
    for machine in net.machines.values() {
        let longest =
            machine.tokens.windows(2).map(|w| w[1].0.since(w[0].0)).max().expect("tokens");
        assert!(longest < Duration::from_millis(100), "{longest:?}");
    }
}

#[test]
fn a_crashed_member_is_out_soon_after_the_token_time_and_named_silent() {
    for victim in 1..=3 {
        let mut net = three();
        net.run_ms(1000);
        net.crash(node(victim));
        let rest: Vec<u16> = (1..=3).filter(|id| *id != victim).collect();
        let took = net.until_together(&rest, 2000);
        assert!(took < Duration::from_millis(720), "victim {victim}: {took:?}");
        let silent: Vec<_> = net.machines[&node(rest[0])].silent.iter().map(|s| s.1).collect();
        assert_eq!(silent, [node(victim)]);
        assert_eq!(rings(&net, rest[0]), 2, "exactly one change");
        checked(&net);
    }
}

#[test]
fn two_of_five_crash_at_once() {
    let mut net = Net::started(3, 5);
    net.until_together(&[1, 2, 3, 4, 5], 500);
    net.run_ms(300);
    net.crash(node(1));
    net.crash(node(4));
    let took = net.until_together(&[2, 3, 5], 2000);
    assert!(took < Duration::from_millis(750), "{took:?}");
    assert_eq!(rings(&net, 3), 2);
}

#[test]
fn a_leaving_member_is_out_at_once() {
    let mut net = three();
    net.run_ms(300);
    net.leave(node(1));
    let took = net.until_together(&[2, 3], 500);
    assert!(took < Duration::from_millis(50), "{took:?}");
    assert!(net.machines[&node(2)].silent.is_empty(), "a leave is no silence");
}

#[test]
fn after_leaving_nothing_is_said_or_taken() {
    let mut net = three();
    let member = net.lives[1].member;
    net.with_ring(node(3), |ring, now| {
        ring.leave(now);
        assert_eq!(ring.multicast(now, b"x", Guarantee::Agreed), Err(MulticastError::Left));
        assert_eq!(ring.poll_timeout(), None);
        while ring.poll_output().is_some() {}
        let detect = crate::wire::MergeDetect {
            ring: base::RingId { seq: 99, rep: member.node },
            members: Vec::new(),
            hears: Vec::new(),
            standing: std::sync::Arc::from(&b""[..]),
        };
        ring.handle_message(now, member, crate::wire::Message::MergeDetect(detect));
        ring.handle_timeout(now + Duration::from_secs(9));
        assert_eq!(ring.poll_output(), None);
    });
}

#[test]
fn a_restarted_member_has_left_and_joined_though_the_list_is_the_same() {
    let mut net = three();
    let before = net.ring(1).members().to_vec();
    net.crash(node(2));
    net.start(node(2));
    net.run_ms(1);
    let took = net.until_together(&[1, 2, 3], 700);
    assert!(took < Duration::from_millis(300), "{took:?}");
    let after = net.ring(1).members().to_vec();
    assert_ne!(before[1].incarnation, after[1].incarnation);
    let transitional = net.events(1).iter().find_map(|event| match event {
        RingEvent::Configuration(c) if c.kind == ConfigurationKind::Transitional => Some(c),
        _ => None,
    });
    let together: Vec<_> = transitional.expect("one").members.iter().map(|m| m.node).collect();
    assert_eq!(together, [node(1), node(3)], "the new life comes from nowhere");
    checked(&net);
}

#[test]
fn a_ring_id_is_not_used_before_it_is_durable_nor_again_after_a_restart() {
    let mut net = Net::new(5, 1);
    net.disk = 400_000;
    net.start(node(1));
    let begin = net.now;
    let mut last = None;
    for _ in 0..6 {
        net.until_together(&[1], 1000);
        let ring = net.ring(1).ring().expect("operational");
        assert!(ring.seq <= net.machines[&node(1)].reserved, "durable before use");
        assert!(last.is_none_or(|last| ring > last), "{ring} after {last:?}");
        last = Some(ring);
        net.crash(node(1));
        net.start(node(1));
    }
    assert!(net.now.since(begin) > Duration::from_millis(100), "the disk was waited for");
}

#[test]
fn a_member_whose_disk_hangs_is_left_out_and_the_others_go_on() {
    let mut net = Net::new(7, 3);
    net.start(node(2));
    net.start(node(3));
    net.until_together(&[2, 3], 700);
    net.disk = u64::MAX / 4;
    net.start(node(1));
    net.until_together(&[2, 3], 3000);
    net.run_ms(1500);
    assert!(net.together(&[2, 3]), "{}", net.describe());
    assert_ne!(net.ring(1).state(), State::Operational);
}

#[test]
fn a_member_stopped_for_200_ms_causes_no_change() {
    for victim in 1..=3 {
        let mut net = three();
        net.run_ms(500);
        net.freeze(node(victim), Duration::from_millis(200));
        net.run_ms(3000);
        for id in 1..=3 {
            assert_eq!(rings(&net, id), 1, "victim {victim}, node {id}");
        }
    }
}

#[test]
fn a_member_stopped_for_longer_blames_nobody_and_is_back_soon() {
    let mut net = three();
    net.run_ms(500);
    net.freeze(node(2), Duration::from_millis(2000));
    net.run_ms(1900);
    assert!(net.together(&[1, 3]));
    let took = net.until_together(&[1, 2, 3], 1500);
    assert!(took < Duration::from_millis(800), "{took:?}");
    assert!(net.machines[&node(2)].stalls > 0, "it knows that it was stopped");
    checked(&net);
}

#[test]
fn a_safe_message_waits_for_a_deaf_member_and_agreed_ones_wait_behind_it() {
    let mut net = three();
    net.run_ms(500);
    net.deaf = Some(node(3));
    assert!(net.send(node(1), Guarantee::Agreed, 5));
    assert!(net.send(node(1), Guarantee::Safe, 5));
    assert!(net.send(node(1), Guarantee::Agreed, 5));
    // far longer than it takes otherwise, shorter than it takes node 3 to give itself up
    net.run_ms(300);
    assert_eq!(net.delivered(2).len(), 1, "only the agreed one before the safe one");
    assert!(net.delivered(3).is_empty());
    net.deaf = None;
    net.run_ms(20);
    assert_eq!(net.delivered(2).len(), 3);
    assert_eq!(net.delivered(2), net.delivered(3));
    checked(&net);
}

#[test]
fn both_sides_of_a_cut_go_on_and_merge_when_it_is_mended() {
    let mut net = Net::started(11, 5);
    net.until_together(&[1, 2, 3, 4, 5], 500);
    for a in [1, 2] {
        for b in [3, 4, 5] {
            net.cut(a, b);
        }
    }
    for id in 1..=5 {
        net.send(node(id), Guarantee::Safe, 3000);
    }
    net.until_together(&[1, 2], 1500);
    net.until_together(&[3, 4, 5], 1500);
    net.run_ms(1000);
    net.cuts.clear();
    let took = net.until_together(&[1, 2, 3, 4, 5], 3000);
    assert!(took < Duration::from_millis(1000), "{took:?}");
    net.run_ms(300);
    checked(&net);
}

#[test]
fn a_pair_that_is_cut_settles_on_the_lower_id_within_three_changes_and_heals() {
    let mut net = three();
    net.run_ms(300);
    net.cut(1, 2);
    let took = net.until_together(&[1, 3], 3000);
    assert!(took < Duration::from_millis(1200), "{took:?}");
    net.run_ms(15_000);
    assert!(net.together(&[1, 3]), "{}", net.describe());
    assert!(rings(&net, 3) <= 3, "{} rings", rings(&net, 3));
    net.cuts.clear();
    let took = net.until_together(&[1, 2, 3], 3000);
    assert!(took < Duration::from_millis(1500), "{took:?}");
    checked(&net);
}

#[test]
fn one_direction_of_a_pair_cut_settles_too() {
    for (from, to) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)] {
        let mut net = three();
        net.run_ms(300);
        net.cuts.insert((node(from), node(to)));
        // where the token does not go that way, nothing is lost but speed
        net.run_ms(20_000);
        let operational = (1..=3).filter(|id| net.ring(*id).state() == State::Operational).count();
        assert!(operational >= 2, "{from} to {to}: {}", net.describe());
        for id in 1..=3 {
            // who stays out tries again with growing back-off; the others hardly notice
            let most = if net.ring(id).members().len() == 1 { 16 } else { 4 };
            assert!(rings(&net, id) <= most, "{from} to {to}: node {id} in {}", rings(&net, id));
        }
        net.cuts.clear();
        net.until_together(&[1, 2, 3], 5000);
        checked(&net);
    }
}

#[test]
fn loss_of_five_percent_costs_no_membership_change_and_every_message_arrives() {
    for (loss, most) in [(50, 1), (200, 1)] {
        let mut net = three();
        net.faults = Faults { loss, duplicate: 10, delay: 300 };
        for _ in 0..200 {
            net.send(node(1), Guarantee::Safe, 500);
            net.send(node(2), Guarantee::Agreed, 500);
            net.run_ms(50);
        }
        net.run_ms(1000);
        assert!(rings(&net, 1) <= most, "{} rings at {loss} of 1000", rings(&net, 1));
        assert_eq!(net.delivered(3).len(), 400);
        assert_eq!(net.delivered(3), net.delivered(1));
    }
}

#[test]
fn a_flood_beyond_the_queue_is_refused_and_room_is_told() {
    let mut net = three();
    let mut taken = 0;
    while net.send(node(1), Guarantee::Agreed, 100_000) {
        taken += 1;
    }
    assert!((35..=42).contains(&taken), "{taken} times 100 kB in 4 MiB");
    net.with_ring(node(1), |ring, now| {
        let error = ring.multicast(now, &[0; 100_000], Guarantee::Agreed).expect_err("busy");
        assert!(matches!(error, MulticastError::Busy { .. }));
        let large = std::vec![0; (1 << 20) + 1];
        assert!(matches!(
            ring.multicast(now, &large, Guarantee::Agreed),
            Err(MulticastError::TooLarge { .. })
        ));
    });
    net.run_ms(3000);
    assert!(net.machines[&node(1)].writable > 0, "room is told");
    assert_eq!(net.delivered(3).len(), taken);
    assert!(net.send(node(1), Guarantee::Agreed, 1 << 20));
    net.run_ms(1000);
    assert_eq!(net.delivered(2).len(), taken + 1);
    assert_eq!(net.delivered(2).last().map(|p| p.len()), Some(1 << 20));
}

#[test]
fn a_refused_datagram_shortens_the_wait_for_a_dead_process() {
    let mut net = three();
    net.run_ms(500);
    net.crash(node(2));
    net.run_ms(60);
    for id in [1, 3] {
        net.with_ring(node(id), |ring, now| ring.handle_unreachable(now, node(2)));
    }
    let took = net.until_together(&[1, 3], 500);
    assert!(took < Duration::from_millis(150), "{took:?}");
}

#[test]
fn a_refused_datagram_of_a_living_member_costs_no_member() {
    let mut net = three();
    net.run_ms(500);
    for _ in 0..20 {
        net.with_ring(node(1), |ring, now| ring.handle_unreachable(now, node(2)));
        net.run_ms(100);
    }
    assert!(net.together(&[1, 2, 3]));
    checked(&net);
    for event in net.events(1) {
        let RingEvent::Configuration(c) = event else { continue };
        assert_eq!(c.members.len(), 3, "nobody was given up on a hint");
    }
}

/// Keeps out whoever stands as another's standing names it, unless it says `higher` (as CLUSTER.md section 6).
struct Evicted;

impl Admission for Evicted {
    fn refused(&self, heard: &BTreeMap<NodeId, Vec<u8>>) -> BTreeSet<NodeId> {
        let named = |target: &NodeId| {
            let text = std::format!("evict {target}").into_bytes();
            heard.iter().any(|(holder, standing)| holder != target && standing.starts_with(&text))
        };
        heard.keys().filter(|node| named(node)).copied().collect()
    }
}

#[test]
fn a_refused_member_is_kept_out_without_disturbing_the_others_until_the_standing_changes() {
    let mut net = Net::new(3, 3);
    net.admission = || Box::new(Evicted);
    net.start_all();
    net.until_together(&[1, 2, 3], 500);
    net.with_ring(node(1), |ring, now| ring.set_standing(now, b"evict 3").expect("short"));
    net.run_ms(100);
    net.crash(node(3));
    net.start(node(3));
    net.until_together(&[1, 2], 3000);
    net.until_together(&[3], 3000);
    let before = rings(&net, 2);
    for position in 0..200 {
        // standings move on with every message of the application
        for id in [1, 2] {
            let standing = std::format!("evict 3 at {position}");
            net.with_ring(node(id), |ring, now| {
                ring.set_standing(now, standing.as_bytes()).expect("short");
            });
        }
        net.run_ms(100);
    }
    assert!(net.together(&[1, 2]), "{}", net.describe());
    assert!(rings(&net, 2) - before <= 1, "{} more rings in 20 s", rings(&net, 2) - before);
    for id in [1, 2] {
        net.with_ring(node(id), |ring, now| ring.set_standing(now, b"").expect("short"));
    }
    let took = net.until_together(&[1, 2, 3], 70_000);
    assert!(took < Duration::from_secs(9), "{took:?}");
    checked(&net);
}

#[test]
fn members_that_disagree_by_time_still_form_the_same_ring() {
    // the eviction is known to one member only at first, to both later, while they gather
    for delay in [0, 1, 5, 40, 120] {
        let mut net = Net::new(delay, 3);
        net.admission = || Box::new(Evicted);
        net.start_all();
        net.run(Duration::from_micros(delay * 997));
        net.with_ring(node(2), |ring, now| ring.set_standing(now, b"evict 3").expect("short"));
        net.run(Duration::from_micros(delay * 331));
        net.with_ring(node(1), |ring, now| ring.set_standing(now, b"evict 3").expect("short"));
        net.run_ms(3000);
        assert!(net.together(&[1, 2]) || net.together(&[1, 2, 3]), "{}", net.describe());
        checked(&net);
    }
}

#[test]
fn old_joins_and_merge_detects_of_a_member_do_not_break_the_ring() {
    let mut net = three();
    let (one, ring) = (net.lives[0].member, net.ring(2).ring().expect("operational"));
    let old = base::RingId { seq: ring.seq - 1, rep: one.node };
    let known =
        net.ring(2).members().iter().map(|m| crate::wire::Known { member: *m, failed: false });
    let join = crate::wire::Join {
        number: 1,
        ring_seq: ring.seq - 1,
        reserved: 5000,
        leaving: false,
        view: 0,
        known: known.collect(),
        standing: std::sync::Arc::from(&b""[..]),
    };
    let later = crate::wire::Join { number: 1_000, ..join.clone() };
    net.with_ring(node(2), |r, now| {
        use crate::wire::{MergeDetect, Message};
        let before = r.counters().stale;
        r.handle_message(now, one, Message::Join(join));
        r.handle_message(now, one, Message::Join(later));
        r.handle_message(
            now,
            one,
            Message::MergeDetect(MergeDetect {
                ring: old,
                members: Vec::new(),
                hears: Vec::new(),
                standing: std::sync::Arc::from(&b""[..]),
            }),
        );
        assert_eq!(r.state(), State::Operational);
        assert_eq!(r.counters().stale - before, 3);
        assert_eq!(r.poll_output(), None, "silence");
    });
    net.run_ms(1000);
    assert_eq!(rings(&net, 2), 1);
}

#[test]
fn messages_of_strangers_and_of_replaced_lives_change_nothing() {
    let mut net = three();
    let old = net.lives[0].member;
    net.crash(node(1));
    net.start(node(1));
    net.until_together(&[1, 2, 3], 2000);
    let ring = net.ring(2).ring().expect("operational");
    net.with_ring(node(2), |r, now| {
        use crate::wire::{HoldCancel, MergeDetect, Message};
        let stranger = base::Member { node: node(77), ..old };
        let detect = MergeDetect {
            ring: base::RingId { seq: ring.seq + 9, rep: old.node },
            members: Vec::new(),
            hears: Vec::new(),
            standing: std::sync::Arc::from(&b""[..]),
        };
        for from in [old, stranger] {
            r.handle_message(now, from, Message::MergeDetect(detect.clone()));
            r.handle_message(now, from, Message::HoldCancel(HoldCancel { ring }));
        }
        assert_eq!(r.poll_output(), None, "silence");
        assert_eq!(r.counters().unknown_sender, 4);
    });
}

#[test]
fn one_message_in_flight_costs_little_more_than_a_rotation() {
    let mut net = three();
    net.run_ms(1000);
    let begin = net.now;
    for count in 1..=100 {
        assert!(net.send(node(2), Guarantee::Agreed, 64));
        while net.delivered(1).len() < count {
            net.run(Duration::from_micros(20));
        }
    }
    let each = net.now.since(begin) / 100;
    assert!(each < Duration::from_micros(1500), "{each:?} at 50 to 200 us a hop");
}
