//! Laws that hold for every plan, tried on generated clusters (POLICY.md section 4, SAFETY.md#S16).
//!
//! A failing case prints the bytes that make it; `PALISADE_LAW_BYTES=HEX cargo test -p policy --test laws NAME` runs the
//! law on these bytes alone and prints the model and the plan.

mod apply;
mod describe;
mod found;
mod generate;
mod laws;
mod remote;

use proptest::{
    collection::vec,
    prelude::{ProptestConfig, any},
    test_runner::{RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};

/// `Err` says which law is broken, and how.
type Law = fn(&[u8]) -> Result<(), String>;

/// Bytes of the longest case: enough for five nodes and six resources with their histories.
const BYTES_MAX: usize = 420;

/// Cases of each law; a few seconds for all of them.
const CASES: u32 = 300;

fn holds(law: Law) {
    if let Ok(hex) = std::env::var("PALISADE_LAW_BYTES") {
        law(&from_hex(&hex)).expect("the law holds");
        return;
    }
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..ProptestConfig::default()
    };
    // the same cases everywhere and always; more of them by PROPTEST_CASES
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, random);
    let result = runner.run(&vec(any::<u8>(), 0..BYTES_MAX), |bytes| {
        law(&bytes).map_err(|what| {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            TestCaseError::fail(format!("{what}\nPALISADE_LAW_BYTES={hex}"))
        })
    });
    match result {
        Ok(()) => {}
        // the bytes in decimal, one a line, help nobody
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(error) => panic!("{error}"),
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
    digits.chunks(2).map(|pair| pair.iter().fold(0, |sum, d| sum << 4 | value(*d))).collect()
}

#[test]
fn one_model_has_one_plan_byte_for_byte() {
    holds(laws::deterministic);
}

#[test]
fn the_order_in_which_facts_are_listed_does_not_matter() {
    holds(laws::order_of_facts_is_irrelevant);
}

#[test]
fn every_plan_passes_the_independent_checker() {
    holds(laws::checker_is_content);
}

#[test]
fn bans_hold_for_everything_that_is_placed_anew() {
    holds(laws::bans_hold);
}

#[test]
fn a_calm_cluster_comes_to_rest() {
    holds(laws::calm_comes_to_rest);
}

#[test]
fn a_wild_cluster_comes_to_rest() {
    holds(laws::wild_comes_to_rest);
}

#[test]
fn losing_a_node_touches_only_what_is_tied_to_it() {
    holds(laws::a_lost_node_disturbs_only_its_own);
}

#[test]
fn a_failure_touches_only_what_is_tied_to_it() {
    holds(laws::a_failure_disturbs_only_its_own);
}

#[test]
fn a_new_node_stops_nothing_that_likes_to_stay() {
    holds(laws::a_new_node_stops_nothing);
}

#[test]
fn a_new_resource_without_ties_disturbs_nothing() {
    holds(laws::a_new_resource_disturbs_nothing);
}

#[test]
fn taking_a_constraint_away_leaves_everything_runnable() {
    holds(laws::fewer_constraints_run_no_less);
}

#[test]
fn nothing_begins_on_a_remote_node_without_its_connection() {
    holds(remote::connection_first);
}

#[test]
fn a_calm_cluster_with_a_remote_node_comes_to_rest() {
    holds(remote::calm_comes_to_rest);
}

#[test]
fn what_is_remembered_of_the_last_model_changes_no_plan() {
    holds(laws::memory_changes_nothing);
}
