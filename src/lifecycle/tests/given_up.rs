//! A start that its era or its token left alone is no failure of the resource.

use super::*;

fn begun() -> (Executor, CallId) {
    let mut executor = acting(0, 12);
    executor.handle_order(at(1), order(1, Operation::Start, 12));
    let start = call(&drain(&mut executor));
    (executor, start.id)
}

fn broken_off() -> Answer {
    let outcome = Outcome::Failed { code: 1, reason: "the order was withdrawn".into() };
    Answer::new(outcome, 0)
}

#[test]
fn broken_off_by_another_era_it_is_a_thing_that_was_seen_and_nothing_that_failed() {
    let (mut executor, start) = begun();
    executor.handle_epoch(at(10), epoch(16), Quorum::Quorate);
    token(&mut executor, 11);
    drain(&mut executor);
    executor.handle_answer(at(20), start, broken_off());
    let outputs = drain(&mut executor);
    let said = outputs.iter().find_map(|o| match o {
        Output::Changed { operation, instance, .. } => Some((*operation, instance.clone())),
        _ => None,
    });
    let Some((Operation::Probe, instance)) = said else { panic!("{outputs:?}") };
    assert_eq!((instance.role, instance.failed), (None, None), "a stop comes first");
}

#[test]
fn broken_off_by_an_old_token_its_order_was_not_carried_out() {
    let (mut executor, start) = begun();
    executor.handle_answer(at(900), start, broken_off());
    let outputs = drain(&mut executor);
    assert!(
        matches!(
            &outputs[..],
            [
                Output::OrderEnd { end: OrderEnd::Refused(Refusal::NotActing), .. },
                Output::Changed { operation: Operation::Probe, .. },
                ..
            ]
        ),
        "{outputs:?}"
    );
}

#[test]
fn a_failure_of_its_own_is_one() {
    let (mut executor, start) = begun();
    executor.handle_answer(at(20), start, broken_off());
    let outputs = drain(&mut executor);
    let end = OrderEnd::Done(broken_off().outcome);
    assert_eq!(outputs.first(), Some(&Output::OrderEnd { epoch: epoch(12), id: OrderId(1), end }));
}
