//! What CI runs: seeds that failed once, and that one seed is one run.

mod copies;
#[cfg(feature = "sabotage")]
mod faulty;
mod parts;

use crate::{Options, Verdict, run};

/// One line a seed: `SEED [3|5]`, then `#` and what it once found.
const CORPUS: &str = include_str!("../corpus/seeds.txt");

fn options(nodes: Option<usize>) -> Options {
    Options { nodes, ..Options::default() }
}

#[test]
fn seeds_that_failed_once_are_good_or_blocked_with_a_reason() {
    let mut seeds = 0;
    for line in CORPUS.lines() {
        let words = line.split('#').next().unwrap_or("").trim();
        let mut words = words.split_whitespace();
        let Some(seed) = words.next() else { continue };
        let seed = seed.parse().expect("a seed is a number");
        let nodes = words.next().map(|nodes| nodes.parse().expect("a number of nodes"));
        let report = run(seed, &options(nodes));
        assert!(
            !matches!(report.verdict, Verdict::Bad(_)),
            "{:?}; replay: cargo run --release -p sim -- replay {seed} --trace",
            report.verdict
        );
        seeds += 1;
    }
    assert!(seeds > 0, "the corpus has seeds");
}

#[test]
fn one_seed_is_one_run() {
    for seed in [2, 5] {
        let first = run(seed, &options(None));
        assert_eq!(first, run(seed, &options(None)));
        assert!(first.events > 1000, "something happened: {first:?}");
        assert_ne!(first.hash, run(seed + 1, &options(None)).hash);
    }
}

/// What runs on a member is more than one message of the ring holds, and rings change between its parts.
#[test]
fn a_crowded_cluster_is_served_and_never_twice() {
    for seed in [3, 8, 21] {
        let report = run(seed, &Options { crowd: 30, nodes: Some(3), ..Options::default() });
        assert!(
            !matches!(report.verdict, Verdict::Bad(_)),
            "{:?}; replay: cargo run --release -p sim -- replay {seed} --crowd 30 --nodes 3 --trace",
            report.verdict
        );
    }
}

/// One is promoted at most, by its own word of the era, and in peace the one that wants it most.
#[test]
fn the_database_that_wants_it_most_is_promoted_and_never_two() {
    for seed in [1, 4, 6, 9] {
        let report = run(seed, &Options { database: true, nodes: Some(3), ..Options::default() });
        assert!(
            !matches!(report.verdict, Verdict::Bad(_)),
            "{:?}; replay: cargo run --release -p sim -- replay {seed} --database --nodes 3 --trace",
            report.verdict
        );
    }
}

/// The name of a faulty rule is in a program only if the program can break it. Put together here, so that the test itself
/// does not hold it.
#[test]
fn only_a_build_with_the_feature_can_break_a_rule() {
    let name = ["debt-previous", "configuration"].join("-").into_bytes();
    let program = std::env::current_exe().expect("this test runs from a file");
    let program = std::fs::read(program).expect("which can be read");
    let there = program.windows(name.len()).any(|window| window == name);
    assert_eq!(there, cfg!(feature = "sabotage"));
}
