//! Promotion by the instances' own word, with the engine of `policy`: no constraint of these tests names a role.

use core::time::Duration;
use std::{collections::BTreeSet, vec, vec::Vec};

use base::{ResourceId, Role, SplitMix64};
use policy::revision as rev;

use super::{
    specimen::{revision, single},
    world::{World, id},
};
use crate::RequestKind;

const S: Duration = Duration::from_secs(1);
const N: usize = 3;

fn db() -> ResourceId {
    "db".parse().expect("valid")
}

fn world() -> World {
    let mut db = single("db");
    let copies = rev::CloneOptions {
        max: None,
        node_max: 1,
        min: 0,
        interleave: true,
        ordered: false,
        unique: false,
        notify: false,
    };
    db.shape = rev::Shape::Promotable(copies, rev::PromotedOptions { max: 1, node_max: 1 });
    let mut revision = revision(N);
    revision.placements = vec![db];
    let mut world = World::with(revision, policy::Scheduler::schedule);
    world.join_all(S * 5);
    world
}

fn wish(world: &mut World, i: usize, score: Option<i32>) {
    let wishes = &mut world.nodes[i].exec.wishes;
    match score {
        Some(score) => wishes.insert(db(), score),
        None => wishes.remove(&db()),
    };
}

fn promoted(world: &World) -> Vec<usize> {
    world.in_role("db", Role::Promoted)
}

/// Machines (from 1) that are on, hear each other and are enough.
fn quorate(world: &World) -> Vec<usize> {
    let up = |i: &usize| world.acts(*i) && world.member(*i).is_ready();
    (0..N).filter(up).map(|i| i + 1).collect()
}

/// The law: of the machines that count, the one with the best wish above zero, or none.
fn best(world: &World) -> Vec<usize> {
    let of = |i: &usize| {
        let wish = world.nodes[*i - 1].exec.wishes.get(&db()).copied();
        wish.filter(|score| *score > 0).map(|score| (score, *i))
    };
    quorate(world).iter().filter_map(of).max().map(|(_, i)| i).into_iter().collect()
}

#[test]
fn nobody_is_promoted_who_did_not_say_so_and_then_the_best() {
    let mut world = world();
    assert_eq!(world.in_role("db", Role::Started), [1, 2, 3]);
    assert_eq!(promoted(&world), [] as [usize; 0]);
    for (i, score) in [5, 20, 10].into_iter().enumerate() {
        wish(&mut world, i, Some(score));
    }
    world.settle(S * 5);
    assert_eq!(promoted(&world), [2]);
    wish(&mut world, 2, Some(30));
    world.settle(S * 5);
    assert_eq!(promoted(&world), [3], "it says now that it is better");
    for i in 0..N {
        wish(&mut world, i, None);
    }
    world.settle(S * 5);
    assert_eq!(promoted(&world), [] as [usize; 0], "nobody wants to any more");
}

#[test]
fn the_word_of_a_member_that_is_gone_is_used_for_nothing_and_is_said_anew_when_it_is_back() {
    let mut world = world();
    for (i, score) in [100, 20, 10].into_iter().enumerate() {
        wish(&mut world, i, Some(score));
    }
    world.settle(S * 5);
    assert_eq!(promoted(&world), [1]);
    world.power_off(0);
    world.change(&[0, 1, 1], true);
    world.settle(S * 5);
    assert_eq!(promoted(&world), [2]);
    for i in [1, 2] {
        let status = world.member(i).status();
        assert_eq!(status.conditions, [], "nobody waits for the one that is gone");
    }
    if !world.nodes[0].on {
        world.power_on(0);
    }
    world.join_all(S * 5);
    world.settle(S * 30);
    assert_eq!(
        promoted(&world),
        [2],
        "its agent has not said anything in this life of the machine"
    );
    wish(&mut world, 0, Some(100));
    world.settle(S * 5);
    assert_eq!(promoted(&world), [1]);
}

#[test]
fn a_new_era_promotes_whom_the_last_one_did() {
    let mut world = world();
    for (i, score) in [10, 10, 15].into_iter().enumerate() {
        wish(&mut world, i, Some(score));
    }
    world.settle(S * 5);
    assert_eq!(promoted(&world), [3]);
    let said = world.cfgs.iter().map(|c| c.log.len()).sum::<usize>();
    for _ in 0..5 {
        world.change(&[0; N], true);
        world.settle(S * 2);
        assert_eq!(promoted(&world), [3], "its word is heard with its report");
    }
    assert!(world.cfgs.iter().map(|c| c.log.len()).sum::<usize>() > said);
}

#[test]
fn whoever_wants_it_most_has_it_whatever_happens() {
    let mut seen = BTreeSet::new();
    for seed in 0..40 {
        let mut rng = SplitMix64::new(seed);
        let mut world = world();
        for step in 0..25 {
            let i = usize::try_from(rng.below(N as u64)).expect("few");
            match rng.below(8) {
                0..=2 => {
                    // no two are equal: of equals either may be
                    let score = 1 + 3 * i32::try_from(rng.below(50)).expect("few");
                    wish(&mut world, i, Some(score + i32::try_from(i).expect("few")));
                }
                3 => wish(&mut world, i, None),
                4 => wish(&mut world, i, Some(-10)),
                5 if quorate(&world).len() == N => {
                    world.power_off(i);
                    let component: Vec<usize> = (0..N).map(|j| usize::from(j == i)).collect();
                    world.change(&component, true);
                }
                6 => {
                    let component = [0, 0, usize::from(rng.below(3) == 0)];
                    world.change(&component, true);
                }
                _ => {
                    world.request(i, RequestKind::Standby(id(i)));
                    world.settle(S * 2);
                    world.request(i, RequestKind::Online(id(i)));
                }
            }
            world.settle(S * 40);
            for j in 0..N {
                if !world.nodes[j].on {
                    world.power_on(j);
                }
            }
            world.join_all(S * 40);
            let law = best(&world);
            assert_eq!(promoted(&world), law, "seed {seed}, step {step}");
            seen.insert(law);
        }
    }
    assert_eq!(seen.len(), N + 1, "each of the machines, and none: {seen:?}");
}
