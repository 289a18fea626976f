//! What instances say of their own promotion.

use alloc::{vec, vec::Vec};

use super::{MS, acting, at, call, drain, epoch, id, order, running};
use crate::*;

fn wished(outcome: Outcome, wish: Wish) -> Answer {
    Answer { wish, ..Answer::new(outcome, 42) }
}

fn scores(outputs: &[Output]) -> Vec<Vec<i32>> {
    let said = |output: &Output| match output {
        Output::Scores { scores, .. } => {
            assert!(scores.iter().all(|s| s.resource == id("vip")));
            Some(scores.iter().map(|s| s.score).collect())
        }
        _ => None,
    };
    outputs.iter().filter_map(said).collect()
}

/// Orders a check every 15 s and answers its first look.
fn watched(executor: &mut Executor, answer: Answer) -> Vec<Output> {
    let watch = Order { interval: Some(MS * 15_000), ..order(2, Operation::Monitor, 5) };
    executor.handle_order(at(10), watch);
    let look = call(&drain(executor));
    assert_eq!(look.interval, Some(MS * 15_000), "the agent is to hear its true interval");
    executor.handle_answer(at(11), look.id, answer);
    drain(executor)
}

#[test]
fn a_wish_is_said_before_the_end_of_its_operation_and_only_when_it_changes() {
    let mut executor = acting(0, 5);
    executor.handle_order(at(1), order(1, Operation::Start, 5));
    let start = call(&drain(&mut executor));
    assert_eq!(start.interval, None);
    executor.handle_answer(at(2), start.id, wished(Outcome::Ok, Wish::Score(5)));
    let outputs = drain(&mut executor);
    assert!(
        matches!(outputs.as_slice(), [Output::Scores { .. }, Output::OrderEnd { .. }]),
        "{outputs:?}"
    );
    assert_eq!(scores(&outputs), [[5]]);
    let same = watched(&mut executor, wished(Outcome::Ok, Wish::Score(5)));
    assert_eq!(scores(&same), [] as [Vec<i32>; 0]);
}

/// A copy of a clone; promoted it is exclusive, whatever it was started as.
fn copy(promoted: bool) -> Executor {
    let mut executor = acting(0, 5);
    let operations = [Operation::Start, Operation::Promote, Operation::Demote];
    // up and down once before
    let walk = if promoted { vec![0, 1, 2, 1] } else { vec![0, 1, 2] };
    for (number, step) in walk.into_iter().enumerate() {
        let operation = operations[step];
        let number = u64::try_from(number).expect("few");
        let exclusive = operation == Operation::Promote;
        executor.handle_order(at(1), Order { exclusive, ..order(number, operation, 5) });
        let call = call(&drain(&mut executor));
        executor.handle_answer(at(1), call.id, Answer::new(Outcome::Ok, 42));
        drain(&mut executor);
    }
    executor
}

/// CLUSTER.md sections 3.5 and 4.
#[test]
fn a_promoted_copy_is_stopped_without_quorum_and_fenced_with_its_machine_where_that_fails() {
    for stops in [true, false] {
        let mut executor = copy(true);
        executor.handle_configuration(at(100), Quorum::Inquorate);
        executor.handle_timeout(at(4_100));
        let stop = call(&drain(&mut executor));
        assert_eq!(stop.operation, Operation::Stop);
        let outcome = if stops { Outcome::Ok } else { Outcome::TimedOut };
        executor.handle_answer(at(4_200), stop.id, Answer::new(outcome, 0));
        let fenced = drain(&mut executor).iter().any(|o| matches!(o, Output::SelfFence(_)));
        assert_eq!(fenced, !stops);
    }
    let mut executor = copy(false);
    executor.handle_configuration(at(100), Quorum::Inquorate);
    executor.handle_timeout(at(4_100));
    assert_eq!(drain(&mut executor), [], "demoted it is a copy like all others");
}

#[test]
fn what_was_said_stands_until_it_is_taken_back_or_nothing_is_left() {
    let mut executor = running(0, 5);
    assert_eq!(scores(&watched(&mut executor, wished(Outcome::Ok, Wish::Score(7)))), [[7]]);

    // broken off, or without a word
    for (ms, outcome) in [(15_011, Outcome::Ok), (30_011, Outcome::TimedOut)] {
        super::token(&mut executor, ms);
        let look = call(&drain(&mut executor));
        executor.handle_answer(at(ms), look.id, Answer::new(outcome, 0));
        assert_eq!(scores(&drain(&mut executor)), [] as [Vec<i32>; 0]);
    }
    executor.handle_epoch(at(30_012), epoch(6), Quorum::Quorate);
    let outputs = drain(&mut executor);
    assert!(
        matches!(outputs.as_slice(), [Output::Scores { .. }, Output::Report { .. }]),
        "each era hears it anew, with the report: {outputs:?}"
    );
    assert_eq!(scores(&outputs), [[7]]);

    executor.handle_order(at(30_013), order(1, Operation::Stop, 6));
    let stop = call(&drain(&mut executor));
    executor.handle_answer(at(30_014), stop.id, wished(Outcome::Ok, Wish::Score(9)));
    assert_eq!(scores(&drain(&mut executor)), vec![vec![0; 0]], "what is down has no wish");
    executor.handle_epoch(at(30_015), epoch(7), Quorum::Quorate);
    assert_eq!(scores(&drain(&mut executor)), [] as [Vec<i32>; 0], "nothing is no word");
}

#[test]
fn a_wish_of_an_older_epoch_is_said_with_the_report_of_the_next() {
    let mut executor = acting(0, 5);
    executor.handle_order(at(1), order(1, Operation::Start, 5));
    let start = call(&drain(&mut executor));
    executor.handle_configuration(at(2), Quorum::Quorate);
    executor.handle_answer(at(3), start.id, wished(Outcome::Ok, Wish::Score(5)));
    assert_eq!(scores(&drain(&mut executor)), [] as [Vec<i32>; 0], "in no era");
    executor.handle_epoch(at(4), epoch(6), Quorum::Quorate);
    assert_eq!(scores(&drain(&mut executor)), [[5]]);
}
